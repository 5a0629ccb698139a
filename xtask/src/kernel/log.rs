//! Reads a guest's console for what a healthy kernel never says.
//!
//! Every line is looked at. The one thing that is excused is a race of others: one
//! in whose calls AIO2 has no part, or whose two functions a list names, with the
//! reason. A fault is reported with the lines after it, since the first line of a
//! splat says little.

use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fmt;

/// What kind of trouble a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bug,
    Warning,
    Kasan,
    Kcsan,
    Ubsan,
    Lockdep,
    Rcu,
    Leak,
    Hang,
    Debug,
    Kunit,
}

/// What a line must contain, the more telling first.
const SIGNS: &[(Kind, &str)] = &[
    (Kind::Kasan, "KASAN:"),
    (Kind::Kcsan, "KCSAN:"),
    (Kind::Ubsan, "UBSAN:"),
    (Kind::Lockdep, "possible circular locking dependency"),
    (Kind::Lockdep, "possible recursive locking"),
    (Kind::Lockdep, "possible irq lock inversion"),
    (Kind::Lockdep, "-safe -> "),
    (Kind::Lockdep, "inconsistent lock state"),
    (Kind::Lockdep, "Invalid wait context"),
    (Kind::Lockdep, "bad unlock balance"),
    (Kind::Lockdep, "held lock freed"),
    (Kind::Lockdep, "lock held when returning to user space"),
    (Kind::Lockdep, "lock(s) held at exit"),
    (Kind::Lockdep, "locks held at exit"),
    (Kind::Lockdep, "trying to register non-static key"),
    (Kind::Lockdep, "turning off the locking correctness validator"),
    (Kind::Lockdep, "DEBUG_LOCKS_WARN_ON"),
    (Kind::Rcu, "suspicious RCU usage"),
    (Kind::Rcu, "rcu: INFO:"),
    (Kind::Rcu, "detected stall"),
    (Kind::Rcu, "Illegal context switch in RCU"),
    (Kind::Leak, "new suspicious memory leak"),
    (Kind::Leak, "unreferenced object"),
    (Kind::Leak, "Objects remaining"),
    (Kind::Leak, "percpu ref"),
    (Kind::Hang, "blocked for more than"),
    (Kind::Hang, "soft lockup"),
    (Kind::Hang, "hard LOCKUP"),
    (Kind::Hang, "workqueue lockup"),
    (Kind::Debug, "ODEBUG:"),
    (Kind::Debug, "list_add corruption"),
    (Kind::Debug, "list_del corruption"),
    (Kind::Debug, "refcount_t:"),
    (Kind::Kunit, "not ok "),
    (Kind::Bug, "BUG"),
    (Kind::Bug, "Oops"),
    (Kind::Bug, "general protection fault"),
    (Kind::Bug, "Kernel panic"),
    (Kind::Bug, "double fault"),
    // Of the machine: that of a cgroup, or an error of a call, is nobody's fault.
    (Kind::Bug, "Out of memory: "),
    (Kind::Warning, "WARNING:"),
];

/// A line that tells of trouble.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    pub kind: Kind,
    /// Line number, from 1.
    pub at: usize,
    /// The line, and some that follow.
    pub lines: Vec<&'a str>,
}

/// Lines of a splat that are shown.
const SHOWN: usize = 25;

/// The races of others.
#[derive(Debug, Default)]
pub struct Races {
    /// Pairs of functions, the second of which is empty if the detector saw one
    /// only.
    excused: BTreeSet<(String, String)>,
    /// The functions of AIO2, if they are known.
    ours: BTreeSet<String>,
}

