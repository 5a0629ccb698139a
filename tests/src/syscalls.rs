//! Syscalls run as requests, compared with the plain ones: result, errno,
//! effect. SPEC: section 6.3.

use crate::context::Context;
use crate::env::{Env, Outcome};
use crate::file::{Pipe, file_with, socket_pair};
use crate::request::Request;
use std::ffi::CString;
use std::os::fd::AsRawFd;

/// A call that may be made twice, with what it writes.
struct Call<'a> {
    name: &'static str,
    nr: libc::c_long,
    args: Vec<u64>,
    /// What the call writes, to be compared.
    output: Option<&'a mut [u8]>,
}

fn call(name: &'static str, nr: libc::c_long, args: &[u64]) -> Call<'static> {
    Call { name, nr, args: args.to_vec(), output: None }
}

impl<'a> Call<'a> {
    fn output(self, output: &'a mut [u8]) -> Call<'a> {
        Call { output: Some(output), ..self }
    }
}

/// The plain call: its result, or the negated errno.
fn plain(nr: libc::c_long, args: &[u64]) -> i64 {
    let mut a = [0; 6];
    a[..args.len()].copy_from_slice(args);
    // SAFETY: the caller's arguments are valid for the call.
    let result = unsafe { libc::syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result == -1 { -i64::from(aio2::error::Errno::last().0) } else { result }
}

/// Runs it plainly, as a request, and as a request on a worker: always the
/// same.
fn same(context: &Context, call: Call<'_>) {
    let Call { name, nr, args, output } = call;
    let mut none = [];
    let output = output.unwrap_or(&mut none);
    output.fill(0xa5);
    let expected = plain(nr, &args);
    let written = output.to_vec();
    for worker in [false, true] {
        output.fill(0xa5);
        let request = Request::call(nr, &args);
        let request = if worker { request.on_worker() } else { request };
        let event = context.run(request);
        assert_eq!(event.res, expected, "{name}{args:x?}, on a worker: {worker}");
        assert!(output == written, "{name}: what it wrote, on a worker: {worker}");
    }
}

fn address<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<u8>().addr() as u64
}

fn path(path: &std::path::Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero byte")
}

const CWD: u64 = libc::AT_FDCWD as u64;
const NO_FD: u64 = u64::MAX;

pub(crate) fn file_calls_have_the_result_and_errno_of_the_plain_ones(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let contents: Vec<u8> = (0..5000_u32).map(|n| (n / 7) as u8).collect();
    let (name, file) = file_with(env, "calls", &contents);
    let name = path(&name);
    let dir = path(env.dir);
    let missing = path(&env.dir.join("missing"));
    let fd = file.as_raw_fd() as u64;
    let directory = std::fs::File::open(env.dir).expect("it can be opened");
    let directory = directory.as_raw_fd() as u64;
    let mut buffer = vec![0; 8192];
    let to = address(&buffer[..]);
    let parts = [
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 100 },
        libc::iovec { iov_base: buffer.as_mut_ptr().wrapping_add(100).cast(), iov_len: 200 },
    ];
    let parts = address(&parts);
    let attribute = address(c"user.aio2");
    let mut run = |c: Call<'static>| same(&context, c.output(&mut buffer));
    run(call("pread64", libc::SYS_pread64, &[fd, to, 1000, 3]));
    run(call("pread64, short", libc::SYS_pread64, &[fd, to, 1000, 4900]));
    run(call("pread64, at the end", libc::SYS_pread64, &[fd, to, 1000, 5000]));
    run(call("pread64, EBADF", libc::SYS_pread64, &[NO_FD, to, 10, 0]));
    run(call("pread64, EISDIR", libc::SYS_pread64, &[directory, to, 10, 0]));
    run(call("pread64, EINVAL", libc::SYS_pread64, &[fd, to, 10, u64::MAX]));
    run(call("preadv", libc::SYS_preadv, &[fd, parts, 2, 9, 0]));
    run(call("preadv, EINVAL", libc::SYS_preadv, &[fd, parts, u64::MAX, 9, 0]));
    run(call("preadv2", libc::SYS_preadv2, &[fd, parts, 2, 9, 0, 0]));
    run(call("preadv2, unknown flag", libc::SYS_preadv2, &[fd, parts, 2, 9, 0, 1 << 30]));
    run(call("pwrite64, EBADF", libc::SYS_pwrite64, &[directory, to, 10, 0]));
    run(call("pwritev, EBADF", libc::SYS_pwritev, &[directory, parts, 2, 0, 0]));
    run(call("statx", libc::SYS_statx, &[CWD, address(&*name), 0, 0x7ff, to]));
    run(call("statx, ENOENT", libc::SYS_statx, &[CWD, address(&*missing), 0, 0x7ff, to]));
    run(call("newfstatat", libc::SYS_newfstatat, &[CWD, address(&*name), to, 0]));
    run(call("fstat", libc::SYS_fstat, &[fd, to]));
    run(call("fstat, EBADF", libc::SYS_fstat, &[NO_FD, to]));
    run(call("statfs, ENOENT", libc::SYS_statfs, &[address(&*missing), to]));
    run(call("fstatfs, EBADF", libc::SYS_fstatfs, &[NO_FD, to]));
    run(call("lseek", libc::SYS_lseek, &[fd, 77, 0]));
    run(call("lseek, EINVAL", libc::SYS_lseek, &[fd, 0, 99]));
    run(call("fsync", libc::SYS_fsync, &[fd]));
    run(call("fdatasync, EBADF", libc::SYS_fdatasync, &[NO_FD]));
    run(call("fcntl F_GETFD", libc::SYS_fcntl, &[fd, libc::F_GETFD as u64, 0]));
    run(call("fcntl F_GETFL", libc::SYS_fcntl, &[fd, libc::F_GETFL as u64, 0]));
    run(call("fcntl, EBADF", libc::SYS_fcntl, &[NO_FD, libc::F_GETFD as u64, 0]));
    run(call("flock", libc::SYS_flock, &[fd, libc::LOCK_SH as u64]));
    run(call("ftruncate", libc::SYS_ftruncate, &[fd, 5000]));
    run(call("ftruncate, EINVAL", libc::SYS_ftruncate, &[fd, u64::MAX]));
    run(call("truncate, ENOENT", libc::SYS_truncate, &[address(&*missing), 0]));
    run(call("fallocate, EBADF", libc::SYS_fallocate, &[NO_FD, 0, 0, 100]));
    run(call("fadvise64", libc::SYS_fadvise64, &[fd, 0, 0, libc::POSIX_FADV_RANDOM as u64]));
    run(call("readahead, EBADF", libc::SYS_readahead, &[NO_FD, 0, 4096]));
    run(call("fchmod", libc::SYS_fchmod, &[fd, 0o640]));
    run(call("fchmodat, ENOENT", libc::SYS_fchmodat, &[CWD, address(&*missing), 0o600]));
    run(call("faccessat", libc::SYS_faccessat, &[CWD, address(&*name), libc::R_OK as u64]));
    run(call("faccessat2, ENOENT", libc::SYS_faccessat2, &[CWD, address(&*missing), 0, 0]));
    run(call("utimensat, ENOENT", libc::SYS_utimensat, &[CWD, address(&*missing), 0, 0]));
    run(call("readlinkat, EINVAL", libc::SYS_readlinkat, &[CWD, address(&*name), to, 100]));
    run(call("openat, ENOENT", libc::SYS_openat, &[CWD, address(&*missing), 0, 0]));
    run(call("openat, ENOTDIR", libc::SYS_openat, &[fd, address(c"x"), 0, 0]));
    run(call("openat2, E2BIG or EINVAL", libc::SYS_openat2, &[CWD, address(&*name), to, 8]));
    run(call("close, EBADF", libc::SYS_close, &[NO_FD]));
    run(call("dup, EBADF", libc::SYS_dup, &[NO_FD]));
    run(call("dup3, EINVAL", libc::SYS_dup3, &[fd, fd, 0]));
    run(call("pipe2, EINVAL", libc::SYS_pipe2, &[to, 1]));
    run(call("unlinkat, ENOENT", libc::SYS_unlinkat, &[CWD, address(&*missing), 0]));
    run(call("unlinkat, ENOTDIR", libc::SYS_unlinkat, &[CWD, address(&*name), 0x200]));
    run(call("mkdirat, EEXIST", libc::SYS_mkdirat, &[CWD, address(&*dir), 0o700]));
    run(call("symlinkat, EEXIST", libc::SYS_symlinkat, &[address(c"t"), CWD, address(&*name)]));
    run(call(
        "renameat2, ENOENT",
        libc::SYS_renameat2,
        &[CWD, address(&*missing), CWD, address(&*name), 0],
    ));
    run(call("linkat, ENOENT", libc::SYS_linkat, &[CWD, address(&*missing), CWD, to, 0]));
    run(call("getxattr", libc::SYS_getxattr, &[address(&*name), attribute, to, 100]));
    run(call("fgetxattr", libc::SYS_fgetxattr, &[fd, attribute, to, 100]));
    run(call("flistxattr", libc::SYS_flistxattr, &[fd, to, 4096]));
    run(call("fremovexattr", libc::SYS_fremovexattr, &[fd, address(c"user.none")]));
    run(call("copy_file_range, EBADF", libc::SYS_copy_file_range, &[fd, 0, NO_FD, 0, 10, 0]));
    run(call("sendfile, EBADF", libc::SYS_sendfile, &[NO_FD, fd, 0, 10]));
    run(call("getdents64, ENOTDIR", libc::SYS_getdents64, &[fd, to, 4096]));
    Ok(())
}

pub(crate) fn other_calls_have_the_result_and_errno_of_the_plain_ones(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut buffer = vec![0; 4096];
    let to = address(&buffer[..]);
    let (left, _right) = socket_pair(libc::SOCK_STREAM);
    let socket = left.as_raw_fd() as u64;
    let pipe = Pipe::with_flags(libc::O_NONBLOCK);
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let bad = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    let word = 1_u32;
    let mut run = |c: Call<'static>| same(&context, c.output(&mut buffer));
    for (name, nr) in [
        ("getpid", libc::SYS_getpid),
        ("getppid", libc::SYS_getppid),
        ("getuid", libc::SYS_getuid),
        ("geteuid", libc::SYS_geteuid),
        ("getgid", libc::SYS_getgid),
        ("getegid", libc::SYS_getegid),
    ] {
        run(call(name, nr, &[]));
    }
    run(call("getpgid", libc::SYS_getpgid, &[0]));
    run(call("getsid", libc::SYS_getsid, &[0]));
    run(call("getpgid, ESRCH", libc::SYS_getpgid, &[0x7fff_ffff]));
    run(call("clock_gettime, EINVAL", libc::SYS_clock_gettime, &[999, to]));
    run(call("clock_gettime, EFAULT", libc::SYS_clock_gettime, &[0, 8]));
    run(call("nanosleep", libc::SYS_nanosleep, &[address(&now), 0]));
    run(call("nanosleep, EINVAL", libc::SYS_nanosleep, &[address(&bad), 0]));
    run(call("clock_nanosleep", libc::SYS_clock_nanosleep, &[1, 0, address(&now), 0]));
    run(call("read, EAGAIN", libc::SYS_read, &[pipe.read_fd() as u64, to, 10]));
    run(call("read, EFAULT", libc::SYS_write, &[pipe.write_fd() as u64, 8, 10]));
    run(call("lseek, ESPIPE", libc::SYS_lseek, &[pipe.read_fd() as u64, 0, 0]));
    run(call("recvfrom, ENOTSOCK", libc::SYS_recvfrom, &[pipe.read_fd() as u64, to, 1, 0, 0, 0]));
    run(call("sendto, ENOTSOCK", libc::SYS_sendto, &[pipe.write_fd() as u64, to, 1, 0, 0, 0]));
    run(call("listen, ENOTSOCK", libc::SYS_listen, &[pipe.read_fd() as u64, 1]));
    run(call("accept4, EINVAL", libc::SYS_accept4, &[socket, 0, 0, 0]));
    run(call("socket, EAFNOSUPPORT", libc::SYS_socket, &[200, 1, 0]));
    run(call("bind, EFAULT or EINVAL", libc::SYS_bind, &[socket, 0, 0]));
    run(call("connect, EISCONN or EINVAL", libc::SYS_connect, &[socket, 0, 0]));
    run(call("shutdown, EINVAL", libc::SYS_shutdown, &[socket, 99]));
    run(call("getsockname, EFAULT", libc::SYS_getsockname, &[socket, to, 0]));
    run(call("setsockopt, ENOPROTOOPT", libc::SYS_setsockopt, &[socket, 1, 9999, to, 4]));
    run(call("poll", libc::SYS_poll, &[0, 0, 0]));
    run(call("epoll_ctl, EBADF", libc::SYS_epoll_ctl, &[NO_FD, 1, 0, to]));
    run(call("epoll_wait, EBADF", libc::SYS_epoll_wait, &[NO_FD, to, 1, 0]));
    run(call("futex wake", libc::SYS_futex, &[address(&word), 1, 1, 0, 0, 0]));
    run(call("futex wait, EAGAIN", libc::SYS_futex, &[address(&word), 0, 7, 0, 0, 0]));
    run(call("kill, ESRCH", libc::SYS_kill, &[0x7fff_ffff, 0]));
    run(call("kill 0", libc::SYS_kill, &[u64::from(std::process::id()), 0]));
    run(call("pidfd_open, EINVAL", libc::SYS_pidfd_open, &[0, 0]));
    run(call("madvise, EINVAL", libc::SYS_madvise, &[1, 4096, 0]));
    run(call("msync, EINVAL", libc::SYS_msync, &[1, 4096, 4]));
    run(call("waitid, ECHILD", libc::SYS_waitid, &[1, 0x7fff_ffff, 0, 4, 0]));
    run(call("getrandom, EINVAL", libc::SYS_getrandom, &[to, 10, 1 << 30]));
    run(call("semop, EINVAL", libc::SYS_semop, &[NO_FD, to, 1]));
    run(call("msgrcv, EINVAL", libc::SYS_msgrcv, &[NO_FD, to, 1, 0, 0]));
    run(call("mq_timedsend, EBADF", libc::SYS_mq_timedsend, &[NO_FD, to, 1, 0, 0]));
    Ok(())
}

pub(crate) fn file_tree_is_made_and_unmade_by_requests(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let run = |nr, args: &[u64]| context.run(Request::call(nr, args)).res;
    let sub = env.dir.join("tree");
    let (dir, file, link, moved) =
        (path(&sub), path(&sub.join("f")), path(&sub.join("l")), path(&sub.join("m")));
    assert_eq!(run(libc::SYS_mkdirat, &[CWD, address(&*dir), 0o750]), 0);
    let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC) as u64;
    let fd = run(libc::SYS_openat, &[CWD, address(&*file), flags, 0o640]);
    assert!(fd >= 0, "{fd}");
    let fd = fd as u64;
    assert_eq!(run(libc::SYS_fallocate, &[fd, 0, 0, 10_000]), 0);
    let bytes = [0x33_u8; 5000];
    assert_eq!(run(libc::SYS_write, &[fd, address(&bytes), 5000]), 5000);
    assert_eq!(run(libc::SYS_pwrite64, &[fd, address(&bytes), 100, 9950]), 100);
    assert_eq!(run(libc::SYS_fsync, &[fd]), 0);
    assert_eq!(run(libc::SYS_fchmod, &[fd, 0o600]), 0);
    let times = [
        libc::timespec { tv_sec: 1_000_000, tv_nsec: 5 },
        libc::timespec { tv_sec: 2_000_000, tv_nsec: 6 },
    ];
    assert_eq!(run(libc::SYS_utimensat, &[CWD, address(&*file), address(&times), 0]), 0);
    assert_eq!(run(libc::SYS_symlinkat, &[address(c"f"), CWD, address(&*link)]), 0);
    assert_eq!(run(libc::SYS_ftruncate, &[fd, 7000]), 0);
    assert_eq!(run(libc::SYS_close, &[fd]), 0);
    assert_eq!(run(libc::SYS_close, &[fd]), -i64::from(libc::EBADF), "once");
    let seen = std::fs::read(sub.join("l")).expect("by the link");
    assert_eq!((seen.len(), seen[4999], seen[5000]), (7000, 0x33, 0));
    let meta = std::fs::metadata(sub.join("f")).expect("it is there");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o600);
    let rename = [CWD, address(&*file), CWD, address(&*moved), 0];
    assert_eq!(run(libc::SYS_renameat2, &rename), 0);
    assert!(!sub.join("f").exists() && sub.join("m").exists());
    assert_eq!(run(libc::SYS_unlinkat, &[CWD, address(&*link), 0]), 0);
    let not_empty = run(libc::SYS_unlinkat, &[CWD, address(&*dir), libc::AT_REMOVEDIR as u64]);
    assert_eq!(not_empty, -i64::from(libc::ENOTEMPTY));
    assert_eq!(run(libc::SYS_unlinkat, &[CWD, address(&*moved), 0]), 0);
    assert_eq!(run(libc::SYS_unlinkat, &[CWD, address(&*dir), libc::AT_REMOVEDIR as u64]), 0);
    assert!(!sub.exists());
    Ok(())
}

