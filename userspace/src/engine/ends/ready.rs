//! Requests that wait for a file, and what its readiness brings about.
//!
//! A request is added under the context's lock, so that it cannot become ready,
//! or be cancelled, half added.
//!
//! SPEC: R-OP-5, R-OP-6, R-ATTR-7, R-WAIT-1, R-WAIT-6.

use crate::engine::host::file;
use crate::engine::request::wait::Direction;
use crate::engine::run::{self, ready};
use crate::engine::state::context::{Context, Job};
use crate::engine::state::slots::{Id, Known, State};
use aio2_abi::event::{self, Encoder};
use libc::{EAGAIN, EBADF};
use zerocopy::IntoBytes;

impl Context {
    /// Holds request `id` until its file is ready.
    pub(crate) fn watch(&mut self, id: Id, mut job: Job) {
        job.progress.begin(&job.request);
        let added = self.deferred.expect_closes(self.polls.held() + 1);
        match added.and_then(|()| self.polls.watch(id, &job.request)) {
            Ok(is_watched) => {
                let result = if is_watched { None } else { ready::look(&job.request) };
                match result {
                    Some(result) => self.complete(id, &job, result),
                    None => {
                        self.slots.hold(id, job);
                        self.deferred.poller |= self.polls.needs_thread();
                    }
                }
            }
            // Its own result, wherever it is found.
            Err(EBADF) => self.complete(id, &job, -i64::from(EBADF)),
            Err(errno) => self.abandon(id, &job.request, errno),
        }
    }

    /// Has request `id` run by a worker, when its file is ready if it has to wait
    /// for that.
    pub(crate) fn dispatch(&mut self, id: Id, job: Job) {
        if let Some(job) = self.wait_first(id, job) {
            self.queue(id, job);
        }
    }

    /// Holds request `id` until its file is ready; gives it back if there is
    /// nothing to wait for, or no way to.
    ///
    /// SPEC: R-WAIT-1, R-WAIT-5
    pub(crate) fn wait_first(&mut self, id: Id, mut job: Job) -> Option<Job> {
        if !job.progress.waited {
            match job.request.waits_for() {
                Some(direction) if self.waits(id, &mut job, direction) => {
                    self.slots.hold(id, job);
                    self.deferred.poller |= self.polls.needs_thread();
                    return None;
                }
                Some(_) if !job.progress.tried => {}
                _ => job.progress.waited = true,
            }
        }
        Some(job)
    }

    /// Puts request `id` among those that wait for its file; false if its call may
    /// have something else to say first, or it cannot wait there.
    fn waits(&mut self, id: Id, job: &mut Job, direction: Direction) -> bool {
        let request = &job.request;
        let (Some(number), Some(fd)) = (request.fd, request.file()) else { return false };
        let would_wait =
            job.progress.stuck || run::waits_if_not_ready(request, &job.progress, number);
        if !(would_wait || self.overtakes(request)) || !file::is_blocking(number) {
            return false;
        }
        let timeout = match direction {
            Direction::In => file::receive_timeout(number),
            Direction::Out => file::send_timeout(number),
        };
        let is_socket = timeout.is_some();
        if !is_socket && !file::may_be_polled(number) {
            return false;
        }
        let timeout = timeout.filter(|&timeout| timeout > 0);
        let is_empty = direction == Direction::In && job.progress.tried && job.progress.stuck;
        let room = self.deferred.expect_closes(self.polls.held() + 1);
        // Without the timer it would wait for ever.
        let timer = timeout.map_or(Ok(()), |timeout| self.set_patience(id, timeout));
        if room.and(timer).is_err() {
            return false;
        }
        let waits = self.polls.wait(id, fd, direction, is_socket, is_empty);
        self.count_waiting();
        match waits {
            Ok(held) => {
                job.request.redirect(held);
                job.progress.begin(&job.request);
                true
            }
            Err(held) => {
                held.into_iter().for_each(|held| self.deferred.let_go(held));
                false
            }
        }
    }

    /// Request `id`, whose turn it is on its file, waits on.
    pub(crate) fn wait_on(&mut self, id: Id, job: Job) {
        self.slots.hold(id, job);
        self.polls.files.wait_on(id.get());
    }

    /// The socket of request `id`, which waits for it, has lost its patience.
    ///
    /// SPEC: R-WAIT-6
    pub(crate) fn lose_patience(&mut self, id: Id) {
        match self.slots.state(id) {
            Some(State::Held) if self.polls.files.has(id.get()) => {
                if let Some(job) = self.slots.unhold(id) {
                    self.complete_stopped(id, &job, EAGAIN);
                }
            }
            Some(State::Running) => {
                self.polls.files.stop_try(id.get(), EAGAIN);
            }
            // The worker's call has its own.
            _ => {}
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
        let event = Encoder::new(room.as_mut_bytes(), event::EventFlags::MORE, user_data, result);
        let fits = event.is_some() && self.sink.push_if_fits(&room);
        self.published += u64::from(fits);
        fits
    }
}
