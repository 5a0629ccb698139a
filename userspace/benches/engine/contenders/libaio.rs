//! Linux AIO, as libaio calls it.

use super::{Contender, Done, errno};
use crate::work::Request;
use std::io;

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FDSYNC: u16 = 3;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

pub struct Libaio {
    context: u64,
    iocbs: Vec<Iocb>,
    noted: Vec<*mut Iocb>,
    events: Vec<[i64; 4]>,
}

impl Libaio {
    /// # Errors
    /// As io_setup(2).
    pub fn new(slots: usize) -> io::Result<Self> {
        let mut context = 0_u64;
        // SAFETY: `context` can be written.
        if unsafe { libc::syscall(libc::SYS_io_setup, slots, &raw mut context) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let iocbs = vec![Iocb::default(); slots];
        Ok(Libaio { context, iocbs, noted: Vec::new(), events: vec![[0; 4]; slots] })
    }
}

impl Contender for Libaio {
    fn push(&mut self, slot: usize, request: &Request) {
        let (opcode, fd, at, len, offset) = match *request {
            Request::Read { fd, at, len, offset } => (PREAD, fd, at, len, offset),
            Request::Write { fd, at, len, offset } => (PWRITE, fd, at, len, offset),
            Request::Sync { fd } => (FDSYNC, fd, std::ptr::null_mut(), 0, 0),
            _ => unreachable!("it has no operation for {request:?}"),
        };
        self.iocbs[slot] = Iocb {
            data: slot as u64,
            opcode,
            fd: fd as u32,
            buf: at.expose_provenance() as u64,
            nbytes: len as u64,
            offset,
            ..Iocb::default()
        };
        self.noted.push(&raw mut self.iocbs[slot]);
    }

    fn turn(&mut self, done: &mut Done) {
        let mut given = 0;
        while given < self.noted.len() {
            let rest = &mut self.noted[given..];
            let (n, at) = (rest.len(), rest.as_mut_ptr());
            // SAFETY: the iocbs are read within the call; what they name stays.
            let n = unsafe { libc::syscall(libc::SYS_io_submit, self.context, n, at) };
            assert!(n > 0, "io_submit: {}", errno());
            given += n as usize;
        }
        self.noted.clear();
        let (room, at) = (self.events.len(), self.events.as_mut_ptr());
        // SAFETY: there is room for so many events.
        let n = unsafe { libc::syscall(libc::SYS_io_getevents, self.context, 1, room, at, 0) };
        assert!(n > 0, "io_getevents: {}", errno());
        done.extend(self.events[..n as usize].iter().map(|event| (event[0] as usize, event[2])));
    }
}

impl Drop for Libaio {
    fn drop(&mut self) {
        // SAFETY: the context is ours.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}
