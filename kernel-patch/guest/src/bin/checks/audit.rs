//! What audit records of an operation: as a plain call, and by AIO2.
//!
//! This process is the daemon that gets the records; it is not audited itself.
//! Those that make the operations are its children: audit knows processes only
//! that were made while it was on.

use crate::context;
use aio2_abi::attr;
use aio2_conformance::child::forked;
use aio2_conformance::context::{Event, patience};
use aio2_conformance::request::{Batch, Request};
use anyhow::{Context, Result, bail, ensure};
use libc::c_long;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use zerocopy::{Immutable, IntoBytes};

/// Of `linux/audit.h` and `linux/netlink.h`.
const ERROR: u16 = 2;
const SET: u16 = 1001;
const ADD_RULE: u16 = 1011;
const DEL_RULE: u16 = 1012;
const SYSCALL: u16 = 1300;
const END: u16 = 1320;
const REQUEST_ACK: u16 = 1 | 4;
const STATUS_ENABLED: u32 = 1;
const STATUS_PID: u32 = 4;
const FILTER_EXIT: u32 = 4;
const ALWAYS: u32 = 2;
const HEADER: usize = 16;

/// The beginning of `struct audit_status`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct Status {
    mask: u32,
    enabled: u32,
    failure: u32,
    pid: u32,
}

/// `struct audit_rule_data`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Rule {
    flags: u32,
    action: u32,
    field_count: u32,
    mask: [u32; 64],
    fields: [[u32; 64]; 3],
    buflen: u32,
}

impl Rule {
    /// Each of these calls is recorded at its end.
    fn calls(calls: &[c_long]) -> Self {
        let mut mask = [0; 64];
        calls.iter().for_each(|nr| mask[*nr as usize / 32] |= 1 << (nr % 32));
        let fields = [[0; 64]; 3];
        Rule { flags: FILTER_EXIT, action: ALWAYS, field_count: 0, mask, fields, buflen: 0 }
    }
}

/// The daemon; audit is off again, without a rule, when it is dropped.
struct Daemon {
    socket: OwnedFd,
    rule: Rule,
}

/// What a record says, field by field.
type Fields = BTreeMap<String, String>;

impl Daemon {
    fn new(calls: &[c_long]) -> Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes numbers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_AUDIT) };
        ensure!(fd >= 0, "NETLINK_AUDIT: {}", io::Error::last_os_error());
        // SAFETY: it is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let time = libc::timeval { tv_sec: patience().as_secs() as i64, tv_usec: 0 };
        let size = size_of_val(&time) as libc::socklen_t;
        let option = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
        // SAFETY: a structure of that size.
        let result =
            unsafe { libc::setsockopt(fd, option.0, option.1, (&raw const time).cast(), size) };
        ensure!(result == 0);
        let daemon = Daemon { socket, rule: Rule::calls(calls) };
        daemon.set(STATUS_PID | STATUS_ENABLED, 1, std::process::id())?;
        daemon.ask(ADD_RULE, daemon.rule.as_bytes()).context("the rule")?;
        Ok(daemon)
    }

    fn set(&self, mask: u32, enabled: u32, pid: u32) -> Result<()> {
        let status = Status { mask, enabled, pid, failure: 0 };
        self.ask(SET, status.as_bytes()).context("the state of audit")
    }

    /// Sends a message, and waits for what the kernel says to it.
    fn ask(&self, kind: u16, body: &[u8]) -> Result<()> {
        let len = (HEADER + body.len()) as u32;
        let mut message = len.to_ne_bytes().to_vec();
        message.extend([kind, REQUEST_ACK].map(u16::to_ne_bytes).as_flattened());
        message.resize(HEADER, 0);
        message.extend(body);
        // SAFETY: the bytes are there.
        let sent = unsafe {
            libc::send(self.socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0)
        };
        ensure!(sent == message.len() as isize, "{}", io::Error::last_os_error());
        loop {
            let (kind, body) = self.receive()?;
            if kind == ERROR {
                let errno = -i32::from_ne_bytes(body[..4].try_into()?);
                ensure!(errno == 0, "{}", io::Error::from_raw_os_error(errno));
                return Ok(());
            }
        }
    }

    /// The next message: its kind, and what it says.
    fn receive(&self) -> Result<(u16, Vec<u8>)> {
        let mut message = vec![0; 16 << 10];
        // SAFETY: the buffer has its length.
        let got = unsafe {
            libc::recv(self.socket.as_raw_fd(), message.as_mut_ptr().cast(), message.len(), 0)
        };
        ensure!(got >= HEADER as isize, "no message: {}", io::Error::last_os_error());
        message.truncate(got as usize);
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        Ok((kind, message.split_off(HEADER)))
    }

    /// The records of the next event, by their kind, with their fields.
    fn next_event(&self) -> Result<Vec<(u16, Fields)>> {
        let mut records = Vec::new();
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                END => return Ok(records),
                // Other records have no end; those of an event begin with this one.
                SYSCALL => records.clear(),
                _ => {}
            }
            let text = String::from_utf8_lossy(&body).into_owned();
            let fields = text.split_whitespace().filter_map(|word| word.split_once('='));
            records.push((kind, fields.map(|(k, v)| (k.into(), v.into())).collect()));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Best effort: the kernel's log shows what goes on.
        let _ = self.ask(DEL_RULE, self.rule.as_bytes());
        let _ = self.set(STATUS_ENABLED, 0, 0);
        let _ = self.set(STATUS_PID, 0, 0);
    }
}

