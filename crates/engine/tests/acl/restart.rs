//! Users outlive the process, and only as hashes.

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::keyspace::{Class, Durability};
use sangam_engine::session::{Role, Session};
use sangam_engine::{Engine, Options, Reply};

use super::{ask, run, say};

fn open(storage: &FaultyStorage) -> Engine {
    let options = Options {
        clock: Arc::new(ManualClock::new(1_700_000_000_000_000)),
        seed: 3,
        ..Options::default()
    };
    let journal = JournalOptions {
        fsync: Fsync::Always,
        segment_size: 1 << 16,
    };
    let (engine, _) =
        Engine::open(options, Arc::new(storage.clone()), journal, &mut |_, _| ()).unwrap();
    engine
}

fn owner(engine: &Engine, keyspace: &str, class: Class) -> Session {
    let mut session = engine.session();
    session.set_principal(Some(engine.owner_of(&engine.keyspace_of(keyspace, class))));
    session
}

fn bytes(storage: &FaultyStorage) -> Vec<u8> {
    let mut all = Vec::new();
    for name in storage.list().unwrap() {
        let file = storage.open(&name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_full_at(0, &mut bytes).unwrap();
        all.extend(bytes);
    }
    all
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Everything that ACL knows.
fn state(engine: &Engine, session: &mut Session) -> String {
    let list = say(engine, session, "ACL LIST");
    let Reply::Array(names) = run(engine, session, &["ACL", "USERS"]) else {
        panic!("no names");
    };
    let users = names.iter().map(|name| {
        let Reply::Bulk(name) = name else {
            panic!("no name")
        };
        let argv: [&[u8]; 3] = [b"ACL", b"GETUSER", name];
        super::text(&engine.call(session, &argv).0)
    });
    let users: Vec<String> = users.collect();
    format!("{list}\n{}", users.join("\n"))
}

/// Users of every kind, some of whose rules have to be quoted.
fn make_users(engine: &Engine, admin: &mut Session) {
    for line in [
        "ACL SETUSER alice on >clear-secret ~a:* %R~r %W~w &c +@all -@dangerous +config|get",
        "ACL SETUSER bob nopass reset on >clear-secret +select|0 (+get ~x &y) (+@read -get allkeys)",
        "ACL SETUSER carol skip-sanitize-payload allkeys allchannels +@all -get",
        "ACL SETUSER gone on",
        "ACL SETUSER default >clear-secret -flushall",
        "ACL DELUSER gone",
    ] {
        let reply = say(engine, admin, line);
        assert!(reply == "+OK" || reply == ":1", "{line}: {reply}");
    }
    for rules in [
        &[
            "(~\"a\\\"b\" &\"c'd\" +get|\"x y\")",
            "+echo|two words",
            "~\"(q'",
        ][..],
        &["+echo|\u{1f980}", "~\\[é]*", "&)"],
    ] {
        let argv = [&["ACL", "SETUSER", "odd", "on"][..], rules].concat();
        assert_eq!(ask(engine, admin, &argv), "+OK");
    }
    assert_eq!(
        run(engine, admin, &["ACL", "SETUSER", "odd", ""]),
        Reply::OK
    );
}

#[test]
fn users_survive_a_restart() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let mut admin = engine.session();
    make_users(&engine, &mut admin);
    let before = state(&engine, &mut admin);
    assert!(before.contains("user odd on"), "{before}");
    engine.close();
    assert!(
        !has(&bytes(&storage), "clear-secret"),
        "only hashes are kept"
    );

    // From the log, then from a snapshot and the log behind it.
    for snapshot in [false, true, true] {
        let engine = open(&storage);
        let mut admin = engine.session();
        assert_eq!(state(&engine, &mut admin), before, "snapshot: {snapshot}");
        assert!(!has(before.as_bytes(), "gone"));
        engine.grant("token", "default", Role::Full);
        let mut alice = engine.connect(String::new(), String::new());
        assert_eq!(say(&engine, &mut alice, "AUTH alice clear-secret"), "+OK");
        assert_eq!(say(&engine, &mut alice, "SET a:1 v"), "+OK");
        assert!(say(&engine, &mut alice, "SET r v").starts_with("-NOPERM"));
        assert_eq!(say(&engine, &mut admin, "ACL SETUSER late on"), "+OK");
        engine.save().unwrap();
        assert_eq!(say(&engine, &mut admin, "ACL DELUSER late"), ":1");
        engine.close();
    }
    assert!(!has(&bytes(&storage), "clear-secret"));
}

#[test]
fn what_is_undone_is_not_kept() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let mut admin = engine.session();
    make_users(&engine, &mut admin);
    let before = state(&engine, &mut admin);
    let mut alice = engine.connect(String::new(), String::new());
    say(&engine, &mut alice, "AUTH alice clear-secret");
    let keyspace = engine.keyspace("default");
    let unit: Vec<Vec<&[u8]>> = [
        "ACL SETUSER alice reset",
        "ACL DELUSER alice bob",
        "ACL SETUSER alice on nopass",
        "ACL SETUSER new on",
        "ACL SETUSER default reset",
    ]
    .iter()
    .map(|line| line.split(' ').map(str::as_bytes).collect())
    .collect();
    let mut done = 0;
    let mut batch = engine.try_batch(&keyspace).unwrap();
    let outcome = batch.transaction(&mut admin, &unit, &mut |reply| {
        assert!(!reply.is_error(), "{reply:?}");
        done += 1;
        done < unit.len()
    });
    drop(batch);
    assert!(outcome.is_err());
    assert_eq!(state(&engine, &mut admin), before);
    // Who was that user, is it again.
    assert_eq!(say(&engine, &mut alice, "SET a:1 v"), "+OK");
    engine.close();
    let engine = open(&storage);
    assert_eq!(state(&engine, &mut engine.session()), before);
}

#[test]
fn a_keyspace_without_history_keeps_its_users_too() {
    let storage = FaultyStorage::new();
    let class = |durability| Class {
        durability,
        evictable: true,
    };
    let (latest, none) = (class(Durability::Latest), class(Durability::None));
    let engine = open(&storage);
    let mut admin = owner(&engine, "latest", latest);
    make_users(&engine, &mut admin);
    engine.tick();
    say(&engine, &mut admin, "ACL SETUSER late on");
    say(&engine, &mut admin, "ACL DELUSER bob");
    say(&engine, &mut admin, "FLUSHALL");
    let before = state(&engine, &mut admin);
    say(
        &engine,
        &mut owner(&engine, "none", none),
        "ACL SETUSER u on",
    );
    engine.close();
    let engine = open(&storage);
    assert_eq!(
        state(&engine, &mut owner(&engine, "latest", latest)),
        before
    );
    engine.save().unwrap();
    engine.close();
    let engine = open(&storage);
    assert_eq!(
        state(&engine, &mut owner(&engine, "latest", latest)),
        before
    );
    let mut unkept = owner(&engine, "none", none);
    assert_eq!(say(&engine, &mut unkept, "ACL USERS"), "[default]");
}

#[test]
fn nothing_changes_that_cannot_be_kept() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let mut admin = engine.session();
    make_users(&engine, &mut admin);
    let before = state(&engine, &mut admin);
    engine.close();
    // A closed journal admits nothing.
    for line in [
        "ACL SETUSER alice off",
        "ACL SETUSER new on",
        "ACL DELUSER alice",
    ] {
        assert!(
            say(&engine, &mut admin, line).starts_with("-MISCONF"),
            "{line}"
        );
    }
    assert_eq!(state(&engine, &mut admin), before);
}
