//! The engine: the in-process reference implementation of the ABI.
//!
//! [`Engine`] is one context: a ring in memory files, request slots, worker
//! threads, waiters, an eventfd. It runs on any kernel and needs nothing from
//! it but plain syscalls. It is no security boundary: its workers are threads
//! of the process.
//!
//! The rooms stand along the way of a request:
//!
//! | room | duty |
//! |---|---|
//! | `calls` | what an application calls, and how a request gets its place |
//! | `request` | one request, checked, and what it asks for |
//! | `run` | running it: inline, then blocking; what is measured of it |
//! | `executors` | who runs what cannot be run inline |
//! | `threads` | those that wait for times and files |
//! | `state` | what all share, under one lock |
//! | `ends` | what the end of a request brings about |
//! | `host` | what is asked of the host beside the operations |
//!
//! Not here: reaping from the ring ([`Consumer`]) and anything
//! that makes the calls pleasant.
//!
//! SPEC: sections 4, 6, 8 to 11.

mod calls;
mod ends;
mod executors;
#[cfg(not(aio2_loom))]
mod host;
#[cfg(aio2_loom)]
pub mod host;
mod request;
mod run;
#[cfg(not(aio2_loom))]
mod state;
#[cfg(aio2_loom)]
pub mod state;
mod threads;

use crate::backend::{self, Backend, Counters, Wait, Waited};
use crate::consumer::Consumer;
use crate::error::Errno;
use crate::os::notify::Notifier;
use crate::os::process::Process;
use crate::ring::shm::{self, ConsumerMap, ProducerMap};
use crate::ring::{self, Geometry, Producer, Sink};
use aio2_abi::setup::{Setup, SetupFlags};
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_record::Recorder;
use calls::wait::Clock;
use calls::{cancel, exec, setup, submit, wait};
pub use executors::Executor;
use host::thread::Thread;
use libc::{EINVAL, ENOMEM, EXDEV};
use state::context::Shared;
use state::device::Reach;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A context of the in-process implementation.
///
/// Dropping it cancels every request, waits for what runs on, and leaves
/// nothing behind but the ring, as long as a consumer of it lives, with DEAD
/// set. In a child after fork every call fails with EXDEV.
pub struct Engine {
    setup: Setup,
    process: Process,
    /// Who grows the ring. Taken before the context's lock.
    growing: Mutex<()>,
    shared: ManuallyDrop<Arc<Shared>>,
}

#[allow(unsafe_code)] // descriptors by their numbers
impl Engine {
    /// Makes a context as `setup` wants it, which signals `eventfd` if there is
    /// one; [`Backend::setup`] says what it became.
    ///
    /// # Errors
    /// SPEC section 4.1: EINVAL and EOPNOTSUPP for what cannot be, and for the
    /// flags PROBE and EVENTFD; EINVAL for the eventfd; EMFILE, ENFILE, ENOMEM.
    pub fn new(setup: &Setup, eventfd: Option<BorrowedFd<'_>>) -> Result<Self, Errno> {
        let setup = backend::lend(setup, eventfd)?;
        // SAFETY: the eventfd is borrowed.
        unsafe { Engine::with_numbers(&setup) }
    }

    /// As [`Engine::new`], with the executor that the application has chosen, and
    /// with a recorder for each request, if there is one.
    ///
    /// # Errors
    /// As there.
    pub fn with_executor(
        setup: &Setup,
        eventfd: Option<BorrowedFd<'_>>,
        executor: Option<Executor>,
        recorder: Option<&'static Recorder>,
    ) -> Result<Self, Errno> {
        let setup = backend::lend(setup, eventfd)?;
        // SAFETY: the eventfd is borrowed.
        unsafe { Engine::make(&setup, Reach::direct(Executor::find(executor)), recorder) }
    }

    /// As `io_setup2`, with descriptors by their numbers.
    ///
    /// # Errors
    /// As [`Engine::new`]; EBADF for the eventfd.
    ///
    /// # Safety
    /// With the flag EVENTFD, the caller must own what is open by that number,
    /// or nothing may be.
    pub unsafe fn with_numbers(setup: &Setup) -> Result<Self, Errno> {
        // SAFETY: as this function's contract.
        unsafe { Engine::make(setup, Reach::direct(Executor::find(None)), None) }
    }

    /// As [`Engine::with_numbers`], with all that can be given to a device so given to
    /// it, where it is to be had: for tests.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Safety
    /// As there.
    #[cfg(feature = "unstable")]
    pub unsafe fn with_all_on_device(setup: &Setup) -> Result<Self, Errno> {
        let reach = Executor::find(None).map_or(Reach::Nothing, Reach::Everything);
        // SAFETY: as this function's contract.
        unsafe { Engine::make(setup, reach, None) }
    }

