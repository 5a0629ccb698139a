//! `aio2 run`, `aio2 report`, `aio2 plot`: what a program did through AIO2.
//!
//! Duty: run a program with the drop-ins, and turn its record into a report, a
//! timeline, a picture or a log of latencies. What is recorded, and how, is the
//! business of the crate aio2-record and of the drop-ins.

mod args;
mod child;
mod hdr;
mod plot;
mod summary;
mod table;
mod trace;

use crate::args::Global;
use crate::exit::{Exit, Trouble};
use aio2_record::{Count, Counters, Record};
pub use args::{PlotArgs, ReportArgs, RunArgs};
use child::Left;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use summary::Summary;

/// Runs a program, then reports.
pub fn run(global: &Global, args: &RunArgs) -> Result<Exit, Trouble> {
    let drop_ins = child::drop_ins(args.drop_ins.as_deref())?;
    let scratch = tempfile::tempdir()
        .map_err(|e| Trouble::new(format!("no directory for temporary files: {e}")))?;
    let recorded = match &args.record {
        Some(path) => std::path::absolute(path)
            .and_then(|path| File::create(&path).map(|_| path))
            .map_err(|e| Trouble::new(format!("{}: {e}", path.display())))?,
        None => scratch.path().join("record"),
    };
    let counted = scratch.path().join("count");
    let program = args.program[0].to_string_lossy();
    let (exit, left) =
        child::run(&args.program, &drop_ins, args.syscalls, &recorded, &counted, || {
            say(&format!(
                "aio2 run: {program} has ended, and has left processes behind, whose end is \
                 waited for; after a signal (Ctrl-C) the report is of what they have done by then"
            ));
        })?;
    let calls = Counters::open(&counted).map_or(0, |counters| {
        counters.get(Count::Submissions)
            + counters.get(Count::Waits)
            + counters.get(Count::Contexts)
    });
    let record = if recorded.exists() { read(&recorded)? } else { Record::default() };
    // What uses AIO2 itself is recorded without a drop-in.
    if calls == 0 && record.requests.is_empty() {
        say(&format!(
            "aio2 run: {program} never called a drop-in, so there is nothing to report: it is \
             linked statically, runs with more rights than its user, or uses none of libaio, \
             POSIX AIO and AIO2 (--syscalls is for calls by number)"
        ));
        return Ok(exit);
    }
    let title = args.program.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
    report(global, &record, &title, &args.outputs, true)?;
    match left {
        Left::Nothing => {}
        Left::Ended(n) => say(&format!(
            "aio2 run: {program} left {n} {} behind, which ended later: the report is of all",
            if n == 1 { "process" } else { "processes" }
        )),
        Left::Running => say(&format!(
            "aio2 run: processes that {program} left behind run on: the report is of what they \
             have done by now"
        )),
    }
    Ok(exit)
}

/// Reports from a record.
pub fn report_of(global: &Global, args: &ReportArgs) -> Result<Exit, Trouble> {
    let record = read(&args.record)?;
    report(global, &record, &args.record.to_string_lossy(), &args.outputs, false)?;
    Ok(Exit::Done)
}

/// Draws a record.
pub fn plot_of(args: &PlotArgs) -> Result<Exit, Trouble> {
    let record = read(&args.record)?;
    let title = args.title.clone().unwrap_or_else(|| args.record.to_string_lossy().into_owned());
    draw(&record, &title, &args.picture)?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Record, Trouble> {
    aio2_record::read(path).map_err(|e| Trouble::new(format!("{}: {e}", path.display())))
}

fn report(
    global: &Global,
    record: &Record,
    title: &str,
    outputs: &args::Outputs,
    beside_a_program: bool,
) -> Result<(), Trouble> {
    let summary = Summary::new(record);
    if beside_a_program && !global.json {
        // The program's own output is on standard output.
        say(&table::Table(&summary).to_string());
    } else {
        global.print(&table::Table(&summary), &summary)?;
    }
    if let Some(path) = &outputs.trace {
        write(path, |out| trace::write(record, out))?;
    }
    if let Some(path) = &outputs.hdr {
        write(path, |out| hdr::write(&summary, out))?;
    }
    if let Some(path) = &outputs.plot {
        draw(record, title, path)?;
    }
    Ok(())
}

fn draw(record: &Record, title: &str, path: &Path) -> Result<(), Trouble> {
    let svg = plot::draw(record, title).map_err(Trouble::new)?;
    write(path, |out| out.write_all(svg.as_bytes()))
}

fn write(path: &Path, what: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Trouble> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        what(&mut out)?;
        out.flush()
    });
    written.map_err(|e| Trouble::new(format!("{}: {e}", path.display())))
}

/// Where nobody can read it, the exit status tells.
fn say(text: &str) {
    let _unread = io::stderr().write_all(format!("{text}\n").as_bytes());
}
