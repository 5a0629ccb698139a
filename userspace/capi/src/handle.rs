//! A context as C holds it.

use crate::ring::Ring;
use aio2::{Consumer, Context, Errno, Prefer};
use aio2_abi::setup::{Setup, SetupFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What `struct aio2_context *` points to.
pub struct Handle {
    pub context: Context,
    /// The rings that C was shown; they stay mapped as long as the context.
    rings: Mutex<Vec<Consumer>>,
}

impl Handle {
    /// A context as `setup` wants it, which then says what it became; its requests
    /// are recorded to `record`.
    ///
    /// # Errors
    /// SPEC section 4.1.
    pub fn new(
        setup: &mut Setup,
        eventfd: Option<OwnedFd>,
        prefer: Prefer,
        record: Option<&Path>,
    ) -> Result<Self, Errno> {
        let mut builder = Context::builder()
            .ring_bytes(setup.ring_bytes)
            .max_requests(setup.max_requests)
            .concurrency(setup.concurrency)
            .prefer(prefer);
        if let Some(eventfd) = eventfd {
            builder = builder.eventfd(eventfd);
        }
        if let Some(path) = record {
            builder = builder.record(path);
        }
        let context = builder.build().map_err(|error| error.errno())?;
        let (flags, eventfd) = (setup.flags, setup.eventfd);
        // Its own copy of the eventfd has another number.
        *setup = Setup { flags, eventfd, ..*context.setup() };
        Ok(Handle { context, rings: Mutex::new(Vec::new()) })
    }

    /// The oldest ring that may hold events.
    ///
    /// # Errors
    /// EXDEV in a child after fork.
    pub fn ring(&self) -> Result<Ring, Errno> {
        self.show(self.context.consumer())
    }

    /// The ring that took the place of `ring`, if nothing is left in it.
    ///
    /// # Errors
    /// EINVAL if it is none of this context's; EAGAIN if it is not replaced, or
    /// not empty.
    pub fn ring_after(&self, ring: &Ring) -> Result<Ring, Errno> {
        let known = {
            let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
            rings.iter().find(|shown| ring.is_of(shown)).cloned()
        };
        let mut consumer = known.ok_or(Errno(libc::EINVAL))?;
        if consumer.advance() { self.show(consumer) } else { Err(Errno(libc::EAGAIN)) }
    }

    fn show(&self, consumer: Consumer) -> Result<Ring, Errno> {
        let ring = Ring::of(&consumer).ok_or(Errno(libc::EXDEV))?;
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if !rings.iter().any(|shown| ring.is_of(shown)) {
            rings.push(consumer);
        }
        Ok(ring)
    }
}

/// What a context would be, without making one.
///
/// # Errors
/// SPEC section 4.1.
pub fn probe(setup: &Setup, prefer: Prefer) -> Result<Setup, Errno> {
    let flags = setup.flags;
    let setup = Setup { flags: flags | SetupFlags::PROBE.bits(), ..*setup };
    let kernel = || aio2::kernel::Kernel::resolve(&setup);
    let engine = || aio2::engine::Engine::resolve(&setup);
    let resolved = match prefer {
        Prefer::Kernel => kernel(),
        Prefer::Engine => engine(),
        Prefer::Auto => match aio2::kernel::Probe::run() {
            aio2::kernel::Probe::Available(_) => kernel(),
            _ => engine(),
        },
    };
    // So that it can be used to create.
    Ok(Setup { flags, ..resolved? })
}
