//! What a call costs while many requests are in flight: `cargo xtask bench --costs`
//! runs this under valgrind, which counts only within [`count`].
//!
//! Arguments: the name of a call, and how many requests. Without, the names. Prints
//! by how many the count is to be divided.
#![allow(unsafe_code, missing_docs)]

use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::iocb::{Encoder, ID_OFFSET, IocbFlags};
use aio2_abi::setup::Setup;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_abi::{attr, op};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU8;
use std::time::Duration;
use zerocopy::IntoBytes;

/// How often a call is made, where it is not made for all.
const CALLS: usize = 32;
/// What requests in flight have as user data and descriptor: this and more, each
/// another one.
const FIRST: u64 = 1 << 20;
/// The number of those requests: they never begin.
const NR: u32 = libc::SYS_pread64 as u32;
/// The group that nested groups wait for.
const BASE_KEY: u64 = 1 << 40;

/// What is in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    /// Requests that wait for the first one.
    Held,
    /// Half as many groups, each of which waits for the one before.
    Nested,
}
use Kind::{Held, Nested, Nothing};

/// Makes a call while so many requests are in flight; how often it was made.
type Call = fn(&Load) -> usize;

const CALLS_BY_NAME: [(&str, Kind, Call); 20] = [
    ("submit, a NOP that is inline", Held, |load| {
        let stream = Load::stream(0..CALLS as u64, |n| nop(n, &[]));
        load.submit(stream);
        CALLS
    }),
    ("submit, one that waits for another", Held, |load| {
        let first = load.first;
        load.submit(Load::stream(0..CALLS as u64, |n| held(n, first)));
        CALLS
    }),
    ("submit, a member of one group of all", Held, |load| {
        load.submit(Load::stream(0..CALLS as u64, |n| nop(n, &[group(7)])));
        CALLS
    }),
    ("submit, with a deadline", Held, |load| {
        let deadline = attr::Deadline { timeout_ns: u64::MAX >> 2 };
        let first = load.first;
        let with = |n| {
            let deadline = (attr::DEADLINE, deadline.as_bytes().to_vec());
            iocb(NR, &[n, 0, 0, 0], n, &[after(attr::AFTER_REQUEST, first), deadline])
        };
        load.submit(Load::stream(0..CALLS as u64, with));
        CALLS
    }),
    ("submit, a member that waits: the next of nested groups", Nested, |load| {
        load.submit(nested(BASE_KEY + 1 + load.len as u64 / 2, CALLS as u64));
        2 * CALLS
    }),
    ("submit, a member of the group that nested groups wait for", Nested, |load| {
        let first = load.first;
        load.submit(Load::stream(0..CALLS as u64, |n| {
            nop(n, &[group(BASE_KEY), after(attr::AFTER_REQUEST, first)])
        }));
        CALLS
    }),
    ("cancel by id, one match", Held, |load| {
        load.each(&load.ids, |id| Cancel { id, ..of(CancelFlags::ID) })
    }),
    ("cancel by user data, one match", Held, |load| {
        load.each(&load.some(), |user_data| Cancel { user_data, ..of(CancelFlags::USER_DATA) })
    }),
    ("cancel by descriptor, one match", Held, |load| {
        load.each(&load.some(), |fd| Cancel { fd: fd as i32, ..of(CancelFlags::FD) })
    }),
    ("cancel by number and user data, one match", Held, |load| {
        let flags = CancelFlags::NR | CancelFlags::USER_DATA;
        load.each(&load.some(), |user_data| Cancel { user_data, nr: NR, ..of(flags) })
    }),
    ("cancel by number, one match", Held, |load| {
        let (first, other) = (load.first, libc::SYS_fsync as u32);
        for n in 0..CALLS as u64 {
            load.submit_uncounted(iocb(other, &[n], n, &[after(attr::AFTER_REQUEST, first)]));
            load.cancel(&mut Cancel { nr: other, ..of(CancelFlags::NR) }, 1);
        }
        CALLS
    }),
    ("cancel by id, no match", Held, |load| {
        load.none(Cancel { id: 1 << 40, ..of(CancelFlags::ID) })
    }),
    ("cancel by user data, no match", Held, |load| {
        load.none(Cancel { user_data: 1, ..of(CancelFlags::USER_DATA) })
    }),
    ("cancel by descriptor, no match", Held, |load| {
        load.none(Cancel { fd: 1, ..of(CancelFlags::FD) })
    }),
    ("cancel by number, no match", Held, |load| {
        load.none(Cancel { nr: op::NOP, ..of(CancelFlags::NR) })
    }),
    ("cancel by number, all but one match", Held, |load| {
        load.cancel(&mut Cancel { nr: NR, ..of(CancelFlags::NR) }, load.len as u32);
        load.len
    }),
    ("cancel of all", Held, |load| {
        load.cancel(&mut of(CancelFlags::ALL), load.len as u32 + 1);
        load.len + 1
    }),
    ("wait for an id, not in flight", Held, |load| {
        let id = load.ended();
        let wait = Wait { id: Some(id), ..Wait::events(0) };
        for _ in 0..CALLS {
            load.wait(&wait);
        }
        CALLS
    }),
    ("the end of one that all wait for, each of them", Held, |load| {
        load.cancel(&mut Cancel { id: load.first, ..of(CancelFlags::ID) }, 1);
        load.len
    }),
    ("an event, with a wait for all of them", Nothing, |load| {
        let engine = &load.engine;
        let wanted = load.len as u32 + 1;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // SAFETY: there is no request.
                unsafe { engine.wait(&Wait::events(wanted), &mut [], None) }.expect("they come");
            });
            // Until it sleeps: that is not counted.
            std::thread::sleep(Duration::from_millis(100));
            count(|| {
                for n in 0..u64::from(wanted) {
                    // Long ones, so that their bytes do not tell how many there are.
                    submit(engine, nop(n, &[(attr::TIMING, vec![]), (attr::PATH, vec![])]));
                }
            });
        });
        wanted as usize
    }),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, name, len] = &args[..] else {
        CALLS_BY_NAME.iter().for_each(|(name, ..)| println!("{name}"));
        return;
    };
    let (_, kind, call) =
        CALLS_BY_NAME.iter().find(|(known, ..)| known == name).expect("a call's name");
    let len: usize = len.parse().expect("a number");
    println!("{}", call(&Load::new(*kind, len.min((1 << 20) - 1024))));
}

