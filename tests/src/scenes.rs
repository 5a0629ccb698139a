//! Descriptors of every other kind, in every state, with memory and arguments at
//! their limits: each scene is a row, played as in `same`.
//!
//! SPEC: R-OP-3, R-RUN-12.

use crate::env::{Env, Outcome, skip};
use crate::file::{Pipe, socket_pair};
use crate::same::{Run, address, eventfd, own, plain, play};
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

/// Results, and bytes that were moved.
type Seen = (Vec<i64>, Vec<u8>);

type Scene<'a> = (&'a str, &'a dyn Fn(Run<'_>) -> Seen);

/// Plays each, and names all that differ.
fn play_each(env: &Env<'_>, scenes: &[Scene<'_>]) {
    let mut differ = Vec::new();
    for (name, scene) in scenes {
        let played = std::panic::AssertUnwindSafe(|| play(name, &env.context(), scene));
        if let Err(panic) = std::panic::catch_unwind(played) {
            let why = panic.downcast_ref::<String>().cloned();
            differ.push(format!("{name}: {}", why.unwrap_or_else(|| "it cannot be played".into())));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn fd(file: &impl AsRawFd) -> u64 {
    file.as_raw_fd() as u64
}

fn read(run: Run<'_>, file: &impl AsRawFd, room: usize) -> Seen {
    let mut buffer = vec![b'.'; room];
    let result = run(libc::SYS_read, &[fd(file), address(&mut *buffer), room as u64]);
    (vec![result], buffer)
}

fn write(run: Run<'_>, file: &impl AsRawFd, bytes: &[u8]) -> i64 {
    let mut bytes = bytes.to_vec();
    run(libc::SYS_write, &[fd(file), address(&mut *bytes), bytes.len() as u64])
}

/// What a syscall gives that makes a descriptor.
fn made(nr: libc::c_long, args: &[u64]) -> File {
    own(i32::try_from(plain(nr, args)).expect("a descriptor"))
}

/// As [`made`], of a kind that a kernel may be built without; or the errno.
fn made_if(what: &str, nr: libc::c_long, args: &[u64]) -> Result<File, i64> {
    match plain(nr, args) {
        errno if errno < 0 => {
            println!("SKIP {what}: {}", std::io::Error::from_raw_os_error(-errno as i32));
            Err(errno)
        }
        fd => Ok(own(fd as i32)),
    }
}

fn set_nonblocking(file: &impl AsRawFd) {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
}

/// All that can be read now.
fn rest(file: &impl AsRawFd) -> Vec<u8> {
    set_nonblocking(file);
    read(&plain, file, 256).1
}

pub(crate) fn descriptor_of_each_kind_gives_what_it_gives_the_plain_call(env: &Env<'_>) -> Outcome {
    let nonblock = libc::EFD_NONBLOCK;
    let path = env.dir.join("watched");
    std::fs::write(&path, b"0123456789").expect("it is written");
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero");
    let (file_name, dir) = (path.clone(), env.dir);
    let inotify = || {
        let file = made_if("inotify", libc::SYS_inotify_init1, &[libc::IN_NONBLOCK as u64])?;
        let mask = u64::from(libc::IN_OPEN | libc::IN_CLOSE);
        plain(
            libc::SYS_inotify_add_watch,
            &[fd(&file), name.as_ptr().expose_provenance() as u64, mask],
        );
        drop(File::open(&file_name));
        Ok(file)
    };
    let watched = |run: Run<'_>, room| match inotify() {
        Ok(file) => read(run, &file, room),
        Err(errno) => (vec![errno], vec![]),
    };
    let open = |path: &str, flags: i32| {
        File::options().read(true).write(true).custom_flags(flags).open(path).expect("it is there")
    };
    let memfd = |seals: i32| {
        let file = made(libc::SYS_memfd_create, &[c"m".as_ptr().expose_provenance() as u64, 2]);
        (&file).write_all(b"0123456789").expect("room");
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        file
    };
    let at = |run: Run<'_>, nr, file: &File, offset: i64| {
        let mut buffer = *b"abcd";
        let result = run(nr, &[fd(file), address(&mut buffer), 4, offset as u64]);
        (vec![result], buffer.to_vec())
    };
    play_each(
        env,
        &[
            ("eventfd, empty", &|run| read(run, &eventfd(0, nonblock), 8)),
            ("eventfd, little room", &|run| read(run, &eventfd(1, nonblock), 7)),
            ("eventfd, its maximum and one", &|run| {
                let file = eventfd(0, nonblock);
                let most = (u64::MAX - 1).to_ne_bytes();
                let all = [&most[..], &[255; 8], &1_u64.to_ne_bytes(), &[0; 7], &[0; 9]];
                (all.map(|bytes| write(run, &file, bytes)).to_vec(), rest(&file))
            }),
            ("timerfd, not armed", &|run| {
                let flags = libc::TFD_NONBLOCK as u64;
                let file = made(libc::SYS_timerfd_create, &[libc::CLOCK_MONOTONIC as u64, flags]);
                let (mut results, bytes) = read(run, &file, 8);
                results.extend([read(run, &file, 4).0[0], write(run, &file, &[0; 8])]);
                (results, bytes)
            }),
            ("pidfd", &|run| {
                let file = made(libc::SYS_pidfd_open, &[u64::from(std::process::id()), 0]);
                (vec![read(run, &file, 8).0[0], write(run, &file, b"x")], vec![])
            }),
            ("inotify, all events", &|run| watched(run, 256)),
            ("inotify, one event", &|run| watched(run, 16)),
            ("inotify, too little room", &|run| watched(run, 15)),
            ("inotify, nothing", &|run| {
                let Ok(file) = inotify() else { return (vec![], vec![]) };
                let first = read(run, &file, 256).0[0];
                (vec![first, read(run, &file, 256).0[0], write(run, &file, b"x")], vec![])
            }),
            ("epoll", &|run| {
                let file = made(libc::SYS_epoll_create1, &[0]);
                (vec![read(run, &file, 12).0[0], write(run, &file, b"x")], vec![])
            }),
            ("userfaultfd", &|run| {
                let made =
                    made_if("userfaultfd", libc::SYS_userfaultfd, &[libc::O_NONBLOCK as u64 | 1]);
                let file = match made {
                    Ok(file) => file,
                    Err(errno) => return (vec![errno], vec![]),
                };
                read(run, &file, 32)
            }),
            ("fanotify, nothing", &|run| {
                let made =
                    made_if("fanotify", libc::SYS_fanotify_init, &[libc::FAN_NONBLOCK.into(), 0]);
                let file = match made {
                    Ok(file) => file,
                    Err(errno) => return (vec![errno], vec![]),
                };
                (vec![read(run, &file, 256).0[0], write(run, &file, &[0; 8])], vec![])
            }),
            ("memory, sealed", &|run| {
                let file = memfd(libc::F_SEAL_WRITE | libc::F_SEAL_GROW);
                (vec![write(run, &file, b"x"), at(run, libc::SYS_pwrite64, &file, 2).0[0]], vec![])
            }),
            ("memory that must not grow", &|run| {
                let file = memfd(libc::F_SEAL_GROW);
                let results = [0, 6, 8, 10, 20].map(|o| at(run, libc::SYS_pwrite64, &file, o).0[0]);
                let size = file.metadata().map_or(0, |m| m.len());
                (results.into_iter().chain([size as i64]).collect(), vec![])
            }),
            ("the full device", &|run| {
                let file = open("/dev/full", 0);
                let (mut results, bytes) = read(run, &file, 16);
                results.extend([write(run, &file, b"x"), write(run, &file, b"")]);
                (results, bytes)
            }),
            ("the random devices", &|run| {
                let read = |path| read(run, &File::open(path).expect("it is there"), 5000).0[0];
                (vec![read("/dev/random"), read("/dev/urandom")], vec![])
            }),
            ("a directory", &|run| {
                let file = File::open(dir).expect("it is there");
                (
                    vec![
                        read(run, &file, 8).0[0],
                        at(run, libc::SYS_pread64, &file, 0).0[0],
                        write(run, &file, b"x"),
                    ],
                    vec![],
                )
            }),
            ("O_PATH", &|run| {
                let file = File::options()
                    .read(true)
                    .custom_flags(libc::O_PATH)
                    .open(&file_name)
                    .expect("it is there");
                (
                    vec![
                        read(run, &file, 8).0[0],
                        write(run, &file, b"x"),
                        run(libc::SYS_fsync, &[fd(&file)]),
                        run(libc::SYS_lseek, &[fd(&file), 0, 0]),
                    ],
                    vec![],
                )
            }),
            ("the other access", &|run| {
                let (reads, writes) =
                    (File::open(&file_name), File::options().write(true).open(&file_name));
                let (reads, writes) = (reads.expect("it is there"), writes.expect("it is there"));
                (
                    vec![
                        write(run, &reads, b"x"),
                        read(run, &writes, 8).0[0],
                        run(libc::SYS_fallocate, &[fd(&reads), 0, 0, 4096]),
                        run(libc::SYS_ftruncate, &[fd(&reads), 3]),
                    ],
                    vec![],
                )
            }),
            ("O_APPEND", &|run| {
                std::fs::write(&file_name, b"0123456789").expect("it is written");
                let file =
                    File::options().read(true).append(true).open(&file_name).expect("it is there");
                let results = vec![
                    at(run, libc::SYS_pwrite64, &file, 2).0[0],
                    write(run, &file, b"xy"),
                    run(libc::SYS_lseek, &[fd(&file), 0, 1]),
                ];
                (results, std::fs::read(&file_name).expect("it is read"))
            }),
            ("no name", &|run| {
                let file =
                    File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).open(dir);
                let Ok(file) = file else { return (vec![], vec![]) };
                let results = vec![
                    write(run, &file, b"hello"),
                    run(libc::SYS_lseek, &[fd(&file), 1, 0]),
                    run(libc::SYS_fsync, &[fd(&file)]),
                ];
                let (more, bytes) = read(run, &file, 16);
                ([results, more].concat(), bytes)
            }),
            ("O_DIRECT, not aligned", &|run| {
                let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(&file_name);
                let Ok(file) = file else { return (vec![], vec![]) };
                (vec![read(run, &file, 7).0[0], at(run, libc::SYS_pread64, &file, 3).0[0]], vec![])
            }),
            ("memory of the process", &|run| {
                let file = open("/proc/self/mem", 0);
                let mut there = *b"there";
                let place = address(&mut there) as i64;
                let ((mut results, bytes), nowhere) = (
                    at(run, libc::SYS_pread64, &file, place),
                    at(run, libc::SYS_pread64, &file, 16),
                );
                results.extend([
                    nowhere.0[0],
                    at(run, libc::SYS_pwrite64, &file, place).0[0],
                    at(run, libc::SYS_pwrite64, &file, 16).0[0],
                ]);
                (results, [&bytes[..], &there].concat())
            }),
            ("files of /proc and /sys", &|run| {
                let mut seen = (vec![], vec![]);
                for path in [
                    "/proc/self/oom_score_adj",
                    "/proc/self/comm",
                    "/proc/sys/kernel/ostype",
                    "/proc/self/cmdline",
                    "/proc/self/environ",
                    "/proc/self/maps",
                    "/sys/kernel/mm/transparent_hugepage/enabled",
                    "/proc/filesystems",
                    "/proc/self/auxv",
                    "/proc/self/pagemap",
                ] {
                    let Ok(file) = File::open(path) else { continue };
                    for offset in [0, 1, 8, 1 << 40, -1] {
                        let (results, bytes) = at(run, libc::SYS_pread64, &file, offset);
                        seen.0.extend(results);
                        if !path.ends_with("maps") {
                            seen.1.extend(bytes);
                        }
                    }
                }
                seen
            }),
            ("a setting that is wrong", &|run| {
                let file = open("/proc/self/oom_score_adj", 0);
                (
                    vec![
                        write(run, &file, b"not a number"),
                        write(run, &file, b"99999"),
                        at(run, libc::SYS_pwrite64, &file, 1).0[0],
                    ],
                    vec![],
                )
            }),
            ("a queue of messages", &|run| {
                let name = c"aio2-scenes".as_ptr().expose_provenance() as u64;
                let mut attr = [0_i64, 4, 16, 0, 0, 0, 0, 0];
                let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK) as u64;
                let made = made_if(
                    "message queues",
                    libc::SYS_mq_open,
                    &[name, flags, 0o600, address(&mut attr)],
                );
                plain(libc::SYS_mq_unlink, &[name]);
                let file = match made {
                    Ok(file) => file,
                    Err(errno) => return (vec![errno], vec![]),
                };
                let (mut bytes, mut buffer, mut priority) =
                    (*b"message..........", [b'.'; 16], 0_u32);
                let from = address(&mut bytes);
                let send = |len: u64, priority| [fd(&file), from, len, priority, 0];
                let mut results = vec![];
                for (len, priority) in [(7, 1), (3, 5), (0, 5), (17, 0), (7, 40_000)] {
                    results.push(run(libc::SYS_mq_timedsend, &send(len, priority)));
                }
                let (first, _) = read(run, &file, 200);
                for room in [15, 16, 16, 16, 16] {
                    let args = [fd(&file), address(&mut buffer), room, address(&mut priority), 0];
                    results.extend([run(libc::SYS_mq_timedreceive, &args), priority.into()]);
                }
                results.push(first[0].signum());
                (results, buffer.to_vec())
            }),
        ],
    );
    Ok(())
}

