//! What the crate tracing is told (feature `tracing`).
#![allow(missing_docs)]

use aio2::CacheHint;
use aio2::{Context, Op, Prefer, Queue, Timeout};
use std::fs::File;
use std::io;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

/// The lines that are told while `what` is done.
fn told(most: tracing::Level, what: impl FnOnce()) -> Vec<String> {
    // What one test listens to is no business of another one's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(most)
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, what);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn run() {
    let context = Context::builder().prefer(Prefer::Engine).concurrency(1).build();
    let mut queue: Queue<Vec<u8>, u64> = Queue::new(context.unwrap());
    let read = Op::read_at(File::open("/proc/self/exe").unwrap(), vec![0; 16], 0);
    queue.push(read.timing().execution_path().cache(CacheHint::Normal), 0);
    queue.push(Op::nop(), 1);
    queue.push(Op::read_at(File::open("/").unwrap(), vec![0; 16], 0), 2);
    let mut seen = 0;
    while !queue.is_empty() {
        seen += queue.wait(1, Timeout::Forever).unwrap().count();
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_context_a_submission_and_each_end_are_told() {
    let lines = told(tracing::Level::TRACE, run);
    let has = |parts: &[&str]| {
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    };
    let made = ["DEBUG aio2", "context made", "implementation=engine", "concurrency=1"];
    assert_eq!(has(&made), 1, "{lines:#?}");
    assert_eq!(has(&["TRACE aio2", "submitted", "bytes="]), 1, "{lines:#?}");
    assert_eq!(has(&["TRACE aio2", "ended", "key="]), 3, "{lines:#?}");
    let read = ["operation=\"pread64\"", "result=16", "place=inline", "waited_ns=", "ran_ns="];
    assert_eq!(has(&read), 1, "{lines:#?}");
    let failed = ["operation=\"pread64\"", "errno=", "never_began=false"];
    assert_eq!(has(&failed), 1, "{lines:#?}");
}

#[test]
fn who_listens_to_less_hears_of_contexts_only() {
    let lines = told(tracing::Level::DEBUG, run);
    assert!(lines.iter().any(|line| line.contains("context made")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("ended")), "{lines:#?}");
}

#[test]
fn a_context_that_cannot_be_made_says_why() {
    let lines = told(tracing::Level::DEBUG, || {
        let builder = Context::builder().prefer(Prefer::Engine).ring_bytes(u32::MAX);
        builder.build().unwrap_err();
    });
    assert!(lines.iter().any(|line| line.contains("no context made")), "{lines:#?}");
}
