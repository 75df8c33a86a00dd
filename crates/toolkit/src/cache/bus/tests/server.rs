//! Over real servers, and lines to them that fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sangam_rig::proxy::{Cut, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use sangam_store::{Commands, Options, Store, Target};
use tokio::time::timeout;

use super::{Coherence, Instance, keys_changed};

async fn over(addr: SocketAddr) -> Store {
    let target = Target::new(&format!("redis://{addr}"), None, "REDIS_URL", "").unwrap();
    let options = Options {
        connect_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(2),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Options::default()
    };
    let store = Store::connect(&target, options).await.unwrap();
    store.ping().await.unwrap();
    store
}

async fn are_listening(server: &Redis, instances: i64) {
    until("subscriptions", async || {
        let answer = server.call(&["PUBSUB", "NUMSUB", "{cache}:bus"]).await;
        match answer
            .items()
            .last()
            .and_then(sangam_rig::redis::Answer::int)
        {
            Some(count) if count == instances => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn until_told(instance: &Instance, keys: &[&str]) {
    until("the words", async || {
        let told = instance.told.keys.lock().clone();
        (told == keys).then_some(()).ok_or(format!("{told:?}"))
    })
    .await;
}

/// What a server has run, but for what asks for it.
async fn ran(server: &Redis) -> BTreeMap<String, u64> {
    let stats = server.call(&["INFO", "commandstats"]).await.text();
    let of_data = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        let data = ["x", "publish", "expire", "get", "set", "eval"];
        let is_data = data.iter().any(|it| name.starts_with(it));
        is_data.then(|| (name.to_owned(), calls))
    });
    of_data.collect()
}

/// The bill, by what the server counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_costs_two_and_a_heartbeat_one() {
    let server = Redis::start().await;
    let one = Instance::ready(&over(server.addr()).await, Coherence::Push).await;
    let other = Instance::ready(&over(server.addr()).await, Coherence::Push).await;
    let poll = Instance::ready(&over(server.addr()).await, Coherence::Poll).await;
    are_listening(&server, 2).await;
    // Whoever comes first renews the stream's time to live, and not for long after.
    server.call(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..10 {
        one.say(&["a"]).await;
        poll.say(&["b"]).await;
        other.bus.verify().await.unwrap();
    }
    let ran = ran(&server).await;
    let expected = [("publish", 10), ("xadd", 20), ("xrange", 10)];
    let expected: BTreeMap<String, u64> = expected.map(|(name, calls)| (name.into(), calls)).into();
    assert_eq!(ran, expected);
    assert!(!other.told.lost());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_server_words_come_at_once() {
    let server = Redis::start().await;
    let one = Instance::ready(&over(server.addr()).await, Coherence::Push).await;
    let other = Instance::ready(&over(server.addr()).await, Coherence::Push).await;
    are_listening(&server, 2).await;
    one.say(&["a", "b"]).await;
    until_told(&other, &["a", "b"]).await;
    let keys = server.call(&["KEYS", "*"]).await;
    assert_eq!(keys.items().len(), 1);
    let left = server.call(&["TTL", "{cache}:bus"]).await;
    assert!(left.int().unwrap() > 0);
}

/// What was said while the line was cut is looked up when it is there again, long
/// before the heartbeat is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_from_the_stream() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let one = Instance::ready(&over(server.addr()).await, Coherence::Push).await;
    let other = Instance::ready(&over(proxy.addr()).await, Coherence::Push).await;
    are_listening(&server, 2).await;
    one.say(&["a"]).await;
    until_told(&other, &["a"]).await;
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    are_listening(&server, 1).await;
    one.say(&["b"]).await;
    proxy.listen_again().await;
    until_told(&other, &["a", "b"]).await;
    assert!(!other.told.lost());
    are_listening(&server, 2).await;
    one.say(&["c"]).await;
    until_told(&other, &["a", "b", "c"]).await;
}

/// An error extends no trust; and what was said meanwhile is there afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_is_cut_says_so() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let one = Instance::ready(&over(server.addr()).await, Coherence::Poll).await;
    let other = Instance::ready(&over(proxy.addr()).await, Coherence::Poll).await;
    let (at, until_us) = (other.bus.verified_at_us(), other.bus.verified_until_us());
    one.say(&["a"]).await;
    proxy.fault(Fault::DropReplies, Whom::All);
    other.bus.verify().await.unwrap_err();
    assert_eq!(other.bus.verified_at_us(), at);
    assert_eq!(other.bus.verified_until_us(), until_us);
    assert!(!other.bus.is_trusted(until_us));
    proxy.clear();
    proxy.cut(Cut::Reset);
    until("the store again", async || {
        other.bus.verify().await.map_err(|it| it.to_string())
    })
    .await;
    assert_eq!(other.told.take(), ["a"]);
    assert!(!other.told.lost());
    assert!(other.bus.verified_until_us() > until_us);
}

/// A server that comes back empty has lost the words.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_memory_is_noticed() {
    let mut server = Redis::start().await;
    let store = over(server.addr()).await;
    let one = Instance::ready(&store, Coherence::Push).await;
    let other = Instance::ready(&store, Coherence::Push).await;
    server.restart().await;
    until("the comparison", async || {
        other.bus.verify().await.map_err(|it| it.to_string())
    })
    .await;
    assert!(other.told.lost());
    one.say(&["a"]).await;
    assert_eq!(other.hears().await, ["a"]);
    assert!(server.call(&["TTL", "{cache}:bus"]).await.int().unwrap() > 0);
}

/// Whoever waits for the turn of one that was given up has another.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_holds_up_nobody() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let one = Instance::ready(&over(server.addr()).await, Coherence::Poll).await;
    let other = Instance::ready(&over(proxy.addr()).await, Coherence::Poll).await;
    proxy.fault(Fault::Stall, Whom::All);
    let mut leads = Box::pin(other.bus.verify());
    timeout(Duration::ZERO, &mut leads).await.unwrap_err();
    one.say(&["a"]).await;
    let mut waits = Box::pin(other.bus.verify());
    timeout(Duration::ZERO, &mut waits).await.unwrap_err();
    drop(leads);
    proxy.clear();
    waits.await.unwrap();
    assert_eq!(other.told.take(), ["a"]);
}

/// Whoever says more than fits into a message is heard whole.
#[tokio::test(flavor = "multi_thread")]
async fn much_at_once_comes_in_parts() {
    let server = Redis::start().await;
    let one = Instance::ready(&over(server.addr()).await, Coherence::Poll).await;
    let other = Instance::ready(&over(server.addr()).await, Coherence::Poll).await;
    let keys: Vec<String> = (0..2000).map(|key| format!("{key:0100}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut commands = Commands::new();
    one.bus.say(&mut commands, &keys_changed(&keys));
    assert!(commands.len() > 3);
    for reply in one.store.pipeline(&commands).await {
        reply.unwrap();
    }
    assert_eq!(other.hears().await, keys);
}
