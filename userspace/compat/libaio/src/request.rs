//! From a struct iocb to an AIO2 request, with the checks that the original's
//! kernel makes before it accepts one, in its order.

use crate::context::{Slot, State};
use crate::fd;
use crate::legacy::{
    FDSYNC, FLAG_IOPRIO, FLAG_RESFD, FSYNC, Iocb, POLL, PREAD, PREADV, PWRITE, PWRITEV,
};
use crate::memory;
use aio2::Iocbs;
use aio2_abi::iocb::IocbFlags;
use aio2_abi::{attr, op};
use aio2_compat::fd::check_mode;
use aio2_compat::recorded;
use libc::{EBADF, EFAULT, EINVAL, EOPNOTSUPP, EPERM};
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use std::sync::Arc;

const IOV_MAX: u64 = 1024;
/// `RWF_` flags that a kernel may know: up to DONTCACHE.
const RW_FLAGS: u32 = 0xff;
const IOPRIO_CLASS_RT: u16 = 1;
const IOPRIO_CLASS_IDLE: u16 = 3;
/// The position that means a stream's own.
const NO_POSITION: u64 = u64::MAX;

/// What the requests of one call have in common.
#[derive(Debug, Default)]
pub struct Shared {
    /// Each eventfd of the call, once.
    eventfds: Vec<(u32, Arc<OwnedFd>)>,
    /// Descriptor and direction that were found good last.
    checked: Option<(i32, bool)>,
    /// Each request is recorded: it asks for what its event can tell.
    pub recorded: bool,
}

impl Shared {
    pub fn clear(&mut self) {
        self.eventfds.clear();
        self.checked = None;
    }

    fn eventfd(&mut self, fd: u32) -> Result<Arc<OwnedFd>, i32> {
        if let Some((_, known)) = self.eventfds.iter().find(|(known, _)| *known == fd) {
            return Ok(known.clone());
        }
        let new = Arc::new(fd::eventfd(fd as i32)?);
        self.eventfds.push((fd, new.clone()));
        Ok(new)
    }

    fn check(&mut self, fd: i32, writes: bool) -> Result<(), i32> {
        if self.checked != Some((fd, writes)) {
            check_mode(fd, writes)?;
            self.checked = Some((fd, writes));
        }
        Ok(())
    }
}

/// Whether a request of this opcode writes.
fn writes(opcode: u16) -> bool {
    matches!(opcode, PWRITE | PWRITEV)
}

/// The program's iocb at `address`.
///
/// # Errors
/// EFAULT, positive.
pub fn read(address: usize) -> Result<Iocb, i32> {
    if !memory::readable(address, size_of::<Iocb>()) {
        return Err(EFAULT);
    }
    let iocb = with_exposed_provenance::<Iocb>(address);
    // SAFETY: the kernel says that it can be read; all bytes are an iocb.
    Ok(unsafe { iocb.read_unaligned() })
}

/// Marks the iocb at `address` as submitted, as the kernel does.
///
/// # Errors
/// EFAULT, positive.
pub fn mark(address: usize) -> Result<(), i32> {
    let key = address + offset_of!(Iocb, key);
    if !memory::writable(key, size_of::<u32>()) {
        return Err(EFAULT);
    }
    // SAFETY: the kernel says that it can be written.
    unsafe { with_exposed_provenance_mut::<u32>(key).write_unaligned(0) };
    Ok(())
}

/// Checks an iocb before a place is taken for it.
///
/// # Errors
/// EINVAL, positive.
pub fn check_form(iocb: &Iocb) -> Result<(), i32> {
    let overflows = iocb.nbytes > isize::MAX as u64;
    if iocb.reserved2 != 0 || overflows { Err(EINVAL) } else { Ok(()) }
}

