//! Who reads, in every way that there is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sangam::cache::{CacheError, Found, Loaded};
use sangam_rig::random::Random;
use tokio::time::{sleep, timeout};

use crate::instance::{LASTING, Value};
use crate::oracle::{Asked, KEYS, Slot};
use crate::{World, millis};

/// Bytes that a value is made larger by, at most.
const PADDING: u64 = 1500;

pub(crate) async fn run(world: Arc<World>, at: usize, seed: u64) {
    let mut random = Random::new(seed);
    while !world.is_over() {
        let kind = random.below(3) as usize;
        let place = random.below(KEYS as u64) as usize;
        let slot = Slot { kind, place };
        match random.below(10) {
            0 => get(&world, at, slot).await,
            1 => get_many(&world, at, &some(&mut random, kind)).await,
            2 => get_or_set_many(&world, at, &some(&mut random, kind), &mut random).await,
            _ => get_or_set(&world, at, slot, &mut random).await,
        }
        let longest = if random.below(20) == 0 { 60 } else { 6 };
        sleep(millis(&mut random, 0, longest)).await;
    }
}

/// Some keys of a kind, each once.
pub(crate) fn some(random: &mut Random, kind: usize) -> Vec<Slot> {
    let all = (0..KEYS).map(|place| Slot { kind, place });
    all.filter(|_| random.below(3) == 0).collect()
}

/// A value as writers and loaders make it.
pub(crate) fn value(slot: Slot, version: u64, random: &mut Random) -> Loaded<Value> {
    let padding = "x".repeat(random.below(PADDING) as usize);
    let loaded = Loaded::value((slot.key(), version, padding)).tags(slot.tags());
    // Some live for less time than a load takes.
    match random.below(6) {
        0 => loaded.ttl(millis(random, 2, 40)),
        _ => loaded,
    }
}

async fn get(world: &World, at: usize, slot: Slot) {
    let live = world.instances[at].live();
    let asked = world.oracle.asked(slot, live.number);
    let answer = live.kinds[slot.kind].get(&slot.key()).await;
    note(world, at, "get", &asked, answer);
}

async fn get_many(world: &World, at: usize, slots: &[Slot]) {
    let Some(first) = slots.first() else { return };
    let live = world.instances[at].live();
    let keys: Vec<String> = slots.iter().map(|slot| slot.key()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let asked: Vec<Asked> = slots
        .iter()
        .map(|it| world.oracle.asked(*it, live.number))
        .collect();
    let Ok(answers) = live.kinds[first.kind].get_many(&keys).await else {
        return;
    };
    for (asked, answer) in asked.iter().zip(answers) {
        note(world, at, "get_many", asked, Ok(answer));
    }
}

async fn get_or_set(world: &Arc<World>, at: usize, slot: Slot, random: &mut Random) {
    let live = world.instances[at].live();
    let (origin, seed) = (world.clone(), random.below(u64::MAX));
    let asked = world.oracle.asked(slot, live.number);
    let key = slot.key();
    let reading = live.kinds[slot.kind].get_or_set(&key, move |_| async move {
        let mut random = Random::new(seed);
        let version = origin.oracle.origin(slot);
        work(&mut random, slot.kind).await?;
        Ok::<_, String>(value(slot, version, &mut random))
    });
    // Some do not wait for the answer.
    let patience = match random.below(20) {
        0 => millis(random, 1, 20),
        _ => Duration::from_mins(1),
    };
    if let Ok(answer) = timeout(patience, reading).await {
        note(world, at, "get_or_set", &asked, answer.map(Some));
    }
}

async fn get_or_set_many(world: &Arc<World>, at: usize, slots: &[Slot], random: &mut Random) {
    let Some(first) = slots.first() else { return };
    let live = world.instances[at].live();
    let kind = first.kind;
    let keys: Vec<String> = slots.iter().map(|slot| slot.key()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let by_key: HashMap<String, Slot> = slots.iter().map(|slot| (slot.key(), *slot)).collect();
    let (origin, seed) = (world.clone(), random.below(u64::MAX));
    let asked: Vec<Asked> = slots
        .iter()
        .map(|it| world.oracle.asked(*it, live.number))
        .collect();
    let reading = live.kinds[kind].get_or_set_many(&keys, move |missing| async move {
        let mut random = Random::new(seed);
        let versions = missing.into_iter().map(|key| {
            let slot = by_key[&key];
            (key, slot, origin.oracle.origin(slot))
        });
        let versions: Vec<(String, Slot, u64)> = versions.collect();
        work(&mut random, kind).await?;
        let values = versions.into_iter();
        let values = values.map(|(key, slot, version)| (key, value(slot, version, &mut random)));
        Ok::<Vec<_>, String>(values.collect())
    });
    if let Ok(answers) = reading.await {
        for (asked, answer) in asked.iter().zip(answers) {
            note(world, at, "get_or_set_many", asked, Ok(answer));
        }
    }
}

/// What a loader does after it asked the origin.
async fn work(random: &mut Random, kind: usize) -> Result<(), String> {
    if random.below(4) > 0 {
        sleep(millis(random, 0, 30)).await;
    }
    let fails = kind == LASTING && random.below(8) == 0;
    if fails {
        Err("no origin".to_owned())
    } else {
        Ok(())
    }
}

fn note(
    world: &World,
    at: usize,
    how: &str,
    asked: &Asked,
    answer: Result<Option<Found<Value>>, CacheError>,
) {
    if let Ok(Some(found)) = answer {
        world
            .oracle
            .answered(asked, &format!("{how} at {at}"), &found);
    }
}
