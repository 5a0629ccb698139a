#!/usr/bin/env python3
"""Weakens each ordering of the ring one step, and tells which models fail.

    userspace/tests/orderings.py [NAME...]

Works on a copy; prints a table and exits with 1 if a change that some model
ought to catch survives, or one said to be redundant does not.
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

# name, file, text, its replacement, whether a model must catch it
CHANGES = [
    ("publish tail: relaxed", "producer.rs",
     "tail.store(self.tail, Ordering::Release)", "tail.store(self.tail, Ordering::Relaxed)", True),
    ("acquire tail and flags: no fence", "mod.rs",
     "    fence(Ordering::Acquire);\n", "", True),
    ("producer's head: no fence", "producer.rs",
     "        fence(Ordering::Acquire);\n", "", True),
    ("consumer's first head: relaxed", "consumer.rs",
     "let mut head = view.head.load(Ordering::Acquire)", "let mut head = view.head.load(Ordering::Relaxed)", True),
    ("consumer's head when empty: relaxed", "consumer.rs",
     "let now = view.head.load(Ordering::Acquire)", "let now = view.head.load(Ordering::Relaxed)", True),
    ("claim, success: relaxed", "consumer.rs",
     "compare_exchange(head, next, Ordering::Release,", "compare_exchange(head, next, Ordering::Relaxed,", True),
    ("claim, failure: relaxed", "consumer.rs",
     "Ordering::Release, Ordering::Acquire)", "Ordering::Release, Ordering::Relaxed)", True),
    ("exclusive head: relaxed", "exclusive.rs",
     "head.store(self.next, Ordering::Release)", "head.store(self.next, Ordering::Relaxed)", True),
    ("exclusive takes over: relaxed", "exclusive.rs",
     "view().head.load(Ordering::Acquire)", "view().head.load(Ordering::Relaxed)", False),
    ("flags: relaxed", "producer.rs",
     "flags.store(flags.bits(), Ordering::Release)", "flags.store(flags.bits(), Ordering::Relaxed)", True),
    ("notify, producer: no fence", "producer.rs",
     "        fence(Ordering::SeqCst);\n        // Relaxed: the fence orders it.", "", True),
    ("pending: no fence", "consumer.rs",
     "    fence(Ordering::SeqCst);\n", "", True),
    ("overflow, look again: no fence", "producer.rs",
     "        fence(Ordering::SeqCst);\n        self.refresh_head();", "        self.refresh_head();", True),
    ("overflow: no look again", "sink.rs",
     "if self.producer.has_room_after_flag(len) {", "if false {", True),
    ("flush: flag cleared before publication", "sink.rs",
     "        self.producer.publish();\n        if self.overflow.is_empty() {\n            self.producer.set_overflow(false);\n        }\n",
     "        if self.overflow.is_empty() {\n            self.producer.set_overflow(false);\n        }\n        self.producer.publish();\n", True),
    ("pending: tail before flags", "consumer.rs",
     "    let flags = Flags::from_bits_retain(acquire(view.flags));\n    let tail = acquire(view.tail) & M::TAIL_MASK;\n",
     "    let tail = acquire(view.tail) & M::TAIL_MASK;\n    let flags = Flags::from_bits_retain(acquire(view.flags));\n", True),
    ("grow: on before the ring is empty", "consumer.rs",
     "if self.pending() != Pending::Frozen {", "if false {", True),
    ("grow: frozen before the list has moved", "sink.rs",
     "        if !self.flush() {", "        old.freeze();\n        if !self.flush() {", True),
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


def failing_models(work):
    """Names of the models that fail in the copy; None if it does not build."""
    env = dict(os.environ, RUSTFLAGS="--cfg loom -Awarnings", CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS="true")
    env.setdefault("CARGO_TARGET_DIR", str(work / "target"))
    run = subprocess.run(
        ["cargo", "test", "--quiet", "--release", "-p", "aio2", "--test", "loom"],
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


def main():
    wanted = sys.argv[1:]
    wrong = 0
    print("| weakened | models that fail |\n|---|---|")
    with tempfile.TemporaryDirectory() as temp:
        work = pathlib.Path(temp) / "copy"
        shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns("target", ".git"))
        for name, file, text, replacement, must_fail in CHANGES:
            if wanted and not any(word in name for word in wanted):
                continue
            path = work / RING / file
            original = path.read_text()
            if original.count(text) != 1:
                sys.exit(f"{name}: the text to change occurs {original.count(text)} times in {file}")
            path.write_text(original.replace(text, replacement))
            failing = failing_models(work)
            path.write_text(original)
            if failing is None:
                sys.exit(f"{name}: does not build")
            note = ", ".join(failing) or ("**none**" if must_fail else "none: see the comment there")
            wrong += bool(failing) != must_fail
            print(f"| {name} | {note} |", flush=True)
    sys.exit(1 if wrong else 0)


main()
