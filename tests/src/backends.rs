//! The implementations that the suite runs on.

use crate::env::{Factory, Skip};
use aio2::backend::Backend;
use aio2::engine::Engine;
use aio2::error::Errno;
use aio2::kernel::{Kernel, Probe};
use aio2_abi::setup::Setup;

/// The in-process engine.
#[derive(Clone, Copy, Debug)]
pub struct InProcess;

impl Factory for InProcess {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn create(&self, setup: &Setup) -> Result<Box<dyn Backend>, Errno> {
        // SAFETY: a descriptor of a test is its own, or not open.
        unsafe { Engine::with_numbers(setup) }.map(|engine| Box::new(engine) as Box<dyn Backend>)
    }

    fn probe(&self, setup: &Setup) -> Result<Setup, Errno> {
        Engine::resolve(setup)
    }
}

/// The in-process engine, which gives io_uring or Linux AIO whatever it can, and not
/// only what waits for a device.
#[derive(Clone, Copy, Debug)]
pub struct OnDevice;

impl Factory for OnDevice {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn create(&self, setup: &Setup) -> Result<Box<dyn Backend>, Errno> {
        // SAFETY: a descriptor of a test is its own, or not open.
        let engine = unsafe { Engine::with_all_on_device(setup) };
        engine.map(|engine| Box::new(engine) as Box<dyn Backend>)
    }

    fn probe(&self, setup: &Setup) -> Result<Setup, Errno> {
        Engine::resolve(setup)
    }
}

/// The running kernel.
#[derive(Clone, Copy, Debug)]
pub struct Running;

impl Factory for Running {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn create(&self, setup: &Setup) -> Result<Box<dyn Backend>, Errno> {
        // SAFETY: a descriptor of a test is its own, or not open.
        unsafe { Kernel::with_numbers(setup) }.map(|kernel| Box::new(kernel) as Box<dyn Backend>)
    }

    fn probe(&self, setup: &Setup) -> Result<Setup, Errno> {
        Kernel::resolve(setup)
    }
}

/// The running kernel, if it has the calls.
///
/// # Errors
/// Why the suite cannot run on it.
pub fn kernel() -> Result<Box<dyn Factory>, Skip> {
    match Probe::run() {
        Probe::Available(_) => Ok(Box::new(Running)),
        Probe::Refused(errno) => Err(Skip(format!("this kernel refuses it: {errno}"))),
        Probe::NotImplemented => Err(Skip("this kernel has no AIO2".into())),
    }
}
