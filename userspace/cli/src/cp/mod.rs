//! `aio2 cp`: copies files and trees.
//!
//! Duty: one run, from the command line to the report. Its way: `plan` (what
//! the command line means) → `tree` (directories are walked) → `copiers` (threads
//! that copy) → `file`, `node`, `stream` (one entry) → `links`, `place` (hard
//! links; where new contents stand) → `contents`, `flow` (the bytes) → `meta`
//! → `entry`, `dir` → `session`. Names and metadata are plain calls of a few
//! threads; where the kernel does not copy by itself, the bytes of large files go
//! through AIO2, and always checksums and fsync.
//! Bounded are the batches that wait, the buffers, and the descriptors; what
//! grows is the depth of the walk, and the table of hard links.

mod contents;
mod copiers;
mod dir;
mod entry;
mod failure;
mod file;
mod flow;
mod job;
mod linked;
mod links;
mod meta;
mod node;
mod options;
mod place;
mod plan;
mod progress;
mod report;
mod session;
mod stat;
mod stream;
mod summary;
mod sys;
mod traits;
mod tree;

use crate::args::{CpArgs, Global, ReportForm};
use crate::exit::{Exit, Trouble};
use aio2::Context;
use aio2_abi::attr;
use copiers::{Copiers, Limits, Queue};
use failure::Failures;
use flow::Flow;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use options::{Existing, Options};
use plan::Into;
use progress::Progress;
use report::Report;
use session::Session;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Instant;
use summary::Summary;

/// Entries of a batch, and with fsync.
const BATCH: usize = 16;
const BATCH_SYNC: usize = 32;
/// Threads for each processor, if files are made durable: they mostly wait.
const SYNC_THREADS: usize = 4;
/// Most threads that the command line can ask for.
const THREADS_MAX: usize = 256;
/// Descriptors that a context takes, at most.
const CONTEXT_FDS: usize = 12;
/// A limit of memory below which one thread copies, by plain calls, in bytes.
const MEMORY_LITTLE: u64 = 256 << 20;
/// Descriptors that a file takes while it is copied.
const FILE_FDS: usize = 3;

/// Copies what the command line says, and prints the report.
///
/// # Errors
/// [`Trouble`] if nothing was copied at all.
pub fn run(global: &Global, args: CpArgs) -> Result<Exit, Trouble> {
    let stop = stop_on_signals()?;
    let form = args.report(global.json);
    let attributes = form == ReportForm::Long && !args.no_attributes || args.record.is_some();
    let options = Options::new(&args, attributes)?;
    let context = first_context(global, &args, attributes)?;
    let backend = context.as_ref().map(|context| context.implementation().to_string());
    let room = Room::new(global, &options);
    let (sources, target, into) = operands(args)?;
    let started = Instant::now();
    let json = global.json;
    let progress = Progress::new(json || form == ReportForm::None);
    let cx = Session::new(options, Failures::new(json), progress, stop, room.directories);
    let queue = Queue::default();
    let new_flow = || Flow::new(global, room.workers, attributes, room.flows);
    let mut own = new_flow();
    if let Some(context) = context {
        own.adopt(context);
    }
    let (planned, metrics) = thread::scope(|scope| {
        let mut copiers = Copiers::new(scope, &cx, &queue, room.limits, own, &new_flow);
        let planned = plan::run(&cx, &mut copiers, sources, target, into);
        (planned, copiers.finish())
    });
    cx.progress.finish();
    planned.map_err(|bad| Trouble::new(bad.to_string()))?;
    let mut report = Report::new(&cx, backend, started.elapsed(), form);
    report.attributes = (!metrics.is_empty()).then(|| Summary::of(&metrics));
    let told = match form {
        ReportForm::None => Ok(()),
        _ => global.print(&report, &report),
    };
    if told.is_err() || cx.output_lost() {
        cx.warn("standard output cannot be written: what was copied is not told");
    }
    Ok(match (cx.signal(), report.failures) {
        (0, 0) if told.is_err() || cx.output_lost() => Exit::ReportLost,
        (0, 0) => Exit::Done,
        (0, _) => Exit::SomeFailed,
        (signal, _) => Exit::Signal(signal),
    })
}

