//! Requests that wait for a file, and what its readiness brings about.
//!
//! A request is added under the context's lock, so that it cannot become ready,
//! or be cancelled, half added.
//!
//! SPEC: R-OP-5, R-OP-6, R-ATTR-7.

use crate::engine::run::ready;
use crate::engine::state::context::{Context, Job};
use crate::engine::state::slots::{Id, Known};
use aio2_abi::event::{self, Encoder};
use libc::EBADF;
use zerocopy::IntoBytes;

impl Context {
    /// Holds request `id` until its file is ready.
    pub(crate) fn watch(&mut self, id: Id, job: Job) {
        let watched = self.polls.watched.len() + 1;
        let added = self.deferred.expect_closes(watched);
        match added.and_then(|()| self.polls.watch(id, &job.request)) {
            Ok(is_watched) => {
                let result = if is_watched { None } else { ready::look(&job.request) };
                match result {
                    Some(result) => self.complete(id, &job, result),
                    None => {
                        self.slots.hold(id, job);
                        self.deferred.poller |= !self.polls.exists;
                    }
                }
            }
            // Its own result, wherever it is found.
            Err(EBADF) => self.complete(id, &job, -i64::from(EBADF)),
            Err(errno) => self.abandon(id, &job.request, errno),
        }
    }

    /// The file of request `id` is ready for `events`.
    pub(crate) fn is_ready(&mut self, id: u64, events: u32) {
        let Known::InFlight(id) = self.slots.known(id) else { return };
        let Some(job) = self.slots.held(id) else { return };
        if !self.polls.watched.contains_key(&id.get()) {
            return;
        }
        let result = i64::from(events & 0xffff);
        if job.request.is_multishot() {
            let user_data = job.request.user_data;
            if self.publish_more(user_data, result) {
                return;
            }
        }
        if let Some(job) = self.slots.unhold(id) {
            self.complete(id, &job, result);
        }
    }

    /// Publishes an event that is not the last; false if the ring has no room
    /// for it. It needs no memory, and counts against no limit.
    ///
    /// SPEC: R-OP-6, R-OVF-8
    fn publish_more(&mut self, user_data: u64, result: i64) -> bool {
        let mut room = [0; event::HEADER_BYTES / 8];
        Encoder::new(room.as_mut_bytes(), event::Flags::MORE, user_data, result).is_some()
            && self.sink.push_if_fits(&room)
    }
}
