//! io_uring or Linux AIO underneath: transfers that wait for nothing but a device of
//! this machine, with io_uring also reads of what is not in the page cache.
//!
//! One thread for a context, created with the first such request, gives them to
//! the kernel and takes their results; it runs nothing itself. What comes back
//! whole is the result. Of all else, an error, a part, what would have to wait,
//! a worker makes the plain call, or goes on with it: so a result is never
//! another than that of a thread, whatever the facility says.
//!
//! Where neither can be had, or no more, workers run what is queued.
//!
//! SPEC: R-RUN-14, R-RUN-15, R-RUN-4, R-RUN-10.
#![allow(unsafe_code)] // passes on what the submitter vouches for

use crate::engine::host::device::{self, Bell, Facility, Name, Ring};
use crate::engine::host::life::Life;
use crate::engine::host::thread::{self, Thread};
use crate::engine::request::Request;
use crate::engine::request::operation::Operation;
use crate::engine::request::progress::Progress;
use crate::engine::request::transfer::{AtOffset, Transfer};
use crate::engine::run::outcome::{self, Outcome};
use crate::engine::run::sure::Facts;
use crate::engine::state::context::{Context, Job, Shared};
use crate::engine::state::device::{MOST, Reach, RingSeat};
use crate::engine::state::slots::{Id, Lane};
use crate::os::clock;
use crate::syscall::Class;
use aio2_abi::attr::{CACHE, CHECKSUM, PATH, PATH_DEVICE, TIMING};
use libc::EOWNERDEAD;
use std::sync::Arc;
use std::time::Duration;

/// How long the thread waits for a request before it goes.
const IDLE: Duration = Duration::from_secs(1);

/// Whether `request` is one for a device.
///
/// The kernel makes no other difference between what it runs in its own workers
/// and what the engine's run: these are left to the latter, and what takes the
/// thread's time (a checksum, dropping pages) or its priority, too.
pub(super) fn suits(
    request: &Request,
    progress: &Progress,
    facts: &mut Facts,
    reach: Reach,
) -> bool {
    if reach == Reach::Nothing {
        return false;
    }
    let Operation::Syscall(class @ (Class::Read | Class::Write)) = request.operation else {
        return false;
    };
    let needs_thread = request.plan.as_ref().is_some_and(|plan| {
        plan.ioprio().is_some() || plan.drops_behind() || plan.measures(CHECKSUM)
    });
    !needs_thread
        && Transfer::new(&request.call, class).is_some_and(|transfer| {
            transfer.flags() == 0
                && transfer.has_usual_length()
                && transfer.at_offset().is_some()
                && match reach {
                    // Of a pipe or a socket it would overlook the offset.
                    Reach::Everything(_) => {
                        facts.has_offsets(transfer.fd())
                            && !request.measures(CACHE)
                            && !request.measures(PATH)
                    }
                    // What was begun goes on with a worker.
                    Reach::Direct(Facility::IoUring) if progress.misses_page() => {
                        progress.done == 0
                            && transfer.is_read
                            && facts.is_cached_on_device(transfer.fd())
                    }
                    _ => facts.is_direct(transfer.fd()),
                }
        })
}

/// Sees to it that the thread is there and looks at the queue.
pub(super) fn ensure(shared: &Arc<Shared>) {
    let mut context = shared.lock();
    if context.bury_ring() {
        return shared.tell(context);
    }
    if context.device.exists {
        let seat = context.device.seat.clone();
        drop(context);
        seat.iter().for_each(|seat| seat.bell.ring());
        return;
    }
    // A thread that has failed meanwhile has left it to workers.
    if context.slots.queued(Lane::Device) == 0 {
        return;
    }
    context.device.exists = true;
    let (before, seat) = (context.device.thread.take(), context.device.seat.take());
    let may_be = !context.device.stopping && context.device.reserve().is_ok();
    drop(context);
    // It has gone, or is about to.
    before.into_iter().for_each(Thread::join);
    let seat = seat.or_else(|| {
        let bell = Bell::new().ok()?;
        Some(Arc::new(RingSeat { life: Life::new(), bell }))
    });
    let spawned = seat.filter(|_| may_be).and_then(|seat| {
        let mut context = shared.lock();
        context.device.seat = Some(seat.clone());
        drop(context);
        let of_thread = shared.clone();
        thread::spawn(c"aio2-dev", move || run(&of_thread, &seat)).ok()
    });
    let mut context = shared.lock();
    if spawned.is_none() {
        context.leave_device();
    }
    context.device.thread = spawned;
    shared.tell(context);
}

/// The thread.
fn run(shared: &Arc<Shared>, seat: &Arc<RingSeat>) {
    // SAFETY: the thread has a count of the seat until it has ended it, and for
    // ever if it is killed.
    unsafe { seat.life.begin() };
    let Some(facility) = shared.reach.facility() else { return seat.life.end() };
    let ran = device::with_ring(facility, MOST, &seat.bell, |ring, name| {
        shared.lock().device.name = Some(name);
        Server {
            shared,
            ring,
            jobs: [const { None }; MOST],
            free: (0..MOST).collect(),
            fresh: Vec::with_capacity(MOST),
            ended: Vec::with_capacity(MOST),
        }
        .serve();
    });
    if ran.is_err() {
        let mut context = shared.lock();
        context.leave_device();
        shared.tell(context);
    }
    seat.life.end();
}

