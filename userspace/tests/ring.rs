//! The ring over plain memory: rules of its roles, one thread.
#![cfg(not(aio2_loom))]

use std::sync::atomic::Ordering::Relaxed;

use aio2::ring::{
    Consumer, Corruption, ExclusiveConsumer, Geometry, Heap, Memory, Pending, ReapError, Sink,
    header, split,
};

/// Where rings start: before each kind of wrap, and away from them.
const STARTS: [u64; 6] =
    [0, 4096, u32::MAX as u64 - 31, u32::MAX as u64 - 7, (5 << 32) - 24, u64::MAX - 23];

fn geometry(ring_bytes: u32, start: u64) -> Geometry {
    Geometry::new(ring_bytes, ring_bytes).unwrap().starting_at(start)
}

/// An event of `words` words, each but the first telling `id`.
fn event(words: usize, id: u64) -> Vec<u64> {
    let mut event = vec![id; words];
    event[0] = header(words as u32 * 8, 0);
    event
}

fn exclusive<M: Memory>(consumer: Consumer<M>) -> ExclusiveConsumer<M> {
    consumer.into_exclusive().unwrap_or_else(|_| panic!("the handle has clones"))
}

// SPEC: R-RING-16
#[test]
fn events_come_out_as_they_went_in_from_any_start() {
    for start in STARTS {
        let (mut producer, consumer) = split(Heap::new(geometry(64, start)));
        let mut buffer = [0; 8];
        let mut position = start;
        for id in 0..100 {
            let sent = event(1 + id as usize % 8, id);
            assert!(producer.push(&sent));
            let mut events = consumer.reap(&mut buffer, 1).unwrap();
            assert_eq!(events.position(), position);
            assert_eq!(events.next(), Some(&sent[..]), "start {start:#x}, event {id}");
            position = position.wrapping_add(sent.len() as u64 * 8);
            assert_eq!(events.position(), position);
            assert_eq!(events.next(), None);
        }
        assert_eq!(consumer.pending(), Pending::Nothing);
    }
}

// SPEC: R-RING-7
#[test]
fn a_full_ring_takes_nothing_more() {
    for start in STARTS {
        let (mut producer, consumer) = split(Heap::new(geometry(64, start)));
        assert!(producer.push(&event(5, 1)));
        assert!(!producer.push(&event(4, 2)));
        assert!(producer.push(&event(3, 3)));
        assert!(!producer.push(&event(1, 4)));
        let mut buffer = [0; 8];
        assert_eq!(consumer.reap(&mut buffer, 9).unwrap().len(), 2);
        assert!(producer.push(&event(8, 5)));
        assert_eq!(producer.bad_heads(), 0);
    }
}

// SPEC: R-RING-6
#[test]
fn a_bad_head_is_counted_each_time_that_it_is_seen() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    assert!(producer.push(&event(8, 0)));
    consumer.memory().view().head.store(4, Relaxed);
    assert!(!producer.push(&event(1, 1)) && !producer.push(&event(1, 1)));
    assert_eq!(producer.bad_heads(), 2);
}

#[test]
fn a_batch_is_published_when_it_is_dropped() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    let mut buffer = [0; 8];
    let mut batch = producer.batch();
    assert!(batch.push(&event(2, 1)));
    assert!(batch.push(&event(2, 2)));
    assert_eq!(consumer.reap(&mut buffer, 9).unwrap().len(), 0);
    drop(batch);
    assert_eq!(consumer.reap(&mut buffer, 9).unwrap().len(), 2);
}

