//! Paths and names, in the bytes that the kernel takes.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path or a name that an operation owns: from a `Path`, an `OsStr`, a `str` or a
/// `CStr`, or from what owns one of them.
///
/// An operation with a path that has a byte 0 ends with EINVAL before it begins.
#[derive(Clone, Debug)]
pub struct PathArg(Option<CString>);

impl PathArg {
    /// Whether it has a byte 0.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Where it lies.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_deref().unwrap_or_default().as_ptr()
    }
}

impl From<CString> for PathArg {
    fn from(path: CString) -> Self {
        PathArg(Some(path))
    }
}

impl From<&CStr> for PathArg {
    fn from(path: &CStr) -> Self {
        PathArg(Some(path.into()))
    }
}

macro_rules! from_bytes {
    ($($from:ty => |$path:ident| $bytes:expr),* $(,)?) => {$(
        impl From<$from> for PathArg {
            fn from($path: $from) -> Self {
                PathArg(CString::new($bytes).ok())
            }
        }
    )*};
}

from_bytes! {
    &Path => |path| path.as_os_str().as_bytes(),
    PathBuf => |path| path.into_os_string().into_vec(),
    &PathBuf => |path| path.as_os_str().as_bytes(),
    &OsStr => |path| path.as_bytes(),
    OsString => |path| path.into_vec(),
    &OsString => |path| path.as_bytes(),
    &str => |path| path,
    String => |path| path,
    &String => |path| path.as_str(),
}
