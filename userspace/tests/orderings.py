#!/usr/bin/env python3
"""Weakens each ordering of the ring one step, breaks each rule that the engine's
models are for, and tells which models fail.

    userspace/tests/orderings.py [NAME...]
    userspace/tests/orderings.py --check

The latter only looks that each change can still be made, and that none is missing.
Works on a copy; prints the tables of ORDERINGS.md and exits with 1 if a change
that some model ought to catch survives, one said to be redundant does not, or
an ordering stands in the library that no change weakens. Models are explored with
two preemptions, and with three if none fails.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RING = "userspace/src/ring/"
LIBRARY = "userspace/src/"
# The models of each, as they are named to the runner.
MODELS = {RING: ["aba", "claim", "doorbell", "grow", "overflow", "payload"], LIBRARY: ["files", "groups", "lead", "requests", "uring", "waiting"]}

# name, file, text, its replacement, True if a model must catch it, or why none does
CHANGES = [
    ("publish tail: relaxed", "producer.rs",
     "tail.store(self.tail, Ordering::Release)", "tail.store(self.tail, Ordering::Relaxed)", True),
    ("acquire tail and flags: no fence", "memory.rs",
     "    fence(Ordering::Acquire);\n", "", True),
    ("reap, tail: relaxed", "consumer.rs",
     "acquire(view.tail);\n    let left", "view.tail.load(Ordering::Relaxed);\n    let left", True),
    ("drain, tail: relaxed", "exclusive.rs",
     "acquire(view.tail)", "view.tail.load(Ordering::Relaxed)", True),
    ("pending, flags: relaxed", "status.rs",
     "let flags = RingFlags::from_bits_retain(acquire(view.flags))",
     "let flags = RingFlags::from_bits_retain(view.flags.load(Ordering::Relaxed))", True),
    ("is dead, flags: relaxed", "status.rs",
     "acquire(memory.view().flags))", "memory.view().flags.load(Ordering::Relaxed))", True),
    ("producer's head: no fence", "producer.rs",
     "        fence(Ordering::Acquire);\n", "", True),
    ("consumer's first head: relaxed", "consumer.rs",
     "let head = view.head.load(Ordering::Acquire)", "let head = view.head.load(Ordering::Relaxed)",
     "a tail that is behind is no event for the short way, whose fence orders the general one"),
    ("consumer's head when empty: relaxed", "consumer.rs",
     "let now = view.head.load(Ordering::Acquire)", "let now = view.head.load(Ordering::Relaxed)", True),
    ("claim, success: relaxed", "consumer.rs",
     "compare_exchange(head, next, Ordering::Release,", "compare_exchange(head, next, Ordering::Relaxed,", True),
    ("claim, failure: relaxed", "consumer.rs",
     "Ordering::Release, Ordering::Acquire)", "Ordering::Release, Ordering::Relaxed)", True),
    ("exclusive head: relaxed", "exclusive.rs",
     "head.store(self.next, Ordering::Release)", "head.store(self.next, Ordering::Relaxed)", True),
    ("exclusive takes over: relaxed", "exclusive.rs",
     "view().head.load(Ordering::Acquire)", "view().head.load(Ordering::Relaxed)",
     "the handing over orders it already"),
    ("flags: relaxed", "producer.rs",
     "flags.store(flags.bits(), Ordering::Release)", "flags.store(flags.bits(), Ordering::Relaxed)", True),
    ("notify, producer: no full barrier", "producer.rs",
     "fence(Ordering::SeqCst);\n        // Relaxed: the fence orders it.", "fence(Ordering::AcqRel);", True),
    ("pending: no full barrier", "status.rs",
     "fence(Ordering::SeqCst)", "fence(Ordering::AcqRel)", True),
    ("overflow, look again: no full barrier", "producer.rs",
     "fence(Ordering::SeqCst);\n        self.refresh_head();", "fence(Ordering::AcqRel);\n        self.refresh_head();", True),
    ("overflow: no look again", "sink.rs",
     "if self.producer.has_room_after_flag(len) {", "if false {", True),
    ("flush: flag cleared before publication", "sink.rs",
     "        self.producer.publish();\n        if self.overflow.is_empty() {\n            self.producer.set_overflow(false);\n        }\n",
     "        if self.overflow.is_empty() {\n            self.producer.set_overflow(false);\n        }\n        self.producer.publish();\n", True),
    ("pending: tail before flags", "status.rs",
     "    let flags = RingFlags::from_bits_retain(acquire(view.flags));\n    let tail = view.tail.load(Ordering::Relaxed) & M::TAIL_MASK;\n",
     "    let tail = view.tail.load(Ordering::Relaxed) & M::TAIL_MASK;\n    let flags = RingFlags::from_bits_retain(acquire(view.flags));\n", True),
    ("grow: on before the ring is empty", "consumer.rs",
     "if self.pending() != Pending::Frozen {", "if false {", True),
    ("grow: frozen before the list has moved", "sink.rs",
     "        if !self.flush() {", "        old.freeze();\n        if !self.flush() {", True),
    ("grow: frozen before the next ring is known", "sink.rs",
     "        link();\n        old.freeze();\n", "        old.freeze();\n        link();\n", True),
    ("grow: OVERFLOW not carried on", "sink.rs",
     "            self.producer.set_overflow(true);\n        }\n        link", "        }\n        link", True),
    ("corruption reported without a swap", "consumer.rs",
     "                Err(_) => 0,\n", "                Err(error) => return Err(error),\n", True),
    ("corruption reported if head reads the same", "consumer.rs",
     "                Err(_) => 0,\n",
     "                Err(error) if view.head.load(Ordering::Acquire) == head => return Err(error),\n                Err(_) => 0,\n", True),
    ("empty without a second look at head", "consumer.rs",
     "if now == head {", "if now == head || true {", True),
    ("new events overtake the list", "sink.rs",
     "if sink.flush() && sink.producer.write", "if sink.producer.write", True),
    ("head not checked", "producer.rs",
     "if used <= ring_bytes - unpublished && used.is_multiple_of(8) {", "if used <= ring_bytes - unpublished || true {", True),
    ("claim without comparing", "consumer.rs",
     "view.head.compare_exchange(head, next, Ordering::Release, Ordering::Acquire)",
     "Ok::<u64, u64>(view.head.swap(next, Ordering::AcqRel))", True),
]


# What the engine keeps by its one lock, and by the words outside of it: name,
# file, pairs of a text and its replacement.
BROKEN = [
    ("a stop outlives its request", "engine/host/seat.rs", [
        ("        self.word.store(IN, Ordering::Relaxed);\n", ""),
        ("self.word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)",
         "Ok::<u32, u32>({ let _ = old; self.word.swap(new, Ordering::Relaxed) })")]),
    ("sleeps without a look under the lock", "engine/calls/wait.rs", [
        ("    if satisfied {\n", "    if satisfied && false {\n"),
        ("    shared.tell_waiters(context);\n    let until", "    drop(context);\n    let until")]),
    ("wakes a sleeper before it is told", "os/park.rs", [
        ("        self.word.store(TOLD, Ordering::Relaxed);\n        match", "        match"),
        ("            None => self.word.wake(),\n        }\n",
         "            None => self.word.wake(),\n        }\n        self.word.store(TOLD, Ordering::Relaxed);\n")]),
    ("a request that is tried is stopped as if it waited", "engine/state/files.rs", [
        ("            Some((tried, stop)) if *tried == id => {", "            Some((tried, stop)) if *tried == id && false => {")]),
    ("an idle worker is not told of a job", "engine/executors/worker.rs", [("    if wake {\n", "    if wake && false {\n")]),
    ("a request is queued while the ring's thread falls asleep", "engine/executors/device.rs", [
        ("            context.device.asleep = context.slots.queued(Lane::Device) == 0;\n", "")]),
    ("workers are not told to go", "engine/mod.rs", [("        self.shared.jobs.notify_all();\n", "")]),
    ("dead before the workers have gone", "engine/mod.rs", [
        ("        let handles = self.shared.lock().workers.stop();\n        self.shared.jobs.notify_all();",
         "        self.shared.lock().sink.set_dead();\n        let handles = self.shared.lock().workers.stop();\n        self.shared.jobs.notify_all();")]),
    ("the eventfd is not told of what is there", "engine/mod.rs", [
        ("if first && context.available(1) > 0 {", "if first && false {")]),
    ("what is waited for ends before the wait begins", "engine/calls/accept.rs", [
        ("    let verdict = if timeout", "    drop(context);\n    let mut context = shared.lock();\n    let verdict = if timeout")]),
    ("a group ends before its last member", "engine/state/order.rs", [
        ("            group.members -= 1;\n", "            group.members = group.members.saturating_sub(2);\n")]),
    ("a member's failure is not counted", "engine/state/order.rs", [("            group.failed += u64::from(failed);\n", "")]),
    ("a cancel reports what it has not done", "engine/ends/mod.rs", [
        ("Some(State::Running) => Stopped::TooLate", "Some(State::Running) => Stopped::Cancelled")]),
]


# Files whose orderings no model can weaken: their peer is the kernel, or memory that
# the explorer does not have; with what stands in for it.
OUTSIDE = {
    "userspace/src/engine/host/device/aio.rs":
        "the peer is the kernel's ring of Linux AIO; the pairs are those of publish and claim, as litmus tests",
    "userspace/src/os/process.rs":
        "a page that forks clear, set once by compare-and-swap; the tests of fork in processes, TSan",
}


# What orders more than its own word; the rest is Relaxed.
ORDERING = re.compile(r"Ordering::(Acquire|Release|AcqRel|SeqCst)|\bacquire\(view")
MODEL = re.compile(r'#\[test\].*?fn (\w+)\(\).*?model\(\s*"([^"]+)"', re.DOTALL)


def not_weakened():
    """The lines with an ordering that no change takes away."""
    lines = []
    outside = set(OUTSIDE)
    for path in sorted((ROOT / "userspace/src").rglob("*.rs")):
        text = path.read_text()
        code = re.sub("//[^\n]*", lambda comment: " " * len(comment[0]), text)
        for name, file, before, after, _ in CHANGES:
            at = text.find(before)
            if path == ROOT / RING / file and at >= 0:
                gone = len(before) if ORDERING.findall(before) != ORDERING.findall(after) else 0
                code = code[:at] + " " * gone + code[at + gone:]
        sites = list(ORDERING.finditer(code))
        file = str(path.relative_to(ROOT))
        if file in OUTSIDE and sites:
            outside.discard(file)
            continue
        for site in sites:
            lines.append(f"{file}:{code[:site.start()].count(chr(10)) + 1}: nothing weakens this")
    return lines + [f"{file}: has no ordering, and stands in OUTSIDE" for file in sorted(outside)]


def model_names():
    """The name of each model, by that of its test."""
    texts = [path.read_text() for path in (ROOT / "userspace/tests/loom").glob("*.rs")]
    return dict(pair for text in texts for pair in MODEL.findall(text))


def failing_models(work, models, bound):
    """The tests that fail in the copy with so many preemptions; None if it does not build."""
    env = dict(os.environ, RUSTFLAGS="--cfg aio2_loom -Awarnings", CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS="true",
               CARGO_INCREMENTAL="1", LOOM_MAX_PREEMPTIONS=str(bound))
    env.setdefault("CARGO_TARGET_DIR", str(work / "target"))
    run = subprocess.run(
        ["cargo", "test", "--quiet", "--release", "-p", "aio2", "--test", "loom", "--", *models],
        cwd=work, env=env, capture_output=True, text=True, timeout=1800)
    if run.returncode == 0:
        return []
    failed = re.search(r"\nfailures:\n((?:    \S+\n)+)", run.stdout)
    if failed:
        return failed.group(1).split()
    # A deadlock found by the explorer panics once more in a destructor, which
    # aborts the run: the models behind it are not known.
    aborted = re.search(r"thread '([\w:]+)' \(\d+\) panicked[^\n]*\npanic in a destructor", run.stderr)
    if aborted:
        return [aborted.group(1)]
    print(run.stdout[-2000:], run.stderr[-2000:], file=sys.stderr)
    return None


def changes():
    """All of them: name, path, pairs of a text and its replacement, models, whether one must fail."""
    for name, file, text, replacement, must_fail in CHANGES:
        yield name, RING + file, [(text, replacement)], MODELS[RING], must_fail
    for name, file, pairs in BROKEN:
        yield name, LIBRARY + file, pairs, MODELS[LIBRARY], True


def cannot_be_made():
    """The changes whose text is not there once."""
    lines = []
    for name, file, pairs, _, _ in changes():
        path = ROOT / file
        text = path.read_text() if path.exists() else ""
        for before, after in pairs:
            if text.count(before) != 1:
                lines.append(f"{name}: the text to change occurs {text.count(before)} times in {file}")
            text = text.replace(before, after)
    return lines


def main():
    wanted = sys.argv[1:]
    names = model_names()
    table = None
    wrong = not_weakened() + cannot_be_made()
    if wrong or wanted == ["--check"]:
        sys.exit("\n".join(wrong) or 0)
    wrong = 0
    with tempfile.TemporaryDirectory() as temp:
        work = pathlib.Path(temp) / "copy"
        shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns("target", ".git"))
        for name, file, pairs, models, must_fail in changes():
            if wanted and not any(word in name for word in wanted):
                continue
            if table is not models:
                table = models
                what = "weakened" if models is MODELS[RING] else "broken"
                print(f"\n| {what} | models that fail |\n|---|---|")
            path = work / file
            original = changed = path.read_text()
            for text, replacement in pairs:
                changed = changed.replace(text, replacement)
            path.write_text(changed)
            for bound in [2, 3]:
                failing = failing_models(work, models, bound)
                if failing != []:
                    break
            path.write_text(original)
            if failing is None:
                sys.exit(f"{name}: does not build")
            note = "; ".join(names.get(test.split("::")[-1], test) for test in failing)
            if failing and bound == 3:
                note += " (with three)"
            note = note or ("**none**" if must_fail is True else f"none: {must_fail}")
            wrong += bool(failing) != (must_fail is True)
            print(f"| {name} | {note} |", flush=True)
    if not wanted:
        print("\n| in no model | why |\n|---|---|")
        for file, why in OUTSIDE.items():
            print(f"| {file} | {why} |")
    sys.exit(1 if wrong else 0)


main()
