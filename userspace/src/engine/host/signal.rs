//! The signal of a completion.
//!
//! SPEC: R-SIGNAL-1.
#![allow(unsafe_code)] // rt_sigqueueinfo(2), rt_tgsigqueueinfo(2)

use aio2_abi::attr;

/// What the kernel takes as siginfo_t of a queued signal.
#[repr(C)]
struct SigInfo {
    signo: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<SigInfo>() == 128);

/// Whether there is such a signal, and a thread of this process to take it.
pub(crate) fn is_valid(signal: &attr::Signal) -> bool {
    let Ok(signo) = i32::try_from(signal.signo) else { return false };
    if signo < 1 || signo > libc::SIGRTMAX() || signal.tid < 0 {
        return false;
    }
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes no address; signal 0 is not sent.
    signal.tid == 0 || unsafe { libc::syscall(libc::SYS_tgkill, pid, signal.tid, 0) == 0 }
}

/// Queues the signal to this process, or to its thread. If the thread is gone,
/// or the limit of queued signals is reached, there is no one to be told.
pub(crate) fn send(signal: &attr::Signal) {
    let signo = signal.signo as i32;
    // SAFETY: takes no address.
    let pid = unsafe { libc::getpid() };
    // SAFETY: takes no address.
    let uid = unsafe { libc::getuid() };
    let (code, value) = (libc::SI_ASYNCIO, signal.value);
    let info = SigInfo { signo, errno: 0, code, padding: 0, pid, uid, value, rest: [0; 12] };
    if signal.tid == 0 {
        // SAFETY: `info` can be read.
        unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signo, &raw const info) };
    } else {
        let tid = signal.tid;
        // SAFETY: `info` can be read.
        unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signo, &raw const info) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_from_1_to_the_last_real_time_one() {
        let of = |signo, tid| is_valid(&attr::Signal { signo, tid, value: 0 });
        let last = libc::SIGRTMAX() as u32;
        assert!(of(1, 0) && of(last, 0));
        assert!(!of(0, 0) && !of(last + 1, 0) && !of(u32::MAX, 0));
        // SAFETY: takes nothing.
        let tid = unsafe { libc::gettid() };
        assert!(of(1, tid) && !of(1, -1) && !of(1, 1));
    }
}
