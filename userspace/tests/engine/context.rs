//! A context of the engine with requests and answers that are easy to write.

use aio2::backend::{Backend, Wait};
use aio2::engine::Engine;
use aio2_abi::iocb::{Encoder, IocbFlags};
use aio2_abi::setup::Setup;
use aio2_abi::{attr, event, op};
use std::fs::File;
use std::io::Write;
use std::time::Duration;
use zerocopy::IntoBytes;

/// A context, reaped by its own consumer.
pub struct Fixture {
    pub engine: Engine,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Iocb {
    pub nr: u32,
    pub args: Vec<u64>,
    pub flags: IocbFlags,
    pub user_data: u64,
    pub attrs: Vec<(u16, attr::AttrFlags, Vec<u8>)>,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Answer {
    pub user_data: u64,
    pub res: i64,
    pub returns: Vec<(u16, i32, Vec<u8>)>,
}

/// A request for a syscall.
pub fn syscall(nr: libc::c_long, args: &[u64]) -> Iocb {
    Iocb {
        nr: nr as u32,
        args: args.to_vec(),
        flags: IocbFlags::empty(),
        user_data: 0,
        attrs: vec![],
    }
}

/// The address of memory that a request works on.
pub fn address<T: ?Sized>(memory: &mut T) -> u64 {
    std::ptr::from_mut(memory).cast::<u8>().expose_provenance() as u64
}

/// A file with these contents, without a name.
pub fn file_of(contents: &[u8]) -> File {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(contents).unwrap();
    file
}

/// Whether this is a process that runs test `name` only; makes one otherwise,
/// which must succeed.
pub fn alone(name: &str) -> bool {
    const ALONE: &str = "AIO2_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .status();
    assert!(status.unwrap().success());
    false
}

/// Runs `f` with a limit of `most` on what this process has of `resource`.
pub fn with_limit<T>(resource: libc::__rlimit_resource_t, most: u64, f: impl FnOnce() -> T) -> T {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in the limit.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    let less = libc::rlimit { rlim_cur: most, ..limit };
    // SAFETY: reads the limit.
    unsafe { libc::setrlimit(resource, &raw const less) };
    let result = f();
    // SAFETY: as above.
    unsafe { libc::setrlimit(resource, &raw const limit) };
    result
}

impl Iocb {
    pub fn nop(user_data: u64) -> Self {
        Iocb { nr: op::NOP, args: vec![], flags: IocbFlags::empty(), user_data, attrs: vec![] }
    }

    pub fn user_data(mut self, user_data: u64) -> Self {
        self.user_data = user_data;
        self
    }

    pub fn flags(mut self, flags: IocbFlags) -> Self {
        self.flags |= flags;
        self
    }

    /// With an attribute that is returned.
    pub fn attr(self, id: u16) -> Self {
        self.attr_with(id, attr::AttrFlags::RETURN, &[])
    }

    pub fn attr_with(mut self, id: u16, flags: attr::AttrFlags, payload: &[u8]) -> Self {
        self.attrs.push((id, flags, payload.to_vec()));
        self
    }

    /// Its bytes.
    pub fn words(&self) -> Vec<u64> {
        let mut words = vec![0_u64; 128];
        let bytes = words.as_mut_bytes();
        let mut e = Encoder::new(bytes, self.nr, &self.args, self.flags, self.user_data).unwrap();
        for (id, flags, payload) in &self.attrs {
            e.attr(*id, *flags, payload).unwrap();
        }
        let len = e.len();
        words.truncate(len / 8);
        words
    }
}

impl Answer {
    pub fn parse(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        while !bytes.is_empty() {
            let (e, rest) = event::EventView::parse(bytes).unwrap();
            let returns = e.returns().map(|r| (r.id, r.status, r.payload.to_vec())).collect();
            let event::Header { user_data, res, .. } = e.header;
            answers.push(Answer { user_data, res, returns });
            bytes = rest;
        }
        answers
    }

    pub fn payload<T: zerocopy::FromBytes>(&self, id: u16) -> Option<T> {
        let (_, status, payload) = self.returns.iter().find(|r| r.0 == id)?;
        assert_eq!(*status, 0, "status of attribute {id}");
        T::read_from_bytes(payload).ok()
    }

    pub fn status(&self, id: u16) -> i32 {
        self.returns.iter().find(|r| r.0 == id).expect("no such return").1
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup { version: 1, ..Setup::default() };
        change(&mut setup);
        // SAFETY: an eventfd is the test's.
        Fixture { engine: unsafe { Engine::with_numbers(&setup) }.unwrap() }
    }

    /// Submits all of them; their bytes, with the ids written back.
    pub fn submit(&self, iocbs: impl IntoIterator<Item = Iocb>) -> Vec<u64> {
        let mut words: Vec<u64> = iocbs.into_iter().flat_map(|iocb| iocb.words()).collect();
        let all = words.len() * 8;
        // SAFETY: tests keep the memory of their requests until the end.
        let accepted = unsafe { self.engine.submit(words.as_mut_bytes()) };
        assert_eq!(accepted, Ok(all));
        words
    }

    /// Submits one that is not accepted in full.
    pub fn try_submit(&self, words: &mut [u64]) -> Result<usize, aio2::Errno> {
        // SAFETY: as in `submit`.
        unsafe { self.engine.submit(words.as_mut_bytes()) }
    }

    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), aio2::Errno> {
        // SAFETY: there is no request.
        unsafe { self.engine.wait(wait, &mut [], None) }.map(|_| ())
    }

    /// What the ring holds.
    pub fn reap(&self) -> Vec<Answer> {
        let mut words = vec![0; 8192];
        let events = self.engine.consumer().reap(&mut words, usize::MAX).unwrap();
        Answer::parse(events.words().as_bytes())
    }

    /// The next event that no other thread has reaped.
    pub fn next(&self) -> Answer {
        loop {
            self.wait(&Wait::events(1).within(Duration::from_secs(10))).unwrap();
            let mut words = [0; 128];
            let events = self.engine.consumer().reap(&mut words, 1).unwrap();
            if let Some(answer) = Answer::parse(events.words().as_bytes()).into_iter().next() {
                return answer;
            }
        }
    }

    /// The next `n` events.
    pub fn next_n(&self, n: usize) -> Vec<Answer> {
        (0..n).map(|_| self.next()).collect()
    }
}