/// Both ends of a terminal, with these settings.
fn terminal(set: impl Fn(&mut libc::termios)) -> (File, File) {
    let (mut master, mut slave, none) = (0, 0, std::ptr::null_mut());
    // SAFETY: writes two numbers.
    unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
    let (master, slave) = (own(master), own(slave));
    // SAFETY: a termios may be all zeros.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: it can be written.
    unsafe { libc::tcgetattr(slave.as_raw_fd(), &raw mut modes) };
    set(&mut modes);
    // SAFETY: it can be read.
    unsafe { libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes) };
    (master, slave)
}

fn raw(least: u8, tenths: u8) -> impl Fn(&mut libc::termios) {
    move |modes| {
        // SAFETY: it can be written.
        unsafe { libc::cfmakeraw(modes) };
        (modes.c_cc[libc::VMIN], modes.c_cc[libc::VTIME]) = (least, tenths);
    }
}

/// What reads with so much room give of what was typed.
fn typed(set: &dyn Fn(&mut libc::termios), bytes: &[u8], rooms: &[usize], run: Run<'_>) -> Seen {
    let (mut master, slave) = terminal(set);
    master.write_all(bytes).expect("room");
    let mut seen = (vec![], vec![]);
    for room in rooms {
        let (results, bytes) = read(run, &slave, *room);
        seen.0.extend(results);
        seen.1.extend(bytes);
    }
    seen
}

