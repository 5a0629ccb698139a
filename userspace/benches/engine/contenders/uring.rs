//! io_uring(7) in its best mode: one issuer, deferred task work, the ring, the file
//! and the memory registered.

use super::{Contender, Done};
use crate::work::{EMPTY_PATH, Request, STATX_FLAGS, STATX_MASK, Work};
use io_uring::types::{Fd, Fixed};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Its parts, of which the first one knows that the ring is registered.
pub struct Uring {
    submitter: Submitter<'static>,
    entries: SubmissionQueue<'static>,
    results: CompletionQueue<'static>,
    registered: RawFd,
}

impl Uring {
    /// # Errors
    /// Why this cannot be had.
    pub fn new(work: &mut Work) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        let ring = builder.build((work.slots() as u32).max(8))?;
        // For ever: its parts borrow it. There are some thirty.
        let (mut submitter, entries, results) = Box::leak(Box::new(ring)).split();
        submitter.register_ring_fd()?;
        let registered = work.file().as_raw_fd();
        submitter.register_files(&[registered])?;
        // SAFETY: the memory stays as long as the work, which outlives its contenders.
        unsafe { submitter.register_buffers(&[work.memory()]) }?;
        Ok(Uring { submitter, entries, results, registered })
    }

    #[inline(always)]
    fn entry(&self, request: &Request) -> squeue::Entry {
        match *request {
            Request::Nop => opcode::Nop::new().build(),
            Request::Read { fd, at, len, offset } if fd == self.registered => {
                opcode::ReadFixed::new(Fixed(0), at, len as u32, 0).offset(offset).build()
            }
            Request::Read { fd, at, len, offset } => {
                opcode::Read::new(Fd(fd), at, len as u32).offset(offset).build()
            }
            Request::Write { at, len, offset, .. } => {
                opcode::WriteFixed::new(Fixed(0), at, len as u32, 0).offset(offset).build()
            }
            Request::Sync { .. } => {
                opcode::Fsync::new(Fixed(0)).flags(io_uring::types::FsyncFlags::DATASYNC).build()
            }
            Request::Open { path } => opcode::OpenAt::new(Fd(libc::AT_FDCWD), path)
                .flags(libc::O_RDONLY | libc::O_CLOEXEC)
                .build(),
            Request::Statx { fd, to } => opcode::Statx::new(Fd(fd), EMPTY_PATH, to.cast())
                .flags(STATX_FLAGS)
                .mask(STATX_MASK)
                .build(),
            Request::Close { fd } => opcode::Close::new(Fd(fd)).build(),
            Request::Receive { fd, at, len } => opcode::Recv::new(Fd(fd), at, len as u32).build(),
            Request::Send { fd, at, len } => opcode::Send::new(Fd(fd), at, len as u32).build(),
        }
    }
}

impl Contender for Uring {
    #[inline(always)]
    fn push(&mut self, slot: usize, request: &Request) {
        let entry = self.entry(request).user_data(slot as u64);
        // SAFETY: what a request names is there while the work is.
        unsafe { self.entries.push(&entry) }.expect("room for each slot");
    }

    fn turn(&mut self, done: &mut Done) {
        self.entries.sync();
        self.submitter.submit_and_wait(1).expect("submitted");
        self.entries.sync();
        self.results.sync();
        let ended = &mut self.results;
        done.extend(ended.map(|event| (event.user_data() as usize, event.result().into())));
        self.results.sync();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // The memory is not to stay pinned, and a thread has sixteen places for rings.
        let _ = self.submitter.unregister_buffers();
        let _ = self.submitter.unregister_files();
        let _ = self.submitter.unregister_ring_fd();
    }
}
