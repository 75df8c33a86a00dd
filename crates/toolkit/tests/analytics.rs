//! Analytics of limits: sums over instances, what is lost and what is not, what they
//! cost, how long they stay.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam::limit::analytics::{Analytics, AnalyticsError, Counts, Ids, Options, Recorded};
use sangam::limit::class::{By, List, Tier};
use sangam::limit::{Algorithm, Class, Classes, Guard, Policy, Rule, Subject};
use sangam::store::{Error, Reply, Store, Target};
use sangam_engine::Engine;
use sangam_engine::clock::{Clock, ManualClock};
use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;

const START_US: u64 = 1_700_000_123_456_789;
const WINDOW_MS: u64 = 600_000;

const ALL: [Recorded; 7] = [
    Recorded::Allowed,
    Recorded::Refused,
    Recorded::Exempt,
    Recorded::Denied,
    Recorded::Shadowed,
    Recorded::DegradedAllowed,
    Recorded::DegradedRefused,
];

/// A store whose time stands still.
fn still() -> (Arc<ManualClock>, Store) {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(sangam_engine::Options {
        clock: clock.clone(),
        ..sangam_engine::Options::default()
    });
    (clock, Store::embedded(engine))
}

fn analytics(store: &Store) -> Analytics {
    Analytics::new(store.clone(), Options::default()).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// All keys, and that each has a time to live.
async fn keys(store: &Store) -> Vec<Vec<u8>> {
    let Reply::Array(keys) = store.call(&[b"KEYS", b"*"]).await.unwrap().unpacked() else {
        panic!("KEYS answers an array");
    };
    let mut names = Vec::new();
    for key in keys {
        let Reply::Bulk(key) = key else {
            panic!("a key is a string");
        };
        let left = store.ttl(&key).await.unwrap();
        assert!(
            matches!(left, Some(Some(_))),
            "{} has no time to live",
            key.escape_ascii()
        );
        names.push(key);
    }
    names
}

async fn totals(analytics: &Analytics, class: &str, from_ms: u64, to_ms: u64) -> Counts {
    let report = analytics.read(class, from_ms, to_ms).await.unwrap();
    assert_eq!(report.unreadable, 0);
    let mut checks = 0;
    for point in &report.points {
        checks += point.counts.checks();
    }
    assert_eq!(checks, report.totals.checks());
    report.totals
}

async fn everything(analytics: &Analytics, store: &Store, class: &str) -> Counts {
    let now = store.now() / 1000;
    totals(analytics, class, now - 12 * 3_600_000, now + 3_600_000).await
}

#[tokio::test]
async fn instances_add_up_exactly() {
    for instances in [1, 2, 8] {
        let (clock, store) = still();
        let all: Vec<Analytics> = (0..instances).map(|_| analytics(&store)).collect();
        let mut expected: BTreeMap<u64, Counts> = BTreeMap::new();
        for turn in 0..2_000u64 {
            let what = ALL[(turn * 7 % 11 % 7) as usize];
            let at = &all[(turn % instances) as usize];
            at.record("auth", b"ann", what, 3);
            let window = clock.now_micros() / 1000 / WINDOW_MS * WINDOW_MS;
            let counts = expected.entry(window).or_default();
            match what {
                Recorded::Allowed => counts.allowed += 1,
                Recorded::Refused => counts.refused += 1,
                Recorded::Exempt => counts.exempt += 1,
                Recorded::Denied => counts.denied += 1,
                Recorded::Shadowed => counts.shadowed += 1,
                Recorded::DegradedAllowed => counts.degraded_allowed += 1,
                Recorded::DegradedRefused => counts.degraded_refused += 1,
            }
            counts.cost += if what.passes() { 3 } else { 0 };
            if turn % 97 == 0 {
                at.flush().await.unwrap();
            }
            clock.advance_millis(1_371);
        }
        for at in &all {
            at.flush().await.unwrap();
        }
        let reader = analytics(&store);
        let from = START_US / 1000;
        let report = reader
            .read("auth", from, store.now() / 1000 + 1)
            .await
            .unwrap();
        let points: BTreeMap<u64, Counts> = report
            .points
            .iter()
            .map(|point| (point.at_ms, point.counts))
            .collect();
        assert_eq!(points, expected);
        assert_eq!(report.instances as u64, instances);
        assert_eq!(report.totals.checks(), 2_000);
        assert_eq!(report.totals.passed() + report.totals.blocked(), 2_000);
        assert!(report.totals.degraded() > 0);
        let ann = &report.top.entries[0];
        assert_eq!((ann.at_least, ann.at_most), (2_000, 2_000));
        let refused = report.totals.blocked() + report.totals.shadowed;
        assert_eq!(report.top_refused.entries[0].at_least, refused);
        assert_eq!(report.top_refused.others_at_most, 0);
        assert!(!keys(&store).await.is_empty());
    }
}

#[tokio::test]
async fn an_instance_sees_what_it_has_not_written() {
    let (clock, store) = still();
    let (one, other) = (analytics(&store), analytics(&store));
    one.record("auth", b"ann", Recorded::Allowed, 1);
    clock.advance_millis(2 * WINDOW_MS);
    one.record("auth", b"ann", Recorded::Refused, 1);
    assert!(keys(&store).await.is_empty());
    assert_eq!(everything(&one, &store, "auth").await.checks(), 2);
    assert_eq!(everything(&other, &store, "auth").await.checks(), 0);
    one.flush().await.unwrap();
    one.record("auth", b"ann", Recorded::Refused, 1);
    assert_eq!(everything(&one, &store, "auth").await.checks(), 3);
    assert_eq!(everything(&other, &store, "auth").await.checks(), 2);
    // Whoever ends without writing takes only that along.
    drop(one);
    assert_eq!(everything(&other, &store, "auth").await.checks(), 2);
}

/// A clock that can be set back.
struct Movable(AtomicU64);

impl Clock for Movable {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_nothing() {
    for back in [1, WINDOW_MS / 2, 3 * WINDOW_MS / 2, 5 * WINDOW_MS] {
        let clock = Arc::new(Movable(AtomicU64::new(START_US)));
        let store = Store::embedded(Engine::new(sangam_engine::Options {
            clock: clock.clone(),
            ..sangam_engine::Options::default()
        }));
        let one = analytics(&store);
        for turn in 0..40 {
            one.record("auth", b"ann", Recorded::Allowed, 1);
            if turn % 3 == 0 {
                one.flush().await.unwrap();
            }
            if turn % 10 == 9 {
                clock.0.fetch_sub(back * 1000, Ordering::SeqCst);
            } else {
                clock.0.fetch_add(WINDOW_MS / 3 * 1000, Ordering::SeqCst);
            }
            if turn % 4 == 0 {
                one.flush().await.unwrap();
            }
        }
        one.flush().await.unwrap();
        let reader = analytics(&store);
        let from = START_US / 1000 - 6 * 3_600_000;
        let all = totals(&reader, "auth", from, from + 24 * 3_600_000).await;
        assert_eq!(all.allowed, 40, "set back by {back} ms");
    }
}

#[tokio::test]
async fn what_is_over_is_gone_after_its_time() {
    let (clock, store) = still();
    let options = Options {
        prefix: "app:".to_owned(),
        retention: Duration::from_hours(24),
        ..Options::default()
    };
    let one = Analytics::new(store.clone(), options).unwrap();
    for _ in 0..200 {
        one.record("auth", b"ann", Recorded::Allowed, 1);
        one.record("upload", b"ann", Recorded::Refused, 1);
        one.flush().await.unwrap();
        clock.advance_millis(WINDOW_MS);
    }
    // A day of windows and the one that has just ended.
    assert_eq!(keys(&store).await.len(), 2 * 144);
    assert!(
        keys(&store)
            .await
            .iter()
            .all(|key| key.starts_with(b"app:limit-stats:{"))
    );
    clock.advance_millis(24 * 3_600_000 - WINDOW_MS);
    assert_eq!(keys(&store).await.len(), 2);
    clock.advance_millis(WINDOW_MS);
    assert!(keys(&store).await.is_empty());
    // What waited for longer than it is kept is not written any more.
    one.record("auth", b"ann", Recorded::Allowed, 1);
    clock.advance_millis(25 * 3_600_000);
    one.flush().await.unwrap();
    assert!(keys(&store).await.is_empty());
    assert_eq!((one.health().lost, one.health().waiting), (1, 0));
}

#[tokio::test]
async fn identifiers_are_anything() {
    let redis = Redis::start().await;
    let (_, embedded) = still();
    let long = [b'x'; 64];
    let longer = vec![7; 1 << 20];
    let ids: [&[u8]; 14] = [
        b"",
        b" ",
        b"a b",
        b"#",
        b"#top",
        b"1 0 0 ",
        b"\r\n",
        b"line\nline",
        "né 😀".as_bytes(),
        &[0xff, 0, 13, 10],
        b"{}*?",
        &[0; 64],
        &long,
        &longer,
    ];
    for store in [embedded, connect(&redis.url()).await] {
        for ids_as in [Ids::Spelled, Ids::Hashed(b"secret"[..].into())] {
            let options = Options {
                prefix: format!("{ids_as:?}:"),
                ids: ids_as.clone(),
                ..Options::default()
            };
            let one = Analytics::new(store.clone(), options.clone()).unwrap();
            for (times, id) in ids.iter().enumerate() {
                for _ in 0..=times {
                    one.record("auth", id, Recorded::Refused, 1);
                }
            }
            one.flush().await.unwrap();
            let reader = Analytics::new(store.clone(), options).unwrap();
            let now = store.now() / 1000;
            let report = reader.read("auth", now - WINDOW_MS, now + 1).await.unwrap();
            assert_eq!(report.unreadable, 0);
            for ranking in [report.top, report.top_refused] {
                let listed: HashMap<Vec<u8>, u64> = ranking
                    .entries
                    .into_iter()
                    .map(|it| (it.id, it.at_least))
                    .collect();
                assert_eq!(listed.len(), ids.len());
                for (times, id) in ids.iter().enumerate() {
                    let shown = reader.shown(id);
                    assert_eq!(listed.get(&shown), Some(&(times as u64 + 1)));
                    let is_spelled = matches!(ids_as, Ids::Spelled) && id.len() <= 64;
                    assert_eq!(shown == *id, is_spelled);
                }
            }
        }
        keys(&store).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Lists of several instances and windows against exact counts.
    #[test]
    fn who_comes_most_is_within_what_is_said(
        runs in vec((0u32..900, 1u64..25, 0usize..3, any::<bool>()), 1..900),
    ) {
        block_on(async {
            let (clock, store) = still();
            let all: Vec<Analytics> = (0..3).map(|_| analytics(&store)).collect();
            let mut exact: [HashMap<Vec<u8>, u64>; 2] = Default::default();
            for (turn, (id, times, at, refused)) in runs.into_iter().enumerate() {
                let id = if times > 18 { id % 5 } else { id }.to_string().into_bytes();
                for _ in 0..times {
                    let what = if refused { Recorded::Refused } else { Recorded::Allowed };
                    all[at].record("auth", &id, what, 1);
                }
                *exact[0].entry(id.clone()).or_default() += times;
                if refused {
                    *exact[1].entry(id).or_default() += times;
                }
                if turn % 250 == 249 {
                    clock.advance_millis(WINDOW_MS);
                }
            }
            for at in &all {
                at.flush().await.unwrap();
            }
            let reader = analytics(&store);
            let report = reader.read("auth", START_US / 1000, store.now() / 1000 + 1).await.unwrap();
            for (exact, ranking) in exact.iter().zip([&report.top, &report.top_refused]) {
                for (id, count) in exact {
                    match ranking.entries.iter().find(|it| it.id == *id) {
                        Some(it) => prop_assert!(it.at_least <= *count && *count <= it.at_most),
                        None => prop_assert!(*count <= ranking.others_at_most),
                    }
                }
                for it in &ranking.entries {
                    prop_assert!(exact.contains_key(&it.id));
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_million_identifiers_are_no_more_to_write_than_twenty() {
    let (_, store) = still();
    let one = analytics(&store);
    for turn in 0..1_000_000u64 {
        one.record("auth", &turn.to_be_bytes(), Recorded::Refused, 1);
    }
    one.flush().await.unwrap();
    let keys = keys(&store).await;
    let fields = store.call(&[b"HVALS", &keys[0]]).await.unwrap().unpacked();
    let Reply::Array(values) = fields else {
        panic!("HVALS answers an array");
    };
    let sizes = values.iter().map(|value| match value {
        Reply::Bulk(bytes) => bytes.len(),
        _ => usize::MAX,
    });
    assert!(sizes.sum::<usize>() < 2_000);
    assert_eq!(
        everything(&one, &store, "auth").await.refused,
        1_000_000,
        "counts are exact, whoever comes"
    );
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let (_, store) = still();
    let one = analytics(&store);
    let long = "x".repeat(65);
    for class in ["", "a b", "a:b", "{", "ä", &long] {
        one.record(class, b"ann", Recorded::Allowed, 1);
        let read = one.read(class, 0, 1).await;
        assert!(matches!(read, Err(AnalyticsError::Class(_))));
    }
    assert_eq!(one.health().unrecorded, 6);
    for class in 0..300 {
        one.record(&format!("class-{class}"), b"ann", Recorded::Allowed, 1);
    }
    assert_eq!(one.health().unrecorded, 6 + 44);
    let range = one.read("auth", 0, u64::MAX).await;
    assert!(matches!(range, Err(AnalyticsError::Range { .. })));
    assert!(one.read("auth", 5, 5).await.unwrap().points.is_empty());
    assert!(one.read("auth", 5, 1).await.unwrap().points.is_empty());
    let bad: [fn(&mut Options); 6] = [
        |it| it.window = Duration::from_millis(1_500),
        |it| it.window = Duration::ZERO,
        |it| it.retention = Duration::ZERO,
        |it| it.retention = Duration::from_hours(24 * 367),
        |it| it.flush_every = Duration::from_mins(11),
        |it| it.top = 101,
    ];
    for change in bad {
        let mut options = Options::default();
        change(&mut options);
        let made = Analytics::new(store.clone(), options);
        assert!(matches!(made, Err(AnalyticsError::Option { .. })));
    }
}

#[tokio::test]
async fn what_somebody_else_has_written_is_left_out_and_told() {
    let (_, store) = still();
    let one = analytics(&store);
    one.record("auth", b"ann", Recorded::Allowed, 1);
    one.flush().await.unwrap();
    let key = keys(&store).await.remove(0);
    let strange: [&[u8]; 4] = [b"x#counts", b"7 1 2", b"no field", b"1"];
    store
        .call(&[
            b"HSET", &key, strange[0], strange[1], strange[2], strange[3],
        ])
        .await
        .unwrap();
    let now = store.now() / 1000;
    let report = one.read("auth", now, now + 1).await.unwrap();
    assert_eq!((report.unreadable, report.totals.allowed), (2, 1));
    // A key that is no hash: nothing is written, and it is told.
    store.call(&[b"SET", &key, b"x", b"KEEPTTL"]).await.unwrap();
    one.record("auth", b"ann", Recorded::Allowed, 1);
    assert!(one.flush().await.is_err());
    let health = one.health();
    assert_eq!(health.failed, 1);
    assert_eq!(health.last_error.unwrap().code(), Some("WRONGTYPE"));
    store.delete(&[&key]).await.unwrap();
    one.flush().await.unwrap();
    assert_eq!(everything(&one, &store, "auth").await.allowed, 2);
}

#[tokio::test]
async fn the_background_writes_and_ends_with_its_owner() {
    let (clock, store) = still();
    let options = Options {
        flush_every: Duration::from_millis(1),
        ..Options::default()
    };
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let one = Analytics::new(store.clone(), options).unwrap();
    assert_eq!(alive(), 1);
    let reader = analytics(&store);
    for turn in 1..=3 {
        one.record("auth", b"ann", Recorded::Allowed, 1);
        until("the background to write", || async {
            match everything(&reader, &store, "auth").await.allowed {
                allowed if allowed == turn => Ok(()),
                other => Err(format!("{other}")),
            }
        })
        .await;
        clock.advance_millis(WINDOW_MS);
    }
    let clone = one.clone();
    drop((one, reader));
    assert!(alive() >= 1, "a clone keeps it");
    drop(clone);
    until("the background to end", || async {
        match alive() {
            0 => Ok(()),
            other => Err(format!("{other} tasks")),
        }
    })
    .await;
}

async fn connect(url: &str) -> Store {
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    let options = sangam::store::Options {
        command_timeout: Duration::from_secs(1),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..sangam::store::Options::default()
    };
    Store::connect(&target, options).await.unwrap()
}

/// Calls by command, of those that anybody bills.
async fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let text = redis.call(&["INFO", "commandstats"]).await.text();
    let free = [
        "auth", "hello", "select", "command", "config", "info", "ping", "reset", "quit",
    ];
    // The store's own, each minute: its name, and the clock.
    let own = ["client", "time"];
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("cmdstat_") else {
            continue;
        };
        let (name, rest) = line.split_once(":calls=").unwrap();
        let count: u64 = rest.split(',').next().unwrap().parse().unwrap();
        let (_, failed) = rest.split_once("failed_calls=").unwrap();
        let command = name.split('|').next().unwrap();
        if free.contains(&command) || own.contains(&command) {
            continue;
        }
        // A script that the server does not know yet is sent again, once a server.
        let failed: u64 = failed.parse().unwrap();
        *calls.entry(name.to_owned()).or_default() += count - failed;
    }
    calls
}

/// Waits for the beginning of a window of a second.
async fn beginning(store: &Store) {
    until("a window to begin", || async {
        match store.now() % 1_000_000 {
            early if early < 200_000 => Ok(()),
            late => Err(format!("{late} us")),
        }
    })
    .await;
}

/// What writing costs on a real server, over windows of a second.
async fn cost(checks: u64, windows: u64) {
    let redis = Redis::start().await;
    let store = connect(&redis.url()).await;
    let options = Options {
        window: Duration::from_secs(1),
        flush_every: Duration::from_millis(5),
        ..Options::default()
    };
    let one = Analytics::new(store.clone(), options).unwrap();
    let from = store.now() / 1000;
    for _ in 0..windows {
        beginning(&store).await;
        for turn in 0..checks {
            one.record("auth", turn.to_string().as_bytes(), Recorded::Allowed, 1);
            // The background gets its turns between them.
            if turn % 5 == 0 {
                store.ping().await.unwrap();
            }
        }
        // Not the next window's beginning at once.
        let ended = store.now() / 1_000_000;
        until("the window to end", || async {
            if store.now() / 1_000_000 > ended {
                Ok(())
            } else {
                Err("it goes on".to_owned())
            }
        })
        .await;
    }
    let reader = Options {
        window: Duration::from_secs(1),
        flush_every: Duration::from_secs(1),
        ..Options::default()
    };
    let reader = Analytics::new(store.clone(), reader).unwrap();
    let report = until("all to be written", || async {
        let now = store.now() / 1000;
        let report = reader.read("auth", from, now + 1).await.unwrap();
        match report.totals.allowed {
            all if all == checks * windows => Ok(report),
            other => Err(format!("{other}")),
        }
    })
    .await;
    // On a machine with much to do, checks may have fallen into a further one.
    let counted = report.points.iter().map(|point| point.counts.checks());
    let counted: Vec<u64> = counted.filter(|checks| *checks > 0).collect();
    let mut calls = calls(&redis).await;
    // The reads of this test.
    calls.remove("hgetall");
    let billed: u64 = calls.values().sum();
    println!("{checks} checks in each of {windows} windows: {billed} billed: {calls:?}");
    let of = |name| calls.get(name).copied().unwrap_or_default();
    assert_eq!(of("evalsha") + of("eval"), of("hset"));
    let keys_made = counted.len() as u64;
    assert_eq!(of("pexpireat"), keys_made, "a key is given its time once");
    assert_eq!(billed, 2 * of("hset") + of("pexpireat"));
    let most: u64 = counted.iter().map(|checks| (checks / 10).max(3)).sum();
    assert!(billed <= most, "{billed} for {counted:?}");
    keys(&store).await;
}

#[tokio::test]
async fn a_slow_class_costs_three_a_window_over_resp() {
    cost(3, 3).await;
}

#[tokio::test]
async fn twenty_checks_cost_three_over_resp() {
    cost(20, 1).await;
}

#[tokio::test]
async fn a_hundred_checks_cost_at_most_ten() {
    cost(100, 1).await;
}

#[tokio::test]
async fn a_thousand_checks_cost_at_most_a_hundred() {
    cost(1_000, 1).await;
}

#[tokio::test]
async fn without_checks_nothing_is_sent() {
    let redis = Redis::start().await;
    let store = connect(&redis.url()).await;
    let one = analytics(&store);
    let sent = async || calls(&redis).await.values().sum::<u64>();
    one.flush().await.unwrap();
    assert_eq!(sent().await, 0);
    for (times, cost) in [(1, 3), (2, 5)] {
        one.record("auth", b"ann", Recorded::Allowed, 1);
        one.flush().await.unwrap();
        one.flush().await.unwrap();
        assert_eq!(sent().await, cost, "written {times} times");
    }
}

/// As the engine counts what Upstash bills: a transaction is what is in it.
#[tokio::test]
async fn a_write_is_two_billed_commands() {
    let engine = Engine::default();
    let billed = || {
        let keyspace = engine.keyspace("default");
        engine.batch_blocking(&keyspace).unwrap().db().billed()
    };
    let one = analytics(&Store::embedded(engine.clone()));
    let before = billed();
    for writes in 1..=5 {
        one.record("auth", b"ann", Recorded::Refused, 1);
        one.flush().await.unwrap();
        one.flush().await.unwrap();
        assert_eq!(billed() - before, 2 * writes);
    }
}

/// Where the key is lost in between, the next write gives it its time again.
#[tokio::test]
async fn a_key_that_comes_back_has_its_time() {
    let redis = Redis::start().await;
    let store = connect(&redis.url()).await;
    let (one, other) = (analytics(&store), analytics(&store));
    for turn in 0..20 {
        one.record("auth", b"ann", Recorded::Refused, 1);
        other.record("auth", b"ann", Recorded::Allowed, 1);
        one.flush().await.unwrap();
        other.flush().await.unwrap();
        assert!(!keys(&store).await.is_empty());
        if turn % 3 == 0 {
            redis.call(&["FLUSHALL"]).await;
        }
    }
}

/// What breaks on the way is written again and counts once.
#[tokio::test]
async fn repeats_and_unknown_outcomes_count_once() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = connect(&format!("redis://{}", proxy.addr())).await;
    let one = analytics(&store);
    let other = analytics(&store);
    let mut unknown = 0;
    for turn in 0..30u64 {
        for _ in 0..7 {
            one.record("auth", b"ann", Recorded::Allowed, 1);
            other.record("auth", b"bob", Recorded::Refused, 1);
        }
        let fault = match turn % 3 {
            0 => Fault::CutAfterReply(0),
            1 => Fault::CutAfterReply(turn),
            _ => Fault::CutAfterRequest(turn * 11),
        };
        proxy.fault(fault, Whom::Times(1));
        let failed = one.flush().await;
        unknown += u32::from(matches!(
            failed,
            Err(AnalyticsError::Store(Error::Indeterminate(_)))
        ));
        proxy.clear();
        let _ = other.flush().await;
    }
    assert!(unknown > 0, "no outcome was unknown");
    for at in [&one, &other] {
        until("all to be written", || async {
            at.flush().await.map_err(|error| error.to_string())
        })
        .await;
    }
    assert!(one.health().failed > 0);
    let past = connect(&redis.url()).await;
    let reader = analytics(&past);
    let all = everything(&reader, &past, "auth").await;
    assert_eq!((all.allowed, all.refused), (210, 210));
    keys(&past).await;
}

/// Totals that were given up on the way and arrive late are put right.
#[tokio::test]
async fn a_flush_that_is_dropped_loses_nothing() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = connect(&format!("redis://{}", proxy.addr())).await;
    let one = analytics(&store);
    one.record("auth", b"ann", Recorded::Allowed, 1);
    one.flush().await.unwrap();
    one.record("auth", b"ann", Recorded::Allowed, 1);
    proxy.fault(Fault::Stall, Whom::All);
    let given_up = tokio::time::timeout(Duration::from_millis(50), one.flush()).await;
    assert!(given_up.is_err());
    proxy.clear();
    until("all to be written", || async {
        one.flush().await.map_err(|error| error.to_string())
    })
    .await;
    let past = connect(&redis.url()).await;
    let reader = analytics(&past);
    until("the last totals to stand", || async {
        match everything(&reader, &past, "auth").await.allowed {
            2 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
}

/// While the store is away windows wait; when it is back nothing is missing.
#[tokio::test]
async fn an_outage_over_several_windows_loses_nothing() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = connect(&format!("redis://{}", proxy.addr())).await;
    let options = Options {
        window: Duration::from_secs(1),
        flush_every: Duration::from_millis(5),
        ..Options::default()
    };
    let one = Analytics::new(store.clone(), options.clone()).unwrap();
    let from = store.now() / 1000;
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    let mut recorded = 0;
    until("three windows to wait", || {
        one.record("auth", b"ann", Recorded::DegradedRefused, 1);
        recorded += 1;
        let health = one.health();
        async move {
            match health.waiting {
                waiting if waiting >= 3 && health.failed > 0 => Ok(()),
                _ => Err(format!("{health:?}")),
            }
        }
    })
    .await;
    proxy.listen_again().await;
    proxy.fault(
        Fault::Delay {
            direction: Direction::Reply,
            least: Duration::ZERO,
            most: Duration::from_millis(2),
        },
        Whom::All,
    );
    let past = connect(&redis.url()).await;
    let reader = Analytics::new(past.clone(), options).unwrap();
    until("all to be written", || async {
        let now = past.now() / 1000;
        match totals(&reader, "auth", from - 1000, now + 1000)
            .await
            .degraded_refused
        {
            all if all == recorded => Ok(()),
            other => Err(format!("{other} of {recorded}")),
        }
    })
    .await;
    assert_eq!(one.health().lost, 0);
    keys(&past).await;
}

#[tokio::test]
async fn without_a_store_recording_goes_on() {
    let one = analytics(&Store::disabled());
    for _ in 0..100 {
        one.record("auth", b"ann", Recorded::DegradedAllowed, 1);
    }
    assert!(matches!(
        one.flush().await,
        Err(AnalyticsError::Store(Error::Unavailable(_)))
    ));
    assert!(one.read("auth", 0, 1).await.is_err());
    assert_eq!(one.health().failed, 1);
}

/// A class of three checks in an hour by the user.
fn class(name: &str) -> Class {
    let tier = Tier {
        name: "by-user".to_owned(),
        by: By::User,
        rule: Rule::new(Algorithm::FixedWindow, 3, Duration::from_hours(1)).unwrap(),
        shadow: false,
    };
    Class::new(name, vec![tier])
}

#[tokio::test]
async fn a_guard_records_each_of_its_verdicts() {
    let (_, store) = still();
    let one = analytics(&store);
    let mut shadow = class("shadow");
    shadow.shadow = true;
    let mut lists = class("lists");
    lists.allow = List::new(["ann"], [], []).unwrap();
    lists.deny = List::new(["bob"], [], []).unwrap();
    let mut open = class("open");
    open.terms.policy = Policy::Open;
    let classes = Classes::new([class("auth"), shadow, lists, open]);
    let guard = Guard::new(store.clone(), classes.clone()).with_analytics(one.clone());
    let without = Guard::new(Store::disabled(), classes).with_analytics(one.clone());
    let user = |user| Subject {
        user: Some(user),
        ..Subject::default()
    };
    for name in ["auth", "shadow", "lists"] {
        for who in ["ann", "bob"] {
            for _ in 0..5 {
                guard.check(name, &user(who), 1).await.unwrap();
                guard.peek(name, &user(who), 1).await.unwrap();
            }
        }
    }
    for name in ["auth", "open"] {
        without.check(name, &user("eve"), 1).await.unwrap();
    }
    let counts = async |name: &str| everything(&one, &store, name).await;
    let auth = Counts {
        allowed: 6,
        refused: 4,
        degraded_refused: 1,
        cost: 6,
        ..Counts::default()
    };
    assert_eq!(counts("auth").await, auth);
    let shadow = Counts {
        allowed: 6,
        shadowed: 4,
        cost: 10,
        ..Counts::default()
    };
    assert_eq!(counts("shadow").await, shadow);
    let lists = Counts {
        exempt: 5,
        denied: 5,
        cost: 5,
        ..Counts::default()
    };
    assert_eq!(counts("lists").await, lists);
    assert_eq!(counts("open").await.degraded_allowed, 1);
    let now = store.now() / 1000;
    let report = one.read("lists", now, now + 1).await.unwrap();
    assert_eq!(report.top_refused.entries[0].id, b"u:bob");
    let report = one.read("auth", now, now + 1).await.unwrap();
    let refused = report.top_refused.entries.iter();
    let refused: Vec<(&[u8], u64)> = refused.map(|it| (&it.id[..], it.at_least)).collect();
    assert_eq!(refused, [(&b"u:ann"[..], 2), (b"u:bob", 2), (b"u:eve", 1)]);
}
