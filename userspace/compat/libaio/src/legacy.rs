//! Structures and constants of Linux AIO: `linux/aio_abi.h`, and the ring that
//! the kernel maps.

/// `aio_lio_opcode`.
pub const PREAD: u16 = 0;
pub const PWRITE: u16 = 1;
pub const FSYNC: u16 = 2;
pub const FDSYNC: u16 = 3;
pub const POLL: u16 = 5;
pub const PREADV: u16 = 7;
pub const PWRITEV: u16 = 8;

/// `aio_flags`.
pub const FLAG_RESFD: u32 = 1;
pub const FLAG_IOPRIO: u32 = 2;

/// `struct iocb`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Iocb {
    pub data: u64,
    pub key: u32,
    pub rw_flags: u32,
    pub opcode: u16,
    pub reqprio: i16,
    pub fd: i32,
    pub buf: u64,
    pub nbytes: u64,
    pub offset: i64,
    pub reserved2: u64,
    pub flags: u32,
    pub resfd: u32,
}

/// `struct io_event`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct IoEvent {
    pub data: u64,
    pub obj: u64,
    pub res: i64,
    pub res2: i64,
}

/// `struct aio_ring`: what a context points to; the events follow.
#[derive(Debug)]
#[repr(C)]
pub struct RingHeader {
    pub id: u32,
    /// Number of events that there is room for.
    pub nr: u32,
    /// Next event to reap: its index.
    pub head: u32,
    /// Index behind the newest event.
    pub tail: u32,
    pub magic: u32,
    pub compat_features: u32,
    pub incompat_features: u32,
    pub header_length: u32,
}

pub const RING_MAGIC: u32 = 0xa10a_10a1;
pub const RING_COMPAT_FEATURES: u32 = 1;

const _: () = {
    assert!(size_of::<Iocb>() == 64);
    assert!(std::mem::offset_of!(Iocb, buf) == 24);
    assert!(std::mem::offset_of!(Iocb, resfd) == 60);
    assert!(size_of::<IoEvent>() == 32);
    assert!(size_of::<RingHeader>() == 32);
    // `key` and `rw_flags` change places on others.
    assert!(cfg!(target_endian = "little") && cfg!(target_pointer_width = "64"));
};
