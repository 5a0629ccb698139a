//! What a test is given and what it gives back.
//!
//! A test that cannot run on an implementation or a machine says why; it does
//! not pass. One that fails panics.

use crate::context::Context;
use aio2::backend::Backend;
use aio2::error::Errno;
use aio2_abi::setup::{Features, Setup};
use std::path::Path;

/// How a test ends, if it does not fail.
pub type Outcome = Result<(), Skip>;

/// Why a test could not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip(pub String);

/// Makes contexts of one implementation.
pub trait Factory: Sync {
    /// Name of the implementation, as in appendix B.
    fn name(&self) -> &'static str;

    /// `io_setup2`.
    ///
    /// # Errors
    /// As SPEC section 4.1 lists them.
    fn create(&self, setup: &Setup) -> Result<Box<dyn Backend>, Errno>;

    /// `io_setup2` with PROBE, which is in `setup.flags` already.
    ///
    /// # Errors
    /// As SPEC section 4.1 lists them.
    fn probe(&self, setup: &Setup) -> Result<Setup, Errno>;
}

/// What a test may use.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The implementation under test.
    pub factory: &'a dyn Factory,
    /// A directory for files, empty at first.
    pub dir: &'a Path,
}

/// Parameters that ask for nothing special.
#[must_use]
pub fn setup() -> Setup {
    Setup { version: aio2_abi::VERSION, ..Setup::default() }
}

impl Env<'_> {
    /// A context with defaults.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context_with(setup())
    }

    /// A context as `setup` says.
    #[must_use]
    pub fn context_with(&self, setup: Setup) -> Context {
        Context::new(self.factory.create(&setup).expect("a context can be created"))
    }

    /// A context with the smallest ring.
    #[must_use]
    pub fn small_ring(&self) -> Context {
        self.context_with(Setup { ring_bytes: 4096, ..setup() })
    }

    /// A context with one worker, which a request can keep busy.
    #[must_use]
    pub fn one_worker(&self) -> Context {
        self.context_with(Setup { concurrency: 1, ..setup() })
    }

    /// What the implementation says of itself.
    #[must_use]
    pub fn probe(&self) -> Setup {
        let flags = aio2_abi::setup::SetupFlags::PROBE.bits();
        self.factory.probe(&Setup { flags, ..setup() }).expect("a probe succeeds")
    }

    /// Skips the test unless the implementation takes this attribute.
    ///
    /// # Errors
    /// That it does not.
    pub fn needs_attr(&self, id: u16) -> Outcome {
        if self.probe().attrs >> id & 1 == 1 { Ok(()) } else { skip(format!("no attribute {id}")) }
    }

    /// Skips the test unless the implementation has this operation.
    ///
    /// # Errors
    /// That it has not.
    pub fn needs_op(&self, nr: u32) -> Outcome {
        let bit = nr & !aio2_abi::op::OP;
        if self.probe().ops >> bit & 1 == 1 { Ok(()) } else { skip(format!("no operation {bit}")) }
    }

    /// Skips the test unless the implementation has these features.
    ///
    /// # Errors
    /// Which it has not.
    pub fn needs(&self, features: Features) -> Outcome {
        let missing = features - self.probe().features();
        if missing.is_empty() { Ok(()) } else { skip(format!("no {missing:?}")) }
    }
}

/// Ends a test that cannot run here.
///
/// # Errors
/// Always.
pub fn skip(reason: impl Into<String>) -> Outcome {
    Err(Skip(reason.into()))
}