/// Fills in a slot, and appends the AIO2 request of its iocb to `stream`.
/// `alone`: the call has no other, so that a descriptor that cannot be read can be
/// told by the result of the operation itself.
///
/// # Errors
/// The errno, positive, that io_submit says.
pub fn prepare(
    slot: &mut Slot,
    user_data: u64,
    alone: bool,
    shared: &mut Shared,
    stream: &mut Iocbs,
) -> Result<(), i32> {
    let iocb = slot.iocb;
    let transfers = matches!(iocb.opcode, PREAD | PWRITE | PREADV | PWRITEV);
    if iocb.fd < 0 {
        return Err(EBADF);
    }
    // A write may be a worker's from the start, and not fail in the call.
    if transfers && (!alone || writes(iocb.opcode)) {
        shared.check(iocb.fd, writes(iocb.opcode))?;
    }
    let kind = if transfers { 0 } else { fd::kind(iocb.fd)? };
    slot.eventfd =
        if iocb.flags & FLAG_RESFD != 0 { Some(shared.eventfd(iocb.resfd)?) } else { None };
    slot.state = State::Submitting;
    slot.is_stream = false;
    slot.eager = slot.eventfd.is_some();
    let asks = shared.recorded;
    if asks {
        slot.tid = aio2_record::thread_id();
    }
    match iocb.opcode {
        PREAD | PWRITE | PREADV | PWRITEV => transfer(slot, user_data, asks, stream),
        FSYNC | FDSYNC => {
            if iocb.buf != 0 || iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 {
                return Err(EINVAL);
            }
            check_mode(iocb.fd, false).or_else(|_| check_mode(iocb.fd, true))?;
            if !matches!(kind, libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR) {
                return Err(EINVAL);
            }
            let call = if iocb.opcode == FSYNC { libc::SYS_fsync } else { libc::SYS_fdatasync };
            push(stream, call as u32, &[iocb.fd as u64], user_data, asks, None)
        }
        POLL => {
            let form = iocb.buf <= u64::from(u16::MAX)
                && iocb.offset == 0
                && iocb.nbytes == 0
                && iocb.rw_flags == 0;
            check_mode(iocb.fd, false).or_else(|_| check_mode(iocb.fd, true))?;
            if !form {
                return Err(EINVAL);
            }
            push(stream, op::POLL, &[iocb.fd as u64, iocb.buf], user_data, asks, None)
        }
        _ => Err(EINVAL),
    }
}

fn transfer(slot: &mut Slot, user_data: u64, asks: bool, stream: &mut Iocbs) -> Result<(), i32> {
    let iocb = slot.iocb;
    let priority = priority(&iocb)?;
    if iocb.rw_flags & !RW_FLAGS != 0 {
        return Err(EOPNOTSUPP);
    }
    if iocb.offset < 0 {
        return Err(EINVAL);
    }
    let vectored = matches!(iocb.opcode, PREADV | PWRITEV);
    if vectored {
        copy_buffers(slot)?;
    } else if !memory::is_ours(iocb.buf as usize, iocb.nbytes as usize) {
        return Err(EFAULT);
    }
    if vectored || iocb.rw_flags != 0 {
        if !vectored {
            slot.iovs.push(one_buffer(&iocb));
        }
        return push_vectored(slot, user_data, iocb.offset as u64, asks, priority, stream);
    }
    let call = if writes(iocb.opcode) { libc::SYS_pwrite64 } else { libc::SYS_pread64 };
    let args = [iocb.fd as u64, iocb.buf, iocb.nbytes, iocb.offset as u64];
    push(stream, call as u32, &args, user_data, asks, priority)
}

fn one_buffer(iocb: &Iocb) -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(iocb.buf as usize),
        iov_len: iocb.nbytes as usize,
    }
}

/// Appends what runs a transfer again as a read or write without position:
/// the original does that by itself for what has none.
pub fn prepare_stream(
    slot: &mut Slot,
    user_data: u64,
    asks: bool,
    stream: &mut Iocbs,
) -> Result<(), i32> {
    slot.is_stream = true;
    if slot.iovs.is_empty() {
        slot.iovs.push(one_buffer(&slot.iocb));
    }
    let priority = priority(&slot.iocb)?;
    push_vectored(slot, user_data, NO_POSITION, asks, priority, stream)
}

fn push_vectored(
    slot: &Slot,
    user_data: u64,
    offset: u64,
    asks: bool,
    priority: Option<u32>,
    stream: &mut Iocbs,
) -> Result<(), i32> {
    let iocb = &slot.iocb;
    let call = if writes(iocb.opcode) { libc::SYS_pwritev2 } else { libc::SYS_preadv2 };
    let buffers = slot.iovs.as_ptr().expose_provenance() as u64;
    let flags = u64::from(iocb.rw_flags);
    let args = [iocb.fd as u64, buffers, slot.iovs.len() as u64, offset, 0, flags];
    push(stream, call as u32, &args, user_data, asks, priority)
}