/// What the thread has.
struct Server<'a, 'r, 'k> {
    shared: &'a Arc<Shared>,
    ring: &'r mut Ring<'k>,
    /// What is with the kernel, by number.
    jobs: [Option<(Id, Job)>; MOST],
    /// Numbers that are not in use.
    free: Vec<usize>,
    /// Those of what was taken from the queue and is not with the kernel yet.
    fresh: Vec<usize>,
    /// What it has given back; none for what it has not run to its end.
    ended: Vec<(usize, Option<Outcome>)>,
}

impl Server<'_, '_, '_> {
    /// Gives requests to the kernel until there is nothing to do.
    fn serve(&mut self) {
        let mut is_idle = false;
        loop {
            let mut context = self.shared.lock();
            context.device.asleep = false;
            for (number, told) in self.ended.drain(..) {
                if let Some((id, job)) = self.jobs[number].take() {
                    self.free.push(number);
                    context.leave_ring(number, id, job, told);
                }
            }
            if self.ring.broken().is_some() {
                context.device.close();
                context.reroute();
            }
            while let Some(&number) = self.free.last()
                && let Some((id, job)) = context.slots.dequeue(Lane::Device)
            {
                self.free.pop();
                self.fresh.push(number);
                context.device.begin(number, id);
                self.jobs[number] = Some((id, job));
            }
            let in_flight = MOST - self.free.len();
            let goes = is_idle || context.device.stopping || self.ring.broken().is_some();
            if in_flight == 0 && goes {
                context.device.exists = false;
                context.device.name = None;
                self.shared.tell(context);
                return;
            }
            context.device.asleep = context.slots.queued(Lane::Device) == 0;
            self.shared.tell(context);
            for place in 0..self.fresh.len() {
                self.push(self.fresh[place]);
            }
            self.fresh.clear();
            // What found no room is a worker's at once, whatever the kernel has.
            let no_room = !self.ended.is_empty();
            let wait =
                if no_room { Some(Duration::ZERO) } else { (in_flight == 0).then_some(IDLE) };
            is_idle = self.ring.enter(wait) && !no_room;
            self.look();
        }
    }

    /// Gives the transfer of this number to the kernel.
    fn push(&mut self, number: usize) {
        let Some((_, job)) = &mut self.jobs[number] else { return };
        if job.request.measures(TIMING) {
            job.progress.started = clock::now();
        }
        let class = job.request.operation.class();
        let transfer = class.and_then(|class| Transfer::new(&job.request.call, class));
        let pushed = transfer.and_then(|transfer| transfer.at_offset()).is_some_and(|transfer| {
            let transfer = AtOffset { is_buffered: job.progress.misses_page(), ..transfer };
            // SAFETY: the job, with its call, stays at its place until the ring has
            // given it back.
            unsafe { self.ring.push(&transfer, number as u64) }
        });
        if !pushed {
            self.ended.push((number, None));
        }
    }

    /// Takes what has come back.
    fn look(&mut self) {
        while let Some((number, result)) = self.ring.next() {
            let number = number as usize;
            let Some(Some((_, job))) = self.jobs.get_mut(number) else { continue };
            let told = job.is_whole(result).then(|| {
                job.progress.done = result as u64;
                outcome::finish(&job.request, &job.progress, result, PATH_DEVICE)
            });
            if told.is_none() && result > 0 {
                job.progress.done = result as u64;
            }
            self.ended.push((number, told));
        }
        while let Some(number) = self.ring.returned() {
            self.ended.push((number as usize, None));
        }
    }
}

impl Job {
    /// Whether `result` is all that the request asks for.
    fn is_whole(&self, result: i64) -> bool {
        let class = self.request.operation.class();
        let transfer = class.and_then(|class| Transfer::new(&self.request.call, class));
        result > 0
            && transfer.is_some_and(|transfer| {
                transfer.is_whole(result)
                    || result as u64 == transfer.wanted(self.request.is_full())
            })
    }
}

impl Context {
    /// Request `id` has come back from the ring; with what is told of it if it ran
    /// to its end.
    fn leave_ring(&mut self, number: usize, id: Id, job: Job, told: Option<Outcome>) {
        match (told, self.device.end(number)) {
            (Some(told), _) => {
                self.publish_one(&job.request, &told);
                self.retire(id, &job.request, told.result);
            }
            (None, Some(errno)) => self.complete_stopped(id, &job, errno),
            (None, None) => self.hand_over(id, job),
        }
    }

    /// Has workers run what waits for the ring.
    fn reroute(&mut self) {
        while let Some((id, job)) = self.slots.dequeue(Lane::Device) {
            self.hand_over(id, job);
        }
    }

    /// There is no thread for the ring, and will be none.
    fn leave_device(&mut self) {
        self.device.close();
        self.device.exists = false;
        self.device.name = None;
        self.reroute();
    }

    /// Ends what the thread of the ring had if it is no more; whether it was so.
    ///
    /// SPEC: R-RUN-10, R-RUN-11
    pub(crate) fn bury_ring(&mut self) -> bool {
        // Not before nothing can touch its memory any more.
        let is_gone = self.device.is_gone() && self.device.name.is_none_or(Name::has_ended);
        if is_gone {
            while let Some(id) = self.device.take_left() {
                if let Some(job) = self.slots.running(id) {
                    self.give_up(id, &job.request, EOWNERDEAD);
                }
            }
            self.leave_device();
        }
        is_gone
    }
}
