//! Chains of a queue: no limit, no turn of a ring and no cancel cuts them.
//! SPEC: R-AFTER-1, R-AFTER-2, R-GROUP-3.

use aio2::error::CancelError;
use aio2::flags::SendFlags;
use aio2::{After, Cancelled, Context, Errno, Key, Op, Queue, SharedFd, Timeout};
use std::io::Write;
use std::os::fd::OwnedFd;

type Ends<T> = Vec<(T, Result<u64, i32>)>;

const CANCELED: Result<u64, i32> = Err(libc::ECANCELED);

fn queue<T>() -> Queue<Vec<u8>, T> {
    Queue::new(Context::new().unwrap())
}

fn limited<T>(max_requests: u32) -> Queue<Vec<u8>, T> {
    Queue::new(Context::builder().max_requests(max_requests).build().unwrap())
}

fn file() -> SharedFd {
    tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap().into()
}

/// Cannot be written.
fn read_only() -> SharedFd {
    std::fs::File::open("/etc/passwd").unwrap().into()
}

/// A read that ends when the other end is written to.
fn slow() -> (Op<Vec<u8>, aio2::kind::Reads>, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Op::read(OwnedFd::from(reader), vec![0; 1]), writer)
}

/// All that is to come.
fn rest<T>(queue: &mut Queue<Vec<u8>, T>) -> Ends<T> {
    let mut ends = Vec::new();
    while !queue.is_empty() {
        queue.wait(1, Timeout::Forever).unwrap();
        while let Some(done) = queue.pop().unwrap() {
            ends.push((done.token, done.result.map_err(|Errno(errno)| errno)));
        }
    }
    ends
}

fn place<T: PartialEq>(ends: &Ends<T>, token: T) -> usize {
    ends.iter().position(|end| end.0 == token).unwrap()
}

#[test]
fn a_limit_does_not_part_a_sync_from_its_write() {
    for limit in 1..6 {
        let (file, mut queue) = (file(), limited(limit));
        for n in 0..40 {
            queue.push(Op::write_at(&file, vec![1; 10], n * 10).not_inline(), 2 * n);
            queue.push(Op::fdatasync(&file).after(After::Previous(1)), 2 * n + 1);
        }
        let ends = rest(&mut queue);
        assert_eq!(ends.len(), 80);
        for n in 0..40 {
            let (write, sync) = (place(&ends, 2 * n), place(&ends, 2 * n + 1));
            assert!(write < sync, "limit {limit}");
            assert_eq!((ends[write].1, ends[sync].1), (Ok(10), Ok(0)), "limit {limit}");
        }
    }
}

#[test]
fn a_limit_does_not_let_a_sync_run_whose_write_has_failed() {
    for limit in 1..6 {
        let (file, mut queue) = (file(), limited(limit));
        for n in 0..20 {
            queue.push(Op::write_at(read_only(), vec![1; 10], 0).not_inline(), 3 * n);
            queue.push(Op::fdatasync(&file).after(After::Previous(1)), 3 * n + 1);
            queue.push(Op::nop().after(After::Previous(1)), 3 * n + 2);
        }
        let ends = rest(&mut queue);
        for n in 0..20 {
            assert_eq!(ends[place(&ends, 3 * n)].1, Err(libc::EBADF));
            assert_eq!(ends[place(&ends, 3 * n + 1)].1, CANCELED, "limit {limit}");
            assert_eq!(ends[place(&ends, 3 * n + 2)].1, CANCELED, "limit {limit}");
        }
    }
}

