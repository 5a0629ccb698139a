//! The model: what may come of each request of a round.

use super::reap::End;
use super::{FILE_BYTES, Round, Totals};
use aio2_abi::attr;
use aio2_abi::setup::Features;
use libc::{
    EAGAIN, EBADF, ECANCELED, EDEADLK, EINVAL, ENOENT, EOPNOTSUPP, ESTALE, ETIMEDOUT, POLLIN,
};
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;

/// Bits of what cancels of a request came to.
pub(super) const CANCELLED: u8 = 1;
pub(super) const INTERRUPTED: u8 = 2;
pub(super) const TOO_LATE: u8 = 4;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nop,
    /// Reads a byte from a pipe.
    ReadPipe(usize),
    WritePipe,
    ReadFile,
    BadDescriptor,
    Forbidden,
    WrongArguments,
    Required,
    Poll(usize),
    Multishot(usize),
    Sleep,
    /// Closes a group, if one is open.
    Close(Option<u32>),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Nothing,
    /// So many iocbs before it; not known of which call yet.
    Stream(u32),
    Request(u32),
    Group(u32),
    /// The group that was closed last of its key, of this one and those before
    /// it, of which a member had not ended.
    Closed(u32),
    /// What was never there.
    Never,
}

/// A request that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) target: Target,
    pub(super) group: Option<u32>,
    /// In ns.
    pub(super) deadline: Option<u64>,
    /// Bits of [`super::make::RETURNS`].
    pub(super) returns: u8,
}

impl Made {
    pub(super) fn new(kind: Kind) -> Self {
        Made { kind, target: Target::Nothing, group: None, deadline: None, returns: 0 }
    }

    pub(super) fn is_multishot(&self) -> bool {
        matches!(self.kind, Kind::Multishot(_))
    }

    /// The errno of one that never gets as far as to have a place in an order.
    fn refusal(&self) -> Option<i32> {
        match self.kind {
            Kind::Forbidden | Kind::Required => Some(EOPNOTSUPP),
            Kind::WrongArguments => Some(EINVAL),
            // SPEC: R-DEADLINE-1
            _ => (self.deadline == Some(0)).then_some(ETIMEDOUT),
        }
    }

    /// Its result, if it runs undisturbed.
    fn own_result(&self) -> i64 {
        match self.kind {
            Kind::ReadPipe(_) | Kind::WritePipe => 1,
            Kind::ReadFile => FILE_BYTES as i64,
            Kind::BadDescriptor => -i64::from(EBADF),
            Kind::Poll(_) | Kind::Multishot(_) => i64::from(POLLIN),
            _ => 0,
        }
    }

    /// Whether one of these cancels of many is one of it.
    fn is_one_of(&self, wide: u32) -> bool {
        let bit = match self.kind {
            Kind::ReadPipe(pipe) | Kind::Poll(pipe) | Kind::Multishot(pipe) => pipe,
            Kind::Nop => super::PIPES,
            Kind::Sleep => super::PIPES + 1,
            _ => return false,
        };
        wide >> bit & 1 == 1
    }
}

/// CRC-32C of what reads of the file read.
pub(super) fn checksum() -> u32 {
    static CHECKSUM: OnceLock<u32> = OnceLock::new();
    *CHECKSUM.get_or_init(|| {
        let bytes: Vec<u8> = (0..FILE_BYTES as u64).map(crate::model::file_byte).collect();
        crate::attributes::crc32c(&bytes)
    })
}

/// All that is known of a round.
struct Record {
    /// By index; none where there was no request.
    made: Vec<Option<Made>>,
    /// The terminal event of each.
    ends: Vec<Option<End>>,
    /// What cancels of each came to.
    hits: Vec<u8>,
    wide: u32,
    /// Everything was cancelled at the end.
    cancelled_all: bool,
    /// Events say when their operation never began.
    tells_begun: bool,
    /// Members of each group.
    groups: Vec<Vec<u32>>,
    /// The group of its key that was there before it.
    before: Vec<Option<u32>>,
}

