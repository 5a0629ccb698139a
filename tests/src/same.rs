//! A try without blocking is not the call: where the plain syscall gives another
//! result, or waits, so does the request. Each scene is played plainly, as a
//! request and on a worker, and what is seen has to be the same.
//!
//! SPEC: R-OP-3, R-RUN-12.

use crate::child;
use crate::context::Context;
use crate::env::{Env, Factory, Outcome};
use crate::file::{Pipe, socket_pair};
use crate::request::Request;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Runs a syscall; its result, or the negative errno.
pub(crate) type Run<'a> = &'a dyn Fn(libc::c_long, &[u64]) -> i64;

pub(crate) fn plain(nr: libc::c_long, args: &[u64]) -> i64 {
    let at = |n| args.get(n).copied().unwrap_or(0);
    // SAFETY: each scene keeps what its arguments name.
    let result = unsafe { libc::syscall(nr, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 {
        -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        result
    }
}

/// Plays a scene in each way, and compares.
pub(crate) fn play<T: PartialEq + Debug>(
    what: &str,
    context: &Context,
    scene: impl Fn(Run<'_>) -> T,
) {
    let expected = scene(&plain);
    let request = scene(&|nr, args| context.run(Request::call(nr, args)).res);
    assert_eq!(request, expected, "{what}");
    let worker = scene(&|nr, args| context.run(Request::call(nr, args).on_worker()).res);
    assert_eq!(worker, expected, "{what}, on a worker");
}

pub(crate) fn address<T: ?Sized>(memory: &mut T) -> u64 {
    std::ptr::from_mut(memory).cast::<u8>().expose_provenance() as u64
}

pub(crate) fn own(fd: i32) -> File {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and no one else's.
    unsafe { File::from_raw_fd(fd) }
}

pub(crate) fn eventfd(count: u32, flags: i32) -> File {
    // SAFETY: takes two numbers.
    own(unsafe { libc::eventfd(count, flags | libc::EFD_CLOEXEC) })
}

/// A timerfd that has expired once.
fn timerfd() -> File {
    // SAFETY: takes two numbers.
    let file = own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let time = libc::itimerspec { it_interval: zero, it_value: soon };
    // SAFETY: `time` can be read.
    unsafe { libc::timerfd_settime(file.as_raw_fd(), 0, &raw const time, std::ptr::null_mut()) };
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, -1) }, 1);
    file
}

/// A signalfd in which one signal waits, blocked in this thread and those that it
/// makes from now on.
fn signalfd() -> File {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills in the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled in.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR2) };
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: as above.
    let file = own(unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) });
    // To the process, so that any thread can read it.
    // SAFETY: takes numbers.
    unsafe { libc::kill(std::process::id() as i32, libc::SIGUSR2) };
    file
}

pub(crate) fn record_is_all_that_a_read_with_more_room_gives(env: &Env<'_>) -> Outcome {
    let context = env.context();
    type Make = fn() -> File;
    let kinds: [(&str, Make); 4] = [
        ("eventfd", || eventfd(3, 0)),
        ("semaphore", || eventfd(1000, libc::EFD_SEMAPHORE)),
        ("semaphore that does not wait", || eventfd(9, libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK)),
        ("timerfd", timerfd),
    ];
    for (what, make) in kinds {
        play(what, &context, |run| {
            let (mut file, mut buffer) = (make(), [0; 4096]);
            let result =
                run(libc::SYS_read, &[file.as_raw_fd() as u64, address(&mut buffer), 4096]);
            let first = u64::from_ne_bytes(buffer[..8].try_into().expect("eight bytes"));
            // What is left of it.
            // SAFETY: takes numbers.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            let left = file.read(&mut buffer[..8]).ok().map(|_| buffer[..8].to_vec());
            (result, if what == "timerfd" { 1 } else { first }, left)
        });
    }
    Ok(())
}

pub(crate) fn signals_of_a_signalfd_are_what_is_there(env: &Env<'_>) -> Outcome {
    let status = child::command(env.factory, "reads_signals").status().expect("it runs");
    assert!(status.success(), "{status}");
    Ok(())
}

/// A process of its own: a signal to a process goes to any thread of it that does
/// not block it.
pub(crate) fn reads_signals(factory: &dyn Factory) -> i32 {
    drop(signalfd());
    let context = Env { factory, dir: Path::new("/") }.context();
    play("signalfd", &context, |run| {
        let (file, mut buffer) = (signalfd(), [0_u8; 4096]);
        run(libc::SYS_read, &[file.as_raw_fd() as u64, address(&mut buffer), 4096])
    });
    0
}

