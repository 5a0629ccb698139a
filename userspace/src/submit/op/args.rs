//! The arguments of an operation that has no shape of its own: numbers, and
//! addresses of what the operation owns.

use super::address::SocketAddress;
use super::register::{address, raw_fd, signed};
use super::way::{Way, note_filled};
use crate::submit::{Buffer, Dir, PathArg, SharedFd};
use aio2_abi::op::MAX_ARGS;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Words that hold any socket address.
const ADDRESS_WORDS: usize = size_of::<libc::sockaddr_storage>() / 8;

/// One argument.
pub(super) enum Arg<B> {
    Number(u64),
    Fd(SharedFd),
    Dir(Dir),
    Path(PathArg),
    Address(Box<SocketAddress>),
    /// A structure that the call reads, writes, or both.
    Words(Box<[u64]>),
    /// The address of a word that others use, too.
    Shared(Arc<AtomicU32>),
    /// A buffer that is filled, and as the next argument its length.
    Buffer(B),
    /// A buffer that is written out, and as the next argument its length.
    Content(B),
    /// The length of the buffer before.
    Length,
    /// Vectors of several buffers.
    Buffers(Vectors<B>),
    Message(Box<Message<B>>),
}

/// Several buffers, and their `iovec`s.
pub(super) struct Vectors<B> {
    pub(super) buffers: Vec<B>,
    /// Whether they are filled, or written out.
    way: Way,
    vectors: Vec<[usize; 2]>,
}

/// A message: where it goes to or comes from, its bytes, and descriptors.
pub(super) struct Message<B> {
    header: Header,
    address: [u64; ADDRESS_WORDS],
    pub(super) bytes: Vectors<B>,
    /// Control messages, as they are sent or have been received.
    control: Vec<u64>,
    /// What is sent stays open until then.
    sent: Vec<SharedFd>,
}

/// A `msghdr`, whose pointers are numbers.
#[derive(Default)]
#[repr(C)]
struct Header {
    name: usize,
    name_len: u32,
    vectors: usize,
    nr_vectors: usize,
    control: usize,
    control_len: usize,
    flags: i32,
}

const _: () = assert!(size_of::<Header>() == size_of::<libc::msghdr>());
const _: () = assert!(size_of::<[usize; 2]>() == size_of::<libc::iovec>());
const CMSG_HEAD: usize = size_of::<libc::cmsghdr>();

impl<B> Vectors<B> {
    pub(super) fn new(buffers: Vec<B>, way: Way) -> Self {
        Vectors { buffers, way, vectors: Vec::new() }
    }
}

impl<B: Buffer> Vectors<B> {
    /// Whether one is to be filled that is shared.
    fn is_shared(&mut self) -> bool {
        self.way == Way::In && self.buffers.iter_mut().any(|buffer| buffer.room().is_none())
    }

    /// They were filled with so many bytes, one after the other.
    fn filled(&mut self, mut bytes: usize) {
        if self.way == Way::Out {
            return;
        }
        for buffer in &mut self.buffers {
            // SAFETY: the operation has filled so many bytes of them, in their order.
            bytes -= unsafe { note_filled(buffer, bytes) };
        }
    }

    /// Where the vectors lie that name the buffers.
    fn place(&mut self) -> usize {
        self.vectors.clear();
        for buffer in &mut self.buffers {
            let (start, len) = self.way.place(buffer);
            self.vectors.push([start.expose_provenance(), len]);
        }
        self.vectors.as_ptr().expose_provenance()
    }
}

impl<B> Message<B> {
    /// A message to be sent.
    pub(super) fn to(buffers: Vec<B>, to: Option<SocketAddress>, sent: Vec<SharedFd>) -> Self {
        let mut message = Message::new(buffers, 0, Way::Out);
        message.header.name_len = to.as_ref().map_or(0, |to| to.len() as u32);
        if let Some(to) = to {
            to.write_to(&mut message.address);
        }
        if !sent.is_empty() {
            let len = CMSG_HEAD + 4 * sent.len();
            let mut bytes = Vec::new();
            bytes.extend(len.to_ne_bytes());
            bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
            bytes.extend(libc::SCM_RIGHTS.to_ne_bytes());
            for fd in &sent {
                bytes.extend((raw_fd(fd) as i32).to_ne_bytes());
            }
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            message.control = words(&bytes);
            message.header.control_len = len;
        } else {
            message.header.control_len = 0;
        }
        message.sent = sent;
        message
    }

