//! What the C code does with memory that changes as soon as it was looked at.

use aio2_ccore::core::{Load, Reaped, Ring, with_peer};
use std::cell::RefCell;
use std::rc::Rc;

const RING_BYTES: u32 = 64;
const EVENT: [u64; 3] = [24, 0, 0];

/// A ring of which two events, or 48 bytes, have been published.
fn ring() -> Ring {
    let mut ring = Ring::new(RING_BYTES, 0);
    assert!(ring.push(&EVENT) && ring.push(&EVENT));
    ring
}

/// Runs `body` beside a peer that stores `stored` where something was loaded;
/// what was loaded.
fn beside<R>(
    stored: impl Fn(Load) -> Option<u64> + 'static,
    body: impl FnOnce() -> R,
) -> (R, Vec<Load>) {
    let loads = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&loads);
    let peer = move |load| {
        seen.borrow_mut().push(load);
        stored(load)
    };
    let result = with_peer(peer, body);
    (result, loads.take())
}

/// SPEC: R-RING-5, R-RING-8
#[test]
fn push_decides_by_one_load_of_head() {
    const EMPTY: u64 = 48;
    const FULL: u64 = 0;
    const BAD: u64 = 56;
    for (head, then, pushed, bad_heads) in [
        (EMPTY, FULL, true, 0),
        (EMPTY, BAD, true, 0),
        (FULL, EMPTY, false, 0),
        (FULL, BAD, false, 0),
        (BAD, EMPTY, false, 1),
        (BAD, FULL, false, 1),
    ] {
        let mut ring = ring();
        ring.set_head(head);
        let (found, loads) = beside(move |_| Some(then), || ring.push(&EVENT));
        assert_eq!((found, ring.producer().bad_heads), (pushed, bad_heads), "{head}, then {then}");
        assert_eq!(ring.consumer().head, then, "it was head that was loaded");
        assert_eq!(loads.iter().map(|load| load.acquires).collect::<Vec<_>>(), [true]);
    }
}

/// SPEC: R-RING-14
#[test]
fn what_is_validated_is_what_is_used() {
    for then in [0, 4, 8, 32, 1024, 4096, u32::MAX] {
        let mut ring = ring();
        // Lengths and tail, which have 4 bytes; who moves head wins the race.
        let stored = move |load: Load| (load.bytes == 4).then_some(then.into());
        let (reaped, loads) = beside(stored, || ring.reap(RING_BYTES, 9));
        let Reaped::Events(words, 2) = reaped else { panic!("{then}: {reaped:?}") };
        assert_eq!(words.len(), 6);
        let mut places: Vec<usize> = loads.iter().map(|load| load.address).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|two| two[0] != two[1]), "one was loaded twice: {loads:?}");
        assert_eq!(places.len(), 4, "head, tail and two lengths");
    }
}
