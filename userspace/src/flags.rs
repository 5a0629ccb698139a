//! Flags and choices of operations, by their types.
//!
//! Most are those of rustix, which many programs use already, and which are the kernel's
//! flags under their names: `O_DIRECT` is [`OFlags::DIRECT`]. One that rustix does not
//! name yet is had by its bits, `OFlags::from_bits_retain`.

pub use crate::submit::{EpollChange, SyncRange};
pub use rustix::event::PollFlags;
pub use rustix::event::epoll::EventFlags as EpollFlags;
pub use rustix::fs::{
    Access, Advice, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
    ResolveFlags, SeekFrom, StatxFlags, XattrFlags,
};
pub use rustix::io::ReadWriteFlags;
pub use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType};
pub use rustix::pipe::SpliceFlags;
pub use rustix::rand::GetRandomFlags;
pub use rustix::time::ClockId;