impl Races {
    /// Reads lines of `FUNCTION FUNCTION reason`, `-` for one that is not known.
    pub fn parse(text: &str) -> Result<Self> {
        let mut races = Races::default();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let &[one, other, _reason] = words.as_slice() else {
                anyhow::bail!("not two functions and a reason: {line}");
            };
            ensure!(!is_ours(one) && !is_ours(other), "a race of AIO2's is to be mended: {line}");
            races.excused.insert(pair(one, other));
        }
        Ok(races)
    }

    /// Takes these for the functions of AIO2: a race is others' without them.
    pub fn with_ours(self, functions: impl Iterator<Item = String>) -> Self {
        Races { ours: functions.map(|f| bare(&f).to_owned()).collect(), ..self }
    }

    /// Whether the report that begins with the first of these lines is one.
    fn has(&self, report: &[&str]) -> bool {
        let Some((one, other)) = report.first().and_then(|line| race(line)) else { return false };
        self.excused.contains(&pair(one, other)) || !(self.ours.is_empty() || self.are_in(report))
    }

    /// Whether AIO2 has a part in a race: one of its functions is in a call that is
    /// told. One that is not told is by code that the detector does not see, as it
    /// sees all of AIO2's.
    fn are_in(&self, report: &[&str]) -> bool {
        let (mut calls, mut goes_on) = (0, true);
        for line in report.iter().take_while(|line| !line.ends_with("=======")) {
            let text = line.split_once("] ").map_or(*line, |(_, text)| text);
            if text.contains(" by task ") || text.contains(" by interrupt on ") {
                (calls, goes_on) = (calls + 1, true);
            } else if let Some(function) = text.strip_prefix(' ').map(bare) {
                goes_on &= !is_boundary(function);
                if goes_on && (self.ours.contains(function) || is_ours(function)) {
                    return true;
                }
            }
        }
        calls == 0
    }
}

/// Whether a call has nothing to do with what has led to it: a system call, which a
/// worker runs, the end of a task, which a worker is, an interrupt of anything.
fn is_boundary(function: &str) -> bool {
    ["x64_sys_call", "do_exit"].contains(&function) || function.starts_with("asm_")
}

/// The functions of a race that a line tells of.
fn race(line: &str) -> Option<(&str, &str)> {
    let (_, functions) = line.split_once("BUG: KCSAN: data-race in ")?;
    Some(functions.trim().split_once(" / ").unwrap_or((functions.trim(), "-")))
}

/// Two functions in order.
fn pair(one: &str, other: &str) -> (String, String) {
    let (one, other) = (bare(one).to_owned(), bare(other).to_owned());
    if one <= other { (one, other) } else { (other, one) }
}

/// A function without what the compiler appended and without the place in it.
fn bare(function: &str) -> &str {
    function.split(['.', '+']).next().unwrap_or_default()
}

fn is_ours(function: &str) -> bool {
    ["aio2", "io_wq", "io_worker"].iter().any(|ours| function.contains(ours))
}

/// The races in a console log that are others', as the kernel names them.
pub fn races_of_others<'a>(log: &'a str, foreign: &Races) -> Vec<(&'a str, &'a str)> {
    let lines: Vec<&str> = log.lines().collect();
    let others = (0..lines.len()).filter(|i| foreign.has(&lines[*i..]));
    others.filter_map(|i| race(lines[i])).collect()
}

