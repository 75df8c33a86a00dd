//! What a restart changes, and what it does not.

use sangam_engine::journal::Fsync;
use sangam_engine::journal::storage::FaultyStorage;
use sangam_engine::keyspace::Class;
use sangam_engine::{Engine, Options};

use super::{Life, Manner, START_US, dump};

const START_MS: u64 = START_US / 1000;

fn restart(life: Life, at_ms: u64) -> Life {
    Manner::default()
        .at(at_ms * 1000)
        .open(&life.close().crash_hard())
}

#[test]
fn deadlines_are_times_on_the_wall() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET k v EX 100");
    life.commit("HSET h f v");
    life.commit("PEXPIRE h 5000");
    for saved in [false, true] {
        if saved {
            life.engine.save().unwrap();
        }
        life = restart(life, START_MS + 4000);
        assert_eq!(life.say("PTTL k"), "96000");
        assert_eq!(life.say("PTTL h"), "1000");
        assert_eq!(life.opened.snapshot.is_some(), saved);
    }
    life = restart(life, START_MS + 5000);
    assert_eq!(life.say("KEYS *"), "k");
    assert_eq!(life.say("DBSIZE"), "1", "removed at the start");
}

#[test]
fn a_clock_that_jumps_changes_no_decision() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET lock mine PX 10000");
    life.commit("SET kept v PX 100000");
    // Forward: the lock is free, and that is logged.
    life = restart(life, START_MS + 20_000);
    assert_eq!(life.say("EXISTS lock"), "0");
    assert_eq!(life.say("SET lock yours NX"), "OK");
    life.commit("SET mark 1");
    // Back to where the first holder's time had not passed.
    life = restart(life, START_MS + 1000);
    assert_eq!(life.say("GET lock"), "yours");
    assert_eq!(life.say("SET lock mine NX"), "nil");
    assert_eq!(life.say("PTTL kept"), "99000");
    life.commit("SET other v PX 500 NX");
    let before = dump(&life.engine, &life.engine.keyspace("default"));
    // Back before all of it.
    life = restart(life, START_MS - 1_000_000);
    assert_eq!(dump(&life.engine, &life.engine.keyspace("default")), before);
    assert_eq!(life.say("SET other w NX"), "nil");
    life.commit("SET mark 2");
    life = restart(life, START_MS + 1600);
    assert_eq!(life.say("EXISTS other"), "0");
}

#[test]
fn a_clock_that_jumps_back_in_one_life_replays_alike() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SET a v PX 1000");
    life.commit("SET b v PX 1000");
    life.commit("SADD t x");
    life.commit("PEXPIRE t 1000");
    life.clock.advance_millis(2000);
    // Three ways to find that it is over: a write, a read, and a look at many.
    assert_eq!(life.say("SETNX a w"), "1");
    assert_eq!(life.say("GET b"), "nil");
    assert_eq!(life.say("SUNIONSTORE u t a2"), "0");
    life.commit("SET c v");
    life = restart(life, START_MS + 10);
    assert_eq!(life.say("GET a"), "w");
    assert_eq!(life.say("EXISTS b t u c"), "1");
}

#[test]
fn scripts_are_to_be_loaded_again() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let sha = life.say("SCRIPT LOAD return\t1");
    assert_eq!(life.say(&format!("EVALSHA {sha} 0")), "1");
    life.commit("EVAL redis.call('SET',KEYS[1],'v') 1 k");
    life = restart(life, START_MS);
    let missing = life.say(&format!("EVALSHA {sha} 0"));
    assert!(missing.starts_with("NOSCRIPT"), "{missing}");
    assert_eq!(life.say("GET k"), "v", "its effects are there");
}

#[test]
fn counts_begin_anew_and_data_does_not() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    for key in 0..30 {
        life.commit(&format!("SET k{key} {key}"));
        life.say(&format!("GET k{key}"));
    }
    life.say("GET none");
    life.say("INCR k1 too many");
    life.commit("FLUSHALL");
    life.commit("MSET a 1 b 2 c 3");
    let cases = [
        "total_commands_processed:0",
        "keyspace_hits:0",
        "keyspace_misses:0",
        "total_error_replies:0",
    ];
    life = restart(life, START_MS);
    // The first INFO counts itself.
    let info = life.say("INFO stats");
    for case in cases {
        let (name, _) = case.split_once(':').unwrap();
        let line = info.lines().find(|line| line.starts_with(name));
        let count: u64 = line
            .and_then(|line| line.split_once(':'))
            .and_then(|(_, count)| count.trim().parse().ok())
            .unwrap_or_default();
        assert!(count <= 1, "{name} is {count}");
    }
    assert!(!life.say("INFO commandstats").contains("cmdstat_mset"));
    assert_eq!(life.say("DBSIZE"), "3");
}

#[test]
fn keyspaces_keep_their_numbers_and_data() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    for round in 0..3 {
        for name in ["a", "b", "c\u{e9} \u{1f600}"] {
            let keyspace = life.enter(name, Class::default());
            let (_, seq) = life.call("RPUSHX none v");
            assert_eq!(seq, keyspace.last_seq());
            life.commit("INCR n");
            assert_eq!(life.say("GET n"), (round + 1).to_string(), "{name}");
        }
        life.enter("default", Class::default());
        assert_eq!(life.say("DBSIZE"), "0");
        life = restart(life, START_MS);
        let names: Vec<_> = life
            .engine
            .keyspaces()
            .iter()
            .map(|keyspace| keyspace.name.clone())
            .collect();
        assert_eq!(names, ["default", "a", "b", "c\u{e9} \u{1f600}"]);
    }
}

#[test]
fn a_lower_limit_refuses_no_old_unit() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.commit("SETRANGE long 3000000 x");
    life.commit("SETBIT bits 20000000 1");
    life.commit("APPEND long y");
    let storage = life.storage.crash_hard();
    let mut options = Options::default();
    options.settings.proto_max_bulk_len = 1 << 20;
    let (engine, _) = Engine::open(
        options,
        std::sync::Arc::new(storage),
        sangam_engine::journal::JournalOptions::default(),
        &mut |_, _| {},
    )
    .unwrap();
    assert_eq!(engine.settings().proto_max_bulk_len, 1 << 20);
    let mut session = engine.session();
    let mut say = |argv: &[&[u8]]| super::show(&engine.call(&mut session, argv).0);
    assert_eq!(say(&[b"STRLEN", b"long"]), "3000002");
    assert!(say(&[b"APPEND", b"long", b"z"]).contains("exceeds maximum allowed size"));
}

#[test]
fn a_restart_without_change_writes_nothing() {
    let mut life = Manner::of(Fsync::EverySecond).open(&FaultyStorage::new());
    life.commit("WAITAOF 0 0 0");
    life.call("SET k v");
    life = restart(life, START_MS);
    let last = life.opened.last;
    for _ in 0..5 {
        life = restart(life, START_MS);
        assert_eq!(life.opened.last, last);
        assert_eq!(life.engine.journal().unwrap().last(), last);
    }
}

#[test]
fn a_reply_after_a_restart_depends_on_what_was_loaded() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let written = life.commit("SET k v");
    life.engine.save().unwrap();
    life = restart(life, START_MS);
    assert_eq!(life.opened.frames, 0, "all of it is in the snapshot");
    let (_, seq) = life.call("GET k");
    assert!(seq >= written && seq <= life.opened.last, "{seq:?}");
}