pub(crate) fn terminal_with_lines_gives_what_was_typed(env: &Env<'_>) -> Outcome {
    let lines = |_: &mut libc::termios| ();
    play_each(
        env,
        &[
            ("lines", &|run| typed(&lines, b"one\ntwo\n", &[64, 64], run)),
            ("a line in parts", &|run| typed(&lines, b"line\n", &[2, 64], run)),
            ("the end of the file", &|run| typed(&lines, b"\x04", &[64], run)),
            ("the end within a line", &|run| typed(&lines, b"part\x04more\n", &[64, 64], run)),
            ("a part, then the end", &|run| typed(&lines, b"part\x04\x04", &[4, 64], run)),
            ("a line that was mended", &|run| typed(&lines, b"abc\x7f\x7fd\n", &[64], run)),
            ("no room", &|run| typed(&lines, b"one\n", &[0, 64], run)),
            ("nobody at the other end", &|run| {
                let (master, slave) = terminal(lines);
                drop(slave);
                (vec![read(run, &master, 8).0[0], write(run, &master, b"x")], vec![])
            }),
            ("hung up", &|run| {
                let (master, slave) = terminal(lines);
                drop(master);
                (vec![read(run, &slave, 8).0[0], write(run, &slave, b"x")], vec![])
            }),
            ("packets", &|run| {
                let (master, mut slave) = terminal(raw(1, 0));
                let on = 1_i32;
                // SAFETY: reads a number.
                unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) };
                slave.write_all(b"out").expect("room");
                read(run, &master, 64)
            }),
            ("what is written is changed", &|run| {
                let (master, slave) = terminal(lines);
                let result = write(run, &slave, b"a\nb\n");
                (vec![result], rest(&master))
            }),
        ],
    );
    Ok(())
}

