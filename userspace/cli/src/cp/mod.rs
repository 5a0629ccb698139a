//! `aio2 cp`: copies files and trees, all through AIO2.
//!
//! Duty: one run, from the command line to the report. A file is an async
//! function (`file`), directories are walked as a stream (`tree`), and both
//! wait for operations in flight (`flight`). Bounded are the files under way,
//! the buffers, and the directories that are being finished (`session`); what
//! grows is the depth of the walk, and the table of hard links (`links`).

mod entry;
mod failure;
mod file;
mod flight;
mod fs;
mod links;
mod node;
mod plan;
mod progress;
mod report;
mod session;
mod stat;
mod statistics;
mod temp;
mod transfer;
mod tree;

use crate::args::{CpArgs, Global};
use crate::exit::{Exit, Trouble};
use aio2::{Context, Queue};
use aio2_abi::attr;
use failure::Failures;
use flight::Flight;
use fs::Fs;
use futures::executor::LocalPool;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use progress::Progress;
use report::Report;
use session::{Options, Session};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use std::cell::RefCell;
use std::ffi::OsString;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

/// How long a turn waits at most, so that a signal and the progress are seen to.
const TURN: Duration = Duration::from_millis(100);

/// Copies what the command line says, and prints the report.
///
/// # Errors
/// [`Trouble`] if nothing was copied at all.
pub fn run(global: &Global, args: CpArgs) -> Result<Exit, Trouble> {
    let stop = stop_on_signals()?;
    raise_file_limit();
    let context = global.context(workers(args.no_sync))?;
    check(&context, &args)?;
    let backend = context.implementation().to_string();
    let started = Instant::now();
    let mut pool = LocalPool::new();
    let options = Options {
        recursive: args.recursive,
        sync: !args.no_sync,
        verify: args.verify,
        no_clobber: args.no_clobber,
    };
    let attributes = !args.no_attributes;
    let cx = Session::new(
        Fs::new(Flight::new(Queue::new(context), attributes)),
        options,
        Failures::new(global.json),
        Progress::new(global.json),
        pool.spawner(),
        stop,
    );
    copy(&cx, &mut pool, args.sources, args.target)?;
    cx.progress.finish();
    let mut report = Report::new(&cx, backend, started.elapsed());
    drop(pool);
    let signal = cx.signal();
    if attributes {
        let statistics = Rc::into_inner(cx).map(|cx| cx.fs.into_flight().into_statistics());
        report.attributes = statistics.map(|statistics| statistics.summary());
    }
    global.print(&report, &report)?;
    Ok(match (signal, report.failures) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::SomeFailed,
        (signal, _) => Exit::Signal(signal),
    })
}

/// Turns between tasks and completions until everything has ended.
fn copy(
    cx: &Rc<Session>,
    pool: &mut LocalPool,
    sources: Vec<OsString>,
    target: OsString,
) -> Result<(), Trouble> {
    let refused = Rc::new(RefCell::new(None));
    let (cx2, refused2) = (Rc::clone(cx), Rc::clone(&refused));
    cx.spawn(async move {
        if let Err(bad) = plan::run(&cx2, sources, target).await {
            *refused2.borrow_mut() = Some(bad);
        }
    });
    loop {
        pool.run_until_stalled();
        if cx.is_idle() {
            break;
        }
        let broken = |error| Trouble::new(format!("the context is broken: {error}"));
        cx.fs.flight().turn(TURN).map_err(broken)?;
        cx.progress.show(cx.tally.files.get(), cx.tally.bytes.get(), cx.failures.count());
    }
    match refused.take() {
        Some(bad) => Err(Trouble::new(format!("cp: {bad}"))),
        None => Ok(()),
    }
}

/// How many workers to have. Without fsync most operations end within
/// microseconds, and a worker more than there are processors only takes the
/// processor from another; those that wait for a device need more.
fn workers(no_sync: bool) -> Option<u32> {
    let processors = thread::available_parallelism().ok()?.get();
    no_sync.then(|| u32::try_from(processors).unwrap_or(1))
}

/// Refuses early what the context cannot do.
fn check(context: &Context, args: &CpArgs) -> Result<(), Trouble> {
    if args.verify && context.setup().returns >> attr::CHECKSUM & 1 == 0 {
        let backend = context.implementation();
        return Err(Trouble::new(format!(
            "--verify needs the attribute CHECKSUM, which the {backend} does not return; \
             try another --backend, or compare with another tool"
        )));
    }
    Ok(())
}

/// The first SIGINT, SIGTERM or SIGHUP asks to stop and clean up, a second one
/// ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicUsize>, Trouble> {
    let stop = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicBool::new(false));
    // Caught, so that a file above the limit of sizes is EFBIG and not the end.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .map_err(|error| Trouble::new(format!("SIGXFSZ cannot be caught: {error}")))?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let number = signal.unsigned_abs() as usize;
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
            .and_then(|_| flag::register(signal, Arc::clone(&again)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&stop), number))
            .map_err(|error| Trouble::new(format!("signal {signal} cannot be caught: {error}")))?;
    }
    Ok(stop)
}

/// A deep tree needs two descriptors for each level: as many as may be had.
fn raise_file_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it is refused, the limit is as before, and EMFILE says so.
        let _unchanged = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