    /// Room for a message, with at most so many descriptors.
    pub(super) fn from(buffers: Vec<B>, descriptors: usize) -> Self {
        Message::new(buffers, descriptors, Way::In)
    }

    fn new(buffers: Vec<B>, descriptors: usize, way: Way) -> Self {
        let control = if descriptors == 0 { 0 } else { CMSG_HEAD + 4 * descriptors };
        let control = vec![0; control.div_ceil(8)];
        let header = Header {
            name_len: (8 * ADDRESS_WORDS) as u32,
            control_len: 8 * control.len(),
            ..Header::default()
        };
        let (address, bytes) = ([0; ADDRESS_WORDS], Vectors::new(buffers, way));
        Message { header, address, bytes, control, sent: Vec::new() }
    }

    /// Descriptors that have come with it: they are this process's now.
    fn take_received(&mut self) -> Vec<OwnedFd> {
        let bytes: Vec<u8> = self.control.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut rest = bytes.get(..self.header.control_len).unwrap_or(&bytes);
        let mut received = Vec::new();
        let int = |bytes: &[u8], at: usize| {
            bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| i32::from_ne_bytes(*b))
        };
        while let Some(len) = rest.first_chunk().map(|len| usize::from_ne_bytes(*len))
            && let Some(body) = rest.get(CMSG_HEAD..len)
        {
            let kind = (int(rest, CMSG_HEAD - 8), int(rest, CMSG_HEAD - 4));
            if kind == (Some(libc::SOL_SOCKET), Some(libc::SCM_RIGHTS)) {
                received.extend(body.chunks_exact(4).filter_map(|fd| int(fd, 0)).map(|fd| {
                    // SAFETY: the call has just made it for this process, and the
                    // control messages are read once.
                    unsafe { OwnedFd::from_raw_fd(fd) }
                }));
            }
            rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        }
        self.header.control_len = 0;
        received
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk());
    words.map(|word| u64::from_ne_bytes(*word)).collect()
}

impl<B: Buffer> Message<B> {
    fn place(&mut self) -> u64 {
        self.header.vectors = self.bytes.place();
        self.header.nr_vectors = self.bytes.buffers.len();
        if self.header.name_len > 0 {
            self.header.name = self.address.as_mut_ptr().expose_provenance();
        }
        if !self.control.is_empty() {
            self.header.control = self.control.as_mut_ptr().expose_provenance();
        }
        address(&raw mut self.header)
    }
}

/// All of them, and what has come of them beside the result.
pub(super) struct Args<B> {
    pub(super) list: Vec<Arg<B>>,
    /// Descriptors that were received, and are closed unless taken.
    pub(super) received: Vec<OwnedFd>,
    /// Descriptors whose numbers stand in structures.
    pub(super) kept: Vec<SharedFd>,
}

impl<B> Args<B> {
    pub(super) fn new(list: impl Into<Vec<Arg<B>>>) -> Self {
        Args { list: list.into(), received: Vec::new(), kept: Vec::new() }
    }

    /// The `n`-th argument, which is a number.
    pub(super) fn number(&self, n: usize) -> u64 {
        match self.list.get(n) {
            Some(Arg::Number(number)) => *number,
            _ => 0,
        }
    }

    /// The `n`-th structure.
    pub(super) fn words(&self, n: usize) -> Option<&[u64]> {
        let words = self.list.iter().filter_map(|arg| match arg {
            Arg::Words(words) => Some(&**words),
            _ => None,
        });
        words.into_iter().nth(n)
    }

    /// The address that the call has written.
    pub(super) fn address(&self) -> Option<&[u64]> {
        let message = self.list.iter().find_map(|arg| match arg {
            Arg::Message(message) => Some(&message.address[..]),
            _ => None,
        });
        message.or_else(|| self.words(0).filter(|words| words.len() == ADDRESS_WORDS))
    }

    /// It has ended well: what it has received belongs to this process.
    pub(super) fn take_received(&mut self) {
        for arg in &mut self.list {
            if let Arg::Message(message) = arg
                && message.sent.is_empty()
            {
                self.received.extend(message.take_received());
            }
        }
    }

    /// Whether one of its paths is none.
    pub(super) fn is_nameless(&self) -> bool {
        self.list.iter().any(|arg| matches!(arg, Arg::Path(path) if path.is_none()))
    }

