//! Consumers in C that were written from SPEC alone (`tests/peers/consumer.c`),
//! killed and stopped at random, beside a producer whose positions are near 2^32
//! and 2^64: each event is taken once, whole, in order and from the place at which
//! it was published, and each one is accounted for, those included that a consumer
//! had claimed when it was killed.
//!
//! `AIO2_EVENTS` says how many events: `cargo xtask verify --peers N`.
//!
//! SPEC: R-RING-4, R-RING-9, R-RING-10, R-RING-11, R-RING-12, R-RING-13, R-RING-15,
//! SPEC: R-RING-16, R-OVF-7, R-SHM-1.

use aio2::ring::{Geometry, Memory, Producer, header};
use aio2::shm::{ProducerMap, RingFiles, create};
use aio2_conformance::random::Random;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::{Duration, Instant};

/// Events of a run that nobody asked more of.
const EVENTS: u64 = 200_000;
/// Words of the longest event.
const WORDS: usize = 8;
/// Consumers at once, at most.
const CONSUMERS: usize = 4;
/// Times that consumers are killed before there is another ring.
const KILLS_A_RING: u64 = 16;
/// Events of a ring for each byte of its size: the two sides take turns at a full and
/// an empty ring about as often, however large it is.
const EVENTS_A_BYTE: u64 = 8;
/// A ring that is not empty after this long has lost somebody's wakeup, or a consumer
/// hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a kill waits for the consumers to get on.
const TURN: Duration = Duration::from_millis(20);
/// How often a long run says how far it is.
const REPORT: Duration = Duration::from_secs(30);

/// What a consumer tells; `consumer.c` has the same.
#[repr(C)]
struct Slot {
    done: AtomicU64,
    begun: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
    counts: [AtomicU64; 2],
    sums: [AtomicU64; 2],
    lost: AtomicU64,
    resv: [AtomicU64; 7],
}

/// Events, and the sum of what is made of their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    count: u64,
    sum: u64,
}

impl Account {
    fn add(&mut self, other: Account) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What `self` has beyond `other`.
    fn without(self, other: Account) -> Account {
        let sum = self.sum.wrapping_sub(other.sum);
        Account { count: self.count.wrapping_sub(other.count), sum }
    }
}

impl Slot {
    /// What its consumer has claimed, for sure.
    fn account(&self) -> Account {
        let at = (self.done.load(Acquire) % 2) as usize;
        Account { count: self.counts[at].load(Relaxed), sum: self.sums[at].load(Relaxed) }
    }

    /// What it was about to claim, or had claimed and not told yet.
    fn open(&self) -> Option<Account> {
        let begun = self.begun.load(Acquire);
        let open = begun == self.done.load(Acquire) + 1;
        open.then(|| Account { count: self.count.load(Relaxed), sum: self.sum.load(Relaxed) })
    }

    fn clear(&self) {
        for word in [&self.done, &self.begun, &self.count, &self.sum, &self.lost] {
            word.store(0, SeqCst);
        }
        self.counts.iter().chain(&self.sums).for_each(|word| word.store(0, SeqCst));
    }
}

/// The slots, in memory that all share.
struct Slots {
    file: File,
    slots: NonNull<Slot>,
}