#[test]
fn a_claim_takes_no_more_than_fits_and_no_more_than_asked() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    for id in 0..4 {
        assert!(producer.push(&event(2, id)));
    }
    let mut buffer = [0; 5];
    assert_eq!(consumer.reap(&mut buffer, 1).unwrap().words()[1], 0);
    let mut events = consumer.reap(&mut buffer, 9).unwrap();
    assert_eq!((events.len(), events.next().map(|event| event[1])), (2, Some(1)));
    assert_eq!((events.len(), events.next().map(|event| event[1])), (1, Some(2)));
    assert_eq!((events.len(), events.next()), (0, None));
    assert_eq!(consumer.reap(&mut buffer, 0).unwrap().len(), 0);
    assert_eq!(
        consumer.reap(&mut buffer[..1], 9).unwrap_err(),
        ReapError::BufferTooSmall { event_bytes: 16 }
    );
    assert_eq!(consumer.reap(&mut buffer, 9).unwrap().len(), 1);
}

#[test]
fn the_producer_counts_what_was_not_taken() {
    for start in STARTS {
        let (mut producer, consumer) = split(Heap::new(geometry(64, start)));
        for id in 0..4 {
            assert!(producer.push(&event(2, id)));
        }
        assert_eq!(producer.available_events(3), 3);
        assert_eq!(producer.available_events(9), 4);
        assert_eq!(consumer.reap(&mut [0; 2], 9).unwrap().len(), 1);
        assert_eq!(producer.available_events(9), 3);
    }
}

#[test]
fn events_are_read_in_place_and_their_room_returns_with_the_batch() {
    for start in STARTS {
        let (mut producer, consumer) = split(Heap::new(geometry(64, start)));
        let mut consumer = exclusive(consumer);
        for round in 0..20 {
            assert!(producer.push(&event(3, round)));
            assert!(producer.push(&event(5, round + 1)));
            let mut drain = consumer.drain().unwrap();
            assert_eq!(drain.bytes_left(), 64);
            let first = drain.next().unwrap().unwrap();
            assert_eq!((first.len(), first.word(2), first.header()), (3, round, header(24, 0)));
            assert_eq!(drain.bytes_left(), 40);
            assert!(!producer.push(&event(3, 0)), "the room is not given back yet");
            let mut copy = [0; 8];
            assert_eq!(
                drain.next().unwrap().unwrap().copy_to(&mut copy),
                Some(&event(5, round + 1)[..])
            );
            assert!(drain.next().unwrap().is_none());
        }
    }
}

#[test]
fn what_a_batch_does_not_reach_stays_in_the_ring() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    let mut consumer = exclusive(consumer);
    assert!(producer.push(&event(2, 1)));
    assert!(producer.push(&event(2, 2)));
    assert_eq!(consumer.drain().unwrap().next().unwrap().unwrap().word(1), 1);
    assert_eq!(consumer.drain().unwrap().next().unwrap().unwrap().word(1), 2);
}

#[test]
fn a_handle_with_clones_does_not_become_exclusive() {
    let (_producer, consumer) = split(Heap::new(geometry(64, 0)));
    let clone = consumer.clone();
    let consumer = consumer.into_exclusive().expect_err("there is a clone");
    drop(clone);
    assert!(consumer.into_exclusive().is_ok());
}

// SPEC: R-OVF-2, R-OVF-4, R-OVF-6
#[test]
fn full_ring_sends_events_to_the_overflow_list_in_order() {
    for start in STARTS {
        let (producer, consumer) = split(Heap::new(geometry(64, start)));
        let mut sink = Sink::new(producer);
        for id in 0..40 {
            sink.reserve(24).unwrap();
            sink.push(&event(1 + id as usize % 3, id), 24);
        }
        assert!(sink.overflow_bytes() > 0);
        assert_eq!(sink.reserved_bytes(), 0);
        let mut buffer = [0; 8];
        let mut next = 0;
        loop {
            for got in consumer.reap(&mut buffer, 9).unwrap() {
                assert_eq!(got, event(1 + next as usize % 3, next));
                next += 1;
            }
            match consumer.pending() {
                Pending::Nothing => break,
                Pending::Events => {}
                Pending::Frozen => panic!("there is no other ring"),
                Pending::Overflow => {
                    sink.flush();
                }
            }
        }
        assert_eq!(next, 40);
        assert_eq!(sink.overflow_bytes(), 0);
        assert!(sink.overflowed() > 30);
    }
}

