//! What the suite cannot ask, since it needs this guest: filters, and io_uring
//! beside them; where reads complete; what is left of processes that ended.
//!
//! One line for each check, `ok NAME` or `FAIL NAME: why`, after what it has to
//! show. Exit status 1 if one failed.

mod leftovers;
mod lifecycle;
mod places;
mod seccomp;
mod trace;

use anyhow::Result;
use std::process::ExitCode;

/// A check: an error says what does not hold.
type Check = fn() -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("filters_act_as_on_plain_calls", seccomp::filters_act_as_on_plain_calls),
    ("reads_complete_where_they_should", places::reads_complete_where_they_should),
    ("what_is_held_is_seen", lifecycle::what_is_held_is_seen),
    ("killed_processes_leave_nothing", lifecycle::killed_processes_leave_nothing),
    ("exiting_leaders_leave_nothing", lifecycle::exiting_leaders_leave_nothing),
    ("other_programs_leave_nothing", lifecycle::other_programs_leave_nothing),
    ("stopped_processes_leave_nothing", lifecycle::stopped_processes_leave_nothing),
    ("closed_contexts_leave_nothing", lifecycle::closed_contexts_leave_nothing),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(lifecycle::SUCCESSOR) {
        return ExitCode::from(lifecycle::succeed());
    }
    let mut failed = false;
    for (name, check) in CHECKS {
        match check() {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                failed = true;
                println!("FAIL {name}: {}", format!("{error:#}").replace('\n', " "));
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