/// All faults in a console log, without the races of others. What stands within
/// the lines shown of one fault is part of it, unless it is of another kind, or
/// a race of its own.
pub fn faults<'a>(log: &'a str, foreign: &Races) -> Vec<Fault<'a>> {
    let lines: Vec<&str> = log.lines().collect();
    let mut faults: Vec<Fault<'_>> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some((kind, _)) = SIGNS.iter().find(|(_, sign)| line.contains(sign)) else { continue };
        if foreign.has(&lines[i..]) {
            continue;
        }
        let told = *kind != Kind::Kcsan
            && faults.iter().any(|f| f.kind == *kind && i < f.at - 1 + f.lines.len());
        if !told {
            let end = lines.len().min(i + SHOWN);
            faults.push(Fault { kind: *kind, at: i + 1, lines: lines[i..end].to_vec() });
        }
    }
    faults
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, line {} of the console:", self.kind, self.at)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A boot without trouble, with the lines in it that look like some.
    const CLEAN: &str = "\
[    0.000000] Linux version 6.12.117 (aio2@aio2) (gcc (Debian 12.2.0-14) 12.2.0) #1 SMP
[    0.000000] Command line: console=ttyS0 panic=-1 oops=panic
[    0.000000] kasan: KernelAddressSanitizer initialized (generic)
[    0.010000] rcu: \tRCU lockdep checking is enabled.
[    0.010000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    0.010000] Debug: unmapping init [mem 0x1-0x2]
[    0.020000] kcsan: enabled early
[    0.020000] kcsan: selftest: 3/3 tests passed
[    0.020000] kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)
[    0.100000] rcu: Hierarchical SRCU implementation.
[    0.200000] ACPI: bus type PCI registered
[    0.300000] EXT4-fs (vda): mounted filesystem r/w with ordered data mode.
[    0.300000]     ok 1 an_event_is_read_back
[    0.300000] # aio2_ring: pass:1 fail:0 skip:0 total:1
[    0.350000] aio2-conform[505]: segfault at 7ff7efb18008 ip 1 sp 2 error 7 in aio2-conform
[    0.360000] EXT4-fs error (device nullb1) in ext4_setattr:5683: Out of memory
[    0.370000] Memory cgroup out of memory: Killed process 693 (hostile) total-vm:33972kB
[    0.400000] reboot: Power down
";

    /// One line for each kind, as the kernel prints it.
    const PLANTED: &[(Kind, &str)] = &[
        (Kind::Bug, "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008"),
        (Kind::Bug, "[    1.0] kernel BUG at fs/aio2/ring.c:77!"),
        (Kind::Bug, "[    1.0] BUG: sleeping function called from invalid context at mm/util.c:1"),
        (Kind::Bug, "[    1.0] BUG: scheduling while atomic: init/1/0x00000002"),
        (Kind::Bug, "[    1.0] Oops: general protection fault, probably for non-canonical address"),
        (Kind::Bug, "[    1.0] Kernel panic - not syncing: Attempted to kill init!"),
        (Kind::Bug, "[    1.0] Out of memory: Killed process 77 (hostile) total-vm:33972kB"),
        (Kind::Warning, "[    1.0] WARNING: CPU: 1 PID: 7 at fs/aio2/ctx.c:12 aio2_free+0x1/0x2"),
        (Kind::Kasan, "[    1.0] BUG: KASAN: slab-use-after-free in aio2_publish+0x1/0x2"),
        (Kind::Kcsan, "[    1.0] BUG: KCSAN: data-race in aio2_publish / aio2_reap"),
        (Kind::Ubsan, "[    1.0] UBSAN: shift-out-of-bounds in fs/aio2/ring.c:3:2"),
        (Kind::Lockdep, "[    1.0] WARNING: possible circular locking dependency detected"),
        (Kind::Lockdep, "[    1.0] WARNING: inconsistent lock state"),
        (Kind::Lockdep, "[    1.0] [ BUG: Invalid wait context ]"),
        (Kind::Lockdep, "[    1.0] WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
        (Kind::Lockdep, "[    1.0] WARNING: lock held when returning to user space!"),
        (Kind::Rcu, "[    1.0] WARNING: suspicious RCU usage"),
        (Kind::Rcu, "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU"),
        (Kind::Leak, "[    1.0] kmemleak: 3 new suspicious memory leaks (see /sys/kernel/debug)"),
        (Kind::Leak, "unreferenced object 0xffff888003a4c000 (size 1024):"),
        (
            Kind::Leak,
            "[    1.0] BUG aio2_req (Not tainted): Objects remaining on __kmem_cache_shutdown()",
        ),
        (Kind::Hang, "[    1.0] INFO: task aio2-conform:77 blocked for more than 120 seconds."),
        (Kind::Hang, "[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [swapper/0:1]"),
        (Kind::Debug, "[    1.0] ODEBUG: free active (active state 0) object type: timer_list"),
        (Kind::Debug, "[    1.0] refcount_t: underflow; use-after-free."),
        (Kind::Kunit, "[    1.0]     not ok 3 a_full_ring_overflows"),
        (Kind::Debug, "[    1.0] list_del corruption. prev->next should be 1, but was 2"),
    ];

    #[test]
    fn a_clean_boot_has_no_fault() {
        assert_eq!(faults(CLEAN, &Races::default()), []);
    }

    #[test]
    fn each_planted_line_is_found_and_named() {
        for (kind, line) in PLANTED {
            let log = format!("{CLEAN}{line}\n{CLEAN}");
            let found = faults(&log, &Races::default());
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!((found[0].kind, found[0].at), (*kind, CLEAN.lines().count() + 1), "{line}");
            assert_eq!(found[0].lines[0], *line);
        }
    }

    #[test]
    fn every_sign_is_one_that_finds_its_line() {
        for (kind, sign) in SIGNS {
            let log = format!("[    1.0] x {sign} y");
            let found = faults(&log, &Races::default());
            assert_eq!(found.first().map(|f| f.kind), Some(*kind), "{sign}");
        }
    }

    #[test]
    fn a_second_splat_is_told_apart() {
        let splat = format!("{}\n{}", PLANTED[0].1, " [    1.0] Call Trace:\n".repeat(SHOWN));
        let count = |log: String| faults(&log, &Races::default()).len();
        assert_eq!(count(format!("{splat}{splat}")), 2);
        assert_eq!(count(format!("{0}\n{0}\n", PLANTED[0].1)), 1);
    }

    #[test]
    fn a_race_of_others_is_excused_by_both_its_functions() -> Result<()> {
        let races = Races::parse("# why\n\ntick vruntime read by all\nnobody - seen alone\n")?;
        let count = |functions: &[&str]| {
            let line = |f: &&str| format!("[    1.0] BUG: KCSAN: data-race in {f}\n");
            faults(&functions.iter().map(line).collect::<String>(), &races).len()
        };
        assert_eq!(count(&["tick / vruntime", "vruntime.isra.0 / tick", "nobody+0x1/0x2"]), 0);
        assert_eq!(count(&["tick / tick"]), 1);
        assert_eq!(count(&["tick+0x1/0x2"]), 1, "alone it is another one");
        // None hides behind one that is excused, or behind another.
        assert_eq!(count(&["tick / vruntime", "aio2_reap / tick", "aio2_reap / x"]), 2);
        Ok(())
    }

    /// A race as the kernel tells of it, between these calls.
    fn report(head: &str, calls: [&[&str]; 2]) -> String {
        let mut text = format!("[    1.0] BUG: KCSAN: data-race in {head}\n[    1.0] \n");
        for call in calls.iter().filter(|call| !call.is_empty()) {
            text += "[    1.0] write to 0xffff888000832500 of 8 bytes by task 18 on cpu 0:\n";
            for function in *call {
                text += &format!("[    1.0]  {function}+0x1/0x2\n");
            }
            text += "[    1.0] \n";
        }
        text + "[    1.0] =======\n[    1.0]  aio2_of_the_next+0x1/0x2\n"
    }

    #[test]
    fn a_race_is_of_others_if_aio2_is_in_neither_call() {
        let races = Races::default().with_ours(["moved.part.0".into()].into_iter());
        let count = |log: &str| (faults(log, &races).len(), races_of_others(log, &races).len());
        let theirs: &[&str] = &["walk", "x64_sys_call", "do_work"];
        assert_eq!(count(&report("walk / walk", [theirs, theirs])), (0, 1));
        assert_eq!(count(&report("walk / x", [theirs, &["x", "moved"]])), (1, 0));
        assert_eq!(count(&report("x / walk", [&["x", "aio2_notify"], theirs])), (1, 0));
        assert_eq!(count(&report("walk+0x1/0x2", [theirs, &[]])), (0, 1));
        assert_eq!(count(&report("moved+0x1/0x2", [&["moved"], &[]])), (1, 0));
        assert_eq!(count(&report("walk / x", [&[], &[]])), (1, 0), "no call is told");
        let tick: &[&str] = &["walk", "asm_interrupt", "aio2_ring_push"];
        let end: &[&str] = &["walk", "do_exit", "io_wq_worker"];
        assert_eq!(count(&report("walk / walk", [tick, end])), (0, 1));
        let done: &[&str] = &["walk", "aio2_complete", "asm_interrupt", "walk"];
        assert_eq!(count(&report("walk / walk", [done, end])), (1, 0));
        let unknown = Races::default();
        assert_eq!(faults(&report("walk / walk", [theirs, theirs]), &unknown).len(), 1);
    }

    #[test]
    fn a_race_is_excused_with_a_reason_and_if_it_is_not_ours() {
        assert!(Races::parse("tick vruntime\n").is_err());
        assert!(Races::parse("aio2_reap tick why not\n").is_err());
        assert!(Races::parse("tick io_wq_worker why not\n").is_err());
    }
}
