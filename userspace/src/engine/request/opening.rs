//! How a file is to be opened: the structure of openat2(2), and an opening that uses
//! nothing but the kernel's caches for the lookup of its name.
//!
//! SPEC: section 6.4 (R-RUN-3).

use super::call::{Call, Plain};

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Opening {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl Opening {
    const BYTES: u64 = size_of::<Opening>() as u64;

    pub(crate) fn new(flags: i32, resolve: u64) -> Self {
        Opening { flags: flags as u32 as u64, mode: 0, resolve }
    }

    /// That of openat(2), of which the kernel ignores what it does not know, if there
    /// are no other flags than these.
    pub(crate) fn of_flags(flags: i32, others: i32) -> Option<Self> {
        /// Others have no meaning with O_PATH.
        const WITH_PATH: i32 =
            libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_PATH | libc::O_CLOEXEC;
        let meant = if flags & libc::O_PATH != 0 { flags & WITH_PATH } else { flags };
        (flags & !others == 0).then(|| Opening::new(meant, 0))
    }

    /// That of openat2(2), `size` bytes at this address, which `call` names; none if it
    /// cannot be read, is not valid, or is that of a kernel which knows more.
    pub(crate) fn of_how(call: &Call, address: u64, size: u64) -> Option<Self> {
        if size != Self::BYTES {
            return None;
        }
        // The kernel reads it before it sees that there is no name. It is a sixth of what
        // it costs to have it copied.
        let empty = c"".as_ptr().expose_provenance() as u64;
        let seen = call.run_other(libc::SYS_openat2, [-1_i64 as u64, empty, address, size, 0, 0]);
        if seen != -i64::from(libc::ENOENT) {
            return None;
        }
        call.structs(address, 1).next()
    }

    /// Its flags, if it makes no file.
    pub(crate) fn flags(&self) -> Option<i32> {
        let flags = i32::try_from(self.flags).ok()?;
        (self.mode == 0).then_some(flags)
    }

    pub(crate) fn resolve(&self) -> u64 {
        self.resolve
    }

    /// The same with more flags.
    pub(crate) fn with(self, flags: i32) -> Self {
        Opening { flags: self.flags | flags as u64, ..self }
    }

    /// Whether the path at this address, which `call` names, is empty: no directory is
    /// named, and an absolute path refused, so that no other one is not found.
    pub(crate) fn is_empty_name(call: &Call, path: u64) -> bool {
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let nothing = Opening::new(flags, libc::RESOLVE_BENEATH).run_cached(call, -1, path);
        nothing == -i64::from(libc::ENOENT)
    }

    /// Opens what the path at this address, which `call` names, means beneath `dir`, if
    /// the kernel's caches know it.
    pub(crate) fn run_cached(mut self, call: &Call, dir: i32, path: u64) -> i64 {
        self.resolve |= libc::RESOLVE_CACHED;
        let how = (&raw const self).expose_provenance() as u64;
        call.run_other(libc::SYS_openat2, [dir as u64, path, how, Self::BYTES, 0, 0])
    }
}

impl Plain for Opening {}
