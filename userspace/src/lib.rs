//! AIO2: asynchronous system calls with attributes.
//!
//! An operation is a syscall, run asynchronously. Its completion is an event
//! with the result and an answer to each attribute that was asked for: when it
//! ran and where, what it found in the page cache, the checksum of its bytes.
//! Events arrive in a ring that any number of threads reap without a lock, and
//! none is ever lost. Two implement this: the engine, in the process, on
//! any kernel; and a kernel with the AIO2 series.
//!
//! ```
//! use aio2::{CacheHint, Context, Op, Queue, Timeout};
//! use std::fs::File;
//!
//! let mut queue = Queue::new(Context::new()?);
//! let file = File::open("/etc/passwd")?;
//! queue.push(Op::read_at(file, vec![0; 4096], 0).timing().cache(CacheHint::Normal), ());
//! for done in queue.wait(1, Timeout::Forever)? {
//!     println!("{} bytes", done.result?);
//!     println!("{}; {}", done.timing(), done.cache());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Short programs for what people look for first stand in the [`cookbook`].
//!
//! # Where things are
//!
//! | to | use |
//! |---|---|
//! | make a context, and see who implements it | [`Context`], [`Builder`] |
//! | run operations that own their buffers | [`Op`], [`Queue`], [`Completion`] |
//! | say how, and know what comes back | [`flags`], [`kind`] |
//! | the same with callbacks | [`Dispatcher`] |
//! | the same as futures | [`Driver`], [`Handle`] |
//! | files and sockets over them | [`io::File`], [`io::TcpListener`], [`io::TcpStream`] |
//! | wait for several contexts, some before others | [`Set`] |
//! | write iocbs oneself (unsafe) | `Iocbs`, `Context::submit_raw` (feature `raw`) |
//! | reap their events, also in many threads | `Reaper`, `Consumer` (feature `raw`) |
//! | know what a syscall may be | `syscall` (feature `raw`) |
//! | ask the running kernel | `kernel` (feature `raw`) |
//! | use the ring for something else | `ring`, `shm` (feature `ring`) |
//! | write another implementation | `backend` (feature `unstable`) |
//!
//! Dependencies point one way: futures and queues, then [`submit`] and
//! [`reap`], which do not know each other, then `backend` and `ring`. The
//! bytes themselves are described by the crate `aio2-abi`.
//!
//! # The way of a request
//!
//! The longest one, of a read that has to wait for a worker, file by file:
//!
//! | file | what happens there |
//! |---|---|
//! | `queue/mod.rs` | an operation is pushed; its buffer stays here until it ends |
//! | `submit/op/mod.rs` | it is written as an iocb |
//! | `context.rs` | the bytes go to the implementation |
//! | `engine/mod.rs` | the engine is called, in the process that made it |
//! | `engine/calls/submit.rs` | the stream is taken apart; requests are admitted |
//! | `engine/request/mod.rs` | an iocb becomes a request that owns all it needs |
//! | `engine/request/operation.rs` | it is allowed, or refused |
//! | `engine/request/attributes.rs` | what it asks for beside |
//! | `engine/calls/accept.rs` | if it is a member, waits for others or has a deadline: its place |
//! | `engine/run/mod.rs` | it is tried without sleeping |
//! | `engine/request/transfer.rs` | what is left of it behind the bytes moved |
//! | `engine/executors/mod.rs` | it is given to an executor |
//! | `engine/executors/worker.rs` | a worker runs it |
//! | `engine/executors/device.rs` | or io_uring or Linux AIO, if it is that kind of transfer |
//! | `engine/threads/poller.rs` | unless it waits for its file: then one thread for all tries it again |
//! | `engine/run/outcome.rs` | what was asked for is measured |
//! | `engine/run/event.rs` | its event is written |
//! | `engine/state/context.rs` | the event goes to the ring, under the lock |
//! | `ring/sink.rs` | or to the overflow list, in order |
//! | `ring/producer.rs` | the tail moves |
//! | `engine/ends/mod.rs` | what its end brings about: others start, a group ends |
//! | `engine/state/files.rs` | the next one that waits for its file has its turn |
//! | `engine/state/waiters.rs` | who waits for it |
//! | `os/park.rs` | is told |
//! | `engine/threads/mod.rs` | and what was deferred is done |
//! | `engine/host/signal.rs` | a signal among it |
//! | `ring/consumer.rs` | the event is claimed |
//! | `reap/reaper.rs` | and copied out of the ring |
//! | `queue/completion.rs` | the operation's result, with its buffer |
//!
//! The library never panics on what a peer or the kernel says. Errors keep the
//! error number ([`Errno`]) and say what to do.
//!
//! # Flags and results
//!
//! Flags are types ([`flags`]): a flag of recv(2) does not fit where one of openat(2)
//! belongs. Those of rustix are taken, not made a second time: they are kept, and a
//! program that calls some things itself has them already.
//!
//! What an operation gives is known by its type as well ([`kind`]): [`Completion::value`]
//! of an openat is a descriptor, of a read its bytes, of an fsync nothing. So it is where
//! the type goes along with the operation: from [`Handle::run`] to what its future gives,
//! and from [`Dispatcher::push`] to its callback. A [`Queue`] hands out what ends first,
//! of whichever kind, so that one type has to do for all of them: there
//! [`Completion::into_fd`] and [`Completion::into_bytes`] take the value, and the token
//! says which it is. Operations of several kinds in one list are made one type by
//! [`Op::untyped`].
//!
//! # A write-ahead log
//!
//! A change may be acknowledged once its record is on the disk. The write of the record
//! and the sync behind it are one submission, with no wakeup in between:
//!
//! ```
//! use aio2::{Context, Op, Queue, SharedFd, Timeout};
//!
//! let log = SharedFd::new(tempfile::tempfile()?);
//! let mut queue = Queue::new(Context::new()?);
//! let written = queue.push(Op::write_at(&log, b"a record".to_vec(), 0).full(), "written");
//! queue.push(Op::fdatasync(&log).after(written), "durable");
//! while !queue.is_empty() {
//!     for done in queue.wait(1, Timeout::Forever)? {
//!         done.result?;
//!         println!("{}", done.token); // acknowledge it when it is durable
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Op::full`]: the write moves all its bytes, or fails. Without it a short write
//!   is a success, and the sync would make half a record durable.
//! - [`Op::after`] the [`Key`]: the sync begins when the write has ended, and only if
//!   it ended well; otherwise it ends with ECANCELED, and never began
//!   ([`Completion::never_began`]). So it is whatever the limit of the context, and
//!   wherever a submission ends. Between futures it is `after(&run)`, of a [`Run`].
//! - The result of the sync counts too. If write or sync has failed, nobody knows what
//!   is on the disk, and a second fdatasync(2) that succeeds tells nothing of what the
//!   first one lost. End, and read the log anew.
//!
//! Several writes before one sync are a list: the members run in any order, and what is
//! after the list begins when all have ended, if none has failed.
//!
//! ```
//! # use aio2::{Context, Op, Queue, SharedFd, Timeout};
//! # let log = SharedFd::new(tempfile::tempfile()?);
//! # let mut queue = Queue::new(Context::new()?);
//! let records = (0..4).map(|n| (Op::write_at(&log, vec![b'r'; 512], n * 512).full(), "written"));
//! let all = queue.push_list(1, records, "all are written", None);
//! queue.push(Op::fdatasync(&log).after(all), "durable");
//! # let mut last = "";
//! # while !queue.is_empty() {
//! #     for done in queue.wait(1, Timeout::Forever)? {
//! #         done.result?;
//! #         last = done.token;
//! #     }
//! # }
//! # assert_eq!(last, "durable");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Several such pairs may be in flight, each at its own offset. They end in any order,
//! and a log is read from its beginning up to the first record that is not whole: so
//! acknowledge a batch when those before it are durable as well. A record needs its
//! length and a checksum, by which a reader finds where a crash has cut the log.
//!
//! A file is replaced by four operations, each after the one before: write it under
//! another name, fsync it, rename it, fsync the directory.
//!
//! `examples/store.rs` is a store made so, on futures; its test kills it again and again
//! and looks for what it had acknowledged. `tests/write_ahead.rs` cuts recorded runs at
//! random times, as a crash of the machine does, and finds the errors of the same log
//! without `after`.
//!
//! # Signals and EINTR
//!
//! A wait that sleeps when a signal is caught ends: [`error::WaitError::Interrupted`],
//! [`set::SetError::Interrupted`], [`error::CancelError::Interrupted`], all EINTR. It
//! does so whatever SA_RESTART says, so that a program can look at what its handler has
//! noted (SPEC: R-GET-15). Nothing is lost by it: no event was taken, what the call
//! had submitted stays submitted, and what was to be cancelled is. Call again; a
//! [`Timeout::After`] then begins anew, a [`Timeout::Until`] does not. A stop and
//! SIGCONT, or a signal that is ignored, end no wait. [`Driver::block_on`] goes on by
//! itself.
//!
//! A submission sleeps for nothing that a signal ends, and never says EINTR.
//!
//! A request is restarted, as under SA_RESTART (SPEC: R-RUN-7): handlers run in the
//! program's threads, not in a worker. So EINTR in a completion is what the file itself
//! answers each time, or that of a close, whose descriptor is gone all the same. A
//! request that was cancelled while it slept, and had moved nothing, says ECANCELED; one
//! whose deadline has passed says ETIMEDOUT.
//!
//! # Features
//!
//! Promised is what is there without features, and with `tokio`, `futures-io` and
//! `metrics`.
//!
//! `tokio`: drive futures within tokio (`Driver::drive`); files and streams of
//! [`io`] are its `AsyncRead` and `AsyncWrite`.
//!
//! `futures-io`: they are those of futures-io.
//!
//! `metrics`: histograms of completions by operation and place (`metrics`).
//!
//! `tracing`: what happens to contexts, submissions and completions, as events of the
//! crate tracing, with the target `aio2`: at DEBUG a context that is made, by whom, and
//! what was refused; at TRACE each submission and each completion.
//!
//! `raw`: iocbs of one's own (unsafe), and events as they come. It follows the ABI,
//! which is SPEC's promise; its names in Rust may still change.
//!
//! `ring`: rings of one's own, in a process or between two, which hold whatever
//! the peer does. Its names may still change.
//!
//! `unstable`: what models, benchmarks, the conformance suite and other
//! implementations use: `backend`, `engine`, the words of rings. It is not
//! promised, and its safe functions can break what they are given.
#![deny(unsafe_code)]
#![cfg_attr(not(aio2_loom), deny(missing_debug_implementations, unnameable_types))]