/// The targets stand where they stood, or not: a cancel moves what is before it.
#[test]
fn a_cancel_of_another_leaves_an_order_that_a_limit_cuts() {
    for stands in 0..4 {
        let mut queue = limited(1);
        let (read, mut writer) = slow();
        let mut others = Vec::new();
        let mut other = |queue: &mut Queue<Vec<u8>, &'static str>, n| {
            if n == stands {
                others.push(queue.push(Op::nop(), "other"));
            }
        };
        other(&mut queue, 0);
        let target = queue.push(read, "target");
        other(&mut queue, 1);
        queue.push(Op::nop().after(target), "after it");
        other(&mut queue, 2);
        queue.push(Op::nop(), "without an order");
        other(&mut queue, 3);
        queue.cancel(others[0]).unwrap();
        assert_eq!(queue.submit().unwrap(), 1, "the limit");
        writer.write_all(b"x").unwrap();
        let ends = rest(&mut queue);
        assert_eq!(ends[0], ("other", CANCELED));
        let (target, after) = (place(&ends, "target"), place(&ends, "after it"));
        assert!(target < after, "{stands}");
        assert_eq!([ends[target].1, ends[after].1], [Ok(1), Ok(0)], "{stands}");
    }
}

#[test]
fn what_was_cancelled_is_not_found_again() {
    let mut queue = queue();
    let (read, writer) = slow();
    let target = queue.push(read, 0);
    queue.submit().unwrap();
    let held: Vec<_> = (1..100).map(|n| queue.push(Op::nop().after(target), n)).collect();
    let member = queue.push(Op::nop().in_group(7).after(target), 100);
    let queued: Vec<_> = (101..200).map(|n| queue.push(Op::nop(), n)).collect();
    // From the front, from the end, and from the midst.
    let order = (0..30).chain((60..99).rev()).chain(30..60);
    for n in order {
        for key in [held[n], queued[n]] {
            assert_eq!(queue.cancel(key), Ok(Cancelled::NotStarted));
            assert_eq!(queue.cancel(key), Err(CancelError::NotFound), "{n}");
        }
    }
    assert_eq!((queue.queued(), queue.len()), (1, 200));
    queue.cancel_all().unwrap();
    for key in [member, held[0], queued[0]] {
        assert_eq!(queue.cancel(key), Err(CancelError::NotFound));
    }
    let ends = rest(&mut queue);
    assert_eq!(ends.len(), 200);
    assert!(ends.iter().all(|end| end.1 == CANCELED));
    drop(writer);
}

