//! The model: what instances of an app read through their caches, held against what was
//! written, while networks fail, instances end and memory is short.
//!
//! Every key has a version in a table, the origin. A writer makes it newer and then tells
//! the cache, at any instance; a loader reads it. So for each answer it is known how old
//! it may be: never older than what this instance had written when the call began, and
//! never older than what any other had written the heartbeat before that; if it says that
//! the store could not be asked, by what a degraded value may live too.
//!
//! Writers of one key take turns, for of two that do not, either may be the last. And who
//! wrote a value without learning what became of it lets some time pass before the next
//! one writes: what is still on its way would come later than that.
//!
//! `SANGAM_CACHE_MODEL_SECONDS` and `SANGAM_CACHE_MODEL_SEED` say how long, and with which
//! chance.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod faults;
mod instance;
mod oracle;
mod readers;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use sangam_rig::random::Random;
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use instance::{Instance, Live};
use oracle::Oracle;

/// Instances; every other one only polls.
const INSTANCES: usize = 5;
/// Readers and writers at each.
const READERS: usize = 3;
const WRITERS: usize = 1;
const SECONDS: u64 = 20;

/// A world of instances, and what is known of it.
pub(crate) struct World {
    pub(crate) redis: Redis,
    pub(crate) instances: Vec<Instance>,
    /// Looks at the store, past all faults and with nothing in memory.
    pub(crate) judge: Live,
    pub(crate) oracle: Oracle,
    pub(crate) end: Instant,
}

impl World {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.oracle.has_failed()
    }
}

/// A moment between two in ms.
pub(crate) fn millis(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_micros(1000 * least + random.below(1000 * (most - least)))
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_it_may_be() {
    let seconds = variable("SANGAM_CACHE_MODEL_SECONDS").unwrap_or(SECONDS);
    let chance = ahash::RandomState::new().hash_one(0);
    let seed = variable("SANGAM_CACHE_MODEL_SEED").unwrap_or(chance);
    println!("SANGAM_CACHE_MODEL_SEED={seed}, {seconds} s");

    let redis = Redis::start().await;
    let mut instances = Vec::new();
    for number in 0..INSTANCES {
        instances.push(Instance::start(&redis, number).await);
    }
    let world = Arc::new(World {
        judge: Live::judge(&redis.url()).await,
        redis,
        instances,
        oracle: Oracle::new(),
        end: Instant::now() + Duration::from_secs(seconds),
    });
    let mut tasks = JoinSet::new();
    for at in 0..INSTANCES {
        for place in 0..READERS {
            let seed = seed ^ ((at * 97 + place) as u64) << 20;
            tasks.spawn(readers::run(world.clone(), at, seed));
        }
        for place in 0..WRITERS {
            let seed = !seed ^ ((at * 97 + place) as u64) << 20;
            tasks.spawn(writers::run(world.clone(), at, seed));
        }
        tasks.spawn(writers::note_what_was_sent(world.clone(), at));
    }
    tasks.spawn(faults::run(world.clone(), seed));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    settle(&world).await;
    let stats: Vec<_> = world
        .instances
        .iter()
        .map(|it| it.live().caches.report())
        .collect();
    for report in &stats {
        println!("{:?}", report.total());
    }
    world.oracle.verdict();
}

/// When it is quiet and all is sent, all instances have what the store has.
async fn settle(world: &World) {
    for instance in &world.instances {
        until("what waits to be sent", || async {
            let live = instance.live();
            live.caches
                .store()
                .ping()
                .await
                .map_err(|it| it.to_string())?;
            match live.caches.report().unsent {
                0 => Ok(()),
                some => Err(format!("{some} wait")),
            }
        })
        .await;
    }
    sleep(oracle::BOUND).await;
    for slot in oracle::slots() {
        for (at, instance) in world.instances.iter().enumerate() {
            let live = instance.live();
            let cache = &live.kinds[slot.kind];
            let Ok(Some(here)) = cache.get(&slot.key()).await else {
                continue;
            };
            let judged = world.judge.kinds[slot.kind].get(&slot.key()).await.unwrap();
            if let Some(judged) = judged
                && judged.1 != here.1
                && !here.degraded
            {
                world.oracle.fail(
                    slot,
                    &format!("at the end, {at} has {here:?}, the store {judged:?}"),
                );
            }
        }
    }
}
