//! The command line.

use crate::exit::Trouble;
use crate::recorded::{PlotArgs, ReportArgs, RunArgs};
use aio2::{Builder, Context, Prefer};
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

/// The least that a ring can have, in bytes.
const SMALLEST_RING: u32 = 4096;

/// What holds for all commands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Print for programs: JSON on standard output, failures as JSON lines on
    /// standard error
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    context: ContextArgs,
    /// Where the requests of each context are recorded.
    #[arg(skip)]
    pub record: Option<PathBuf>,
}

/// What a context is to be like; before the command, or behind it.
#[derive(Clone, Debug, Default, Args)]
pub struct ContextArgs {
    /// Who runs the operations; auto if not given
    #[arg(long, value_enum, value_name = "WHO")]
    backend: Option<Backend>,
    /// Least size of the ring of events, in bytes
    #[arg(long, value_name = "BYTES")]
    ring: Option<u32>,
    /// Most requests whose event is not in the ring yet
    #[arg(long, value_name = "N")]
    requests: Option<u32>,
    /// Most workers; with cp, threads that copy
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
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
    /// Takes in what stands behind the command.
    pub fn with(&mut self, inner: &ContextArgs) {
        let ContextArgs { backend, ring, requests, concurrency } = *inner;
        let ours = &mut self.context;
        ours.backend = backend.or(ours.backend);
        ours.ring = ring.or(ours.ring);
        ours.requests = requests.or(ours.requests);
        ours.concurrency = concurrency.or(ours.concurrency);
    }

    /// Refuses what stands before the command and means nothing to it.
    ///
    /// # Errors
    /// The option.
    pub fn takes(&self, command: &Command) -> Result<(), Trouble> {
        let backend = match command {
            Command::Cp(_) | Command::Probe(_) => return Ok(()),
            Command::Exec(_) => true,
            _ => false,
        };
        let ours = &self.context;
        let given = [
            (ours.backend.is_some() && !backend, "--backend"),
            (ours.ring.is_some(), "--ring"),
            (ours.requests.is_some(), "--requests"),
            (ours.concurrency.is_some(), "--concurrency"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Trouble::new(format!("{option} means nothing here"))),
            None => Ok(()),
        }
    }

    /// A context as the command line asks for it; `workers` of them, if it does
    /// not say how many, or as many as the implementation likes.
    ///
    /// # Errors
    /// Why there is none.
    pub fn context(&self, workers: Option<u32>) -> Result<Context, Trouble> {
        self.build(workers, |builder| match &self.record {
            Some(path) => builder.record(path),
            None => builder,
        })
    }

    /// The same, and nothing of it is recorded, whatever the environment says: a record
    /// decides on the implementation.
    ///
    /// # Errors
    /// Why there is none.
    pub fn unrecorded_context(&self) -> Result<Context, Trouble> {
        self.build(None, Builder::record_nothing)
    }

    fn build(
        &self,
        workers: Option<u32>,
        recorded: impl Fn(Builder) -> Builder,
    ) -> Result<Context, Trouble> {
        let ContextArgs { backend, ring, requests, concurrency } = self.context;
        let prefer = match backend {
            None | Some(Backend::Auto) => Prefer::Auto,
            Some(Backend::Engine) => Prefer::Engine,
            Some(Backend::Kernel) => Prefer::Kernel,
        };
        let build = |ring| {
            let builder = Context::builder()
                .prefer(prefer)
                .ring_bytes(ring)
                .max_requests(requests.unwrap_or(0))
                .concurrency(concurrency.or(workers).unwrap_or(0));
            recorded(builder).build()
        };
        let built = match build(ring.unwrap_or(0)) {
            // Under a low limit of file sizes (ulimit -f) the smallest ring may do.
            Err(_) if ring.is_none() => build(SMALLEST_RING),
            built => built,
        };
        built.map_err(|error| Trouble::new(error.to_string()))
    }

