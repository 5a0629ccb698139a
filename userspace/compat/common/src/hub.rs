//! The AIO2 context that all requests of a drop-in share: its completions, and who
//! waits for them.
//!
//! Whoever finds completions hands out all that there are: [`Hub::drain`]. At
//! most one thread, the *leader*, sleeps in the AIO2 context; it is a thread that
//! waits in io_getevents, where there is one, so that no other thread has to be
//! switched to. The others park. When the leader leaves it calls another one. Who
//! has found events of the leader submits a NOP, by whose event it wakes.
//!
//! Where nobody waits in a call and completions must be told all the same, since
//! the program is to get a signal or has an eventfd, a thread of this library, the
//! *pump*, leads.
//!
//! Lock order: reaper, then what the drop-in locks in [`Client::end`], then roles.

use crate::park::{Ended, Parker};
use aio2::error::WaitError;
use aio2::{Event, Iocbs, Reaper, Timeout, Wait};
use aio2_abi::iocb::IocbFlags;
use aio2_abi::op;
use aio2_abi::wait::{Cancel, CancelFlags};
use aio2_record::{Count, Counters, Recorder};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// More workers than requests in flight are never made.
const CONCURRENCY: u32 = 64;
const RING_BYTES: u32 = 1 << 20;
const MAX_REQUESTS: u32 = 1 << 20;
/// How often the pump looks whether the program reaps by itself, and for how
/// many times in vain before it sleeps.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 100;
/// How long the pump leads before it lets one that waits in a call do it.
const LEAD: Duration = Duration::from_millis(100);
/// Fewer events than this cannot have filled a reaper's buffer: there are no more.
const FEW: usize = 64;
/// The user_data of what wakes the leader: no drop-in has it.
const BELL: u64 = 0;

/// What a drop-in does with completions.
pub trait Client: Sized + Send + Sync + 'static {
    /// What is left to be done once completions were handed out, beyond what all
    /// drop-ins have: done without a lock.
    type Left: Default + Send;

    /// Ends the requests of completions, whose user_data is not 0.
    fn end<'e>(
        &self,
        hub: &Hub<Self>,
        events: impl Iterator<Item = Event<'e>>,
        results: &mut Results<Self::Left>,
    );

    /// Does what is left.
    fn finish(&self, left: Self::Left);

    /// Whether nothing is.
    fn is_finished(left: &Self::Left) -> bool;
}

/// The context, and who waits for it.
pub struct Hub<C: Client> {
    /// The drop-in.
    pub client: C,
    context: aio2::Context,
    /// Where each request is recorded, if it is.
    pub recorder: Option<&'static Recorder>,
    /// Where calls are counted, if they are.
    pub counters: Option<Counters>,
    drain: Mutex<Drain<C::Left>>,
    roles: Mutex<Roles>,
    /// How many threads wait for the events of a context, the leader included.
    waiting: AtomicUsize,
    /// In flight, beyond the call that has submitted them.
    in_flight: AtomicUsize,
    /// Of them, those that must be told at once.
    eager: AtomicUsize,
    pump: OnceLock<Arc<Parker>>,
    /// The pump sleeps until it is told.
    pump_sleeps: AtomicBool,
}

struct Drain<L> {
    reaper: Reaper,
    results: Results<L>,
}

/// What is left to be done for the completions that were found.
#[derive(Debug, Default)]
pub struct Results<L> {
    /// What is to be recorded.
    pub recorded: Vec<aio2_record::Request>,
    /// For whose waiters there is something: see [`Hub::wait`].
    pub touched: Vec<usize>,
    /// What has to be submitted in place of what has ended.
    pub again: Iocbs,
    /// What the drop-in does at last.
    pub left: L,
}

#[derive(Default)]
struct Roles {
    /// Somebody leads.
    led: bool,
    /// The context that the leader waits for, if it does.
    leader: Option<usize>,
    parked: Vec<(usize, Arc<Parker>)>,
}