impl Round<'_> {
    /// Holds what was reaped against what was submitted.
    pub(super) fn check(&self, made: &[Vec<Made>], ends: &[Vec<End>], all: bool) -> Totals {
        let record = Record::new(self, made, ends, all);
        let events = ends.iter().map(|ends| ends.len() as u64).sum();
        let mut totals = Totals { events, ..Totals::default() };
        for (index, made) in (0..).zip(&record.made) {
            let Some(made) = made else {
                assert!(record.ends[index as usize].is_none(), "{index} was never submitted");
                continue;
            };
            totals.requests += 1;
            record.check(index, made, &mut totals);
        }
        totals
    }
}

impl Record {
    fn new(round: &Round<'_>, made: &[Vec<Made>], ends: &[Vec<End>], cancelled_all: bool) -> Self {
        let all = round.ids.len();
        let before = round.groups.all();
        let mut record = Record {
            made: vec![None; all],
            ends: vec![None; all],
            hits: round.hits.iter().map(|hit| hit.load(SeqCst)).collect(),
            wide: round.wide.load(SeqCst),
            cancelled_all,
            tells_begun: round.context.backend().setup().features().contains(Features::NOT_STARTED),
            groups: vec![Vec::new(); before.len()],
            before,
        };
        for (thread, made) in (0..).zip(made) {
            for (index, made) in (round.first(thread)..).zip(made) {
                record.made[index as usize] = Some(*made);
                if let Some(group) = made.group {
                    record.groups[group as usize].push(index);
                }
            }
        }
        record.take_ends(ends);
        record
    }

    /// SPEC: R-EVENT-1, R-EVENT-2, R-ATTR-7, R-OVF-7
    fn take_ends(&mut self, ends: &[Vec<End>]) {
        let mut more = Vec::new();
        for end in ends.iter().flatten() {
            if end.more {
                more.push(end);
            } else {
                let before = self.ends[end.index as usize].replace(*end);
                assert!(before.is_none(), "two terminal events: {before:?} and {end:?}");
            }
        }
        for end in more {
            let made = self.made[end.index as usize].expect("it was submitted");
            assert!(made.is_multishot(), "{made:?} has no events with MORE");
            assert_eq!((end.res, end.len), (i64::from(POLLIN), 24));
            assert!(end.position < self.end(end.index).position, "{end:?} after the terminal one");
        }
    }

    fn end(&self, index: u32) -> &End {
        let end = &self.ends[index as usize];
        end.as_ref().unwrap_or_else(|| {
            panic!("{index} has no terminal event: {:?}", self.made[index as usize])
        })
    }

    fn res(&self, index: u32) -> i64 {
        self.end(index).res
    }

    /// SPEC: R-GROUP-3
    fn has_failed(&self, index: u32) -> bool {
        let res = self.res(index);
        let made = self.made[index as usize];
        res < 0 || (res > 0 && made.is_some_and(|made| matches!(made.kind, Kind::Close(_))))
    }

    fn is_before(&self, first: u32, second: u32) -> bool {
        self.end(first).position < self.end(second).position
    }

    /// Members of a group: all that could join it.
    fn members(&self, group: u32) -> impl Iterator<Item = u32> {
        let joined = |index: &u32| self.res(*index) != -i64::from(EAGAIN);
        self.groups[group as usize].iter().copied().filter(joined)
    }

    /// Whether somebody could not join the group, so that its key may have
    /// named another one.
    fn is_uncertain(&self, group: u32) -> bool {
        self.members(group).count() != self.groups[group as usize].len()
    }

    /// Whether `index`, as far as the events tell, began to wait when the group had
    /// no members left.
    fn may_be_gone(&self, group: u32, index: u32) -> bool {
        self.is_uncertain(group) || self.members(group).all(|m| self.is_before(m, index))
    }

    /// The groups that a target may have named for `index`.
    ///
    /// SPEC: section 9.3
    fn named(&self, target: Target, index: u32) -> Vec<u32> {
        let (newest, is_closed) = match target {
            Target::Group(group) => (group, false),
            Target::Closed(group) => (group, true),
            _ => return Vec::new(),
        };
        let mut named = vec![newest];
        let mut last = newest;
        while is_closed
            && self.may_be_gone(last, index)
            && let Some(before) = self.before[last as usize]
        {
            named.push(before);
            last = before;
        }
        named
    }

