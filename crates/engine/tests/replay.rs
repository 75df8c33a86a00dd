//! Effects repeat what happened: every unit that an engine logs is replayed
//! into a second engine, and both then hold the same data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::sync::Arc;

use parking_lot::Mutex;
use sangam_engine::clock::ManualClock;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::random::Random;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply, Seq};

const START_US: u64 = 1_700_000_000_000_000;

/// Commands of one unit.
type Unit = Vec<Vec<Vec<u8>>>;

#[derive(Default)]
struct Recording(Mutex<Vec<Unit>>);

impl EffectSink for Recording {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut units = self.0.lock();
        units.push(
            effects
                .iter()
                .map(|argv| argv.iter().map(|arg| arg.to_vec()).collect())
                .collect(),
        );
        Seq(units.len() as u64)
    }
}

fn call(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    engine.call(session, &argv).0
}

/// Every field of a hash with its value and its deadline.
const TIMED_FIELDS: &str = "local\tr={}for\t_,f\tin\tipairs(redis.call('HKEYS',KEYS[1]))do\t\
    r[#r+1]=f..'='..redis.call('HGET',KEYS[1],f)..'@'..\
    redis.call('HPEXPIRETIME',KEYS[1],'FIELDS',1,f)[1]end\treturn\tr";

/// A copy of one key under another name by way of its payload.
fn restore_copy(engine: &Engine, session: &mut Session, random: &mut Random) {
    let key = |random: &mut Random| {
        let family = b"sfnhtzblx"[random.below(9)] as char;
        format!("{family}{}", random.below(8))
    };
    let from = key(random);
    let to = format!("{}{}", &from[..1], random.below(8));
    let Reply::Bulk(payload) = call(engine, session, &format!("DUMP {from}")) else {
        return;
    };
    let (ttl, form) = match random.below(6) {
        0 => ("0".to_owned(), None),
        1 => ("0".to_owned(), Some("IDLETIME 100")),
        2 => ((random.below(900) + 1).to_string(), None),
        3 => (
            (START_US / 1000 + random.below(90_000) as u64).to_string(),
            Some("ABSTTL"),
        ),
        _ => ((random.below(90_000) + 1).to_string(), Some("REPLACE")),
    };
    let mut argv = vec![&b"RESTORE"[..], to.as_bytes(), ttl.as_bytes(), &payload];
    argv.extend(
        form.iter()
            .flat_map(|form| form.split(' '))
            .map(str::as_bytes),
    );
    if random.below(2) == 0 {
        argv.push(b"REPLACE");
    }
    let (reply, _) = engine.call(session, &argv);
    let taken = Reply::error("BUSYKEY Target key name already exists.");
    assert!(
        reply == Reply::OK || reply == taken,
        "{argv:?} answered {reply:?}"
    );
}

