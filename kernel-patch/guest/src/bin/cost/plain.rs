//! The plain system call, one at a time: what the work itself costs.

use super::{Buffer, Interface, Operation, check};
use anyhow::Result;

/// pread(2), and for nothing getppid(2).
pub struct Plain;

impl Interface for Plain {
    fn name(&self) -> &'static str {
        "syscall"
    }

    fn has(&self, _operation: Operation) -> bool {
        true
    }

    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()> {
        for buffer in buffers {
            match operation {
                Operation::Nop => {
                    // SAFETY: a system call without memory.
                    unsafe { libc::getppid() };
                }
                Operation::Read { fd, len } => {
                    // SAFETY: `len` is at most the buffer's size.
                    let read = unsafe { libc::pread(fd, buffer.0.as_mut_ptr().cast(), len, 0) };
                    check(operation, read as i64)?;
                }
            }
        }
        Ok(())
    }
}
