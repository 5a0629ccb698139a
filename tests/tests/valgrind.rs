//! A smaller run under valgrind: no leak, no access to memory that is not
//! there. Ignored in normal runs since it is slow:
//!
//!     cargo test -p aio2-conformance --test valgrind -- --ignored --nocapture

use std::process::{Command, Output};

fn valgrind(role: Option<&str>, args: &[&str]) -> Option<Output> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|v| v.status.success()) {
        println!("SKIP valgrind is not installed: apt-get install valgrind");
        return None;
    }
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--leak-check=full", "--error-exitcode=99", "--fair-sched=yes"])
        // "Possible" is what the standard library keeps of its main thread.
        .args(["--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"])
        .arg(env!("CARGO_BIN_EXE_aio2-conform"))
        .args(args)
        .env("AIO2_CONTEXTS", "100");
    if let Some(role) = role {
        command.env("AIO2_CONFORMANCE_CHILD", format!("engine {role}"));
    }
    Some(command.output().expect("valgrind runs"))
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// SPEC: R-LIFE-3
#[test]
#[ignore = "slow: valgrind"]
fn two_hundred_contexts_leak_nothing_under_valgrind() {
    let Some(output) = valgrind(Some("makes_many_contexts"), &[]) else { return };
    let text = text(&output);
    // Its own status is 1 if anything but memory was left, which valgrind
    // itself changes.
    assert_ne!(output.status.code(), Some(99), "{text}");
    assert!(text.contains("100 contexts"), "{text}");
    assert!(!text.contains("definitely lost"), "{text}");
    println!("valgrind: {}", text.trim());
}

#[test]
#[ignore = "slow: valgrind"]
fn rules_of_submission_limits_and_cancel_hold_under_valgrind() {
    for filter in ["malformed", "limits", "cancel", "attributes::re"] {
        let Some(output) = valgrind(None, &["--backend", "engine", filter]) else { return };
        let text = text(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let summary = text.lines().find(|l| l.starts_with("aio2-conform:"));
        println!("valgrind, {filter}: {}", summary.expect("a summary"));
    }
}
