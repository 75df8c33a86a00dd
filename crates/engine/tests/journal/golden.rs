//! Folders that earlier builds wrote, read by this one.
//!
//! `tests/golden/v1/` has a snapshot, a log behind it, a watermark, a backup of
//! all that, and the state as text. A change or extension of the format leaves the
//! folder as it is and adds the next (`v1-lists` knows lists); these are made, once
//! for each, by
//!
//! ```sh
//! cargo test -p sangam-engine --test journal -- --ignored make_golden
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::journal::backup::{backup, restore};
use sangam_engine::journal::check::Verdict;
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::keyspace::{Class, Durability, Keyspace};
use sangam_engine::{Engine, Options, Reply};

use crate::history::checked;

const VERSIONS: [&str; 2] = ["v1", "v1-lists"];
const STATE: &str = "state.txt";
const BACKUP: &str = "backup";
const START_US: u64 = 1_700_000_000_000_000;

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(version)
}

fn open(storage: &FaultyStorage) -> Engine {
    let options = Options {
        clock: Arc::new(ManualClock::new(START_US)),
        seed: 3,
        ..Options::default()
    };
    let journal = JournalOptions {
        fsync: Fsync::Always,
        segment_size: 2048,
    };
    Engine::open(options, Arc::new(storage.clone()), journal, &mut |_, _| ())
        .unwrap()
        .0
}

fn call(engine: &Engine, keyspace: &Arc<Keyspace>, argv: &[&[u8]]) -> Reply {
    let mut session = engine.session();
    session.set_principal(Some(engine.owner_of(keyspace)));
    engine.call(&mut session, argv).0
}

fn line(engine: &Engine, keyspace: &Arc<Keyspace>, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = call(engine, keyspace, &argv);
    assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    reply
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Status(text) => (*text).to_string(),
        Reply::Int(number) => number.to_string(),
        Reply::Double(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn pairs(pairs: &[(Reply, Reply)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", show(name), show(value)))
        .collect()
}

/// Every key with type, encoding, deadline and value, in an order of its own.
fn state(engine: &Engine) -> String {
    let mut text = String::new();
    for keyspace in engine.keyspaces() {
        let _ = writeln!(text, "# {} {}", keyspace.id, keyspace.name);
        let Reply::Array(keys) = line(engine, &keyspace, "KEYS *") else {
            panic!("KEYS answers an array")
        };
        let mut lines: Vec<String> = keys
            .iter()
            .map(|key| {
                let Reply::Bulk(key) = key else {
                    panic!("a key")
                };
                let kind = call(engine, &keyspace, &[b"TYPE", key]);
                let read: &[&[u8]] = match show(&kind).as_str() {
                    "string" => &[b"GET", key],
                    "zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
                    "set" => &[b"SMEMBERS", key],
                    "hash" => &[b"HGETALL", key],
                    "list" => &[b"LRANGE", key, b"0", b"-1"],
                    kind => panic!("{kind}"),
                };
                let encoding = call(engine, &keyspace, &[b"OBJECT", b"ENCODING", key]);
                let deadline = call(engine, &keyspace, &[b"PEXPIRETIME", key]);
                let value = call(engine, &keyspace, read).unpacked();
                let mut parts: Vec<String> = match &value {
                    Reply::Array(parts) | Reply::Set(parts) => parts.iter().map(show).collect(),
                    Reply::Map(parts) | Reply::Pairs(parts) => pairs(parts),
                    one => vec![show(one)],
                };
                if kind != Reply::status("list") {
                    parts.sort();
                }
                let about = [kind, encoding, deadline].map(|reply| show(&reply));
                let key = String::from_utf8_lossy(key);
                format!("{key} {} {}", about.join(" "), parts.join(" "))
            })
            .collect();
        lines.sort();
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn load(version: &str) -> FaultyStorage {
    let storage = FaultyStorage::new();
    for entry in fs::read_dir(folder(version)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != STATE && name != BACKUP {
            storage.put(&name, &fs::read(entry.path()).unwrap());
        }
    }
    storage
}

#[test]
fn folders_of_earlier_versions_load() {
    for version in VERSIONS {
        let storage = load(version);
        assert_eq!(checked(&storage, false).verdict, Verdict::Good);
        let expected = fs::read_to_string(folder(version).join(STATE)).unwrap();
        assert_eq!(state(&open(&storage)), expected, "{version}");
    }
}

#[test]
fn backups_of_earlier_versions_are_restored() {
    for version in VERSIONS {
        let bytes = fs::read(folder(version).join(BACKUP)).unwrap();
        let storage = FaultyStorage::new();
        restore(&mut &bytes[..], &storage, &mut |_| ()).unwrap();
        let expected = fs::read_to_string(folder(version).join(STATE)).unwrap();
        assert_eq!(state(&open(&storage)), expected, "{version}");
    }
}

#[test]
#[ignore = "makes the files of the newest version"]
fn make_golden() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    let latest = Class {
        durability: Durability::Latest,
        evictable: false,
    };
    let limits = engine.keyspace_of("limits", latest);
    let mut numbers = String::new();
    for n in 0..600 {
        let _ = write!(numbers, " {}", n * 7 % 1009);
    }
    for command in [
        "SET number -42".to_owned(),
        "SET short text".to_owned(),
        format!("SET long {}", "long ".repeat(30).replace(' ', "_")),
        "SET passing value PXAT 4000000000000".to_owned(),
        "SETRANGE raw 3 abc".to_owned(),
        "HSET small a 1 b 2".to_owned(),
        format!("HSET large field {}", "v".repeat(100)),
        "SADD integers 3 1 2".to_owned(),
        "SADD words one two".to_owned(),
        format!("SADD many{numbers}"),
        "ZADD scores 1 a 2.5 b -inf c +inf d".to_owned(),
        format!("ZADD board 1 {}", "m".repeat(100)),
        "RPUSH queue one 2 -300 4000000000 five".to_owned(),
        format!("RPUSH pages{numbers} {}", "p".repeat(10_000)),
    ] {
        line(&engine, &app, &command);
    }
    line(&engine, &limits, "INCR hits");
    engine.save().unwrap();
    for command in [
        "INCRBY number 2",
        "APPEND short +",
        "PEXPIREAT small 4000000000001",
        "HDEL large field",
        "HSET large f v",
        "SREM words one",
        "ZINCRBY scores 0.1 a",
        "DEL raw",
        "LPUSH queue zero",
        "LMOVE queue moved RIGHT LEFT",
        "LMPOP 2 none queue LEFT COUNT 2",
        "LINSERT queue AFTER -300 between",
        "SET ended x PXAT 1700000000001",
    ] {
        line(&engine, &app, command);
    }
    line(
        &engine,
        &app,
        "EVAL redis.call('SET','script','1')redis.call('INCR','script') 0",
    );
    line(&engine, &limits, "INCR hits");
    line(&engine, &limits, "SET gone 1");
    engine.tick();
    engine.close();

    let mut bytes = Vec::new();
    backup(&storage, START_US / 1000, &mut bytes, &mut |_, _| ()).unwrap();
    let target = folder(VERSIONS[VERSIONS.len() - 1]);
    fs::create_dir_all(&target).unwrap();
    for name in storage.list().unwrap() {
        if name != "spare.seg" {
            fs::write(target.join(&name), storage.contents(&name).unwrap()).unwrap();
        }
    }
    fs::write(target.join(BACKUP), bytes).unwrap();
    fs::write(target.join(STATE), state(&open(&storage.copy()))).unwrap();
}
