//! Over the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sangam_engine::clock::Clock;
use sangam_engine::{Engine, Options, Reply};
use sangam_rig::wait::until;
use sangam_store::{Commands, Error, Store};

use super::{Bus, Change, Changes, Coherence, HEARTBEAT, Instance, keys_changed};
use crate::cache::key::TagId;

const START_US: u64 = 1_700_000_000_000_000;

/// A clock that goes both ways.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Hand {
    fn advance(&self, time: Duration) {
        let time = time.as_micros() as u64;
        self.0.fetch_add(time, Ordering::SeqCst);
    }

    fn set_back(&self, time: Duration) {
        let time = time.as_micros() as u64;
        self.0.fetch_sub(time, Ordering::SeqCst);
    }
}

fn still() -> (Arc<Hand>, Store) {
    let clock = Arc::new(Hand(AtomicU64::new(START_US)));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Store::embedded(engine))
}

async fn int(store: &Store, argv: &[&[u8]]) -> i64 {
    match store.call(argv).await.unwrap() {
        Reply::Int(number) => number,
        other => panic!("{other:?}"),
    }
}

async fn is_listening(store: &Store, instances: i64) {
    until("subscriptions", async || {
        let reply = store.call(&[b"PUBSUB", b"NUMSUB", b"{cache}:bus"]).await;
        match reply.unwrap().unpacked() {
            Reply::Array(items) if items.last() == Some(&Reply::Int(instances)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_comparison_finds_what_was_said_since_the_last() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Poll).await;
    assert!(other.hears().await.is_empty());
    one.say(&["a", "b"]).await;
    other.say(&["c"]).await;
    one.say(&["d"]).await;
    assert_eq!(other.hears().await, ["a", "b", "d"]);
    assert_eq!(one.hears().await, ["c"]);
    assert!(one.hears().await.is_empty() && other.hears().await.is_empty());
    assert!(!one.told.lost() && !other.told.lost());
    let mut commands = Commands::new();
    let changes = Changes {
        cache: "test".into(),
        changes: vec![Change::Tag(TagId(7)), Change::Tag(TagId::ALL)],
    };
    one.bus.say(&mut commands, &changes);
    assert_eq!(commands.len(), 1);
    store.transaction(&commands).await.unwrap();
    assert_eq!(other.hears().await, ["#7", "#0"]);
}

/// What was in memory before was never compared.
#[tokio::test]
async fn the_first_comparison_invalidates_everything() {
    let (_clock, store) = still();
    let first = Instance::ready(&store, Coherence::Poll).await;
    first.say(&["a"]).await;
    let second = Instance::new(&store, Coherence::Poll);
    assert!(second.hears().await.is_empty());
    assert!(second.told.lost());
}

#[tokio::test]
async fn what_is_pushed_comes_at_once_and_only_then() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Push).await;
    let other = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 2).await;
    one.say(&["a"]).await;
    until("the message", async || {
        let told = other.told.take();
        (told == ["a"]).then_some(()).ok_or(format!("{told:?}"))
    })
    .await;
    assert!(other.hears().await.is_empty());
    assert!(one.hears().await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_missing_is_looked_for_at_once() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Push).await;
    let other = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 2).await;
    one.say(&["a"]).await;
    // Of this one only the entry is there.
    let mut commands = Commands::new();
    one.bus.say(&mut commands, &keys_changed(&["b"]));
    store.call(&commands.get(0).unwrap()).await.unwrap();
    let spent = other.bus.commands();
    one.say(&["c"]).await;
    until("all", async || {
        let mut told = other.told.keys.lock().clone();
        told.sort();
        (told == ["a", "b", "c"])
            .then_some(())
            .ok_or(format!("{told:?}"))
    })
    .await;
    assert_eq!(other.bus.commands(), spent + 1);
}

#[tokio::test]
async fn messages_in_another_order_cost_nothing() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Push).await;
    let other = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 2).await;
    one.say(&["a"]).await;
    let mut late = Commands::new();
    one.bus.say(&mut late, &keys_changed(&["b"]));
    one.say(&["c"]).await;
    store.pipeline(&late).await;
    until("all", async || {
        let told = other.told.keys.lock().clone();
        (told == ["a", "c", "b"])
            .then_some(())
            .ok_or(format!("{told:?}"))
    })
    .await;
    let spent = other.bus.commands();
    assert_eq!(other.hears().await, ["a", "c", "b"]);
    assert_eq!(other.bus.commands(), spent + 1);
}

