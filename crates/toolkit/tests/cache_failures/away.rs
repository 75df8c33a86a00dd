//! The store is cut off, or slow, and comes back.

use std::time::Duration;

use sangam::cache::{CacheError, Coherence, Loaded, Policy, Reach, Settings, Source};
use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use tokio::time::sleep;

use crate::{HEARTBEAT, LONG, Loads, behind, caches, cut_off, settings, until_reads, until_sent};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_apart_is_sent_when_the_line_is_back() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Push).await;
    let there = caches(&redis.url(), Coherence::Poll).await;
    let (one, other) = (
        here.cache::<u64>("c", settings()).unwrap(),
        there.cache::<u64>("c", settings()).unwrap(),
    );
    let tagged = |number| Loaded::value(number).tags(["t"]);
    for key in ["set", "deleted", "newer"] {
        assert_eq!(one.set(key, 1).await.unwrap(), Reach::Everywhere);
        until_reads(&other, key, Some(1)).await;
    }
    assert_eq!(
        one.set("tagged", tagged(1)).await.unwrap(),
        Reach::Everywhere
    );
    until_reads(&other, "tagged", Some(1)).await;

    cut_off(&proxy).await;
    assert_eq!(one.set("set", 2).await.unwrap(), Reach::Here);
    assert_eq!(one.set("newer", 2).await.unwrap(), Reach::Here);
    assert_eq!(one.delete("deleted").await.unwrap(), Reach::Here);
    assert_eq!(one.invalidate_tag("t").await.unwrap(), Reach::Here);
    assert_eq!(here.report().unsent, 4);
    assert!(!here.report().connected);
    // Nothing here is as it was.
    let found = one.get("set").await.unwrap().unwrap();
    assert_eq!((*found, found.degraded), (2, true));
    assert!(one.get("deleted").await.unwrap().is_none());
    assert!(one.get("tagged").await.unwrap().is_none());
    let loaded = Loads::default().load(&one, "tagged", 2).await;
    assert_eq!((*loaded, loaded.degraded), (2, true));
    // Elsewhere it is, and what was written there since is newer.
    assert_eq!(*other.get("set").await.unwrap().unwrap(), 1);
    assert_eq!(other.set("newer", 3).await.unwrap(), Reach::Everywhere);

    proxy.listen_again().await;
    until_sent(&here).await;
    sleep(HEARTBEAT).await;
    for cache in [&one, &other] {
        assert_eq!(*cache.get("set").await.unwrap().unwrap(), 2);
        assert_eq!(*cache.get("newer").await.unwrap().unwrap(), 3);
        assert!(cache.get("deleted").await.unwrap().is_none());
    }
    assert!(other.get("tagged").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_memory_is_served_for_its_time_and_says_so() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Push).await;
    let short = Settings {
        degraded_ttl: Duration::from_millis(300),
        ..settings()
    };
    let (short, long) = (
        here.cache::<u64>("short", short).unwrap(),
        here.cache::<u64>("long", settings()).unwrap(),
    );
    for cache in [&short, &long] {
        // The first comparison finds nothing in memory that it could tell of.
        cache.get("k").await.unwrap();
        cache.set("k", 1).await.unwrap();
    }
    cut_off(&proxy).await;
    // The heartbeat is over, and what degraded values may live.
    sleep(HEARTBEAT + Duration::from_millis(400)).await;
    let found = long.get("k").await.unwrap().unwrap();
    assert_eq!(
        (*found, found.degraded, found.source),
        (1, true, Source::Memory)
    );
    assert!(short.get("k").await.unwrap().is_none());
    let loads = Loads::default();
    let found = loads.load(&short, "k", 2).await;
    assert_eq!((*found, found.degraded, loads.count()), (2, true, 1));
    assert!(here.report().total().degraded >= 3);

    proxy.listen_again().await;
    until("an answer that is none of those", || async {
        let found = long.get("k").await.map_err(|it| it.to_string())?;
        let found = found.ok_or("nothing")?;
        (!found.degraded).then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_means_that_calls_fail_and_nothing_is_sent_later() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Push).await;
    let closed = Settings {
        policy: Policy::Closed,
        ..settings()
    };
    let cache = here.cache::<u64>("c", closed).unwrap();
    cache.set("k", 1).await.unwrap();
    cut_off(&proxy).await;
    sleep(HEARTBEAT).await;
    let loads = Loads::default();
    let refused = [
        cache.get("k").await.map(drop),
        cache.get_many(&["k"]).await.map(drop),
        loads.fail(&cache, "k").await.map(drop),
        cache.set("k", 2).await.map(drop),
        cache.delete("k").await.map(drop),
        cache.invalidate_tag("t").await.map(drop),
        cache.clear().await.map(drop),
    ];
    for outcome in refused {
        assert!(matches!(outcome, Err(CacheError::Store(_))), "{outcome:?}");
    }
    assert_eq!((loads.count(), here.report().unsent), (0, 0));
    proxy.listen_again().await;
    until_reads(&cache, "k", Some(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_is_not_waited_for_where_there_is_something_to_serve() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Poll).await;
    let ttl = Duration::from_millis(50);
    let impatient = Settings {
        ttl,
        fail_safe: LONG,
        store_soft_timeout: Some(Duration::from_millis(20)),
        ..settings()
    };
    let cache = here.cache::<u64>("c", impatient).unwrap();
    // The first comparison finds nothing in memory that it could tell of.
    cache.get("k").await.unwrap();
    cache.set("k", 1).await.unwrap();
    sleep(ttl).await;
    // Memory is known to be what the store has; then the line becomes slow.
    cache.get("other").await.unwrap();
    let slow = Duration::from_millis(250);
    proxy.fault(
        Fault::Delay {
            direction: Direction::Reply,
            least: slow,
            most: slow,
        },
        Whom::All,
    );
    let loads = Loads::default();
    let found = loads.load(&cache, "k", 2).await;
    assert_eq!((*found, found.stale, found.degraded), (1, true, true));
    // The load goes on behind it.
    proxy.clear();
    until("what was loaded", || async {
        let found = loads.load(&cache, "k", 2).await;
        (*found == 2).then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
}

/// A write that comes to its end though nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_given_up_leaves_nothing_old_here() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Push).await;
    let cache = here.cache::<u64>("c", settings()).unwrap();
    for round in 0..20 {
        let (old, new) = (2 * round, 2 * round + 1);
        cache.set("k", old).await.unwrap();
        let slow = Duration::from_millis(15);
        proxy.fault(
            Fault::Delay {
                direction: Direction::Request,
                least: slow,
                most: slow,
            },
            Whom::All,
        );
        let writing = cache.set("k", new);
        tokio::time::timeout(Duration::from_millis(2), writing)
            .await
            .unwrap_err();
        // What reads before the write arrives has the old value.
        cache.get("k").await.unwrap();
        proxy.clear();
        until_reads(&cache, "k", Some(new)).await;
    }
}

/// What a cut in the middle leaves is settled either way: nobody has what is older. The
/// value itself is sent where its tags' versions were known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_cut_in_the_middle_reaches_all() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let here = caches(&behind(&proxy), Coherence::Push).await;
    let there = caches(&redis.url(), Coherence::Push).await;
    let (one, other) = (
        here.cache::<u64>("c", settings()).unwrap(),
        there.cache::<u64>("c", settings()).unwrap(),
    );
    for number in 0..15 {
        let fault = match number % 3 {
            0 => Fault::CutAfterRequest(40 * number),
            1 => Fault::CutAfterReply(number),
            _ => Fault::DropReplies,
        };
        proxy.fault(fault, Whom::All);
        one.set("k", number).await.unwrap();
        assert_eq!(*one.get("k").await.unwrap().unwrap(), number);
        proxy.clear();
        proxy.cut(Cut::Reset);
        until_sent(&here).await;
        sleep(HEARTBEAT).await;
        for cache in [&one, &other] {
            let found = cache.get("k").await.unwrap().map(|it| *it);
            assert!(
                found.is_none_or(|it| it == number),
                "{found:?}, not {number}"
            );
        }
    }
}
