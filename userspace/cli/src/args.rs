//! The command line.

use crate::exit::Trouble;
use aio2::{Context, Prefer};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

/// Asynchronous system calls with attributes.
#[derive(Debug, Parser)]
#[command(name = "aio2", version, about)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for all commands.
#[derive(Debug, Args)]
pub struct Global {
    /// Print for programs: JSON on standard output, failures as JSON lines on
    /// standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Who runs the operations
    #[arg(long, global = true, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
    /// Least size of the ring of events, in bytes
    #[arg(long, global = true, value_name = "BYTES")]
    ring: Option<u32>,
    /// Most requests whose event is not in the ring yet
    #[arg(long, global = true, value_name = "N")]
    requests: Option<u32>,
    /// Most workers
    #[arg(long, global = true, value_name = "N")]
    concurrency: Option<u32>,
}

/// Which implementation runs the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// The kernel if it has AIO2, otherwise the engine
    Auto,
    /// The engine in this process
    Engine,
    /// The kernel or none
    Kernel,
}

impl Global {
    /// A context as the command line asks for it; `workers` of them, if it does
    /// not say how many, or as many as the implementation likes.
    ///
    /// # Errors
    /// Why there is none.
    pub fn context(&self, workers: Option<u32>) -> Result<Context, Trouble> {
        let prefer = match self.backend {
            Backend::Auto => Prefer::Auto,
            Backend::Engine => Prefer::Engine,
            Backend::Kernel => Prefer::Kernel,
        };
        let builder = Context::builder()
            .prefer(prefer)
            .ring_bytes(self.ring.unwrap_or(0))
            .max_requests(self.requests.unwrap_or(0))
            .concurrency(self.concurrency.or(workers).unwrap_or(0));
        builder.build().map_err(|error| Trouble::new(error.to_string()))
    }

    /// Prints a result: `text` for a person, `value` for a program.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn print(&self, text: &dyn Display, value: &impl Serialize) -> Result<(), Trouble> {
        let mut out = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer(&mut out, value)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            writeln!(out, "{text}")
        };
        written.map_err(unwritable)
    }
}

/// Standard output cannot be written to.
pub fn unwritable(error: io::Error) -> Trouble {
    Trouble::new(format!("standard output cannot be written: {error}"))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy files and trees through AIO2
    ///
    /// Copies keep mode, owner where permitted, times, holes, symbolic links and
    /// hard links among each other. Not kept: extended attributes and ACLs.
    ///
    /// A file is written under a temporary name in its directory (.aio2-cp.*) and
    /// renamed when it is complete and durable; a file or symbolic link of that
    /// name is replaced. Exit status: 0 all was copied, 1
    /// something failed and was named, 2 usage or setup, 128+N stopped by signal N.
    ///
    /// Memory is bounded: 24 MiB of buffers, 64 files under way, and per level of
    /// the tree's depth a list of up to 16 KiB. Only the table of files with several
    /// names grows with the tree, by about 200 bytes and the path for each of which
    /// not all names were met yet.
    #[command(verbatim_doc_comment)]
    Cp(CpArgs),
    /// Tell what this system offers
    Probe(ProbeArgs),
    /// Run one syscall with attributes
    ///
    /// Arguments: a number (decimal, 0x…, 0o…, negative), str:TEXT (pointer to TEXT
    /// and a zero byte), in:TEXT (pointer to TEXT), buf:N (pointer to N bytes, shown
    /// afterwards), fd:PATH (PATH opened for reading). TEXT may have \n \t \0 \xNN \\.
    ///
    /// Attributes: timing, path, checksum, cache[=normal|keep|drop|no-readahead],
    /// priority=N, tag=N, deadline=NS, group=KEY, or a number with payload in
    /// hexadecimal: 42=0011223344556677.
    #[command(verbatim_doc_comment)]
    Exec(ExecArgs),
    /// Decode saved requests, events or a ring
    ///
    /// A ring is its consumer page, its producer page, and the data, one after
    /// another. Those of a process that uses the engine are memfds named
    /// aio2-consumer and aio2-producer: cat /proc/PID/map_files/{CONSUMER,PRODUCER}
    /// into a file, or into aio2 dump -. With --json each line is one record.
    #[command(verbatim_doc_comment)]
    Dump(DumpArgs),
}

/// Options of `cp`.
#[derive(Debug, Args)]
pub struct CpArgs {
    /// Copy directories with everything in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub recursive: bool,
    /// Leave what is in the target already as it is
    #[arg(short, long)]
    pub no_clobber: bool,
    /// Do not wait until files are on the device before renaming them
    #[arg(long)]
    pub no_sync: bool,
    /// Read source and copy again and compare CRC-32C
    #[arg(long)]
    pub verify: bool,
    /// Ask for no attributes: fewer figures in the report
    #[arg(long)]
    pub no_attributes: bool,
    /// What to copy
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<OsString>,
    /// Where to: a name, or a directory to copy into
    #[arg(value_name = "DST")]
    pub target: OsString,
}

/// Options of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// List every syscall
    #[arg(short, long)]
    pub verbose: bool,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Name or number of the syscall, or nop
    #[arg(value_name = "NR|NAME")]
    pub call: String,
    /// Its arguments
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<OsString>,
    /// An attribute, and whether to fail without it
    #[arg(long = "attr", value_name = "NAME[=VALUE][,required]")]
    pub attrs: Vec<String>,
    /// Transfer everything or fail
    #[arg(long)]
    pub full: bool,
    /// Save the request's bytes
    #[arg(long, value_name = "FILE")]
    pub save_iocb: Option<PathBuf>,
    /// Save the event's bytes
    #[arg(long, value_name = "FILE")]
    pub save_event: Option<PathBuf>,
}

/// Options of `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// What the bytes are; found out if not given
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    pub form: Option<Form>,
    /// The file, or - for standard input
    pub file: PathBuf,
}

/// What a dump can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Requests, one after another
    Iocb,
    /// Events, one after another
    Event,
    /// A ring with its pages
    Ring,
}
