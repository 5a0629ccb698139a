//! What the suite cannot ask, since it needs this guest: filters, and io_uring
//! beside them; where reads complete; what is left of processes that ended.
//!
//! One line for each check, `ok NAME IDS` or `FAIL NAME IDS: why`, after what it has to
//! show. Exit status 1 if one failed.

mod identity;
mod leftovers;
mod lifecycle;
mod places;
mod seccomp;
mod trace;

use anyhow::Result;
use std::process::ExitCode;

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
    identity {
        each_thread_has_its_own_files_and_directory: "R-SEC-6";
    }
    places {
        reads_complete_where_they_should: "R-RUN-1" "R-RUN-3" "R-PATH-1";
    }
    lifecycle {
        what_is_held_is_seen: "R-LIFE-3";
        killed_processes_leave_nothing: "R-LIFE-3" "R-LIFE-5";
        exiting_leaders_leave_nothing: "R-LIFE-3" "R-LIFE-5" "R-LIFE-6";
        other_programs_leave_nothing: "R-LIFE-3" "R-LIFE-5";
        stopped_processes_leave_nothing: "R-LIFE-3" "R-LIFE-8";
        closed_contexts_leave_nothing: "R-LIFE-2" "R-LIFE-3";
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(lifecycle::SUCCESSOR) {
        return ExitCode::from(lifecycle::succeed());
    }
    let mut failed = 0;
    for check in CHECKS {
        let (name, ids) = (check.name, check.ids.join(" "));
        match (check.run)() {
            Ok(()) => println!("ok {name} {ids}"),
            Err(error) => {
                failed += 1;
                println!("FAIL {name} {ids}: {}", format!("{error:#}").replace('\n', " "));
            }
        }
    }
    println!("aio2-checks: ok={} failed={failed}", CHECKS.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}
