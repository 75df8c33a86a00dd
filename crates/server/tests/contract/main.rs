//! What every store does, whichever back end it stands on: each case runs on
//! each of them.
//!
//! A case is a function over a [`Place`](place::Place); a back end is a function
//! that makes one. Adding either is one line here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod callers;
mod faults;
mod keys;
#[path = "../support/line/mod.rs"]
mod line;
#[path = "../support/place/mod.rs"]
mod place;
#[path = "../support/plain.rs"]
mod plain;
mod replies;
mod steps;
mod units;
mod waiting;

/// A test for each case on one back end.
macro_rules! on {
    ($place:ident) => {
        mod $place {
            on! { $place:
                replies::nil_where_nothing_is
                replies::integers_of_all_sizes
                replies::statuses
                replies::strings_of_any_bytes
                replies::maps_sets_and_doubles
                replies::lists_within_lists
                replies::errors_keep_their_code
                replies::a_command_without_a_name_is_an_error
                replies::commands_of_a_connection_are_refused
                replies::a_megabyte_comes_back_as_it_was
                replies::typed_calls
                units::a_pipeline_answers_in_order_errors_in_their_place
                units::a_pipeline_reaches_every_slot
                units::a_transaction_is_seen_whole_or_not
                units::a_transaction_is_refused_whole
                units::an_error_while_a_transaction_runs_is_one_commands
                units::a_transaction_over_slots_is_whole_or_an_error
                units::a_script_is_found_again_after_it_was_forgotten
                units::scripts_in_units_are_found_too
                units::scripts_run_one_after_the_other
                units::an_error_in_a_script_is_the_scripts
                steps::a_lease_is_its_holders
                steps::a_step_is_found_again_after_scripts_were_forgotten
                steps::numbers_are_exact_to_their_bounds
                steps::fences_and_versions_only_grow
                steps::a_step_that_fails_says_why_and_changes_nothing
                steps::steps_of_many_tasks_come_one_after_the_other
                callers::everybody_gets_their_own_replies
                callers::who_gives_up_takes_nobody_elses_reply
                callers::every_increment_counts_once
                waiting::who_waits_is_served_and_holds_nobody_up
                waiting::waiting_ends_by_itself
                waiting::messages_reach_channels_and_patterns
                waiting::messages_carry_any_bytes_in_order
                waiting::a_subscription_ends_when_it_is_dropped
                keys::scan_finds_every_key
                keys::times_to_live
                keys::now_is_the_stores_time
                keys::a_store_says_how_it_is
            }
        }
    };
    ($place:ident: $($subject:ident::$case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::place::$place().await;
                crate::$subject::$case(place).await;
            }
        )+
    };
}

on!(embedded);
on!(own_gateway);
on!(own_gateway_behind_a_proxy);
on!(strict_gateway);
on!(gateway_of_a_gateway);

on!(redis);
on!(redis_in_resp2);
on!(redis_behind_a_proxy);
on!(cluster);
on!(cluster_behind_proxies);
on!(sentinel);
on!(sentinel_behind_proxies);
on!(own_resp);
on!(gateway_of_redis);
on!(gateway_of_a_cluster);