pub(crate) fn message_is_one_receive_whatever_the_flags(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let all = [0, libc::MSG_WAITALL, libc::MSG_TRUNC, libc::MSG_PEEK];
    let both = [libc::MSG_WAITALL | libc::MSG_TRUNC, libc::MSG_WAITALL | libc::MSG_PEEK];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        for flags in all.into_iter().chain(both) {
            for room in [2_usize, 16] {
                play(&format!("kind {kind}, flags {flags:#x}, {room}"), &context, |run| {
                    let (near, far) = socket_pair(kind);
                    let mut far = File::from(far);
                    far.write_all(b"one").expect("room");
                    far.write_all(b"second").expect("room");
                    let (fd, mut buffer) = (near.as_raw_fd() as u64, [b'.'; 16]);
                    let at = address(&mut buffer);
                    let args = [fd, at, room as u64, flags as u64, 0, 0];
                    let result = run(libc::SYS_recvfrom, &args);
                    let mut rest = [0; 16];
                    let left = File::from(near).read(&mut rest).ok();
                    (result, buffer, left, rest)
                });
            }
        }
    }
    Ok(())
}

pub(crate) fn receive_waits_for_as_much_as_the_plain_one(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let late = Duration::from_millis(50);
    // With a low water mark of 10, or to have all; 5 bytes are there, 5 come.
    for (what, low_water, flags) in [
        ("SO_RCVLOWAT", 10, 0),
        ("SO_RCVLOWAT and MSG_PEEK", 10, libc::MSG_PEEK),
        ("MSG_WAITALL", 1, libc::MSG_WAITALL),
        ("MSG_WAITALL and MSG_PEEK", 1, libc::MSG_WAITALL | libc::MSG_PEEK),
    ] {
        play(what, &context, |run| {
            let (near, far) = socket_pair(libc::SOCK_STREAM);
            let (fd, value, len) = (near.as_raw_fd(), &raw const low_water, 4);
            let option = libc::SO_RCVLOWAT;
            // SAFETY: an int.
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value.cast(), len) };
            let mut far = File::from(far);
            far.write_all(b"12345").expect("room");
            let mut buffer = [b'.'; 10];
            let result = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(late);
                    (&far).write_all(b"67890").expect("room");
                });
                run(libc::SYS_recvfrom, &[fd as u64, address(&mut buffer), 10, flags as u64, 0, 0])
            });
            (result, buffer)
        });
    }
    Ok(())
}

pub(crate) fn descriptors_come_with_the_bytes_that_they_were_sent_with(env: &Env<'_>) -> Outcome {
    let context = env.context();
    for flags in [0, libc::MSG_WAITALL] {
        play(&format!("flags {flags:#x}"), &context, |run| {
            let (near, far) = socket_pair(libc::SOCK_STREAM);
            (&File::from(far.try_clone().expect("a descriptor"))).write_all(b"ab").expect("room");
            send_with_descriptor(&far, b"cd");
            drop(far);
            let (mut buffer, mut control) = ([b'.'; 8], [0_u64; 8]);
            let mut iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
            // SAFETY: a msghdr may be all zeros.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 64);
            let at = address(&mut message);
            let mut seen = Vec::new();
            for _ in 0..3 {
                let result = run(libc::SYS_recvmsg, &[near.as_raw_fd() as u64, at, flags as u64]);
                seen.push((result, message.msg_controllen, message.msg_flags));
                if message.msg_controllen > 0 {
                    drop(own(control[2] as i32));
                }
                message.msg_controllen = 64;
            }
            (seen, buffer)
        });
    }
    Ok(())
}

/// Sends bytes and a descriptor, of the socket itself.
fn send_with_descriptor(socket: &OwnedFd, bytes: &[u8]) {
    let mut control = [0_u64; 3];
    // SAFETY: takes a number.
    let len = unsafe { libc::CMSG_LEN(4) } as usize;
    control[0] = len as u64;
    control[1] = libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32;
    control[2] = socket.as_raw_fd() as u64;
    let mut iovec =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: a msghdr may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut iovec, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 24);
    // SAFETY: the message is filled in.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
}

pub(crate) fn transfer_of_nothing_is_the_call_all_the_same(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let vector = address(&mut iovec);
    for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET, libc::SOCK_STREAM] {
        for (nr, args) in
            [(libc::SYS_write, [8, 0]), (libc::SYS_writev, [vector, 1]), (libc::SYS_writev, [0, 0])]
        {
            play(&format!("kind {kind}, {nr}"), &context, |run| {
                let (near, far) = socket_pair(kind);
                let result = run(nr, &[near.as_raw_fd() as u64, args[0], args[1]]);
                let args = [far.as_raw_fd() as u64, 0, 0, libc::MSG_DONTWAIT as u64, 0, 0];
                (result, plain(libc::SYS_recvfrom, &args))
            });
        }
    }
    let paths = ["/", "/dev/null", "/dev/zero", "/proc/self/status", "/proc/self/oom_score_adj"];
    for path in paths {
        let file = File::options().read(true).write(true).open(path).or_else(|_| File::open(path));
        let Ok(file) = file else { continue };
        let fd = file.as_raw_fd() as u64;
        for nr in [libc::SYS_read, libc::SYS_write] {
            play(&format!("{path}, {nr}"), &context, |run| run(nr, &[fd, 0, 0]));
        }
        for nr in [libc::SYS_readv, libc::SYS_writev] {
            play(&format!("{path}, {nr}"), &context, |run| run(nr, &[fd, vector, 1]));
        }
        play(path, &context, |run| run(libc::SYS_pread64, &[fd, 0, 0, 0]));
    }
    for (what, make) in [("eventfd", (|| eventfd(1, 0)) as fn() -> File), ("timerfd", timerfd)] {
        for nr in [libc::SYS_read, libc::SYS_write] {
            play(what, &context, |run| {
                let file = make();
                run(nr, &[file.as_raw_fd() as u64, 8, 0])
            });
        }
    }
    Ok(())
}

