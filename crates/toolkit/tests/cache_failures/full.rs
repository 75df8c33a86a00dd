//! A store that takes no writes, and answers: it has no room for now, or never will.

use std::time::Duration;

use sangam::cache::{CacheError, Coherence, Policy, Reach, Settings, Source};
use sangam::store::Error;
use sangam_rig::redis::Redis;

use crate::{Loads, caches, settings, until_reads, until_sent};

async fn room(redis: &Redis, bytes: &str) {
    redis.call(&["CONFIG", "SET", "maxmemory", bytes]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_found_no_room_is_known_here_and_sent_when_there_is() {
    let redis = Redis::start().await;
    let here = caches(&redis.url(), Coherence::Poll).await;
    let there = caches(&redis.url(), Coherence::Poll).await;
    let (one, other) = (
        here.cache::<u64>("c", settings()).unwrap(),
        there.cache::<u64>("c", settings()).unwrap(),
    );
    for key in ["set", "deleted"] {
        one.set(key, 1).await.unwrap();
        until_reads(&other, key, Some(1)).await;
    }
    room(&redis, "1").await;
    assert_eq!(one.set("set", 2).await.unwrap(), Reach::Here);
    assert_eq!(one.delete("deleted").await.unwrap(), Reach::Here);
    assert_eq!(here.report().unsent, 2);
    assert_eq!(*one.get("set").await.unwrap().unwrap(), 2);
    assert!(one.get("deleted").await.unwrap().is_none());
    let loads = Loads::default();
    let found = loads.load(&one, "new", 3).await;
    assert_eq!((*found, found.degraded), (3, true));
    assert_eq!(*loads.load(&one, "new", 4).await, 3);
    // Longer than a few tries take.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(here.report().unsent, 2);
    let found = one.get("set").await.unwrap().map(|it| *it);
    assert!(found.is_none_or(|it| it == 2), "{found:?}");

    room(&redis, "0").await;
    until_sent(&here).await;
    until_reads(&other, "set", Some(2)).await;
    until_reads(&other, "deleted", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_says_that_there_is_no_room() {
    let redis = Redis::start().await;
    let here = caches(&redis.url(), Coherence::Poll).await;
    let closed = Settings {
        policy: Policy::Closed,
        ..settings()
    };
    let cache = here.cache::<u64>("c", closed).unwrap();
    cache.get("k").await.unwrap();
    cache.set("k", 1).await.unwrap();
    room(&redis, "1").await;
    cache.set("k", 2).await.unwrap_err();
    cache.delete("k").await.unwrap_err();
    let load = |keys: Vec<String>| async {
        let loaded = keys.into_iter().map(|key| (key, 3));
        Ok::<Vec<_>, String>(loaded.collect())
    };
    let loads = [
        cache
            .get_or_set("a", async |_| Ok::<_, String>(3))
            .await
            .map(drop),
        cache.get_or_set_many(&["b", "c"], load).await.map(drop),
    ];
    for failed in loads {
        let failed = failed.unwrap_err();
        assert!(failed.to_string().starts_with("OOM"), "{failed}");
    }
    assert_eq!(*cache.get("k").await.unwrap().unwrap(), 1);
    assert_eq!(here.report().unsent, 0);
}

/// Who was not there before can neither make a stream to compare with nor a version of
/// the whole: it reads all the same, or says that it cannot tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_over_a_full_store_goes_on() {
    let redis = Redis::start().await;
    let there = caches(&redis.url(), Coherence::Poll).await;
    let there = there.cache::<u64>("c", settings()).unwrap();
    for has_stream in [true, false] {
        there.set("k", 1).await.unwrap();
        if !has_stream {
            redis.call(&["DEL", "{cache}:bus"]).await;
        }
        room(&redis, "1").await;
        let here = caches(&redis.url(), Coherence::Poll).await;
        let here = here.cache::<u64>("c", settings()).unwrap();
        let read = here.get("k").await.unwrap().map(|it| (*it, it.degraded));
        assert_eq!(read, has_stream.then_some((1, false)));
        let many = here.get_many(&["k"]).await.unwrap().pop().flatten();
        assert_eq!(many.map(|it| *it), has_stream.then_some(1));
        let loads = Loads::default();
        let loaded = loads.load(&here, "k", 2).await;
        let expected = if has_stream { (1, false) } else { (2, true) };
        assert_eq!((*loaded, loaded.degraded), expected);
        room(&redis, "0").await;
    }
}

/// What waited of the same does not stand in the way of what came after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_at_last_ends_what_waited() {
    let redis = Redis::start().await;
    let here = caches(&redis.url(), Coherence::Poll).await;
    let storing = Settings {
        memory: 0,
        ..settings()
    };
    let cache = here.cache::<u64>("c", storing).unwrap();
    cache.set("k", 0).await.unwrap();
    room(&redis, "1").await;
    assert_eq!(cache.set("k", 1).await.unwrap(), Reach::Here);
    assert_eq!(cache.delete("other").await.unwrap(), Reach::Here);
    assert_eq!(cache.invalidate_tag("t").await.unwrap(), Reach::Here);
    // By now it is tried seldom.
    tokio::time::sleep(Duration::from_secs(1)).await;
    room(&redis, "0").await;
    assert_eq!(cache.set("k", 2).await.unwrap(), Reach::Everywhere);
    assert_eq!(*cache.get("k").await.unwrap().unwrap(), 2);
    assert_eq!(cache.set("other", 3).await.unwrap(), Reach::Everywhere);
    let found = cache.get("other").await.unwrap().unwrap();
    assert_eq!((*found, found.source), (3, Source::Store));
    assert_eq!(cache.invalidate_tag("t").await.unwrap(), Reach::Everywhere);
    assert_eq!(here.report().unsent, 0);
}

/// Who may not write is told so; nothing of it is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_an_error() {
    let redis = Redis::start().await;
    let here = caches(&redis.url(), Coherence::Poll).await;
    let cache = here.cache::<u64>("c", settings()).unwrap();
    cache.get("k").await.unwrap();
    cache.set("k", 1).await.unwrap();
    redis.call(&["ACL", "SETUSER", "default", "-set"]).await;
    let refused = [
        cache.set("k", 2).await,
        cache.delete("k").await,
        cache.invalidate_tag("t").await,
    ];
    for outcome in refused {
        let Err(CacheError::Store(Error::Command(refusal))) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(refusal.code(), "NOPERM");
    }
    assert_eq!((here.report().unsent, here.report().dropped), (0, 0));
    let found = cache.get("k").await.unwrap().unwrap();
    assert_eq!((*found, found.source), (1, Source::Store));
}
