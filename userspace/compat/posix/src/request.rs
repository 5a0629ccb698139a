//! The requests of one call of the program, and what must run before what.

use crate::aiocb::{Control, PRIORITY_MAX};
use crate::client::Hub;
use crate::encode::{push, request_of};
use crate::process::Process;
use crate::table::{Inner, Kind, Place, Request};
use aio2::Iocbs;
use aio2_abi::attr::{AFTER_GROUP, AFTER_STREAM, After, Group};
use aio2_abi::iocb::{IocbFlags, Stream};
use aio2_abi::{attr, op};
use aio2_record::Count;
use libc::{EAGAIN, EBADF, EINVAL};
use std::cell::RefCell;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Requests of one call.
#[derive(Default)]
pub struct Submission {
    stream: Iocbs,
    /// Those of the stream that are in the table, in order.
    places: Vec<(Place, u64)>,
    /// Descriptor and number in the stream of what appends to its file.
    appends: Vec<(i32, usize)>,
    /// What was found of the descriptor that was asked about last, for writes or
    /// for reads.
    file: Option<(i32, bool, (bool, bool))>,
}

/// Calls `run` with memory of this thread, which each call uses again.
pub fn with_submission<T>(run: impl Fn(&mut Submission) -> T) -> T {
    thread_local! {
        static SUBMISSION: RefCell<Submission> = RefCell::default();
    }
    let reuse = |submission: &RefCell<Submission>| {
        let mut submission = submission.try_borrow_mut().ok()?;
        submission.stream.clear();
        submission.places.clear();
        submission.appends.clear();
        submission.file = None;
        Some(run(&mut submission))
    };
    // Where the thread is at its end, or in a signal handler, it has none.
    let reused = SUBMISSION.try_with(reuse).ok().flatten();
    reused.unwrap_or_else(|| run(&mut Submission::default()))
}

impl Submission {
    /// Appends the transfer that a struct aiocb describes, as a member of a list
    /// or by itself.
    ///
    /// # Errors
    /// EINVAL, positive, which the struct aiocb says too.
    pub fn transfer(
        &mut self,
        process: &'static Process,
        hub: &Hub,
        control: Control,
        writes: bool,
        list: Option<(Place, u64)>,
    ) -> Result<(), i32> {
        let described = control.described();
        if !(0..=PRIORITY_MAX).contains(&described.priority) {
            control.end(-i64::from(EINVAL));
            return Err(EINVAL);
        }
        let (is_stream, appends) = self.of_file(described.fd, writes);
        let kind = if writes { Kind::Write } else { Kind::Read };
        let mut table = process.table.lock();
        let before = if appends { self.append_before(&mut table, described.fd) } else { None };
        let place = table.claim(kind);
        let request = table.at(place);
        request.control = Some(control);
        request.described = described;
        (request.appends, request.is_stream) = (appends, is_stream);
        request.list = list.map(|(list, _)| list);
        request.waits = before.is_some();
        self.add(hub, request, place, before, list.map(|(_, group)| group));
        Ok(())
    }

