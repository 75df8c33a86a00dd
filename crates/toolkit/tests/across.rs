//! Limits of one request in different slots of a cluster: many instances, some of
//! whose callers give up midway.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sangam::limit::{Algorithm, Limit, Limiter, Rule, Ruled};
use sangam::store::{Options, Store, Target};
use sangam_rig::proxy::{Direction, Fault, Whom};
use sangam_rig::redis::Cluster;
use sangam_rig::wait::until;
use tokio::time::Instant;

fn rule(algorithm: Algorithm, limit: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_hours(1)).unwrap()
}

async fn connect(cluster: &Cluster) -> Store {
    let addrs: Vec<String> = cluster.addrs().iter().map(ToString::to_string).collect();
    let url = format!("redis-cluster://{}", addrs.join(","));
    let target = Target::new(&url, None, "URL", "TOKEN").unwrap();
    Store::connect(&target, Options::default()).await.unwrap()
}

/// A second, and what machines that are busy take.
const HELD_BACK: Duration = Duration::from_secs(3);

const INSTANCES: u64 = 8;
const CALLERS: u64 = 6;
const USERS: u64 = 5;
const ADDRESSES: u64 = 3;

/// The rules of one request; users have five each, addresses eleven, all together
/// twenty.
fn limits<'a>(algorithm: Algorithm, user: &'a [u8], address: &'a [u8]) -> [Limit<'a>; 3] {
    let one = |name, limit, id| Limit {
        name,
        rule: rule(algorithm, limit),
        id,
    };
    [
        one("user", 5, user),
        one("address", 11, address),
        one("all", 20, b"all"),
    ]
}

/// Numbers that look like chance.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

async fn one_request(limiter: &Limiter, algorithm: Algorithm, chance: u64, counts: &Counts) {
    let user = format!("user{}", chance % USERS);
    let address = format!("address{}", (chance >> 8) % ADDRESSES);
    let limits = limits(algorithm, user.as_bytes(), address.as_bytes());
    let decision = limiter.check(&limits, 1).await.unwrap();
    if decision.allowed {
        let mut counts = counts.lock();
        for name in [user, address, "all".to_owned()] {
            *counts.entry(name).or_default() += 1;
        }
    }
}