/// Copies the array of buffers, which the program may use again.
fn copy_buffers(slot: &mut Slot) -> Result<(), i32> {
    let (at, count) = (slot.iocb.buf as usize, slot.iocb.nbytes);
    if count > IOV_MAX {
        return Err(EINVAL);
    }
    let bytes = count as usize * size_of::<libc::iovec>();
    if !memory::readable(at, bytes) {
        return Err(EFAULT);
    }
    let buffers = with_exposed_provenance::<libc::iovec>(at);
    for n in 0..count as usize {
        // SAFETY: the kernel says that it can be read.
        let buffer = unsafe { buffers.wrapping_add(n).read_unaligned() };
        if buffer.iov_len > isize::MAX as usize {
            return Err(EINVAL);
        }
        if !memory::is_ours(buffer.iov_base.expose_provenance(), buffer.iov_len) {
            return Err(EFAULT);
        }
        slot.iovs.push(buffer);
    }
    Ok(())
}

/// The I/O priority that an iocb asks for, as ioprio_set(2) has it.
fn priority(iocb: &Iocb) -> Result<Option<u32>, i32> {
    if iocb.flags & FLAG_IOPRIO == 0 {
        return Ok(None);
    }
    let value = iocb.reqprio as u16;
    match value >> 13 {
        IOPRIO_CLASS_RT if !fd::may_have_real_time() => Err(EPERM),
        class if class > IOPRIO_CLASS_IDLE || class == 0 && value != 0 => Err(EINVAL),
        _ => Ok(Some(u32::from(value))),
    }
}

fn push(
    stream: &mut Iocbs,
    nr: u32,
    args: &[u64],
    user_data: u64,
    asks: bool,
    priority: Option<u32>,
) -> Result<(), i32> {
    let mut iocb = stream.push(nr, args, IocbFlags::empty(), user_data).map_err(|_| EINVAL)?;
    if let Some(priority) = priority {
        let payload = u64::from(priority).to_ne_bytes();
        iocb.attr(attr::PRIORITY, attr::AttrFlags::empty(), &payload).map_err(|_| EINVAL)?;
    }
    if asks {
        recorded::ask(&mut iocb).map_err(|_| EINVAL)?;
    }
    Ok(())
}

/// What the original says of a result in the call itself, instead of an event:
/// the errno, positive.
pub fn refusal(slot: &Slot, res: i64) -> Option<i32> {
    match (slot.iocb.opcode, i32::try_from(-res).ok()?) {
        (PREAD | PWRITE | PREADV | PWRITEV, EBADF) => Some(EBADF),
        // A directory cannot be read at all.
        (PREAD | PWRITE | PREADV | PWRITEV, libc::EISDIR) => Some(EINVAL),
        _ => None,
    }
}

/// What is recorded of a request that has ended.
pub fn record(slot: &Slot, event: &aio2::Event<'_>, res: i64) -> aio2_record::Request {
    let iocb = &slot.iocb;
    let (nr, transfers) = match iocb.opcode {
        PREAD => (libc::SYS_pread64 as u32, true),
        PREADV => (libc::SYS_preadv as u32, true),
        PWRITE => (libc::SYS_pwrite64 as u32, true),
        PWRITEV => (libc::SYS_pwritev as u32, true),
        FSYNC => (libc::SYS_fsync as u32, false),
        FDSYNC => (libc::SYS_fdatasync as u32, false),
        _ => (op::POLL, false),
    };
    let length = match iocb.opcode {
        PREAD | PWRITE => iocb.nbytes,
        _ => slot.iovs.iter().map(|buffer| buffer.iov_len as u64).sum(),
    };
    let positioned = transfers && !slot.is_stream;
    let mut request = aio2_record::Request {
        nr,
        fd: iocb.fd,
        tid: slot.tid,
        offset: if positioned { iocb.offset as u64 } else { aio2_record::NO_OFFSET },
        length,
        result: res,
        ..aio2_record::Request::default()
    };
    recorded::fill(&mut request, event);
    request
}
