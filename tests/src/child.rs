//! Child processes of tests: roles that a fresh process plays, and forks.
//!
//! A role is played by the same program, started anew, so that threads and
//! locks of the test are not in it. A fork is for what is about fork itself; it
//! must do little.

use crate::env::Factory;
use crate::{attributes, crash, grow, hostile, ring, same, signals, stress, teardown};
use std::process::{Command, ExitStatus};

/// Names the implementation and the role that a process shall play.
const VARIABLE: &str = "AIO2_CONFORMANCE_CHILD";

type Role = fn(&dyn Factory) -> i32;

const ROLES: &[(&str, Role)] = &[
    ("sets_a_priority_as_nobody", attributes::sets_a_priority_as_nobody),
    ("write_to_a_reaped_event", ring::write_to_a_reaped_event),
    ("write_to_the_producer_page", ring::write_to_the_producer_page),
    ("write_to_the_consumer_page", ring::write_to_the_consumer_page),
    ("grows_without_memory", grow::grows_without_memory),
    ("reads_signals", same::reads_signals),
    ("asks_for_signals_that_cannot_be_queued", signals::asks_for_signals_that_cannot_be_queued),
    ("exits_with_requests_in_flight", teardown::exits_with_requests_in_flight),
    ("execs_with_requests_in_flight", teardown::execs_with_requests_in_flight),
    ("reaps_while_it_is_stopped", stress::reaps_while_it_is_stopped),
    ("is_hostile", hostile::is_hostile),
    ("writes_a_log", crash::writes_a_log),
    ("writes_a_log_in_any_order", crash::writes_a_log_in_any_order),
    ("makes_many_contexts", stress::makes_many_contexts),
    ("waits_while_it_is_stopped", teardown::waits_while_it_is_stopped),
];

/// Plays the role that this process was started for, if it was, and exits. To
/// be called first of all by every program that runs the suite.
///
/// # Panics
/// If there is no such role.
pub fn play_role(factories: &[&dyn Factory]) {
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (factory, role) = wanted.split_once(' ').expect("an implementation and a role");
    let factory = factories.iter().find(|f| f.name() == factory).expect("an implementation");
    let (_, role) = ROLES.iter().find(|(name, _)| *name == role).expect("a role");
    std::process::exit(role(*factory));
}

/// The command that starts a child in this role.
///
/// # Panics
/// If the program cannot be found again.
#[must_use]
pub fn command(factory: &dyn Factory, role: &str) -> Command {
    assert!(ROLES.iter().any(|(name, _)| *name == role), "no role {role}");
    let program = std::env::current_exe().expect("/proc is mounted");
    let mut command = Command::new(program);
    command.env(VARIABLE, format!("{} {role}", factory.name()));
    // A role that dies on purpose has nothing to tell.
    command.stderr(std::process::Stdio::null());
    command
}

/// Runs `body` in a forked child; how that ended.
///
/// The child has only the calling thread. `body` must not take locks that
/// others may have held, and returns its exit status.
///
/// # Panics
/// If there can be no child.
pub fn forked(body: impl FnOnce() -> i32) -> ExitStatus {
    // SAFETY: the child runs `body`, which keeps to what is allowed there, and
    // leaves at once.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: leaves without running anything of the parent's.
        unsafe { libc::_exit(result.unwrap_or(101)) };
    }
    let mut status = 0;
    // SAFETY: `status` can be written.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    std::os::unix::process::ExitStatusExt::from_raw(status)
}