async fn storm(cluster: &Cluster, algorithm: Algorithm) {
    let prefix = format!("{}:", algorithm.as_str());
    let counts = Counts::default();
    let aborted = Arc::new(AtomicU64::new(0));
    let mut instances = Vec::new();
    for instance in 0..INSTANCES {
        let limiter = Limiter::new(connect(cluster).await).with_prefix(&prefix);
        let limiter = Arc::new(limiter);
        for caller in 0..CALLERS {
            let (limiter, counts) = (limiter.clone(), counts.clone());
            let aborted = aborted.clone();
            instances.push(tokio::spawn(async move {
                for turn in 0..12 {
                    let chance = mix(instance << 32 | caller << 16 | turn);
                    let patience = Duration::from_micros((chance >> 20) % 4_000);
                    let request = one_request(&limiter, algorithm, chance, &counts);
                    if chance >> 60 < 8 {
                        let gone = tokio::time::timeout(patience, request).await.is_err();
                        aborted.fetch_add(u64::from(gone), Ordering::Relaxed);
                    } else {
                        request.await;
                    }
                }
            }));
        }
    }
    for instance in instances {
        instance.await.unwrap();
    }
    assert!(aborted.load(Ordering::Relaxed) > 0, "nobody gave up");
    for (name, count) in counts.lock().iter() {
        let most = match name.as_str() {
            "all" => 20,
            name if name.starts_with("user") => 5,
            _ => 11,
        };
        assert!(*count <= most, "{count} passed {name}, not {most}");
    }

    // What was held back is there again: all of the limit passes in the end, to the
    // last one, through limiters that remember no refusal.
    let passed = counts.lock().get("all").copied().unwrap_or(0);
    let rest = AtomicU64::new(20 - passed);
    let store = connect(cluster).await;
    let fresh = || Limiter::new(store.clone()).with_prefix(&prefix);
    let all = [limits(algorithm, b"", b"")[2]];
    let quiet = Instant::now();
    until("all of the limit to be used", async || {
        if rest.load(Ordering::Relaxed) > 0 && fresh().check(&all, 1).await.unwrap().allowed {
            rest.fetch_sub(1, Ordering::Relaxed);
        }
        match rest.load(Ordering::Relaxed) {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
    assert!(quiet.elapsed() < HELD_BACK, "{:?}", quiet.elapsed());
    assert!(!fresh().check(&all, 1).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_who_gives_up_takes_nothing() {
    let cluster = Cluster::start(3, 0).await;
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingLog] {
        storm(&cluster, algorithm).await;
    }
}

/// Keys of a pattern on all nodes.
async fn keys(cluster: &Cluster, pattern: &str) -> usize {
    let mut found = 0;
    for node in cluster.nodes() {
        found += node.call(&["KEYS", pattern]).await.items().len();
    }
    found
}

fn once<'a>(name: &'a str, id: &'a [u8]) -> Limit<'a> {
    Limit {
        name,
        rule: rule(Algorithm::SlidingWindow, 1),
        id,
    }
}

/// A process that ends between its reservations and their commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_midway_holds_back_for_a_second() {
    let cluster = Cluster::behind_proxies(3, 0).await;
    let dead = tokio::runtime::Runtime::new().unwrap();
    let store = dead.spawn({
        let addrs: Vec<String> = cluster.addrs().iter().map(ToString::to_string).collect();
        async move {
            let url = format!("redis-cluster://{}", addrs.join(","));
            let target = Target::new(&url, None, "URL", "TOKEN").unwrap();
            Store::connect(&target, Options::default()).await.unwrap()
        }
    });
    let limiter = Limiter::new(store.await.unwrap());
    let limits = [once("user", b"user0"), once("all", b"all")];
    // Every node knows the scripts from now on.
    let before = dead.spawn(async move {
        for other in 0..16 {
            let (one, two) = (format!("one{other}"), format!("two{other}"));
            let others = [once("user", one.as_bytes()), once("all", two.as_bytes())];
            assert!(limiter.check(&others, 1).await.unwrap().allowed);
        }
        limiter
    });
    let limiter = before.await.unwrap();
    for proxy in cluster.proxies() {
        proxy.fault(Fault::DropReplies, Whom::All);
    }
    dead.spawn(async move { limiter.check(&limits, 1).await });
    until("two reservations", async || {
        match keys(&cluster, "limit-held:*").await {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    dead.shutdown_background();
    for proxy in cluster.proxies() {
        proxy.clear();
    }
    let died = Instant::now();
    let limiter = Limiter::new(connect(&cluster).await);
    // Not through rules in several slots, which look for notes anyway.
    for limit in limits {
        until("its end", async || match limiter.check(&[limit], 1).await {
            Ok(decision) if decision.allowed => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    assert!(died.elapsed() < HELD_BACK, "{:?}", died.elapsed());
    assert_eq!(keys(&cluster, "limit-held:*").await, 0);
    assert!(!limiter.check(&limits, 1).await.unwrap().allowed);
}

/// A commit that comes too late admits nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_late_is_refused() {
    let cluster = Cluster::behind_proxies(3, 0).await;
    let limiter = Limiter::new(connect(&cluster).await);
    let one = |name, id| Limit {
        name,
        rule: rule(Algorithm::FixedWindow, 3),
        id,
    };
    let limits = [one("user", &b"user0"[..]), one("all", b"all")];
    assert!(limiter.check(&limits, 1).await.unwrap().allowed);
    for proxy in cluster.proxies() {
        let slowly = Duration::from_millis(300);
        let fault = Fault::Delay {
            direction: Direction::Reply,
            least: slowly,
            most: slowly,
        };
        proxy.fault(fault, Whom::All);
    }
    // Notes go as if they had been over: others need not come here to see that.
    let all_goes = async {
        loop {
            for node in cluster.nodes() {
                for key in node.call(&["KEYS", "limit-held:*"]).await.items() {
                    node.call(&["DEL", &key.text()]).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let decision = tokio::select! {
        decision = limiter.check(&limits, 1) => decision.unwrap(),
        () = all_goes => unreachable!("it does not end"),
    };
    assert!(!decision.allowed, "{decision:?}");
    assert_eq!(decision.ruled, Ruled::Store);
    assert_eq!(decision.retry_after, Some(Duration::from_secs(1)));
}
