//! The mapped ring and the overflow list. SPEC: sections 5.1 to 5.6.

use crate::child;
use crate::context::{Context, patience};
use crate::env::{Env, Factory, Outcome, setup};
use crate::file::Pipe;
use crate::request::{Batch, Request};
use crate::words::Words;
use aio2::backend::Wait;
use aio2::ring::{Memory, Word};
use aio2_abi::attr;
use aio2_abi::ring::RingFlags;
use aio2_abi::setup::Setup;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::time::Duration;

fn nops(range: std::ops::Range<u64>) -> Batch {
    Batch::of(range.map(Request::nop))
}

fn user_data(events: &[crate::context::Event]) -> Vec<u64> {
    events.iter().map(|e| e.user_data).collect()
}

/// Addresses of the pages of a mapped ring.
struct Pages {
    consumer: usize,
    producer: usize,
    data: usize,
    /// Both times that the data is mapped.
    data_bytes: usize,
}

fn pages(context: &Context) -> Pages {
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let data_bytes = size_of_val(view.words);
    Pages {
        consumer: (&raw const *view.head).addr() & !4095,
        producer: (&raw const *view.tail).addr() & !4095,
        data: view.words.as_ptr().addr(),
        data_bytes,
    }
}

/// Whether the kernel would write to `address` on our behalf.
fn writable(address: usize) -> bool {
    let mut pipe = Pipe::new();
    std::io::Write::write_all(&mut pipe.writer, &[0]).expect("the pipe has room");
    // The same address as far as a byte of it goes; what stands there is put
    // back, should it be writable.
    let target = std::ptr::without_provenance_mut::<libc::c_void>(address);
    // SAFETY: the kernel checks the address. If it is writable, a byte of a
    // context that nothing happens in becomes 0, as it was.
    let read = unsafe { libc::read(pipe.read_fd(), target, 1) };
    read == 1
}

pub(crate) fn producer_page_and_data_are_read_only(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let pages = pages(&context);
    // Reserved bytes of the consumer page can be written: the check can fail.
    assert!(writable(pages.consumer + 8), "the consumer page is the application's");
    for (what, address) in [
        ("producer page", pages.producer),
        ("producer page", pages.producer + 4095),
        ("data", pages.data),
        ("data", pages.data + 4095),
        ("data, mapped again", pages.data + pages.data_bytes - 1),
    ] {
        assert!(!writable(address), "{what}");
    }
    Ok(())
}

pub(crate) fn mapping_cannot_be_made_writable(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let pages = pages(&context);
    for (address, bytes) in [(pages.producer, 4096), (pages.data, pages.data_bytes)] {
        let pointer = std::ptr::without_provenance_mut::<libc::c_void>(address);
        // SAFETY: allows more at addresses that are mapped; it takes nothing
        // from anyone.
        let result = unsafe { libc::mprotect(pointer, bytes, libc::PROT_READ | libc::PROT_WRITE) };
        let error = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((result, error), (-1, Some(libc::EACCES)));
    }
    Ok(())
}

/// Child: reaps an event, and writes over it where it stands.
pub(crate) fn write_to_a_reaped_event(factory: &dyn Factory) -> i32 {
    write_to(factory, |pages| pages.data + 8)
}

/// Child: writes a tail of its own.
pub(crate) fn write_to_the_producer_page(factory: &dyn Factory) -> i32 {
    write_to(factory, |pages| pages.producer + 64)
}

/// Child: writes to the consumer page, which it may.
pub(crate) fn write_to_the_consumer_page(factory: &dyn Factory) -> i32 {
    write_to(factory, |pages| pages.consumer + 128)
}

fn write_to(factory: &dyn Factory, address: impl Fn(&Pages) -> usize) -> i32 {
    let context = Context::new(factory.create(&setup()).expect("a context can be created"));
    assert_eq!(context.run(Request::nop(42)).user_data, 42);
    let pages = pages(&context);
    let target = std::ptr::with_exposed_provenance_mut::<u64>(address(&pages));
    // SAFETY: an aligned word of the mapped ring. That the process may die of
    // it is what this child is for.
    unsafe { target.write_volatile(7) };
    0
}