    /// Whether the command line wants a certain context, or none.
    pub fn insists(&self) -> bool {
        let ours = &self.context;
        ours.backend == Some(Backend::Kernel) || ours.ring.is_some() || ours.requests.is_some()
    }

    /// How many threads or workers it asks for.
    pub fn threads(&self) -> Option<usize> {
        self.context.concurrency.map(|n| n as usize)
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
        written.and_then(|()| out.flush()).map_err(unwritable)
    }
}

/// Standard output cannot be written to.
pub fn unwritable(error: io::Error) -> Trouble {
    Trouble::new(format!("standard output cannot be written: {error}"))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy files and trees
    ///
    /// Unless options say otherwise, everything is kept that may be kept: mode,
    /// owner, times, holes, hard links among each other, extended attributes and
    /// access control lists; what was lost is counted in the report. With -p, -d or
    /// --preserve only what they name is kept, as with cp(1).
    ///
    /// Nothing half-written stands under a final name: a file is written without a
    /// name, or under a hidden one (.aio2-cp.*), made durable, and then named. What
    /// is there is replaced, a symbolic link followed. What cannot be replaced (a
    /// device, a fifo, a mount point, a file in a directory where nothing may be
    /// added) is written to.
    ///
    /// One thread for each processor copies (-j), by plain calls, and the kernel
    /// copies bytes by itself where it can (copy_file_range, reflinks). Through AIO2
    /// go the bytes of large files where it cannot, checksums, and fsync; with
    /// --report=long the bytes of all files.
    ///
    /// Exit status: 0 all was copied, 1 something failed and was named, 2 usage or
    /// setup, 3 all was copied but that could not be printed, 128+N stopped by
    /// signal N. A second signal ends it at once.
    #[command(verbatim_doc_comment)]
    Cp(CpArgs),
    /// Tell what this system offers
    Probe(ProbeArgs),
    /// Run one syscall with attributes
    ///
    /// Arguments: a number (decimal, 0x…, 0o…, negative), str:TEXT (pointer to TEXT
    /// and a zero byte), in:TEXT (pointer to TEXT), buf:N (pointer to N bytes, shown
    /// afterwards), fd:PATH (PATH opened for reading). TEXT may have \n \t \0 \xNN \\.
    /// Behind what a pointer leads to nothing can be touched: a length that is too
    /// large is EFAULT.
    ///
    /// Attributes: timing, path, checksum, cache[=normal|keep|drop|no-readahead],
    /// priority=N, tag=N, or a number with payload in hexadecimal:
    /// 42=0011223344556677. Not deadline, group, after: the call is run at once.
    #[command(verbatim_doc_comment)]
    Exec(ExecArgs),
    /// Run a program that uses libaio or POSIX AIO on AIO2, and report what it did
    ///
    /// The program is unmodified: libaio.so.1 is taken from the drop-ins that were
    /// installed with this command, and that for POSIX AIO is preloaded. Its children
    /// are followed, and the end of those that it leaves behind, as a daemon, is waited
    /// for, or a signal. Then the report is printed, on standard error (with --json on
    /// standard output): for each operation and file how many, errors, latencies, bytes
    /// found in the page cache and not, where requests ran, how long submissions were
    /// blocked, and what was not truly asynchronous. The exit status is the program's.
    #[command(verbatim_doc_comment)]
    Run(RunArgs),
    /// Report from what was recorded
    Report(ReportArgs),
    /// Draw what was recorded: latencies over time, hits and misses, percentiles
    Plot(PlotArgs),
    /// Decode saved requests, events or a ring
    ///
    /// A ring is its consumer page, its producer page, and the data, one after
    /// another. Those of a process that uses the engine are memfds named
    /// aio2-consumer and aio2-producer: cat /proc/PID/map_files/{CONSUMER,PRODUCER}
    /// into a file, or into aio2 dump -. With --json each line is one record.
    #[command(verbatim_doc_comment)]
    Dump(DumpArgs),
    /// Write the manual pages and shell completions of this command
    #[command(hide = true)]
    Pages(PagesArgs),
}

