//! The attributes that a request asks for.
//!
//! SPEC: section 8. What comes back is [`crate::reap`]'s business.

use super::IocbMut;
use aio2_abi::attr::{self, Flags};
use aio2_abi::iocb::NoRoom;
use zerocopy::IntoBytes;

/// What the page cache should do with the pages of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheHint {
    /// What it does anyway.
    #[default]
    Normal,
    /// Keep them: they will be used again.
    Keep,
    /// Drop them: they will not be used again.
    Drop,
    /// Read nothing ahead.
    NoReadahead,
}

impl CacheHint {
    const fn raw(self) -> u32 {
        match self {
            CacheHint::Normal => attr::CACHE_NORMAL,
            CacheHint::Keep => attr::CACHE_KEEP,
            CacheHint::Drop => attr::CACHE_DROP,
            CacheHint::NoReadahead => attr::CACHE_NO_READAHEAD,
        }
    }
}

/// The I/O priority of a request, as in ioprio_set(2). A level is from 0, the
/// most urgent, to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before all others; may need a capability.
    RealTime(u8),
    /// As usual.
    BestEffort(u8),
    /// Only when the device has nothing else to do.
    Idle,
}

impl Priority {
    const fn raw(self) -> u16 {
        const CLASS_SHIFT: u16 = 13;
        match self {
            Priority::RealTime(level) => 1 << CLASS_SHIFT | level as u16,
            Priority::BestEffort(level) => 2 << CLASS_SHIFT | level as u16,
            Priority::Idle => 3 << CLASS_SHIFT,
        }
    }
}

/// Attributes by value: bit n of the masks stands for attribute n. Those that
/// this crate has no method for stand ready-made in `raw`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    asked: u16,
    required: u16,
    last: u16,
    ioprio: u16,
    cache: CacheHint,
    tag: u64,
    deadline_ns: u64,
    raw: Vec<Raw>,
}

#[derive(Clone, Debug)]
struct Raw {
    id: u16,
    flags: Flags,
    payload: Vec<u8>,
}

impl Attributes {
    fn ask(&mut self, id: u16) {
        self.asked |= 1 << id;
        self.last = id;
    }

    pub(super) fn timing(&mut self) {
        self.ask(attr::TIMING);
    }

    pub(super) fn path(&mut self) {
        self.ask(attr::PATH);
    }

    pub(super) fn checksum(&mut self) {
        self.ask(attr::CHECKSUM);
    }

    pub(super) fn cache(&mut self, hint: CacheHint) {
        self.ask(attr::CACHE);
        self.cache = hint;
    }

    pub(super) fn tag(&mut self, tag: u64) {
        self.ask(attr::TAG);
        self.tag = tag;
    }

    pub(super) fn priority(&mut self, priority: Priority) {
        self.ask(attr::PRIORITY);
        self.ioprio = priority.raw();
    }

    pub(super) fn deadline(&mut self, timeout_ns: u64) {
        self.ask(attr::DEADLINE);
        self.deadline_ns = timeout_ns;
    }

    pub(super) fn raw(&mut self, id: u16, flags: Flags, payload: &[u8]) {
        self.raw.push(Raw { id, flags, payload: payload.into() });
        self.last = 0;
    }

    /// Marks the one that was added last.
    pub(super) fn require_last(&mut self) {
        match self.raw.last_mut() {
            Some(raw) if self.last == 0 => raw.flags |= Flags::REQUIRED,
            _ => self.required |= 1 << self.last & self.asked,
        }
    }

    /// Appends them to an iocb, by id, then the raw ones.
    #[inline]
    pub(crate) fn encode(&self, iocb: &mut IocbMut<'_>) -> Result<(), NoRoom> {
        let mut asked = self.asked;
        while asked != 0 {
            let id = asked.trailing_zeros() as u16;
            asked &= asked - 1;
            let mut flags = Flags::RETURN;
            flags.set(Flags::REQUIRED, self.required >> id & 1 == 1);
            match id {
                attr::PRIORITY => {
                    let payload = attr::Priority { ioprio: self.ioprio.into(), resv: 0 };
                    iocb.attr(id, flags, payload.as_bytes())?;
                }
                attr::DEADLINE => {
                    let payload = attr::Deadline { timeout_ns: self.deadline_ns };
                    iocb.attr(id, flags, payload.as_bytes())?;
                }
                attr::CACHE => {
                    let payload = attr::Cache { hint: self.cache.raw(), resv: 0 };
                    iocb.attr(id, flags, payload.as_bytes())?;
                }
                attr::TAG => iocb.attr(id, flags, self.tag.as_bytes())?,
                _ => iocb.attr(id, flags, &[])?,
            }
        }
        for raw in &self.raw {
            iocb.attr(raw.id, raw.flags, &raw.payload)?;
        }
        Ok(())
    }
}
