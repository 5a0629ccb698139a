//! Many threads reap one context; contexts are made and unmade by thousands.
//!
//! In normal runs the amount of work is fixed and small. The ignored tests reap
//! for `AIO2_STRESS_SECONDS`, or a minute.

mod common;

use aio2_conformance::backends::InProcess;
use aio2_conformance::stress;
use aio2_conformance::suite::Test;
use aio2_conformance::{child, crash, interrupt};

const SHORT: &[Test] = &[
    Test {
        name: "eight_threads_reap_one_context",
        ids: &["R-OVF-7", "R-EVENT-1"],
        run: stress::eight_threads_reap_one_context,
    },
    Test {
        name: "eight_threads_reap_while_their_process_is_stopped_again_and_again",
        ids: &["R-OVF-7", "R-LIFE-8"],
        run: stress::reaping_process_is_stopped_again_and_again,
    },
    Test {
        name: "eight_threads_reap_a_ring_that_grows",
        ids: &["R-GROW-2", "R-GROW-3"],
        run: stress::eight_threads_reap_a_ring_that_grows,
    },
    Test {
        name: "ten_thousand_contexts_leave_nothing",
        ids: &["R-LIFE-3"],
        run: stress::many_contexts_leave_nothing,
    },
    Test {
        name: "killed_writer_leaves_no_commit_record_without_its_data",
        ids: &["R-AFTER-1"],
        run: crash::killed_writer_leaves_no_commit_record_without_its_data,
    },
];

const LONG: &[Test] = &[
    Test {
        name: "eight_threads_reap_one_context_for_a_minute",
        ids: &["R-OVF-7", "R-EVENT-1"],
        run: stress::eight_threads_reap_for_a_minute,
    },
    Test {
        name: "eight_threads_reap_for_a_minute_while_their_process_is_stopped",
        ids: &["R-OVF-7", "R-LIFE-8"],
        run: stress::reaping_process_is_stopped_for_a_minute,
    },
    Test {
        name: "what_sleeps_is_interrupted_a_hundred_thousand_times",
        ids: &["R-CANCEL-7"],
        run: interrupt::what_sleeps_is_interrupted_a_hundred_thousand_times,
    },
    Test {
        name: "writer_is_killed_a_thousand_times_and_leaves_no_commit_record_without_its_data",
        ids: &["R-AFTER-1"],
        run: crash::writer_is_killed_a_thousand_times,
    },
];

fn main() {
    child::play_role(&[&InProcess]);
    let mut trials = common::trials(SHORT, &InProcess);
    let long = LONG.iter().map(|t| common::trial(t, &InProcess).with_ignored_flag(true));
    trials.extend(long);
    libtest_mimic::run(&common::arguments(), trials).exit();
}