    fn check(&self, index: u32, made: &Made, totals: &mut Totals) {
        let end = self.end(index);
        let hits = self.hits[index as usize];
        self.check_returns(made, end);
        let is_legal = match made.refusal() {
            Some(errno) if end.res == -i64::from(errno) => true,
            // SPEC: R-GROUP-6
            Some(_) => end.res == -i64::from(EAGAIN) && made.group.is_some(),
            None => self.is_legal(index, made, end.res),
        };
        let say = || format!("{index}: {made:?}, cancelled as {hits:b}: {end:?}");
        assert!(is_legal, "{}", say());
        let is_cancelled = end.res == -i64::from(ECANCELED);
        // SPEC: R-CANCEL-2
        assert!(hits & CANCELLED == 0 || is_cancelled, "{}", say());
        // SPEC: section 9.1
        assert!(hits & INTERRUPTED == 0 || self.may_have_started(index, made), "{}", say());
        if self.tells_begun
            && let Some(never) = self.never_began(index, made, end.res)
        {
            assert_eq!(end.not_started, never, "{}", say());
        }
        for (bit, sum) in [CANCELLED, INTERRUPTED, TOO_LATE].into_iter().zip(&mut totals.cancels) {
            *sum += u64::from(hits & bit != 0);
        }
        let waits = !matches!(made.target, Target::Nothing | Target::Never);
        let is_own = end.res == made.own_result();
        totals.late += u64::from(end.res == -i64::from(ETIMEDOUT));
        totals.groups += u64::from(matches!(made.kind, Kind::Close(_)) && end.res >= 0);
        totals.ordered += u64::from(waits && is_own && made.refusal().is_none());
        totals.passed_on += u64::from(waits && is_cancelled && hits == 0);
    }

    /// SPEC: R-ATTR-1, R-ATTR-2
    fn check_returns(&self, made: &Made, end: &End) {
        assert_eq!(end.returns, made.returns, "the returns of {made:?}");
        for (n, id) in super::make::RETURNS.into_iter().enumerate() {
            let handled = end.handled >> n & 1 == 1;
            if made.returns >> n & 1 == 1 {
                match id {
                    attr::TAG => assert!(handled),
                    attr::CHECKSUM => assert_eq!(handled, end.res >= 0),
                    attr::TIMING => assert!(handled || end.res < 0),
                    _ => assert!(!handled, "an attribute that nobody knows"),
                }
            }
        }
    }

    /// Whether a request that is not refused may have this result.
    fn is_legal(&self, index: u32, made: &Made, res: i64) -> bool {
        if let Kind::Close(group) = made.kind
            && (res >= 0 || res == -i64::from(ENOENT))
        {
            return self.is_legal_close(index, group, res);
        }
        // What a bad descriptor gives is nothing else's errno.
        if res == made.own_result() {
            return self.may_have_run(index, made);
        }
        let is_in_order = made.target != Target::Nothing;
        match i32::try_from(-res) {
            Ok(ECANCELED) => self.may_be_cancelled(index, made),
            Ok(ETIMEDOUT) => made.deadline.is_some(),
            Ok(ENOENT) => self.may_be_unknown(index, made),
            Ok(ESTALE) => match made.target {
                Target::Request(target) => self.is_before(target, index),
                _ => false,
            },
            Ok(EDEADLK) => is_in_order && self.may_wait_for_itself(made),
            Ok(EAGAIN) => made.group.is_some(),
            _ => false,
        }
    }

    /// SPEC: R-GROUP-2, R-GROUP-3
    fn is_legal_close(&self, index: u32, group: Option<u32>, res: i64) -> bool {
        let Some(group) = group else { return res == -i64::from(ENOENT) };
        if res == -i64::from(ENOENT) {
            return self.members(group).count() == 0;
        }
        let failed = self.members(group).filter(|m| self.has_failed(*m)).count();
        self.members(group).all(|m| self.is_before(m, index)) && res == failed as i64
    }

