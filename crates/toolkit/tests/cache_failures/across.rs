//! One load for all instances, and instances that end in the middle of it.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sangam::cache::{Coherence, Settings};
use sangam_rig::proxy::{Direction, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::{DEADLINE, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{LONG, Loads, behind, caches, settings};

const LEASE: Duration = Duration::from_secs(1);
/// Longest time after which who waits asks again.
const POLL: Duration = Duration::from_millis(250);
/// What a busy machine may take.
const SLACK: Duration = Duration::from_secs(3);
/// Names the store to the process that this test starts.
const CHILD: &str = "SANGAM_CACHE_FAILURES_CHILD";
const CLAIM: &str = "cache-flight:c:k";

fn agreeing() -> Settings {
    Settings {
        across: true,
        lease: LEASE,
        hard_timeout: LONG,
        ..settings()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_three_instances_load_once() {
    let redis = Redis::start().await;
    let loads = Loads::default();
    let mut asking = JoinSet::new();
    for _ in 0..3 {
        let caches = caches(&redis.url(), Coherence::Push).await;
        let cache = caches.cache::<u64>("c", agreeing()).unwrap();
        for _ in 0..334 {
            let (cache, loads) = (cache.clone(), loads.clone());
            asking.spawn(async move {
                let loader = move |_| async move {
                    loads.one();
                    sleep(Duration::from_millis(200)).await;
                    Ok::<_, String>(7)
                };
                *cache.get_or_set("k", loader).await.unwrap()
            });
        }
    }
    let found = asking.join_all().await;
    assert_eq!((found.len(), loads.count()), (1002, 1));
    assert!(found.iter().all(|it| *it == 7));
    until("the claim to be given back", || async {
        let claim = redis.call(&["EXISTS", CLAIM]).await.int();
        (claim == Some(0)).then_some(()).ok_or(format!("{claim:?}"))
    })
    .await;
}

/// What a process does that [`Holder`] starts: it loads until it is told to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of other tests, which start it"]
async fn holder() {
    let url = std::env::var(CHILD).unwrap();
    let caches = caches(&url, Coherence::Push).await;
    let cache = caches.cache::<u64>("c", agreeing()).unwrap();
    let loader = |_| async {
        tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]))
            .await
            .unwrap()
            .unwrap();
        Ok::<_, String>(1)
    };
    cache.get_or_set("k", loader).await.unwrap();
}

/// Another process, which holds the claim.
struct Holder(Child);

impl Holder {
    async fn start(redis: &Redis, url: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "across::holder", "--nocapture"])
            .env(CHILD, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let holder = Holder(child);
        until("the other process to load", || async {
            let claim = redis.call(&["EXISTS", CLAIM]).await.int();
            (claim == Some(1)).then_some(()).ok_or(format!("{claim:?}"))
        })
        .await;
        holder
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_takes_over_from_a_process_that_was_killed() {
    let redis = Redis::start().await;
    let mut holder = Holder::start(&redis, &redis.url()).await;
    let here = caches(&redis.url(), Coherence::Push).await;
    let cache = here.cache::<u64>("c", agreeing()).unwrap();
    let asking = tokio::spawn(async move {
        let (began, begins) = tokio::sync::oneshot::channel();
        let loader = move |_| async move {
            began.send(Instant::now()).unwrap();
            Ok::<u64, String>(2)
        };
        let found = cache.get_or_set("k", loader).await.unwrap();
        (*found, begins.await.unwrap())
    });
    // As long as it lives, however long that is.
    sleep(2 * LEASE + LEASE / 2).await;
    assert!(!asking.is_finished());
    holder.kill();
    let (killed, left) = (
        Instant::now(),
        redis.call(&["PTTL", CLAIM]).await.int().unwrap(),
    );
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    assert!(left <= LEASE, "{left:?}");
    let (found, at) = tokio::time::timeout(DEADLINE, asking)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, 2);
    let took = at - killed;
    assert!(took <= LEASE + POLL + SLACK, "{took:?}");
    assert!(
        took + Duration::from_millis(5) >= left,
        "{took:?}, the claim had {left:?} left"
    );
}

/// What is on its way as its sender dies, and comes when another has taken over, writes
/// over nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_sent_last_comes_too_late() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let mut holder = Holder::start(&redis, &behind(&proxy)).await;
    let late = LEASE + POLL + SLACK;
    proxy.fault(
        Fault::Delay {
            direction: Direction::Request,
            least: late,
            most: late,
        },
        Whom::All,
    );
    // The end of its input lets it go on: it fills, which takes long to arrive.
    drop(holder.0.stdin.take());
    sleep(LEASE / 4).await;
    holder.kill();
    let here = caches(&redis.url(), Coherence::Push).await;
    let cache = here.cache::<u64>("c", agreeing()).unwrap();
    assert_eq!(*Loads::default().load(&cache, "k", 2).await, 2);
    // What it had sent has arrived by then, before this load or after it.
    sleep(late + SLACK).await;
    let judge = caches(&redis.url(), Coherence::Push).await;
    let judge = judge.cache::<u64>("c", agreeing()).unwrap();
    assert_eq!(*judge.get("k").await.unwrap().unwrap(), 2);
}
