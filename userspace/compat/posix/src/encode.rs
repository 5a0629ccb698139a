//! From a request of the table to an AIO2 request, and to a record.

use crate::aiocb::PRIORITY_MAX;
use crate::table::{Kind, Place, Request};
use aio2::{Event, Iocbs};
use aio2_abi::attr::{self, AFTER_REQUEST, After, Group, Priority};
use aio2_abi::iocb::IocbFlags;
use aio2_compat::recorded;
use zerocopy::IntoBytes;

/// ioprio_set(2): the class best-effort, whose level is 4 unless it is set, and 7
/// at least.
const BEST_EFFORT: u32 = 2 << 13;
const LEVEL: u32 = 4;
const LEVEL_LEAST: u32 = 7;

/// AFTER the request of this id.
pub fn request_of(target: u64) -> After {
    After { target, kind: AFTER_REQUEST, resv: 0 }
}

/// Appends the AIO2 request of a place to a stream.
pub fn push(
    stream: &mut Iocbs,
    request: &Request,
    place: Place,
    asks: bool,
    after: Option<After>,
    group: Option<u64>,
) {
    let described = &request.described;
    let fd = described.fd as u64;
    let (buffer, bytes) = (described.buffer as u64, described.bytes as u64);
    let all = [fd, buffer, bytes, described.offset as u64];
    let (nr, args) = match (request.kind, request.is_stream) {
        (Kind::Read, false) => (libc::SYS_pread64, &all[..]),
        (Kind::Read, true) => (libc::SYS_read, &all[..3]),
        (Kind::Write, false) => (libc::SYS_pwrite64, &all[..]),
        (Kind::Write, true) => (libc::SYS_write, &all[..3]),
        (Kind::Sync(true), _) => (libc::SYS_fdatasync, &all[..1]),
        _ => (libc::SYS_fsync, &all[..1]),
    };
    let pushed = stream.push(nr as u32, args, IocbFlags::WRITE_ID, place.user_data());
    let all = pushed.and_then(|mut iocb| {
        if let Some(group) = group {
            let group = Group { key: group };
            iocb.attr(attr::GROUP, attr::AttrFlags::REQUIRED, group.as_bytes())?;
        }
        if let Some(after) = after {
            iocb.attr(attr::AFTER, attr::AttrFlags::REQUIRED, after.as_bytes())?;
        }
        if described.priority > 0 {
            let lower = described.priority as u32 * (LEVEL_LEAST - LEVEL);
            let level = LEVEL + lower.div_ceil(PRIORITY_MAX as u32);
            let priority = Priority { ioprio: BEST_EFFORT | level, resv: 0 };
            iocb.attr(attr::PRIORITY, attr::AttrFlags::empty(), priority.as_bytes())?;
        }
        if asks { recorded::ask(&mut iocb) } else { Ok(()) }
    });
    debug_assert!(all.is_ok(), "six attributes fit into an iocb");
}

/// What is recorded of a request that has ended.
pub fn record(request: &Request, event: &Event<'_>, result: i64) -> aio2_record::Request {
    let described = &request.described;
    let (nr, transfers) = match request.kind {
        Kind::Read => (libc::SYS_pread64, true),
        Kind::Write => (libc::SYS_pwrite64, true),
        Kind::Sync(true) => (libc::SYS_fdatasync, false),
        _ => (libc::SYS_fsync, false),
    };
    let has_place = transfers && !request.is_stream && !request.appends;
    let mut recorded = aio2_record::Request {
        nr: nr as u32,
        fd: described.fd,
        tid: request.tid,
        offset: if has_place { described.offset as u64 } else { aio2_record::NO_OFFSET },
        length: if transfers { described.bytes as u64 } else { 0 },
        result,
        ..aio2_record::Request::default()
    };
    recorded::fill(&mut recorded, event);
    recorded
}
