//! Several limits of one request: all or nothing, wherever their keys lie.

use sangam::limit::{Algorithm, Limit};

use crate::place::Place;
use crate::{RATED, hourly, limit, limiter};

/// What is left of limits, by a look.
async fn left(place: &Place, limits: &[Limit<'_>]) -> Vec<u64> {
    let peek = limiter(place).peek(limits, 1).await.unwrap();
    peek.outcomes.iter().map(|it| it.remaining).collect()
}

pub(crate) async fn all_or_nothing_wherever_the_keys_lie(place: &Place) {
    for algorithm in RATED {
        let limiter = limiter(place);
        // Buckets share their keys.
        let name = algorithm.as_str();
        let (user, address) = (format!("user-{name}"), format!("address-{name}"));
        let all = limit(name, hourly(algorithm, 4), b"all");
        let pass = async |user_id: &[u8], address_id: &[u8], allowed| {
            let limits = [
                limit(&user, hourly(algorithm, 2), user_id),
                limit(&address, hourly(algorithm, 3), address_id),
                all,
            ];
            let decision = limiter.check(&limits, 1).await.unwrap();
            assert_eq!(decision.allowed, allowed, "{algorithm:?} {decision:?}");
            left(place, &limits).await
        };
        assert_eq!(pass(b"ann", b"here", true).await, [1, 2, 3]);
        assert_eq!(pass(b"ann", b"here", true).await, [0, 1, 2]);
        assert_eq!(pass(b"ann", b"here", false).await, [0, 1, 2]);
        assert_eq!(pass(b"bob", b"here", true).await, [1, 0, 1]);
        assert_eq!(pass(b"carl", b"here", false).await, [2, 0, 1]);
        assert_eq!(pass(b"carl", b"there", true).await, [1, 2, 0]);
        assert_eq!(pass(b"dora", b"where", false).await, [2, 3, 0]);
    }
}

pub(crate) async fn each_algorithm_beside_each_other(place: &Place) {
    let limiter = limiter(place);
    for (at, algorithm) in RATED.into_iter().enumerate() {
        let ids: Vec<String> = (0..6).map(|other| format!("{at}-{other}")).collect();
        let mut limits: Vec<Limit<'_>> = RATED
            .iter()
            .zip(&ids)
            .map(|(other, id)| limit("mixed", hourly(*other, 9), id.as_bytes()))
            .collect();
        limits.push(limit("least", hourly(algorithm, 4), ids[5].as_bytes()));
        assert!(limiter.check(&limits, 3).await.unwrap().allowed);
        let before = left(place, &limits).await;
        assert_eq!(before, [6, 6, 6, 6, 6, 1]);
        let refused = limiter.check(&limits, 3).await.unwrap();
        let fits: Vec<bool> = refused.outcomes.iter().map(|it| it.fits).collect();
        assert_eq!(fits, [true, true, true, true, true, false]);
        assert_eq!(left(place, &limits).await, before, "{algorithm:?}");
    }
}

pub(crate) async fn outcomes_come_in_the_order_of_the_limits(place: &Place) {
    let limiter = limiter(place);
    let ids: Vec<String> = (0..7).map(|at| format!("id{at}")).collect();
    let sizes = [5_u64, 9, 3, 8, 4, 7, 6];
    let limits: Vec<Limit<'_>> = ids
        .iter()
        .zip(sizes)
        .map(|(id, size)| {
            limit(
                "order",
                hourly(Algorithm::SlidingWindow, size),
                id.as_bytes(),
            )
        })
        .collect();
    let decision = limiter.check(&limits, 2).await.unwrap();
    let left: Vec<u64> = decision.outcomes.iter().map(|it| it.remaining).collect();
    assert_eq!(left, sizes.map(|size| size - 2));
    let refused = limiter.check(&limits, 2).await.unwrap();
    let left: Vec<u64> = refused.outcomes.iter().map(|it| it.remaining).collect();
    assert_eq!(left, sizes.map(|size| size - 2), "nothing was taken");
    let fits: Vec<bool> = refused.outcomes.iter().map(|it| it.fits).collect();
    assert_eq!(fits, sizes.map(|size| size >= 4));
    let rules: Vec<u64> = refused.outcomes.iter().map(|it| it.rule.limit()).collect();
    assert_eq!(rules, sizes);
}

pub(crate) async fn a_peek_takes_nothing(place: &Place) {
    let limiter = limiter(place);
    let limits = [
        limit("peek", hourly(Algorithm::FixedWindow, 2), b"ann"),
        limit("peek", hourly(Algorithm::SlidingLog, 1), b"all"),
    ];
    for _ in 0..3 {
        assert!(limiter.peek(&limits, 1).await.unwrap().allowed);
    }
    let nothing = limiter.check(&limits, 0).await.unwrap();
    assert!(nothing.allowed, "nor does a cost of nothing");
    assert!(limiter.check(&limits, 1).await.unwrap().allowed);
    let peek = limiter.peek(&limits, 1).await.unwrap();
    assert!(!peek.allowed && peek.outcomes[0].fits && !peek.outcomes[1].fits);
    assert!(peek.retry_after > Some(std::time::Duration::ZERO));
}
