//! Linux AIO by its system calls, as libaio makes them.

use super::{Buffer, Interface, Operation, check};
use anyhow::{Context, Result, ensure};
use std::io;

/// `IOCB_CMD_PREAD` of linux/aio_abi.h.
const PREAD: u16 = 0;

/// `struct iocb` of linux/aio_abi.h, little-endian.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    reqprio: i16,
    fildes: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved2: u64,
    flags: u32,
    resfd: u32,
}

/// `struct io_event` of linux/aio_abi.h.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

const _: () = assert!(size_of::<Iocb>() == 64);
const _: () = assert!(size_of::<Event>() == 32);

/// A context, and the memory for its calls.
pub struct Aio {
    context: u64,
    iocbs: Vec<Iocb>,
    pointers: Vec<*const Iocb>,
    events: Vec<Event>,
}

impl Aio {
    /// A context of so many entries.
    ///
    /// # Errors
    /// As io_setup(2).
    pub fn new(entries: u32) -> Result<Self> {
        let mut context = 0_u64;
        // SAFETY: `context` is alive and zero.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, entries, &raw mut context) };
        returned(result).context("io_setup")?;
        let entries = entries as usize;
        Ok(Aio {
            context,
            iocbs: Vec::with_capacity(entries),
            pointers: Vec::with_capacity(entries),
            events: vec![Event::default(); entries],
        })
    }
}

impl Interface for Aio {
    fn name(&self) -> &'static str {
        "libaio"
    }

    fn has(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Read { .. })
    }

    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()> {
        let Operation::Read { fd, len } = operation else { return Ok(()) };
        self.iocbs.clear();
        self.iocbs.extend(buffers.iter_mut().map(|buffer| Iocb {
            opcode: PREAD,
            fildes: fd.cast_unsigned(),
            buf: buffer.0.as_mut_ptr().expose_provenance() as u64,
            nbytes: len as u64,
            ..Iocb::default()
        }));
        self.pointers.clear();
        self.pointers.extend(self.iocbs.iter().map(std::ptr::from_ref));
        let count = buffers.len();
        // SAFETY: the pointers are to iocbs that are alive, and these to
        // buffers that live until all events were taken below.
        let submitted = unsafe {
            libc::syscall(libc::SYS_io_submit, self.context, count, self.pointers.as_ptr())
        };
        ensure!(returned(submitted)? == count as i64, "io_submit took {submitted} of {count}");
        let forever = std::ptr::null::<libc::timespec>();
        // SAFETY: there is room for as many events as are asked for.
        let got = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                count,
                count,
                self.events.as_mut_ptr(),
                forever,
            )
        };
        ensure!(returned(got)? == count as i64, "io_getevents gave {got} of {count}");
        self.events[..count].iter().try_for_each(|event| check(operation, event.res))
    }
}

fn returned(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
