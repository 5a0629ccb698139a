//! What becomes of a completion.

use crate::context::{Context, Inner, Slot, State, belongs_to, context_of};
use crate::request;
use aio2::Event;
use aio2_compat::fd;
use aio2_compat::hub::{self, Client, Results};
use aio2_record::Count;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::{Arc, MutexGuard};

/// This drop-in.
#[derive(Debug)]
pub struct Libaio;

/// The AIO2 context of this drop-in.
pub type Hub = hub::Hub<Libaio>;

/// Eventfds that are to be told, and of how many events.
type Told = Vec<(Arc<OwnedFd>, u64)>;

/// The user_data of a slot's request.
pub fn user_data(slot: NonNull<Slot>) -> u64 {
    slot.as_ptr().expose_provenance() as u64
}

impl Client for Libaio {
    type Left = Told;

    fn end<'e>(
        &self,
        hub: &Hub,
        mut events: impl Iterator<Item = Event<'e>>,
        results: &mut Results<Told>,
    ) {
        let mut next = events.next();
        // One lock for all that belong to the same context.
        while let Some(slot) = next.as_ref().and_then(slot_of) {
            // SAFETY: the request ends below, not before.
            let context: Arc<Context> = unsafe { context_of(slot) };
            let mut ending = Ending { hub, inner: context.lock(), ended: 0, eager: 0, told: 0 };
            while let Some(event) = &next
                && let Some(slot) = slot_of(event)
                // SAFETY: as above.
                && unsafe { belongs_to(slot, &context) }
            {
                ending.end(slot, event, results);
                next = events.next();
            }
            hub.have_ended(ending.ended, ending.eager);
            hub.count(Count::Events, ending.told);
            if ending.told > 0 {
                results.touched.push(context.address());
            }
        }
    }

    fn finish(&self, told: Told) {
        for (eventfd, count) in told {
            fd::signal(&eventfd, count);
        }
    }

    fn is_finished(told: &Told) -> bool {
        told.is_empty()
    }
}

/// The slot of a completion.
fn slot_of(event: &Event<'_>) -> Option<NonNull<Slot>> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(event.user_data() as usize))
}

/// Completions of one context, whose lock is held.
struct Ending<'h> {
    hub: &'h Hub,
    inner: MutexGuard<'h, Inner>,
    /// Of those that were left in flight, and of them those that are told at once.
    ended: usize,
    eager: usize,
    /// Events that were put into the ring.
    told: usize,
}

impl Ending<'_> {
    fn end(&mut self, at: NonNull<Slot>, event: &Event<'_>, results: &mut Results<Told>) {
        let res = event.parsed().header.res;
        let slot = self.inner.slot(at);
        if res == -i64::from(libc::ESPIPE) && !slot.is_stream {
            let asks = self.hub.recorder.is_some();
            if request::prepare_stream(slot, user_data(at), asks, &mut results.again).is_ok() {
                return;
            }
        }
        let was_in_flight = slot.state == State::InFlight;
        if was_in_flight {
            self.ended += 1;
            self.eager += usize::from(slot.eager);
        } else if let Some(errno) = request::refusal(slot, res) {
            slot.state = State::Refused(errno);
            self.inner.in_flight -= 1;
            return;
        }
        let cancelled_poll =
            slot.iocb.opcode == crate::legacy::POLL && res == -i64::from(libc::ECANCELED);
        if let Some(eventfd) = slot.eventfd.take() {
            match results.left.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &eventfd)) {
                Some((_, count)) => *count += 1,
                None => results.left.push((eventfd, 1)),
            }
        }
        let res = if cancelled_poll { 0 } else { res };
        if self.hub.recorder.is_some() {
            results.recorded.push(request::record(slot, event, res));
        }
        self.inner.complete(at, res);
        self.told += 1;
    }
}
