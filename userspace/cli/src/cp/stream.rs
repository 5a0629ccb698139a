//! What can be read or written only once, from its beginning to its end: pipes,
//! fifos, devices.
//!
//! Duty: copy what such a source has to a new file, and a file to such a
//! target, as cp(1) does without -r; and look now and then whether to stop.

use super::contents::Worker;
use super::entry::{Decision, Entry, Target, look};
use super::failure::Failure;
use super::meta;
use super::place::{Commit, Place};
use super::session::Session;
use super::stat::{Kind, Stat};
use super::sys::{self, Fault, Named};
use aio2::SharedFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// How long is waited at once.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Copies what can be read of `source` to a file.
pub fn copy(
    cx: &Session,
    worker: &mut Worker,
    entry: &Entry,
    source: SharedFd,
    stat: &Stat,
) -> Result<(), Failure> {
    let Decision::Copy(target) = look(cx, entry, stat)? else {
        cx.tally.kept.add(1);
        return Ok(());
    };
    entry.tell(cx);
    match put(cx, worker, entry, &source, stat, &target)? {
        Commit::Done => cx.tally.files.add(1),
        Commit::Kept => cx.tally.kept.add(1),
        // What was read is gone.
        Commit::WriteThrough | Commit::WithName => {
            return Err(Failure::found(
                entry.target_path(),
                "what is there cannot be replaced, and the source can be read once only",
                "copy to another name",
            ));
        }
    }
    if cx.options.verify {
        cx.tally.unverified.add(1);
    }
    Ok(())
}

fn put(
    cx: &Session,
    worker: &mut Worker,
    entry: &Entry,
    source: &SharedFd,
    stat: &Stat,
    target: &Target<'_>,
) -> Result<Commit, Failure> {
    let extra = meta::Extra::default();
    let (place, copy, _) = Place::make(cx, entry, target, None)?;
    let copy = SharedFd::new(copy);
    let special = target.special && !target.there.is_some_and(|t| t.kind() == Kind::Regular);
    let filled = pour(cx, worker, entry, source, &copy).and_then(|_| {
        if special {
            return Ok(());
        }
        let traits = &entry.dir.traits;
        meta::give_to(cx, copy.as_fd(), stat, &extra, traits, None, target.kept_by_it())
            .and_then(|()| if cx.options.sync { sys::fsync(&copy) } else { Ok(()) })
            .map_err(|f| entry.at_target(f))
    });
    match filled {
        Ok(()) => place.commit(cx, entry, target, &copy),
        Err(failure) => {
            place.discard(cx, entry, target);
            Err(failure)
        }
    }
}

/// Reads to the end and writes; returns how many bytes there were.
pub fn pour(
    cx: &Session,
    worker: &mut Worker,
    entry: &Entry,
    source: &SharedFd,
    target: &SharedFd,
) -> Result<u64, Failure> {
    let buffer = worker.buffer().map_err(|f| entry.at_source(f))?;
    let mut total = 0;
    loop {
        ready(cx, source, PollFlags::IN).map_err(|f| entry.at_source(f))?;
        if cx.stopped() {
            return Err(Failure::stopped(entry.source_path()));
        }
        let bytes = match rustix::io::read(source, &mut *buffer) {
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Ok(0) => return Ok(total),
            read => read.named("read").map_err(|f| entry.at_source(f))?,
        };
        let mut rest = &buffer[..bytes];
        while !rest.is_empty() {
            if cx.stopped() {
                return Err(Failure::stopped(entry.source_path()));
            }
            match rustix::io::write(target, rest) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    ready(cx, target, PollFlags::OUT).map_err(|f| entry.at_target(f))?;
                }
                written => {
                    let written = written.named("write").map_err(|f| entry.at_target(f))?;
                    rest = &rest[written..];
                    total += written as u64;
                    cx.tally.bytes.add(written as u64);
                }
            }
        }
    }
}

/// Waits until there is something to read, or room to write, or the end.
fn ready(cx: &Session, fd: &SharedFd, events: PollFlags) -> Result<(), Fault> {
    while !cx.stopped() {
        match poll(&mut [PollFd::new(fd, events)], Some(&TURN)) {
            Ok(0) | Err(Errno::INTR) => {}
            result => return result.named("poll").map(|_| ()),
        }
    }
    Ok(())
}
