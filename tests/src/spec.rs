//! SPEC.md as data: its requirement ids, its table of them, its allow list.
//!
//! Reads the text strictly: what it does not understand is a problem that it
//! reports, never something it leaves out. Whether a requirement is met is the
//! business of the tests that carry its id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the requirement table says of one requirement and one implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Implemented, and a test carries the id.
    Yes,
    /// Specified, not yet implemented.
    Planned,
    /// Does not apply.
    NotApplicable,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Yes => "yes",
            Status::Planned => "planned",
            Status::NotApplicable => "n/a",
        })
    }
}

/// A row of appendix B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// What the engine does about it.
    pub engine: Status,
    /// What the kernel does about it.
    pub kernel: Status,
}

/// A row of appendix A.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Name as in syscalls(2).
    pub name: String,
    /// Number of arguments.
    pub nr_args: u8,
    /// Whether the first argument is a descriptor.
    pub fd: bool,
    /// How the engine begins.
    pub first_try: String,
}

/// SPEC.md.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Ids in the order in which they are defined, as often as they are.
    pub defined: Vec<String>,
    /// What they say, one for each.
    pub rules: Vec<String>,
    /// Appendix B.
    pub table: Vec<Requirement>,
    /// Appendix A.
    pub allowed: Vec<Allowed>,
    /// Lines that look like something that they are not.
    pub problems: Vec<String>,
}

/// The requirement ids that stand in `text`, in order.
pub fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("R-").filter_map(move |(at, _)| {
        if text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '-') {
            return None;
        }
        let rest = &text[at + 2..];
        let name = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let number = rest.get(name..)?.strip_prefix('-')?;
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 2 + name + 1 + digits;
        let ends = !text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        (name > 0 && digits > 0 && ends).then(|| &text[at..end])
    })
}

impl Spec {
    /// Reads the text of SPEC.md.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut spec = Spec::default();
        let mut appendix = "";
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                appendix = if title.starts_with("Appendix ") { title } else { "" };
            } else if line.starts_with("> **R") || line.starts_with("> <a") {
                match rule(line) {
                    Some((id, text)) => {
                        spec.defined.push(id.into());
                        spec.rules.push(text.into());
                    }
                    None => spec.problems.push(format!(
                        "a rule begins with `> <a id=\"r-x-1\"></a>**R-X-1** `, its own id twice: {line}"
                    )),
                }
            } else if let (Some(more), Some(rule)) =
                (line.strip_prefix("> "), spec.rules.last_mut())
            {
                *rule = format!("{rule} {more}");
            } else if let Some(cells) = cells(line) {
                if appendix.starts_with("Appendix A") {
                    spec.allowed_row(&cells);
                } else if appendix.starts_with("Appendix B") {
                    spec.requirement_row(&cells);
                }
            }
        }
        spec.check();
        spec
    }

    fn allowed_row(&mut self, cells: &[&str]) {
        let &[name, nr_args, fd @ ("yes" | "no"), first_try] = cells else {
            if cells.first() != Some(&"syscall") {
                self.problems.push(format!("appendix A: {cells:?} is no row"));
            }
            return;
        };
        match nr_args.parse() {
            Ok(nr_args) => self.allowed.push(Allowed {
                name: name.into(),
                nr_args,
                fd: fd == "yes",
                first_try: first_try.into(),
            }),
            Err(e) => self.problems.push(format!("appendix A: {name}: {nr_args}: {e}")),
        }
    }

    fn requirement_row(&mut self, cells: &[&str]) {
        let &[id, engine, kernel] = cells else {
            self.problems.push(format!("appendix B: {cells:?} is no row"));
            return;
        };
        match (status(engine), status(kernel)) {
            (Some(engine), Some(kernel)) => {
                self.table.push(Requirement { id: id.into(), engine, kernel });
            }
            _ if id == "requirement" => {}
            _ => self.problems.push(format!("appendix B: {id}: {engine}, {kernel}: no status")),
        }
    }

    /// Ids are well-formed, stand once, and in the table and the text alike.
    fn check(&mut self) {
        let rows: Vec<&String> = self.table.iter().map(|r| &r.id).collect();
        let mut problems = Vec::new();
        for (place, ids) in [("text", self.defined.iter().collect()), ("appendix B", rows)] {
            let mut seen = BTreeSet::new();
            for id in ids {
                if ids_in(id).next() != Some(id.as_str()) {
                    problems.push(format!("{place}: {id} is not an id"));
                }
                if !seen.insert(id) {
                    problems.push(format!("{place}: {id} stands twice"));
                }
            }
        }
        for (id, text) in self.defined.iter().zip(&self.rules) {
            if keywords(text) != 1 {
                problems.push(format!("{id}: a rule has one of MUST, SHOULD and MAY, once"));
            }
        }
        let defined: BTreeSet<&String> = self.defined.iter().collect();
        let rows: BTreeSet<&String> = self.table.iter().map(|r| &r.id).collect();
        problems.extend(defined.difference(&rows).map(|id| format!("{id} is not in appendix B")));
        problems.extend(rows.difference(&defined).map(|id| format!("{id} is not in the text")));
        self.problems.append(&mut problems);
    }

    /// What is wrong between the SPEC, the ids that stand anywhere in the
    /// project (`cited`, each with a place), and the tests (of each backend, by
    /// id): unknown ids, and a *yes* that no test shows.
    #[must_use]
    pub fn untraceable(
        &self,
        cited: &BTreeMap<String, String>,
        engine: &BTreeMap<String, Vec<String>>,
        kernel: &BTreeMap<String, Vec<String>>,
    ) -> Vec<String> {
        let mut problems = self.problems.clone();
        for (id, place) in cited {
            if !self.defined.contains(id) {
                problems.push(format!("{place}: SPEC.md has no {id}"));
            }
        }
        for row in &self.table {
            for (backend, status, tests) in
                [("engine", row.engine, engine), ("kernel", row.kernel, kernel)]
            {
                let none = tests.get(&row.id).is_none_or(Vec::is_empty);
                if status == Status::Yes && none {
                    problems.push(format!("{}: yes for the {backend}, and no test has it", row.id));
                }
            }
        }
        problems
    }
}

