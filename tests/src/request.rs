//! Requests of a test, and the stream that they are submitted in.

use aio2_abi::attr;
use aio2_abi::iocb::{Encoder, ID_OFFSET, IocbFlags, LEN_MAX};
use aio2_abi::op;
use zerocopy::IntoBytes;

/// A request to be encoded.
#[derive(Clone, Debug)]
pub struct Request {
    nr: u32,
    args: Vec<u64>,
    flags: IocbFlags,
    user_data: u64,
    attrs: Vec<(u16, attr::AttrFlags, Vec<u8>)>,
}

impl Request {
    /// Operation or syscall `nr`.
    #[must_use]
    pub fn new(nr: u32, args: &[u64]) -> Self {
        let args = args.to_vec();
        Request { nr, args, flags: IocbFlags::empty(), user_data: 0, attrs: Vec::new() }
    }

    /// The syscall, a constant of crate `libc`.
    #[must_use]
    pub fn call(nr: libc::c_long, args: &[u64]) -> Self {
        Request::new(nr as u32, args)
    }

    /// NOP with this `user_data`.
    #[must_use]
    pub fn nop(user_data: u64) -> Self {
        Request::new(op::NOP, &[]).user_data(user_data)
    }

    /// POLL of a descriptor, for `events` of poll(2).
    #[must_use]
    pub fn poll(fd: i32, events: i16) -> Self {
        Request::new(op::POLL, &[fd as u64, events as u64])
    }

    /// The operation GROUP, which closes the group of `key`.
    #[must_use]
    pub fn close_group(key: u64) -> Self {
        Request::new(op::GROUP, &[key])
    }

    /// read(2) into `buffer`.
    #[must_use]
    pub fn read(fd: i32, buffer: &mut [u8]) -> Self {
        let args = [fd as u64, buffer.as_mut_ptr().addr() as u64, buffer.len() as u64];
        Request::call(libc::SYS_read, &args)
    }

    /// pread64(2) into `buffer`.
    #[must_use]
    pub fn pread(fd: i32, buffer: &mut [u8], offset: u64) -> Self {
        let args = [fd as u64, buffer.as_mut_ptr().addr() as u64, buffer.len() as u64, offset];
        Request::call(libc::SYS_pread64, &args)
    }

    /// write(2) of `bytes`.
    #[must_use]
    pub fn write(fd: i32, bytes: &[u8]) -> Self {
        let args = [fd as u64, bytes.as_ptr().addr() as u64, bytes.len() as u64];
        Request::call(libc::SYS_write, &args)
    }

    /// With `user_data`.
    #[must_use]
    pub fn user_data(mut self, user_data: u64) -> Self {
        self.user_data = user_data;
        self
    }

    /// With more flags.
    #[must_use]
    pub fn flags(mut self, flags: IocbFlags) -> Self {
        self.flags |= flags;
        self
    }

    /// With its id written back.
    #[must_use]
    pub fn with_id(self) -> Self {
        self.flags(IocbFlags::WRITE_ID)
    }

    /// Not tried inline.
    #[must_use]
    pub fn on_worker(self) -> Self {
        self.flags(IocbFlags::ASYNC)
    }

    /// With an attribute.
    #[must_use]
    pub fn attr(mut self, id: u16, flags: attr::AttrFlags, payload: &[u8]) -> Self {
        self.attrs.push((id, flags, payload.to_vec()));
        self
    }

    /// As a member of the group of `key`.
    #[must_use]
    pub fn in_group(self, key: u64) -> Self {
        self.attr(attr::GROUP, attr::AttrFlags::empty(), attr::Group { key }.as_bytes())
    }

    /// After `target`, which is of this kind ([`attr::AFTER_STREAM`] and others).
    #[must_use]
    pub fn after(self, kind: u32, target: u64) -> Self {
        let after = attr::After { target, kind, resv: 0 };
        self.attr(attr::AFTER, attr::AttrFlags::empty(), after.as_bytes())
    }

    /// With a deadline, in ns from its acceptance.
    #[must_use]
    pub fn deadline(self, timeout_ns: u64) -> Self {
        let deadline = attr::Deadline { timeout_ns };
        self.attr(attr::DEADLINE, attr::AttrFlags::empty(), deadline.as_bytes())
    }

    /// With an attribute that has no payload and is returned.
    #[must_use]
    pub fn returns(self, id: u16) -> Self {
        self.attr(id, attr::AttrFlags::RETURN, &[])
    }
}

/// A request that fails at once, with EBADF.
#[must_use]
pub fn failing() -> Request {
    Request::read(-1, &mut [])
}

/// A stream of iocbs, aligned as it has to be.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    words: Vec<u64>,
    /// Where each iocb starts, in words.
    starts: Vec<usize>,
}

impl Batch {
    /// An empty stream.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// A stream of these.
    #[must_use]
    pub fn of(requests: impl IntoIterator<Item = Request>) -> Self {
        let mut batch = Batch::new();
        requests.into_iter().for_each(|r| batch.push(&r));
        batch
    }

    /// Appends a request.
    pub fn push(&mut self, request: &Request) {
        let start = self.words.len();
        self.starts.push(start);
        self.words.resize(start + LEN_MAX / 8, 0);
        let buffer = self.words[start..].as_mut_bytes();
        let Request { nr, args, flags, user_data, attrs } = request;
        let mut encoder =
            Encoder::new(buffer, *nr, args, *flags, *user_data).expect("at most six arguments");
        for (id, flags, payload) in attrs {
            encoder.attr(*id, *flags, payload).expect("an iocb of at most 1024 bytes");
        }
        let len = encoder.len();
        self.words.truncate(start + len / 8);
    }

    /// The bytes to submit.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.words.as_mut_bytes()
    }

    /// The bytes of iocb `index` and all after it.
    pub fn bytes_from(&mut self, index: usize) -> &mut [u8] {
        let start = self.starts[index];
        self.words[start..].as_mut_bytes()
    }

    /// Bytes of the stream before iocb `index`, or all of it.
    #[must_use]
    pub fn offset(&self, index: usize) -> usize {
        self.starts.get(index).map_or(self.words.len(), |start| *start) * 8
    }

    /// The id field of iocb `index`.
    #[must_use]
    pub fn id(&self, index: usize) -> u64 {
        self.words[self.starts[index] + ID_OFFSET / 8]
    }

    /// Number of iocbs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}