pub(crate) fn data_moves_between_descriptors_by_requests(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let run = |nr, args: &[u64]| context.run(Request::call(nr, args)).res;
    let (_, from) = file_with(env, "from", &[8; 10_000]);
    let (to_path, to) = file_with(env, "to", b"");
    let pipe = Pipe::new();
    let (left, right) = socket_pair(libc::SOCK_STREAM);
    let fd = |f: &dyn AsRawFd| f.as_raw_fd() as u64;
    let offset = 0_u64;
    let args = [fd(&from), address(&offset), fd(&to), 0, 6000, 0];
    let copied = run(libc::SYS_copy_file_range, &args);
    if copied < 0 {
        println!("note: copy_file_range gives {copied} here");
    } else {
        assert_eq!((copied, offset), (6000, 6000));
        assert_eq!(std::fs::read(to_path).expect("it is there").len(), 6000);
    }
    let offset = 0_u64;
    assert_eq!(
        run(libc::SYS_splice, &[fd(&from), address(&offset), fd(&pipe.writer), 0, 4096, 0]),
        4096
    );
    let other = Pipe::new();
    assert_eq!(run(libc::SYS_tee, &[fd(&pipe.reader), fd(&other.writer), 4096, 0]), 4096);
    assert_eq!((pipe.readable_bytes(), other.readable_bytes()), (4096, 4096));
    let offset = 100_u64;
    let args = [fd(&left), fd(&from), address(&offset), 500];
    assert_eq!((run(libc::SYS_sendfile, &args), offset), (500, 600));
    let mut buffer = [0_u8; 600];
    let args = [fd(&right), address(&buffer), 600, 0, 0, 0];
    assert_eq!(run(libc::SYS_recvfrom, &args), 500);
    buffer[500..].fill(8);
    assert_eq!(buffer, [8; 600]);
    let parts = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 600 }];
    // SAFETY: a msghdr of zeros is empty.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut();
    message.msg_iovlen = 1;
    assert_eq!(run(libc::SYS_sendmsg, &[fd(&right), address(&message), 0]), 600);
    assert_eq!(run(libc::SYS_recvmsg, &[fd(&left), address(&message), 0]), 600);
    assert_eq!(run(libc::SYS_sendto, &[fd(&right), address(&buffer), 9, 0, 0, 0]), 9);
    assert_eq!(run(libc::SYS_shutdown, &[fd(&right), libc::SHUT_WR as u64]), 0);
    assert_eq!(run(libc::SYS_read, &[fd(&left), address(&buffer), 600]), 9);
    assert_eq!(run(libc::SYS_read, &[fd(&left), address(&buffer), 600]), 0, "the end");
    Ok(())
}

pub(crate) fn read_and_write_move_the_position_once(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let contents: Vec<u8> = (0..100).collect();
    let (_, file) = file_with(env, "position", &contents);
    let fd = file.as_raw_fd();
    assert_eq!(plain(libc::SYS_lseek, &[fd as u64, 0, 0]), 0);
    let mut buffer = [0; 10];
    for n in 0..10_u8 {
        let read = Request::read(fd, &mut buffer);
        let read = if n % 2 == 0 { read } else { read.on_worker() };
        assert_eq!(context.run(read).res, 10);
        assert_eq!(buffer[0], n * 10, "read {n}");
    }
    assert_eq!(context.run(Request::read(fd, &mut buffer)).res, 0, "the end");
    assert_eq!(context.run(Request::write(fd, &[1; 7])).res, 7);
    assert_eq!(plain(libc::SYS_lseek, &[fd as u64, 0, 1]), 107);
    Ok(())
}