    /// Whether a descriptor's file has no positions, and whether what is written
    /// to it goes to its end. Asked once for requests in a row.
    fn of_file(&mut self, fd: i32, writes: bool) -> (bool, bool) {
        if self.file.is_none_or(|(of, for_writes, _)| (of, for_writes) != (fd, writes)) {
            // SAFETY: takes no address.
            let position = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
            let is_stream = position < 0
                && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESPIPE);
            let appends =
                writes && !is_stream && flags(fd).is_ok_and(|flags| flags & libc::O_APPEND != 0);
            self.file = Some((fd, writes, (is_stream, appends)));
        }
        self.file.map_or((false, false), |(.., known)| known)
    }

    /// What a write that appends has to wait for.
    fn append_before(&mut self, table: &mut Inner, fd: i32) -> Option<After> {
        let number = self.stream.count();
        let here = self.appends.iter().rev().find(|(of, _)| *of == fd);
        let here = here.map(|(_, at)| (number - at) as u64);
        self.appends.push((fd, number));
        here.map(|target| After { target, kind: AFTER_STREAM, resv: 0 })
            .or_else(|| table.last_append(fd).map(request_of))
    }

    /// Appends a sync of a descriptor, behind all that is in flight on it.
    pub fn sync(&mut self, process: &Process, hub: &Hub, control: Control, data: bool) {
        let described = control.described();
        let mut table = process.table.lock();
        let others = table.of_descriptor(described.fd);
        let ids: Vec<u64> =
            others.iter().map(|other| table.at(*other).id).filter(|id| *id != 0).collect();
        // AFTER has one target: a group of requests that wait for one each.
        let group = (!ids.is_empty()).then(|| process.new_group());
        if let Some(key) = group {
            for id in ids {
                let _ =
                    self.stream.push(op::NOP, &[], IocbFlags::empty(), 0).and_then(|mut nop| {
                        nop.attr(
                            attr::AFTER,
                            attr::AttrFlags::REQUIRED,
                            request_of(id).as_bytes(),
                        )?;
                        nop.attr(attr::GROUP, attr::AttrFlags::REQUIRED, Group { key }.as_bytes())
                    });
            }
        }
        let place = table.claim(Kind::Sync(data));
        let request = table.at(place);
        request.control = Some(control);
        request.described = described;
        request.waits = group.is_some();
        let after = group.map(|target| After { target, kind: AFTER_GROUP, resv: 0 });
        self.add(hub, request, place, after, None);
        if let Some(key) = group {
            let _ = self.stream.push(op::GROUP, &[key], IocbFlags::empty(), 0);
        }
    }

    /// Appends the end of a list.
    pub fn close(&mut self, place: Place, group: u64) {
        let closed = self.stream.push(op::GROUP, &[group], IocbFlags::empty(), place.user_data());
        debug_assert!(closed.is_ok(), "one argument fits");
        self.places.push((place, place.number()));
    }

    fn add(
        &mut self,
        hub: &Hub,
        request: &mut Request,
        place: Place,
        after: Option<After>,
        group: Option<u64>,
    ) {
        let asks = hub.recorder.is_some();
        if asks {
            request.tid = aio2_record::thread_id();
        }
        push(&mut self.stream, request, place, asks, after, group);
        hub.leave_in_flight(1, usize::from(request.described.sigevent.tells()));
        if let Some(control) = request.control {
            control.begin();
        }
        self.places.push((place, place.number()));
    }

    /// Submits what was appended, and hands out what has ended already; how many
    /// of the program's requests were not accepted. Those have ended with EAGAIN.
    pub fn submit(&mut self, process: &Process, hub: &Arc<Hub>) -> usize {
        hub.count(Count::Submissions, 1);
        // SAFETY: the program vouches for its buffers, as it does to the original.
        let accepted = unsafe { hub.submit(&mut self.stream) };
        hub.drain();
        let mut iocbs = Stream::new(&self.stream.bytes()[..accepted]).into_iter().flatten();
        let mut iocbs = iocbs.by_ref().flatten().filter(|iocb| iocb.header.user_data != 0);
        let (mut refused, mut tells) = (0, false);
        for &(place, number) in &self.places {
            let accepted = iocbs.next();
            // Ended, and perhaps taken by another one.
            if accepted.is_some() && place.number() != number {
                hub.count(Count::Requests, 1);
                continue;
            }
            let mut table = process.table.lock();
            let request = table.at(place);
            tells |= request.described.sigevent.tells();
            if let Some(iocb) = accepted {
                // It may run again already, under another id.
                if place.number() == number && request.id == 0 {
                    request.id = iocb.header.id;
                }
                hub.count(Count::Requests, 1);
                continue;
            }
            let (control, eager) = (request.control, request.described.sigevent.tells());
            table.release(place, -i64::from(EAGAIN));
            hub.have_ended(1, usize::from(eager));
            if let Some(control) = control {
                control.end(-i64::from(EAGAIN));
            }
            refused += 1;
        }
        if tells {
            hub.start_pump();
            hub.see_to_it();
        }
        refused
    }
}

/// The flags of a descriptor.
///
/// # Errors
/// EBADF, positive.
pub fn flags(fd: i32) -> Result<i32, i32> {
    // SAFETY: takes no address.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 { Err(EBADF) } else { Ok(flags) }
}
