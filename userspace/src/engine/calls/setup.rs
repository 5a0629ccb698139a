//! The parameters of a context: what was asked for, and what it becomes.
//!
//! SPEC: section 4.1.

use crate::engine::request::attributes;
use crate::engine::request::operation::OPERATIONS;
use crate::error::Errno;
use crate::ring::shm;
use crate::syscall;
use aio2_abi::setup::{
    Features, MAX_CONCURRENCY, MAX_REQUESTS, RING_BYTES_MAX, RING_BYTES_MIN, Setup, SetupFlags,
};
use aio2_abi::{VERSION, event, iocb};
use libc::{EBADF, EINVAL};

const DEFAULT_RING_BYTES: u32 = 65536;
const DEFAULT_REQUESTS: u32 = 4096;
/// Workers for each processor, and at least: they sleep more than they run.
const WORKERS_PER_CPU: u32 = 2;
const WORKERS_MIN: u32 = 4;

/// What a context made with `wanted` would be. Its eventfd is not looked at.
///
/// # Errors
/// EINVAL or EBADF, in the order of the SPEC.
pub(crate) fn resolve(wanted: &Setup) -> Result<Setup, Errno> {
    let flags = SetupFlags::from_bits(wanted.flags).ok_or(Errno(EINVAL))?;
    let bad = wanted.version == 0
        || flags.contains(SetupFlags::PROBE | SetupFlags::GROW)
        || wanted.ring_bytes > RING_BYTES_MAX
        || wanted.max_requests > MAX_REQUESTS
        || wanted.concurrency > MAX_CONCURRENCY
        || wanted.eventfd != 0 && !flags.contains(SetupFlags::EVENTFD)
        || wanted.fd != 0 && !flags.contains(SetupFlags::GROW);
    if bad {
        return Err(Errno(EINVAL));
    }
    if flags.contains(SetupFlags::GROW) {
        // No descriptor is a context of the engine; there is `Backend::grow`.
        return Err(Errno(EBADF));
    }
    let or = |value, default| if value == 0 { default } else { value };
    Ok(Setup {
        version: wanted.version.min(VERSION),
        flags: wanted.flags,
        // SINGLE_REAPER would change nothing here: a wait that copies is
        // a consumer, too. SPEC: R-SETUP-4.
        hints: 0,
        ring_bytes: ring_bytes(wanted.ring_bytes)?,
        max_requests: or(wanted.max_requests, DEFAULT_REQUESTS),
        concurrency: or(wanted.concurrency, default_concurrency(processors())),
        eventfd: wanted.eventfd,
        fd: wanted.fd,
        features: features().bits(),
        attrs: attributes::TAKEN,
        returns: attributes::RETURNED,
        ops: OPERATIONS,
        syscalls: syscall::bitmap(),
        iocb_max: iocb::LEN_MAX as u32,
        event_max: event::LEN_MAX as u32,
        // The application reaps through `Backend::consumer`, and maps nothing.
        map_offset: 0,
        map_consumer: 0,
        map_producer: 0,
        map_data: 0,
        map_bytes: 0,
    })
}

/// The size of a ring for which `wanted` bytes were asked.
///
/// # Errors
/// EINVAL if it would be too large.
///
/// SPEC: R-SETUP-6
pub(crate) fn ring_bytes(wanted: u32) -> Result<u32, Errno> {
    match wanted {
        0 => Ok(DEFAULT_RING_BYTES),
        1..=RING_BYTES_MAX => Ok(rounded(wanted, shm::page_bytes() as u32)),
        _ => Err(Errno(EINVAL)),
    }
}

/// `wanted` bytes of a ring, rounded up to what can be mapped in pages of `page` bytes.
fn rounded(wanted: u32, page: u32) -> u32 {
    wanted.max(RING_BYTES_MIN).max(page).next_power_of_two()
}

/// SPEC: R-SETUP-12
fn features() -> Features {
    Features::IN_PROCESS
        | Features::POLL
        | Features::EXEC
        | Features::WAIT_ID
        | Features::INTERRUPT
        | Features::MULTISHOT
        | Features::GROW
        | Features::FULL
        | Features::GATHER
        | Features::NOT_STARTED
}

/// SPEC: R-SETUP-8
fn default_concurrency(processors: u32) -> u32 {
    (processors * WORKERS_PER_CPU).clamp(WORKERS_MIN, MAX_CONCURRENCY)
}

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Setup)) -> Result<Setup, Errno> {
        let mut setup = Setup { version: 1, ..Setup::default() };
        change(&mut setup);
        resolve(&setup)
    }

    #[test]
    fn sizes_have_defaults_and_are_rounded_up() {
        let setup = with(|_| {}).unwrap();
        assert_eq!((setup.ring_bytes, setup.max_requests), (65536, 4096));
        assert_eq!(with(|s| s.ring_bytes = 1).unwrap().ring_bytes, 4096);
        assert_eq!(with(|s| s.ring_bytes = 4097).unwrap().ring_bytes, 8192);
        assert_eq!(with(|s| s.ring_bytes = RING_BYTES_MAX).unwrap().ring_bytes, RING_BYTES_MAX);
        let most = with(|s| (s.max_requests, s.concurrency) = (MAX_REQUESTS, MAX_CONCURRENCY));
        let most = most.unwrap();
        assert_eq!((most.max_requests, most.concurrency), (MAX_REQUESTS, MAX_CONCURRENCY));
    }

    /// SPEC: R-SETUP-6
    #[test]
    fn a_ring_is_no_smaller_than_a_page() {
        assert_eq!(rounded(1, 4096), 4096);
        assert_eq!((rounded(1, 65536), rounded(65537, 65536)), (65536, 131_072));
    }

    #[test]
    fn workers_are_twice_the_processors_within_bounds() {
        let of = default_concurrency;
        assert_eq!((of(1), of(2), of(3), of(1 << 20)), (4, 4, 6, MAX_CONCURRENCY));
        let here = std::thread::available_parallelism().unwrap().get();
        assert_eq!(processors() as usize, here);
        assert_eq!(with(|_| {}).unwrap().concurrency, of(here as u32));
    }

    #[test]
    fn the_engine_has_all_features_but_those_of_the_kernel() {
        assert_eq!(features(), Features::all() - (Features::MMAP | Features::SECCOMP));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let einval = Err(Errno(EINVAL));
        assert_eq!(with(|s| s.version = 0), einval);
        assert_eq!(with(|s| s.flags = 1 << 31), einval);
        assert_eq!(with(|s| s.flags = (SetupFlags::PROBE | SetupFlags::GROW).bits()), einval);
        assert_eq!(with(|s| s.ring_bytes = RING_BYTES_MAX + 1), einval);
        assert_eq!(with(|s| s.max_requests = MAX_REQUESTS + 1), einval);
        assert_eq!(with(|s| s.concurrency = MAX_CONCURRENCY + 1), einval);
        assert_eq!(with(|s| s.eventfd = 3), einval);
        assert_eq!(with(|s| s.fd = 3), einval);
        assert_eq!(with(|s| s.flags = SetupFlags::GROW.bits()), Err(Errno(EBADF)));
    }

    #[test]
    fn a_newer_application_gets_this_version_without_its_hints() {
        let setup = with(|s| (s.version, s.hints) = (7, u32::MAX)).unwrap();
        assert_eq!((setup.version, setup.hints), (VERSION, 0));
    }

    #[test]
    fn what_a_probe_says_can_be_used_to_create() {
        let setup = with(|s| s.hints = u32::MAX).unwrap();
        assert_eq!(resolve(&setup), Ok(setup));
    }
}
