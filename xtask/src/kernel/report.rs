//! What the guest reported: its commands, in order, and how each ended.

use aio2_guest::{End, Mark};

/// A command that was run in the guest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub command: String,
    /// What it wrote.
    pub output: String,
    /// How it ended; None if the machine ended first.
    pub end: Option<End>,
    /// Processes that it left behind.
    pub left: Vec<String>,
}

/// The whole report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub commands: Vec<Ran>,
    /// What the leak detector printed.
    pub leaks: Vec<String>,
    /// What failed in the guest's set-up.
    pub broken: Vec<String>,
    /// Whether all commands were run.
    pub done: bool,
}

impl Report {
    pub fn parse(text: &str) -> Self {
        let mut report = Report::default();
        for line in text.lines() {
            let current = report.commands.last_mut();
            match (Mark::parse(line), current) {
                (Some(Mark::Begin(command)), _) => {
                    report.commands.push(Ran { command, ..Ran::default() });
                }
                (Some(Mark::End(end)), Some(ran)) => ran.end = Some(end),
                (Some(Mark::Left(process)), Some(ran)) => ran.left.push(process),
                (Some(Mark::Leak(leak)), _) => report.leaks.push(leak),
                (Some(Mark::Broken(what)), _) => report.broken.push(what),
                (Some(Mark::Done), _) => report.done = true,
                (None, Some(ran)) => {
                    ran.output += line;
                    ran.output.push('\n');
                }
                (_, None) => {}
            }
        }
        report
    }

    /// What a command wrote; nothing if it was not run.
    pub fn output_of(&self, command: &str) -> &str {
        self.commands.iter().find(|ran| ran.command == command).map_or("", |ran| &ran.output)
    }

    /// All that is wrong, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for ran in &self.commands {
            match ran.end {
                Some(End::Exit(0)) => {}
                Some(End::Exit(status)) => wrong.push(format!("{}: exit {status}", ran.command)),
                Some(End::Signal(n)) => wrong.push(format!("{}: signal {n}", ran.command)),
                None => wrong.push(format!("{}: never ended", ran.command)),
            }
            for process in &ran.left {
                wrong.push(format!("{}: left process {process} behind", ran.command));
            }
        }
        wrong.extend(self.leaks.first().map(|first| format!("leaked memory: {first} …")));
        wrong.extend(self.broken.iter().map(|what| format!("in the guest: {what}")));
        if !self.done {
            wrong.push(String::from("the guest did not get to its end"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(marks: &[Mark]) -> Report {
        let text: Vec<String> = marks.iter().map(Mark::to_string).collect();
        Report::parse(&text.join("\noutput\n"))
    }

    #[test]
    fn a_good_report_has_no_complaint() {
        let good = report(&[Mark::Begin("a b".into()), Mark::End(End::Exit(0)), Mark::Done]);
        assert_eq!(good.complaints(), [""; 0]);
        assert_eq!(good.commands[0].output, "output\noutput\n");
    }

    #[test]
    fn whatever_is_wrong_is_told() {
        let begin = || Mark::Begin("a".into());
        for (marks, complaints) in [
            (vec![], 1),
            (vec![Mark::Done], 0),
            (vec![begin(), Mark::Done], 1),
            (vec![begin(), Mark::End(End::Exit(1)), Mark::Done], 1),
            (vec![begin(), Mark::End(End::Signal(9)), Mark::Done], 1),
            (vec![begin(), Mark::End(End::Exit(0)), Mark::Left("7 x".into()), Mark::Done], 1),
            (vec![Mark::Leak("unreferenced object".into()), Mark::Done], 1),
            (vec![Mark::Broken("mount".into()), Mark::Done], 1),
            (vec![begin(), Mark::End(End::Exit(0))], 1),
        ] {
            assert_eq!(report(&marks).complaints().len(), complaints, "{marks:?}");
        }
    }
}
