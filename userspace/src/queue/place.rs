//! The place of a request among the others of its queue: the state of its order.
//!
//! Not here: what is done with it ([`super::order`]).

use crate::error::Errno;
use std::collections::{HashMap, VecDeque};

/// How far back in the stream a target may stand to be named by its place, and how
/// many requests [`After::Previous`] counts back.
pub(super) const REACH: usize = 64;

/// No key that is given out: generations are below 2^31.
pub(super) const NONE: u64 = u64::MAX;
/// From here on: the error that it ends with, whatever its event says.
const DOOM: u64 = 1 << 63;
/// What it was after has ended.
pub(super) const ENDED: u64 = u64::MAX - 1;
/// It was refused: it is neither queued nor held.
const REFUSED: u64 = u64::MAX - 2;

/// Stands for the operation of one that must fail: a member of a group, which has
/// to count it. SPEC: R-OP-1.
pub(super) const NO_OPERATION: u32 = u32::MAX;

/// A request's place among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Whose completion it starts after, or [`NONE`], or [`ENDED`], or its error.
    pub(super) after: u64,
    /// Its number among all that were queued; 0 if it is not queued.
    pub(super) number: u64,
}

impl Place {
    /// Of one that is not queued, and waits for nothing.
    pub(super) const NEW: Place = Place { after: NONE, number: 0 };

    /// Of one that has ended, and whose completion waits to be taken.
    pub(super) const REFUSED: Place = Place { after: REFUSED, number: 0 };

    /// Of one that is queued as number `number`.
    #[inline]
    pub(super) const fn queued(number: u64) -> Self {
        Place { number, ..Place::NEW }
    }

    /// Whose completion it starts after.
    pub(super) fn waits_for(&self) -> Option<u64> {
        (self.after < DOOM).then_some(self.after)
    }

    /// True if it was never queued, or is not any more: the implementation has not
    /// seen it.
    pub(super) const fn is_here(&self) -> bool {
        self.number == 0
    }

    /// True if it is still to be queued.
    pub(super) const fn is_held(&self) -> bool {
        self.is_here() && self.after != REFUSED
    }

    /// Decides that it ends with `errno`.
    pub(super) const fn fail(&mut self, errno: Errno) {
        self.after = DOOM | errno.0 as u64;
    }

    /// What it ends with whatever its event says.
    #[inline]
    pub(super) fn doom(&self) -> Option<Errno> {
        (DOOM..REFUSED).contains(&self.after).then_some(Errno((self.after & !DOOM) as i32))
    }
}

/// Who is held, and for whom.
pub(super) struct Order {
    /// A completion can set nobody free, nor end a group, nor is it to fail.
    pub(super) is_idle: bool,
    /// Number of the next request that is queued; that of the first is 1.
    pub(super) next: u64,
    /// Number of the last that names another one by its place in the stream.
    pub(super) last_by_place: u64,
    /// How many are under way only to fail.
    pub(super) doomed: usize,
    /// How many are held.
    pub(super) held: usize,
    /// Who waits for the completion of whom.
    pub(super) waiting: HashMap<u64, Vec<u64>>,
    /// Those that name a group, from the first that is held on.
    pub(super) line: VecDeque<u64>,
    /// Who has closed the group of a key last, until its completion is seen.
    pub(super) closers: HashMap<u64, u64>,
    /// The last keys that were pushed, the newest at `pushed - 1`.
    recent: [u64; REACH],
    pushed: usize,
}

impl Default for Order {
    fn default() -> Self {
        Order {
            is_idle: true,
            next: 1,
            last_by_place: 0,
            doomed: 0,
            held: 0,
            waiting: HashMap::new(),
            line: VecDeque::new(),
            closers: HashMap::new(),
            recent: [NONE; REACH],
            pushed: 0,
        }
    }
}

impl Order {
    /// Notes a push.
    #[inline]
    pub(super) fn pushed(&mut self, key: u64) {
        self.recent[self.pushed % REACH] = key;
        self.pushed += 1;
    }

    /// The `n`-th push before the last one.
    pub(super) fn previous(&self, n: u32) -> Option<u64> {
        let n = usize::try_from(n).ok().filter(|n| (1..REACH).contains(n) && *n < self.pushed)?;
        Some(self.recent[(self.pushed - 1 - n) % REACH])
    }

    /// Looks whether anybody has an order still.
    pub(super) fn look_whether_idle(&mut self) {
        self.is_idle = self.doomed == 0
            && self.waiting.is_empty()
            && self.closers.is_empty()
            && self.line.is_empty();
    }
}
