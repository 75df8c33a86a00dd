//! A unit that is rolled back leaves nothing: random commands of every family
//! on a random state, undone, against a dump taken before.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::clock::ManualClock;
use crate::command::spec::find;
use crate::command::{Ctx, call};
use crate::config::Settings;
use crate::effect::Effects;
use crate::expiry::NEVER;
use crate::keyspace::{Db, Expire, Key, Record};
use crate::random::Random;
use crate::value::{Collection, EMBEDDED, Element, Stream, StreamLayout as _, Value};
use crate::{Engine, Options};

/// Everything of a record but the time of its last access.
pub(crate) fn describe(record: &Record) -> String {
    let body = match &record.value {
        Value::Hash(hash) => format!("{} {}", hash.encoding(), {
            let mut pairs: Vec<String> = hash
                .stored()
                .map(|(field, value, deadline)| format!("{field:?}={value:?} {deadline:?}"))
                .collect();
            if hash.encoding() == "hashtable" {
                pairs.sort();
            }
            pairs.join(",")
        }),
        Value::Set(set) => format!("{} {}", set.encoding(), {
            let mut members: Vec<String> = set
                .iter()
                .map(|member| format!("{:?}", member.as_ref()))
                .collect();
            members.sort();
            members.join(",")
        }),
        Value::ZSet(zset) => format!("{} {:?}", zset.encoding(), {
            zset.iter_range(0, Collection::len(&**zset), false)
                .map(|(member, score)| (member.to_vec(), score))
                .collect::<Vec<_>>()
        }),
        Value::List(list) => format!("{} {:?}", list.encoding(), {
            list.iter().map(Element::to_vec).collect::<Vec<_>>()
        }),
        Value::Stream(stream) => describe_stream(stream),
        Value::Str(text) => format!("raw: {} {text:?}", text.capacity() > EMBEDDED),
        Value::Int(number) => number.to_string(),
    };
    format!("{:?} {} {body}", record.key, record.deadline)
}

/// Its blocks to the byte, and its groups.
fn describe_stream(stream: &Stream) -> String {
    let mut text = format!("{:?}", stream.header());
    for (first, bytes) in stream.buffers() {
        let _ = write!(text, " {first} {}", bytes.escape_ascii());
    }
    for (name, group) in stream.groups() {
        let at = (group.last_id(), group.entries_read());
        let _ = write!(text, " group {} {at:?}", name.escape_ascii());
        for (_, consumer) in group.consumers() {
            let (name, ids) = (consumer.name().escape_ascii(), consumer.pending());
            let _ = write!(text, " {name} {} {ids:?}", consumer.seen_ms());
        }
        for (id, pending) in group.pending() {
            let name = group.name_of(pending.consumer).escape_ascii();
            let (time, count) = (pending.delivered_ms, pending.deliveries);
            let _ = write!(text, " {id} {name} {time} {count}");
        }
    }
    text
}

fn dump(db: &Db) -> String {
    let mut lines: Vec<String> = db.iter().map(describe).collect();
    lines.sort();
    let mut text = lines.join("\n");
    let _ = write!(text, "\n{} keys, {} expiring", db.len(), db.expiring());
    let fields: Vec<u64> = db.field_deadlines.iter().collect();
    let _ = write!(text, "\nfields: {fields:?}");
    text
}

pub(super) fn books_balance(db: &Db) {
    let records: usize = db.table.iter().map(|record| record.bytes()).sum();
    assert_eq!(db.used, records, "bytes in the books and in the records");
    let index = |deadline: fn(&Record) -> u64| -> Vec<u64> {
        let of = db.table.iter().map(|record| deadline(record));
        let mut deadlines: Vec<u64> = of.filter(|deadline| *deadline != NEVER).collect();
        deadlines.sort_unstable();
        deadlines
    };
    let keys: Vec<u64> = db.deadlines.iter().collect();
    assert_eq!(keys, index(|record| record.deadline));
    let fields: Vec<u64> = db.field_deadlines.iter().collect();
    assert_eq!(fields, index(|record| record.value.next_deadline()));
}