/// Locks, also after a panic: what the lock keeps is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Client> Hub<C> {
    /// A hub; it records and counts if the environment says so.
    ///
    /// # Errors
    /// Those of a context.
    pub fn new(client: C) -> io::Result<Arc<Self>> {
        let context = aio2::Context::builder()
            .ring_bytes(RING_BYTES)
            .max_requests(MAX_REQUESTS)
            .concurrency(CONCURRENCY)
            // As what the program asked for, not as what came of it.
            .record_nothing()
            .build()?;
        let drain = Drain { reaper: context.reaper(), results: Results::default() };
        Ok(Arc::new(Hub {
            client,
            recorder: Recorder::from_environment(),
            counters: Counters::from_environment(),
            context,
            drain: Mutex::new(drain),
            roles: Mutex::default(),
            waiting: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            eager: AtomicUsize::new(0),
            pump: OnceLock::new(),
            pump_sleeps: AtomicBool::new(false),
        }))
    }

    /// Submits requests; how many bytes of the stream were accepted.
    ///
    /// # Safety
    /// As [`aio2::Context::submit_raw`].
    pub unsafe fn submit(&self, stream: &mut Iocbs) -> usize {
        // SAFETY: the caller's.
        unsafe { self.context.submit_raw(stream.bytes_mut()) }.unwrap_or(0)
    }

    /// So many requests stay in flight behind the call that has submitted them;
    /// `eager` of them must be told at once.
    pub fn leave_in_flight(&self, count: usize, eager: usize) {
        // Relaxed: counts, under the context's lock as the subtractions are.
        self.in_flight.fetch_add(count, Ordering::Relaxed);
        self.eager.fetch_add(eager, Ordering::Relaxed);
    }

    /// Hands out all completions that there are.
    pub fn drain(&self) {
        self.drain_as(false);
    }

    fn drain_as(&self, leader: bool) {
        let mut guard = lock(&self.drain);
        let drain = &mut *guard;
        let mut bell = false;
        while let Ok(batch) = drain.reaper.batch() {
            let mut events = 0;
            let batch = batch.inspect(|_| events += 1).filter(|event| {
                let is_bell = event.user_data() == BELL;
                bell |= is_bell;
                !is_bell
            });
            self.client.end(self, batch, &mut drain.results);
            let again = &mut drain.results.again;
            let mut is_again = false;
            if !again.is_empty() {
                // SAFETY: what the drop-in has submitted before, in another form;
                // the program vouches for its buffers, as it does to the original.
                let accepted = unsafe { self.submit(again) };
                is_again = again.consume(accepted) > 0;
            }
            if events < FEW && !is_again {
                break;
            }
        }
        if let Some(recorder) = self.recorder
            && !drain.results.recorded.is_empty()
        {
            recorder.take_all(drain.results.recorded.drain(..));
        }
        if !drain.results.touched.is_empty() {
            self.tell_as(leader, &drain.results.touched);
            drain.results.touched.clear();
        }
        if !C::is_finished(&drain.results.left) {
            let left = std::mem::take(&mut drain.results.left);
            drop(guard);
            self.client.finish(left);
        } else {
            drop(guard);
        }
        // It was rung for another thread, which sleeps on.
        if bell && !leader && lock(&self.roles).led {
            self.ring();
        }
    }

    /// Wakes the leader.
    fn ring(&self) {
        let mut nop = Iocbs::new();
        if nop.push(op::NOP, &[], IocbFlags::empty(), BELL).is_ok() {
            // SAFETY: it has no addresses.
            unsafe { self.submit(&mut nop) };
        }
    }

    /// As [`Hub::drain`], unless another thread does it now, or this one in the
    /// midst of which a signal was caught.
    pub fn try_drain(&self) {
        if self.drain.try_lock().is_ok() {
            self.drain();
        }
    }

    /// Counts, if that was asked for.
    pub fn count(&self, what: Count, n: usize) {
        if let Some(counters) = &self.counters {
            counters.add(what, n as u64);
        }
    }

    /// So many requests that were left in flight have ended.
    pub fn have_ended(&self, count: usize, eager: usize) {
        // Relaxed: as in `leave_in_flight`.
        self.in_flight.fetch_sub(count, Ordering::Relaxed);
        self.eager.fetch_sub(eager, Ordering::Relaxed);
    }

    /// Calls the threads that wait for one of these.
    pub fn tell(&self, addresses: &[usize]) {
        self.tell_as(false, addresses);
    }

    fn tell_as(&self, leader: bool, addresses: &[usize]) {
        // Pairs with the fences in `wait`: either this thread sees the one that
        // waits, or that one sees the events.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let roles = lock(&self.roles);
        for (_, parker) in roles.parked.iter().filter(|(at, _)| addresses.contains(at)) {
            parker.unpark();
        }
        if !leader && roles.leader.is_some_and(|at| addresses.contains(&at)) {
            drop(roles);
            self.ring();
        }
    }

    /// Sleeps until something has happened to what the drop-in calls `address`, or
    /// to others; `ready` says whether there is something already.
    pub fn wait(
        &self,
        address: usize,
        deadline: Option<Instant>,
        mask: Option<&libc::sigset_t>,
        ready: impl FnOnce() -> bool,
    ) -> Ended {
        let mut roles = lock(&self.roles);
        // Relaxed: the fences below and in `tell` order it.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let ended = if roles.led {
            let parker = Arc::new(Parker::new(mask.is_some()));
            roles.parked.push((address, parker.clone()));
            drop(roles);
            // Pairs with the fence in `tell`.
            fence(Ordering::SeqCst);
            let ended = if ready() { Ended::Told } else { parker.park(deadline, mask) };
            lock(&self.roles).parked.retain(|(_, other)| !Arc::ptr_eq(other, &parker));
            ended
        } else {
            (roles.led, roles.leader) = (true, Some(address));
            drop(roles);
            // Pairs with the fence in `tell`.
            fence(Ordering::SeqCst);
            let ended = if ready() { Ended::Told } else { self.lead(deadline, mask) };
            let mut roles = lock(&self.roles);
            (roles.led, roles.leader) = (false, None);
            ended
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.call_a_leader();
        ended
    }

    /// Sleeps until there are completions, and hands them out.
    fn lead(&self, deadline: Option<Instant>, mask: Option<&libc::sigset_t>) -> Ended {
        let timeout = match deadline {
            Some(at) => Timeout::After(at.saturating_duration_since(Instant::now())),
            None => Timeout::Forever,
        };
        let ended = match self.context.wait(&Wait { timeout, sigmask: mask, ..Wait::events(1) }) {
            Ok(()) => Ended::Told,
            Err(WaitError::TimedOut) => Ended::TimedOut,
            Err(WaitError::Interrupted) => Ended::Interrupted,
            // There is no memory, or no descriptor: it looks again and again.
            Err(_) => {
                std::thread::sleep(LOOK);
                Ended::Told
            }
        };
        self.drain_as(true);
        ended
    }

    /// Calls another thread to lead, if nobody does and one waits.
    fn call_a_leader(&self) {
        {
            let roles = lock(&self.roles);
            if roles.led {
                return;
            }
            if let Some((_, next)) = roles.parked.first() {
                next.unpark();
                return;
            }
        }
        self.see_to_it();
    }

    /// Sees to it that completions are found though nobody waits in a call.
    pub fn see_to_it(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(pump) = self.pump.get() else { return };
        // Pairs with the fence in `pump`: either it sees what is in flight, or
        // this thread sees that it sleeps.
        fence(Ordering::SeqCst);
        let must = self.eager.load(Ordering::Relaxed) > 0 && !lock(&self.roles).led;
        if must || self.pump_sleeps.load(Ordering::Relaxed) {
            pump.unpark();
        }
    }

    /// Starts the pump, if there is none; without a thread nothing is lost but
    /// completions that nobody waits for in a call.
    pub fn start_pump(self: &Arc<Self>) {
        self.pump.get_or_init(|| {
            let parker = Arc::new(Parker::new(false));
            let (hub, its) = (self.clone(), parker.clone());
            let _ = aio2_thread::spawn(c"aio2-pump", move || hub.run_pump(&its));
            parker
        });
    }

    fn run_pump(&self, parker: &Parker) {
        let mut looks = 0;
        loop {
            let must_lead = self.eager.load(Ordering::Relaxed) > 0 && {
                let mut roles = lock(&self.roles);
                !std::mem::replace(&mut roles.led, true)
            };
            if must_lead {
                self.lead(Some(Instant::now() + LEAD), None);
                lock(&self.roles).led = false;
                self.call_a_leader();
                looks = 0;
                continue;
            }
            if self.in_flight.load(Ordering::Relaxed) > 0 {
                looks = 0;
            }
            looks += 1;
            if looks < LOOKS {
                parker.park(Some(Instant::now() + LOOK), None);
            } else {
                self.pump_sleeps.store(true, Ordering::Relaxed);
                // Pairs with the fence in `see_to_it`.
                fence(Ordering::SeqCst);
                if self.in_flight.load(Ordering::Relaxed) == 0 {
                    parker.park(None, None);
                }
                self.pump_sleeps.store(false, Ordering::Relaxed);
                looks = 0;
            }
            if !lock(&self.roles).led {
                self.drain();
            }
        }
    }

    /// Asks the request with this user_data to stop; what became of it, unless it
    /// has ended.
    pub fn cancel(&self, user_data: u64) -> Option<Stopped> {
        let mut request =
            Cancel { flags: CancelFlags::USER_DATA.bits(), user_data, ..Cancel::default() };
        self.context.cancel(&mut request).ok()?;
        Some(match (request.cancelled, request.interrupted) {
            (1.., _) => Stopped::BeforeItBegan,
            (0, 1..) => Stopped::InTheMidst,
            _ => Stopped::RunsOn,
        })
    }
}

/// What a cancel did to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It had not begun, and has ended.
    BeforeItBegan,
    /// It was told to stop.
    InTheMidst,
    /// It cannot be stopped.
    RunsOn,
}