impl Slots {
    fn new() -> Self {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"slots".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: it was just made, and is nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(4096).expect("there is memory");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let none = std::ptr::null_mut();
        // SAFETY: a new mapping, of a file that does not shrink.
        let at = unsafe { libc::mmap(none, 4096, access, libc::MAP_SHARED, fd, 0) };
        assert!(at != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Slots { file, slots: NonNull::new(at.cast()).expect("no mapping is at 0") }
    }

    fn all(&self) -> &[Slot] {
        const { assert!(size_of::<Slot>() * CONSUMERS <= 4096) };
        // SAFETY: they fit, are zero or what was stored there, and are atomic.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), CONSUMERS) }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: mapped above, and no reference is left.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), 4096) };
    }
}

/// Builds the consumer; `None` without a compiler.
fn build(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/consumer.c");
    let program = dir.join("consumer");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
    gcc.status().ok()?.success().then_some(program)
}

/// The hash of a number: SplitMix64's, as in `consumer.c`.
fn mix(id: u64) -> u64 {
    Random::new(id).next()
}

/// The event of this number at this position; its words.
fn event(id: u64, position: u64) -> ([u64; WORDS], usize) {
    let hash = mix(id);
    let words = 3 + ((hash >> 32) % 6) as usize;
    let mut event = [0; WORDS];
    event[..3].copy_from_slice(&[header(words as u32 * 8, id as u32), id, position]);
    (3..words).for_each(|at| event[at] = hash.wrapping_add(at as u64));
    (event, words)
}

/// Lets a child inherit this descriptor under the number that it has.
fn inherit(command: &mut Command, fds: Vec<i32>) {
    use std::os::unix::process::CommandExt;
    let keep = move || {
        // SAFETY: takes numbers.
        fds.iter().for_each(|fd| _ = unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) });
        Ok(())
    };
    // SAFETY: fcntl(2) may be called between fork and exec.
    unsafe { command.pre_exec(keep) };
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: a child of ours that was not waited for.
    let sent = unsafe { libc::kill(child.id() as i32, signal) };
    assert_eq!(sent, 0, "a consumer is there until it is waited for");
}

/// A ring, and those who take its events.
struct Ring<'a> {
    program: &'a Path,
    slots: &'a Slots,
    producer: Producer<ProducerMap>,
    files: RingFiles,
    consumers: Vec<Option<Child>>,
    /// Where the next event will stand.
    position: u64,
    published: Account,
    /// By consumers that are gone.
    taken: Account,
    next: u64,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Totals {
    events: u64,
    rings: u64,
    kills: u64,
    /// Of the killed, those that had claimed and not told.
    in_claim: u64,
    /// Of the killed, those that were about to claim, and had not.
    before_claim: u64,
    stops: u64,
    /// Swaps that another consumer had won.
    lost_swaps: u64,
    full: u64,
}

impl<'a> Ring<'a> {
    fn new(program: &'a Path, slots: &'a Slots, random: &mut Random) -> Self {
        // Of a page, or so long that whole turns of a processor are spent on it.
        let doubled = random.below(8) * random.below(3);
        let bytes = 4096 << doubled;
        // So near that the first events cross it, or some thousands.
        let bits = 13 + random.below(8);
        let before = random.below(1 << bits);
        let start = match random.below(4) {
            0 => (1_u64 << 32).wrapping_sub(before),
            1 => 0_u64.wrapping_sub(before),
            2 => (random.next() << 32).wrapping_sub(before),
            _ => random.next(),
        };
        let geometry = Geometry::new(bytes, 8 * WORDS as u32).expect("sizes that can be");
        let geometry = geometry.starting_at(start);
        let (producer, files) = create(geometry).expect("there is memory");
        slots.all().iter().for_each(Slot::clear);
        let count = 1 + random.below(CONSUMERS as u64) as usize;
        let mut ring = Ring {
            program,
            slots,
            producer,
            files,
            consumers: (0..count).map(|_| None).collect(),
            position: geometry.start(),
            published: Account::default(),
            taken: Account::default(),
            next: 1,
        };
        ring.start_missing(random);
        ring
    }

    fn start_missing(&mut self, random: &mut Random) {
        for (at, place) in self.consumers.iter_mut().enumerate().filter(|(_, c)| c.is_none()) {
            let fd = |fd: BorrowedFd<'_>| fd.as_raw_fd();
            let (consumer, producer) = (self.files.consumer_fd(), self.files.producer_fd());
            let fds = vec![fd(consumer), fd(producer), self.slots.file.as_raw_fd()];
            let mut command = Command::new(self.program);
            command.args(fds.iter().map(ToString::to_string)).arg(at.to_string());
            command.arg(random.next().to_string()).stderr(Stdio::piped());
            inherit(&mut command, fds);
            *place = Some(command.spawn().expect("a consumer starts"));
        }
    }