#[tokio::test]
async fn an_unreadable_push_is_looked_up_in_the_stream() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 1).await;
    one.say(&["a"]).await;
    store
        .publish(b"{cache}:bus", b"2 of a later form")
        .await
        .unwrap();
    until("what was said", async || {
        let told = other.told.take();
        (told == ["a"]).then_some(()).ok_or(format!("{told:?}"))
    })
    .await;
    assert!(!other.told.lost());
}

#[tokio::test]
async fn a_stream_that_is_gone_or_another_is_noticed() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Poll).await;
    for loss in [
        &[&b"DEL"[..], b"{cache}:bus"][..],
        &[b"FLUSHALL"],
        &[b"XTRIM", b"{cache}:bus", b"MAXLEN", b"0"],
    ] {
        one.say(&["a"]).await;
        assert_eq!(other.hears().await, ["a"]);
        store.call(loss).await.unwrap();
        one.say(&["b"]).await;
        other.hears().await;
        assert!(other.told.lost(), "{loss:?}");
        assert!(one.hears().await.is_empty());
        assert!(one.told.lost(), "{loss:?}");
        // And from there on as ever.
        one.say(&["c"]).await;
        assert_eq!(other.hears().await, ["c"], "{loss:?}");
        assert!(!other.told.lost(), "{loss:?}");
        assert!(int(&store, &[b"TTL", b"{cache}:bus"]).await > 0, "{loss:?}");
    }
}

/// A word said to a stream that is not there leaves none without a time to live.
#[tokio::test]
async fn no_stream_lives_for_ever() {
    let (clock, store) = still();
    let one = Instance::new(&store, Coherence::Push);
    one.say(&["a"]).await;
    assert_eq!(int(&store, &[b"EXISTS", b"{cache}:bus"]).await, 0);
    one.bus.verify().await.unwrap();
    assert_eq!(int(&store, &[b"TTL", b"{cache}:bus"]).await, 3600);
    store.call(&[b"DEL", b"{cache}:bus"]).await.unwrap();
    one.say(&["a"]).await;
    assert_eq!(int(&store, &[b"EXISTS", b"{cache}:bus"]).await, 0);
    one.bus.verify().await.unwrap();
    assert_eq!(int(&store, &[b"TTL", b"{cache}:bus"]).await, 3600);
    // Saying renews it, and so does comparing.
    for _ in 0..10 {
        clock.advance(Duration::from_mins(14));
        one.say(&["a"]).await;
        assert_eq!(int(&store, &[b"TTL", b"{cache}:bus"]).await, 3600 - 14 * 60);
        clock.advance(Duration::from_mins(1));
        one.say(&["a"]).await;
        assert_eq!(int(&store, &[b"TTL", b"{cache}:bus"]).await, 3600);
    }
    one.told.lost.store(0, Ordering::SeqCst);
    for _ in 0..10 {
        clock.advance(Duration::from_mins(15));
        one.bus.verify().await.unwrap();
        assert!(!one.told.lost());
        assert_eq!(int(&store, &[b"TTL", b"{cache}:bus"]).await, 3600);
    }
    clock.advance(Duration::from_mins(61));
    one.bus.verify().await.unwrap();
    assert!(one.told.lost());
}

#[tokio::test]
async fn more_than_is_kept_is_lost() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Poll).await;
    // A message each, and a page or a few of them.
    for (count, pages) in [(999, 1), (1000, 2), (1500, 2), (5000, 6)] {
        let spent = other.bus.commands();
        for key in 0..count {
            one.say(&[&key.to_string()]).await;
        }
        let told = other.hears().await;
        assert!(told.into_iter().eq((0..count).map(|key| key.to_string())));
        assert_eq!(other.bus.commands() - spent, pages, "{count}");
        assert!(!other.told.lost());
    }
    for _ in 0..20_000 {
        one.say(&["a"]).await;
    }
    assert!(other.hears().await.is_empty());
    assert!(other.told.lost());
    one.say(&["b"]).await;
    assert_eq!(other.hears().await, ["b"]);
    assert!(int(&store, &[b"XLEN", b"{cache}:bus"]).await < 10_500);
}