/// When something is done that may be impossible, or not worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

/// What is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Update {
    /// Everything
    All,
    /// Nothing
    None,
    /// Nothing, and each file that is there is a failure
    NoneFail,
    /// What is older than the source
    Older,
}

/// How much is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// What was copied, and what was lost
    Short,
    /// Also latencies and where operations ran: then all bytes go through AIO2
    Long,
    /// Nothing
    None,
}

/// Options of `cp`.
#[derive(Debug, Args)]
pub struct CpArgs {
    /// Copy directories with everything in them
    #[arg(short, long, visible_short_alias = 'R')]
    pub recursive: bool,
    /// As -r -P with everything kept: what -r does anyway
    #[arg(short, long)]
    pub archive: bool,
    /// Follow no symbolic links, and keep hard links only: -P --preserve=links
    #[arg(short = 'd')]
    pub links: bool,
    /// Keep only mode, owner and times: --preserve=mode,ownership,timestamps
    #[arg(short = 'p')]
    pub preserve_usual: bool,
    /// Follow no symbolic links of the source (with -r: unless told to)
    #[arg(short = 'P', long, overrides_with_all = ["follow_command_line", "dereference"])]
    pub no_dereference: bool,
    /// Follow the symbolic links among the SRC (without -r: unless told not to)
    #[arg(short = 'H', overrides_with_all = ["no_dereference", "dereference"])]
    pub follow_command_line: bool,
    /// Follow all symbolic links of the source
    #[arg(short = 'L', long, overrides_with_all = ["no_dereference", "follow_command_line"])]
    pub dereference: bool,
    /// Copy into this directory; all operands are sources
    #[arg(short, long, value_name = "DIRECTORY")]
    pub target_directory: Option<OsString>,
    /// Take DST for the copy's name, never for a directory to copy into
    #[arg(short = 'T', long)]
    pub no_target_directory: bool,
    /// Leave what is in the target already as it is
    #[arg(short, long, overrides_with_all = ["interactive", "force"])]
    pub no_clobber: bool,
    /// Ask before something is replaced
    #[arg(short, long, overrides_with_all = ["no_clobber"])]
    pub interactive: bool,
    /// Accepted: what is there is replaced anyway
    #[arg(short, long)]
    pub force: bool,
    /// Replace only what is older than the source, or as WHAT says
    #[arg(
        short, long, value_enum, value_name = "WHAT",
        num_args = 0..=1, require_equals = true, default_missing_value = "older"
    )]
    pub update: Option<Update>,
    /// Replace a symbolic link in the target instead of following it
    #[arg(long)]
    pub remove_destination: bool,
    /// Keep what is replaced under another name: simple, numbered, existing, none
    #[arg(
        long, value_name = "CONTROL", num_args = 0..=1, require_equals = true,
        default_missing_value = ""
    )]
    pub backup: Option<String>,
    /// As --backup
    #[arg(short = 'b')]
    pub backup_plain: bool,
    /// What the name of a simple backup ends with, instead of ~
    #[arg(short = 'S', long, value_name = "SUFFIX")]
    pub suffix: Option<OsString>,
    /// Keep only: mode, ownership, timestamps, links, xattr, all, none
    #[arg(
        long, value_name = "LIST", num_args = 0..=1, require_equals = true,
        default_missing_value = "mode,ownership,timestamps"
    )]
    pub preserve: Vec<String>,
    /// Do not keep what LIST names
    #[arg(long, value_name = "LIST")]
    pub no_preserve: Vec<String>,
    /// Make holes: auto, where the source has some; always, wherever there are
    /// zeros; never
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto, hide_possible_values = true)]
    pub sparse: When,
    /// Share the source's blocks: auto, where possible; always, or fail; never
    #[arg(
        long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true,
        default_value_t = When::Auto, default_missing_value = "always", hide_possible_values = true
    )]
    pub reflink: When,
    /// Stay on the file system of each SRC
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Do not wait until files are on the device before naming them
    #[arg(long)]
    pub no_sync: bool,
    /// Read source and copy again and compare CRC-32C
    #[arg(long)]
    pub verify: bool,
    /// Record each request of the copying to FILE, for aio2 report and aio2 plot; all
    /// bytes go through AIO2 then
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print each name that is copied
    #[arg(short, long)]
    pub verbose: bool,
    /// Report nothing but failures: --report=none
    #[arg(short, long)]
    pub quiet: bool,
    /// How much to report: short if not given, with --json long
    #[arg(
        long, value_enum, value_name = "FORM", num_args = 0..=1, require_equals = true,
        default_missing_value = "long"
    )]
    pub report: Option<ReportForm>,
    /// With --report=long or --json: ask for no attributes
    #[arg(long)]
    pub no_attributes: bool,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    refused: Refused,
    /// What to copy, and where to: a name, or a directory to copy into
    #[arg(required = true, value_name = "SRC... DST")]
    pub paths: Vec<OsString>,
}