/// A call: its number, its arguments, how many of them count.
type Call = (c_long, [u64; 4], usize);

pub fn operations_are_recorded_as_plain_calls() -> Result<()> {
    let file = File::open("/dev/zero")?;
    let mut buffer = [0_u8; 64];
    let buffer = [buffer.as_mut_ptr().expose_provenance() as u64, 64];
    let path = |path: &CStr| path.as_ptr().expose_provenance() as u64;
    let here = libc::AT_FDCWD as u64;
    let calls: [(&str, Call); 4] = [
        // Always on a worker.
        ("openat", (libc::SYS_openat, [here, path(c"/proc/self/exe"), 0, 0], 4)),
        ("openat, fails", (libc::SYS_openat, [here, path(c"/not/there"), 0, 0], 4)),
        // Inline, where audit does not look.
        ("pread64", (libc::SYS_pread64, [file.as_raw_fd() as u64, buffer[0], buffer[1], 0], 4)),
        ("getpgid", (libc::SYS_getpgid, [0; 4], 1)),
    ];
    let daemon = Daemon::new(&calls.map(|(_, call)| call.0))?;
    let mut wrong = Vec::new();
    for (name, call) in calls {
        let status = forked(|| make(call));
        ensure!(status.success(), "{name}: {status}");
        if let Err(error) = compare(&daemon, name, call.0) {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

/// Makes a call in each of the [`WAYS`].
fn make((nr, args, nr_args): Call) -> i32 {
    let context = context();
    let request = Request::call(nr, &args[..nr_args]);
    let [a, b, c, d] = args;
    // SAFETY: what the arguments name is alive.
    let plain = || unsafe { libc::syscall(nr, a, b, c, d) };
    let ways: [&dyn Fn() -> i64; WAYS.len()] =
        [&plain, &|| context.run(request.clone()).res, &|| {
            context.run(request.clone().on_worker()).res
        }];
    for way in ways {
        let result = way();
        if nr == libc::SYS_openat && result >= 0 {
            // SAFETY: it was opened by the call. The next one has its number.
            unsafe { libc::close(result as i32) };
        }
    }
    0
}

/// Processes that audit knows run as others once it is off.
pub fn audit_that_is_off_changes_nothing() -> Result<()> {
    drop(Daemon::new(&[libc::SYS_pread64])?);
    let file = File::open("/dev/zero")?;
    let status = forked(|| {
        let context = context();
        let mut byte = [0];
        let read = Request::pread(file.as_raw_fd(), &mut byte, 0).returns(attr::PATH);
        assert_eq!(context.run(read.clone()).place(), attr::PATH_INLINE);
        let mut event = [0_u64; 16];
        // SAFETY: the buffer that is read into is alive.
        let len =
            unsafe { context.backend().exec(Batch::of([read]).bytes(), event.as_mut_bytes()) };
        let events = Event::parse_all(&event.as_bytes()[..len.expect("io_exec2")]);
        assert_eq!(events[0].res, 1, "{events:?}");
        0
    });
    ensure!(status.success(), "{status}");
    Ok(())
}

const WAYS: [&str; 3] = ["plain", "AIO2", "AIO2, ASYNC"];

/// Compares what was recorded of a call that was made in each of the ways.
fn compare(daemon: &Daemon, name: &str, nr: c_long) -> Result<()> {
    let mut plain = None;
    for way in WAYS {
        let mut records = daemon.next_event().with_context(|| format!("by {way}"))?;
        let nr_records = records.len();
        let call = &mut records.first_mut().context("no record")?.1;
        // That of the thread.
        let comm = call.remove("comm");
        let said = |field: &str| call.get(field).map_or("", String::as_str);
        println!(
            "{name:<14} {way:<12} {} records, success={} exit={} pid={} comm={}",
            nr_records,
            said("success"),
            said("exit"),
            said("pid"),
            comm.unwrap_or_default()
        );
        ensure!(said("syscall") == nr.to_string(), "recorded is {}", said("syscall"));
        let plain = plain.get_or_insert_with(|| records.clone());
        ensure!(records == *plain, "by {way} {records:?} instead of {plain:?}");
    }
    Ok(())
}