/// Has valgrind count what `f` takes, and nothing outside; without it, only runs.
fn count(f: impl FnOnce()) {
    // callgrind.h: VG_USERREQ_TOOL_BASE('C', 'T') and its numbers.
    const BASE: u64 = ('C' as u64) << 24 | ('T' as u64) << 16;
    request(BASE + 4);
    f();
    request(BASE + 5);
}

/// A request to valgrind, as in valgrind.h: the processor does nothing.
#[cfg(target_arch = "x86_64")]
fn request(number: u64) {
    let args = [number, 0, 0, 0, 0, 0];
    // SAFETY: the rotations of rdi sum up to 128 bits, so that it stays what it
    // is, and the exchange is one of a register with itself; valgrind reads the
    // arguments and writes rdx.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const args,
            inout("rdx") 0_u64 => _,
            inout("rdi") 0_u64 => _,
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_number: u64) {}

/// A context with requests that wait for the first one, which waits for a pipe.
struct Load {
    engine: Engine,
    first: u64,
    len: usize,
    /// Ids of some of them.
    ids: Vec<u64>,
    _pipe: (PipeReader, PipeWriter),
}

impl Load {
    fn new(kind: Kind, len: usize) -> Self {
        static BYTE: AtomicU8 = AtomicU8::new(0);
        let setup = Setup { version: 1, max_requests: 1 << 20, ..Setup::default() };
        let engine = Engine::new(&setup, None).expect("an engine");
        let pipe = std::io::pipe().expect("a pipe");
        let args = [pipe.0.as_raw_fd() as u64, BYTE.as_ptr().expose_provenance() as u64, 1];
        let read = iocb(libc::SYS_read as u32, &args, 0, &[group(BASE_KEY)]);
        let first = submit(&engine, read)[ID_OFFSET / 8];
        let mut load = Load { engine, first, len, ids: Vec::new(), _pipe: pipe };
        let words = held(0, first).len();
        for from in (0..len as u64).step_by(1024) {
            let until = (from + 1024).min(len as u64);
            match kind {
                Nothing => {}
                Held => {
                    let all = Load::stream(from..until, |n| held(FIRST + n, first));
                    let all = submit(&load.engine, all);
                    load.ids.extend(all.chunks(words).map(|iocb| iocb[ID_OFFSET / 8]));
                }
                Nested => {
                    drop(submit(&load.engine, nested(BASE_KEY + 1 + from / 2, (until - from) / 2)))
                }
            }
        }
        let step = (len / CALLS).max(1);
        load.ids = load.ids.into_iter().step_by(step).take(CALLS).collect();
        load
    }