pub(crate) fn terminal_without_lines_gives_what_vmin_and_vtime_say(env: &Env<'_>) -> Outcome {
    if env.factory.name() == "kernel" {
        return skip("planned: it waits until the terminal polls readable");
    }
    play_each(
        env,
        &[
            ("raw, one", &|run| typed(&raw(1, 0), b"abc", &[2, 64], run)),
            ("raw, five", &|run| typed(&raw(5, 0), b"abcdefgh", &[64], run)),
            ("raw, five, little room", &|run| typed(&raw(5, 0), b"abcdefgh", &[3, 64], run)),
            ("raw, five, room that is full", &|run| typed(&raw(5, 0), b"abc", &[3], run)),
            ("raw, nothing there", &|run| typed(&raw(0, 0), b"", &[64], run)),
            ("raw, nothing for a while", &|run| typed(&raw(0, 1), b"", &[64], run)),
            ("raw, none", &|run| typed(&raw(0, 0), b"ab", &[64, 64], run)),
            ("raw, for a while", &|run| typed(&raw(0, 1), b"ab", &[64, 64], run)),
            ("raw, between bytes", &|run| typed(&raw(5, 1), b"ab", &[64], run)),
        ],
    );
    Ok(())
}

pub(crate) fn socket_in_each_state_gives_what_it_gives_the_plain_call(env: &Env<'_>) -> Outcome {
    let receive = |run: Run<'_>, socket: &dyn AsRawFd, flags: i32| {
        let mut buffer = [b'.'; 16];
        let at = address(&mut buffer);
        let args = [socket.as_raw_fd() as u64, at, 16, flags as u64, 0, 0];
        (vec![run(libc::SYS_recvfrom, &args)], buffer.to_vec())
    };
    let send = |run: Run<'_>, socket: &dyn AsRawFd, flags: i32| {
        let mut buffer = *b"sent";
        let at = address(&mut buffer);
        run(libc::SYS_sendto, &[socket.as_raw_fd() as u64, at, 4, flags as u64, 0, 0])
    };
    let tcp = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        (near, listener.accept().expect("it has connected").0)
    };
    let accept = |run: Run<'_>, socket: &dyn AsRawFd, flags: i32| {
        let result = run(libc::SYS_accept4, &[socket.as_raw_fd() as u64, 0, 0, flags as u64]);
        if result >= 0 { fcntl_of(&own(result as i32)) } else { result }
    };
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    let quiet = libc::MSG_NOSIGNAL;
    play_each(
        env,
        &[
            ("shut down to read", &|run| {
                let mut seen = vec![];
                for kind in kinds {
                    let (near, far) = socket_pair(kind);
                    // SAFETY: takes numbers.
                    unsafe { libc::shutdown(near.as_raw_fd(), libc::SHUT_RD) };
                    seen.extend([
                        receive(run, &near, 0).0[0],
                        receive(run, &near, libc::MSG_WAITALL).0[0],
                    ]);
                    seen.push(send(run, &far, quiet));
                }
                (seen, vec![])
            }),
            ("shut down to write", &|run| {
                let mut seen = vec![];
                for kind in kinds {
                    let (near, far) = socket_pair(kind);
                    // SAFETY: takes numbers.
                    unsafe { libc::shutdown(near.as_raw_fd(), libc::SHUT_WR) };
                    seen.push(send(run, &near, quiet));
                    set_nonblocking(&far);
                    seen.push(receive(run, &far, 0).0[0]);
                }
                (seen, vec![])
            }),
            ("the peer is gone", &|run| {
                let mut seen = vec![];
                for kind in kinds {
                    let (near, far) = socket_pair(kind);
                    drop(far);
                    seen.extend([
                        send(run, &near, quiet),
                        receive(run, &near, libc::MSG_DONTWAIT).0[0],
                        send(run, &near, quiet),
                    ]);
                }
                (seen, vec![])
            }),
            ("reset", &|run| {
                let (near, far) = tcp();
                (&near).write_all(b"unread").expect("room");
                // What was not read makes the close a reset.
                std::thread::sleep(std::time::Duration::from_millis(5));
                drop(far);
                std::thread::sleep(std::time::Duration::from_millis(5));
                (
                    vec![
                        receive(run, &near, 0).0[0],
                        receive(run, &near, 0).0[0],
                        send(run, &near, quiet),
                    ],
                    vec![],
                )
            }),
            ("urgent bytes", &|run| {
                let (near, far) = tcp();
                let mut seen =
                    vec![receive(run, &far, libc::MSG_OOB).0[0], send(run, &near, libc::MSG_OOB)];
                std::thread::sleep(std::time::Duration::from_millis(5));
                let (urgent, bytes) = receive(run, &far, libc::MSG_OOB);
                let (before, more) = receive(run, &far, 0);
                seen.extend([urgent[0], before[0]]);
                (seen, [bytes, more].concat())
            }),
            ("no error is queued", &|run| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                (
                    vec![
                        receive(run, &socket, libc::MSG_ERRQUEUE).0[0],
                        receive(run, &tcp().0, libc::MSG_ERRQUEUE).0[0],
                    ],
                    vec![],
                )
            }),
            ("an error is told once", &|run| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                let gone = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr());
                socket.connect(gone.expect("a port")).expect("an address");
                let first = send(run, &socket, 0);
                set_nonblocking(&socket);
                (vec![first, receive(run, &socket, 0).0[0], receive(run, &socket, 0).0[0]], vec![])
            }),
            ("an empty message", &|run| {
                let mut seen = (vec![], vec![]);
                for kind in [libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
                    let (near, far) = socket_pair(kind);
                    seen.0.push(run(libc::SYS_sendto, &[fd(&near), 0, 0, 0, 0, 0]));
                    seen.0.push(send(run, &near, 0));
                    for _ in 0..2 {
                        let (results, bytes) = receive(run, &far, libc::MSG_WAITALL);
                        seen.0.extend(results);
                        seen.1.extend(bytes);
                    }
                }
                seen
            }),
            ("flags that cannot be", &|run| {
                let mut seen = vec![];
                for kind in kinds {
                    let (near, far) = socket_pair(kind);
                    for flags in [
                        libc::MSG_OOB,
                        libc::MSG_CONFIRM,
                        libc::MSG_FASTOPEN,
                        1 << 30,
                        libc::MSG_EOR,
                        libc::MSG_MORE,
                    ] {
                        seen.push(send(run, &near, flags | quiet));
                        seen.push(receive(run, &far, flags | libc::MSG_DONTWAIT).0[0]);
                    }
                }
                (seen, vec![])
            }),
            ("what does not listen", &|run| {
                let mut seen = vec![];
                for kind in kinds {
                    seen.push(accept(run, &socket_pair(kind).0, 0));
                }
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                seen.extend([
                    accept(run, &socket, 0),
                    accept(run, &tcp().0, 0),
                    accept(run, &eventfd(1, 0), 0),
                ]);
                (seen, vec![])
            }),
            ("accepted, by its flags", &|run| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let mut seen = vec![];
                for flags in [0, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC, 1 << 20] {
                    let peer = TcpStream::connect(listener.local_addr().expect("bound"));
                    seen.push(accept(run, &listener, flags));
                    drop(peer);
                }
                set_nonblocking(&listener);
                seen.extend([accept(run, &listener, 0), accept(run, &listener, 0)]);
                (seen, vec![])
            }),
            ("a listener that was shut down", &|run| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                // SAFETY: takes numbers.
                unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
                (vec![accept(run, &listener, 0)], vec![])
            }),
            ("a queue of connections that is full", &|run| {
                let path = env.dir.join("full");
                let _ = std::fs::remove_file(&path);
                let listener = UnixListener::bind(&path).expect("a name");
                // SAFETY: takes numbers.
                unsafe { libc::listen(listener.as_raw_fd(), 0) };
                let kept = UnixStream::connect(&path).expect("room for one");
                let mut name = [0_u8; 110];
                name[0] = libc::AF_UNIX as u8;
                let bytes = path.as_os_str().as_encoded_bytes();
                if bytes.len() > 100 {
                    return (vec![], vec![]);
                }
                name[2..][..bytes.len()].copy_from_slice(bytes);
                let socket = made(
                    libc::SYS_socket,
                    &[1, (libc::SOCK_STREAM | libc::SOCK_NONBLOCK) as u64, 0],
                );
                let connect = |socket: &File, len: u64| {
                    run(libc::SYS_connect, &[fd(socket), address(&mut { name }), len])
                };
                let mut seen = vec![connect(&socket, 110)];
                drop(listener);
                seen.push(connect(&socket, 110));
                seen.extend([connect(&socket, 1), connect(&socket, 200)]);
                drop(kept);
                (seen, vec![])
            }),
            ("connected already", &|run| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let port = listener.local_addr().expect("bound").port().to_be_bytes();
                let near =
                    TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
                let mut name = [2_u8, 0, port[0], port[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
                let first = run(libc::SYS_connect, &[fd(&near), address(&mut name), 16]);
                let mut none = [0_u8; 16];
                let second = run(libc::SYS_connect, &[fd(&near), address(&mut none), 16]);
                (vec![first, second, send(run, &near, quiet)], vec![])
            }),
            ("routes, asked of the kernel", &|run| {
                let socket = made(libc::SYS_socket, &[16, libc::SOCK_RAW as u64, 0]);
                // RTM_GETLINK, NLM_F_REQUEST and NLM_F_DUMP.
                let mut ask = [32_u32, 18 | 0x301 << 16, 1, 0, 0, 0, 0, 0];
                let sent = run(libc::SYS_sendto, &[fd(&socket), address(&mut ask), 32, 0, 0, 0]);
                let mut seen = vec![sent];
                for flags in [libc::MSG_PEEK | libc::MSG_TRUNC, 0, libc::MSG_DONTWAIT] {
                    let mut buffer = [0_u8; 65536];
                    let args = [fd(&socket), address(&mut buffer), 65536, flags as u64, 0, 0];
                    let result = run(libc::SYS_recvfrom, &args);
                    seen.push(result);
                }
                (seen, vec![])
            }),
            ("packets of a link", &|run| {
                let made =
                    made_if("packet sockets", libc::SYS_socket, &[17, libc::SOCK_DGRAM as u64, 0]);
                let socket = match made {
                    Ok(file) => file,
                    Err(errno) => return (vec![errno], vec![]),
                };
                (
                    vec![receive(run, &socket, libc::MSG_DONTWAIT).0[0], send(run, &socket, 0)],
                    vec![],
                )
            }),
            ("sockets of virtual machines", &|run| {
                let made = made_if("vsock", libc::SYS_socket, &[40, libc::SOCK_STREAM as u64, 0]);
                let socket = match made {
                    Ok(file) => file,
                    Err(errno) => return (vec![errno], vec![]),
                };
                (
                    vec![
                        receive(run, &socket, libc::MSG_DONTWAIT).0[0],
                        send(run, &socket, quiet),
                        accept(run, &socket, 0),
                    ],
                    vec![],
                )
            }),
            ("too long for a message", &|run| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                socket.connect(socket.local_addr().expect("bound")).expect("an address");
                let mut bytes = vec![1_u8; 70_000];
                let mut seen = vec![];
                for len in [65_507, 65_508, 70_000] {
                    seen.push(run(
                        libc::SYS_sendto,
                        &[fd(&socket), address(&mut *bytes), len, 0, 0, 0],
                    ));
                }
                (seen, vec![])
            }),
        ],
    );
    Ok(())
}

