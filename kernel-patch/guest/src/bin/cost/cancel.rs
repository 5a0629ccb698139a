//! What a cancel costs with more and more requests in flight.

use super::stamp;
use aio2::{Context, Iocbs, Prefer, Timeout};
use aio2_abi::iocb::{Header, IocbFlags};
use aio2_abi::wait::{Cancel, CancelFlags};
use anyhow::{Context as _, Result, ensure};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, RawFd};

/// Requests in flight.
const IN_FLIGHT: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Iocbs of a submission.
const STREAM: usize = 1_000;
/// Bytes of an event without returns.
const EVENT: usize = 24;

/// Prints the cost of a cancel of one request by its id, of one by its user_data,
/// and, for each of them, of all.
///
/// # Errors
/// If something did not do what it says.
pub fn measure() -> Result<()> {
    let (pipe, _writer) = io::pipe()?;
    for in_flight in IN_FLIGHT {
        of_many(pipe.as_raw_fd(), in_flight).with_context(|| format!("{in_flight} in flight"))?;
    }
    Ok(())
}

/// The costs with so many reads in flight that never end by themselves.
fn of_many(pipe: RawFd, in_flight: usize) -> Result<()> {
    let events = (in_flight * EVENT).next_power_of_two() as u32;
    let context = Context::builder()
        .prefer(Prefer::Kernel)
        .concurrency(1)
        .max_requests(in_flight as u32)
        .ring_bytes(events)
        .build()?;
    let mut reaper = context.reaper();
    let mut byte = [0_u8; 1];
    let address = byte.as_mut_ptr().expose_provenance() as u64;
    let read = [pipe as u64, address, 1];
    let mut iocbs = Iocbs::new();
    let mut id = 0;
    for first in (0..in_flight).step_by(STREAM) {
        iocbs.clear();
        for number in first..first + STREAM {
            // The one in the middle is asked for its id.
            let flag =
                if number == in_flight / 2 { IocbFlags::WRITE_ID } else { IocbFlags::empty() };
            iocbs.push(libc::SYS_read as u32, &read, flag, number as u64)?;
        }
        let bytes = iocbs.len();
        // SAFETY: nothing is ever written to the pipe, so that `byte` stays as it is,
        // and all have ended before it goes.
        let taken = unsafe { context.submit_raw(iocbs.bytes_mut()) }?;
        ensure!(taken == bytes, "io_submit2 took {taken} of {bytes} bytes");
        if (first..first + STREAM).contains(&(in_flight / 2)) {
            let at = (in_flight / 2 - first) * (bytes / STREAM) + offset_of!(Header, id);
            let bytes = iocbs.bytes()[at..].first_chunk().context("an id")?;
            id = u64::from_ne_bytes(*bytes);
        }
    }
    let cancel = |name: &str, request: Cancel, matches: usize| -> Result<()> {
        let mut request = request;
        let start = stamp();
        let matched = context.cancel(&mut request)? as usize;
        let spent = stamp() - start;
        ensure!(matched == matches, "{name} matched {matched} instead of {matches}");
        println!("cost cancel-{name} {in_flight} aio2 {}", spent / matches as u64);
        Ok(())
    };
    let by = |flags: CancelFlags| Cancel { flags: flags.bits(), ..Cancel::default() };
    cancel("id", Cancel { id, ..by(CancelFlags::ID) }, 1)?;
    let user_data = in_flight as u64 / 4;
    cancel("user-data", Cancel { user_data, ..by(CancelFlags::USER_DATA) }, 1)?;
    cancel("all", by(CancelFlags::ALL), in_flight - 2)?;
    let mut left = in_flight;
    while left > 0 {
        for event in reaper.wait(1, Timeout::Forever)? {
            let res = event.parsed().header.res;
            ensure!(res == -i64::from(libc::ECANCELED) || res == -i64::from(libc::EINTR), "{res}");
            left -= 1;
        }
    }
    Ok(())
}