pub(crate) fn length_beyond_memory_is_that_of_the_call(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut buffer = vec![0_u8; 1 << 16];
    let at = address(&mut *buffer);
    for path in ["/dev/null", "/dev/zero", "/proc/self/status"] {
        let file = File::options().read(true).write(true).open(path).or_else(|_| File::open(path));
        let file = file.expect("it is there");
        let args = [file.as_raw_fd() as u64, at];
        for len in [1 << 47, i64::MAX as u64, 1 << 63, u64::MAX, 0x7fff_f001, 1 << 31] {
            if path != "/dev/null" && len < 1 << 40 {
                continue;
            }
            for nr in [libc::SYS_read, libc::SYS_write] {
                let what = format!("{path}, {nr}, {len:#x}");
                play(&what, &context, |run| run(nr, &[args[0], args[1], len]));
            }
            for nr in [libc::SYS_pread64, libc::SYS_pwrite64] {
                let what = format!("{path}, {nr}, {len:#x}");
                play(&what, &context, |run| run(nr, &[args[0], args[1], len, 0]));
            }
        }
    }
    Ok(())
}

pub(crate) fn device_gives_all_that_it_gives_the_plain_call(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut buffer = vec![1_u8; 1 << 18];
    let (at, len) = (address(&mut *buffer), 1 << 18);
    for path in ["/dev/zero", "/dev/urandom", "/dev/null"] {
        let Ok(file) = File::open(path) else { continue };
        let fd = file.as_raw_fd() as u64;
        play(path, &context, |run| run(libc::SYS_read, &[fd, at, len]));
        play(path, &context, |run| run(libc::SYS_pread64, &[fd, at, len, 4096]));
    }
    Ok(())
}

pub(crate) fn calls_at_the_file_position_are_not_torn(env: &Env<'_>) -> Outcome {
    const BYTES: usize = 128 << 10;
    let context = env.context();
    let path = env.dir.join("position");
    let words: Vec<u8> = (0..2 * BYTES as u64 / 8).flat_map(u64::to_ne_bytes).collect();
    std::fs::write(&path, &words).expect("it is written");
    File::open(&path).and_then(|file| file.sync_all()).expect("it is on the disk");
    for _ in 0..50 {
        let file = File::open(&path).expect("it is there");
        let fd = file.as_raw_fd();
        for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
            // SAFETY: takes numbers.
            unsafe { libc::posix_fadvise(fd, 0, 0, advice) };
        }
        // The first page is in the page cache, and no other.
        std::os::unix::fs::FileExt::read_at(&file, &mut [0; 4096], 0).expect("it is read");
        let mut buffers = [vec![0_u8; BYTES], vec![0_u8; BYTES]];
        let requests = buffers.each_mut().map(|buffer| Request::read(fd, buffer));
        context.submit_these(requests);
        assert_eq!(context.reap(2).iter().map(|e| e.res).sum::<i64>(), 2 * BYTES as i64);
        for buffer in &buffers {
            let mut words = buffer.chunks(8).map(|word| word.try_into().map(u64::from_ne_bytes));
            let first = words.next().and_then(Result::ok).expect("eight bytes");
            let whole = words.zip(first + 1..).all(|(word, next)| word.is_ok_and(|w| w == next));
            assert!(whole, "another read at the position came between");
        }
    }
    Ok(())
}

pub(crate) fn pipe_of_packets_gives_one(env: &Env<'_>) -> Outcome {
    let context = env.context();
    play("a pipe with O_DIRECT", &context, |run| {
        let (pipe, mut buffer) = (Pipe::with_flags(libc::O_DIRECT), [b'.'; 16]);
        for packet in [b"one", b"two"] {
            (&pipe.writer).write_all(packet).expect("room");
        }
        let result = run(libc::SYS_read, &[pipe.read_fd() as u64, address(&mut buffer), 16]);
        (result, buffer, pipe.readable_bytes())
    });
    Ok(())
}
