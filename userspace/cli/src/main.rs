//! The `aio2` command: copy trees, probe, run a syscall with attributes,
//! decode dumps.
//!
//! Duty: choose the command and end as it says. Exit status: 0 done, 1
//! something failed and was named, 2 usage or setup, 128+N stopped by signal N.
#![deny(unsafe_code)]

mod args;
mod attribute;
mod cp;
mod dump;
mod errno;
#[allow(unsafe_code)]
mod exec;
mod exit;
mod printable;
#[allow(unsafe_code)]
mod probe;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let json = global.json;
    let exit = match command {
        Command::Cp(args) => cp::run(&global, args),
        Command::Probe(args) => probe::run(&global, &args),
        Command::Exec(args) => exec::run(&global, &args),
        Command::Dump(args) => dump::run(&global, &args),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            if json {
                eprintln!("{}", serde_json::json!({ "error": trouble.to_string() }));
            } else {
                eprintln!("aio2: {trouble}");
            }
            ExitCode::from(2)
        }
    }
}
