//! The end of a request, and what it brings about: others begin or fail, a
//! group ends, a signal is to be sent.
//!
//! The event is with the sink before anything else begins. What ends by the end
//! of another ends in a loop, not by recursion: chains may be long.
//!
//! SPEC: sections 9.1 (outcomes), 9.2 (R-GROUP-3), 9.3 (R-AFTER-1, R-AFTER-2).

mod ready;
mod times;

use crate::engine::host::seat::Seat;
use crate::engine::request::Request;
use crate::engine::request::operation::Operation;
use crate::engine::run;
use crate::engine::run::event::write_event;
use crate::engine::run::outcome::{self, Begun, Outcome};
use crate::engine::state::context::{Context, EventRoom, Job};
use crate::engine::state::order::Fate;
use crate::engine::state::slots::{Id, Lane, State};
use aio2_abi::attr::PATH_WORKER;
use libc::{ECANCELED, EOWNERDEAD};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// What became of a request that was to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It had not started, and has ended.
    Cancelled,
    /// It ran, and was told to stop.
    Interrupted,
    /// It runs on.
    TooLate,
}

impl Context {
    /// Ends request `id`, whose event is with the sink.
    #[inline]
    pub(crate) fn retire(&mut self, id: Id, request: &Request, result: i64) {
        self.end_one(id, request, result);
        self.settle();
    }

    /// Ends request `id`, which has no attribute that matters here, and whose
    /// event is with the sink.
    pub(crate) fn retire_plain(&mut self, id: Id, failed: bool) {
        self.slots.end(id, failed);
        self.order.end(id.slot() as u32, failed);
        self.settle();
    }

    /// Ends a request that never began, with `errno` (positive).
    pub(crate) fn abandon(&mut self, id: Id, request: &Request, errno: i32) {
        self.end_with(id, request, &Outcome::not_begun(errno));
        self.settle();
    }

    /// Ends a request of which nobody knows whether its operation had an
    /// effect, with `errno` (positive).
    pub(crate) fn give_up(&mut self, id: Id, request: &Request, errno: i32) {
        let told = Outcome { begun: Begun::Unknown, ..Outcome::not_begun(errno) };
        self.end_with(id, request, &told);
        self.settle();
    }

    /// Ends a request that is not running and whose job was taken, with `errno`
    /// (positive) in place of a result; whether it had begun.
    pub(crate) fn cut_short(&mut self, id: Id, job: &Job, errno: i32) -> bool {
        match run::result_if_stopped(&job.request, &job.progress, errno) {
            None => self.abandon(id, &job.request, errno),
            Some(result) => {
                self.complete(id, job, result);
                return true;
            }
        }
        false
    }

    /// Ends a request whose result came about by itself.
    pub(crate) fn complete(&mut self, id: Id, job: &Job, result: i64) {
        self.complete_one(id, job, result);
        self.settle();
    }

    /// Ends a request that has begun, and waits for its file, with `errno`
    /// (positive), or with what it has moved.
    pub(crate) fn complete_stopped(&mut self, id: Id, job: &Job, errno: i32) {
        let result = run::result_if_stopped(&job.request, &job.progress, errno);
        self.complete(id, job, result.unwrap_or(-i64::from(errno)));
    }

    /// Stops request `id`, in flight a moment ago, with `errno` (positive) in
    /// place of its result if that is possible.
    ///
    /// SPEC: R-CANCEL-2, R-CANCEL-4, R-CANCEL-7, R-DEADLINE-1, R-GROUP-5
    pub(crate) fn stop(&mut self, id: Id, errno: i32) -> Stopped {
        match self.slots.state(id) {
            // What it waited for was stopped just before.
            None => Stopped::Cancelled,
            Some(State::Queued) => {
                let Some(job) = self.slots.unqueue(id) else { return Stopped::TooLate };
                if self.cut_short(id, &job, errno) {
                    Stopped::Interrupted
                } else {
                    Stopped::Cancelled
                }
            }
            Some(State::Held) => {
                let started = !self.order.waits_to_start(id.slot() as u32);
                match self.slots.unhold(id) {
                    Some(job) if started => self.complete_stopped(id, &job, errno),
                    Some(job) => self.abandon(id, &job.request, errno),
                    None => {}
                }
                if started { Stopped::Interrupted } else { Stopped::Cancelled }
            }
            Some(State::Running) if self.polls.files.stop_try(id.get(), errno) => {
                Stopped::Interrupted
            }
            Some(State::Running) if self.device.interrupt(id, errno) => {
                self.bury_ring();
                Stopped::Interrupted
            }
            // First of all: another thread may have its number by now.
            Some(State::Running) if self.bury_worker_of(id) => Stopped::Interrupted,
            Some(State::Running) if self.workers.interrupt(id, errno) => {
                self.deferred.alarm = true;
                Stopped::Interrupted
            }
            Some(State::Running) => Stopped::TooLate,
        }
    }

