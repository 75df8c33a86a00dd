//! Libraries of functions over restarts, from the log and from snapshots.

use sangam_engine::journal::storage::FaultyStorage;
use sangam_engine::keyspace::{Class, Durability};
use sangam_engine::{Engine, Reply};

use super::{Life, Manner};

fn text(name: &str, number: u64) -> String {
    format!(
        "#!lua name={name}\nlocal n = 0\nredis.register_function('{name}', function() \
         return {number} end)"
    )
}

fn ask(life: &mut Life, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    let (reply, seq) = life.engine.call(&mut life.session, &argv);
    life.engine.durable_blocking(seq).unwrap();
    reply
}

fn load(life: &mut Life, name: &str, number: u64) {
    let text = text(name, number);
    let reply = ask(life, &["FUNCTION", "LOAD", "REPLACE", &text]);
    assert_eq!(reply, Reply::bulk(name));
}

fn number(life: &mut Life, name: &str) -> Option<i64> {
    match ask(life, &["FCALL", name, "0"]) {
        Reply::Int(number) => Some(number),
        _ => None,
    }
}

#[test]
fn libraries_come_back_with_their_units() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    load(&mut life, "a", 1);
    load(&mut life, "b", 1);
    load(&mut life, "a", 2);
    life.commit("FUNCTION DELETE b");
    life.commit("MULTI");
    load_queued(&mut life, "c", 3);
    life.commit("FLUSHALL");
    life.commit("EXEC");
    let before = ask(&mut life, &["FUNCTION", "LIST", "WITHCODE"]);
    for saved in [false, true, true] {
        if saved {
            life.engine.save().unwrap();
        }
        // A crash keeps what was acknowledged, and closing does.
        let storage = if saved { life.close() } else { life.crash(5) };
        life = Manner::default().open(&storage);
        assert_eq!(life.opened.snapshot.is_some(), saved);
        let after = ask(&mut life, &["FUNCTION", "LIST", "WITHCODE"]);
        assert_eq!(after, before);
        assert_eq!(number(&mut life, "a"), Some(2));
        assert_eq!(number(&mut life, "b"), None);
        assert_eq!(number(&mut life, "c"), Some(3));
    }
    // What comes after the snapshot counts.
    life.commit("FUNCTION DELETE a");
    load(&mut life, "c", 4);
    life = Manner::default().open(&life.close());
    assert_eq!(number(&mut life, "a"), None);
    assert_eq!(number(&mut life, "c"), Some(4));
    life.commit("FUNCTION FLUSH");
    life.engine.save().unwrap();
    life = Manner::default().open(&life.close());
    assert_eq!(life.say("FUNCTION LIST"), "");
}

fn load_queued(life: &mut Life, name: &str, number: u64) {
    let text = text(name, number);
    let reply = ask(life, &["FUNCTION", "LOAD", &text]);
    assert_eq!(reply, Reply::status("QUEUED"));
}

#[test]
fn what_was_loaded_once_loads_under_tighter_limits() {
    let mut life = Manner::default().open(&FaultyStorage::new());
    let heavy = "#!lua name=heavy\nlocal text = ('x'):rep(20000000)\n\
                 redis.register_function('heavy', function() return #text end)";
    ask(&mut life, &["FUNCTION", "LOAD", heavy]);
    assert_eq!(number(&mut life, "heavy"), Some(20_000_000));
    let set = |engine: &Engine| {
        let small = |settings: &mut sangam_engine::config::Settings| {
            settings.set("script-max-memory", "1mb")
        };
        engine.update_settings(small).unwrap();
    };
    set(&life.engine);
    for _ in 0..2 {
        life.engine.save().unwrap();
        life = Manner::default().open(&life.close());
        assert_eq!(number(&mut life, "heavy"), Some(20_000_000));
    }
}

#[test]
fn a_keyspace_of_latest_values_keeps_its_libraries() {
    let latest = Class {
        durability: Durability::Latest,
        evictable: false,
    };
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.enter("latest", latest);
    load(&mut life, "a", 1);
    load(&mut life, "b", 1);
    life.engine.tick();
    life.call("FUNCTION DELETE b");
    load(&mut life, "a", 2);
    life.call("FLUSHALL");
    for saved in [false, true] {
        if saved {
            life.engine.save().unwrap();
        }
        life = Manner::default().open(&life.close());
        life.enter("latest", latest);
        assert_eq!(number(&mut life, "a"), Some(2));
        assert_eq!(number(&mut life, "b"), None);
    }
}

#[test]
fn a_keyspace_that_is_not_journaled_keeps_none() {
    let none = Class {
        durability: Durability::None,
        evictable: true,
    };
    let mut life = Manner::default().open(&FaultyStorage::new());
    life.enter("cache", none);
    load(&mut life, "a", 1);
    life.engine.save().unwrap();
    life = Manner::default().open(&life.close());
    life.enter("cache", none);
    assert_eq!(number(&mut life, "a"), None);
}
