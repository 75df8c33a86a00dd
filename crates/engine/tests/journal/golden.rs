//! Folders that earlier builds wrote, read by this one.
//!
//! `tests/golden/v1/` has a snapshot, a log behind it, a watermark, a backup of
//! all that, and the state as text. A change or extension of the format leaves the
//! folder as it is and adds the next (`v1-lists` knows lists); what is added to the
//! format may have a folder of its own beside the versions. These are made, once each, by
//!
//! ```sh
//! cargo test -p sangam-engine --test journal -- --ignored make_golden
//! cargo test -p sangam-engine --test journal -- --ignored make_hash_ttl
//! cargo test -p sangam-engine --test journal -- --ignored make_functions
//! cargo test -p sangam-engine --test journal -- --ignored make_users
//! cargo test -p sangam-engine --test journal -- --ignored make_requests
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
use sangam_engine::keyspace::requests::{Request, RequestId};
use sangam_engine::keyspace::{Class, Durability, Keyspace};
use sangam_engine::{Engine, Options, Reply};

use crate::history::checked;

const VERSIONS: [&str; 2] = ["v1", "v1-lists"];
/// Hashes of which fields have deadlines.
const HASH_TTL: &str = "hash-ttl";
/// Libraries of functions.
const FUNCTIONS: &str = "functions";
/// Users and their rules.
const USERS: &str = "users";
/// Requests that are remembered.
const REQUESTS: &str = "requests";
/// Streams and their groups.
const STREAMS: &str = "streams";
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

/// What FUNCTION LIST answers.
fn on_one_line(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) | Reply::Set(items) => {
            let items: Vec<String> = items.iter().map(on_one_line).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Map(pairs) => {
            let pair = |(name, value): &(Reply, Reply)| {
                format!("{}={}", on_one_line(name), on_one_line(value))
            };
            let pairs: Vec<String> = pairs.iter().map(pair).collect();
            pairs.join(" ")
        }
        one => show(one).escape_debug().to_string(),
    }
}

fn pairs(pairs: &[(Reply, Reply)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", show(name), show(value)))
        .collect()
}

fn folders() -> impl Iterator<Item = &'static str> {
    VERSIONS
        .into_iter()
        .chain([HASH_TTL, FUNCTIONS, STREAMS, USERS, REQUESTS])
}

