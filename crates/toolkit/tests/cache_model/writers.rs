//! Who writes, in every way that there is.

use std::sync::Arc;
use std::time::Duration;

use sangam::cache::{CacheError, Reach};
use sangam_rig::random::Random;
use tokio::time::{Instant, sleep, timeout};

use crate::instance::{CLOSED, KINDS, Live, STORE_TIMEOUT};
use crate::oracle::{GROUP, KEYS, Slot};
use crate::readers::{some, value};
use crate::{World, millis};

/// After which time nothing is on its way any more.
const SETTLED: Duration = STORE_TIMEOUT.saturating_add(Duration::from_millis(150));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Set,
    SetMany,
    Delete,
    DeleteMany,
    Tag,
    Group,
    Clear,
}

pub(crate) async fn run(world: Arc<World>, at: usize, seed: u64) {
    let mut random = Random::new(seed);
    while !world.is_over() {
        write(&world, at, &mut random).await;
        let longest = if random.below(10) == 0 { 400 } else { 40 };
        sleep(millis(&mut random, 0, longest)).await;
    }
}

async fn write(world: &World, at: usize, random: &mut Random) {
    let kind = random.below(KINDS as u64) as usize;
    let place = random.below(KEYS as u64) as usize;
    let group = place / GROUP;
    let how = match random.below(32) {
        0..10 => How::Set,
        10..14 => How::SetMany,
        14..20 => How::Delete,
        20..23 => How::DeleteMany,
        23..28 => How::Tag,
        28..31 => How::Group,
        _ => How::Clear,
    };
    let slots = match how {
        How::Set | How::Delete | How::Tag => vec![Slot { kind, place }],
        How::SetMany | How::DeleteMany | How::Clear => some(random, kind),
        How::Group => {
            let all = some(random, kind).into_iter();
            all.filter(|slot| slot.place / GROUP == group).collect()
        }
    };
    let mut turns = Vec::new();
    for slot in &slots {
        turns.push(world.oracle.turn(*slot).await);
    }
    let name = format!("{how:?} at {at}");
    let versions: Vec<(Slot, u64)> = slots
        .iter()
        .map(|slot| (*slot, world.oracle.change(*slot, &name)))
        .collect();
    sleep(millis(random, 0, 4)).await;
    let live = world.instances[at].live();
    // Some do not wait for the outcome.
    let patience = match random.below(12) {
        0 => millis(random, 0, 6),
        _ => Duration::from_mins(1),
    };
    let outcome = timeout(patience, call(&live, how, group, &versions, random)).await;
    let is_set = matches!(how, How::Set | How::SetMany);
    match outcome {
        Ok(Ok(reach)) => {
            for (slot, version) in &versions {
                world.oracle.told(*slot, live.number, *version, reach);
            }
            if is_set && reach == Reach::Here {
                sleep(SETTLED).await;
            }
        }
        Ok(Err(error)) => {
            let told = matches!(error, CacheError::Store(_)) && kind == CLOSED;
            assert!(told, "{name}: {error}");
            for (slot, _) in &versions {
                world.oracle.note(*slot, format!("failed: {error}"));
            }
            if is_set {
                settle(world, &versions).await;
            }
        }
        Err(_) => {
            for (slot, _) in &versions {
                world.oracle.note(*slot, "given up".to_owned());
            }
            if is_set {
                settle(world, &versions).await;
            }
        }
    }
}

/// Of writes whose outcome nobody was told, the store tells whether they were done.
async fn settle(world: &World, versions: &[(Slot, u64)]) {
    sleep(SETTLED).await;
    for (slot, version) in versions {
        let judged = world.judge.kinds[slot.kind].get(&slot.key()).await;
        if judged.is_ok_and(|it| it.is_some_and(|it| it.1 == *version)) {
            world.oracle.is_stored(*slot, *version);
        }
    }
}

async fn call(
    live: &Live,
    how: How,
    group: usize,
    versions: &[(Slot, u64)],
    random: &mut Random,
) -> Result<Reach, CacheError> {
    let Some((first, version)) = versions.first().copied() else {
        return Ok(Reach::Everywhere);
    };
    let cache = &live.kinds[first.kind];
    let keys: Vec<String> = versions.iter().map(|(slot, _)| slot.key()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match how {
        How::Set => cache.set(&first.key(), value(first, version, random)).await,
        How::SetMany => {
            let values = versions.iter();
            let values = values.map(|(slot, version)| (slot.key(), value(*slot, *version, random)));
            let values: Vec<_> = values.collect();
            cache.set_many(values).await
        }
        How::Delete => cache.delete(&first.key()).await,
        How::DeleteMany => cache.delete_many(&keys).await,
        How::Tag => cache.invalidate_tag(&first.tags()[1]).await,
        How::Group => cache.invalidate_tag(&format!("group{group}")).await,
        How::Clear => cache.clear().await,
    }
}

/// Notes when an instance has nothing left to send.
pub(crate) async fn note_what_was_sent(world: Arc<World>, at: usize) {
    while !world.is_over() {
        let live = world.instances[at].live();
        let now = Instant::now();
        if live.caches.report().unsent == 0 {
            world.oracle.sent(live.number, now);
        }
        sleep(Duration::from_millis(5)).await;
    }
}
