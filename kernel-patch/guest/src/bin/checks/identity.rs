//! Threads of one process that share neither files nor directory, on one context.

use crate::context;
use aio2_conformance::context::Context as Aio2;
use aio2_conformance::request::Request;
use aio2_guest::FILES;
use anyhow::{Result, ensure};
use std::env::{current_dir, set_current_dir};
use std::fs::{self, File};
use std::os::fd::{FromRawFd, RawFd};
use std::path::Path;

/// What the file `who` of the thread's directory says, asked of workers.
fn who(context: &Aio2) -> String {
    let args = [libc::AT_FDCWD as u64, c"who".as_ptr().addr() as u64, libc::O_RDONLY as u64, 0];
    let fd = RawFd::try_from(context.run(Request::call(libc::SYS_openat, &args)).res);
    let fd = fd.expect("a descriptor");
    assert!(fd >= 0, "openat: {fd}");
    let mut buffer = [0; 8];
    let read = context.run(Request::read(fd, &mut buffer).on_worker()).res;
    // SAFETY: openat made it, in this thread's table, and nobody else has it.
    drop(unsafe { File::from_raw_fd(fd) });
    let read = usize::try_from(read).unwrap_or_else(|_| panic!("read: {read}"));
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Puts the thread apart from the others.
fn leave(directory: &Path) -> Result<()> {
    // SAFETY: takes flags; the thread keeps a copy of each descriptor.
    let ret = unsafe { libc::unshare(libc::CLONE_FILES | libc::CLONE_FS) };
    ensure!(ret == 0, "unshare: {}", std::io::Error::last_os_error());
    // So that a descriptor of this thread is none, or another's, of the others.
    std::mem::forget(File::open("/dev/null")?);
    Ok(set_current_dir(directory)?)
}

/// A worker has the files and the directory of the thread that has submitted.
pub fn each_thread_has_its_own_files_and_directory() -> Result<()> {
    let (all, one) = (Path::new(FILES), Path::new(FILES).join("one"));
    fs::create_dir_all(&one)?;
    fs::write(all.join("who"), "all")?;
    fs::write(one.join("who"), "one")?;
    let before = current_dir()?;
    set_current_dir(all)?;
    let context = context();
    let first = who(&context);
    let left = std::thread::scope(|scope| {
        let thread = scope.spawn(|| leave(&one).map(|()| who(&context)));
        thread.join().expect("the thread does not panic")
    })?;
    let last = who(&context);
    set_current_dir(before)?;
    let said = [first, left, last];
    ensure!(said == ["all", "one", "all"], "{said:?}");
    Ok(())
}