/// Options of cp(1) that are known, and not done.
#[derive(Debug, Args)]
struct Refused {
    #[arg(long, hide = true)]
    attributes_only: bool,
    #[arg(long, hide = true)]
    copy_contents: bool,
    #[arg(short, long, hide = true)]
    link: bool,
    #[arg(short, long, hide = true)]
    symbolic_link: bool,
    #[arg(long, hide = true)]
    parents: bool,
    #[arg(long, hide = true)]
    strip_trailing_slashes: bool,
    #[arg(short = 'Z', hide = true)]
    selinux: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    context: Option<Option<String>>,
    #[arg(long, hide = true)]
    keep_directory_symlink: bool,
    #[arg(long, hide = true)]
    debug: bool,
}

impl Command {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Cp(_) => "cp",
            Command::Probe(_) => "probe",
            Command::Exec(_) => "exec",
            Command::Run(_) => "run",
            Command::Report(_) => "report",
            Command::Plot(_) => "plot",
            Command::Dump(_) => "dump",
            Command::Pages(_) => "pages",
        }
    }

    /// What stands behind the command of the context that it needs.
    pub fn context(&self) -> ContextArgs {
        match self {
            Command::Cp(args) => args.context.clone(),
            Command::Probe(args) => args.context.clone(),
            Command::Exec(args) => ContextArgs { backend: args.backend, ..ContextArgs::default() },
            _ => ContextArgs::default(),
        }
    }
}

impl CpArgs {
    /// The first option that is known, and not done.
    pub fn refused(&self) -> Option<&'static str> {
        let refused = &self.refused;
        let all = [
            (refused.attributes_only, "--attributes-only"),
            (refused.copy_contents, "--copy-contents"),
            (refused.link, "--link"),
            (refused.symbolic_link, "--symbolic-link"),
            (refused.parents, "--parents"),
            (refused.strip_trailing_slashes, "--strip-trailing-slashes"),
            (refused.selinux, "-Z"),
            (refused.context.is_some(), "--context"),
            (refused.keep_directory_symlink, "--keep-directory-symlink"),
            (refused.debug, "--debug"),
        ];
        all.into_iter().find_map(|(given, name)| given.then_some(name))
    }

    /// How much is reported.
    pub fn report(&self, json: bool) -> ReportForm {
        match self.report {
            _ if self.quiet => ReportForm::None,
            Some(form) => form,
            None if json && !self.no_attributes => ReportForm::Long,
            None => ReportForm::Short,
        }
    }
}

/// Options of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// List every syscall
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub context: ContextArgs,
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
    /// Who runs the operation; auto if not given
    #[arg(long, value_enum, value_name = "WHO")]
    backend: Option<Backend>,
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

/// Options of `pages`.
#[derive(Debug, Args)]
pub struct PagesArgs {
    /// Where share/ is, or will be
    pub dir: PathBuf,
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
