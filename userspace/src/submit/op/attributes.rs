//! The attributes that a request asks for.
//!
//! SPEC: section 8. What comes back is [`crate::reap`]'s business.

use crate::submit::{IocbMut, Key};
use aio2_abi::attr::{self, AttrFlags};
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

/// What an operation starts after; if that fails, it ends with ECANCELED.
///
/// By [`After::Key`], [`After::Previous`], and [`After::Group`] of a group that is
/// closed already, the order holds wherever a submission ends: at a limit, or when
/// the target is under way. What cannot go to the implementation together with its
/// target is held in the queue until the target's completion is taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// This request of the same queue, or the same driver.
    ///
    /// The target may have ended: then the operation starts at once, or ends with
    /// ECANCELED. That is known until 64 more requests have had its place in the
    /// queue; the operation ends with ESTALE then.
    ///
    /// Of what [`crate::Queue::push_list`] returns: all operations of the list, if
    /// none has failed.
    Key(Key),
    /// The n-th operation that was pushed before it, from 1, the last one, to 63;
    /// in a driver, by the same handle. It ends with ENOENT if there is none.
    Previous(u32),
    /// The request with this id.
    Request(u64),
    /// The group of this key, all of it, if no member fails. It ends with ENOENT if
    /// there is none: if the completion of the operation that closed it was taken.
    Group(u64),
}

impl From<Key> for After {
    fn from(key: Key) -> Self {
        After::Key(key)
    }
}

impl After {
    /// By its name; none if it has none outside of its queue.
    const fn raw(self) -> Option<attr::After> {
        let (target, kind) = match self {
            After::Request(id) => (id, attr::AFTER_REQUEST),
            After::Group(key) => (key, attr::AFTER_GROUP),
            After::Key(_) | After::Previous(_) => return None,
        };
        Some(attr::After { target, kind, resv: 0 })
    }
}

/// How AFTER is written into an iocb.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Follows {
    /// Not at all: what it was after has ended well.
    Nothing,
    /// After the n-th before it in the stream.
    Place(u64),
    /// As it was asked for, by name.
    AsAsked,
}

/// A signal that is queued to this process when an operation has completed,
/// with si_code SI_ASYNCIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub signo: u32,
    /// The thread that gets it, as in gettid(2); none: any.
    pub tid: Option<i32>,
    /// Its value.
    pub value: u64,
}

/// Attributes by value: bit n of the masks stands for attribute n. It is moved
/// with its operation, and small therefore.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    asked: u16,
    required: u16,
    ioprio: u16,
    last: u8,
    cache: CacheHint,
    rare: Option<Box<Rare>>,
}

/// What few requests have. Attributes that this crate has no method for stand
/// ready-made in `raw`.
#[derive(Clone, Debug, Default)]
struct Rare {
    tag: u64,
    deadline_ns: u64,
    group: u64,
    after: Option<After>,
    signal: Option<Signal>,
    raw: Vec<Raw>,
}

#[derive(Clone, Debug)]
struct Raw {
    id: u16,
    flags: AttrFlags,
    payload: Vec<u8>,
}

impl Attributes {
    fn ask(&mut self, id: u16) {
        self.asked |= 1 << id;
        self.last = id as u8;
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
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
        self.rare().tag = tag;
    }

    pub(super) fn priority(&mut self, priority: Priority) {
        self.ask(attr::PRIORITY);
        self.ioprio = priority.raw();
    }

    pub(super) fn deadline(&mut self, timeout_ns: u64) {
        self.ask(attr::DEADLINE);
        self.rare().deadline_ns = timeout_ns;
    }

    pub(super) fn group(&mut self, key: u64) {
        self.ask(attr::GROUP);
        self.rare().group = key;
    }

    pub(super) fn after(&mut self, after: After) {
        self.ask(attr::AFTER);
        self.rare().after = Some(after);
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.ask(attr::SIGNAL);
        self.rare().signal = Some(signal);
    }