/// The id and the text of a rule that begins in this line.
fn rule(line: &str) -> Option<(&str, &str)> {
    let (anchor, rest) = line.strip_prefix("> <a id=\"")?.split_once("\"></a>**")?;
    let (id, text) = rest.split_once("** ")?;
    (anchor == id.to_lowercase()).then_some((id, text))
}

/// How many keywords of BCP 14 are in `text`.
fn keywords(text: &str) -> usize {
    let is_keyword = |word: &&str| matches!(*word, "MUST" | "SHOULD" | "MAY");
    text.split(|c: char| !c.is_alphanumeric()).filter(is_keyword).count()
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    if row.chars().all(|c| matches!(c, '-' | '|')) {
        return None;
    }
    Some(row.split('|').map(str::trim).collect())
}

fn status(cell: &str) -> Option<Status> {
    match cell {
        "yes" => Some(Status::Yes),
        "planned" => Some(Status::Planned),
        // With the reason.
        _ => {
            cell.strip_prefix("n/a: ").filter(|why| !why.is_empty()).map(|_| Status::NotApplicable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "> <a id=\"r-a-1\"></a>**R-A-1**";
    const SECOND: &str = "> <a id=\"r-a-2\"></a>**R-A-2**";
    const TEXT: &str = "\
> <a id=\"r-a-1\"></a>**R-A-1** An implementation MUST do.\n\
> <a id=\"r-a-2\"></a>**R-A-2** An implementation MUST\n\
> NOT do.\n\
## Appendix A: allow list\n\
| syscall | arguments | first is a descriptor | first try |\n\
|---|---|---|---|\n\
| read | 3 | yes | worker |\n\
## Appendix B: requirement table\n\
| requirement | engine | kernel |\n\
|---|---|---|\n\
| R-A-1 | yes | planned |\n\
| R-A-2 | n/a: no reason | yes |\n\
## Appendix C\n\
| anything | goes |\n";

    fn map(ids: &[&str]) -> BTreeMap<String, Vec<String>> {
        ids.iter().map(|id| ((*id).into(), vec!["a_test".into()])).collect()
    }

    fn cited(id: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(id.to_owned(), "file.rs:1".to_owned())])
    }

    /// What is wrong with TEXT after one replacement, its yes all tested.
    fn doctored(from: &str, to: &str) -> Vec<String> {
        assert!(TEXT.contains(from));
        let spec = Spec::parse(&TEXT.replacen(from, to, 1));
        spec.untraceable(&BTreeMap::new(), &map(&["R-A-1"]), &map(&["R-A-2"]))
    }

    #[test]
    fn a_sound_text_has_no_problem() {
        assert_eq!(doctored("MUST", "MUST"), [""; 0]);
        let spec = Spec::parse(TEXT);
        assert_eq!(spec.defined, ["R-A-1", "R-A-2"]);
        assert_eq!(spec.table[1].engine, Status::NotApplicable);
        assert_eq!(spec.allowed.len(), 1);
        assert_eq!((spec.allowed[0].nr_args, spec.allowed[0].fd), (3, true));
    }

    #[test]
    fn an_unknown_id_is_found() {
        let spec = Spec::parse(TEXT);
        let problems = spec.untraceable(&cited("R-A-3"), &map(&["R-A-1"]), &map(&["R-A-2"]));
        assert_eq!(problems, ["file.rs:1: SPEC.md has no R-A-3"]);
        assert!(spec.untraceable(&cited("R-A-2"), &map(&["R-A-1"]), &map(&["R-A-2"])).is_empty());
    }

    #[test]
    fn a_duplicate_is_found_in_text_and_table() {
        assert_eq!(
            doctored(SECOND, FIRST),
            ["text: R-A-1 stands twice", "R-A-2 is not in the text"]
        );
        assert_eq!(
            doctored("| R-A-2 | n/a: no reason | yes |", "| R-A-1 | yes | planned |"),
            ["appendix B: R-A-1 stands twice", "R-A-2 is not in appendix B"]
        );
    }

    #[test]
    fn an_untested_yes_is_found() {
        let spec = Spec::parse(TEXT);
        let none = BTreeMap::new();
        assert_eq!(
            spec.untraceable(&none, &none_tested(), &map(&["R-A-2"])),
            ["R-A-1: yes for the engine, and no test has it"]
        );
        assert_eq!(
            doctored("| R-A-1 | yes | planned |", "| R-A-1 | yes | yes |"),
            ["R-A-1: yes for the kernel, and no test has it"]
        );
    }

    fn none_tested() -> BTreeMap<String, Vec<String>> {
        BTreeMap::from([("R-A-1".to_owned(), Vec::new())])
    }

    #[test]
    fn a_row_that_is_missing_or_odd_is_found() {
        assert_eq!(
            doctored("| R-A-2 | n/a: no reason | yes |\n", ""),
            ["R-A-2 is not in appendix B"]
        );
        assert_eq!(doctored("planned", "later").len(), 2);
        assert_eq!(doctored("n/a: no reason", "n/a").len(), 2, "without a reason");
        assert_eq!(doctored("| read | 3 | yes |", "| read | 3 | perhaps |").len(), 1);
        assert_eq!(doctored("| read | 3 |", "| read | many |").len(), 1);
        assert_eq!(doctored(SECOND, "> <a id=\"r-a-2\"></a>**R-a-2**").len(), 3);
    }

    #[test]
    fn a_rule_without_its_anchor_or_its_one_keyword_is_found() {
        assert_eq!(doctored(SECOND, "> **R-A-2**").len(), 2);
        assert_eq!(doctored(SECOND, "> <a id=\"r-a-1\"></a>**R-A-2**").len(), 2);
        assert_eq!(doctored("MUST do", "MUST do, and MUST NOT rest").len(), 1);
        assert_eq!(doctored("MUST\n> NOT", "does\n> not").len(), 1);
        assert_eq!(doctored("MUST\n> NOT do", "MUST\n> do, and MAY not").len(), 1);
    }

    #[test]
    fn ids_are_found_whole() {
        let found: Vec<&str> =
            ids_in("R-GET-1, (R-RING-16) XR-NO-1 R-NO R-NO- R-NO-1a, R-OVF-7.").collect();
        assert_eq!(found, ["R-GET-1", "R-RING-16", "R-OVF-7"]);
    }
}
