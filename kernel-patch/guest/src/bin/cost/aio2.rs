//! AIO2 in the kernel, reaped from the mapped ring.

use super::{Buffer, Interface, Operation, check};
use aio2::kernel::Probe;
use aio2::{Context, Iocbs, Prefer, Reaper, Timeout};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::{attr, op};
use anyhow::{Result, ensure};

/// What each request asks for, and the name of that in the table.
pub struct Asks(pub &'static str, pub &'static [u16]);

/// Attributes that are counted.
pub const ASKS: [Asks; 3] = [
    Asks("aio2", &[]),
    Asks("aio2+timing", &[attr::TIMING]),
    Asks("aio2+cache+path", &[attr::CACHE, attr::PATH]),
];

/// A context, with or without attributes in each request.
pub struct Aio2 {
    context: Context,
    reaper: Reaper,
    iocbs: Iocbs,
    asks: Asks,
}

impl Aio2 {
    /// A context, each request of which asks for something. None if the kernel
    /// has no AIO2.
    ///
    /// # Errors
    /// As `io_setup2`.
    pub fn new(asks: Asks) -> Result<Option<Self>> {
        if Probe::run() == Probe::NotImplemented {
            return Ok(None);
        }
        let context = Context::builder().prefer(Prefer::Kernel).build()?;
        let reaper = context.reaper();
        Ok(Some(Aio2 { context, reaper, iocbs: Iocbs::new(), asks }))
    }
}

impl Interface for Aio2 {
    fn name(&self) -> &'static str {
        self.asks.0
    }

    fn has(&self, operation: Operation) -> bool {
        let setup = self.context.setup();
        let has_return = self.asks.1.iter().all(|id| setup.returns >> id & 1 == 1);
        let has_operation = match operation {
            Operation::Nop => setup.ops >> (op::NOP - op::OP) & 1 == 1,
            Operation::Read { .. } => setup.has_syscall(libc::SYS_pread64 as u32),
        };
        has_return && has_operation
    }

    fn batch(&mut self, operation: Operation, buffers: &mut [Buffer]) -> Result<()> {
        self.iocbs.clear();
        for buffer in &mut *buffers {
            let mut iocb = match operation {
                Operation::Nop => self.iocbs.push(op::NOP, &[], IocbFlags::empty(), 0),
                Operation::Read { fd, len } => {
                    let address = buffer.0.as_mut_ptr().expose_provenance() as u64;
                    let args = [fd as u64, address, len as u64, 0];
                    self.iocbs.push(libc::SYS_pread64 as u32, &args, IocbFlags::empty(), 0)
                }
            }?;
            for &id in self.asks.1 {
                iocb.attr(id, attr::AttrFlags::RETURN, &[])?;
            }
        }
        let bytes = self.iocbs.len();
        // SAFETY: the buffers live until all events were taken below.
        let taken = unsafe { self.context.submit_raw(self.iocbs.bytes_mut()) }?;
        ensure!(taken == bytes, "io_submit2 took {taken} of {bytes} bytes");
        let mut left = buffers.len();
        // What completed inline is there without a call.
        let mut events = self.reaper.batch()?;
        loop {
            for event in events {
                check(operation, event.parsed().header.res)?;
                left -= 1;
            }
            if left == 0 {
                return Ok(());
            }
            events = self.reaper.wait(left as u32, Timeout::Forever)?;
        }
    }
}