/// The store has not more of them for that than it has room for.
#[tokio::test]
async fn of_large_messages_fewer_are_kept() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let key = "k".repeat(40_000);
    for _ in 0..1500 {
        one.say(&[&key]).await;
    }
    let length = int(&store, &[b"XLEN", b"{cache}:bus"]).await;
    assert!((1000..1200).contains(&length), "{length}");
}

/// Who was pushed much compares at the next read, so that the stream does not outrun it.
#[tokio::test]
async fn after_many_messages_it_is_time_to_compare() {
    let (_clock, store) = still();
    let other = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 1).await;
    let say = super::super::message::write([9; 16], || 1, &keys_changed(&["a"])).remove(0);
    for round in 0..2 {
        let spent = other.bus.commands();
        for _ in 0..499 {
            store.publish(b"{cache}:bus", &say).await.unwrap();
        }
        until("all but one", async || {
            let pushed = other.bus.shared.pushed.load(Ordering::Relaxed);
            (pushed == 499).then_some(()).ok_or(format!("{pushed}"))
        })
        .await;
        assert!(other.bus.is_fresh(store.now()));
        store.publish(b"{cache}:bus", &say).await.unwrap();
        until("the time to compare", async || {
            let fresh = other.bus.is_fresh(store.now());
            (!fresh).then_some(()).ok_or(String::new())
        })
        .await;
        // What is in memory holds still, and nothing is sent while nothing is read.
        assert!(other.bus.is_trusted(store.now()));
        assert_eq!(other.bus.commands(), spent, "{round}");
        other.bus.verify_if_due(store.now());
        until("the comparison", async || {
            let fresh = other.bus.is_fresh(store.now());
            fresh.then_some(()).ok_or(String::new())
        })
        .await;
        assert_eq!(other.bus.commands(), spent + 1, "{round}");
    }
}

/// A stream made anew, which has come to the same id with other words.
#[tokio::test]
async fn the_same_id_is_not_enough() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let add = async |text: &[u8]| {
        let argv: [&[u8]; 5] = [b"XADD", b"{cache}:bus", b"9999999999999-1", b"m", text];
        store.call(&argv).await.unwrap();
    };
    let of = |key: &str| super::super::message::write([9; 16], || 1, &keys_changed(&[key]));
    add(&of("a")[0]).await;
    assert_eq!(one.hears().await, ["a"]);
    store.call(&[b"FLUSHALL"]).await.unwrap();
    add(&of("b")[0]).await;
    assert!(one.hears().await.is_empty());
    assert!(one.told.lost());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_may_have_said_anything() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Poll).await;
    for fields in [&["m", "2 of a later form"][..], &["m", ""], &["n", "1"]] {
        one.say(&["a"]).await;
        let mut argv: Vec<&[u8]> = vec![b"XADD", b"{cache}:bus", b"*"];
        argv.extend(fields.iter().map(|it| it.as_bytes()));
        store.call(&argv).await.unwrap();
        assert_eq!(other.hears().await, ["a"]);
        assert!(other.told.lost(), "{fields:?}");
        one.say(&["b"]).await;
        assert_eq!(other.hears().await, ["b"]);
        assert!(!other.told.lost(), "{fields:?}");
    }
}

