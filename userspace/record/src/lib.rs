//! What a program did through AIO2: recorded, request by request, and counted.
//!
//! A [`Recorder`] takes a [`Request`] for each that has ended and hands it to a
//! thread, which writes; the program's own threads never write. Memory is
//! bounded: what the thread cannot keep up with is counted as lost. A record is
//! a file of blocks, each written at once and with a checksum, so that one that
//! was cut off is read up to the cut ([`read`]), and children can write to the
//! same file.
//!
//! [`Counters`] lie in a file too, and are right even after a kill.
#![deny(unsafe_code)]

#[allow(unsafe_code)] // mmap(2)
mod count;
mod format;
#[allow(unsafe_code)] // fstat(2)
mod names;
mod reader;
#[allow(unsafe_code)] // atexit(3), gettid(2)
mod recorder;
mod row;

pub use count::{Count, Counters};
pub use format::{NO_OFFSET, Request, VERSION, has};
pub use reader::{Record, read};
pub use recorder::{Recorder, thread_id};

/// What the environment names, unless the program runs with more rights than its
/// user: he could have it write anywhere.
#[allow(unsafe_code)] // getauxval(3)
fn environment(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
    // SAFETY: takes a number.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    (!is_secure).then(|| path.into())
}

/// Environment: the file to record to.
pub const RECORD: &str = "AIO2_RECORD";
/// Environment: the file to count in.
pub const COUNT: &str = "AIO2_COUNT";
