//! A regular file, from its source to its final name.
//!
//! Duty: the order of the steps that make a complete copy or none. Not here:
//! moving its bytes (`contents`), and what can be read once only (`stream`).

use super::contents::{self, Worker};
use super::entry::{Decision, Entry, Target, look};
use super::failure::Failure;
use super::job::Job;
use super::links;
use super::meta;
use super::place::{Commit, Place};
use super::session::Session;
use super::stat::{Kind, Stat};
use super::stream;
use super::sys::{self, At, Fault};
use aio2::SharedFd;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// A copy that is complete but for being durable and having its name.
#[derive(Debug)]
pub struct Staged<'a> {
    entry: &'a Entry,
    source: SharedFd,
    stat: Stat,
    target: Target<'a>,
    place: Place,
    /// The copy, open.
    pub copy: SharedFd,
    end: u64,
}

/// How an attempt went.
enum Attempt {
    Ended(Commit),
    /// The source is not what it was when the attempt began.
    Changed(Stat),
    /// What is there cannot be replaced.
    WriteThrough,
}

/// Copies the regular file `entry`; if it is to be made durable, that and the
/// rest are left to [`Staged::settle`].
pub fn copy<'a>(
    cx: &Session,
    worker: &mut Worker,
    entry: &'a Entry,
) -> Result<Option<Staged<'a>>, Failure> {
    let source = open_source(&entry.source(), entry.follow).map_err(|f| entry.at_source(f))?;
    let stat = sys::fstat(&source).map_err(|f| entry.at_source(f))?;
    if stat.kind() == Kind::Special && !cx.options.recursive {
        return stream::copy(cx, worker, entry, source, &stat).map(|()| None);
    }
    if stat.kind() != Kind::Regular {
        return Err(Failure::found(
            entry.source_path(),
            "it is no longer a regular file",
            "it was replaced since its directory was listed; copy again",
        ));
    }
    if links::may_be(cx, &stat) {
        let copy = || now(cx, worker, entry, source, stat);
        return links::copy(cx, entry, &stat, copy).map(|()| None);
    }
    if !cx.options.sync {
        return now(cx, worker, entry, source, stat).map(|_| None);
    }
    match decide(cx, entry, &stat)? {
        Some(target) => stage(cx, worker, entry, source, stat, target).map(Some),
        None => Ok(None),
    }
}

/// Opens a file to read. Should it have become a fifo, that must not wait for
/// a writer; a lease, though, is waited for.
fn open_source(at: &At<'_>, follow: bool) -> Result<SharedFd, Fault> {
    let mut flags = OFlags::RDONLY | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    match sys::open(at, flags | OFlags::NONBLOCK, 0) {
        Err(fault) if fault.errno.0 == libc::EAGAIN => {
            let found = sys::open(at, flags | OFlags::PATH, 0)?;
            if sys::fstat(&found)?.kind() != Kind::Regular {
                return Err(fault);
            }
            let path = sys::fd_path(found.as_fd());
            let at = At { dir: rustix::fs::CWD, name: path.into() };
            sys::open(&at, OFlags::RDONLY | OFlags::NOCTTY, 0).map(SharedFd::new)
        }
        opened => opened.map(SharedFd::new),
    }
}

/// Where the copy goes; `None` if what is there stays.
fn decide<'a>(cx: &Session, entry: &'a Entry, stat: &Stat) -> Result<Option<Target<'a>>, Failure> {
    match look(cx, entry, stat)? {
        Decision::Copy(target) => {
            entry.tell(cx);
            Ok(Some(target))
        }
        Decision::Keep => {
            cx.tally.kept.add(1);
            Ok(None)
        }
    }
}

/// Copies at once, until the name is given.
fn now(
    cx: &Session,
    worker: &mut Worker,
    entry: &Entry,
    source: SharedFd,
    stat: Stat,
) -> Result<Commit, Failure> {
    let Some(target) = decide(cx, entry, &stat)? else { return Ok(Commit::Kept) };
    let staged = stage(cx, worker, entry, source, stat, target)?;
    if cx.options.sync {
        sys::fsync(&staged.copy).map_err(|f| entry.at_target(f))?;
    }
    staged.settle(cx, worker, Ok(()))
}