/// The fields of a hash with their values, and their deadlines if they have any.
fn fields(engine: &Engine, keyspace: &Arc<Keyspace>, key: &[u8]) -> Vec<String> {
    let Reply::Map(fields) = call(engine, keyspace, &[b"HGETALL", key]) else {
        panic!("HGETALL answers a map")
    };
    let shown = |(field, value): &(Reply, Reply)| {
        let Reply::Bulk(name) = field else {
            panic!("a field")
        };
        let argv: [&[u8]; 5] = [b"HPEXPIRETIME", key, b"FIELDS", b"1", name];
        let Reply::Array(deadline) = call(engine, keyspace, &argv) else {
            panic!("HPEXPIRETIME answers an array")
        };
        let shown = format!("{}={}", show(field), show(value));
        match deadline[..] {
            [Reply::Int(deadline @ 0..)] => format!("{shown}@{deadline}"),
            _ => shown,
        }
    };
    fields.iter().map(shown).collect()
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
                    "stream" => &[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"],
                    kind => panic!("{kind}"),
                };
                let encoding = call(engine, &keyspace, &[b"OBJECT", b"ENCODING", key]);
                let deadline = call(engine, &keyspace, &[b"PEXPIRETIME", key]);
                let value = call(engine, &keyspace, read).unpacked();
                let mut parts: Vec<String> = match &value {
                    Reply::Map(_) if kind == Reply::status("stream") => vec![on_one_line(&value)],
                    Reply::Map(_) => fields(engine, &keyspace, key),
                    Reply::Array(parts) | Reply::Set(parts) => parts.iter().map(show).collect(),
                    Reply::Pairs(parts) => pairs(parts),
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
        let libraries = call(engine, &keyspace, &[b"FUNCTION", b"LIST", b"WITHCODE"]);
        if libraries != Reply::Array(Vec::new()) {
            lines.push(format!("libraries {}", on_one_line(&libraries)));
        }
        let users = call(engine, &keyspace, &[b"ACL", b"LIST"]);
        if users != Reply::Array(vec![Reply::bulk("user default on nopass ~* &* +@all")]) {
            lines.push(format!("users {}", on_one_line(&users)));
        }
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
    for version in folders() {
        let storage = load(version);
        assert_eq!(checked(&storage, false).verdict, Verdict::Good);
        let expected = fs::read_to_string(folder(version).join(STATE)).unwrap();
        assert_eq!(state(&open(&storage)), expected, "{version}");
    }
}

#[test]
fn backups_of_earlier_versions_are_restored() {
    for version in folders() {
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
    write_folder(VERSIONS[VERSIONS.len() - 1], &storage);
}

#[test]
#[ignore = "makes the files of hashes with deadlines"]
fn make_hash_ttl() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    for command in [
        "HSET small a 1 b 2 c 3".to_owned(),
        "HPEXPIREAT small 4000000000001 FIELDS 2 a b".to_owned(),
        "PEXPIREAT small 4000000000002".to_owned(),
        format!("HSET large field {} other o", "v".repeat(100)),
        "HPEXPIREAT large 70368744177663 FIELDS 1 field".to_owned(),
        "HSETEX all PXAT 4000000000003 FIELDS 2 a 1 b 2".to_owned(),
        "HSETEX kept PXAT 4000000000004 FIELDS 3 a 1 b 2 c 3".to_owned(),
        "HSET plain a 1".to_owned(),
    ] {
        line(&engine, &app, &command);
    }
    engine.save().unwrap();
    for command in [
        "HPERSIST small FIELDS 1 b",
        "HPEXPIREAT large 4000000000005 FIELDS 1 other",
        "HGETEX kept PERSIST FIELDS 1 a",
        "HSETEX kept KEEPTTL FIELDS 1 b new",
        "HGETDEL all FIELDS 1 a",
        "HSETEX late EX 1000 FIELDS 1 f v",
        "HPEXPIRE plain 0 FIELDS 1 a",
    ] {
        line(&engine, &app, command);
    }
    engine.close();
    write_folder(HASH_TTL, &storage);
}

#[test]
#[ignore = "makes the files of users"]
fn make_users() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    let latest = Class {
        durability: Durability::Latest,
        evictable: false,
    };
    let limits = engine.keyspace_of("limits", latest);
    for command in [
        "ACL SETUSER app on >secret ~app:* %R~shared:* &app:* +@all -@dangerous",
        "ACL SETUSER many on nopass +get (+set ~w &c) (~\"a\\\"b\" +get|x)",
        "ACL SETUSER gone on",
        "ACL SETUSER first +select|0",
    ] {
        line(&engine, &app, command);
    }
    line(&engine, &limits, "ACL SETUSER limiter on >secret ~* +eval");
    engine.save().unwrap();
    for command in [
        "ACL SETUSER app off >other -get",
        "ACL DELUSER gone",
        "ACL SETUSER default >secret -flushall",
        "ACL SETUSER late reset skip-sanitize-payload",
        "SET key value",
    ] {
        line(&engine, &app, command);
    }
    line(&engine, &limits, "ACL SETUSER limiter +evalsha");
    line(&engine, &limits, "ACL SETUSER second on");
    engine.tick();
    engine.close();
    write_folder(USERS, &storage);
}

/// What is asked under ids, and answered: before the snapshot, and behind it.
const ASKED: [[(&str, &str); 5]; 2] = [
    [
        ("INCR n", "Int(1)"),
        ("RPUSH list a b", "Int(2)"),
        ("GETSET n 5", "Bulk([49])"),
        ("SET n 6 NX", "Null"),
        ("LPUSH n x", "Error"),
    ],
    [
        ("LPOP list 2", "Array([Bulk([97]), Bulk([98])])"),
        (
            "EVAL redis.call('INCR',KEYS[1])return{1,{'two'}} 1 n",
            "Array([Int(1), Array([Bulk([116, 119, 111])])])",
        ),
        ("INCRBYFLOAT n 0.5", "Bulk([54, 46, 53])"),
        ("HSET h f v", "Int(1)"),
        ("ZADD z INCR 2.5 m", "Double(2.5)"),
    ],
];

