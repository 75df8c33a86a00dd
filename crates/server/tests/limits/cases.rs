//! One limit at a time.

use std::time::Duration;

use sangam::limit::{Algorithm, Decision, LimitError, Limiter, Rule, Ruled};

use crate::place::Place;
use crate::{RATED, hourly, limit, limiter};

const HOUR: Duration = Duration::from_hours(1);

async fn check(limiter: &Limiter, rule: Rule, id: &[u8], cost: u64) -> Decision {
    let decision = limiter
        .check(&[limit(rule.algorithm().as_str(), rule, id)], cost)
        .await;
    decision.unwrap()
}

pub(crate) async fn each_algorithm_lets_its_limit_through(place: &Place) {
    for algorithm in RATED {
        let limiter = limiter(place);
        let rule = hourly(algorithm, 5);
        for (cost, left) in [(1, 4), (2, 2), (0, 2), (2, 0)] {
            let decision = check(&limiter, rule, b"ann", cost).await;
            assert!(decision.allowed, "{algorithm:?}: {decision:?}");
            assert_eq!(decision.ruled, Ruled::Store);
            let outcome = decision.outcomes[0];
            assert!(outcome.fits && outcome.rule == rule);
            assert_eq!(outcome.remaining, left, "{algorithm:?} after {cost}");
            assert!(outcome.reset_after <= 2 * HOUR);
            assert_eq!(decision.retry_after, Some(Duration::ZERO));
        }
        let refused = check(&limiter, rule, b"ann", 1).await;
        assert!(!refused.allowed && !refused.outcomes[0].fits);
        let retry = refused.retry_after.unwrap();
        assert!(retry > Duration::ZERO && retry <= 2 * HOUR, "{retry:?}");
        assert!(check(&limiter, rule, b"bob", 5).await.allowed);
    }
    let bucket = hourly(Algorithm::TokenBucket, 3600).with_burst(2).unwrap();
    let limiter = limiter(place);
    assert!(check(&limiter, bucket, b"burst", 2).await.allowed);
    let refused = check(&limiter, bucket, b"burst", 2).await;
    assert!(!refused.allowed && refused.retry_after.unwrap() <= Duration::from_secs(2));
}

pub(crate) async fn a_refusal_takes_nothing_and_its_retry_passes(place: &Place) {
    let window = Duration::from_millis(600);
    for algorithm in RATED {
        let rule = Rule::new(algorithm, 4, window).unwrap();
        let limits = [limit("retry", rule, algorithm.as_str().as_bytes())];
        let mut decision = limiter(place).check(&limits, 3).await.unwrap();
        let mut refusals = 0;
        for _ in 0..12 {
            decision = limiter(place).check(&limits, 3).await.unwrap();
            if decision.allowed {
                continue;
            }
            refusals += 1;
            let retry = decision.retry_after.unwrap();
            assert!(retry > Duration::ZERO && retry <= 2 * window, "{retry:?}");
            tokio::time::sleep(retry).await;
            decision = limiter(place).check(&limits, 3).await.unwrap();
            assert!(
                decision.allowed,
                "{algorithm:?} after {retry:?}: {decision:?}"
            );
            if refusals == 2 {
                break;
            }
        }
        assert!(refusals > 0 && decision.allowed, "{algorithm:?}");
    }
}

pub(crate) async fn who_waits_is_let_through(place: &Place) {
    let rule = Rule::new(Algorithm::SlidingLog, 1, Duration::from_millis(300)).unwrap();
    let limiter = limiter(place);
    let limits = [limit("wait", rule, b"ann")];
    for _ in 0..3 {
        let waited = limiter.until_allowed(&limits, 1, Duration::from_secs(20));
        assert!(waited.await.unwrap().allowed);
    }
    let slow = [limit("wait", hourly(Algorithm::SlidingLog, 1), b"bob")];
    for allowed in [true, false] {
        let waited = limiter.until_allowed(&slow, 1, Duration::from_secs(2));
        assert_eq!(waited.await.unwrap().allowed, allowed);
    }
}

