//! The example of a key-value store, killed again and again.
//!
//! AIO2_KILLS says how often, 1000 for a whole run.

#[path = "../examples/store.rs"]
mod store;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEYS: u64 = 40;

/// The store in a process of its own: this program once more.
fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["serves_a_process", "--exact", "--nocapture"])
        .env("AIO2_STORE", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process that `start` makes.
#[test]
fn serves_a_process() {
    if let Some(directory) = std::env::var_os("AIO2_STORE") {
        // Not by the harness's own output, which it would hold back.
        store::serve(directory.as_ref(), std::fs::File::create("/proc/self/fd/1").unwrap())
            .unwrap();
    }
}

/// A value of which it shows if it is torn.
fn value(n: u64) -> String {
    format!("{n}-").repeat(1 + (n % 400) as usize)
}

fn number(value: &str) -> u64 {
    let n: u64 = value.split('-').next().unwrap().parse().unwrap();
    assert_eq!(value, self::value(n), "it is torn");
    n
}

/// What the store has, by its answers to `get`.
fn contents(directory: &Path) -> Vec<Option<u64>> {
    let mut child = start(directory);
    let mut input = child.stdin.take().unwrap();
    for key in 0..KEYS {
        writeln!(input, "get k{key}").unwrap();
    }
    drop(input);
    let mut answers = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answers).unwrap();
    assert!(child.wait().unwrap().success(), "{answers}");
    let answers = answers.lines().filter_map(|line| match line.split_once(' ') {
        Some(("value", value)) => Some(Some(number(value))),
        _ => (line == "none").then_some(None),
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers.len() as u64, KEYS);
    answers
}

#[test]
fn what_was_acknowledged_is_there_after_each_kill() {
    let kills: u64 = std::env::var("AIO2_KILLS").map_or(15, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Of each key: the last number that was acknowledged, and the last that was sent.
    let mut known = vec![(None, None); KEYS as usize];
    let mut next = 0;
    let mut acknowledged = 0;
    for kill in 0..kills {
        let mut child = start(directory.path());
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let first = next;
        let writer = std::thread::spawn(move || {
            let mut n = first;
            // Until it is killed.
            while writeln!(input, "put k{} {}", n % KEYS, value(n)).is_ok() {
                n += 1;
            }
            n
        });
        let (mut acks, after) = (0, 1 + kill * 37 % 300);
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        while acks < after
            && let Some(line) = lines.next()
        {
            acks += u64::from(line == "ok");
        }
        std::thread::sleep(Duration::from_micros(kill * 7919 % 3000));
        child.kill().unwrap();
        acks += lines.filter(|line| line == "ok").count() as u64;
        child.wait().unwrap();
        next = writer.join().unwrap() + 1;
        for n in first..next {
            let known = &mut known[(n % KEYS) as usize];
            if n < first + acks {
                known.0 = Some(n);
            }
            known.1 = Some(n);
        }
        acknowledged += acks;
        for (key, (found, known)) in contents(directory.path()).into_iter().zip(&known).enumerate()
        {
            assert!(
                found >= known.0 && found <= known.1,
                "kill {kill}, k{key}: {found:?} {known:?}"
            );
        }
    }
    assert!(acknowledged >= kills);
    println!("{kills} kills, {acknowledged} acknowledged");
}

#[test]
fn a_log_that_is_cut_or_spoilt_ends_before_the_damage() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = directory.path().join("log.0");
    let mut child = start(directory.path());
    let mut input = child.stdin.take().unwrap();
    for n in 0..KEYS {
        writeln!(input, "put k{n} {}", value(n)).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    let whole = std::fs::read(&log).unwrap();
    for at in [1, 7, 8, whole.len() / 2, whole.len() - 1] {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1;
        for bytes in [&whole[..at], &spoilt] {
            std::fs::write(&log, bytes).unwrap();
            let there = contents(directory.path()).into_iter().take_while(Option::is_some).count();
            assert!(there < KEYS as usize);
            assert!(at < whole.len() / 2 || there > 0);
        }
    }
}
