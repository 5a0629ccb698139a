//! Syscalls run as requests, compared with the plain ones: result, errno,
//! effect. SPEC: section 6.3.
//!
//! The table has a row for each syscall of the allow list, with calls that
//! succeed and calls that fail. A row is played four times, on a stage of its
//! own each time: plainly, as a request, on a worker, by `io_exec2`. What is
//! seen has to be the same.

mod file;
mod path;
mod process;
mod socket;
mod stage;
mod transfer;

use crate::context::Context;
use crate::env::{Env, Outcome};
use crate::file::{Pipe, file_with, socket_pair};
use crate::request::Request;
use aio2::syscall::{self, ALLOWED};
use aio2_abi::setup::Features;
use stage::{CWD, Lacking, Played, Stage, Way, address, plain};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Calls of one syscall.
type Row = (&'static str, fn(&mut Stage<'_>) -> Played);

const fn row(name: &'static str, play: fn(&mut Stage<'_>) -> Played) -> Row {
    (name, play)
}

const TABLE: [&[Row]; 5] = [transfer::ROWS, file::ROWS, path::ROWS, socket::ROWS, process::ROWS];

/// They have no errors.
const NEVER_FAIL: [&str; 6] = ["getpid", "getppid", "getuid", "geteuid", "getgid", "getegid"];

/// Plays a row in one way: what was seen, and what is lacking.
fn play(context: &Context, row: &Row, way: Way, dir: &Path) -> (Vec<String>, Option<Lacking>) {
    let (name, played) = row;
    let mut stage = Stage::set(context, syscall::by_name(name).expect("allowed"), way, dir);
    let lacking = played(&mut stage).err();
    stage.look();
    let (good, bad) = stage.calls;
    assert!(good > 0 || lacking.is_some(), "{name}: no call succeeds");
    assert!(bad > 0 || NEVER_FAIL.contains(name), "{name}: no call fails");
    (std::mem::take(&mut stage.seen), lacking)
}

pub(crate) fn each_allowed_syscall_is_as_the_plain_one(env: &Env<'_>) -> Outcome {
    let context = env.context();
    let mut ways = vec![Way::Request, Way::Worker];
    if env.probe().features().contains(Features::EXEC) {
        ways.push(Way::Exec);
    }
    let (mut played, mut lack, mut differences) = (BTreeSet::new(), 0, Vec::new());
    for row in TABLE.into_iter().flatten() {
        assert!(played.insert(row.0), "{} has two rows", row.0);
        let (expected, lacking) = play(&context, row, Way::Plain, env.dir);
        if let Some(Lacking(why)) = lacking {
            // What it gives instead has to be the same all the same.
            println!("SKIP syscall {}: {why}", row.0);
            lack += 1;
        }
        for way in &ways {
            let (seen, _) = play(&context, row, *way, env.dir);
            if seen != expected {
                differences.push(format!("{}, {way:?}: {seen:#?}\nplain: {expected:#?}", row.0));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let allowed: BTreeSet<&str> = ALLOWED.iter().map(|s| s.name).collect();
    assert_eq!(played, allowed, "a row for each syscall of the allow list");
    println!("{} syscalls, {lack} of them not here, in {} ways", played.len(), ways.len() + 1);
    Ok(())
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero byte")
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
    let offset = AtomicU64::new(0);
    let args = [fd(&from), address(&offset), fd(&to), 0, 6000, 0];
    let copied = run(libc::SYS_copy_file_range, &args);
    if copied < 0 {
        println!("note: copy_file_range gives {copied} here");
    } else {
        assert_eq!((copied, offset.load(Relaxed)), (6000, 6000));
        assert_eq!(std::fs::read(to_path).expect("it is there").len(), 6000);
    }
    let offset = AtomicU64::new(0);
    assert_eq!(
        run(libc::SYS_splice, &[fd(&from), address(&offset), fd(&pipe.writer), 0, 4096, 0]),
        4096
    );
    let other = Pipe::new();
    assert_eq!(run(libc::SYS_tee, &[fd(&pipe.reader), fd(&other.writer), 4096, 0]), 4096);
    assert_eq!((pipe.readable_bytes(), other.readable_bytes()), (4096, 4096));
    let offset = AtomicU64::new(100);
    let args = [fd(&left), fd(&from), address(&offset), 500];
    assert_eq!((run(libc::SYS_sendfile, &args), offset.load(Relaxed)), (500, 600));
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
