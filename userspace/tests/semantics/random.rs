//! Random requests, cancels and deadlines over a small ring, against what the
//! SPEC says of their order: groups and AFTER are checked on the events of the
//! whole run, in the order of the ring. The seed is printed; AIO2_SEED repeats
//! the choices, though not the moments.
//!
//! SPEC: sections 7 (R-EVENT-1), 9.

use crate::context::{Fixture, Iocb};
use crate::request::{Slow, failing};
use aio2::backend::{Backend, Wait};
use aio2_abi::attr::{AFTER_GROUP, AFTER_STREAM};
use aio2_abi::iocb::Flags;
use aio2_abi::wait::{Cancel, CancelFlags};
use std::collections::HashMap;

const KEYS: u64 = 3;
const PIPES: u64 = 6;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a request was made to wait for.
enum Target {
    Request(usize),
    Group(usize),
}

/// What is known of the request with this index as user_data.
#[derive(Default)]
struct Made {
    target: Option<Target>,
    /// The group that it closes; some number of none if there is none.
    closes: Option<Option<usize>>,
}

/// Everything that was submitted.
#[derive(Default)]
struct Model {
    made: Vec<Made>,
    groups: Vec<Vec<usize>>,
    open: HashMap<u64, usize>,
}

impl Model {
    /// One more request, the `n`-th of its stream.
    fn request(&mut self, r: &mut Random, n: usize, pipes: &mut [Slow]) -> Iocb {
        let index = self.made.len();
        let mut made = Made::default();
        let pipe = &mut pipes[r.below(PIPES) as usize];
        let key = r.below(KEYS);
        let mut iocb = match r.below(8) {
            0 | 1 => Iocb::nop(0),
            2 | 3 => Iocb::nop(0).flags(Flags::ASYNC),
            4 => pipe.read(),
            5 => failing(),
            6 => Iocb::poll_op(&pipe.reader, libc::POLLIN),
            _ => {
                made.closes = Some(self.open.remove(&key));
                self.made.push(made);
                return Iocb::group_op(key).user_data(index as u64);
            }
        };
        if r.one_in(3) {
            let groups = &mut self.groups;
            let group = *self.open.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            self.groups[group].push(index);
            iocb = iocb.in_group(key);
        }
        if r.one_in(4) && n > 0 {
            let back = 1 + r.below(n as u64);
            made.target = Some(Target::Request(index - back as usize));
            iocb = iocb.after(AFTER_STREAM, back);
        } else if r.one_in(4)
            && let Some(&group) = self.open.get(&key)
        {
            made.target = Some(Target::Group(group));
            iocb = iocb.after(AFTER_GROUP, key);
        }
        if r.one_in(5) {
            iocb = iocb.deadline(r.below(3_000_000));
        }
        self.made.push(made);
        iocb.user_data(index as u64)
    }

    /// Holds the events, in their order, against what was submitted.
    fn check(&self, events: &[(u64, i64)]) {
        let mut ends: Vec<Option<(usize, i64)>> = vec![None; self.made.len()];
        for (place, &(user_data, res)) in events.iter().enumerate() {
            let before = ends[user_data as usize].replace((place, res));
            assert!(before.is_none(), "two terminal events of {user_data}");
        }
        let end = |index: usize| ends[index].unwrap_or_else(|| panic!("{index} has no event"));
        for (index, made) in self.made.iter().enumerate() {
            let (place, res) = end(index);
            let has_order = |target: usize| {
                let (before, failed) = (end(target).0 < place, end(target).1 < 0);
                assert!(res < 0 || before && !failed, "{index} did not wait for {target}");
            };
            match made.target {
                Some(Target::Request(target)) => has_order(target),
                // Members that came later count too: it was open.
                Some(Target::Group(group)) => {
                    self.groups[group].iter().copied().for_each(has_order)
                }
                None => {}
            }
            match made.closes {
                Some(None) => assert_eq!(res, -i64::from(libc::ENOENT)),
                Some(Some(group)) if res >= 0 => {
                    let members = &self.groups[group];
                    assert!(members.iter().all(|&m| end(m).0 < place), "{index} ended early");
                    assert_eq!(res as usize, members.iter().filter(|&&m| end(m).1 < 0).count());
                }
                Some(Some(_)) => assert_eq!(res, -i64::from(libc::ECANCELED)),
                None => {}
            }
        }
    }
}

fn run(seed: u64, steps: usize) -> usize {
    let r = &mut Random(seed | 1);
    let f = Fixture::with(|s| (s.ring_bytes, s.max_requests, s.concurrency) = (4096, 300, 3));
    let mut pipes: Vec<Slow> = (0..PIPES).map(|_| Slow::new()).collect();
    let (mut model, mut events) = (Model::default(), Vec::new());
    let flush = |events: &mut Vec<_>| {
        f.wait(&Wait::events(0)).unwrap();
        events.extend(f.reap().iter().map(|a| (a.user_data, a.res)));
    };
    for _ in 0..steps {
        match r.below(8) {
            0 => pipes[r.below(PIPES) as usize].finish(),
            1 => flush(&mut events),
            2 if !model.made.is_empty() => {
                let flags = CancelFlags::USER_DATA.bits();
                let user_data =
                    model.made.len() as u64 - 1 - r.below(30.min(model.made.len() as u64));
                let mut cancel = Cancel { flags, user_data, ..Cancel::default() };
                let matched = f.engine.cancel(&mut cancel).unwrap_or(0);
                assert_eq!(matched, cancel.cancelled + cancel.interrupted + cancel.too_late);
            }
            _ => {
                let len = 1 + r.below(12) as usize;
                // Room for all of them, so that the model knows what is accepted.
                while model.made.len() + len - events.len() > 300 {
                    let flags = (CancelFlags::ALL | CancelFlags::WAIT).bits();
                    let _ = f.engine.cancel(&mut Cancel { flags, ..Cancel::default() });
                    flush(&mut events);
                }
                let batch: Vec<_> = (0..len).map(|n| model.request(r, n, &mut pipes)).collect();
                f.submit(batch);
            }
        }
    }
    let flags = (CancelFlags::ALL | CancelFlags::WAIT).bits();
    let _ = f.engine.cancel(&mut Cancel { flags, ..Cancel::default() });
    while events.len() < model.made.len() {
        let before = events.len();
        flush(&mut events);
        assert!(events.len() > before, "events are missing");
    }
    model.check(&events);
    events.len()
}

fn runs(count: u64, steps: usize) {
    let seed = std::env::var("AIO2_SEED")
        .map_or_else(|_| std::process::id().into(), |seed| seed.parse::<u64>().expect("a number"));
    println!("AIO2_SEED={seed}");
    let events: usize =
        (0..count).map(|n| run((seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15), steps)).sum();
    println!("{events} events");
}

/// SPEC: R-EVENT-1, R-CANCEL-3, R-CANCEL-4, R-GROUP-3, R-AFTER-1, R-AFTER-2, R-OVF-7
#[test]
fn random_requests_end_once_and_in_the_order_that_was_asked_for() {
    runs(30, 300);
}

#[test]
#[ignore = "takes minutes"]
fn many_random_requests_end_once_and_in_the_order_that_was_asked_for() {
    runs(10_000, 2000);
}