pub(crate) async fn counts_can_be_given_back_charged_blocked_and_reset(place: &Place) {
    for algorithm in RATED {
        let limiter = limiter(place);
        let limit = limit(algorithm.as_str(), hourly(algorithm, 4), b"ann");
        let allowed = async |cost| limiter.check(&[limit], cost).await.unwrap().allowed;
        assert!(allowed(4).await && !allowed(1).await);
        assert!(limiter.refund(&limit, 1).await.unwrap());
        assert!(allowed(1).await && !allowed(1).await, "{algorithm:?}");
        assert!(limiter.reset(&limit).await.unwrap());
        assert!(!limiter.reset(&limit).await.unwrap());
        assert!(allowed(1).await);
        assert!(limiter.penalize(&limit, 4).await.unwrap());
        assert!(!allowed(1).await);
        limiter.reset(&limit).await.unwrap();
        let day = 24 * HOUR;
        assert!(limiter.block(&limit, day).await.unwrap());
        let blocked = limiter.check(&[limit], 1).await.unwrap();
        let retry = blocked.retry_after.unwrap();
        assert!(!blocked.allowed && retry <= day && retry > 23 * HOUR);
        assert_eq!(blocked.outcomes[0].remaining, 0);
        assert!(limiter.unblock(&limit).await.unwrap());
        assert!(allowed(4).await && !allowed(1).await, "{algorithm:?}");
        limiter.reset(&limit).await.unwrap();
        assert!(!limiter.refund(&limit, 1).await.unwrap());
        assert!(allowed(1).await, "{algorithm:?}");
    }
}

pub(crate) async fn refusals_are_remembered_by_who_was_told(place: &Place) {
    let (one, other) = (limiter(place), limiter(place));
    let rule = hourly(Algorithm::FixedWindow, 1);
    let ruled = async |limiter: &Limiter| {
        let decision = check(limiter, rule, b"told", 1).await;
        (decision.allowed, decision.ruled)
    };
    assert_eq!(ruled(&one).await, (true, Ruled::Store));
    // Who took the last one may know by itself.
    assert!(!ruled(&one).await.0);
    assert_eq!(ruled(&one).await, (false, Ruled::Remembered));
    assert_eq!(ruled(&other).await, (false, Ruled::Store));
    assert_eq!(ruled(&other).await, (false, Ruled::Remembered));
    one.reset(&limit(rule.algorithm().as_str(), rule, b"told"))
        .await
        .unwrap();
    assert_eq!(ruled(&one).await, (true, Ruled::Store));
}

pub(crate) async fn identifiers_are_anything(place: &Place) {
    let limiter = limiter(place);
    let rule = hourly(Algorithm::Gcra, 1);
    let huge = vec![b'x'; 10 << 20];
    let others = [huge.as_slice(), b"y"].concat();
    let ids: [&[u8]; 11] = [
        b"",
        b"*",
        b"?",
        b"[a-z]*",
        b"a}b{",
        b"{a}",
        "n\u{e9} \u{1f600}".as_bytes(),
        &[0xff, 0, 13, 10],
        b"a b",
        &huge,
        &others,
    ];
    for id in ids {
        assert!(check(&limiter, rule, id, 1).await.allowed);
        assert!(!check(&limiter, rule, id, 1).await.allowed);
    }
    limiter
        .reset(&limit(rule.algorithm().as_str(), rule, b"*"))
        .await
        .unwrap();
    let fresh = crate::limiter(place);
    for id in ids {
        let allowed = check(&fresh, rule, id, 1).await.allowed;
        assert_eq!(allowed, id == b"*", "{}", id.len());
    }
}

pub(crate) async fn bad_input_is_an_error(place: &Place) {
    let limiter = limiter(place);
    let rule = hourly(Algorithm::SlidingWindow, 2);
    assert_eq!(limiter.check(&[], 1).await, Err(LimitError::Rules(0)));
    let good = limit("good", rule, b"ann");
    assert_eq!(
        limiter.check(&[good], 3).await,
        Err(LimitError::Cost { cost: 3, most: 2 })
    );
    let bad = limit("a:b", rule, b"ann");
    for limits in [[good, bad], [bad, good]] {
        let error = limiter.check(&limits, 1).await.unwrap_err();
        assert!(matches!(error, LimitError::Name(_)), "{error}");
    }
    let whole = limiter.check(&[good], 2).await.unwrap();
    assert!(whole.allowed, "an error takes nothing");
}
