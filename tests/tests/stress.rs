//! Many threads reap one context; contexts are made and unmade by thousands.
//!
//! In normal runs the amount of work is fixed and small. With
//! `AIO2_STRESS_SECONDS=60` the reaping goes on for so long.

use aio2_conformance::backends::InProcess;
use aio2_conformance::child;
use aio2_conformance::stress;
use aio2_conformance::suite::{Test, Verdict, run_one};
use libtest_mimic::{Arguments, Trial};

const TESTS: &[Test] = &[
    Test {
        name: "eight_threads_reap_one_context",
        ids: &["R-OVF-7", "R-EVENT-1"],
        run: stress::eight_threads_reap_one_context,
    },
    Test {
        name: "eight_threads_reap_while_the_process_is_stopped_again_and_again",
        ids: &["R-OVF-7", "R-LIFE-8"],
        run: stress::reaping_process_is_stopped_again_and_again,
    },
    Test {
        name: "ten_thousand_contexts_leave_nothing",
        ids: &["R-LIFE-3"],
        run: stress::many_contexts_leave_nothing,
    },
];

fn main() {
    child::play_role(&[&InProcess]);
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = TESTS
        .iter()
        .map(|test| {
            Trial::test(format!("{} [{}]", test.name, test.ids.join(" ")), move || {
                let scratch = tempfile::tempdir()?;
                match run_one(test, &InProcess, scratch.path()) {
                    Verdict::Ok => Ok(()),
                    Verdict::Skipped(reason) => {
                        println!("SKIP {}: {reason}", test.name);
                        Ok(())
                    }
                    Verdict::Failed(why) => Err(why.into()),
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
