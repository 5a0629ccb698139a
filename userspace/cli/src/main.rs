//! The `aio2` command: copy trees, probe, run a syscall with attributes, run and
//! look into programs, decode dumps.
//!
//! Duty: choose the command and end as it says. Exit status: 0 done, 1
//! something failed and was named, 2 usage or setup, 3 done but not printed, 128+N
//! stopped by signal N.
#![deny(unsafe_code)]

mod args;
mod attribute;
mod cp;
mod dump;
mod errno;
#[allow(unsafe_code)]
mod exec;
mod exit;
mod pages;
mod printable;
#[allow(unsafe_code)]
mod probe;
mod recorded;

use args::{Cli, Command};
use clap::Parser;
use signal_hook::consts::SIGXFSZ;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let Cli { mut global, command } = Cli::parse();
    let json = global.json;
    global.with(&command.context());
    if let Command::Cp(args) = &command {
        global.record = args.record.clone();
    }
    let fits = global.takes(&command);
    // Caught, so that a file above the limit of sizes is EFBIG and not the end.
    // If that cannot be, it is as without it.
    let _as_before = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let name = command.name();
    let run = || match command {
        Command::Cp(args) => cp::run(&global, args),
        Command::Probe(args) => probe::run(&global, &args),
        Command::Exec(args) => exec::run(&global, &args),
        Command::Run(args) => recorded::run(&global, &args),
        Command::Report(args) => recorded::report_of(&global, &args),
        Command::Plot(args) => recorded::plot_of(&args),
        Command::Dump(args) => dump::run(&global, &args),
        Command::Pages(args) => pages::run(&args),
    };
    match fits.and_then(|()| run()) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            let line = if json {
                serde_json::json!({ "error": trouble.to_string() }).to_string()
            } else {
                format!("aio2 {name}: {trouble}")
            };
            // Where nobody can read it, the exit status tells.
            let _unread = io::stderr().write_all(format!("{line}\n").as_bytes());
            ExitCode::from(2)
        }
    }
}