    /// Whether all that it had to wait for has ended before it, and well.
    ///
    /// SPEC: R-AFTER-1, R-AFTER-2
    fn may_have_run(&self, index: u32, made: &Made) -> bool {
        let ended_well = |target| self.is_before(target, index) && !self.has_failed(target);
        match made.target {
            Target::Nothing => true,
            Target::Request(target) => ended_well(target),
            Target::Group(_) | Target::Closed(_) => {
                let ended = |group| self.is_uncertain(group) || self.members(group).all(ended_well);
                self.named(made.target, index).into_iter().any(ended)
            }
            Target::Stream(_) | Target::Never => false,
        }
    }

    /// Whether all that it had to wait for has ended before it.
    fn may_have_started(&self, index: u32, made: &Made) -> bool {
        match made.target {
            Target::Request(target) => self.is_before(target, index),
            Target::Group(_) | Target::Closed(_) => {
                let named = self.named(made.target, index);
                named.into_iter().any(|group| self.may_be_gone(group, index))
            }
            _ => true,
        }
    }

    /// Whether its operation never began, as far as that can be told.
    ///
    /// SPEC: R-EVENT-7
    fn never_began(&self, index: u32, made: &Made, res: i64) -> Option<bool> {
        if made.refusal().is_some() {
            return Some(true);
        }
        // The result of the close of a group that is not there looks like that
        // of a request that was refused.
        if res >= 0 || matches!(made.kind, Kind::BadDescriptor) && res == made.own_result() {
            return Some(false);
        }
        let may_be_interrupted = self.hits[index as usize] & (INTERRUPTED | TOO_LATE) != 0
            || made.is_one_of(self.wide)
            || self.cancelled_all
            || made.deadline.is_some();
        (!may_be_interrupted).then_some(true)
    }

    /// Whether somebody cancelled it, or what it waited for has failed.
    fn may_be_cancelled(&self, index: u32, made: &Made) -> bool {
        let failed = |target| self.is_before(target, index) && self.has_failed(target);
        let has_failed = match made.target {
            Target::Request(target) => failed(target),
            Target::Group(_) | Target::Closed(_) => {
                let failed = |group| self.is_uncertain(group) || self.members(group).any(failed);
                self.named(made.target, index).into_iter().any(failed)
            }
            _ => false,
        };
        let hits = self.hits[index as usize];
        has_failed
            || hits & (CANCELLED | INTERRUPTED) != 0
            || made.is_one_of(self.wide)
            || self.cancelled_all
    }

    /// SPEC: R-AFTER-3
    fn may_be_unknown(&self, index: u32, made: &Made) -> bool {
        match made.target {
            Target::Never => true,
            Target::Group(group) => self.may_be_gone(group, index),
            // None of them has a member that has not ended.
            Target::Closed(_) => {
                let named = self.named(made.target, index);
                named.last().is_some_and(|&oldest| {
                    self.before[oldest as usize].is_none() && self.may_be_gone(oldest, index)
                })
            }
            _ => false,
        }
    }

    /// Whether what it would wait for waits for its own group.
    ///
    /// SPEC: R-AFTER-4
    fn may_wait_for_itself(&self, made: &Made) -> bool {
        let Some(own) = made.group else { return false };
        let mut seen = HashSet::new();
        let mut targets = vec![made.target];
        while let Some(target) = targets.pop() {
            match target {
                Target::Group(group) if group == own || self.is_uncertain(group) => return true,
                Target::Group(group) if seen.insert(target) => {
                    targets.extend(self.members(group).map(Target::Request));
                }
                Target::Closed(group) if seen.insert(target) => {
                    targets.push(Target::Group(group));
                    targets.extend(self.before[group as usize].map(Target::Closed));
                }
                Target::Request(index) if seen.insert(target) => {
                    let Some(made) = self.made[index as usize] else { continue };
                    targets.push(made.target);
                    if let Kind::Close(Some(group)) = made.kind {
                        targets.push(Target::Group(group));
                    }
                }
                _ => {}
            }
        }
        false
    }
}