    /// Under the model checker, for which no time passes: as if the deadline of each
    /// request in flight had come. Whether one had not begun, and surely has ended by it.
    #[cfg(aio2_loom)]
    pub fn deadlines_come(&self) -> bool {
        let mut context = self.shared.lock();
        let ids: Vec<_> = context.slots.in_flight().map(|request| request.id).collect();
        let stopped: Vec<_> = ids.into_iter().map(|id| context.stop(id, libc::ETIMEDOUT)).collect();
        self.shared.tell(context);
        stopped.iter().any(|stopped| matches!(stopped, ends::Stopped::Cancelled))
    }

    /// As [`Engine::with_numbers`].
    ///
    /// # Safety
    /// As there.
    unsafe fn make(
        setup: &Setup,
        reach: Reach,
        recorder: Option<&'static Recorder>,
    ) -> Result<Self, Errno> {
        let process = Process::this()?;
        let setup = setup::resolve(setup)?;
        let flags = SetupFlags::from_bits_retain(setup.flags);
        if flags.contains(SetupFlags::PROBE) {
            return Err(Errno(EINVAL));
        }
        let watched = flags.contains(SetupFlags::EVENTFD);
        let notifier =
            if watched { Notifier::of_application(setup.eventfd)? } else { Notifier::own()? };
        let (producer, consumer) = ring(setup.ring_bytes, setup.event_max)?;
        let mut shared = Shared::new(
            Sink::new(producer),
            consumer,
            notifier,
            watched,
            &setup,
            reach,
            threads::do_deferred,
        );
        shared.recorder = recorder;
        let shared = ManuallyDrop::new(Arc::new(shared));
        Ok(Engine { setup, process, growing: Mutex::new(()), shared })
    }

    /// What a context with the default sizes would be, and what the engine can
    /// do. Nothing is created.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn probe() -> Setup {
        let wanted = Setup { version: aio2_abi::VERSION, ..Setup::default() };
        Self::resolve(&wanted).unwrap_or(wanted)
    }

    /// What a context with these parameters would be: a creation with the flag
    /// PROBE. The eventfd is not looked at.
    ///
    /// # Errors
    /// As [`Engine::new`] for parameters that cannot be.
    pub fn resolve(setup: &Setup) -> Result<Setup, Errno> {
        setup::resolve(setup)
    }

    /// Who runs what cannot be run inline, beside threads, as was found when the
    /// context was made. It may be lost later: then threads run it.
    #[must_use]
    pub fn executor(&self) -> Executor {
        Executor::of(self.shared.reach.facility())
    }

    /// Waits until the workers have gone, which are told to, and sends them what
    /// the thread for it would send again, if there can be none.
    fn wait_for_workers(&self) {
        loop {
            let mut context = self.shared.lock();
            if context.workers.count == 0 || !context.timers.refused {
                return;
            }
            context.do_what_is_due();
            self.shared.tell(context);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the thread for the device has gone, if there is one.
    fn stop_device(&self) {
        let (thread, seat) = self.shared.lock().device.stop();
        seat.iter().for_each(|seat| seat.bell.ring());
        thread.into_iter().for_each(Thread::join);
        let mut context = self.shared.lock();
        if context.bury_ring() {
            self.shared.tell(context);
        } else {
            // Nobody is woken for nothing.
            self.shared.do_deferred(context);
        }
    }

    /// EXDEV in a child after fork, before any lock is taken.
    #[inline]
    fn in_its_process(&self) -> Result<(), Errno> {
        if self.process.is_this() { Ok(()) } else { Err(Errno(EXDEV)) }
    }
}

#[allow(unsafe_code)] // its calls are unsafe
impl Backend for Engine {
    fn counters(&self) -> Option<Counters> {
        self.in_its_process().ok()?;
        Some(self.shared.lock().counters())
    }

    fn setup(&self) -> &Setup {
        &self.setup
    }

    unsafe fn submit(&self, iocbs: &mut [u8]) -> Result<usize, Errno> {
        self.in_its_process()?;
        // SAFETY: the caller vouches for the addresses.
        unsafe { submit::submit(&self.shared, iocbs) }
    }

    unsafe fn wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, Errno> {
        self.in_its_process()?;
        let clock = Clock::new(wait);
        // SAFETY: the caller vouches for the addresses.
        let submitted = unsafe { submit::submit(&self.shared, iocbs) }?;
        match wait::wait(&self.shared, wait, clock, events) {
            Ok(copied) => {
                Ok(Waited { submitted, bytes: copied.bytes, events: copied.events, ended: None })
            }
            // SPEC: R-GET-1; what was accepted must be known.
            Err(errno) if submitted > 0 => {
                Ok(Waited { submitted, ended: Some(errno), ..Waited::default() })
            }
            Err(errno) => Err(errno),
        }
    }

    fn cancel(&self, request: &mut Cancel) -> Result<u32, Errno> {
        self.in_its_process()?;
        // Its threads are not this process's to interrupt.
        if self.process.only_shares_memory() {
            return Err(Errno(EXDEV));
        }
        cancel::cancel(&self.shared, request)
    }

    unsafe fn exec(&self, iocb: &mut [u8], event: &mut [u8]) -> Result<usize, Errno> {
        self.in_its_process()?;
        // SAFETY: the caller vouches for the addresses.
        unsafe { exec::exec(self.shared.recorder, iocb, event) }
    }

    fn grow(&self, ring_bytes: u32) -> Result<u32, Errno> {
        self.in_its_process()?;
        let ring_bytes = setup::ring_bytes(ring_bytes)?;
        let _growing = self.growing.lock();
        // Others can make it no larger meanwhile.
        if ring_bytes <= self.shared.lock().ring_bytes() {
            return Err(Errno(EINVAL));
        }
        let (producer, consumer) = ring(ring_bytes, self.setup.event_max)?;
        let mut context = self.shared.lock();
        context.grow(producer, consumer).map_err(|_| Errno(ENOMEM))?;
        self.shared.tell(context);
        Ok(ring_bytes)
    }

    fn consumer(&self) -> Consumer {
        if self.in_its_process().is_err() {
            return Consumer::elsewhere();
        }
        Consumer::over(self.shared.lock().consumer())
    }

    /// The eventfd: readable after an event became available, until it is read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.in_its_process().is_ok() {
            let mut context = self.shared.lock();
            let first = !std::mem::replace(&mut context.watched, true);
            if first && context.available(1) > 0 {
                drop(context);
                self.shared.notifier.signal();
            }
        }
        self.shared.notifier.as_fd()
    }
}