#[cfg(not(feature = "unstable"))]
#[allow(unsafe_code)]
#[cfg_attr(not(feature = "raw"), allow(dead_code))] // part of it is for iocbs of one's own
mod backend;
#[cfg(feature = "unstable")]
#[allow(unsafe_code)]
pub mod backend;
#[cfg(not(feature = "raw"))]
#[allow(dead_code)] // part of it is for events as they come
mod consumer;
#[cfg(not(aio2_loom))]
#[doc = include_str!("cookbook.md")]
pub mod cookbook {}
#[cfg(feature = "raw")]
pub mod consumer;
#[cfg(not(aio2_loom))]
#[allow(unsafe_code)]
mod context;
#[cfg(not(feature = "unstable"))]
#[allow(dead_code)] // part of it is for the suite, models and benchmarks
mod engine;
#[cfg(feature = "unstable")]
pub mod engine;
pub mod error;
#[cfg(not(aio2_loom))]
pub mod flags;
#[cfg(not(aio2_loom))]
pub mod future;
#[cfg(not(aio2_loom))]
pub mod io;
#[cfg(all(not(aio2_loom), not(feature = "raw")))]
#[allow(unsafe_code, dead_code)] // part of it is for iocbs of one's own
mod kernel;
#[cfg(all(not(aio2_loom), feature = "raw"))]
#[allow(unsafe_code)]
pub mod kernel;
#[cfg(not(aio2_loom))]
pub mod kind;
#[cfg(all(not(aio2_loom), feature = "metrics"))]
pub mod metrics;
mod os;
#[cfg(not(aio2_loom))]
#[allow(unsafe_code)]
mod queue;
#[cfg(all(not(aio2_loom), feature = "raw"))]
#[allow(unsafe_code)]
mod raw;
#[cfg(not(aio2_loom))]
#[allow(unsafe_code)]
pub mod reap;
#[cfg(not(feature = "ring"))]
#[allow(dead_code, unused_imports)] // part of it is for rings of one's own
mod ring;
#[cfg(feature = "ring")]
pub mod ring;
pub mod set;
#[cfg(not(aio2_loom))]
pub mod submit;
mod sync;
#[cfg(not(feature = "raw"))]
#[allow(dead_code)] // part of it is for iocbs of one's own
mod syscall;
#[cfg(feature = "raw")]
pub mod syscall;
#[cfg(not(aio2_loom))]
mod trace;