// SPEC: R-GROW-1, R-GROW-2, R-GROW-3
#[test]
fn events_go_on_in_a_larger_ring_when_the_old_one_is_empty() {
    for start in STARTS {
        let (producer, mut consumer) = split(Heap::new(geometry(64, start)));
        let old = consumer.memory().clone();
        let mut sink = Sink::new(producer);
        let send = |sink: &mut Sink<_>, ids: std::ops::Range<u64>| {
            for id in ids {
                sink.reserve(8).unwrap();
                sink.push(&event(1, id), 8);
            }
        };
        send(&mut sink, 0..10);
        let (producer, next) = split(Heap::new(geometry(128, !start)));
        aio2::ring::grow(&mut sink, producer, || aio2::ring::append(&consumer, next)).unwrap();
        send(&mut sink, 10..30);
        assert_eq!((sink.frozen_rings(), sink.overflow_events()), (1, 6));
        assert_eq!((sink.used_bytes(), sink.available_events(99)), (64 + 128, 24));
        assert_eq!(sink.available_events(9), 9);
        let tail = old.view().tail.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(tail, (start as u32).wrapping_add(64), "nothing was added to it");
        let mut ids = Vec::new();
        loop {
            let mut buffer = [0; 5];
            ids.extend(consumer.reap(&mut buffer, 3).unwrap().map(|e| e[0] >> 32));
            match consumer.pending() {
                Pending::Events => assert!(!consumer.advance()),
                Pending::Frozen => assert!(ids.len() == 8 && consumer.advance()),
                Pending::Overflow => assert!(sink.flush()),
                Pending::Nothing => break,
            }
        }
        assert!(ids.into_iter().eq((0..30).map(|id| event(1, id)[0] >> 32)));
        assert_eq!(sink.frozen_rings(), 0);
    }
}

#[test]
#[should_panic(expected = "takes what the old one did")]
fn the_next_ring_takes_events_as_long_as_those_of_the_old_one() {
    let (producer, consumer) = split(Heap::new(geometry(64, 0)));
    let (shorter, next) = split(Heap::new(Geometry::new(128, 56).unwrap()));
    let _ =
        aio2::ring::grow(&mut Sink::new(producer), shorter, || aio2::ring::append(&consumer, next));
}

// SPEC: R-OVF-2, R-OVF-3
#[test]
fn a_short_event_does_not_overtake_a_long_one_that_waits() {
    let (producer, consumer) = split(Heap::new(geometry(64, 0)));
    let mut sink = Sink::new(producer);
    for (words, id) in [(6, 0), (4, 1), (1, 2), (2, 3)] {
        sink.reserve(words * 8).unwrap();
        sink.push(&event(words, id), words * 8);
    }
    assert_eq!(consumer.reap(&mut [0; 8], 9).unwrap().len(), 1);
    assert_eq!(consumer.pending(), Pending::Overflow);
    assert!(sink.flush());
    let mut buffer = [0; 8];
    let events = consumer.reap(&mut buffer, 9).unwrap();
    assert_eq!(events.map(<[u64]>::len).collect::<Vec<_>>(), [4, 1, 2]);
    assert_eq!(consumer.pending(), Pending::Nothing);
}

// SPEC: R-OVF-1
#[test]
fn a_reservation_that_cannot_be_had_changes_nothing() {
    let (producer, _consumer) = split(Heap::new(geometry(64, 0)));
    let mut sink = Sink::new(producer);
    assert!(sink.reserve(usize::MAX - 64).is_err(), "so much memory there is not");
    assert_eq!(sink.reserved_bytes(), 0);
    sink.reserve(64).unwrap();
    sink.release(40);
    assert_eq!(sink.reserved_bytes(), 24);
    sink.push(&event(2, 0), 24);
    assert_eq!(sink.reserved_bytes(), 0);
}

