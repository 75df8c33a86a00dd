//! What leases cost, by the number of asks and by what a server counted.

use std::sync::Arc;
use std::time::Duration;

use sangam::limit::{Algorithm, Limiter, Rule, Ruled};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;

use crate::{COUNTED, instance, limit, over, rule, still};

/// An even flow of so many requests in a window and instance: billed commands a
/// check, and the share that is admitted.
async fn steady(rule: Rule, instances: u32, cost: u64, requests: u64) -> (f64, f64) {
    let (clock, store) = still();
    let window = rule.window().as_millis() as u64;
    let all: Vec<Limiter> = (0..instances)
        .map(|_| instance(&store, instances))
        .collect();
    let requests = requests * u64::from(instances);
    let (mut checks, mut asked, mut allowed) = (0_u32, 0_u32, 0_u32);
    let mut passed = 0;
    for request in 0..requests * 12 {
        let at = (request % u64::from(instances)) as usize;
        let decision = all[at].check(&[limit(rule)], cost).await.unwrap();
        // The first windows are for getting to know each other.
        if request >= requests * 4 {
            checks += 1;
            asked += u32::from(decision.ruled == Ruled::Store);
            allowed += u32::from(decision.allowed);
        }
        let next = (request + 1) * window / requests;
        clock.advance_millis(next - passed);
        passed = next;
    }
    let (checks, asked) = (f64::from(checks), f64::from(asked));
    (3.0 * asked / checks, f64::from(allowed) / checks)
}

/// At the limit: a window of 15 requests an instance, and larger ones.
#[tokio::test]
async fn a_steady_flow_costs_a_fifth_of_a_command_a_check() {
    for algorithm in COUNTED {
        for instances in [1, 2, 4] {
            for cost in [1, 2] {
                for requests in [15, 16, 31, 120, 600] {
                    let limits = requests * u64::from(instances) * cost;
                    let rule = rule(algorithm, limits, 14_880_000);
                    let (billed, allowed) = steady(rule, instances, cost, requests).await;
                    let told = format!("{algorithm:?} {limits} of {instances}, {cost}");
                    assert!(billed <= 0.2 + 1e-9, "{told}: {billed}");
                    let least = match algorithm {
                        // The first places of a window are whoever's came first.
                        Algorithm::SlidingWindow => 0.6,
                        _ => 0.99,
                    };
                    assert!(allowed >= least, "{told}: {allowed}");
                }
            }
        }
    }
}

/// Below it: from 15 requests in a window on; of a bucket, in the time that the
/// instance's share takes to flow in.
#[tokio::test]
async fn a_lesser_flow_costs_no_more() {
    for algorithm in COUNTED {
        for (requests, share) in [
            (15, 40),
            (16, 40),
            (17, 200),
            (29, 200),
            (36, 200),
            (47, 200),
        ] {
            for instances in [1, 2] {
                let limits = share * u64::from(instances);
                let mut rule = rule(algorithm, limits, 6_000_000);
                if algorithm == Algorithm::Gcra {
                    // Every instance's share flows in within a window.
                    rule = rule.with_burst(limits * u64::from(instances)).unwrap();
                }
                let (billed, allowed) = steady(rule, instances, 1, requests).await;
                let told = format!("{algorithm:?} {requests} of {share}, {instances}");
                assert!(billed <= 0.2 + 1e-9, "{told}: {billed}");
                assert!(allowed >= 0.99, "{told}: {allowed}");
            }
        }
    }
}

/// On a real server, by what it counted: far above the limit, as time goes
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_asked_as_rarely() {
    let server = Redis::start().await;
    for algorithm in COUNTED {
        for instances in [1_u32, 2] {
            for cost in [1_u64, 2] {
                server.call(&["FLUSHALL"]).await;
                let limits = 15 * u64::from(instances) * cost;
                let rule = rule(algorithm, limits, 600);
                let mut all = Vec::new();
                for _ in 0..instances {
                    all.push(instance(&over(&server).await, instances));
                }
                // Each is known, and the beats of the instances are over.
                for limiter in &all {
                    for _ in 0..2 {
                        limiter.check(&[limit(rule)], cost).await.unwrap();
                    }
                }
                until("the beats", async || {
                    let list = server.call(&["STRLEN", "limit-instances:{all}"]).await;
                    let beats = list.int().unwrap_or_default() / 31;
                    (beats == i64::from(instances))
                        .then_some(())
                        .ok_or(format!("{beats}"))
                })
                .await;
                let before = billed(&server).await;
                let mut tick = tokio::time::interval(Duration::from_millis(5));
                let (mut checks, mut allowed) = (0_u32, 0_u32);
                for _ in 0..300 {
                    tick.tick().await;
                    for limiter in &all {
                        let decision = limiter.check(&[limit(rule)], cost).await.unwrap();
                        checks += 1;
                        allowed += u32::from(decision.allowed);
                    }
                }
                let spent = billed(&server).await - before;
                let told = format!("{algorithm:?} {limits} of {instances}, {cost}");
                assert!(allowed > 0, "{told}");
                assert!(spent as f64 <= 0.2 * f64::from(checks), "{told}: {spent}");
                for limiter in &all {
                    limiter.close(Duration::from_secs(5)).await;
                }
            }
        }
    }
    let keys = server.call(&["KEYS", "*"]).await;
    for key in keys.items() {
        let left = server.call(&["PTTL".to_owned(), key.text()]).await;
        assert!(
            left.int().unwrap() >= -2 && left.int() != Some(-1),
            "{key:?}"
        );
    }
}

/// Many at once wait for the one that asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_asks_once() {
    let server = Redis::start().await;
    let one = Arc::new(instance(&over(&server).await, 1));
    let rule = rule(Algorithm::FixedWindow, 8_000, 3_600_000);
    one.check(&[limit(rule)], 1).await.unwrap();
    let before = billed(&server).await;
    let crowd: Vec<_> = (0..500)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.check(&[limit(rule)], 1).await.unwrap() })
        })
        .collect();
    for member in crowd {
        assert!(member.await.unwrap().allowed);
    }
    // And a beat of the instances.
    assert!(billed(&server).await - before <= 3 + 3);
}

/// A sum over the commands that a server has run, but for those of the test.
async fn billed(server: &Redis) -> u64 {
    let stats = server.call(&["INFO", "commandstats"]).await.text();
    let of_data = |line: &&str| {
        let command = line.strip_prefix("cmdstat_").unwrap_or_default();
        ["eval", "get:", "set:", "bitfield", "del:"]
            .iter()
            .any(|name| command.starts_with(name))
    };
    stats
        .lines()
        .filter(of_data)
        .map(|line| {
            let calls = line.split("calls=").nth(1).unwrap();
            calls.split(',').next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
}