#[tokio::test]
async fn trust_lasts_a_heartbeat_and_no_clock_extends_it() {
    let (clock, store) = still();
    let one = Instance::new(&store, Coherence::Poll);
    assert!(!one.bus.is_trusted(store.now()));
    assert_eq!((one.bus.verified_until_us(), one.bus.due_us()), (0, 0));
    one.bus.verify().await.unwrap();
    let (now, heartbeat) = (store.now(), HEARTBEAT.as_micros() as u64);
    assert_eq!(one.bus.verified_at_us(), now);
    assert_eq!(one.bus.verified_until_us(), now + heartbeat);
    assert_eq!(one.bus.due_us(), now + heartbeat / 10 * 9);
    assert!(one.bus.is_trusted(now));
    assert!(one.bus.is_trusted(now + heartbeat - 1));
    assert!(!one.bus.is_trusted(now + heartbeat));
    // A failure extends nothing.
    clock.advance(HEARTBEAT);
    store
        .call(&[b"SET", b"{cache}:bus", b"no stream"])
        .await
        .unwrap();
    assert!(matches!(one.bus.verify().await, Err(Error::Command(_))));
    assert_eq!(one.bus.verified_until_us(), now + heartbeat);
    store.call(&[b"DEL", b"{cache}:bus"]).await.unwrap();
    one.told.lost();
    one.bus.verify().await.unwrap();
    assert!(one.told.lost());
    // Put back, it is not verified until it is again.
    clock.set_back(HEARTBEAT * 3);
    assert!(!one.bus.is_trusted(store.now()));
    one.bus.verify().await.unwrap();
    assert_eq!(one.bus.verified_until_us(), store.now() + heartbeat);
    assert!(one.bus.is_trusted(store.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_compares_has_what_was_said_before() {
    let (_clock, store) = still();
    let one = Arc::new(Instance::ready(&store, Coherence::Push).await);
    let other = Arc::new(Instance::ready(&store, Coherence::Push).await);
    let spent = other.bus.commands();
    let callers: Vec<_> = (0..40)
        .map(|caller| {
            let (one, other) = (one.clone(), other.clone());
            tokio::spawn(async move {
                for nth in 0..20 {
                    let key = format!("{caller}-{nth}");
                    one.say(&[&key]).await;
                    other.bus.verify().await.unwrap();
                    assert!(other.told.keys.lock().contains(&key), "{key}");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(!other.told.lost());
    assert!(other.bus.commands() - spent <= 40 * 20 + 40);
}

#[tokio::test]
async fn without_coherence_or_store_nothing_is_said_or_asked() {
    let (_clock, store) = still();
    for (store, coherence) in [
        (&store, Coherence::Off),
        (&Store::disabled(), Coherence::Push),
    ] {
        let one = Instance::new(store, coherence);
        assert!(one.say(&["a"]).await.is_empty());
        one.bus.verify().await.unwrap();
        one.bus.verify_soon();
        assert_eq!(one.bus.verified_until_us(), u64::MAX);
        assert_eq!(one.bus.due_us(), u64::MAX);
        assert!(one.bus.is_trusted(0) && one.bus.is_trusted(store.now()));
        assert_eq!(one.bus.commands(), 0);
        assert!(!one.told.lost());
    }
    assert_eq!(int(&store, &[b"DBSIZE"]).await, 0);
}

#[tokio::test]
async fn what_says_nothing_is_not_sent() {
    let (_clock, store) = still();
    let one = Instance::new(&store, Coherence::Push);
    assert!(one.say(&[]).await.is_empty());
}

#[tokio::test]
async fn a_comparison_in_the_background_is_one() {
    let (clock, store) = still();
    let one = Instance::ready(&store, Coherence::Poll).await;
    let other = Instance::ready(&store, Coherence::Poll).await;
    one.say(&["a"]).await;
    clock.advance(HEARTBEAT / 10 * 8);
    assert!(store.now() < other.bus.due_us());
    clock.advance(HEARTBEAT / 10);
    assert!(store.now() >= other.bus.due_us());
    let spent = other.bus.commands();
    for _ in 0..100 {
        other.bus.verify_soon();
    }
    until("the comparison", async || {
        (store.now() < other.bus.due_us())
            .then_some(())
            .ok_or(String::new())
    })
    .await;
    assert_eq!(other.told.take(), ["a"]);
    assert_eq!(other.bus.commands(), spent + 1);
}

/// The tasks do not keep it, nor its store.
#[tokio::test]
async fn nothing_is_left_of_a_bus_that_is_dropped() {
    let (_clock, store) = still();
    let one = Instance::ready(&store, Coherence::Push).await;
    is_listening(&store, 1).await;
    let alive = Arc::downgrade(&one.bus.shared);
    let Instance { bus, .. } = one;
    Bus::verify_soon(&bus);
    drop(bus);
    is_listening(&store, 0).await;
    assert!(alive.upgrade().is_none());
}
