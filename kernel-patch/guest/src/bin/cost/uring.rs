//! io_uring, with one call that submits and waits.

use super::{Buffer, Interface, Operation, check};
use anyhow::{Context, Result};
use io_uring::{IoUring, opcode, types};

/// A ring without polling threads, registered files or registered buffers.
pub struct Uring(IoUring);

impl Uring {
    /// A ring of so many entries.
    ///
    /// # Errors
    /// As io_uring_setup(2).
    pub fn new(entries: u32) -> Result<Self> {
        Ok(Uring(IoUring::new(entries).context("io_uring")?))
    }
}

impl Interface for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn has(&self, _operation: Operation) -> bool {
        true
    }

    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()> {
        for buffer in &mut *buffers {
            let entry = match operation {
                Operation::Nop => opcode::Nop::new().build(),
                Operation::Read { fd, len } => {
                    opcode::Read::new(types::Fd(fd), buffer.0.as_mut_ptr(), len as u32).build()
                }
            };
            // SAFETY: the buffers live until all completions were taken below.
            unsafe { self.0.submission().push(&entry) }?;
        }
        let mut left = buffers.len();
        self.0.submit_and_wait(left)?;
        while left > 0 {
            for completion in self.0.completion() {
                check(operation, completion.result().into())?;
                left -= 1;
            }
        }
        Ok(())
    }
}
