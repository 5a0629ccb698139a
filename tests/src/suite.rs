//! The table of all conformance tests, and running them.
//!
//! The one place that says which function shows which requirement.

use crate::env::{Env, Factory, Outcome, Skip};
use crate::watchdog::Watchdog;
use crate::{
    after, attributes, begun, cancel, deadline, exec, group, grow, hostile, interrupt, limits,
    malformed, memory, notify, order, poll, ready, reap, ring, same, scenes, security, set, setup,
    signals, submit, syscalls, teardown, trace, wakeups,
};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A conformance test.
#[derive(Clone, Copy)]
pub struct Test {
    /// Module and function; the function's name states the rule.
    pub name: &'static str,
    /// The requirements that it shows.
    pub ids: &'static [&'static str],
    /// The test.
    pub run: fn(&Env<'_>) -> Outcome,
}

macro_rules! tests {
    ($($module:ident { $($name:ident: $($id:literal)+;)* })*) => {
        /// All of them.
        pub const TESTS: &[Test] = &[$($(Test {
            name: concat!(stringify!($module), "::", stringify!($name)),
            ids: &[$($id),+],
            run: $module::$name,
        }),*),*];
    };
}

tests! {
    setup {
        version_in_force_is_the_smaller_one: "R-SETUP-1" "R-VER-2";
        version_0_is_refused: "R-SETUP-2";
        unknown_flag_is_refused: "R-SETUP-3";
        unknown_hint_is_ignored_and_cleared: "R-SETUP-4";
        probe_tells_what_a_creation_would_and_creates_nothing: "R-SETUP-5";
        result_of_a_probe_can_be_used_to_create: "R-SETUP-5";
        ring_size_is_rounded_up_to_a_power_of_two: "R-SETUP-6";
        request_limit_has_a_default_and_a_maximum: "R-SETUP-7";
        concurrency_has_a_default_and_a_maximum: "R-SETUP-8";
        field_without_its_flag_is_refused: "R-SETUP-9";
        eventfd_must_be_one: "R-SETUP-10";
        errors_are_found_in_the_order_of_the_table: "R-CONV-4";
        grow_without_the_feature_is_not_supported: "R-SETUP-12";
        syscalls_lists_exactly_what_can_be_run: "R-SETUP-12" "R-SEC-4" "R-OP-1" "R-OP-2";
        ops_lists_exactly_the_operations_that_are_there: "R-SETUP-12" "R-OP-1" "R-OP-2";
        attrs_lists_exactly_what_is_taken: "R-SETUP-12";
        parameters_are_not_changed_on_an_error: "R-CONV-5";
    }
    malformed {
        each_case_has_its_error_and_the_iocbs_before_it_are_accepted:
            "R-IOCB-2" "R-IOCB-3" "R-IOCB-4" "R-IOCB-5" "R-IOCB-6" "R-IOCB-7" "R-IOCB-8"
            "R-SUBMIT-1" "R-SUBMIT-2" "R-CONV-3" "R-CONV-5";
        stream_begins_at_a_multiple_of_8: "R-IOCB-1";
        first_rule_that_is_broken_gives_the_error: "R-CONV-4";
        nothing_else_is_malformed: "R-IOCB-9" "R-SUBMIT-4";
    }
    submit {
        iocbs_are_accepted_in_order: "R-SUBMIT-1";
        stream_ends_before_the_first_iocb_that_cannot_be_accepted: "R-SUBMIT-1" "R-SUBMIT-2";
        empty_stream_gives_0: "R-SUBMIT-3";
        what_ended_inline_is_available_when_the_call_returns: "R-SUBMIT-8";
        first_error_of_the_table_is_the_result: "R-OP-9" "R-OP-1" "R-OP-2";
        failing_request_has_an_event_and_no_error: "R-SUBMIT-4";
        submission_does_not_sleep_for_operations_or_limits: "R-SUBMIT-5" "R-RUN-3";
        memory_of_the_stream_is_not_used_afterwards: "R-SUBMIT-7";
        what_is_checked_is_what_is_run: "R-SUBMIT-6" "R-SEC-5";
        what_is_not_allowed_is_not_supported_and_not_run: "R-OP-1" "R-SEC-4";
        excluded_arguments_are_not_supported: "R-OP-1" "R-SEC-4";
        thread_does_not_get_descriptors_of_its_own: "R-OP-1" "R-SEC-4";
        wrong_number_of_arguments_is_einval: "R-OP-2";
        any_threads_call_while_others_are_in_a_call: "R-CALL-1";
        nop_gives_0: "R-OP-4";
        multishot_where_there_is_none_is_not_supported: "R-OP-7";
        workers_are_at_most_the_concurrency_and_the_requests: "R-RUN-1";
        async_request_is_not_run_inline: "R-RUN-2";
        poll_and_group_end_within_the_call_with_async_too: "R-RUN-2" "R-OP-5";
        operation_that_may_sleep_is_not_run_inline: "R-RUN-3";
        rest_of_a_transfer_goes_on_elsewhere_and_nothing_twice: "R-RUN-4" "R-OP-3";
        read_of_a_part_is_not_continued_without_full: "R-RUN-4" "R-OP-3";
        full_transfer_is_continued_to_its_end: "R-RUN-5";
        full_file_transfers_of_each_family: "R-RUN-5";
        full_without_bytes_to_move_is_not_supported: "R-RUN-6";
        full_of_what_takes_nothing_is_not_supported: "R-RUN-16";
        interrupted_request_is_restarted: "R-RUN-7";
        nonblocking_descriptor_gives_eagain: "R-RUN-8";
        id_is_written_back_before_the_call_returns: "R-ID-1";
        ids_are_not_0_and_not_given_again: "R-ID-2";
    }
    same {
        record_is_all_that_a_read_with_more_room_gives: "R-OP-3" "R-RUN-12";
        signals_of_a_signalfd_are_what_is_there: "R-OP-3" "R-RUN-12";
        message_is_one_receive_whatever_the_flags: "R-OP-3" "R-RUN-12";
        receive_waits_for_as_much_as_the_plain_one: "R-OP-3" "R-RUN-12";
        descriptors_come_with_the_bytes_that_they_were_sent_with: "R-OP-3" "R-RUN-12";
        transfer_of_nothing_is_the_call_all_the_same: "R-OP-3" "R-RUN-12";
        length_beyond_memory_is_that_of_the_call: "R-OP-3" "R-RUN-12";
        device_gives_all_that_it_gives_the_plain_call: "R-OP-3" "R-RUN-12";
        calls_at_the_file_position_are_not_torn: "R-OP-3" "R-RUN-12";
        pipe_of_packets_gives_one: "R-OP-3" "R-RUN-12";
    }
    scenes {
        descriptor_of_each_kind_gives_what_it_gives_the_plain_call: "R-OP-3" "R-RUN-12";
        terminal_with_lines_gives_what_was_typed: "R-OP-3" "R-RUN-12";
        terminal_without_lines_gives_what_vmin_and_vtime_say: "R-WAIT-1";
        socket_in_each_state_gives_what_it_gives_the_plain_call: "R-OP-3" "R-RUN-12";
        memory_that_ends_within_a_buffer_ends_the_call_where_it_would: "R-OP-3" "R-RUN-12";
        arguments_at_their_limits_are_judged_as_in_the_plain_call: "R-OP-3" "R-RUN-12";
    }
    ready {
        idle_files_keep_no_worker: "R-WAIT-1";
        those_that_wait_for_a_file_are_run_in_order: "R-WAIT-2";
        file_that_is_waited_for_is_kept: "R-WAIT-3";
        request_that_waits_ends_at_once: "R-WAIT-4";
        what_cannot_be_waited_for_is_run_by_a_worker: "R-WAIT-5";
        nobody_has_to_wait_for_the_events: "R-WAIT-7";
    }
    reap {
        iocbs_are_submitted_first: "R-GET-1";
        wait_does_not_return_before_min_events_are_there: "R-GET-2";
        min_events_0_does_not_wait: "R-GET-2" "R-GET-6";
        events_on_the_overflow_list_count: "R-GET-2";
        whole_events_are_copied_in_order_as_many_as_fit: "R-GET-3";
        calls_move_the_overflow_list_to_the_ring: "R-GET-5" "R-OVF-4";
        event_that_does_not_fit_stays_with_enobufs: "R-GET-6";
        event_that_does_not_fit_is_told_by_who_does_not_wait: "R-GET-6";
        time_that_is_over_gives_etime: "R-GET-7";
        events_are_returned_rather_than_an_error: "R-GET-8";
        wait_for_an_id_ends_with_it_and_consumes_nothing: "R-GET-9";
        wait_for_an_id_sees_the_overflow_list: "R-GET-9";
        unknown_id_gives_enoent: "R-GET-10";
        timeout_counts_from_the_call: "R-GET-11";
        gather_makes_one_event_enough_after_its_time: "R-GET-12";
        last_to_wait_is_woken_first_and_alone: "R-GET-13";
        wakeup_that_is_not_used_is_passed_on: "R-GET-14";
        wakeup_is_passed_on_by_a_thread_that_gives_up: "R-GET-14";
        every_waiter_is_served_whatever_it_waits_for: "R-GET-14";
        caught_signal_ends_the_wait_with_eintr: "R-GET-15";
        signal_mask_holds_during_the_wait: "R-GET-15" "R-GET-17";
        signal_mask_has_no_effect_without_a_sleep: "R-GET-17" "R-CONV-4";
        wait_for_an_id_regards_no_number_of_events: "R-GET-16";
        eight_threads_reap_each_event_once_and_whole:
            "R-GET-4" "R-RING-4" "R-RING-7" "R-RING-9" "R-RING-10" "R-RING-11" "R-RING-12"
            "R-RING-15" "R-OVF-7";
        reaping_goes_on_while_requests_are_submitted_by_others: "R-EVENT-1";
    }
    wakeups {
        one_waiter_wakes_for_one_event_whatever_their_number: "R-GET-13";
        wait_for_many_wakes_once_for_all_of_them: "R-GET-13";
        waiters_of_different_numbers_and_times_wake_for_their_own: "R-GET-13" "R-GET-12";
    }
    set {
        higher_priority_is_delivered_first: "R-SET-1" "R-SET-3";
        member_is_passed_over_as_often_as_ageing_says: "R-SET-2";
        wait_for_a_set_needs_min_events_of_all_together: "R-SET-4";
        set_whose_time_is_over_gives_what_there_is: "R-SET-4" "R-SET-5";
        signal_ends_the_wait_for_a_set: "R-SET-4" "R-SET-5";
        waiters_of_a_set_with_different_numbers_are_all_served: "R-SET-4" "R-SET-5";
        set_wakes_two_threads_for_an_event_at_most: "R-SET-5";
        members_come_and_go_while_threads_wait: "R-SET-6";
        what_takes_a_members_place_is_waited_for: "R-SET-9";
        set_delivers_each_event_once_whatever_comes_and_goes: "R-SET-3" "R-SET-6" "R-SET-5";
        no_more_threads_are_active_than_the_concurrency_value: "R-SET-7" "R-SET-8";
        blocked_thread_is_replaced: "R-SET-7" "R-SET-8";
    }
    cancel {
        request_that_has_not_started_is_cancelled_by_id: "R-CANCEL-2" "R-CANCEL-1";
        each_named_field_must_match: "R-CANCEL-1";
        descriptor_finds_the_calls_that_have_one: "R-CANCEL-1";
        all_matches_what_runs_and_what_waits: "R-CANCEL-1" "R-CANCEL-3";
        cancelled_request_has_no_effect_and_one_event: "R-CANCEL-2" "R-CANCEL-4";
        nothing_in_flight_gives_enoent: "R-CANCEL-6";
        id_matches_no_later_request: "R-CANCEL-8" "R-ID-2";
        wait_returns_when_all_matches_have_ended: "R-CANCEL-5";
        each_match_is_counted_once: "R-CANCEL-3";
        cancel_during_completion_gives_one_event: "R-CANCEL-4";
        count_and_event_agree_on_what_never_began: "R-CANCEL-3" "R-EVENT-7";
        bad_flags_and_fields_are_refused: "R-CONV-3" "R-CONV-4" "R-CONV-5";
        other_requests_go_on_after_a_cancel: "R-CANCEL-2";
    }
    memory {
        memory_is_not_used_once_the_event_is_available: "R-MEM-1" "R-DEADLINE-1";
        memory_is_not_used_once_a_cancel_has_waited: "R-MEM-2" "R-CANCEL-5";
    }
    begun {
        event_says_that_its_operation_never_began: "R-EVENT-7" "R-EVENT-6";
        event_of_what_began_does_not_say_so: "R-EVENT-7";
        close_that_is_stopped_tells_whether_its_descriptor_is_gone: "R-EVENT-7" "R-CANCEL-2";
        exec_says_that_its_operation_never_began: "R-EVENT-7";
    }
    group {
        group_ends_after_its_members_with_the_number_that_failed:
            "R-GROUP-1" "R-GROUP-2" "R-GROUP-3";
        group_whose_members_have_ended_ends_with_its_close: "R-GROUP-3";
        closed_group_is_no_longer_there_for_others: "R-GROUP-2" "R-GROUP-4";
        cancel_of_the_group_leaves_its_members_running: "R-GROUP-5";
        group_is_closed_however_its_operation_ends: "R-GROUP-7";
        groups_can_be_members_of_groups: "R-GROUP-3";
        bad_key_fails_the_request: "R-AFTER-6";
        open_groups_are_bounded: "R-GROUP-6";
        groups_that_have_ended_leave_nothing: "R-LIMIT-5" "R-GROUP-6";
    }
    after {
        request_starts_after_another_of_its_stream: "R-AFTER-1";
        request_starts_after_another_by_its_id: "R-AFTER-1";
        request_starts_after_a_group_that_is_open_or_closed: "R-AFTER-1";
        key_names_the_last_closed_group_with_members: "R-AFTER-1" "R-AFTER-3";
        failure_is_passed_on: "R-AFTER-2";
        failure_of_a_member_is_passed_on: "R-AFTER-2";
        operation_group_fails_with_its_members: "R-AFTER-2" "R-GROUP-3";
        operation_group_after_its_own_group_fails_with_it: "R-AFTER-2" "R-GROUP-3";
        cancel_is_passed_on_through_a_long_chain: "R-AFTER-2";
        target_that_never_was_is_unknown: "R-AFTER-3";
        target_that_has_ended_is_known_or_stale: "R-AFTER-5" "R-AFTER-2";
        requests_of_a_stream_are_not_forgotten_within_it: "R-AFTER-1";
        request_does_not_wait_for_its_own_group: "R-AFTER-4";
        bad_target_fails_the_request: "R-AFTER-6";
        poll_begins_when_its_target_has_ended: "R-TIMING-1" "R-AFTER-1";
        waiting_requests_take_no_worker: "R-RUN-1" "R-LIMIT-1" "R-AFTER-1";
        after_a_full_write_that_falls_short_nothing_runs: "R-RUN-5" "R-AFTER-2";
    }
    deadline {
        what_runs_waits_or_is_held_ends_when_its_time_is_over: "R-DEADLINE-1";
        what_ends_in_time_has_its_own_result: "R-DEADLINE-1";
        sleep_is_interrupted_each_time_however_early: "R-DEADLINE-1" "R-CANCEL-7";
        deadline_says_that_it_was_handled: "R-DEADLINE-1";
        deadlines_of_what_has_ended_do_nothing: "R-DEADLINE-1" "R-LIMIT-5";
    }
    poll {
        poll_ends_with_what_is_ready_now_or_later: "R-OP-5";
        poll_works_on_every_kind_of_file: "R-OP-5";
        multishot_sends_an_event_each_time_until_it_is_cancelled: "R-OP-6" "R-ATTR-7";
        multishot_ends_when_there_is_no_room_for_another_event: "R-OP-6" "R-OVF-1" "R-LIMIT-5";
        multishot_tells_of_what_is_ready_and_of_each_edge: "R-OP-8";
        events_with_more_do_not_count_against_the_limit: "R-OVF-8" "R-OP-6" "R-LIMIT-1";
        polls_are_cancelled_one_by_one: "R-OP-5" "R-CANCEL-4";
        file_stays_while_it_is_polled: "R-OP-5";
    }
    signals {
        full_queue_of_signals_changes_no_event: "R-SIGNAL-2";
        thread_gets_the_signal_after_the_event: "R-SIGNAL-1";
        what_fails_sends_its_signal_too: "R-SIGNAL-1";
        group_sends_its_signal_after_its_members: "R-SIGNAL-1" "R-GROUP-3";
        exec_sends_it: "R-SIGNAL-1";
        what_cannot_be_signalled_is_told_and_fails_only_if_required: "R-SIGNAL-1";
    }
    interrupt {
        what_sleeps_is_interrupted_however_early: "R-CANCEL-7" "R-CANCEL-5";
        next_operation_of_the_worker_is_not_interrupted: "R-CANCEL-7" "R-RUN-7";
        what_was_moved_is_the_result_unless_all_was_wanted: "R-CANCEL-7" "R-RUN-4" "R-RUN-5";
        closing_interrupts_what_sleeps: "R-LIFE-1";
        match_that_ends_by_another_is_counted_once: "R-CANCEL-3";
    }
    exec {
        request_is_run_as_an_asynchronous_one_is: "R-EXEC-1";
        groups_and_order_are_not_supported: "R-EXEC-1";
        caller_sleeps_for_an_operation_that_does: "R-EXEC-1";
        buffer_too_small_gives_enobufs_before_anything_is_run: "R-EXEC-2";
        bytes_must_be_those_of_one_iocb: "R-EXEC-3" "R-CONV-4";
        it_needs_no_room_in_the_context: "R-EXEC-1";
    }
    ring {
        producer_page_and_data_are_read_only: "R-RING-1";
        mapping_cannot_be_made_writable: "R-RING-1";
        writing_to_a_reaped_event_faults: "R-RING-1";
        data_is_mapped_twice_back_to_back: "R-RING-2";
        child_does_not_inherit_the_mapping: "R-RING-3";
        producer_page_says_what_the_ring_is: "R-RING-8";
        tail_moves_by_the_bytes_of_the_events: "R-RING-15" "R-RING-4";
        events_that_are_not_reaped_are_not_overwritten: "R-RING-7";
        bad_head_counts_as_a_full_ring_and_loses_nothing: "R-RING-6" "R-HOST-1";
        producer_does_not_read_back_what_it_wrote: "R-RING-8" "R-OVF-3";
        overflow_keeps_order_while_the_list_is_not_empty: "R-OVF-2" "R-OVF-3";
        shorter_event_does_not_overtake_the_overflow_list: "R-OVF-2";
        publishing_moves_the_overflow_list: "R-OVF-4";
        overflowed_counts_each_event_of_the_list: "R-OVF-6";
        longest_event_fits_behind_the_wrap: "R-RING-2" "R-EVENT-5";
        events_come_through_when_the_positions_wrap: "R-RING-16";
        nothing_is_lost_whatever_the_consumers_leave_undone: "R-OVF-7" "R-OVF-1";
        empty_ring_with_overflow_is_told_to_the_consumer: "R-OVF-5";
        descriptors_of_the_ring_do_not_leak_into_an_exec: "R-LIFE-5";
    }
    grow {
        ring_that_would_not_be_larger_is_refused: "R-GROW-4" "R-SETUP-6";
        grow_without_memory_changes_nothing: "R-GROW-4";
        frozen_ring_stays_as_it_was: "R-GROW-1";
        counters_and_overflow_go_on_in_the_next_ring: "R-GROW-1" "R-OVF-3" "R-OVF-6";
        consumer_goes_on_when_the_old_ring_is_empty_and_not_before: "R-GROW-2";
        events_keep_their_order_over_rings_and_list: "R-GROW-3";
        copying_goes_over_all_rings: "R-GROW-3" "R-GROW-6";
        sleeping_wait_goes_on_over_it: "R-GROW-6";
        eventfd_is_signalled_for_the_next_ring: "R-GROW-6" "R-NOTIFY-1";
        frozen_ring_is_kept_until_it_is_empty: "R-GROW-5";
        ring_grows_again_and_again_to_the_largest_size: "R-GROW-7" "R-LIMIT-5";
        all_rings_are_dead_when_the_context_is_gone: "R-LIFE-1";
        requests_in_flight_and_their_ids_stay: "R-GROW-3";
        grow_in_a_child_after_fork_gives_exdev: "R-LIFE-4";
    }
    notify {
        eventfd_is_signalled_for_events: "R-NOTIFY-1";
        eventfd_is_signalled_for_overflow: "R-NOTIFY-1";
        eventfd_tells_that_the_context_is_gone: "R-LIFE-1";
        nothing_is_signalled_while_notify_is_off: "R-NOTIFY-5";
        any_other_value_of_notify_counts_as_on: "R-NOTIFY-1";
        full_eventfd_blocks_nothing_and_loses_nothing: "R-NOTIFY-4";
        eventfd_that_blocks_does_not_block_the_producer: "R-NOTIFY-4";
        eventfd_that_blocks_from_now_on_does_not_block_the_producer: "R-NOTIFY-4";
        closed_eventfd_loses_nothing: "R-NOTIFY-4";
        signal_is_an_edge_whatever_the_counter_says: "R-NOTIFY-7";
        sleeper_on_the_eventfd_misses_no_event: "R-NOTIFY-2" "R-NOTIFY-3" "R-OVF-5";
        descriptor_polls_readable_after_an_event: "R-FD-1";
        descriptor_polls_readable_for_what_was_there_before: "R-FD-1";
    }
    order {
        each_request_has_exactly_one_terminal_event: "R-EVENT-1" "R-EVENT-2" "R-ATTR-7";
        user_data_is_that_of_the_request: "R-EVENT-4";
        result_has_64_bits: "R-EVENT-3";
        length_is_a_multiple_of_8_within_bounds: "R-EVENT-5";
        flags_mean_the_same_for_each_operation: "R-EVENT-6" "R-EVENT-2";
        events_are_published_in_the_order_of_completion: "R-EVENT-1";
        unknown_flags_and_returns_can_be_ignored: "R-VER-1";
    }
    attributes {
        returns_are_those_asked_for_in_the_order_of_the_request: "R-ATTR-1" "R-ATTR-6";
        unknown_attribute_is_ignored_and_says_so: "R-ATTR-2";
        unsupported_attribute_is_ignored_and_says_so: "R-ATTR-2";
        required_attribute_fails_the_request_before_it_starts: "R-ATTR-3";
        group_and_after_are_as_if_required: "R-AFTER-6";
        bad_payload_is_einval: "R-ATTR-4";
        return_with_a_status_has_no_payload: "R-ATTR-5";
        request_that_never_ran_has_nothing_to_say: "R-ATTR-8";
        tag_is_accepted: "R-TAG-1";
        times_are_in_order_and_within_the_call: "R-TIMING-1" "R-TIMING-3";
        path_names_the_last_rung: "R-PATH-1";
        blocked_time_is_that_of_the_submission: "R-PATH-2";
        cache_says_what_was_there_before: "R-CACHE-1";
        cache_where_it_cannot_be_told_is_not_supported: "R-CACHE-2";
        hints_do_not_change_the_result: "R-CACHE-3" "R-CACHE-2";
        checksum_is_crc32c_of_the_bytes_moved: "R-CHECKSUM-1";
        checksum_of_other_operations_is_not_supported: "R-CHECKSUM-2";
        priority_holds_for_the_request_and_nothing_else: "R-PRIO-1";
        priority_that_may_not_be_set_is_eperm: "R-PRIO-1";
        attributes_work_the_same_on_every_rung: "R-ATTR-1";
    }
    syscalls {
        each_allowed_syscall_is_as_the_plain_one: "R-OP-3" "R-EVENT-3" "R-EXEC-1";
        file_tree_is_made_and_unmade_by_requests: "R-OP-3";
        data_moves_between_descriptors_by_requests: "R-OP-3";
        read_and_write_move_the_position_once: "R-OP-3" "R-RUN-4";
    }
    trace {
        committed_traces_go_as_the_model_says:
            "R-OVF-1" "R-OVF-2" "R-OVF-3" "R-OVF-6" "R-OVF-7" "R-LIMIT-1" "R-LIMIT-2"
            "R-EVENT-1" "R-GET-3" "R-GET-5" "R-GET-6" "R-GET-7" "R-GET-8" "R-CANCEL-2";
    }
    limits {
        requests_above_the_limit_are_refused: "R-LIMIT-1" "R-SUBMIT-5";
        request_counts_until_its_event_is_in_the_ring: "R-LIMIT-2";
        requests_are_accepted_again_when_events_left_the_list: "R-LIMIT-4";
        never_reaping_is_bounded_by_ring_and_limit: "R-LIMIT-5" "R-OVF-1";
        stream_is_refused_only_when_nothing_is_held_back: "R-LIMIT-6" "R-SUBMIT-1";
        limit_of_one_can_be_used: "R-LIMIT-1";
        cancelled_requests_make_room: "R-LIMIT-2";
        overload_neither_sleeps_nor_loses: "R-SUBMIT-5" "R-LIMIT-1" "R-OVF-7";
    }
    teardown {
        closing_cancels_what_waits_and_the_ring_stays_with_dead_set: "R-LIFE-1" "R-FD-2";
        teardown_returns_when_nothing_runs_any_more: "R-LIFE-2";
        teardown_leaves_nothing: "R-LIFE-3";
        calls_in_a_child_after_fork_give_exdev: "R-LIFE-4";
        drop_in_a_child_does_not_harm_the_parent: "R-LIFE-4";
        exit_and_exec_end_every_request: "R-LIFE-5";
        request_outlives_the_thread_that_submitted_it: "R-LIFE-6";
        stopping_the_process_does_not_change_a_result: "R-LIFE-8" "R-RUN-7";
    }
    security {
        hostile_head_harms_no_one_else: "R-HOST-1" "R-RING-6";
        head_that_changes_all_the_time_stops_nothing: "R-HOST-1";
        moving_head_over_events_loses_only_those: "R-HOST-1";
        wait_with_a_bad_head_ends_with_eio: "R-HOST-5";
    }
    hostile {
        everything_that_can_be_written_is_written_over:
            "R-HOST-1" "R-HOST-4" "R-SUBMIT-6" "R-SEC-5";
        length_that_was_checked_is_the_one_that_counts: "R-SUBMIT-6" "R-IOCB-3";
    }
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The rule holds.
    Ok,
    /// It does not; why.
    Failed(String),
    /// It could not be run here; why.
    Skipped(String),
}