    /// One publication, of up to so many events, as far as there is room.
    fn publish(&mut self, most: u64) -> u64 {
        let mut batch = self.producer.batch();
        let mut count = 0;
        while count < most {
            let (event, words) = event(self.next, self.position);
            if !batch.push(&event[..words]) {
                break;
            }
            self.published.add(Account { count: 1, sum: mix(self.next) });
            self.position = self.position.wrapping_add(8 * words as u64);
            self.next += 1;
            count += 1;
        }
        count
    }

    /// Publishes so many, and stops a consumer now and then.
    fn work(&mut self, events: u64, random: &mut Random, totals: &mut Totals) {
        let (mut sent, mut next_stop, mut stopped) = (0, 0, None::<(usize, u64)>);
        let mut moved = Instant::now();
        while sent < events {
            let count = self.publish(1 + random.below(64));
            sent += count;
            if count == 0 {
                totals.full += 1;
                // Others go on beside one that stands, if there are others.
                if let Some((at, _)) = stopped.take_if(|_| self.consumers.len() == 1) {
                    signal(self.consumers[at].as_ref().expect("it stands"), libc::SIGCONT);
                }
                self.all_are_well();
                assert!(moved.elapsed() < PATIENCE, "nobody takes anything: {:?}", self.open());
                std::thread::yield_now();
                continue;
            }
            moved = Instant::now();
            if let Some((at, until)) = stopped {
                if sent >= until {
                    signal(self.consumers[at].as_ref().expect("it stands"), libc::SIGCONT);
                    stopped = None;
                    next_stop = sent + random.below(100_000);
                }
            } else if sent >= next_stop {
                let at = random.below(self.consumers.len() as u64) as usize;
                signal(self.consumers[at].as_ref().expect("all are there"), libc::SIGSTOP);
                totals.stops += 1;
                stopped = Some((at, sent + random.below(20_000)));
            }
        }
        if let Some((at, _)) = stopped {
            signal(self.consumers[at].as_ref().expect("it stands"), libc::SIGCONT);
        }
    }

    fn open(&self) -> Vec<Option<Account>> {
        self.slots.all().iter().map(Slot::open).collect()
    }

    fn all_are_well(&mut self) {
        for child in self.consumers.iter_mut().flatten() {
            if let Some(status) = child.try_wait().expect("it is our child") {
                let mut said = String::new();
                let told = child.stderr.as_mut().expect("a pipe").read_to_string(&mut said);
                panic!("a consumer has left: {status}: {said} ({told:?})");
            }
        }
    }

    fn head(&self) -> u64 {
        self.producer.memory().view().head.load(SeqCst)
    }

    /// Waits until the ring is empty and nobody is in the middle of a claim.
    fn settle(&mut self) {
        let start = Instant::now();
        let living = |ring: &Self| {
            let living = ring.consumers.iter().zip(ring.slots.all());
            living.filter(|(child, _)| child.is_some()).any(|(_, slot)| slot.open().is_some())
        };
        while self.head() != self.position || living(self) {
            self.all_are_well();
            assert!(start.elapsed() < PATIENCE, "the ring does not empty: {:?}", self.open());
            std::thread::yield_now();
        }
    }