fn request_id(number: usize) -> RequestId {
    let millis = START_US / 1000;
    let (high, low) = (millis >> 16, millis & 0xffff);
    let text = format!("{high:08x}-{low:04x}-7000-8000-{number:012x}");
    RequestId::parse(text.as_bytes()).unwrap()
}

/// Asks under ids, those of `asked` from `first` on.
fn ask(engine: &Engine, keyspace: &Arc<Keyspace>, first: usize, asked: &[(&str, &str)]) {
    let mut session = engine.session();
    session.set_principal(Some(engine.owner_of(keyspace)));
    let mut batch = engine.try_batch(keyspace).unwrap();
    for (number, (line, answered)) in (first..).zip(asked) {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let once = Request::command(request_id(number), &argv).at(0);
        let reply = batch.run_once(&mut session, &argv, Some(&once), 99, &mut |_| true);
        let shown = format!("{:?}", reply.unpacked());
        assert!(shown.starts_with(answered), "{line}: {shown}");
    }
}

/// The same as a transaction and as a pipeline, with a reply too large to be kept.
fn ask_many(engine: &Engine, keyspace: &Arc<Keyspace>) -> Vec<String> {
    let mut session = engine.session();
    session.set_principal(Some(engine.owner_of(keyspace)));
    let mut batch = engine.try_batch(keyspace).unwrap();
    let large = "x".repeat(65_536);
    let unit: [&[&[u8]]; 3] = [
        &[b"INCR", b"unit"],
        &[b"GET", b"unit"],
        &[b"RPUSH", b"list", b"c"],
    ];
    let unit: Vec<Vec<&[u8]>> = unit.iter().map(|argv| argv.to_vec()).collect();
    let mut replies = Vec::new();
    let request = Request::transaction(request_id(20), &unit);
    let outcome = batch.transaction_once(&mut session, &unit, Some(&request), &mut |reply| {
        replies.push(show(reply));
        true
    });
    assert_eq!(outcome, Ok(()));
    let commands: [&[&[u8]]; 3] = [
        &[b"SET", b"large", large.as_bytes()],
        &[b"GETDEL", b"large"],
        &[b"INCR", b"piped"],
    ];
    let request = Request::pipeline(request_id(21), commands);
    for (place, argv) in commands.into_iter().enumerate() {
        let once = Some(request.at(place));
        let reply = batch.run_once(&mut session, argv, once.as_ref(), 1 << 20, &mut |_| true);
        let mut shown = format!("{reply:?}");
        shown.truncate(60);
        replies.push(shown);
    }
    replies
}

#[test]
fn requests_of_earlier_versions_are_answered() {
    let backup = FaultyStorage::new();
    let bytes = fs::read(folder(REQUESTS).join(BACKUP)).unwrap();
    restore(&mut &bytes[..], &backup, &mut |_| ()).unwrap();
    for storage in [load(REQUESTS), backup] {
        let engine = open(&storage);
        let before = state(&engine);
        for keyspace in engine.keyspaces() {
            for (at, asked) in ASKED.iter().enumerate() {
                // In another life only those that have a frame, or were there when the
                // snapshot was made.
                ask(&engine, &keyspace, 10 * at, asked);
            }
        }
        let replies = ask_many(&engine, &engine.keyspace("default"));
        assert_eq!(replies[..4], ["1", "1", "1", "Status(\"OK\")"]);
        assert!(replies[4].starts_with("Error"), "{}", replies[4]);
        assert_eq!(replies[5], "Int(1)");
        assert_eq!(state(&engine), before);
    }
}

#[test]
#[ignore = "makes the files of remembered requests"]
fn make_requests() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    let latest = Class {
        durability: Durability::Latest,
        evictable: false,
    };
    let limits = engine.keyspace_of("limits", latest);
    for keyspace in [&app, &limits] {
        ask(&engine, keyspace, 0, &ASKED[0]);
    }
    engine.tick();
    engine.save().unwrap();
    for keyspace in [&app, &limits] {
        ask(&engine, keyspace, 10, &ASKED[1]);
    }
    let replies = ask_many(&engine, &app);
    assert!(replies[4].starts_with("Bulk"), "{}", replies[4]);
    engine.tick();
    engine.close();
    write_folder(REQUESTS, &storage);
}