// SPEC: R-NOTIFY-5
#[test]
fn a_consumer_that_switched_notification_off_is_not_told() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    assert!(producer.should_notify(), "on from the start");
    consumer.notify_off();
    assert!(!producer.should_notify());
    assert!(!consumer.notify_on(), "nothing to reap: may sleep");
    assert!(producer.push(&event(1, 0)));
    assert!(producer.should_notify());
    assert!(consumer.notify_on(), "something to reap: must not sleep");
    let consumer = exclusive(consumer);
    consumer.notify_off();
    assert!(!producer.should_notify());
    assert!(consumer.notify_on());
    assert!(producer.should_notify());
}

#[test]
fn a_dead_ring_can_still_be_drained() {
    let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
    assert!(producer.push(&event(1, 0)));
    assert!(!consumer.is_dead());
    let (_producer, alive) = split(Heap::new(geometry(64, 0)));
    assert!(!exclusive(alive).is_dead());
    producer.set_dead();
    assert!(consumer.is_dead());
    assert_eq!(consumer.reap(&mut [0; 8], 9).unwrap().len(), 1);
    assert!(exclusive(consumer).is_dead());
}

#[test]
fn a_ring_has_a_size_that_is_a_power_of_two_and_events_that_fit() {
    for (ring_bytes, event_max) in
        [(0, 8), (4, 8), (24, 8), (1 << 31, 8), (64, 0), (64, 12), (64, 72)]
    {
        assert!(Geometry::new(ring_bytes, event_max).is_err(), "{ring_bytes}, {event_max}");
    }
    assert!(Geometry::new(8, 8).is_ok());
    assert!(Geometry::new(1 << 30, 1024).is_ok());
}

#[test]
#[should_panic(expected = "tell its own length")]
fn an_event_must_tell_its_own_length() {
    let (mut producer, _consumer) = split(Heap::new(geometry(64, 0)));
    let _ = producer.push(&[header(24, 0), 0]);
}

// SPEC: R-RING-13, R-RING-14
#[test]
fn a_corrupt_length_is_an_error_for_all_clones_for_ever() {
    for bad in [0, 4, 20, 72, !7] {
        let (mut producer, consumer) = split(Heap::new(geometry(64, 0)));
        let other = consumer.clone();
        assert!(producer.push(&event(2, 1)));
        assert!(producer.push(&event(3, 2)));
        consumer.memory().view().words[2].store(header(bad, 0), Relaxed);
        let mut buffer = [0; 8];
        assert_eq!(consumer.reap(&mut buffer, 9).unwrap().len(), 1, "good ones come out first");
        let error = consumer.reap(&mut buffer, 9).unwrap_err();
        assert_eq!(
            error,
            ReapError::Corrupt(Corruption::BadLength { position: 16, header: header(bad, 0) })
        );
        consumer.memory().view().words[2].store(header(24, 0), Relaxed);
        assert_eq!(other.reap(&mut buffer, 9).unwrap_err(), error);
    }
}

#[test]
fn a_consumer_knows_how_long_an_event_can_be() {
    let geometry = Geometry::new(4096, 1024).unwrap();
    let (_producer, consumer) = split(Heap::<std::sync::atomic::AtomicU64>::new(geometry));
    assert_eq!(consumer.event_max(), 1024);
}

#[test]
fn an_error_says_what_is_wrong() {
    let said = Geometry::new(24, 8).unwrap_err().to_string();
    assert_eq!(said, "a ring of 24 bytes: not a power of two in the range");
    let said = Geometry::new(64, 12).unwrap_err().to_string();
    assert_eq!(said, "events of 12 bytes: not a multiple of 8 within the ring");
    for (error, said) in [
        (
            Corruption::BadPosition { head: 16, tail: 4 }.into(),
            "the ring is corrupt: head 0x10 and tail 0x4",
        ),
        (
            Corruption::BadLength { position: 16, header: 4 }.into(),
            "the ring is corrupt: event at 0x10 begins with 0x4",
        ),
        (
            ReapError::BufferTooSmall { event_bytes: 32 },
            "the oldest event has 32 bytes: give a larger buffer",
        ),
    ] {
        assert_eq!(ReapError::to_string(&error), said);
    }
}