    /// Kills some, lets the others empty the ring, and finds each event.
    fn kill_some(&mut self, random: &mut Random, totals: &mut Totals) {
        // At any moment: with events in the ring, or none.
        let mut killed = vec![random.below(self.consumers.len() as u64) as usize];
        killed.extend((0..self.consumers.len()).filter(|_| random.below(3) == 0));
        killed.sort_unstable();
        killed.dedup();
        let fill = random.below(2 * u64::from(self.producer.ring_bytes()) / 40);
        let fill = self.next + fill;
        while self.next < fill && self.publish(64) > 0 {}
        // Somewhere in the middle of their work.
        let there = self.position.wrapping_sub(self.head());
        let left = random.below(there + 1);
        let start = Instant::now();
        while self.position.wrapping_sub(self.head()) > left && start.elapsed() < TURN {
            std::hint::spin_loop();
        }
        for at in &killed {
            self.all_are_well();
            let mut child = self.consumers[*at].take().expect("all are there");
            child.kill().expect("it is there");
            child.wait().expect("it is our child");
            totals.kills += 1;
        }
        let open: Vec<Account> =
            killed.iter().filter_map(|at| self.slots.all()[*at].open()).collect();
        for at in &killed {
            let slot = &self.slots.all()[*at];
            self.taken.add(slot.account());
            totals.lost_swaps += slot.lost.load(Relaxed);
            slot.clear();
        }
        self.start_missing(random);
        self.settle();
        let missing = self.missing();
        // Each of the killed that were in between had claimed, or not.
        let won = (0..1_u32 << open.len()).find(|won| {
            let mut account = Account::default();
            let claimed = open.iter().enumerate().filter(|(at, _)| won >> at & 1 == 1);
            claimed.for_each(|(_, claim)| account.add(*claim));
            account == missing
        });
        let Some(won) = won else {
            panic!("missing {missing:?}, which no killed consumer had: {open:?}");
        };
        totals.in_claim += u64::from(won.count_ones());
        totals.before_claim += open.len() as u64 - u64::from(won.count_ones());
        self.taken.add(missing);
    }

    /// What was published, and nobody is known to have taken.
    fn missing(&self) -> Account {
        let living = self.slots.all().iter().map(Slot::account);
        living.fold(self.published.without(self.taken), Account::without)
    }

    /// To its end: consumers leave by themselves.
    fn end(mut self, totals: &mut Totals) {
        self.settle();
        self.producer.set_dead();
        for child in self.consumers.drain(..).flatten() {
            let ended = child.wait_with_output().expect("it is our child");
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{}: {said}", ended.status);
        }
        assert_eq!(self.missing(), Account::default(), "not accounted for");
        assert_eq!(self.producer.bad_heads(), 0);
        let lost = self.slots.all().iter().map(|slot| slot.lost.load(Relaxed));
        totals.lost_swaps += lost.sum::<u64>();
        totals.events += self.published.count;
        totals.rings += 1;
    }
}

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        // Where a check has failed.
        for child in self.consumers.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn consumers_in_c_that_are_killed_and_stopped_leave_nothing_unaccounted_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(program) = build(dir.path()) else {
        println!("SKIP peers: no gcc");
        return;
    };
    let events = std::env::var("AIO2_EVENTS")
        .map_or(EVENTS, |events| events.parse().expect("AIO2_EVENTS is a number"));
    let mut random = Random::from_environment("consumers in C");
    let (slots, mut totals) = (Slots::new(), Totals::default());
    let start = Instant::now();
    let mut said = start;
    while totals.events < events {
        let mut ring = Ring::new(&program, &slots, &mut random);
        let budget = EVENTS_A_BYTE * u64::from(ring.producer.ring_bytes());
        let most = (budget / KILLS_A_RING).min(events / 100);
        for _ in 0..KILLS_A_RING {
            ring.work(1 + random.below(most), &mut random, &mut totals);
            ring.kill_some(&mut random, &mut totals);
        }
        ring.work(most, &mut random, &mut totals);
        ring.end(&mut totals);
        if said.elapsed() > REPORT {
            said = Instant::now();
            println!("{} events after {} s", totals.events, start.elapsed().as_secs());
        }
    }
    let Totals { events, rings, kills, stops, .. } = totals;
    println!(
        "peers: {events} events, {rings} rings, {kills} kills, {stops} stops, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    println!("{totals:?}");
    assert!(kills > 0 && stops > 0, "nothing was shown");
}