pub(crate) fn writing_to_a_reaped_event_faults(env: &Env<'_>) -> Outcome {
    let run = |role| child::command(env.factory, role).status().expect("the child runs");
    assert_eq!(run("write_to_the_consumer_page").code(), Some(0), "a child can write and live");
    for role in ["write_to_a_reaped_event", "write_to_the_producer_page"] {
        assert_eq!(run(role).signal(), Some(libc::SIGSEGV), "{role}");
    }
    Ok(())
}

pub(crate) fn data_is_mapped_twice_back_to_back(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    // Once around, so that there is something everywhere.
    for n in 0..20 {
        context.submit_all(&mut nops(n * 100..n * 100 + 100));
        assert_eq!(context.reap(100).len(), 100);
    }
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let words: Vec<u64> = view.words.iter().map(Word::load).collect();
    let (first, second) = words.split_at(words.len() / 2);
    assert_eq!(first.len() * 8, 4096);
    assert!(first == second, "the second half is the first again");
    assert!(first.iter().filter(|w| **w != 0).count() > 200, "it holds events");
    Ok(())
}

pub(crate) fn child_does_not_inherit_the_mapping(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let pages = pages(&context);
    let not_ours = Box::new(1_u64);
    let plain = (&raw const *not_ours).addr();
    for (what, address, expected) in [
        ("memory of the process", plain, 0),
        ("consumer page", pages.consumer, libc::SIGSEGV),
        ("producer page", pages.producer, libc::SIGSEGV),
        ("data", pages.data, libc::SIGSEGV),
        ("data, mapped again", pages.data + pages.data_bytes - 8, libc::SIGSEGV),
    ] {
        let signal = child::forked(|| {
            let pointer = std::ptr::with_exposed_provenance::<u64>(address);
            // SAFETY: aligned, and mapped in the parent; a fault is expected.
            let _ = unsafe { pointer.read_volatile() };
            0
        })
        .signal()
        .unwrap_or(0);
        assert_eq!(signal, expected, "{what}");
    }
    Ok(())
}

pub(crate) fn producer_page_says_what_the_ring_is(env: &Env<'_>) -> Outcome {
    let context = env.context_with(Setup { ring_bytes: 10_000, ..setup() });
    let pages = pages(&context);
    let page = std::ptr::with_exposed_provenance::<aio2_abi::ring::ProducerPage>(pages.producer);
    // SAFETY: the page is mapped and readable as long as the context lives, and
    // any bytes are a ProducerPage.
    let page = unsafe { page.read_volatile() };
    assert_eq!((page.magic, page.version), (aio2_abi::ring::MAGIC, 1));
    assert_eq!(page.ring_bytes, 16384);
    assert_eq!(page.event_max, context.backend().setup().event_max);
    assert_eq!(page.resv0, [0; 6]);
    assert_eq!(page.resv1, [0; 4]);
    Ok(())
}

pub(crate) fn tail_moves_by_the_bytes_of_the_events(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let (head, tail) = (view.head.load(Acquire), view.tail.load(Acquire));
    assert_eq!(head as u32, tail, "empty");
    context.submit_all(&mut Batch::of([Request::nop(1), Request::nop(2).returns(attr::TIMING)]));
    assert_eq!(view.tail.load(Acquire).wrapping_sub(tail), 24 + 56);
    assert_eq!(view.head.load(Acquire), head);
    assert_eq!(context.reap_ring(1).len(), 1);
    assert_eq!(view.head.load(Acquire), head + 24, "the boundary of an event");
    assert_eq!(context.reap_ring(1).len(), 1);
    assert_eq!(view.head.load(Acquire), head + 80);
    Ok(())
}

