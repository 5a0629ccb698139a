//! A seccomp filter that looks at a call for a while, and allows it.

use anyhow::{Result, ensure};
use std::io;

/// `BPF_LD | BPF_W | BPF_ABS`: load a word of the call.
const LOAD: u16 = 0x20;
/// `BPF_RET | BPF_K`: the verdict.
const RETURN: u16 = 0x06;

/// Puts the calling process under a filter of so many instructions.
///
/// # Errors
/// As prctl(2).
pub fn install(instructions: usize) -> Result<()> {
    let load = libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 16 };
    let allow = libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut program = vec![load; instructions - 1];
    program.push(allow);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers.
    let no_more = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    ensure!(no_more == 0, "PR_SET_NO_NEW_PRIVS: {}", io::Error::last_os_error());
    let filter = &raw const filter;
    // SAFETY: the program lives until the kernel has copied it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, filter) };
    ensure!(result == 0, "PR_SET_SECCOMP: {}", io::Error::last_os_error());
    Ok(())
}