/// A random command on so many keys, few fields and values on both sides of the
/// encodings' limits.
pub(super) fn random_command(random: &mut Random, keys: usize) -> Vec<Vec<u8>> {
    let key = |random: &mut Random| format!("k{}", random.below(keys));
    let item = |random: &mut Random| match random.below(8) {
        0 => "x".repeat(100),
        1..4 => random.below(300).to_string(),
        _ => format!("m{}", random.below(40)),
    };
    let (a, b, i, j) = (key(random), key(random), item(random), item(random));
    let number = random.below(200).to_string();
    let text = match random.below(90) {
        62..65 => format!("PFADD {a} {i} {j} {number}"),
        65 => format!("PFCOUNT {a}"),
        66 => format!("PFMERGE {a} {b}"),
        67 => format!("GEOADD {a} {number}.5 7.25 {i}"),
        0 => format!("SET {a} {i}"),
        1 => format!("SET {a} {i} PX 100000"),
        2 => format!("APPEND {a} {i}"),
        3 => format!("SETRANGE {a} {number} {i}"),
        4 => format!("INCRBY {a} 5"),
        5 => format!("SETBIT {a} {number} 1"),
        6 => format!("DEL {a}"),
        7 => format!("RENAME {a} {b}"),
        8 => format!("COPY {a} {b} REPLACE"),
        9 => format!("EXPIRE {a} 1000"),
        10 => format!("PERSIST {a}"),
        11..14 => format!("HSET {a} {i} {j} {j} {i}"),
        14 => format!("HDEL {a} {i} {j}"),
        15 => format!("HINCRBY {a} n 3"),
        16..19 => format!("SADD {a} {i} {j} {number}"),
        19 => format!("SREM {a} {i} {number}"),
        20 => format!("SPOP {a} 2"),
        21 => format!("SMOVE {a} {b} {i}"),
        22 => format!("SUNIONSTORE {a} {a} {b}"),
        23..27 => format!("ZADD {a} {number} {i} 7 {j}"),
        27 => format!("ZREM {a} {i}"),
        28 => format!("ZINCRBY {a} 1.5 {j}"),
        29 => format!("ZPOPMIN {a} 2"),
        30 => format!("ZREMRANGEBYRANK {a} 0 3"),
        31 => format!("ZUNIONSTORE {a} 2 {a} {b}"),
        32 => format!("MSET {a} {i} {b} {j}"),
        33 => format!("GETDEL {a}"),
        34 => format!("INCRBYFLOAT {a} 1.25"),
        35 => "FLUSHALL".to_owned(),
        36 => format!("BITOP NOT {a} {b}"),
        37..40 => format!("RPUSH {a} {i} {j} {number} {i}"),
        40 => format!("LPUSH {a} {j} {i}"),
        41 => format!("LPOP {a} 2"),
        42 => format!("RPOP {a}"),
        43 => format!("LSET {a} -2 {j}"),
        44 => format!("LINSERT {a} AFTER {i} {j}"),
        45 => format!("LREM {a} -2 {i}"),
        46 => format!("LTRIM {a} 1 -2"),
        47 => format!("LMOVE {a} {b} LEFT RIGHT"),
        48 => format!("RPOPLPUSH {a} {a}"),
        49 => format!("LMPOP 2 {a} {b} RIGHT COUNT 3"),
        50 => format!("RPUSHX {a} {number}"),
        51 => format!("HPEXPIRE {a} {}0 FIELDS 2 {i} {j}", random.below(300)),
        52 => format!("HPEXPIRE {a} {number}00 FIELDS 1 {j}"),
        53 => format!("HPEXPIREAT {a} {} FIELDS 1 {i}", 1_700_000_001_000_u64),
        54 => format!("HPERSIST {a} FIELDS 2 {i} {j}"),
        55 => format!("HGETEX {a} PX {number}0 FIELDS 1 {j}"),
        56 => format!("HSETEX {a} PX {number}0 FIELDS 2 {i} {j} {j} {i}"),
        57 => format!("HSETEX {a} KEEPTTL FIELDS 1 {i} {j}"),
        58 => format!("HSETEX {a} FXX EX 9 FIELDS 1 {i} {j}"),
        59 => format!("HGETDEL {a} FIELDS 2 {i} {j}"),
        60 => format!("HSETNX {a} {i} {j}"),
        68..73 => format!("XADD {a} * {i} {j}"),
        73 => format!("XADD {a} MAXLEN ~ {number} * f {i} g {j}"),
        74 => format!("XADD {a} MAXLEN 3 * f {i}"),
        75 => format!("XDEL {a} 1700000000000-{number} 1700000000000-1"),
        76..78 => format!("XGROUP CREATE {a} g 0 MKSTREAM"),
        78 => format!("XGROUP DESTROY {a} g"),
        79 => format!("XGROUP DELCONSUMER {a} g {j}"),
        80..82 => format!("XREADGROUP GROUP g {j} COUNT 3 STREAMS {a} >"),
        82 => format!("XREADGROUP GROUP g {j} STREAMS {a} 0"),
        83 => format!("XAUTOCLAIM {a} g {j} 0 - COUNT 2"),
        84 => format!("XCLAIM {a} g {j} 0 1700000000000-1 1700000000000-2 FORCE"),
        85 => format!("XACK {a} g 1700000000000-1 1700000000000-2"),
        86 => format!("XTRIM {a} MAXLEN 2 DELREF"),
        87 => format!("XACKDEL {a} g ACKED IDS 1 1700000000000-3"),
        88 => format!("XSETID {a} 1700000000001-{number}"),
        _ => format!("GETEX {a} PX 5000"),
    };
    text.split(' ')
        .map(|part| part.as_bytes().to_vec())
        .collect()
}

