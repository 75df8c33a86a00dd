//! Keys and values in the form of other apps: what a load, a deletion or a replay that
//! comes late must not leave there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sangam::cache::{
    self, Cache, CacheError, Caches, Coherence, Loaded, Reach, Settings, Shared, Source,
};
use sangam::store::{Options, Store, Target};
use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Reply};
use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);
const SET: &str = "app:tag";

fn settings() -> Settings {
    Settings {
        shared: Some(Shared {
            prefix: "app:".to_owned(),
        }),
        jitter: 0.0,
        hard_timeout: 60 * SECOND,
        ..Settings::default()
    }
}

async fn over(url: &str) -> Store {
    let options = Options {
        connect_timeout: SECOND,
        command_timeout: 20 * SECOND,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Options::default()
    };
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    let store = Store::connect(&target, options).await.unwrap();
    store.ping().await.unwrap();
    store
}

fn caches(store: &Store) -> Caches {
    let options = cache::Options {
        coherence: Coherence::Poll,
        ..cache::Options::default()
    };
    Caches::with_options(store.clone(), &options)
}

async fn ask(store: &Store, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|it| it.as_bytes()).collect();
    store.call(&argv).await.unwrap()
}

async fn stored(store: &Store, key: &str) -> Option<String> {
    let bytes = store.get(key.as_bytes()).await.unwrap()?;
    Some(String::from_utf8(bytes).unwrap())
}

fn tagged(number: u32) -> Loaded<u32> {
    Loaded::value(number).tags([SET])
}

/// A load whose loader runs, and ends when it is told what it finds.
struct Load {
    found: oneshot::Sender<Loaded<u32>>,
    call: tokio::task::JoinHandle<u32>,
}

impl Load {
    async fn begin(cache: &Cache<u32>, key: &'static str, many: bool) -> Self {
        let (found, finds) = oneshot::channel();
        let (runs, running) = oneshot::channel();
        let cache = cache.clone();
        let finds = async move {
            runs.send(()).unwrap();
            finds.await
        };
        let call = tokio::spawn(async move {
            if many {
                let loader =
                    async |_| Ok::<_, oneshot::error::RecvError>([(key.to_owned(), finds.await?)]);
                let found = cache.get_or_set_many(&[key], loader).await.unwrap();
                return **found[0].as_ref().unwrap();
            }
            *cache.get_or_set(key, |_| finds).await.unwrap()
        });
        running.await.unwrap();
        Load { found, call }
    }

    async fn end(self, found: Loaded<u32>) -> u32 {
        self.found.send(found).unwrap();
        self.call.await.unwrap()
    }
}

/// An embedded store and a server.
async fn stores() -> (Redis, [Store; 2]) {
    let redis = Redis::start().await;
    let stores = [Store::memory(), over(&redis.url()).await];
    (redis, stores)
}

