//! What limits do on every store: each case runs on each back end, and leaves no key
//! without an end.
//!
//! A case is a function over a [`Place`](place::Place); a back end is a function
//! that makes one. Adding either is one line here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod cases;
mod cut_off;
mod left;
#[path = "../support/line/mod.rs"]
mod line;
mod many;
mod permits;
#[path = "../support/place/mod.rs"]
mod place;
#[path = "../support/plain.rs"]
mod plain;
mod several;

/// A test for each case on one back end.
macro_rules! on {
    ($place:ident) => {
        mod $place {
            on! { $place:
                cases::each_algorithm_lets_its_limit_through
                cases::a_refusal_takes_nothing_and_its_retry_passes
                cases::who_waits_is_let_through
                cases::counts_can_be_given_back_charged_blocked_and_reset
                cases::refusals_are_remembered_by_who_was_told
                cases::identifiers_are_anything
                cases::bad_input_is_an_error
                permits::permits_are_taken_renewed_and_returned
                permits::permits_end_with_their_lease
                permits::permits_of_several_limits_are_taken_together
                several::all_or_nothing_wherever_the_keys_lie
                several::each_algorithm_beside_each_other
                several::outcomes_come_in_the_order_of_the_limits
                several::a_peek_takes_nothing
                many::no_more_than_the_limit_at_once
                many::no_more_than_any_limit_at_once
            }
        }
    };
    ($place:ident: $($subject:ident::$case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::place::$place().await;
                crate::$subject::$case(&place).await;
                crate::left::nothing_stays_for_ever(&place.store).await;
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

use std::time::Duration;

use place::Place;
use sangam::limit::{Algorithm, Limit, Limiter, Rule};

/// Algorithms that are checked without a permit.
const RATED: [Algorithm; 5] = [
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::SlidingLog,
    Algorithm::TokenBucket,
    Algorithm::Gcra,
];

/// A limiter of its own on a place, which remembers nothing.
fn limiter(place: &Place) -> Limiter {
    Limiter::new(place.store.clone()).with_prefix(&place.prefix())
}

/// So many in an hour.
fn hourly(algorithm: Algorithm, limit: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_hours(1)).unwrap()
}

fn limit<'a>(name: &'a str, rule: Rule, id: &'a [u8]) -> Limit<'a> {
    Limit { name, rule, id }
}
