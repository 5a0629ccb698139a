//! What statx(2) tells of a file, as questions that copying asks.

use rustix::fs::{Statx, StatxAttributes, Timespec, Timestamps};

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    mode: u32,
    links: u32,
    owner: (u32, u32),
    identity: Identity,
    device: u64,
    size: u64,
    blocks: u64,
    accessed: (i64, u32),
    modified: (i64, u32),
    append_only: bool,
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub device: (u32, u32),
    ino: u64,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with contents.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Special,
}

impl From<&Statx> for Stat {
    fn from(found: &Statx) -> Self {
        let time = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
        Stat {
            mode: found.stx_mode.into(),
            links: found.stx_nlink,
            owner: (found.stx_uid, found.stx_gid),
            identity: Identity {
                device: (found.stx_dev_major, found.stx_dev_minor),
                ino: found.stx_ino,
            },
            device: rustix::fs::makedev(found.stx_rdev_major, found.stx_rdev_minor),
            size: found.stx_size,
            blocks: found.stx_blocks,
            accessed: time(found.stx_atime),
            modified: time(found.stx_mtime),
            append_only: found.stx_attributes.contains(StatxAttributes::APPEND),
        }
    }
}

impl Stat {
    /// Which file it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What kind of file it is.
    pub fn kind(&self) -> Kind {
        match self.format() {
            libc::S_IFREG => Kind::Regular,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink,
            _ => Kind::Special,
        }
    }

    /// The format bits of the mode, as mknod(2) takes them.
    pub fn format(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// The permission bits of the mode, set-id and sticky bits included.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// User and group that own it.
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// Number of names that it has.
    pub fn links(&self) -> u32 {
        self.links
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The device that a device file stands for, as mknod(2) takes it.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Time of modification: seconds and nanoseconds.
    pub fn modified(&self) -> (i64, u32) {
        self.modified
    }

    /// Times of access and of modification.
    pub fn times(&self) -> Timestamps {
        let time = |(tv_sec, nsec): (i64, u32)| Timespec { tv_sec, tv_nsec: nsec.into() };
        Timestamps { last_access: time(self.accessed), last_modification: time(self.modified) }
    }

    /// Whether fewer bytes are allocated than the size says.
    pub fn is_sparse(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }

    /// Whether names can be added to the directory, but neither removed nor replaced.
    pub fn is_append_only(&self) -> bool {
        self.append_only
    }

    /// Whether neither size nor time of modification differ from `later`.
    pub fn unchanged(&self, later: &Stat) -> bool {
        (self.size, self.modified) == (later.size, later.modified)
    }
}