/// Everything in the database, in an order that does not depend on hashing.
fn state(engine: &Engine) -> Vec<String> {
    let mut session = engine.session();
    let Reply::Array(keys) = call(engine, &mut session, "KEYS *") else {
        panic!("KEYS")
    };
    let mut lines = Vec::new();
    for key in keys {
        let Reply::Bulk(key) = key else {
            panic!("a key")
        };
        let key = String::from_utf8(key).unwrap();
        let kind = call(engine, &mut session, &format!("TYPE {key}"));
        let read = match &kind {
            Reply::Status(kind) => match &**kind {
                "string" => format!("GET {key}"),
                "hash" => format!("EVAL {TIMED_FIELDS} 1 {key}"),
                "set" => format!("SMEMBERS {key}"),
                "list" => format!("LRANGE {key} 0 -1"),
                "stream" => format!("XINFO STREAM {key} FULL COUNT 0"),
                _ => format!("ZRANGE {key} 0 -1 WITHSCORES"),
            },
            other => panic!("{other:?}"),
        };
        let mut items: Vec<String> = match call(engine, &mut session, &read).unpacked() {
            Reply::Array(items) | Reply::Set(items) => {
                items.iter().map(|item| format!("{item:?}")).collect()
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => {
                pairs.iter().map(|pair| format!("{pair:?}")).collect()
            }
            other => vec![format!("{other:?}")],
        };
        if kind == Reply::status("stream") {
            items = items.iter().map(|item| without_times(item)).collect();
        } else if kind != Reply::status("list") {
            items.sort();
        }
        let expires = call(engine, &mut session, &format!("PEXPIRETIME {key}"));
        lines.push(format!("{key} {kind:?} {expires:?} {}", items.join(" ")));
    }
    lines.sort();
    lines
}

/// Text without numbers so high that they are times: the second engine is not
/// as far as the first was when it handed an entry out.
fn without_times(text: &str) -> String {
    let parts = text.split("Int(").map(|part| {
        let digits = part.find(')').unwrap_or(0);
        match part.split_at(digits) {
            (number, rest) if number.len() >= 13 => format!("a time{rest}"),
            _ => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("Int(")
}

/// Streams, their groups, and what is handed out.
fn stream_line(random: &mut Random) -> String {
    let (a, b) = (random.below(3), random.below(3));
    let (c, n) = (random.below(3), random.below(50));
    let id = format!("{}-{}", START_US / 1000 + n as u64 * 97 % 4000, n % 3);
    match random.below(34) {
        0..8 => format!("XADD x{a} * f v{n} g {}", "w".repeat(n)),
        8 => format!("XADD x{a} MAXLEN ~ {n} * f{c} {n}"),
        9 => format!("XADD x{a} MINID ~ {id} LIMIT {n} * f{c} {n}"),
        10 => format!("XADD x{a} NOMKSTREAM MAXLEN {n} * n {n}"),
        11 => format!("XADD x{a} {}-* f v{n}", START_US / 1000 + 5000 + n as u64),
        12 => format!(
            "XTRIM x{a} MAXLEN ~ {n} {}",
            ["KEEPREF", "DELREF", "ACKED"][c]
        ),
        13 => format!("XTRIM x{a} MINID {id}"),
        14 => format!("XDEL x{a} {id}"),
        15 => format!(
            "XDELEX x{a} {} IDS 1 {id}",
            ["KEEPREF", "DELREF", "ACKED"][c]
        ),
        16..18 => format!("XGROUP CREATE x{a} g{b} {} MKSTREAM", ["0", "$", "0"][c]),
        18 => format!("XGROUP SETID x{a} g{b} {}", ["0", "$", &id][c]),
        19 if n < 10 => format!("XGROUP DESTROY x{a} g{b}"),
        20 => format!("XGROUP DELCONSUMER x{a} g{b} c{c}"),
        21 => format!("XGROUP CREATECONSUMER x{a} g{b} c{c}"),
        22..25 => format!("XREADGROUP GROUP g{b} c{c} COUNT {n} STREAMS x{a} >"),
        25 => format!("XREADGROUP GROUP g{b} c{c} COUNT 3 NOACK STREAMS x{a} >"),
        26 => format!("XREADGROUP GROUP g{b} c{c} COUNT 5 STREAMS x{a} 0"),
        27 => format!("XREADGROUP GROUP g{b} c{c} BLOCK 0 STREAMS x{a} x{c} > 0"),
        28 => format!("XCLAIM x{a} g{b} c{c} 0 {id} FORCE IDLE {n} LASTID {id}"),
        29 => format!("XAUTOCLAIM x{a} g{b} c{c} {n} 0 COUNT 4"),
        30 => format!("XACK x{a} g{b} {id}"),
        31 => format!("XACKDEL x{a} g{b} ACKED IDS 1 {id}"),
        32 => format!("XSETID x{a} {}-{n}", START_US / 1000 + 9000 + n as u64),
        _ => format!("EVAL {DRAINS} 1 x{a} g{b} c{c}"),
    }
}

/// A script that hands out, ends and deletes.
const DRAINS: &str = "local\tr=redis.call('XREADGROUP','GROUP',ARGV[1],ARGV[2],'COUNT',2,'STREAMS',\
     KEYS[1],'>')if\tr\tthen\tfor\t_,e\tin\tipairs(r[1][2])do\tredis.call('XACK',KEYS[1],ARGV[1],e[1])\
     redis.call('XDEL',KEYS[1],e[1])end\tend";

/// Geo sets and HyperLogLogs: other types' values, computed.
fn derived_line(random: &mut Random) -> String {
    let (a, b) = (random.below(8), random.below(8));
    let (i, n) = (random.below(20), random.below(50));
    match random.below(8) {
        0 => format!("PFADD p{a} e{n} f{i}"),
        1 => format!("PFCOUNT p{a}"),
        2 => format!("PFMERGE p{a} p{b}"),
        3 => format!("PFDEBUG TODENSE p{a}"),
        4 => format!("GEOSEARCHSTORE z{b} z{a} FROMLONLAT {i} {n} BYRADIUS 1500 km STOREDIST"),
        5 => format!("GEORADIUS z{a} {i} {n} 2000 km STORE z{b} COUNT 2"),
        _ => format!("GEOADD z{a} {i}.{n} {n}.{i} m{n} -{i} {i} p{i}"),
    }
}

fn random_line(random: &mut Random) -> String {
    let (a, b) = (random.below(8), random.below(8));
    let (i, n) = (random.below(20), random.below(50));
    if random.below(10) == 0 {
        return derived_line(random);
    }
    if random.below(4) == 0 {
        return stream_line(random);
    }
    match random.below(64) {
        0 => format!("SET s{a} v{i} EX {}", n + 1),
        1 => format!("SET s{a} {n} KEEPTTL"),
        2 => format!("SETEX s{a} {} v{i}", n + 1),
        3 => format!("PSETEX s{a} {} v{i}", n * 100 + 1),
        4 => format!("GETEX s{a} PX {}", n * 100 + 1),
        5 => format!("GETEX s{a} PERSIST"),
        6 => format!("GETDEL s{a}"),
        7 => format!("INCRBYFLOAT f{a} 1.{n}"),
        8 => format!("INCR n{a}"),
        9 => format!("APPEND s{a} x{i}"),
        10 => format!("SETBIT b{a} {n} 1"),
        11 => format!("BITFIELD b{a} INCRBY u8 {n} 100"),
        12 => format!("EXPIRE s{a} {n}"),
        13 => format!("PEXPIRE h{a} {n}"),
        14 => format!("PERSIST s{a}"),
        15 => format!("DEL s{a} n{b}"),
        16 => format!("RENAME s{a} s{b}"),
        17 => format!("RENAMENX h{a} h{b}"),
        18 => format!("COPY h{a} h{b}"),
        19..22 => format!("HSET h{a} f{i} v{n}"),
        22 => format!("HINCRBYFLOAT h{a} x{i} 0.{n}"),
        23 => format!("HDEL h{a} f{i}"),
        24..26 => format!("SADD t{a} {i} m{n}"),
        26 => format!("SPOP t{a}"),
        27 => format!("SPOP t{a} {}", n % 5),
        28 => format!("SMOVE t{a} t{b} m{n}"),
        29 => format!("SINTERSTORE t{a} t{b} t{}", i % 8),
        30..33 => format!("ZADD z{a} {i}.5 m{n}"),
        33 => format!("ZPOPMAX z{a}"),
        34 => format!("ZINCRBY z{a} 0.1 m{n}"),
        35 => format!("ZRANGESTORE z{a} z{b} 0 3"),
        36 => format!("ZREMRANGEBYSCORE z{a} 0 {i}"),
        37 => format!("MSETNX s{a} x s{b} y"),
        38 => format!("UNLINK z{a} t{b}"),
        39..42 => format!("RPUSH l{a} {i} v{n} {n}"),
        42 => format!("LPUSHX l{a} v{i}"),
        43 => format!("LPOP l{a}"),
        44 => format!("RPOP l{a} {}", n % 4),
        45 => format!("LMOVE l{a} l{b} RIGHT LEFT"),
        46 => format!("LMPOP 3 l{a} l{b} l1 LEFT COUNT {}", n % 3 + 1),
        47 => format!("LSET l{a} -1 w{i}"),
        48 => format!("LINSERT l{a} BEFORE {i} x{n}"),
        49 => format!("LREM l{a} {} {i}", n % 3),
        50 => format!("LTRIM l{a} 1 -2"),
        51 => format!("HEXPIRE h{a} {} FIELDS 2 f{i} f{}", n % 3, i + 1),
        52 => format!("HPEXPIRE h{a} {n}0 FIELDS 3 f{i} f{n} x{i}"),
        53 => format!("HPEXPIRE h{a} {n}00 LT FIELDS 1 f{i}"),
        54 => format!("HEXPIREAT h{a} {} FIELDS 2 f{i} f{n}", 1_700_000_000 + n),
        55 => format!("HPERSIST h{a} FIELDS 2 f{i} f{n}"),
        56 => format!("HGETEX h{a} PX {n}0 FIELDS 2 f{i} f{n}"),
        57 => format!("HGETEX h{a} PERSIST FIELDS 2 f{i} f{n}"),
        58 => format!("HSETEX h{a} PX {n}0 FIELDS 2 f{i} v{n} f{n} v{i}"),
        59 => format!("HSETEX h{a} FNX EX {n} FIELDS 1 f{i} new"),
        60 => format!("HSETEX h{a} FXX KEEPTTL FIELDS 1 f{i} kept"),
        61 => format!("HGETDEL h{a} FIELDS 2 f{i} f{n}"),
        62 => format!("HSETNX h{a} f{i} nx"),
        _ => format!("GETSET s{a} g{i}"),
    }
}

#[test]
fn replayed_effects_give_the_same_data() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let clock = Arc::new(ManualClock::new(START_US));
        let sink = Arc::new(Recording::default());
        let first = Engine::new(Options {
            clock: clock.clone(),
            sink: sink.clone(),
            seed,
            ..Options::default()
        });
        let mut session = first.session();
        for _ in 0..400 {
            match random.below(20) {
                0 => clock.advance_millis(random.below(900) as u64),
                1 => {
                    call(&first, &mut session, "MULTI");
                    for _ in 0..random.below(5) {
                        let line = random_line(&mut random);
                        call(&first, &mut session, &line);
                    }
                    let reply = call(&first, &mut session, "EXEC");
                    assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
                }
                2 => {
                    first.tick();
                }
                3 => restore_copy(&first, &mut session, &mut random),
                _ => {
                    let line = random_line(&mut random);
                    call(&first, &mut session, &line);
                }
            }
        }
        while first.tick() == 0 {}

        // The second engine's time stands still before every deadline, so that
        // only the log decides what expires; then it jumps to the first's.
        let second_clock = Arc::new(ManualClock::new(START_US));
        let second = Engine::new(Options {
            clock: second_clock,
            seed: seed + 1,
            ..Options::default()
        });
        let mut replayer = second.session();
        for unit in sink.0.lock().iter() {
            assert!(!unit.is_empty(), "an empty unit was logged");
            for argv in unit {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                let (reply, _) = second.call(&mut replayer, &argv);
                assert!(
                    !reply.is_error(),
                    "seed {seed}: {argv:?} answered {reply:?}"
                );
            }
        }
        assert_eq!(state(&second), state(&first), "seed {seed}");
    }
}