/// Sources and target.
fn operands(args: CpArgs) -> Result<(Vec<OsString>, OsString, Into), Trouble> {
    let trouble = |what: &str| Trouble::new(what);
    let mut sources = args.paths;
    let (target, into) = match (args.target_directory, args.no_target_directory) {
        (Some(_), true) => return Err(trouble("-t and -T exclude each other")),
        (Some(target), false) => (target, Into::Directory),
        (None, named) => {
            let target = sources.pop().filter(|_| !sources.is_empty());
            let target = target.ok_or_else(|| trouble("a target is required after the source"))?;
            (target, if named { Into::Name } else { Into::Either })
        }
    };
    if sources.iter().chain([&target]).any(|path| path.is_empty()) {
        return Err(trouble("an empty name is no file"));
    }
    Ok((sources, target, into))
}

/// A context, where the command line needs one whatever is copied.
fn first_context(
    global: &Global,
    args: &CpArgs,
    attributes: bool,
) -> Result<Option<Context>, Trouble> {
    if !(args.verify || attributes || global.insists()) {
        return Ok(None);
    }
    let context = global.context(None)?;
    if args.verify && context.setup().returns >> attr::CHECKSUM & 1 == 0 {
        let backend = context.implementation();
        return Err(Trouble::new(format!(
            "--verify needs checksums, which the {backend} does not give; \
             try another --backend, or compare with another tool"
        )));
    }
    Ok(Some(context))
}

/// What there is room for.
struct Room {
    limits: Limits,
    /// Directories that may be open.
    directories: u64,
    /// Workers of each thread's context.
    workers: Option<u32>,
    /// Whether contexts may be made.
    flows: bool,
}

impl Room {
    fn new(global: &Global, options: &Options) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let wanted = match global.threads() {
            Some(n) => n.clamp(1, THREADS_MAX),
            None if options.sync => processors * SYNC_THREADS,
            None => processors,
        };
        let batch = if options.sync { BATCH_SYNC } else { BATCH };
        let held = if options.sync { batch * 2 } else { 0 };
        let each = FILE_FDS + held + CONTEXT_FDS;
        let free = free_descriptors();
        let workers = u32::try_from(processors).ok();
        let little = little_memory();
        if options.existing == Existing::Ask || little || free < 2 * each + 16 {
            // One at a time, and where even that is much, directories by path.
            let flows = !little && free >= FILE_FDS + CONTEXT_FDS + 8;
            let rest = free.saturating_sub(FILE_FDS + if flows { CONTEXT_FDS } else { 0 });
            let directories = if rest < 4 { 0 } else { rest as u64 - 1 };
            let limits = Limits { threads: 0, batch: 1 };
            return Room { limits, directories, workers, flows };
        }
        let threads = wanted.min((free / 2) / each);
        let directories = (free - (threads + 1) * each) as u64;
        // A thread for one at a time would only be waited for.
        let threads = if wanted == 1 { 0 } else { threads };
        Room { limits: Limits { threads, batch }, directories, workers, flows: true }
    }
}

/// Whether memory is limited so far that stacks and rings would use it up. What
/// cannot be had then is a failure with a name.
fn little_memory() -> bool {
    let limits = [Resource::RLIMIT_AS, Resource::RLIMIT_DATA];
    limits.into_iter().any(|limit| getrlimit(limit).is_ok_and(|(soft, _)| soft < MEMORY_LITTLE))
}

/// Descriptors that can be opened, after the limit was raised as far as it may.
fn free_descriptors() -> usize {
    let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    // If it is refused, the limit is as before.
    let _unchanged = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let open = fs::read_dir("/proc/self/fd").map_or(3, |list| list.count().saturating_sub(1));
    usize::try_from(most).unwrap_or(usize::MAX / 4).min(1 << 20).saturating_sub(open)
}

/// The first SIGINT, SIGTERM or SIGHUP asks to stop and clean up, a second one
/// ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicUsize>, Trouble> {
    let stop = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let number = signal.unsigned_abs() as usize;
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .and_then(|_| flag::register(signal, Arc::clone(&again)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&stop), number))
            .map_err(|error| Trouble::new(format!("signal {signal} cannot be caught: {error}")))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    /// The files of this folder that each of them names.
    fn arrows() -> BTreeMap<String, Vec<String>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cp");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        let files = files.filter(|path| named(path) != "mod");
        let arrows = files.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("super::").skip(1).map(|rest| {
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            });
            (named(&path), names.collect())
        });
        arrows.collect()
    }

    #[test]
    fn no_file_needs_itself_by_way_of_others() {
        let mut left = arrows();
        assert!(left.len() > 20, "{left:?}");
        while !left.is_empty() {
            let before = left.len();
            let open: Vec<_> = left.keys().cloned().collect();
            left.retain(|_, needs| needs.iter().any(|need| open.contains(need)));
            assert!(left.len() < before, "a circle among {left:?}");
        }
    }
}
