//! What the classes of keyspaces keep.

use sangam_engine::config::EvictionPolicy;
use sangam_engine::journal::Fsync;
use sangam_engine::journal::frame::FrameKind;
use sangam_engine::journal::scan::Frames;
use sangam_engine::journal::segment::{SegmentHeader, segment_of};
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::keyspace::{Class, Durability};

use super::{Life, Manner};

const LATEST: Class = Class {
    durability: Durability::Latest,
    evictable: true,
};
const NONE: Class = Class {
    durability: Durability::None,
    evictable: true,
};

/// Kinds of the frames of a keyspace in the log, in order.
fn frames(life: &Life, keyspace: u32) -> Vec<FrameKind> {
    let journal = life.engine.journal().unwrap();
    journal.request_sync();
    life.engine.durable_blocking(journal.last()).unwrap();
    let mut segments: Vec<_> = life.storage.list().unwrap();
    segments.sort();
    let mut kinds = Vec::new();
    for name in segments.iter().filter(|name| segment_of(name).is_some()) {
        let bytes = life.storage.contents(name).unwrap();
        let header = SegmentHeader::read(bytes.first_chunk().unwrap()).unwrap();
        for (_, frame) in Frames::new(&bytes, &header) {
            if frame.keyspace == keyspace {
                kinds.push(frame.kind);
            }
        }
    }
    kinds
}

#[test]
fn the_latest_values_are_written_once_a_tick() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    let keyspace = life.enter("limits", LATEST);
    for tick in 1..=3 {
        for _ in 0..1000 {
            life.call("INCR n");
            life.call("HINCRBY h f 2");
        }
        life.call(&format!("SET gone{tick} v"));
        life.call(&format!("DEL gone{tick} gone{}", tick - 1));
        life.engine.tick();
    }
    life.engine.tick();
    use FrameKind::{Keyspace, Values};
    assert_eq!(
        frames(&life, keyspace.id),
        [Keyspace, Values, Values, Values]
    );
    // What no tick has seen is what a crash costs.
    life.call("INCR n");
    let mut life = Manner::default().open(&life.crash(1));
    life.enter("limits", LATEST);
    assert_eq!(life.say("GET n"), "3000");
    assert_eq!(life.say("HGET h f"), "6000");
    assert_eq!(life.say("DBSIZE"), "2");
    // And what came by way of the log is committed as any change.
    life.call("INCR n");
    life.call("PEXPIRE h 50");
    life.engine.tick();
    life.clock.advance_millis(100);
    life.engine.tick();
    life.engine.tick();
    let mut life = Manner::default().open(&life.close());
    life.enter("limits", LATEST);
    assert_eq!(life.say("GET n"), "3001");
    assert_eq!(life.say("EXISTS h"), "0");
}

#[test]
fn closing_commits_the_latest_values() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.enter("limits", LATEST);
    life.call("SET n 7");
    let mut life = Manner::default().open(&life.close());
    life.enter("limits", LATEST);
    assert_eq!(life.say("GET n"), "7");
}

#[test]
fn flushing_latest_values_is_kept_with_what_follows() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    let keyspace = life.enter("limits", LATEST);
    for key in 0..50 {
        life.call(&format!("SET k{key} v"));
    }
    life.engine.tick();
    life.call("SET k1 late");
    life.call("FLUSHALL");
    life.call("SET k2 new");
    life.engine.tick();
    use FrameKind::{Effects, Keyspace, Values};
    assert_eq!(
        frames(&life, keyspace.id),
        [Keyspace, Values, Effects, Values]
    );
    let mut life = Manner::default().open(&life.crash(2));
    life.enter("limits", LATEST);
    assert_eq!(life.say("KEYS *"), "k2");
    assert_eq!(life.say("GET k2"), "new");
}

#[test]
fn a_flush_that_was_taken_back_costs_no_latest_value() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    let keyspace = life.enter("limits", LATEST);
    for key in 0..2000 {
        life.call(&format!("SET k{key} v"));
    }
    // More than a tick takes, so that some are still to be written.
    life.engine.tick();
    let mut rest = life.engine.rest_session();
    rest.set_principal(Some(life.engine.owner_of(&keyspace)));
    let script = "redis.call('FLUSHALL') redis.call('SET', 'x', 'y') redis.call('FLUSHALL') \
                  redis.call('SET', 'k1', 'z') return redis.call('INCR', 'k1')";
    let (reply, _) = life
        .engine
        .call(&mut rest, &[b"EVAL", script.as_bytes(), b"0"]);
    assert!(reply.is_error());
    assert_eq!(life.say("DBSIZE"), "2000");
    life.engine.tick();
    life.engine.tick();
    let mut life = Manner::default().open(&life.close());
    life.enter("limits", LATEST);
    assert_eq!(life.say("DBSIZE"), "2000");
    assert_eq!(life.say("GET k1"), "v");
}

