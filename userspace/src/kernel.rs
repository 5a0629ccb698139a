//! The kernel's implementation: whether it is there, and its backend.
//!
//! Duty: ask the running kernel, by the real syscall, what AIO2 it has, and
//! drive it. Not here: which implementation to prefer.
//!
//! SPEC: section 4.

mod backend;
mod sys;

use crate::error::Errno;
use aio2_abi::setup::{Features, RING_BYTES_MIN, Setup, SetupFlags};
use aio2_abi::{VERSION, event, iocb};
#[cfg(not(feature = "unstable"))]
pub(crate) use backend::Kernel;
#[cfg(feature = "unstable")]
pub use backend::Kernel;
use std::os::fd::RawFd;

/// What the running kernel says about AIO2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It has none. This is said too when something answers that is not AIO2.
    NotImplemented,
    /// It has, and does not let this process use it.
    Refused(Errno),
    /// It has: this is what a context with default parameters would be.
    Available(Setup),
}

impl Probe {
    /// Asks the running kernel. Creates nothing.
    #[must_use]
    pub fn run() -> Self {
        let mut setup =
            Setup { version: VERSION, flags: SetupFlags::PROBE.bits(), ..Setup::default() };
        let result = sys::io_setup2(&mut setup);
        Probe::judge(result, setup)
    }

    /// What an answer means.
    fn judge(result: Result<RawFd, Errno>, setup: Setup) -> Self {
        match result {
            Err(errno @ Errno(libc::EPERM | libc::EACCES | libc::EAGAIN | libc::ENOMEM)) => {
                Probe::Refused(errno)
            }
            Ok(0) if plausible(&setup) => Probe::Available(setup),
            _ => Probe::NotImplemented,
        }
    }
}

/// Whether this can be what a kernel with AIO2 fills in.
fn plausible(setup: &Setup) -> bool {
    (1..=VERSION).contains(&setup.version)
        && !setup.features().contains(Features::IN_PROCESS)
        && setup.ring_bytes.is_power_of_two()
        && setup.ring_bytes >= RING_BYTES_MIN
        && setup.max_requests > 0
        && setup.concurrency > 0
        && setup.iocb_max as usize >= iocb::HEADER_BYTES
        && setup.event_max as usize >= event::HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Setup {
        Setup {
            version: 1,
            ring_bytes: 65536,
            max_requests: 4096,
            concurrency: 4,
            iocb_max: 1024,
            event_max: 1024,
            ..Setup::default()
        }
    }

    #[test]
    fn only_a_plausible_answer_is_aio2() {
        assert_eq!(Probe::judge(Ok(0), answer()), Probe::Available(answer()));
        // Success without a word: another syscall has this number.
        let untouched = Setup { version: 1, flags: 1, ..Setup::default() };
        assert_eq!(Probe::judge(Ok(0), untouched), Probe::NotImplemented);
        assert_eq!(Probe::judge(Ok(7), answer()), Probe::NotImplemented);
        let engine = Setup { features: Features::IN_PROCESS.bits(), ..answer() };
        assert_eq!(Probe::judge(Ok(0), engine), Probe::NotImplemented);
    }

    #[test]
    fn refusal_is_told_from_absence() {
        let judge = |errno| Probe::judge(Err(Errno(errno)), answer());
        assert_eq!(judge(libc::ENOSYS), Probe::NotImplemented);
        assert_eq!(judge(libc::EINVAL), Probe::NotImplemented);
        assert_eq!(judge(libc::EPERM), Probe::Refused(Errno(libc::EPERM)));
    }
}