#[test]
#[ignore = "makes the files of libraries of functions"]
fn make_functions() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    let latest = Class {
        durability: Durability::Latest,
        evictable: false,
    };
    let limits = engine.keyspace_of("limits", latest);
    let library = |name: &str, value: u32| {
        format!(
            "#!lua name={name}\nlocal value = {value}\nredis.register_function{{function_name = \
             '{name}', description = 'answers', flags = {{'no-writes', 'allow-oom'}}, callback = \
             function(keys, args) return {{value, keys, args}} end}}"
        )
    };
    let load = |keyspace: &Arc<Keyspace>, name: &str, value: u32| {
        let text = library(name, value);
        let reply = call(
            &engine,
            keyspace,
            &[b"FUNCTION", b"LOAD", b"REPLACE", text.as_bytes()],
        );
        assert_eq!(reply, Reply::bulk(name));
    };
    for (name, value) in [("kept", 1), ("replaced", 2), ("gone", 3)] {
        load(&app, name, value);
    }
    line(&engine, &app, "SET k v");
    load(&limits, "limit", 1);
    engine.save().unwrap();
    load(&app, "replaced", 4);
    load(&app, "late", 5);
    line(&engine, &app, "FUNCTION DELETE gone");
    load(&limits, "limit", 2);
    engine.tick();
    engine.close();
    write_folder(FUNCTIONS, &storage);
}

#[test]
#[ignore = "makes the files of streams"]
fn make_streams() {
    let storage = FaultyStorage::new();
    let engine = open(&storage);
    let app = engine.keyspace("default");
    for n in 1..=150 {
        line(
            &engine,
            &app,
            &format!("XADD long {n}-{} n {n} text {}", n % 3, "t".repeat(n % 90)),
        );
    }
    for command in [
        "XDEL long 1-1 2-2 120-0",
        "XADD short 5-1 f v",
        "XADD short 5-2 f v2",
        "XADD short 6-0 other 1",
        "XGROUP CREATE short g 0 ENTRIESREAD 0",
        "XGROUP CREATE short h $",
        "XREADGROUP GROUP g c COUNT 2 STREAMS short >",
        "XCLAIM short g d 0 5-2 TIME 1600000000000 RETRYCOUNT 7",
        "XDEL short 5-2",
        "XGROUP CREATE empty g 7-7 MKSTREAM",
        "PEXPIREAT empty 4000000000000",
        "XADD trimmed 9-9 f v",
        "XTRIM trimmed MAXLEN 0",
    ] {
        line(&engine, &app, command);
    }
    engine.save().unwrap();
    for command in [
        "XADD long MAXLEN ~ 40 * n last text t",
        "XADD short 6-* f v3",
        "XREADGROUP GROUP g c STREAMS short >",
        "XREADGROUP GROUP g d STREAMS short 0",
        "XAUTOCLAIM short g e 0 - COUNT 1",
        "XREADGROUP GROUP h x NOACK STREAMS short >",
        "XACK short g 6-0",
        "XGROUP CREATECONSUMER empty g c",
        "XSETID trimmed 10-0 ENTRIESADDED 5",
        "XADD late 1-1 f v",
        "XGROUP CREATE late g $",
        "XGROUP DESTROY late g",
    ] {
        line(&engine, &app, command);
    }
    engine.close();
    write_folder(STREAMS, &storage);
}

fn write_folder(name: &str, storage: &FaultyStorage) {
    let mut bytes = Vec::new();
    backup(storage, START_US / 1000, &mut bytes, &mut |_, _| ()).unwrap();
    let target = folder(name);
    fs::create_dir_all(&target).unwrap();
    for name in storage.list().unwrap() {
        if name != "spare.seg" {
            fs::write(target.join(&name), storage.contents(&name).unwrap()).unwrap();
        }
    }
    fs::write(target.join(BACKUP), bytes).unwrap();
    fs::write(target.join(STATE), state(&open(&storage.copy()))).unwrap();
}