/// The bytes of the ABI, some of whose types stand in signatures here.
pub use aio2_abi as abi;
#[cfg(not(aio2_loom))]
pub use backend::{Counters, Timeout};
#[cfg(all(not(aio2_loom), feature = "raw"))]
pub use backend::{Wait, Waited};
#[cfg(feature = "raw")]
pub use consumer::Consumer;
#[cfg(not(aio2_loom))]
pub use context::{Builder, Context, Implementation, Prefer, SetupError};
#[cfg(not(aio2_loom))]
pub use engine::Executor;
pub use error::Errno;
#[cfg(not(aio2_loom))]
pub use future::{Driver, Handle, Run, RunList};
/// Of whose types a few stand in signatures here.
pub use libc;
#[cfg(not(aio2_loom))]
pub use queue::{Cancelled, Completion, Completions, Dispatcher, Key, Progress, Queue};
#[cfg(not(aio2_loom))]
pub use reap::{Attribute, Event};
#[cfg(all(not(aio2_loom), feature = "raw"))]
pub use reap::{OwnedEvent, Reaper};
#[cfg(feature = "ring")]
pub use ring::shm;
#[cfg(not(aio2_loom))]
pub use set::Set;
#[cfg(all(not(aio2_loom), feature = "raw"))]
pub use submit::Iocbs;
#[cfg(not(aio2_loom))]
pub use submit::{
    After, AnyBuf, Buffer, CacheHint, Dir, DirectBuf, Exit, Op, PathArg, Priority, ReadBuf,
    SharedFd, Signal,
};
