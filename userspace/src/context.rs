//! A context: an implementation of the ABI, chosen and set up.
//!
//! Duty: pick the kernel or the engine, say which, and give access to it. Not
//! here: requests that own their buffers ([`crate::Queue`]), and iocbs of one's
//! own (`raw`).
//!
//! SPEC: section 4.

use crate::backend::{Backend, Counters, Wait, Waited};
use crate::engine::{Engine, Executor};
use crate::error::{CancelError, Errno, GrowError, SubmitError, WaitError};
use crate::kernel::{Kernel, Probe};
use crate::trace;
use aio2_abi::VERSION;
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_record::Recorder;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Who implements a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// This library, within the process.
    Engine,
    /// The running kernel.
    Kernel,
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Implementation::Engine => "engine",
            Implementation::Kernel => "kernel",
        })
    }
}

/// Which implementation to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The kernel if it has AIO2 and lets this process use it, otherwise the engine.
    #[default]
    Auto,
    /// The kernel or none.
    Kernel,
    /// The engine.
    Engine,
}

/// Parameters of a context; what is not given has a default.
#[derive(Debug, Default)]
pub struct Builder {
    setup: Setup,
    eventfd: Option<OwnedFd>,
    prefer: Prefer,
    executor: Option<Executor>,
    record: Record,
}

/// Where the requests of a context are recorded.
#[derive(Debug, Default)]
enum Record {
    /// Where the environment says, if it does.
    #[default]
    AsToldOutside,
    Nowhere,
    To(PathBuf),
}

impl Builder {
    /// At least so many bytes of events in the ring: rounded up to a power of
    /// two from 4096 to 2^30; the default is 65536.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: u32) -> Self {
        self.setup.ring_bytes = bytes;
        self
    }

    /// At most so many requests whose event is not in the ring yet, up to
    /// 2^20; the default is 4096.
    #[must_use]
    pub fn max_requests(mut self, requests: u32) -> Self {
        self.setup.max_requests = requests;
        self
    }

    /// At most so many workers, up to 1024; the default is two for each processor,
    /// and at least 4. There are never more of them than requests that need one, and
    /// what needs none ([`crate::Op`]) does not wait when all are busy.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.setup.concurrency = workers;
        self
    }

    /// The eventfd to signal when events are there. The context keeps it open.
    #[must_use]
    pub fn eventfd(mut self, eventfd: OwnedFd) -> Self {
        self.eventfd = Some(eventfd);
        self
    }

    /// Which implementation to use.
    #[must_use]
    pub fn prefer(mut self, prefer: Prefer) -> Self {
        self.prefer = prefer;
        self
    }

    /// What the engine may use underneath for direct transfers and cold reads: io_uring(7), or else
    /// Linux AIO, or else threads, the first of these that the host permits and nobody
    /// forbids. Each forbids what stands before it, said here or by the environment
    /// variable `AIO2_EXECUTOR`: `io_uring`, `linux_aio` or `threads`.
    /// [`Context::executor`] says what has come of it.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Records each request to the end of the file at `path` when it has ended: when it
    /// was accepted, began and was completed, what came from the page cache, and where
    /// it ran, whether its attributes ask for that or not. `aio2 report` and `aio2 plot`
    /// read it.
    ///
    /// A thread writes, in blocks, at the latest after 50 ms; the submitter never waits
    /// for it, but who drops the context does, for a second at most. What it cannot keep
    /// up with is counted as lost. The environment variable
    /// `AIO2_RECORD` does the same for every context that is not told anything, unless the
    /// program runs with more rights than its user. Only the engine records: it is chosen
    /// unless the kernel is asked for, which is refused.
    #[must_use]
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Record::To(path.into());
        self
    }

    /// Records nothing, whatever the environment says.
    #[must_use]
    pub fn record_nothing(mut self) -> Self {
        self.record = Record::Nowhere;
        self
    }

    /// Makes the context.
    ///
    /// # Errors
    /// [`SetupError`]: the implementation is not there, or refuses.
    pub fn build(self) -> Result<Context, SetupError> {
        let made = self.make();
        match &made {
            Ok(context) => trace::made(context.implementation, context.executor, context.setup()),
            Err(error) => trace::not_made(error),
        }
        made
    }

    fn make(mut self) -> Result<Context, SetupError> {
        self.setup.version = VERSION;
        let recorder = match std::mem::take(&mut self.record) {
            Record::Nowhere => None,
            Record::AsToldOutside if self.prefer == Prefer::Kernel => None,
            Record::AsToldOutside => Recorder::from_environment(),
            Record::To(_) if self.prefer == Prefer::Kernel => {
                return Err(SetupError::Record(Errno(libc::EOPNOTSUPP)));
            }
            Record::To(path) => {
                let made = Recorder::to(&path);
                let errno = |e: io::Error| Errno(e.raw_os_error().unwrap_or(libc::EIO));
                Some(made.map_err(|e| SetupError::Record(errno(e)))?)
            }
        };
        if recorder.is_some() {
            return self.engine(recorder);
        }
        match self.choose()? {
            Implementation::Engine => self.engine(None),
            Implementation::Kernel => self.kernel(),
        }
    }

    /// What the context would be, and what its implementation can do. Makes
    /// none; an eventfd is not looked at.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn probe(&self) -> Result<Setup, SetupError> {
        let wanted = Setup { version: VERSION, ..self.setup };
        let (implementation, resolved) = match self.choose()? {
            Implementation::Engine => (Implementation::Engine, Engine::resolve(&wanted)),
            Implementation::Kernel => (Implementation::Kernel, Kernel::resolve(&wanted)),
        };
        resolved.map_err(|errno| SetupError::Refused { implementation, errno })
    }

    /// The implementation that is preferred and there.
    fn choose(&self) -> Result<Implementation, SetupError> {
        if self.prefer == Prefer::Engine {
            return Ok(Implementation::Engine);
        }
        match Probe::run() {
            Probe::Available(_) => Ok(Implementation::Kernel),
            _ if self.prefer == Prefer::Auto => Ok(Implementation::Engine),
            Probe::NotImplemented => Err(SetupError::NoKernel),
            Probe::Refused(errno) => Err(SetupError::KernelRefused(errno)),
        }
    }

    fn kernel(self) -> Result<Context, SetupError> {
        let implementation = Implementation::Kernel;
        match Kernel::new(&self.setup, self.eventfd.as_ref().map(AsFd::as_fd)) {
            Ok(kernel) => Ok(Context { backend: Arc::new(kernel), implementation, executor: None }),
            Err(errno) => Err(SetupError::Refused { implementation, errno }),
        }
    }

    fn engine(self, recorder: Option<&'static Recorder>) -> Result<Context, SetupError> {
        let implementation = Implementation::Engine;
        let eventfd = self.eventfd.as_ref().map(AsFd::as_fd);
        match Engine::with_executor(&self.setup, eventfd, self.executor, recorder) {
            Ok(engine) => {
                let executor = Some(engine.executor());
                Ok(Context { backend: Arc::new(engine), implementation, executor })
            }
            Err(errno) => Err(SetupError::Refused { implementation, errno }),
        }
    }
}