#[tokio::test]
async fn what_was_invalidated_is_not_loaded_late() {
    let (_redis, stores) = stores().await;
    for store in &stores {
        let here = caches(store);
        let one = here.cache::<u32>("c", settings()).unwrap();
        let beside = here.cache::<u32>("c", settings()).unwrap();
        let elsewhere = caches(store).cache::<u32>("c", settings()).unwrap();
        for by in [&one, &beside, &elsewhere] {
            for many in [false, true] {
                let load = Load::begin(&one, "k", many).await;
                by.invalidate_tag(SET).await.unwrap();
                assert_eq!(load.end(tagged(1)).await, 1);
                assert_eq!(stored(store, "app:k").await, None);
                assert!(one.get("k").await.unwrap().is_none());
                let load = Load::begin(&one, "k", many).await;
                by.delete("k").await.unwrap();
                assert_eq!(load.end(tagged(1)).await, 1);
                assert_eq!(stored(store, "app:k").await, None);
                assert!(one.get("k").await.unwrap().is_none());
                // Nothing was changed meanwhile.
                let load = Load::begin(&one, "k", many).await;
                assert_eq!(load.end(tagged(2)).await, 2);
                assert_eq!(stored(store, "app:k").await.as_deref(), Some("2"));
                by.invalidate_tag(SET).await.unwrap();
                assert_eq!(stored(store, "app:k").await, None);
                // It may not have heard of that yet.
                one.delete("k").await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_while_a_load_was_written_is_removed_again() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = over(&redis.url()).await;
    let slow = over(&format!("redis://{}", proxy.addr())).await;
    let settings = Settings {
        store_timeout: 20 * SECOND,
        ..settings()
    };
    let far = caches(&slow).cache::<u32>("c", settings.clone()).unwrap();
    let near = caches(&store).cache::<u32>("c", settings).unwrap();
    for tag in [false, true] {
        let load = Load::begin(&far, "k", false).await;
        // The write is on its way and has not arrived.
        proxy.fault(Fault::Stall, Whom::All);
        let end = tokio::spawn(load.end(tagged(1)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        if tag {
            near.invalidate_tag(SET).await.unwrap();
        } else {
            near.delete("k").await.unwrap();
        }
        proxy.clear();
        assert_eq!(end.await.unwrap(), 1);
        assert_eq!(stored(&store, "app:k").await, None);
        assert!(far.get("k").await.unwrap().is_none());
        assert_eq!(far.stats().overtaken, 1 + u64::from(tag));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_comes_after_what_is_sent_late() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = over(&redis.url()).await;
    let there = caches(&over(&format!("redis://{}", proxy.addr())).await);
    let one = there.cache::<u32>("c", settings()).unwrap();
    one.set("k", 1).await.unwrap();
    one.set("gone", 1).await.unwrap();
    one.set("tagged", tagged(1)).await.unwrap();
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    until("a write that is not sent", || async {
        let reach = one.set("k", 2).await.map_err(|it| it.to_string())?;
        (reach == Reach::Here)
            .then_some(())
            .ok_or("sent".to_owned())
    })
    .await;
    // Nothing, and a value that would not be in its set, are sent as deleted.
    assert_eq!(one.set("gone", None).await.unwrap(), Reach::Here);
    assert_eq!(one.set("tagged", tagged(2)).await.unwrap(), Reach::Here);
    assert_eq!(there.report().unsent, 3);
    let late = Fault::Delay {
        direction: Direction::Request,
        least: Duration::from_millis(300),
        most: Duration::from_millis(300),
    };
    proxy.fault(late, Whom::All);
    proxy.listen_again().await;
    until("the newest is there", || async {
        let reach = one.set("k", 3).await.map_err(|it| it.to_string())?;
        if reach != Reach::Everywhere {
            return Err("it is away".to_owned());
        }
        let found = stored(&store, "app:k").await;
        assert_eq!(found.as_deref(), Some("3"));
        Ok(())
    })
    .await;
    proxy.clear();
    until("all is sent", || async {
        match there.report().unsent {
            0 => Ok(()),
            some => Err(format!("{some} wait")),
        }
    })
    .await;
    assert_eq!(stored(&store, "app:k").await.as_deref(), Some("3"));
    assert_eq!(stored(&store, "app:gone").await, None);
    assert_eq!(stored(&store, "app:tagged").await, None);
}

#[tokio::test]
async fn a_set_is_emptied_of_the_own_keys() {
    let (_redis, stores) = stores().await;
    for store in &stores {
        let one = caches(store).cache::<u32>("c", settings()).unwrap();
        ask(store, &["SET", "other:k", "5"]).await;
        ask(store, &["SADD", SET, "other:k"]).await;
        let names: Vec<String> = (0..1_700).map(|it| format!("k{it}")).collect();
        let values = names.iter().map(|name| (name.as_str(), tagged(1)));
        one.set_many(values).await.unwrap();
        assert_eq!(ask(store, &["SCARD", SET]).await, Reply::Int(1_701));
        // Another app's set stays without a time to live.
        assert_eq!(ask(store, &["TTL", SET]).await, Reply::Int(-1));
        one.invalidate_tag(SET).await.unwrap();
        assert_eq!(stored(store, "app:k0").await, None);
        assert_eq!(stored(store, "app:k1699").await, None);
        assert_eq!(stored(store, "other:k").await.as_deref(), Some("5"));
        assert_eq!(ask(store, &["SCARD", SET]).await, Reply::Int(1));
        // One that was made here has one.
        ask(store, &["DEL", SET]).await;
        one.set("k", tagged(1)).await.unwrap();
        let Reply::Int(left) = ask(store, &["TTL", SET]).await else {
            panic!("no number");
        };
        assert!((86_000..=86_400).contains(&left), "{left}");
    }
}

/// A store whose time stands still.
fn still() -> (Arc<ManualClock>, Store) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let engine = Engine::new(sangam_engine::Options {
        clock: clock.clone(),
        ..sangam_engine::Options::default()
    });
    (clock, Store::embedded(engine))
}

#[tokio::test]
async fn what_another_app_deleted_saves_no_load() {
    let (clock, store) = still();
    let settings = Settings {
        fail_safe: 3_600 * SECOND,
        ..settings()
    };
    let one = caches(&store).cache::<u32>("c", settings).unwrap();
    for many in [false, true] {
        one.set("k", 1).await.unwrap();
        assert_eq!(*one.get("k").await.unwrap().unwrap(), 1);
        ask(&store, &["DEL", "app:k"]).await;
        clock.advance_millis(10_000);
        let fails = || ready(Err::<u32, _>(io::Error::other("away")));
        let error = if many {
            let fails = |_| ready(Err::<[(String, u32); 0], _>(io::Error::other("away")));
            one.get_or_set_many(&["k"], fails).await.unwrap_err()
        } else {
            one.get_or_set("k", move |_| fails()).await.unwrap_err()
        };
        assert!(matches!(error, CacheError::Loader(_)), "{error}");
    }
}

#[tokio::test]
async fn what_other_apps_made_is_loaded_ahead_of_its_end() {
    let (clock, store) = still();
    let settings = Settings {
        ttl: 100 * SECOND,
        eager: Some(0.8),
        ..settings()
    };
    let one = caches(&store).cache::<u32>("c", settings).unwrap();
    ask(&store, &["SET", "app:k", "1", "EX", "100"]).await;
    let find = |number: u32| one.get_or_set("k", move |_| ready(Ok::<_, io::Error>(number)));
    clock.advance_millis(79_000);
    let found = find(2).await.unwrap();
    assert_eq!(
        (*found, found.source, found.age),
        (1, Source::Store, 79 * SECOND)
    );
    assert_eq!(one.stats().loads, 0);
    clock.advance_millis(11_000);
    find(2).await.unwrap();
    until("the new value", || async {
        let found = stored(&store, "app:k").await;
        (found.as_deref() == Some("2"))
            .then_some(())
            .ok_or(format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_load_writes_over_nothing_but_what_it_saw() {
    let (_redis, stores) = stores().await;
    // They begin alike, and are no numbers.
    let (old, new) = (
        "[\"as long as a head is\", 1]",
        "[\"as long as a head is\", 2]",
    );
    for store in &stores {
        let one = caches(store).cache::<u32>("c", settings()).unwrap();
        for many in [false, true] {
            ask(store, &["SET", "app:k", old]).await;
            let load = Load::begin(&one, "k", many).await;
            ask(store, &["SET", "app:k", new]).await;
            assert_eq!(load.end(Loaded::value(1)).await, 1);
            assert_eq!(stored(store, "app:k").await.as_deref(), Some(new));
            let load = Load::begin(&one, "k", many).await;
            assert_eq!(load.end(Loaded::value(1)).await, 1);
            assert_eq!(stored(store, "app:k").await.as_deref(), Some("1"));
            one.delete("k").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_prefix_is_not_empty() {
    let prefix = String::new();
    let settings = Settings {
        shared: Some(Shared { prefix }),
        ..settings()
    };
    let error = caches(&Store::memory())
        .cache::<u32>("c", settings)
        .unwrap_err();
    assert!(matches!(error, CacheError::Setting(_)), "{error}");
}
