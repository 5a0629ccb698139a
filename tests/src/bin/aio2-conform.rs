//! Runs the conformance suite without a test harness, for a guest that has
//! nothing but this program.
//!
//!     aio2-conform [--backend engine|kernel] [--dir DIR] [--list] [FILTER]
//!
//! One line for each test: `ok|FAIL|SKIP name ids`; then one for each backend:
//! `aio2-conform: backend=… ok=… failed=… skipped=…`. Exit status 1 if a test
//! failed, 2 for bad usage.

use aio2_conformance::backends::{self, InProcess, Running};
use aio2_conformance::child;
use aio2_conformance::env::Factory;
use aio2_conformance::suite::{TESTS, Test, Verdict, run_all};
use std::path::PathBuf;
use std::process::ExitCode;

struct Options {
    backends: Vec<String>,
    dir: PathBuf,
    list: bool,
    filter: String,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        backends: Vec::new(),
        dir: std::env::temp_dir().join(format!("aio2-conform-{}", std::process::id())),
        list: false,
        filter: String::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--backend" => options.backends.push(value()?),
            "--dir" => options.dir = value()?.into(),
            "--list" => options.list = true,
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}")),
            _ => options.filter = arg,
        }
    }
    if options.backends.is_empty() {
        options.backends = vec!["engine".into(), "kernel".into()];
    }
    Ok(options)
}

fn tell(test: &Test, verdict: &Verdict) {
    let ids = test.ids.join(" ");
    match verdict {
        Verdict::Ok => println!("ok {} {ids}", test.name),
        Verdict::Skipped(reason) => println!("SKIP {} {ids}: {reason}", test.name),
        Verdict::Failed(why) => println!("FAIL {} {ids}: {}", test.name, why.replace('\n', " ")),
    }
}

fn main() -> ExitCode {
    child::play_role(&[&InProcess, &Running]);
    let options = match options() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("aio2-conform: {e}");
            return ExitCode::from(2);
        }
    };
    if options.list {
        TESTS.iter().for_each(|t| println!("{} {}", t.name, t.ids.join(" ")));
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for name in &options.backends {
        let factory: Box<dyn Factory> = match name.as_str() {
            "engine" => Box::new(InProcess),
            "kernel" => match backends::kernel() {
                Ok(factory) => factory,
                Err(skip) => {
                    println!("SKIP backend kernel: {}", skip.0);
                    let all = TESTS.iter().filter(|t| t.name.contains(&options.filter)).count();
                    println!("aio2-conform: backend=kernel ok=0 failed=0 skipped={all}");
                    continue;
                }
            },
            other => {
                eprintln!("aio2-conform: no backend {other}: engine or kernel");
                return ExitCode::from(2);
            }
        };
        let report = run_all(&*factory, &options.filter, &options.dir, tell);
        let (ok, bad, skipped) = report.counts();
        println!("aio2-conform: backend={name} ok={ok} failed={bad} skipped={skipped}");
        failed |= bad > 0;
    }
    // Best effort: it is scratch space.
    let _ = std::fs::remove_dir_all(&options.dir);
    ExitCode::from(u8::from(failed))
}