/// Why a context could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The kernel was asked for, and has no AIO2.
    NoKernel,
    /// The kernel was asked for, and does not let this process use its AIO2.
    KernelRefused(Errno),
    /// The implementation refused the parameters, or has no room.
    Refused {
        /// Which one.
        implementation: Implementation,
        /// What it said.
        errno: Errno,
    },
    /// The file to record to cannot be written, or the thread that writes it not be
    /// made; EOPNOTSUPP: the kernel was asked for, which does not record.
    Record(Errno),
}

impl SetupError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match *self {
            SetupError::NoKernel => Errno(libc::ENOSYS),
            SetupError::KernelRefused(errno)
            | SetupError::Refused { errno, .. }
            | SetupError::Record(errno) => errno,
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SetupError::NoKernel => f.write_str(
                "this kernel has no AIO2: boot one with the series in kernel-patch/, \
                 or use Prefer::Auto or Prefer::Engine",
            ),
            SetupError::KernelRefused(errno) => write!(
                f,
                "the kernel has AIO2 and refuses it to this process ({errno}): \
                 let its seccomp filter allow io_setup2, or use Prefer::Engine"
            ),
            SetupError::Record(Errno(libc::EOPNOTSUPP)) => f.write_str(
                "the kernel records nothing: use Prefer::Auto or Prefer::Engine, \
                 or do not ask for a record",
            ),
            SetupError::Record(errno) => write!(
                f,
                "the file to record to cannot be written ({errno}): \
                 name one in a directory that is there and can be written"
            ),
            SetupError::Refused { implementation, errno } => {
                write!(f, "the {implementation} made no context ({errno}): ")?;
                f.write_str(match errno.0 {
                    libc::EINVAL => {
                        "ring_bytes is at most 1 GiB, max_requests 1048576, concurrency 1024, \
                         and eventfd must be one"
                    }
                    libc::EAGAIN => "drop contexts, or raise the user's limit of them",
                    libc::EFBIG => "ask for a smaller ring, or raise RLIMIT_FSIZE",
                    libc::EMFILE | libc::ENFILE => "close files, or raise RLIMIT_NOFILE",
                    libc::ENOMEM => "lower ring_bytes, max_requests or concurrency",
                    _ => "try a smaller context",
                })
            }
        }
    }
}

impl std::error::Error for SetupError {}

impl From<SetupError> for io::Error {
    /// Keeps the error number, and with it the kind; the text is lost.
    fn from(error: SetupError) -> Self {
        error.errno().into()
    }
}