/// Runs random commands.
pub(super) fn run(engine: &Engine, count: usize, keys: usize, random: &mut Random, db: &mut Db) {
    let keyspace = engine.keyspace("default");
    let mut session = engine.session();
    for _ in 0..count {
        let argv = random_command(random, keys);
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let command = find(argv[0]).unwrap();
        let mut ctx = Ctx {
            engine,
            keyspace: &keyspace,
            db,
            session: &mut session,
        };
        call(&mut ctx, command, &argv);
    }
}

#[test]
fn rolled_back_units_leave_nothing() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let engine = Engine::new(Options {
        clock,
        seed: 1,
        ..Options::default()
    });
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut db = Db::new(seed, Arc::new(Settings::default()), Effects::default());
        db.now_ms = 1_700_000_000_000;
        let before_unit = random.below(200);
        run(&engine, before_unit, 6, &mut random, &mut db);
        // Keys and fields are past their deadlines, and the unit meets them.
        db.now_ms += random.below(2) as u64 * random.below(3000) as u64;
        books_balance(&db);
        let before = dump(&db);
        let deadlines = db.next_deadline();
        db.begin_undo();
        let in_unit = random.below(60);
        run(&engine, in_unit, 6, &mut random, &mut db);
        books_balance(&db);
        db.rollback();
        books_balance(&db);
        assert_eq!(dump(&db), before, "seed {seed}");
        assert_eq!(db.next_deadline(), deadlines, "seed {seed}");

        // And one that is kept leaves no recorder running.
        db.begin_undo();
        run(&engine, in_unit, 6, &mut random, &mut db);
        db.commit();
        books_balance(&db);
        for record in db.iter() {
            let recording = match &record.value {
                Value::Int(_) | Value::Str(_) => false,
                Value::Hash(hash) => hash.is_recording(),
                Value::Set(set) => set.is_recording(),
                Value::ZSet(zset) => zset.is_recording(),
                Value::List(list) => list.is_recording(),
                Value::Stream(stream) => stream.is_recording(),
            };
            assert!(!recording, "seed {seed}: {:?} still records", record.key);
        }
    }
}

#[test]
fn a_flush_taken_back_leaves_what_was_noted_before() {
    let mut db = Db::new(1, Arc::new(Settings::default()), Effects::default());
    db.note_changes();
    db.put(b"a", Value::Int(1), Expire::Clear);
    db.put(b"b", Value::Int(1), Expire::Clear);
    db.take_changed().unwrap();
    db.put(b"b", Value::Int(2), Expire::Clear);
    db.begin_undo();
    db.remove(b"b");
    for _ in 0..2 {
        db.clear();
        db.put(b"a", Value::Int(2), Expire::Clear);
    }
    db.rollback();
    let changed = db.take_changed().unwrap();
    assert!(!changed.cleared, "what was committed is still there");
    assert_eq!(changed.keys.len(), 1);
    assert!(changed.keys.contains(&Key::from(&b"b"[..])));
}