    pub(super) fn raw(&mut self, id: u16, flags: AttrFlags, payload: &[u8]) {
        self.rare().raw.push(Raw { id, flags, payload: payload.into() });
        self.last = 0;
    }

    /// Whether it has a place among others: it is after one, or a member of a group.
    #[inline]
    pub(super) fn has_order(&self) -> bool {
        self.asked & (1 << attr::AFTER | 1 << attr::GROUP) != 0
    }

    /// What it is after.
    pub(super) fn asked_after(&self) -> Option<After> {
        self.rare.as_ref()?.after
    }

    /// The key of the group that it is a member of.
    pub(super) fn member_of(&self) -> Option<u64> {
        let rare = self.rare.as_ref()?;
        (self.asked >> attr::GROUP & 1 == 1).then_some(rare.group)
    }

    /// Marks the one that was added last.
    pub(super) fn require_last(&mut self) {
        match self.rare.as_mut().and_then(|rare| rare.raw.last_mut()) {
            Some(raw) if self.last == 0 => raw.flags |= AttrFlags::REQUIRED,
            _ => self.required |= 1 << self.last & self.asked,
        }
    }

    /// Appends them to an iocb, by id, then the raw ones.
    #[inline]
    pub(super) fn encode(&self, iocb: &mut IocbMut<'_>, follows: Follows) -> Result<(), NoRoom> {
        let mut asked = self.asked;
        while asked != 0 {
            let id = asked.trailing_zeros() as u16;
            asked &= asked - 1;
            let mut flags = AttrFlags::RETURN;
            flags.set(AttrFlags::REQUIRED, self.required >> id & 1 == 1);
            match (id, &self.rare) {
                (attr::PRIORITY, _) => {
                    let payload = attr::Priority { ioprio: self.ioprio.into(), resv: 0 };
                    iocb.attr(id, flags, payload.as_bytes())?;
                }
                (attr::CACHE, _) => {
                    let payload = attr::Cache { hint: self.cache.raw(), resv: 0 };
                    iocb.attr(id, flags, payload.as_bytes())?;
                }
                (attr::AFTER, Some(rare)) => rare.encode_after(flags, iocb, follows)?,
                (_, Some(rare)) => rare.encode(id, flags, iocb)?,
                (_, None) => iocb.attr(id, flags, &[])?,
            }
        }
        let raws = self.rare.iter().flat_map(|rare| &rare.raw);
        raws.into_iter().try_for_each(|raw| iocb.attr(raw.id, raw.flags, &raw.payload))
    }
}

impl Rare {
    fn encode_after(
        &self,
        flags: AttrFlags,
        iocb: &mut IocbMut<'_>,
        follows: Follows,
    ) -> Result<(), NoRoom> {
        let payload = match follows {
            Follows::Nothing => return Ok(()),
            Follows::Place(n) => Some(attr::After { target: n, kind: attr::AFTER_STREAM, resv: 0 }),
            Follows::AsAsked => self.after.and_then(After::raw),
        };
        let payload = payload.unwrap_or_default();
        iocb.attr(attr::AFTER, flags, payload.as_bytes())
    }

    /// Appends attribute `id`, whose payload stands here if it has one.
    fn encode(&self, id: u16, flags: AttrFlags, iocb: &mut IocbMut<'_>) -> Result<(), NoRoom> {
        match id {
            attr::DEADLINE => {
                let payload = attr::Deadline { timeout_ns: self.deadline_ns };
                iocb.attr(id, flags, payload.as_bytes())
            }
            attr::GROUP => iocb.attr(id, flags, self.group.as_bytes()),
            attr::SIGNAL => {
                let payload = self.signal.map_or_else(attr::Signal::default, |s| attr::Signal {
                    signo: s.signo,
                    tid: s.tid.unwrap_or(0),
                    value: s.value,
                });
                iocb.attr(id, flags, payload.as_bytes())
            }
            attr::TAG => iocb.attr(id, flags, self.tag.as_bytes()),
            _ => iocb.attr(id, flags, &[]),
        }
    }
}