#[test]
fn a_member_that_is_cancelled_while_nobody_else_has_an_order_counts_as_failed() {
    let mut queue = limited(1);
    let first = queue.push(Op::nop(), "first");
    assert_eq!(rest(&mut queue), [("first", Ok(0))]);
    let (read, mut writer) = slow();
    queue.push(read.after(first), "after it");
    let member = queue.push(Op::nop().in_group(7), "member");
    assert_eq!(queue.submit().unwrap(), 1, "the limit");
    writer.write_all(b"x").unwrap();
    // Without a submission, which would take the member along.
    let done = loop {
        match queue.pop().unwrap() {
            Some(done) => break done,
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    assert_eq!((done.token, done.result), ("after it", Ok(1)));
    assert_eq!(queue.cancel(member), Ok(Cancelled::NotStarted));
    assert_eq!(rest(&mut queue), [("member", CANCELED)]);
    queue.push(Op::group(7), "group");
    assert_eq!(rest(&mut queue), [("group", Ok(1))]);
}

#[test]
fn a_key_names_what_is_queued_under_way_or_has_ended() {
    let mut queue = queue();
    let (read, mut writer) = slow();
    let target = queue.push(read, "target");
    queue.push(Op::nop().after(target), "queued together");
    queue.submit().unwrap();
    queue.push(Op::nop().after(target), "pushed later");
    queue.submit().unwrap();
    assert_eq!((queue.in_flight(), queue.queued(), queue.len()), (2, 1, 3));
    assert!(queue.pop().unwrap().is_none());
    writer.write_all(b"x").unwrap();
    let ends = rest(&mut queue);
    assert_eq!(ends[0], ("target", Ok(1)));
    assert_eq!(ends.len(), 3);
    assert!(ends[1..].iter().all(|end| end.1 == Ok(0)));
    queue.push(Op::nop().after(target), "pushed when it has ended");
    assert_eq!(rest(&mut queue), [("pushed when it has ended", Ok(0))]);
}

#[test]
fn a_failure_is_known_when_it_has_ended_until_its_place_is_used_too_often() {
    let mut queue = queue();
    let failed = queue.push(Op::write_at(read_only(), vec![1], 0), 0);
    rest(&mut queue);
    for n in 1..64 {
        queue.push(Op::nop(), n);
        assert_eq!(rest(&mut queue), [(n, Ok(0))]);
    }
    queue.push(Op::nop().after(failed), 64);
    assert_eq!(rest(&mut queue), [(64, CANCELED)]);
    queue.push(Op::nop().after(failed), 65);
    assert_eq!(rest(&mut queue), [(65, Err(libc::ESTALE))]);
    queue.push(Op::nop().after(After::Previous(64)), 66);
    assert_eq!(rest(&mut queue), [(66, Err(libc::ENOENT))]);
}

#[test]
fn what_is_after_a_list_runs_if_no_member_has_failed() {
    for inline in [true, false] {
        for fails in [true, false] {
            let (file, mut queue) = (file(), queue());
            let last = if fails { read_only() } else { file.clone() };
            let list = (0..4).map(|n| {
                let file = if n == 3 { &last } else { &file };
                let op = Op::write_at(file, vec![1; 10], n * 10);
                (if inline { op } else { op.not_inline() }, n)
            });
            let all = queue.push_list(7, list, 4, None);
            queue.push(Op::fdatasync(&file).after(all), 5);
            queue.push(Op::fdatasync(&file).after(After::Group(7)), 6);
            queue.push(Op::fdatasync(&file).after(After::Previous(3)), 7);
            let ends = rest(&mut queue);
            assert_eq!(ends[place(&ends, 4)].1, Ok(u64::from(fails)));
            let expected = if fails { CANCELED } else { Ok(0) };
            for n in 5..8 {
                assert_eq!(ends[place(&ends, n)].1, expected, "{inline} {fails} {n}");
            }
        }
    }
}

#[test]
fn what_is_after_a_list_waits_for_it_at_each_limit() {
    for limit in 1..12 {
        for failing in [None, Some(0), Some(3)] {
            let (file, mut queue) = (file(), limited(limit));
            for round in 0..5_u64 {
                let list = (0..4).map(|n| {
                    let to = if Some(n) == failing { read_only() } else { file.clone() };
                    (Op::write_at(to, vec![1; 10], n * 10).not_inline(), (round, "write"))
                });
                let list: Vec<_> = list.collect();
                let all = queue.push_list(7, list, (round, "list"), None);
                queue.push(Op::fdatasync(&file).after(all), (round, "sync"));
                queue.push(Op::nop().after(After::Group(7)), (round, "by its group"));
            }
            let ends = rest(&mut queue);
            assert_eq!(ends.len(), 35);
            let expected = if failing.is_some() { CANCELED } else { Ok(0) };
            for round in 0..5 {
                let list = place(&ends, (round, "list"));
                assert_eq!(ends[list].1, Ok(u64::from(failing.is_some())), "limit {limit}");
                let writes = ends.iter().enumerate().filter(|(_, e)| e.0 == (round, "write"));
                assert!(writes.into_iter().all(|(at, _)| at < list));
                for after in ["sync", "by its group"] {
                    let after = place(&ends, (round, after));
                    assert!(list < after);
                    assert_eq!(ends[after].1, expected, "limit {limit}, round {round}");
                }
            }
        }
    }
}

/// Members with an order among them: whoever is held keeps its group open.
#[test]
fn a_list_of_chains_is_whole_at_each_limit() {
    for limit in 1..8 {
        for fails in [false, true] {
            let (file, mut queue) = (file(), limited(limit));
            for round in 0..6_u64 {
                let target = if fails { read_only() } else { file.clone() };
                let write = Op::write_at(target, vec![1; 10], 0).not_inline();
                let first = queue.push(write.in_group(7), (round, 0));
                let second = queue.push(Op::nop().in_group(7).after(first), (round, 1));
                queue.push(Op::fdatasync(&file).in_group(7).after(second), (round, 2));
                let all = queue.push(Op::group(7), (round, 3));
                queue.push(Op::nop().after(all), (round, 4));
            }
            let ends = rest(&mut queue);
            for round in 0..6 {
                let result = |n| ends[place(&ends, (round, n))].1;
                if fails {
                    assert_eq!(result(0), Err(libc::EBADF));
                    assert_eq!([result(1), result(2), result(4)], [CANCELED; 3], "limit {limit}");
                    assert_eq!(result(3), Ok(3), "limit {limit}");
                } else {
                    assert_eq!([1, 2, 3, 4].map(result), [Ok(0); 4], "limit {limit}");
                }
                assert!(place(&ends, (round, 2)) < place(&ends, (round, 3)));
                assert!(place(&ends, (round, 3)) < place(&ends, (round, 4)));
            }
        }
    }
}

#[test]
fn a_member_of_a_list_that_cannot_be_run_counts_as_failed() {
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut queue = queue();
    let list =
        [(Op::send(socket, vec![1], SendFlags::from_bits_retain(libc::MSG_ZEROCOPY as u32)), 1)];
    let all = queue.push_list(7, list, 2, None);
    queue.push(Op::nop().after(all), 3);
    assert_eq!(rest(&mut queue), [(1, Err(libc::EOPNOTSUPP)), (2, Ok(1)), (3, CANCELED)]);
}

#[test]
fn a_cancel_of_one_that_is_queued_moves_no_other() {
    let (read, mut writer) = slow();
    let mut queue = queue();
    queue.push(read, 1);
    let cancelled = queue.push(Op::nop(), 2);
    queue.push(Op::nop().after(After::Previous(2)), 3);
    queue.push(Op::nop().after(cancelled), 4);
    queue.cancel(cancelled).unwrap();
    queue.submit().unwrap();
    writer.write_all(b"x").unwrap();
    let ends = rest(&mut queue);
    assert!(place(&ends, 1) < place(&ends, 3));
    assert_eq!(ends[place(&ends, 3)].1, Ok(0));
    assert_eq!([2, 4].map(|n| ends[place(&ends, n)].1), [CANCELED; 2]);
}

#[test]
fn a_cancel_ends_what_is_held_and_what_is_after_it() {
    let (read, mut writer) = slow();
    let mut queue = queue();
    let target = queue.push(read, 1);
    queue.submit().unwrap();
    let held = queue.push(Op::nop().after(target), 2);
    queue.push(Op::nop().after(held), 3);
    let other = queue.push(Op::nop().after(target), 4);
    assert_eq!(queue.cancel(held), Ok(aio2::Cancelled::NotStarted));
    let first: Vec<i32> = queue.wait(1, Timeout::Forever).unwrap().map(|done| done.token).collect();
    assert_eq!(first, [2, 3]);
    writer.write_all(b"x").unwrap();
    assert_eq!(rest(&mut queue), [(1, Ok(1)), (4, Ok(0))]);
    assert_eq!(queue.cancel(other), Err(aio2::error::CancelError::NotFound));
}

#[test]
fn a_member_that_is_cancelled_while_it_is_queued_fails_its_group() {
    let mut queue = queue();
    let member = queue.push(Op::nop().in_group(7), 1);
    let all = queue.push(Op::group(7), 2);
    queue.push(Op::nop().after(all), 3);
    queue.cancel(member).unwrap();
    assert_eq!(rest(&mut queue), [(1, CANCELED), (2, Ok(1)), (3, CANCELED)]);
}

#[test]
fn all_that_is_held_ends_with_a_cancel_of_all_and_with_the_queue() {
    let (read, writer) = slow();
    let (reader, mut closed) = std::io::pipe().unwrap();
    let mut queue = queue();
    let target = queue.push(read, 1);
    queue.submit().unwrap();
    queue.push(Op::nop().after(target).in_group(1), 2);
    queue.push(Op::group(1), 3);
    queue.cancel_all().unwrap();
    let mut ends = rest(&mut queue);
    ends.sort_unstable();
    assert_eq!(ends, [(1, CANCELED), (2, CANCELED), (3, CANCELED)]);
    let (read, _writer) = slow();
    let target = queue.push(read, 1);
    queue.submit().unwrap();
    queue.push(Op::close(reader).after(target), 2);
    drop(queue);
    // It was not closed by a request, and is closed with the queue all the same.
    assert_eq!(closed.write(b"x").map_err(|e| e.kind()), Err(std::io::ErrorKind::BrokenPipe));
    drop(writer);
}

/// Random chains, groups, limits and cancels: what is after something starts after
/// its end, and only if it went well.
#[test]
fn random_chains_keep_their_order() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..300 {
        let mut queue = limited(1 + random(12) as u32);
        let mut after: Vec<Option<usize>> = Vec::new();
        let mut keys: Vec<Key> = Vec::new();
        let mut ends: Ends<usize> = Vec::new();
        let mut group: Option<(u64, Vec<usize>)> = None;
        let mut members: Vec<(usize, Vec<usize>)> = Vec::new();
        while keys.len() < 150 {
            let n = keys.len();
            let op = match random(8) {
                0 => Op::write_at(read_only(), vec![0; 1], 0).untyped(),
                1 | 2 => Op::nop().not_inline().untyped(),
                _ => Op::nop().untyped(),
            };
            let target =
                (n > 0 && random(2) == 0).then(|| n - 1 - random(n.min(9) as u64) as usize);
            let op = match target {
                Some(target) if random(3) == 0 => op.after(After::Previous((n - target) as u32)),
                Some(target) => op.after(keys[target]),
                None => op,
            };
            after.push(target);
            let op = if random(4) == 0 {
                // A key of its own: a close that is cancelled leaves a group open.
                let (key, members) = group.get_or_insert((n as u64, Vec::new()));
                members.push(n);
                op.in_group(*key)
            } else {
                op
            };
            keys.push(queue.push(op, n));
            if random(9) == 0
                && let Some((key, of)) = group.take()
            {
                members.push((keys.len(), of));
                after.push(None);
                keys.push(queue.push(Op::group(key), keys.len()));
            }
            if random(12) == 0 {
                let _ = queue.cancel(keys[random(keys.len() as u64) as usize]);
            }
            if random(6) == 0 {
                let _ = queue.submit();
            }
            if random(6) == 0 {
                queue.wait(random(2) as usize, Timeout::Forever).unwrap();
                for _ in 0..random(5) {
                    let Some(done) = queue.pop().unwrap() else { break };
                    ends.push((done.token, done.result.map_err(|Errno(errno)| errno)));
                }
            }
        }
        ends.extend(rest(&mut queue));
        assert_eq!(ends.len(), keys.len());
        let closes = |n| members.iter().any(|(close, _)| *close == n);
        let failed = |n: usize| match ends[place(&ends, n)].1 {
            Ok(res) => res > 0 && closes(n),
            Err(_) => true,
        };
        for (n, target) in after.iter().enumerate() {
            let Some(target) = *target else { continue };
            let result = ends[place(&ends, n)].1;
            if result != CANCELED {
                assert!(!failed(target), "round {round}: {n} {result:?} after {target}");
                assert!(place(&ends, target) < place(&ends, n), "round {round}: {n}");
            }
        }
        for (close, of) in &members {
            if let Ok(count) = ends[place(&ends, *close)].1 {
                let failures = of.iter().filter(|n| failed(**n)).count() as u64;
                assert_eq!(count, failures, "round {round}: group of {close}: {of:?}");
                let late = of.iter().find(|n| place(&ends, **n) > place(&ends, *close));
                let late = late.map(|n| (n, after[*n], ends[place(&ends, *n)].1));
                assert_eq!(late, None, "round {round}: group of {close}: {of:?}, {count} failed");
            }
        }
    }
}
