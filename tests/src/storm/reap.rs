//! Taking events, with pauses, so that the ring is full now and then.

use super::make::RETURNS;
use super::{FILE_BYTES, Round};
use crate::random::Random;
use aio2::backend::Wait;
use aio2::ring::Pending;
use aio2_abi::attr::{self, ChecksumReturn, TimingReturn};
use aio2_abi::event::{EventFlags, EventView};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes that are copied at once, at most.
const BUFFER_BYTES: usize = 4096;

/// One in so many times a reaper pauses, for less than so long.
const PAUSES: u64 = 16;
const PAUSE_US: u64 = 2000;

/// An event.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Where it stood.
    pub(super) position: u64,
    pub(super) len: u32,
    /// Of which request it is.
    pub(super) index: u32,
    pub(super) more: bool,
    /// Its operation never began, it says.
    pub(super) not_started: bool,
    pub(super) res: i64,
    /// Which returns it has, as bits of [`super::check::Made::returns`].
    pub(super) returns: u8,
    /// Those of them that were handled.
    pub(super) handled: u8,
}

impl Round<'_> {
    /// A reaper: takes from the ring until all is done.
    pub(super) fn reap(&self, number: u32) -> Vec<End> {
        let mut random = Random::new(self.seed ^ u64::from(number + 1) << 40);
        let consumer = self.context.backend().consumer();
        let mut buffer = [0; BUFFER_BYTES / 8];
        let mut ends: Vec<End> = Vec::with_capacity(16_384);
        loop {
            let wanted = 1 + random.below(64) as usize;
            let events = consumer.reap(&mut buffer, wanted).expect("the ring is sound");
            let mut position = events.position();
            let count = events.len();
            for words in events {
                let end = self.parse(words.as_bytes(), position);
                assert!(ends.last().is_none_or(|last| last.position < position), "the order");
                position += u64::from(end.len);
                ends.push(end);
            }
            self.count(&ends[ends.len() - count..]);
            if count > 0 {
                if random.below(PAUSES) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(PAUSE_US)));
                }
            } else if self.done.load(SeqCst) || self.failed.load(SeqCst) {
                return ends;
            } else if consumer.pending() == Pending::Overflow {
                assert_eq!(self.context.wait(&Wait::events(0)), Ok(()));
            } else {
                // Whether something came or the time is over.
                let _ = self.context.wait(&Wait::events(1).within(Duration::from_micros(500)));
            }
        }
    }

    /// The only reaper: has events copied, until all is done.
    pub(super) fn copy(&self) -> Vec<End> {
        let mut random = Random::new(self.seed ^ 1 << 40);
        let mut buffer = [0_u64; BUFFER_BYTES / 8];
        let mut ends: Vec<End> = Vec::with_capacity(65_536);
        let mut position = 0;
        while !self.done.load(SeqCst) && !self.failed.load(SeqCst) {
            let room = 512 + random.below(BUFFER_BYTES as u64 - 511) as usize;
            let wait = Wait::events(1 + random.below(8) as u32).within(Duration::from_micros(500));
            let into = &mut buffer.as_mut_bytes()[..room];
            // SAFETY: no iocbs.
            let got = unsafe { self.context.backend().wait(&wait, &mut [], Some(into)) };
            let mut left = match &got {
                Ok(got) => &buffer.as_bytes()[..got.bytes],
                Err(errno) => {
                    assert_eq!(errno.0, libc::ETIME);
                    &[]
                }
            };
            let before = ends.len();
            while !left.is_empty() {
                let end = self.parse(left, position);
                left = &left[end.len as usize..];
                position += u64::from(end.len);
                ends.push(end);
            }
            self.count(&ends[before..]);
            if random.below(PAUSES) == 0 {
                std::thread::sleep(Duration::from_micros(random.below(PAUSE_US)));
            }
        }
        ends
    }

    fn count(&self, ends: &[End]) {
        let ended = ends.iter().filter(|end| !end.more).count();
        self.ended.fetch_add(ended as u64, SeqCst);
    }

    /// The event at the start of `bytes`, which stood at `position`.
    fn parse(&self, bytes: &[u8], position: u64) -> End {
        let (event, _) = EventView::parse(bytes).expect("an event");
        let header = event.header;
        let index = header.user_data as u32;
        assert!((index as usize) < self.ids.len(), "user_data {:#x}", header.user_data);
        assert_eq!(header.user_data, self.user_data(index), "user_data");
        let flags = EventFlags::from_bits(header.flags).expect("known flags");
        assert_ne!(flags, EventFlags::MORE | EventFlags::NOT_STARTED);
        let (mut returns, mut handled) = (0, 0);
        for ret in event.returns() {
            let place = RETURNS.iter().position(|id| *id == ret.id).expect("asked for");
            let bit = 1 << place;
            assert!(returns < bit, "in the order of the request");
            returns |= bit;
            if ret.status == 0 {
                handled |= bit;
                check_payload(ret.id, ret.payload);
            }
        }
        End {
            position,
            len: header.len,
            index,
            more: flags.contains(EventFlags::MORE),
            not_started: flags.contains(EventFlags::NOT_STARTED),
            res: header.res,
            returns,
            handled,
        }
    }
}

/// What an attribute that was handled says.
fn check_payload(id: u16, payload: &[u8]) {
    match id {
        attr::CHECKSUM => {
            let ret = ChecksumReturn::read_from_bytes(payload).expect("its size");
            assert_eq!((ret.value, ret.bytes), (super::check::checksum(), FILE_BYTES as u64));
        }
        attr::TIMING => {
            let ret = TimingReturn::read_from_bytes(payload).expect("its size");
            assert!(ret.submitted <= ret.started && ret.started <= ret.completed, "{ret:?}");
        }
        attr::TAG => assert!(payload.is_empty()),
        _ => panic!("attribute {id} is not known"),
    }
}
