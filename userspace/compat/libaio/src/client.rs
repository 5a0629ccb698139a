//! What becomes of a completion.

use crate::context::{Context, Slot, State, context_of};
use crate::request;
use aio2::Event;
use aio2_compat::fd;
use aio2_compat::hub::{self, Client, Results};
use aio2_record::Count;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;

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

    fn end(&self, hub: &Hub, event: &Event<'_>, results: &mut Results<Told>) {
        let slot = std::ptr::with_exposed_provenance_mut(event.user_data() as usize);
        let Some(at) = NonNull::new(slot) else { return };
        let res = event.parsed().header.res;
        // SAFETY: the request ends here, not before.
        let context: Arc<Context> = unsafe { context_of(at) };
        let mut inner = context.lock();
        let slot = inner.slot(at);
        if res == -i64::from(libc::ESPIPE) && !slot.is_stream {
            let asks = hub.recorder.is_some();
            if request::prepare_stream(slot, user_data(at), asks, &mut results.again).is_ok() {
                return;
            }
        }
        let was_in_flight = slot.state == State::InFlight;
        if was_in_flight {
            hub.has_ended(slot.eager);
        }
        if !was_in_flight && let Some(errno) = request::refusal(slot, res) {
            slot.state = State::Refused(errno);
            inner.in_flight -= 1;
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
        if hub.recorder.is_some() {
            results.recorded.push(request::record(slot, event, res));
        }
        inner.complete(at, res);
        hub.count(Count::Events, 1);
        let address = context.address();
        if results.touched.last() != Some(&address) {
            results.touched.push(address);
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