pub(crate) fn events_that_are_not_reaped_are_not_overwritten(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    context.submit_all(&mut nops(0..3000));
    let consumer = context.backend().consumer();
    let view = consumer.memory().view();
    let used = view.tail.load(Acquire).wrapping_sub(view.head.load(Acquire) as u32);
    assert!(used <= 4096, "{used} bytes are used");
    assert!(used > 4096 - 24, "it is full: {used}");
    assert_eq!(user_data(&context.reap_ring(5)), [0, 1, 2, 3, 4]);
    assert_eq!(user_data(&context.reap(2995)), (5..3000).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) fn bad_head_counts_as_a_full_ring_and_loses_nothing(env: &Env<'_>) -> Outcome {
    // Ahead of the tail, further behind than the ring is long, or crooked.
    for bad in [8192, 1 << 20, 1 << 31, u64::MAX - 8191, 1, 4, 4095] {
        let context = env.small_ring();
        let consumer = context.backend().consumer();
        let view = consumer.memory().view();
        assert_eq!(context.run(Request::nop(0)).user_data, 0);
        let good = view.head.load(SeqCst);
        let before = view.bad_heads.load(SeqCst);
        view.head.store(good.wrapping_add(bad), SeqCst);
        // More than the ring holds, so that the producer has to look.
        context.submit_all(&mut nops(1..301));
        let flags = RingFlags::from_bits_retain(view.flags.load(SeqCst));
        assert!(flags.contains(RingFlags::BAD_HEAD), "head {bad} ahead");
        assert!(flags.contains(RingFlags::OVERFLOW), "head {bad} ahead");
        assert!(view.bad_heads.load(SeqCst) > before, "head {bad} ahead");
        view.head.store(good, SeqCst);
        let events = user_data(&context.reap(300));
        assert_eq!(events, (1..301).collect::<Vec<u64>>(), "head {bad} ahead");
        context.assert_idle();
    }
    Ok(())
}

pub(crate) fn producer_does_not_read_back_what_it_wrote(env: &Env<'_>) -> Outcome {
    // A consumer cannot change the producer page; that its memory is not
    // believed is seen by a context that goes on after each of its flags was
    // set and cleared again by overflow, and counts on.
    let context = env.small_ring();
    let mut expected = 0;
    for round in 0..5 {
        context.submit_all(&mut nops(0..300));
        let spilled = 300 - 4096 / 24;
        expected += spilled;
        assert_eq!(context.overflowed(), expected, "round {round}");
        assert!(context.ring_flags().contains(RingFlags::OVERFLOW));
        assert_eq!(context.reap(300).len(), 300);
        assert!(!context.ring_flags().contains(RingFlags::OVERFLOW));
    }
    Ok(())
}

pub(crate) fn overflow_keeps_order_while_the_list_is_not_empty(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    context.submit_all(&mut nops(0..200));
    assert!(context.ring_flags().contains(RingFlags::OVERFLOW));
    let spilled = context.overflowed();
    assert_eq!(spilled, 200 - 4096 / 24);
    // One is reaped: there is room in the ring, and older events on the list.
    assert_eq!(user_data(&context.reap_ring(1)), [0]);
    context.submit_all(&mut nops(200..300));
    assert_eq!(user_data(&context.reap(299)), (1..300).collect::<Vec<u64>>());
    assert!(!context.ring_flags().contains(RingFlags::OVERFLOW));
    // The list is empty: the ring is used again.
    let spilled = context.overflowed();
    context.submit_all(&mut nops(0..100));
    assert_eq!((context.overflowed(), context.reap_ring(1000).len()), (spilled, 100));
    Ok(())
}

pub(crate) fn shorter_event_does_not_overtake_the_overflow_list(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let mut long = Request::nop(1000);
    for id in 11..=attr::ID_MAX {
        long = long.attr(id, attr::AttrFlags::RETURN, &[]);
    }
    // The ring is full but for a few bytes, and the long one waits.
    context.submit_all(&mut nops(0..165));
    context.submit_all(&mut Batch::of([long]));
    assert_eq!((context.overflowed(), context.reap_ring(1).len()), (1, 1));
    // This one would fit into the ring.
    context.submit_all(&mut nops(165..166));
    assert_eq!(context.overflowed(), 2);
    let expected: Vec<u64> = (1..165).chain([1000, 165]).collect();
    assert_eq!(user_data(&context.reap(166)), expected);
    Ok(())
}

pub(crate) fn publishing_moves_the_overflow_list(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    context.submit_all(&mut nops(0..200));
    let first = context.reap_ring(1000);
    assert!(first.len() < 200);
    // No call of io_getevents2: an event that is published moves the list.
    context.submit_all(&mut nops(200..201));
    let rest = context.reap_ring(1000);
    let order = [user_data(&first), user_data(&rest)].concat();
    assert_eq!(order, (0..201).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) fn overflowed_counts_each_event_of_the_list(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let fits = 4096 / 24;
    context.submit_all(&mut nops(0..fits));
    assert_eq!(context.overflowed(), 0);
    for n in 1..=50 {
        context.submit_all(&mut nops(0..1));
        assert_eq!(context.overflowed(), n);
    }
    assert_eq!(context.reap(fits as usize + 50).len(), fits as usize + 50);
    assert_eq!(context.overflowed(), 50, "since setup");
    Ok(())
}

pub(crate) fn longest_event_fits_behind_the_wrap(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let mut long = Request::nop(9);
    for id in 1..=attr::ID_MAX {
        long = long.attr(id, attr::AttrFlags::RETURN, &[]);
    }
    for n in 0..200 {
        let event = context.run(long.clone());
        assert_eq!((event.returns.len(), event.user_data), (63, 9), "round {n}");
        let short = context.run(Request::nop(n));
        assert_eq!((short.len, short.user_data), (24, n));
    }
    Ok(())
}

pub(crate) fn events_come_through_when_the_positions_wrap(env: &Env<'_>) -> Outcome {
    // 2^32 bytes would take a while; the wrap itself is shown with other start
    // positions on the ring alone. Here: many times around the ring.
    let context = env.small_ring();
    for round in 0..500 {
        context.submit_all(&mut nops(round * 7..round * 7 + 7));
        let order = user_data(&context.reap(7));
        assert_eq!(order, (round * 7..round * 7 + 7).collect::<Vec<u64>>());
    }
    let consumer = context.backend().consumer();
    let head = consumer.memory().view().head.load(Acquire);
    assert!(head >= 500 * 7 * 24, "head runs on: {head}");
    Ok(())
}

pub(crate) fn nothing_is_lost_whatever_the_consumers_leave_undone(env: &Env<'_>) -> Outcome {
    let context = env.small_ring();
    let mut next = 0;
    let mut seen = 0;
    for round in 0..400_u64 {
        let count = round * 13 % 97;
        context.submit_all(&mut nops(next..next + count));
        next += count;
        // Reap some, in turns by ring and by call; sometimes nothing at all.
        let events = match round % 4 {
            0 => vec![],
            1 => context.reap_ring(round as usize % 50),
            2 => context
                .wait_copy(&Wait::events(1).within(Duration::ZERO), round as usize % 30 * 24)
                .unwrap_or_default(),
            _ if next > seen => context.reap(((next - seen) / 2) as usize),
            _ => vec![],
        };
        for event in events {
            assert_eq!(event.user_data, seen, "round {round}");
            seen += 1;
        }
    }
    let rest = context.reap((next - seen) as usize);
    assert_eq!(user_data(&rest), (seen..next).collect::<Vec<u64>>());
    context.assert_idle();
    assert!(context.overflowed() > 0, "some went by the overflow list");
    Ok(())
}

pub(crate) fn empty_ring_with_overflow_is_told_to_the_consumer(env: &Env<'_>) -> Outcome {
    use aio2::ring::Pending;
    let context = env.small_ring();
    let consumer = context.backend().consumer();
    assert_eq!(consumer.pending(), Pending::Nothing);
    context.submit_all(&mut nops(0..300));
    assert_eq!(consumer.pending(), Pending::Events);
    let first = context.reap_ring(1000).len();
    assert_eq!(consumer.pending(), Pending::Overflow, "call io_getevents2 before you sleep");
    assert_eq!(context.wait(&Wait::events(1).within(patience())), Ok(()));
    assert_eq!(consumer.pending(), Pending::Events);
    assert_eq!(context.reap(300 - first).len(), 300 - first);
    assert_eq!(consumer.pending(), Pending::Nothing);
    Ok(())
}

pub(crate) fn descriptors_of_the_ring_do_not_leak_into_an_exec(env: &Env<'_>) -> Outcome {
    let before: std::collections::HashSet<String> =
        crate::file::proc_self("fd").into_iter().collect();
    let context = env.context();
    assert!(context.backend().as_fd().as_raw_fd() >= 0);
    for fd in crate::file::proc_self("fd") {
        if !before.contains(&fd) {
            // SAFETY: takes numbers.
            let flags = unsafe { libc::fcntl(fd.parse().expect("a number"), libc::F_GETFD) };
            // One of them was that of the directory that was read.
            assert!(flags == -1 || flags & libc::FD_CLOEXEC != 0, "descriptor {fd}");
        }
    }
    Ok(())
}
