//! What this process has.

use crate::client::{Hub, Posix};
use crate::table::Table;
use aio2_compat::process::{Made, PerProcess};
use aio2_record::Count;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All that this process has.
#[derive(Default)]
pub struct Process {
    pub table: Table,
    hub: Made<Arc<Hub>>,
    next_group: AtomicU64,
}

impl Process {
    /// This process.
    pub fn this() -> &'static Process {
        static THIS: PerProcess<Process> = PerProcess::new();
        THIS.this()
    }

    /// The AIO2 context of all requests.
    ///
    /// # Errors
    /// EAGAIN, positive, if it cannot be made.
    pub fn hub(&'static self) -> Result<&'static Arc<Hub>, i32> {
        let make = || {
            let hub = Hub::new(Posix(&self.table))?;
            hub.count(Count::Contexts, 1);
            Ok::<_, std::io::Error>(hub)
        };
        self.hub.or_make(make).map_err(|_| libc::EAGAIN)
    }

    /// The same, if anything was submitted already.
    pub fn hub_if_made(&'static self) -> Option<&'static Arc<Hub>> {
        self.hub.get()
    }

    /// The key of a new group.
    pub fn new_group(&self) -> u64 {
        // Relaxed: a number.
        self.next_group.fetch_add(1, Ordering::Relaxed)
    }
}