/// Its flags, and whether it is closed by execve(2).
fn fcntl_of(file: &File) -> i64 {
    let ask = |what: i32| plain(libc::SYS_fcntl, &[fd(file), what as u64, 0]);
    ask(libc::F_GETFL) << 1 | ask(libc::F_GETFD)
}

/// Two pages, the second of which is not there.
struct HalfMapped(*mut libc::c_void);

impl HalfMapped {
    fn new() -> Self {
        let (null, flags) = (std::ptr::null_mut(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(null, 8192, access, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        // SAFETY: a page of the mapping above.
        unsafe { libc::mprotect(memory.wrapping_byte_add(4096), 4096, libc::PROT_NONE) };
        HalfMapped(memory)
    }

    /// The address of the last `n` bytes that are there.
    fn last(&self, n: usize) -> u64 {
        self.0.wrapping_byte_add(4096 - n).expose_provenance() as u64
    }

    fn bytes(&self) -> Vec<u8> {
        // SAFETY: the first page can be read.
        unsafe { std::slice::from_raw_parts(self.0.cast(), 4096) }.to_vec()
    }
}

impl Drop for HalfMapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { libc::munmap(self.0, 8192) };
    }
}

pub(crate) fn memory_that_ends_within_a_buffer_ends_the_call_where_it_would(
    env: &Env<'_>,
) -> Outcome {
    let path = env.dir.join("ends");
    std::fs::write(&path, vec![7; 12_000]).expect("it is written");
    let file = || File::options().read(true).write(true).open(&path).expect("it is there");
    let position = |file: &File| plain(libc::SYS_lseek, &[fd(file), 0, 1]);
    let vector =
        |memory: &HalfMapped| [memory.last(100), 50, memory.last(10), 100, memory.last(20), 20];
    let pairs = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
    play_each(
        env,
        &[
            ("a file that is read", &|run| {
                let (memory, file) = (HalfMapped::new(), file());
                let results =
                    [10, 4096, 0].map(|n| run(libc::SYS_read, &[fd(&file), memory.last(n), 8000]));
                ([&results[..], &[position(&file)]].concat(), memory.bytes())
            }),
            ("a file that is written", &|run| {
                let (memory, file) = (HalfMapped::new(), file());
                let results =
                    [10, 4096, 0].map(|n| run(libc::SYS_write, &[fd(&file), memory.last(n), 8000]));
                (
                    [&results[..], &[position(&file)]].concat(),
                    std::fs::read(&path).expect("it is read"),
                )
            }),
            ("vectors", &|run| {
                let (memory, file) = (HalfMapped::new(), file());
                let mut vector = vector(&memory);
                let at = address(&mut vector);
                let results =
                    [libc::SYS_readv, libc::SYS_writev].map(|nr| run(nr, &[fd(&file), at, 3]));
                let more = [libc::SYS_preadv, libc::SYS_pwritev]
                    .map(|nr| run(nr, &[fd(&file), at, 3, 5000, 0]));
                ([&results[..], &more, &[position(&file)]].concat(), memory.bytes())
            }),
            ("a pipe", &|run| {
                let (memory, pipe) = (HalfMapped::new(), Pipe::new());
                let write = [10, 4096, 0]
                    .map(|n| run(libc::SYS_write, &[pipe.write_fd() as u64, memory.last(n), 4200]));
                (&pipe.writer).write_all(&[3; 5000]).expect("room");
                let read = [10, 4096, 0]
                    .map(|n| run(libc::SYS_read, &[pipe.read_fd() as u64, memory.last(n), 4200]));
                ([&write[..], &read, &[pipe.readable_bytes() as i64]].concat(), memory.bytes())
            }),
            ("sockets, received", &|run| {
                let mut seen = (vec![], vec![]);
                for kind in pairs {
                    let (memory, (near, far)) = (HalfMapped::new(), socket_pair(kind));
                    for _ in 0..5 {
                        write(&plain, &far, &[5; 200]);
                    }
                    for n in [10, 0] {
                        seen.0.push(run(
                            libc::SYS_recvfrom,
                            &[fd(&near), memory.last(n), 100, 0, 0, 0],
                        ));
                        seen.0.push(run(libc::SYS_read, &[fd(&near), memory.last(n), 100]));
                    }
                    seen.1.extend(memory.bytes());
                    seen.1.extend(rest(&near));
                }
                seen
            }),
            ("sockets, sent", &|run| {
                let mut seen = (vec![], vec![]);
                for kind in pairs {
                    let (memory, (near, far)) = (HalfMapped::new(), socket_pair(kind));
                    for n in [10, 0, 100] {
                        seen.0.push(run(
                            libc::SYS_sendto,
                            &[fd(&near), memory.last(n), 100, libc::MSG_NOSIGNAL as u64, 0, 0],
                        ));
                    }
                    seen.1.extend(rest(&far));
                }
                seen
            }),
            ("an eventfd", &|run| {
                let (memory, file) = (HalfMapped::new(), eventfd(5, libc::EFD_NONBLOCK));
                let read = [4, 0].map(|n| run(libc::SYS_read, &[fd(&file), memory.last(n), 8]));
                let write = [4, 0].map(|n| run(libc::SYS_write, &[fd(&file), memory.last(n), 8]));
                ([read, write].concat(), rest(&file))
            }),
            ("a device", &|run| {
                let (memory, zero) =
                    (HalfMapped::new(), File::open("/dev/zero").expect("it is there"));
                let random = File::open("/dev/urandom").expect("it is there");
                let mut results = [10, 0]
                    .map(|n| run(libc::SYS_read, &[fd(&zero), memory.last(n), 8000]))
                    .to_vec();
                results.extend(
                    [10, 0].map(|n| run(libc::SYS_read, &[fd(&random), memory.last(n), 8000])),
                );
                (results, vec![])
            }),
            ("a file of /proc", &|run| {
                let (memory, file) =
                    (HalfMapped::new(), File::open("/proc/version").expect("it is there"));
                let results =
                    [10, 0].map(|n| run(libc::SYS_read, &[fd(&file), memory.last(n), 60]));
                (results.to_vec(), memory.bytes())
            }),
            ("an address of a message", &|run| {
                let (memory, (near, far)) = (HalfMapped::new(), socket_pair(libc::SOCK_DGRAM));
                write(&plain, &far, b"lost");
                let mut buffer = [b'.'; 8];
                let result = run(
                    libc::SYS_recvfrom,
                    &[fd(&near), address(&mut buffer), 8, 0, memory.last(1), memory.last(0)],
                );
                (vec![result], [&buffer[..], &rest(&near)].concat())
            }),
        ],
    );
    Ok(())
}

pub(crate) fn arguments_at_their_limits_are_judged_as_in_the_plain_call(env: &Env<'_>) -> Outcome {
    let path = env.dir.join("limits");
    std::fs::write(&path, b"0123456789").expect("it is written");
    let file = || File::options().read(true).write(true).open(&path).expect("it is there");
    let offsets = [0, 9, 10, 11, -1, -2, i64::MAX - 4, i64::MAX, i64::MIN, 1 << 62];
    play_each(
        env,
        &[
            ("offsets", &|run| {
                let (file, mut buffer) = (file(), [b'.'; 4]);
                let at = address(&mut buffer);
                let mut seen = vec![];
                for offset in offsets {
                    seen.push(run(libc::SYS_pread64, &[fd(&file), at, 4, offset as u64]));
                    seen.push(run(libc::SYS_lseek, &[fd(&file), offset as u64, 0]));
                    seen.push(run(
                        libc::SYS_fallocate,
                        &[fd(&file), 1, offset as u64, offset as u64],
                    ));
                }
                (seen, buffer.to_vec())
            }),
            ("a write beyond what a file can be", &|run| {
                let (file, mut buffer) = (file(), [b'x'; 4]);
                let at = address(&mut buffer);
                let write =
                    |offset: i64| run(libc::SYS_pwrite64, &[fd(&file), at, 4, offset as u64]);
                ([-1, i64::MAX, i64::MAX - 2].map(write).to_vec(), vec![])
            }),
            ("a pipe has no offsets", &|run| {
                let (pipe, mut buffer) = (Pipe::new(), [b'x'; 4]);
                let at = address(&mut buffer);
                (
                    vec![
                        run(libc::SYS_pread64, &[pipe.read_fd() as u64, at, 4, 0]),
                        run(libc::SYS_pwrite64, &[pipe.write_fd() as u64, at, 4, 0]),
                        run(libc::SYS_lseek, &[pipe.read_fd() as u64, 0, 0]),
                        run(libc::SYS_fsync, &[pipe.read_fd() as u64]),
                        run(libc::SYS_read, &[pipe.write_fd() as u64, at, 4]),
                        run(libc::SYS_write, &[pipe.read_fd() as u64, at, 4]),
                    ],
                    vec![],
                )
            }),
            ("flags of a transfer", &|run| {
                let mut seen = vec![];
                for flags in [0, 1, 2, 4, 8, 16, 32, 64, 128, 1 << 20, u64::from(u32::MAX)] {
                    let (file, pipe, mut buffer) =
                        (file(), Pipe::with_flags(libc::O_NONBLOCK), [b'x'; 4]);
                    (&pipe.writer).write_all(b"pipe").expect("room");
                    let mut vector = [address(&mut buffer), 4];
                    let at = address(&mut vector);
                    for offset in [0, u64::MAX] {
                        seen.push(run(libc::SYS_preadv2, &[fd(&file), at, 1, offset, 0, flags]));
                        seen.push(run(libc::SYS_pwritev2, &[fd(&file), at, 1, offset, 0, flags]));
                        seen.push(run(
                            libc::SYS_preadv2,
                            &[pipe.read_fd() as u64, at, 1, offset, 0, flags],
                        ));
                        seen.push(run(
                            libc::SYS_pwritev2,
                            &[pipe.write_fd() as u64, at, 1, offset, 0, flags],
                        ));
                    }
                    seen.push(run(libc::SYS_lseek, &[fd(&file), 0, 1]));
                }
                let bytes = std::fs::read(&path).expect("it is read");
                std::fs::write(&path, b"0123456789").expect("it is written");
                (seen, bytes)
            }),
            ("counts of a vector", &|run| {
                let (file, mut buffer) = (file(), [b'.'; 4]);
                let mut vector = vec![[address(&mut buffer), 0]; 1025];
                let at = address(&mut *vector);
                let mut seen = vec![];
                for count in [0, 1, 1024, 1025, u64::MAX, 1 << 32, (1 << 32) + 1] {
                    seen.push(run(libc::SYS_readv, &[fd(&file), at, count]));
                    seen.push(run(libc::SYS_preadv, &[fd(&file), at, count, 0, 0]));
                }
                for len in [u64::MAX, 1 << 63, i64::MAX as u64] {
                    vector[1][1] = len;
                    seen.push(run(libc::SYS_readv, &[fd(&file), at, 2]));
                    seen.push(run(libc::SYS_writev, &[fd(&file), at, 2]));
                }
                (seen, buffer.to_vec())
            }),
            ("upper halves of numbers", &|run| {
                let (file, mut buffer) = (file(), [b'.'; 4]);
                let at = address(&mut buffer);
                let high = 7 << 32;
                (
                    vec![
                        run(libc::SYS_read, &[fd(&file) | high, at, 4]),
                        run(libc::SYS_pread64, &[fd(&file) | high, at, 4, 2]),
                        run(libc::SYS_lseek, &[fd(&file) | high, 1, high]),
                        run(libc::SYS_fsync, &[fd(&file) | high]),
                        run(libc::SYS_close, &[u64::MAX]),
                        run(libc::SYS_close, &[1 << 31]),
                    ],
                    buffer.to_vec(),
                )
            }),
            ("between descriptors", &|run| {
                let (one, two, pipe) = (file(), file(), Pipe::with_flags(libc::O_NONBLOCK));
                let (r, w) = (pipe.read_fd() as u64, pipe.write_fd() as u64);
                let mut past = 1_i64 << 40;
                (
                    vec![
                        run(libc::SYS_splice, &[r, 0, w, 0, 4, 0]),
                        run(libc::SYS_splice, &[fd(&one), 0, fd(&two), 0, 4, 0]),
                        run(libc::SYS_splice, &[fd(&one), address(&mut past), w, 0, 4, 0]),
                        run(libc::SYS_splice, &[fd(&one), 0, w, 0, 0, 0]),
                        run(libc::SYS_splice, &[fd(&one), 0, w, 0, 4, 1 << 9]),
                        run(libc::SYS_splice, &[r, 0, fd(&two), 0, 4, 2]),
                        run(libc::SYS_tee, &[r, w, 4, 0]),
                        run(libc::SYS_tee, &[r, fd(&one), 4, 0]),
                        run(libc::SYS_sendfile, &[w, fd(&one), 0, u64::MAX]),
                        run(libc::SYS_sendfile, &[w, r, 0, 4]),
                        run(libc::SYS_copy_file_range, &[fd(&one), 0, fd(&two), 0, 4, 1]),
                        run(libc::SYS_copy_file_range, &[fd(&one), 0, w, 0, 4, 0]),
                        pipe.readable_bytes() as i64,
                    ],
                    vec![],
                )
            }),
            ("descriptors that are copied", &|run| {
                let one = file();
                (
                    vec![
                        run(libc::SYS_dup3, &[fd(&one), fd(&one), 0]),
                        run(libc::SYS_dup3, &[fd(&one), u64::MAX, 0]),
                        run(libc::SYS_dup3, &[fd(&one), 1 << 30, 0]),
                        run(libc::SYS_dup3, &[fd(&one), 900, 4]),
                        run(libc::SYS_dup, &[u64::MAX]),
                        run(libc::SYS_fcntl, &[fd(&one), libc::F_DUPFD as u64, 1 << 30]),
                        run(libc::SYS_fcntl, &[u64::MAX, libc::F_GETFL as u64, 0]),
                    ],
                    vec![],
                )
            }),
        ],
    );
    Ok(())
}
