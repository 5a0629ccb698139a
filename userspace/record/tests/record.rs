//! A record is read as far as it is whole.

use aio2_record::{Count, Counters, Recorder, Request, read};
use std::fs;

fn request(n: u64) -> Request {
    Request { nr: 17, fd: 0, offset: n, length: 4096, result: 4096, ..Request::default() }
}

#[test]
fn what_was_taken_is_read_in_order_with_the_names_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let file = fs::File::create(dir.path().join("named")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let recorder = Recorder::to(&path).unwrap();
    for n in 0..5000 {
        recorder.take(Request { fd, ..request(n) });
    }
    recorder.flush();
    let record = read(&path).unwrap();
    let offsets: Vec<u64> = record.requests.iter().map(|r| r.offset).collect();
    assert_eq!(offsets, (0..5000).collect::<Vec<_>>());
    assert_eq!((record.lost, record.cut_off), (0, 0));
    let first = &record.requests[0];
    assert!(record.names[&(first.pid, first.name)].ends_with("/named"));
}

/// A copier uses the same few descriptors for file after file.
#[test]
fn a_descriptor_that_is_another_file_has_its_name() {
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let recorder = Recorder::to(&path).unwrap();
    let mut wanted = Vec::new();
    for n in 0..50 {
        let name = dir.path().join(format!("file-{n}"));
        let file = fs::File::create(&name).unwrap();
        for _ in 0..3 {
            recorder.take(Request { fd: file.as_raw_fd(), ..request(n) });
            wanted.push(name.to_str().unwrap().to_owned());
        }
    }
    recorder.flush();
    let record = read(&path).unwrap();
    let names: Vec<_> =
        record.requests.iter().map(|r| record.names[&(r.pid, r.name)].clone()).collect();
    assert_eq!(names, wanted);
}

/// A daemon closes every descriptor that it does not know.
#[test]
fn a_program_that_has_taken_the_descriptor_keeps_its_file() {
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let recorder = Recorder::to(&path).unwrap();
    recorder.take(request(1));
    recorder.flush();
    let own = fs::File::create(dir.path().join("own")).unwrap();
    let is_record =
        |fd: &i32| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|name| name == path);
    let fd = (0..1024).find(is_record).expect("the record is open");
    // SAFETY: nobody of this program relies on that descriptor.
    assert_eq!(unsafe { libc::dup2(own.as_raw_fd(), fd) }, fd);
    recorder.take(request(2));
    recorder.flush();
    assert_eq!(fs::metadata(dir.path().join("own")).unwrap().len(), 0);
    assert_eq!(read(&path).unwrap().requests.len(), 2);
}

#[test]
fn a_record_that_is_cut_anywhere_is_read_up_to_the_last_whole_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let recorder = Recorder::to(&path).unwrap();
    let mut ends = vec![0];
    for block in 0..4 {
        for n in 0..10 {
            recorder.take(request(block * 10 + n));
        }
        recorder.flush();
        ends.push(fs::metadata(&path).unwrap().len() as usize);
    }
    let whole = fs::read(&path).unwrap();
    let cut = dir.path().join("cut");
    for length in (ends[1]..=whole.len()).step_by(7) {
        fs::write(&cut, &whole[..length]).unwrap();
        let record = read(&cut).unwrap();
        let blocks = ends.iter().filter(|end| **end <= length).count() - 1;
        assert_eq!(record.requests.len(), blocks * 10, "cut at {length}");
        assert!(record.cut_off <= (length - ends[blocks]) as u64);
    }
    // A byte that is not what was written ends it as well.
    let mut spoilt = whole.clone();
    spoilt[ends[2] + 40] ^= 1;
    fs::write(&cut, &spoilt).unwrap();
    assert_eq!(read(&cut).unwrap().requests.len(), 20);
    fs::write(&cut, b"something else entirely, and long enough").unwrap();
    assert!(read(&cut).is_err());
}

#[test]
fn memory_is_bounded_and_what_is_lost_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record");
    let recorder = Recorder::to(&path).unwrap();
    let all = 500_000;
    for n in 0..all {
        recorder.take(request(n));
    }
    recorder.flush();
    recorder.take(request(all));
    recorder.flush();
    let record = read(&path).unwrap();
    assert_eq!(record.requests.len() as u64 + record.lost, all + 1);
}

#[test]
fn counters_are_shared_by_all_who_open_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("count");
    let (one, other) = (Counters::open(&path).unwrap(), Counters::open(&path).unwrap());
    one.add(Count::Events, 3);
    other.add(Count::Events, 4);
    assert_eq!((one.get(Count::Events), one.get(Count::Contexts)), (7, 0));
}
