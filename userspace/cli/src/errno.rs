//! Error numbers by name.

use nix::errno::Errno;

/// The name of an error number, as in errno(3), and what it means.
pub fn text(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("error number {errno}"),
        known => format!("{known:?} ({})", known.desc()),
    }
}

/// The name of an error number alone.
pub fn name(errno: i32) -> Option<String> {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => None,
        known => Some(format!("{known:?}")),
    }
}