/// Fills a new file and gives it the metadata.
fn stage<'a>(
    cx: &Session,
    worker: &mut Worker,
    entry: &'a Entry,
    source: SharedFd,
    stat: Stat,
    target: Target<'a>,
) -> Result<Staged<'a>, Failure> {
    let traits = &entry.dir.traits;
    let extra = meta::read(cx, source.as_fd(), false);
    let birth = meta::birth_mode(cx, &stat, &extra, traits).filter(|_| target.there.is_none());
    let (place, copy, born) = Place::make(cx, entry, &target, birth)?;
    let copy = SharedFd::new(copy);
    let special = target.special && !target.there.is_some_and(|t| t.kind() == Kind::Regular);
    let filled = if special {
        stream::pour(cx, worker, entry, &source, &copy)
    } else {
        let job = Job { entry, source: &source, target: &copy, stat: &stat };
        contents::copy(cx, worker, &job).and_then(|end| {
            let there = target.kept_by_it();
            meta::give_to(cx, copy.as_fd(), &stat, &extra, traits, born, there)
                .map_err(|f| entry.at_target(f))?;
            Ok(end)
        })
    };
    match filled {
        Ok(end) => Ok(Staged { entry, source, stat, target, place, copy, end }),
        Err(failure) => {
            place.discard(cx, entry, &target);
            Err(failure)
        }
    }
}

impl Staged<'_> {
    /// Gives the copy its name, if it was made durable and is what the source
    /// is; if the source has changed meanwhile, copies it again.
    pub fn settle(
        self,
        cx: &Session,
        worker: &mut Worker,
        durable: Result<(), Fault>,
    ) -> Result<Commit, Failure> {
        let entry = self.entry;
        let mut staged = self;
        if let Err(fault) = durable {
            staged.place.discard(cx, entry, &staged.target);
            return Err(entry.at_target(fault));
        }
        let mut attempts = ATTEMPTS;
        loop {
            let source = staged.source.clone();
            let (attempt, mut target, stat) = staged.attempt(cx, worker)?;
            let stat = match attempt {
                Attempt::Ended(commit) => {
                    match commit {
                        Commit::Kept => cx.tally.kept.add(1),
                        _ => cx.tally.files.add(1),
                    }
                    return Ok(commit);
                }
                Attempt::WriteThrough => {
                    target.special = true;
                    stat
                }
                Attempt::Changed(later) => {
                    attempts -= 1;
                    if attempts == 0 {
                        return Err(changed(entry));
                    }
                    later
                }
            };
            staged = stage(cx, worker, entry, source, stat, target)?;
            if cx.options.sync {
                sys::fsync(&staged.copy).map_err(|f| entry.at_target(f))?;
            }
        }
    }
}

impl<'a> Staged<'a> {
    /// Compares if that is asked for, looks whether the source is what it was,
    /// and gives the name.
    fn attempt(
        self,
        cx: &Session,
        worker: &mut Worker,
    ) -> Result<(Attempt, Target<'a>, Stat), Failure> {
        let Staged { entry, source, stat, target, place, copy, end } = self;
        let special = target.special && !target.there.is_some_and(|t| t.kind() == Kind::Regular);
        let job = Job { entry, source: &source, target: &copy, stat: &stat };
        let verified = match cx.options.verify {
            true if special => {
                cx.tally.unverified.add(1);
                Ok(())
            }
            true => verify(cx, worker, &job, end),
            false => Ok(()),
        };
        let later = sys::fstat(&source).map_err(|f| entry.at_source(f));
        let changed = match (later, verified) {
            (Ok(later), _) if !stat.unchanged(&later) && !special => Ok(Some(later)),
            (Ok(_), Ok(())) => Ok(None),
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        match changed {
            Ok(None) => {}
            Ok(Some(later)) => {
                place.discard(cx, entry, &target);
                return Ok((Attempt::Changed(later), target, stat));
            }
            Err(failure) => {
                place.discard(cx, entry, &target);
                return Err(failure);
            }
        }
        let attempt = match place.commit(cx, entry, &target, &copy)? {
            Commit::WriteThrough => Attempt::WriteThrough,
            Commit::WithName => {
                entry.dir.traits.names_all.store(true, Ordering::Relaxed);
                Attempt::Changed(stat)
            }
            commit => Attempt::Ended(commit),
        };
        Ok((attempt, target, stat))
    }
}

/// Reads both files again and compares.
fn verify(cx: &Session, worker: &mut Worker, job: &Job<'_>, end: u64) -> Result<(), Failure> {
    // As far as possible from the device: what is not yet written out stays.
    let _hint = rustix::fs::fadvise(job.target, 0, None, rustix::fs::Advice::DontNeed);
    contents::verify(cx, worker, job, end)
}

fn changed(entry: &Entry) -> Failure {
    Failure::found(
        entry.source_path(),
        format!("it changed while it was copied, {ATTEMPTS} times in a row"),
        "copy it when nobody writes to it; the target was left as it was",
    )
}