    /// The iocbs of these numbers.
    fn stream(numbers: std::ops::Range<u64>, of: impl Fn(u64) -> Vec<u64>) -> Vec<u64> {
        numbers.flat_map(of).collect()
    }

    /// The user data of some requests, among all of them.
    fn some(&self) -> Vec<u64> {
        let step = (self.len / CALLS).max(1);
        (0..self.len).step_by(step).take(CALLS).map(|n| FIRST + n as u64).collect()
    }

    fn submit(&self, stream: Vec<u64>) {
        count(|| drop(submit(&self.engine, stream)));
    }

    fn submit_uncounted(&self, stream: Vec<u64>) {
        submit(&self.engine, stream);
    }

    fn cancel(&self, cancel: &mut Cancel, matches: u32) {
        let mut result = Ok(0);
        count(|| result = self.engine.cancel(cancel));
        assert_eq!(result, Ok(matches));
    }

    fn each(&self, of: &[u64], by: impl Fn(u64) -> Cancel) -> usize {
        for one in of {
            self.cancel(&mut by(*one), 1);
        }
        of.len()
    }

    fn none(&self, cancel: Cancel) -> usize {
        for _ in 0..CALLS {
            let mut result = Ok(0);
            count(|| result = self.engine.cancel(&mut cancel.clone()));
            assert_eq!(result, Err(aio2::Errno(libc::ENOENT)));
        }
        CALLS
    }

    fn wait(&self, wait: &Wait<'_>) {
        // SAFETY: there is no request.
        count(|| assert!(unsafe { self.engine.wait(wait, &mut [], None) }.is_ok()));
    }

    /// The id of a request that has ended.
    fn ended(&self) -> u64 {
        submit(&self.engine, nop(0, &[]))[ID_OFFSET / 8]
    }
}

/// Groups from this key on: the member of each waits for the end of the one before,
/// and its close for the member.
fn nested(key: u64, count: u64) -> Vec<u64> {
    Load::stream(key..key + count, |key| {
        let member = nop(key, &[group(key), after(attr::AFTER_GROUP, key - 1)]);
        let close = iocb(op::GROUP, &[key], key, &[after(attr::AFTER_STREAM, 1)]);
        [member, close].concat()
    })
}

fn of(flags: CancelFlags) -> Cancel {
    Cancel { flags: flags.bits(), ..Cancel::default() }
}

type Attr = (u16, Vec<u8>);

fn group(key: u64) -> Attr {
    (attr::GROUP, attr::Group { key }.as_bytes().to_vec())
}

fn after(kind: u32, target: u64) -> Attr {
    (attr::AFTER, attr::After { target, kind, resv: 0 }.as_bytes().to_vec())
}

/// A read that begins after another request.
fn held(n: u64, first: u64) -> Vec<u64> {
    iocb(NR, &[n, 0, 0, 0], n, &[after(attr::AFTER_REQUEST, first)])
}

fn nop(user_data: u64, attrs: &[Attr]) -> Vec<u64> {
    iocb(op::NOP, &[], user_data, attrs)
}

fn iocb(nr: u32, args: &[u64], user_data: u64, attrs: &[Attr]) -> Vec<u64> {
    let mut words = vec![0; 32];
    let mut iocb = Encoder::new(words.as_mut_bytes(), nr, args, IocbFlags::WRITE_ID, user_data)
        .expect("room for an iocb");
    for (id, payload) in attrs {
        let returns =
            if payload.is_empty() { attr::AttrFlags::RETURN } else { attr::AttrFlags::empty() };
        iocb.attr(*id, returns, payload).expect("room for an attribute");
    }
    let len = iocb.len();
    words.truncate(len / 8);
    words
}

/// Submits; the iocbs, with their ids.
fn submit(engine: &Engine, mut stream: Vec<u64>) -> Vec<u64> {
    // SAFETY: what they name outlives the process, or is never looked at.
    let taken = unsafe { engine.submit(stream.as_mut_bytes()) };
    assert_eq!(taken, Ok(stream.len() * 8));
    stream
}
