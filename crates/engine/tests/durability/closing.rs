//! The end in good order, and what comes after it.

use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::journal::{Fsync, Lost};

use super::{Manner, in_time};

#[test]
fn what_was_written_before_the_end_is_kept() {
    for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let mut life = Manner::of(fsync).open(&FaultyStorage::new());
        for number in 0..200 {
            life.call(&format!("SET k{number} v"));
        }
        life.engine.close();
        let mut life = Manner::of(fsync).open(&life.storage.crash_hard());
        assert_eq!(life.say("DBSIZE"), "200");
    }
}

#[test]
fn an_engine_that_is_dropped_keeps_what_it_had() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    life.call("SET k v");
    let storage = life.storage.clone();
    drop(life);
    let mut life = Manner::default().open(&storage.crash_hard());
    assert_eq!(life.say("GET k"), "v");
}

#[test]
fn after_the_end_writes_are_refused_and_nobody_waits_for_ever() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let mut life = Manner::of(fsync).open(&FaultyStorage::new());
        life.commit("SET k v");
        let kept = life.engine.journal().unwrap().last();
        life.engine.close();
        assert_eq!(life.say("GET k"), "v");
        let refusal = life.say("SET k w");
        assert!(refusal.starts_with("MISCONF "), "{refusal}");
        let engine = life.engine.clone();
        in_time("everything after the end", move || {
            engine.durable_blocking(kept).unwrap();
            let next = sangam_engine::Seq(kept.0 + 1);
            assert_eq!(engine.durable_blocking(next), Err(Lost));
            engine.save().unwrap_err();
            engine.tick();
            engine.close();
        });
        let files = life.storage.list().unwrap();
        assert!(
            !files.iter().any(|name| name.contains("spare")),
            "{files:?}"
        );
        let mut life = Manner::of(fsync).open(&life.storage.crash_hard());
        assert_eq!(life.say("GET k"), "v");
    }
}