#[test]
fn many_latest_values_take_several_ticks() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.enter("limits", LATEST);
    for key in 0..2500 {
        life.call(&format!("SET k{key} {key}"));
    }
    for _ in 0..3 {
        life.engine.tick();
    }
    let last = life.engine.journal().unwrap().last();
    life.engine.durable_blocking(last).unwrap();
    let mut life = Manner::default().open(&life.storage.crash_hard());
    life.enter("limits", LATEST);
    assert_eq!(life.say("DBSIZE"), "2500");
    assert_eq!(life.say("GET k2499"), "2499");
}

#[test]
fn a_snapshot_and_latest_values_agree() {
    for seed in 0..10 {
        let mut life = Manner::default().open(&FaultyStorage::new());
        life.enter("limits", LATEST);
        for round in 1..=20 {
            life.call(&format!("SET n {round}"));
            life.call(&format!("SET once{round} 1"));
            if round == seed {
                life.call("FLUSHALL");
            }
            if round % 3 == 0 {
                life.engine.tick();
            }
            if round % 4 == 0 {
                life.engine.save().unwrap();
            }
        }
        life.engine.tick();
        let mut life = Manner::default().open(&life.close());
        life.enter("limits", LATEST);
        assert_eq!(life.say("GET n"), if seed == 20 { "nil" } else { "20" });
        assert_eq!(life.say("DBSIZE"), (21 - seed).to_string());
    }
}

#[test]
fn nothing_of_a_cache_reaches_the_disk() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let keyspace = life.enter("cache", NONE);
    for _ in 0..100 {
        let (reply, seq) = life.call("INCR n");
        assert!(!reply.is_error());
        life.engine.durable_blocking(seq).unwrap();
    }
    life.call("EVAL return\tredis.call('SET','a','b') 0");
    life.engine.tick();
    assert_eq!(frames(&life, keyspace.id), [FrameKind::Keyspace]);
    life.engine.save().unwrap();
    let mut life = Manner::default().open(&life.close());
    let keyspace = life.enter("cache", Class::default());
    assert_eq!(keyspace.class, NONE, "the class stays");
    assert_eq!(life.say("DBSIZE"), "0");
}

fn limit_memory(life: &Life, bytes: usize) {
    life.engine
        .update_settings(|settings| {
            settings.maxmemory = bytes;
            settings.policy = EvictionPolicy::AllKeysLru;
            Ok::<_, ()>(())
        })
        .unwrap();
}

#[test]
fn what_was_evicted_stays_away() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    limit_memory(&life, 60_000);
    for key in 0..400 {
        life.call(&format!("SET k{key} {}", "v".repeat(500)));
    }
    let before = super::dump(&life.engine, &life.engine.keyspace("default"));
    assert!(before.len() < 200, "{}", before.len());
    life.commit("DEL k0");
    let life = Manner::default().open(&life.storage.crash_hard());
    let after = super::dump(&life.engine, &life.engine.keyspace("default"));
    assert_eq!(after, before);
}

#[test]
fn what_may_not_be_evicted_is_refused_at_the_limit() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let class = Class {
        durability: Durability::Every,
        evictable: false,
    };
    life.enter("locks", class);
    limit_memory(&life, 60_000);
    let mut taken = 0;
    let refusal = loop {
        let reply = life.say(&format!("SET k{taken} {}", "v".repeat(500)));
        if reply != "OK" {
            break reply;
        }
        taken += 1;
        assert!(taken < 1000, "nothing is refused");
    };
    assert_eq!(
        refusal,
        "OOM command not allowed when used memory > 'maxmemory'."
    );
    assert_eq!(life.say("DBSIZE"), taken.to_string());
    assert_eq!(life.say("STRLEN k0"), "500");
    life.commit("DEL k0");
    let mut life = Manner::default().open(&life.storage.crash_hard());
    life.enter("locks", Class::default());
    limit_memory(&life, 20_000);
    assert_eq!(life.say("DBSIZE"), (taken - 1).to_string());
    assert!(life.say("SET more 1").starts_with("OOM"));
}
