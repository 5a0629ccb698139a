//! io_uring, with one call that submits and waits.

use super::{Buffer, Interface, Operation, check};
use anyhow::{Context, Result};
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use std::os::fd::RawFd;

/// A ring without polling threads.
pub struct Uring {
    ring: IoUring,
    /// Files by their index, if they and the buffers are registered.
    registered: Option<Vec<RawFd>>,
}

impl Uring {
    /// A ring of so many entries, as it is by default.
    ///
    /// # Errors
    /// As io_uring_setup(2).
    pub fn new(entries: u32) -> Result<Self> {
        let ring = IoUring::new(entries).context("io_uring")?;
        Ok(Uring { ring, registered: None })
    }

    /// A ring in its best mode: one thread that submits and that runs what is
    /// left to do when it waits, registered files, registered buffers.
    ///
    /// # Errors
    /// As io_uring_setup(2) and io_uring_register(2).
    pub fn best(entries: u32, files: &[RawFd], buffers: &mut [Buffer]) -> Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        let ring = builder.build(entries).context("io_uring, deferred")?;
        ring.submitter().register_files(files).context("files")?;
        let vectors: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|b| libc::iovec { iov_base: b.0.as_mut_ptr().cast(), iov_len: b.0.len() })
            .collect();
        // SAFETY: the buffers live as long as the program measures.
        unsafe { ring.submitter().register_buffers(&vectors) }.context("buffers")?;
        Ok(Uring { ring, registered: Some(files.to_vec()) })
    }

    fn entry(&self, operation: Operation, index: usize, buffer: &mut Buffer) -> Entry {
        let Operation::Read { fd, len } = operation else { return opcode::Nop::new().build() };
        let (to, len) = (buffer.0.as_mut_ptr(), len as u32);
        match self.registered.as_ref().and_then(|all| all.iter().position(|&file| file == fd)) {
            Some(file) => {
                opcode::ReadFixed::new(types::Fixed(file as u32), to, len, index as u16).build()
            }
            None => opcode::Read::new(types::Fd(fd), to, len).build(),
        }
    }
}

impl Interface for Uring {
    fn name(&self) -> &'static str {
        if self.registered.is_some() { "io_uring*" } else { "io_uring" }
    }

    fn has(&self, _operation: Operation) -> bool {
        true
    }

    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()> {
        for (index, buffer) in buffers.iter_mut().enumerate() {
            let entry = self.entry(operation, index, buffer);
            // SAFETY: the buffers live until all completions were taken below.
            unsafe { self.ring.submission().push(&entry) }?;
        }
        let mut left = buffers.len();
        self.ring.submit_and_wait(left)?;
        while left > 0 {
            for completion in self.ring.completion() {
                check(operation, completion.result().into())?;
                left -= 1;
            }
        }
        Ok(())
    }
}
