//! What becomes of a completion.

use crate::encode::{self, push, request_of};
use crate::notice::Notice;
use crate::table::{Inner, Kind, Place, Table};
use aio2::{Event, Iocbs};
use aio2_abi::event::EventFlags;
use aio2_abi::iocb::Stream;
use aio2_compat::hub::{self, Client, Results};
use aio2_record::Count;
use libc::{ECANCELED, ENOENT, ESPIPE, ESTALE};

/// This drop-in, with the requests of the program.
pub struct Posix(pub &'static Table);

/// The AIO2 context of this drop-in.
pub type Hub = hub::Hub<Posix>;

/// All who sleep are told of each completion: they know what they wait for.
pub const EVERYBODY: usize = 1;

impl Client for Posix {
    type Left = Vec<Notice>;

    fn end<'e>(
        &self,
        hub: &Hub,
        events: impl Iterator<Item = Event<'e>>,
        results: &mut Results<Vec<Notice>>,
    ) {
        events.for_each(|event| self.end_one(hub, &event, results));
    }

    fn finish(&self, notices: Vec<Notice>) {
        notices.into_iter().for_each(Notice::give);
    }

    fn is_finished(notices: &Vec<Notice>) -> bool {
        notices.is_empty()
    }
}

impl Posix {
    /// Ends the request of a completion.
    fn end_one(&self, hub: &Hub, event: &Event<'_>, results: &mut Results<Vec<Notice>>) {
        // SAFETY: what this drop-in submits has 0 or a place there.
        let Some(place) = (unsafe { Place::of(event.user_data()) }) else { return };
        let header = event.parsed().header;
        let mut table = self.0.lock();
        let request = table.at(place);
        if request.kind == Kind::List {
            request.group_has_ended = true;
            end_list(hub, &mut table, place, results);
            return;
        }
        let errno = i32::try_from(-header.res).unwrap_or(0);
        let has_no_positions =
            errno == ESPIPE && !request.is_stream && !matches!(request.kind, Kind::Sync(_));
        // The others have ended, one of them badly, or are not known any more.
        let was_held_up = request.waits
            && !request.is_unwanted
            && matches!(errno, ECANCELED | ENOENT | ESTALE)
            && header.flags & EventFlags::NOT_STARTED.bits() != 0;
        if has_no_positions || was_held_up {
            request.is_stream |= has_no_positions;
            let list = request.list.filter(|_| !request.runs_again);
            if again(hub, &mut table, place) {
                if let Some(list) = list {
                    table.at(place).runs_again = true;
                    table.at(list).run_again += 1;
                }
                return;
            }
        }
        let request = table.at(place);
        let runs_again = request.runs_again;
        let mut res = header.res;
        let notice = match Notice::of(&request.described.sigevent) {
            Ok(notice) => notice,
            Err(errno) => {
                res = -i64::from(errno);
                None
            }
        };
        if hub.recorder.is_some() {
            results.recorded.push(encode::record(request, event, header.res));
        }
        let (control, list) = (request.control, request.list);
        let eager = request.described.sigevent.tells();
        table.release(place, res);
        hub.have_ended(1, usize::from(eager));
        hub.count(Count::Events, 1);
        results.left.extend(notice);
        if let Some(control) = control {
            control.end(res);
        }
        if let Some(list) = list {
            let of = table.at(list);
            of.has_failed |= res < 0;
            if runs_again {
                of.run_again -= 1;
                end_list(hub, &mut table, list, results);
            }
        }
        tell(results);
    }
}

fn tell(results: &mut Results<Vec<Notice>>) {
    if results.touched.is_empty() {
        results.touched.push(EVERYBODY);
    }
}

/// Ends a list, if its group has ended and no member of it runs again.
fn end_list(hub: &Hub, table: &mut Inner, list: Place, results: &mut Results<Vec<Notice>>) {
    let of = table.at(list);
    if !of.group_has_ended || of.run_again > 0 {
        return;
    }
    let event = of.described.sigevent;
    let result = if of.has_failed { -i64::from(libc::EIO) } else { 0 };
    // What cannot be told is told to nobody: there is no struct aiocb for it.
    results.left.extend(Notice::of(&event).ok().flatten());
    table.release(list, result);
    hub.have_ended(1, usize::from(event.tells()));
    tell(results);
}

/// Submits a request again that has not moved anything, without what it waited
/// for; false if it was not accepted.
fn again(hub: &Hub, table: &mut Inner, place: Place) -> bool {
    let (fd, appends) = (table.at(place).described.fd, table.at(place).appends);
    table.at(place).id = 0;
    // Behind those that run again before it.
    let order = table.at(place).order;
    let before = if appends { table.append_before(fd, order) } else { None };
    let request = table.at(place);
    request.waits = before.is_some();
    let mut stream = Iocbs::new();
    push(&mut stream, request, place, hub.recorder.is_some(), before.map(request_of), None);
    // SAFETY: the program vouches for its buffers; it has ended, and begins again.
    let accepted = unsafe { hub.submit(&mut stream) };
    let mut iocbs = Stream::new(&stream.bytes()[..accepted]).into_iter().flatten();
    let accepted = iocbs.next().and_then(Result::ok);
    if let Some(iocb) = &accepted {
        request.id = iocb.header.id;
    }
    accepted.is_some()
}
