//! What the suite cannot ask, since it needs this guest: filters, and io_uring
//! beside them; where reads complete; what is said of the kernel's calls only;
//! what is left of processes that ended; what audit records.
//!
//! An argument is what the name of each check to run begins with; without one all are
//! run. One line for each check, `ok NAME IDS`, `SKIP NAME IDS: why` or `FAIL NAME IDS: why`,
//! after what it has to show. Exit status 1 if one failed.

mod audit;
mod calls;
mod faults;
mod identity;
mod lifecycle;
mod matrix;
mod places;
mod seccomp;
mod trace;

use aio2_abi::setup::Setup;
use aio2_conformance::backends::Running;
use aio2_conformance::context::Context;
use aio2_conformance::env::{Factory, setup};
use anyhow::Result;
use std::fmt;
use std::process::ExitCode;

/// A context of the running kernel.
fn context() -> Context {
    context_with(setup())
}

/// One as `setup` says.
fn context_with(setup: Setup) -> Context {
    Context::new(Running.create(&setup).expect("io_setup2"))
}

/// The error of a check that cannot run on this kernel: why.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// A check: an error says what does not hold.
struct Check {
    /// Module and function.
    name: &'static str,
    /// The requirements that it shows of the kernel.
    ids: &'static [&'static str],
    run: fn() -> Result<()>,
}

macro_rules! checks {
    ($($module:ident { $($name:ident: $($id:literal)+;)* })*) => {
        const CHECKS: &[Check] = &[$($(Check {
            name: concat!(stringify!($module), "::", stringify!($name)),
            ids: &[$($id),+],
            run: $module::$name,
        }),*),*];
    };
}

checks! {
    seccomp {
        filters_act_as_on_plain_calls: "R-SEC-1";
    }
    matrix {
        each_call_by_each_answer: "R-SEC-1";
    }
    identity {
        each_thread_has_its_own_files_and_directory: "R-SEC-6";
    }
    faults {
        each_step_can_fail: "R-SUBMIT-1" "R-SUBMIT-2" "R-SUBMIT-4" "R-GET-4";
    }
    places {
        reads_complete_where_they_should: "R-RUN-1" "R-RUN-3" "R-PATH-1";
    }
    calls {
        sizes_of_structures_are_checked: "R-CONV-1" "R-CONV-2";
        descriptor_is_close_on_exec: "R-SETUP-11";
        operations_on_contexts_are_not_supported: "R-FD-3";
        iocb_whose_id_cannot_be_written_is_refused: "R-ID-3";
        another_process_reaps_and_does_not_submit: "R-LIFE-7" "R-LIFE-4" "R-CONV-4";
        credentials_are_those_of_the_submission: "R-SEC-2";
        sleeping_workers_are_replaced_within_the_concurrency: "R-RUN-9" "R-RUN-1";
        contexts_of_a_user_are_bounded: "R-LIMIT-3";
        requests_of_a_user_are_bounded: "R-LIMIT-3";
        compat_tasks_have_none_of_the_calls: "R-COMPAT-1";
        each_ring_stays_mappable_at_its_offset: "R-GROW-8";
    }
    lifecycle {
        what_is_held_is_seen: "R-LIFE-3";
        killed_processes_leave_nothing: "R-LIFE-3" "R-LIFE-5";
        exiting_leaders_leave_nothing: "R-LIFE-3" "R-LIFE-5" "R-LIFE-6";
        other_programs_leave_nothing: "R-LIFE-3" "R-LIFE-5";
        stopped_processes_leave_nothing: "R-LIFE-3" "R-LIFE-8";
        closed_contexts_leave_nothing: "R-LIFE-2" "R-LIFE-3";
        threads_with_files_of_their_own_leave_nothing: "R-LIFE-3";
    }
    audit {
        operations_are_recorded_as_plain_calls: "R-SEC-3";
        audit_that_is_off_changes_nothing: "R-EXEC-1" "R-PATH-1";
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(lifecycle::SUCCESSOR) {
        return ExitCode::from(lifecycle::succeed());
    }
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let checks: Vec<&Check> = CHECKS.iter().filter(|c| c.name.starts_with(&wanted)).collect();
    if checks.is_empty() {
        eprintln!("aio2-checks: no check is called {wanted}");
        return ExitCode::from(2);
    }
    let (mut failed, mut skipped) = (0, 0);
    for check in &checks {
        let (name, ids) = (check.name, check.ids.join(" "));
        match (check.run)() {
            Ok(()) => println!("ok {name} {ids}"),
            Err(error) if error.is::<Skip>() => {
                skipped += 1;
                println!("SKIP {name} {ids}: {error}");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {name} {ids}: {}", format!("{error:#}").replace('\n', " "));
            }
        }
    }
    let ok = checks.len() - failed - skipped;
    println!("aio2-checks: ok={ok} failed={failed} skipped={skipped}");
    ExitCode::from(u8::from(failed > 0))
}
