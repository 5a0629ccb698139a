//! Groups, order, deadlines and POLL by the library's typed operations.

use aio2::flags::{PollFlags, SeekFrom};
use aio2::{After, Context, Errno, Op, Queue, Timeout};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn queue() -> Queue<Vec<u8>, u32> {
    Queue::new(Context::new().unwrap())
}

/// The next `n` completions: token and result.
fn ends(queue: &mut Queue<Vec<u8>, u32>, n: usize) -> Vec<(u32, Result<u64, i32>)> {
    let mut ends = Vec::new();
    while ends.len() < n {
        queue.wait(1, Timeout::Forever).unwrap();
        while let Some(done) = queue.pop().unwrap() {
            ends.push((done.token, done.result.map_err(|Errno(errno)| errno)));
        }
    }
    ends
}

/// SPEC: R-GROUP-3
#[test]
fn a_list_ends_after_its_last_operation() {
    let mut queue = queue();
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let list = [
        (Op::read(reader, vec![0; 1]).untyped(), 1),
        (Op::write_at(file, vec![7; 10], 0).untyped(), 2),
        (Op::lseek(std::fs::File::open("/dev/null").unwrap(), SeekFrom::End(-1)).untyped(), 3),
    ];
    queue.push_list(5, list, 4, None);
    let mut first = ends(&mut queue, 2);
    first.sort_unstable();
    assert_eq!(first[0], (2, Ok(10)));
    writer.write_all(b"x").unwrap();
    assert_eq!(ends(&mut queue, 2)[1].0, 4);
    assert!(queue.is_empty());
}

/// SPEC: R-AFTER-1, R-AFTER-2
#[test]
fn operations_start_after_others() {
    let mut queue = queue();
    let (reader, mut writer) = UnixStream::pair().unwrap();
    queue.push(Op::read(reader, vec![0; 2]).full().in_group(1), 1);
    queue.push(Op::nop().after(After::Previous(1)), 2);
    queue.push(Op::nop().after(After::Group(1)), 3);
    queue.push(Op::nop().after(After::Request(u64::MAX)), 4);
    queue.push(Op::group(1), 5);
    assert_eq!(ends(&mut queue, 1), [(4, Err(libc::ENOENT))]);
    writer.write_all(b"x").unwrap();
    drop(writer);
    let mut rest = ends(&mut queue, 4);
    rest.sort_unstable();
    let cancelled = Err(libc::ECANCELED);
    assert_eq!(rest, [(1, Err(libc::ENODATA)), (2, cancelled), (3, cancelled), (5, Ok(1))]);
}

/// SPEC: R-OP-5, R-DEADLINE-1
#[test]
fn poll_waits_and_a_deadline_ends_it() {
    let mut queue = queue();
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let other = reader.try_clone().unwrap();
    let soon = Duration::from_millis(1);
    queue.push(Op::poll(reader, PollFlags::IN).deadline(soon), 1);
    assert_eq!(ends(&mut queue, 1), [(1, Err(libc::ETIMEDOUT))]);
    queue.push(Op::poll(other, PollFlags::IN), 2);
    queue.submit().unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(ends(&mut queue, 1), [(2, Ok(libc::POLLIN as u64))]);
}