/// How all of them ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each test that was run, in order.
    pub verdicts: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// Numbers of tests that passed, failed, and were skipped.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Verdict) -> bool| self.verdicts.iter().filter(|v| is(&v.1)).count();
        (
            count(|v| matches!(v, Verdict::Ok)),
            count(|v| matches!(v, Verdict::Failed(_))),
            count(|v| matches!(v, Verdict::Skipped(_))),
        )
    }
}

/// Runs one test in a directory of its own below `scratch`.
#[must_use]
pub fn run_one(test: &Test, factory: &dyn Factory, scratch: &Path) -> Verdict {
    let dir = scratch.join(format!("{}-{}", factory.name(), test.name.replace("::", "-")));
    if let Err(e) = std::fs::create_dir_all(&dir) {
        return Verdict::Failed(format!("{}: {e}", dir.display()));
    }
    let env = Env { factory, dir: &dir };
    let _watchdog = Watchdog::over(test.name);
    let result = catch_unwind(AssertUnwindSafe(|| (test.run)(&env)));
    // Best effort: the whole scratch directory is thrown away at the end.
    let _ = std::fs::remove_dir_all(&dir);
    match result {
        Ok(Ok(())) => Verdict::Ok,
        Ok(Err(Skip(reason))) => Verdict::Skipped(reason),
        Err(panic) => Verdict::Failed(message(&*panic)),
    }
}

/// Runs all tests whose names contain `filter`, one after the other, and calls
/// `tell` after each.
pub fn run_all(
    factory: &dyn Factory,
    filter: &str,
    scratch: &Path,
    mut tell: impl FnMut(&Test, &Verdict),
) -> Report {
    let mut report = Report::default();
    for test in TESTS.iter().filter(|t| t.name.contains(filter)) {
        let verdict = run_one(test, factory, scratch);
        tell(test, &verdict);
        report.verdicts.push((test.name, verdict));
    }
    report
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}