    /// Starts or ends what was set free.
    pub(crate) fn settle(&mut self) {
        while let Some((slot, fate)) = self.order.next_freed() {
            let Some(id) = self.slots.user(slot) else { continue };
            let Some(job) = self.slots.unhold(id) else { continue };
            match fate {
                Fate::Start => self.queue(id, job),
                Fate::Fail => self.end_with(id, &job.request, &Outcome::not_begun(ECANCELED)),
                Fate::Closed(failed) => self.complete_one(id, &job, failed as i64),
            }
        }
    }

    fn end_one(&mut self, id: Id, request: &Request, result: i64) {
        let failed = request.has_failed(result);
        self.slots.end(id, failed);
        if let Some(signal) = request.plan.as_ref().and_then(|plan| plan.signal()) {
            self.deferred.send(signal);
        }
        if self.polls.files.has(id.get()) {
            let held = self.polls.leave(id);
            held.into_iter().for_each(|held| self.deferred.let_go(held));
            self.count_waiting();
        }
        if let Operation::Poll = request.operation {
            let fd = self.polls.unwatch(id);
            fd.into_iter().for_each(|fd| self.deferred.close(fd));
        }
        self.order.end(id.slot() as u32, failed);
    }

    fn end_with(&mut self, id: Id, request: &Request, told: &Outcome) {
        self.publish_one(request, told);
        self.end_one(id, request, told.result);
    }

    fn complete_one(&mut self, id: Id, job: &Job, result: i64) {
        let told = outcome::finish(&job.request, &job.progress, result, PATH_WORKER);
        self.end_with(id, &job.request, &told);
    }

    /// Publishes the terminal event of a request.
    pub(crate) fn publish_one(&mut self, request: &Request, told: &Outcome) {
        let mut room: EventRoom = [0; _];
        let bytes = write_event(request, told, room.as_mut_bytes()).len();
        self.publish(&room[..bytes / 8], 1, request.event_bytes as usize);
    }

    /// Ends the request of a worker that is no more, and lets another one take
    /// its place.
    ///
    /// SPEC: R-RUN-10, R-RUN-11
    pub(crate) fn bury(&mut self, dead: &Arc<Seat>) {
        self.workers.count -= 1;
        self.workers.seats.retain(|seat| !Arc::ptr_eq(seat, dead));
        self.deferred.jobs += self.slots.queued(Lane::Workers).min(1);
        let id = self.slots.in_flight().map(|r| r.id).find(|id| dead.runs(id.get()));
        if let Some(id) = id
            && let Some(job) = self.slots.running(id)
        {
            self.give_up(id, &job.request, EOWNERDEAD);
        }
    }

    /// Buries the worker of request `id` if it is no more; whether it was so.
    pub(crate) fn bury_worker_of(&mut self, id: Id) -> bool {
        let seat = self.workers.seats.iter().find(|seat| seat.runs(id.get()));
        // It ends of itself only when it runs nothing: a seccomp filter may have
        // killed it.
        let dead = seat.filter(|seat| seat.life.is_over()).cloned();
        dead.iter().for_each(|dead| self.bury(dead));
        dead.is_some()
    }

    /// Buries those that have not left, of workers that have all been joined.
    pub(crate) fn bury_the_rest(&mut self) {
        while let Some(dead) = self.workers.seats.last().cloned() {
            self.bury(&dead);
        }
    }
}