#[allow(unsafe_code)] // drops the shared state, or leaks it
impl Drop for Engine {
    fn drop(&mut self) {
        if self.process.only_shares_memory() {
            // All of it is the parent's still: the threads go on.
            return;
        }
        if self.in_its_process().is_err() {
            // The lock may be held by a thread that is not here, and the ring
            // is not mapped here: all of it is left alone, but for the
            // descriptors. They would keep open what the parent closes.
            self.shared.notifier.close_in_child();
            if let Some(context) = self.shared.try_lock() {
                context.polls.close_in_child();
                context.device.close_in_child();
            }
            return;
        }
        let mut all = Cancel { flags: CancelFlags::ALL.bits(), ..Cancel::default() };
        // ENOENT: there is nothing to cancel.
        let _ = cancel::cancel(&self.shared, &mut all);
        // What it gives back goes to workers.
        self.stop_device();
        let handles = self.shared.lock().workers.stop();
        self.shared.jobs.notify_all();
        self.wait_for_workers();
        handles.into_iter().for_each(Thread::join);
        // Those that interrupt the workers go after them.
        let handles = {
            let mut context = self.shared.lock();
            [context.polls.stop(), context.timers.stop()]
        };
        self.shared.alarm.notify_all();
        handles.into_iter().flatten().for_each(Thread::join);
        // They may have had a worker created just before, or each other.
        let mut context = self.shared.lock();
        let handles = context.workers.stop();
        let alarm = context.timers.stop();
        drop(context);
        self.stop_device();
        handles.into_iter().chain(alarm).for_each(Thread::join);
        let mut context = self.shared.lock();
        context.bury_the_rest();
        context.sink.set_dead();
        self.shared.tell(context);
        // The process may leave without its exit handlers.
        if let Some(recorder) = self.shared.recorder {
            recorder.flush();
        }
        // SAFETY: it is not used again.
        unsafe { ManuallyDrop::drop(&mut self.shared) };
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("setup", &self.setup)
            .field("executor", &self.executor())
            .finish_non_exhaustive()
    }
}

/// Both ends of a new ring.
fn ring(
    ring_bytes: u32,
    event_max: u32,
) -> Result<(Producer<ProducerMap>, ring::Consumer<ConsumerMap>), Errno> {
    let geometry = Geometry::new(ring_bytes, event_max).map_err(|_| Errno(EINVAL))?;
    let (producer, files) = shm::create(geometry).map_err(errno)?;
    Ok((producer, files.map().map_err(errno)?))
}

fn errno(error: io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(ENOMEM))
}