/// A ring, the requests whose events go to it, and their implementation.
///
/// It can be shared among threads by reference. When it is dropped, all its
/// requests are cancelled; see [`crate::Queue`] for when their buffers are free.
///
/// An idle context of the engine takes one descriptor, six mappings (of the 65530 that
/// `vm.max_map_count` allows a process by default) and no thread; a [`crate::Driver`]
/// takes three descriptors more. The ring is a file in memory: a limit of file sizes
/// (RLIMIT_FSIZE) that is too small for it is EFBIG.
#[derive(Debug)]
pub struct Context {
    backend: Arc<dyn Backend>,
    implementation: Implementation,
    executor: Option<Executor>,
}

impl Drop for Context {
    fn drop(&mut self) {
        // Its reapers keep the implementation, and get the last events.
        if Arc::strong_count(&self.backend) > 1 {
            let flags = (CancelFlags::ALL | CancelFlags::WAIT).bits();
            // ENOENT: there is nothing to cancel.
            let _ = self.backend.cancel(&mut Cancel { flags, ..Cancel::default() });
        }
    }
}

impl Context {
    /// A context with default parameters.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self, SetupError> {
        Builder::default().build()
    }

    /// Parameters for a context, all at their defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A context over an implementation that was made elsewhere.
    ///
    /// # Safety
    /// The implementation must keep SPEC.md: above all, it must not publish the
    /// terminal event of a request before it is done with its memory. No other
    /// context may be made over it.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub unsafe fn over(backend: Arc<dyn Backend>, implementation: Implementation) -> Self {
        Context { backend, implementation, executor: None }
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Who implements it.
    #[must_use]
    pub fn implementation(&self) -> Implementation {
        self.implementation
    }

    /// Who runs what cannot be run inline, as was found when it was made; none if
    /// that is the kernel's own business.
    #[must_use]
    pub fn executor(&self) -> Option<Executor> {
        self.executor
    }

    /// Its actual parameters, and what the implementation can do.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        self.backend.setup()
    }

    /// What it has in hand just now, taken at one moment under the engine's lock, which
    /// is held for some 100 ns; nothing is counted for it but what is needed anyway. None
    /// where the implementation does not tell: the kernel shows it in /proc/PID/fdinfo,
    /// which `aio2 probe --pid` prints; nor in a child after fork.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        self.backend.counters()
    }

    /// Replaces its ring by one of at least `ring_bytes` bytes, rounded up as
    /// in [`Builder::ring_bytes`]; returns the size.
    ///
    /// Nothing is lost and nothing overtakes: reapers take what is in the old
    /// ring and go on in the new one by themselves, and so does a wait.
    /// [`Context::setup`] goes on to say the size that it was made with.
    ///
    /// # Errors
    /// [`GrowError`]; the ring stays as it is.
    pub fn grow(&self, ring_bytes: u32) -> Result<u32, GrowError> {
        Ok(self.backend.grow(ring_bytes)?)
    }

    /// Cancels what matches, and fills in what became of it; returns how many
    /// requests matched.
    ///
    /// # Errors
    /// [`CancelError`].
    pub fn cancel(&self, request: &mut Cancel) -> Result<u32, CancelError> {
        Ok(self.backend.cancel(request)?)
    }

    /// As `submit_raw`.
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub(crate) unsafe fn submit_iocbs(&self, iocbs: &mut [u8]) -> Result<usize, SubmitError> {
        // SAFETY: the caller's promise is the one that is asked for.
        let accepted = unsafe { self.backend.submit(iocbs) };
        trace::submitted(iocbs.len(), accepted);
        accepted
            .map_err(|errno| SubmitError::explain(errno, iocbs, (0, 0), self.setup().max_requests))
    }

    /// As `wait_raw`.
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub(crate) unsafe fn submit_and_wait(
        &self,
        wait: &Wait<'_>,
        iocbs: &mut [u8],
        events: Option<&mut [u8]>,
    ) -> Result<Waited, WaitError> {
        // SAFETY: the caller's promise is the one that is asked for.
        let waited = unsafe { self.backend.wait(wait, iocbs, events) };
        waited.map_err(|errno| self.explain_wait(errno, iocbs))
    }

    #[cold]
    fn explain_wait(&self, errno: Errno, iocbs: &[u8]) -> WaitError {
        match errno.0 {
            libc::ETIME => WaitError::TimedOut,
            libc::EINTR => WaitError::Interrupted,
            libc::ENOENT => WaitError::UnknownId,
            libc::ENOBUFS => WaitError::BufferTooSmall { event_max: self.setup().event_max },
            libc::EAGAIN | libc::E2BIG | libc::EXDEV => {
                SubmitError::explain(errno, iocbs, (0, 0), self.setup().max_requests).into()
            }
            libc::EINVAL if !iocbs.is_empty() => {
                SubmitError::explain(errno, iocbs, (0, 0), self.setup().max_requests).into()
            }
            _ => WaitError::Refused(errno),
        }
    }
}

impl AsFd for Context {
    /// Polls readable when events came; see SPEC section 4.6 for the engine.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backend.as_fd()
    }
}