    /// Its one buffer.
    pub(super) fn buffer(&self) -> Option<&B> {
        self.list.iter().find_map(|arg| match arg {
            Arg::Buffer(buffer) | Arg::Content(buffer) => Some(buffer),
            _ => None,
        })
    }

    /// Its buffer, of an operation that has exactly one.
    pub(super) fn into_only_buffer(self) -> B {
        let buffer = self.into_buffers().pop();
        buffer.unwrap_or_else(|| unreachable!("an operation of one buffer, without it"))
    }

    /// Its buffers.
    pub(super) fn into_buffers(self) -> Vec<B> {
        let buffers = self.list.into_iter().map(|arg| match arg {
            Arg::Buffer(buffer) | Arg::Content(buffer) => vec![buffer],
            Arg::Buffers(vectors) => vectors.buffers,
            Arg::Message(message) => message.bytes.buffers,
            _ => Vec::new(),
        });
        buffers.flatten().collect()
    }
}

impl<B: Buffer> Args<B> {
    /// Whether a buffer is to be filled that is shared.
    pub(super) fn is_shared(&mut self) -> bool {
        self.list.iter_mut().any(|arg| match arg {
            Arg::Buffer(buffer) => buffer.room().is_none(),
            Arg::Buffers(vectors) => vectors.is_shared(),
            Arg::Message(message) => message.bytes.is_shared(),
            _ => false,
        })
    }

    /// It has moved so many bytes.
    pub(super) fn filled(&mut self, bytes: usize) {
        for arg in &mut self.list {
            match arg {
                Arg::Buffer(buffer) => {
                    // SAFETY: the operation has filled so many bytes of its room.
                    unsafe { note_filled(buffer, bytes) };
                }
                Arg::Buffers(vectors) => vectors.filled(bytes),
                Arg::Message(message) => message.bytes.filled(bytes),
                _ => {}
            }
        }
    }

    /// The arguments as numbers, and how many there are.
    pub(super) fn place(&mut self, args: &mut [u64; MAX_ARGS]) -> usize {
        let mut length = 0;
        for (number, arg) in args.iter_mut().zip(&mut self.list) {
            *number = match arg {
                Arg::Number(number) => *number,
                Arg::Fd(fd) => raw_fd(fd),
                Arg::Dir(dir) => signed(dir.raw()),
                Arg::Path(path) => address(path.as_ptr()),
                Arg::Address(to) => address(to.as_ptr()),
                Arg::Words(words) => address(words.as_mut_ptr()),
                Arg::Shared(word) => address(word.as_ptr()),
                Arg::Buffer(buffer) => {
                    let (start, len) = Way::In.place(buffer);
                    length = len as u64;
                    address(start)
                }
                Arg::Content(buffer) => {
                    let (start, len) = Way::Out.place(buffer);
                    length = len as u64;
                    address(start)
                }
                Arg::Length => length,
                Arg::Buffers(vectors) => vectors.place() as u64,
                Arg::Message(message) => message.place(),
            };
        }
        self.list.len()
    }
}

/// Words that have room for a `T`, all zero.
pub(super) fn room<T>() -> Box<[u64]> {
    vec![0; size_of::<T>().div_ceil(8)].into()
}

/// Room for an address.
pub(super) fn address_room() -> Box<[u64]> {
    vec![0; ADDRESS_WORDS].into()
}

/// A length that the call reads and writes.
pub(super) fn length_of(words: &[u64]) -> Box<[u64]> {
    let bytes = (8 * words.len()) as u32;
    let mut word = [0; 8];
    word[..4].copy_from_slice(&bytes.to_ne_bytes());
    Box::new([u64::from_ne_bytes(word)])
}

/// What stands in words, as a `T`.
///
/// # Safety
/// Each value of the bytes of a `T` must be one of a `T`.
pub(super) unsafe fn read<T: Copy>(words: &[u64]) -> Option<T> {
    if size_of_val(words) < size_of::<T>() {
        return None;
    }
    // SAFETY: there are so many bytes, aligned to 8, and the caller vouches for
    // their values.
    Some(unsafe { words.as_ptr().cast::<T>().read() })
}

/// A `T` as words.
///
/// # Safety
/// A `T` must have no padding, or be zeroed before it was written.
pub(super) unsafe fn written<T: Copy>(value: T) -> Box<[u64]> {
    let mut words = room::<T>();
    // SAFETY: there is room for it, aligned to 8.
    unsafe { words.as_mut_ptr().cast::<T>().write(value) };
    words
}
