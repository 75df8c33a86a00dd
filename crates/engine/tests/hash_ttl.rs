//! Fields with deadlines under a clock that the test drives: random commands
//! against a map that knows the time, and what happens when very many fields are
//! due at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sangam_engine::clock::ManualClock;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::random::Random;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply, Seq};

const START_MS: i64 = 1_700_000_000_000;

/// The number of fields that each logged HDEL named.
#[derive(Default)]
struct Removals(Mutex<Vec<usize>>);

impl EffectSink for Removals {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let removals = effects.iter().filter(|argv| argv[0] == b"HDEL");
        self.0
            .lock()
            .push(removals.map(|argv| argv.len() - 2).sum());
        Seq::default()
    }
}

struct Bench {
    engine: Engine,
    session: Session,
    clock: Arc<ManualClock>,
    removals: Arc<Removals>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS as u64 * 1000));
        let removals = Arc::new(Removals::default());
        let engine = Engine::new(Options {
            clock: clock.clone(),
            sink: removals.clone(),
            seed,
            ..Options::default()
        });
        Bench {
            session: engine.session(),
            engine,
            clock,
            removals,
        }
    }

    fn call(&mut self, line: &str) -> Reply {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.engine.call(&mut self.session, &argv).0
    }

    fn int(&mut self, line: &str) -> i64 {
        match self.call(line) {
            Reply::Int(number) => number,
            other => panic!("{line}: {other:?}"),
        }
    }
}

type Fields = BTreeMap<String, (String, Option<i64>)>;

/// Hashes as they are to be now.
struct Model {
    keys: BTreeMap<String, Fields>,
    now: i64,
}

fn int(number: usize) -> Reply {
    Reply::Int(number as i64)
}

fn bulk(text: Option<&String>) -> Reply {
    text.map_or(Reply::Null, |text| Reply::bulk(text.as_bytes()))
}

impl Model {
    /// Drops what is due, and keys that have nothing left.
    fn settle(&mut self) {
        let now = self.now;
        for fields in self.keys.values_mut() {
            fields.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        }
        self.keys.retain(|_, fields| !fields.is_empty());
    }

    fn deadline(&self, command: &str, text: &str) -> i64 {
        let number: i64 = text.parse().unwrap();
        match command {
            "EX" | "HEXPIRE" => self.now + number * 1000,
            "PX" | "HPEXPIRE" => self.now + number,
            "EXAT" | "HEXPIREAT" => number * 1000,
            _ => number,
        }
    }

    /// Sets a deadline or removes the field; whether it removed it.
    fn set(&mut self, key: &str, field: &str, when: i64) -> bool {
        let fields = self.keys.get_mut(key).unwrap();
        if when <= self.now {
            fields.remove(field);
            return true;
        }
        fields.get_mut(field).unwrap().1 = Some(when);
        false
    }

    fn run(&mut self, line: &str) -> Reply {
        let words: Vec<&str> = line.split(' ').collect();
        let (command, key) = (words[0], words[1]);
        let hash = self.keys.get(key).cloned().unwrap_or_default();
        let reply = match command {
            "HSET" | "HSETNX" => {
                let is_new = !hash.contains_key(words[2]);
                if is_new || command == "HSET" {
                    let value = (words[3].to_owned(), None);
                    let fields = self.keys.entry(key.to_owned()).or_default();
                    fields.insert(words[2].to_owned(), value);
                }
                int(usize::from(is_new))
            }
            "HINCRBY" => {
                let old = hash
                    .get(words[2])
                    .cloned()
                    .unwrap_or(("0".to_owned(), None));
                let sum = old.0.parse::<i64>().unwrap() + words[3].parse::<i64>().unwrap();
                let fields = self.keys.entry(key.to_owned()).or_default();
                fields.insert(words[2].to_owned(), (sum.to_string(), old.1));
                Reply::Int(sum)
            }
            "HDEL" => {
                let fields = self.keys.entry(key.to_owned()).or_default();
                int(words[2..]
                    .iter()
                    .filter(|field| fields.remove(**field).is_some())
                    .count())
            }
            "HGET" => bulk(hash.get(words[2]).map(|(value, _)| value)),
            "HLEN" => int(hash.len()),
            "HEXISTS" => int(usize::from(hash.contains_key(words[2]))),
            "HSTRLEN" => int(hash.get(words[2]).map_or(0, |(value, _)| value.len())),
            "EXISTS" => int(usize::from(!hash.is_empty())),
            "DEL" => int(usize::from(self.keys.remove(key).is_some())),
            "RENAME" => match self.keys.remove(key) {
                None => Reply::error("ERR no such key"),
                Some(fields) => {
                    self.keys.insert(words[2].to_owned(), fields);
                    Reply::OK
                }
            },
            "COPY" if key == words[2] => {
                Reply::error("ERR source and destination objects are the same")
            }
            "COPY" => {
                let copies = !hash.is_empty();
                if copies {
                    self.keys.insert(words[2].to_owned(), hash);
                }
                int(usize::from(copies))
            }
            "HPERSIST" | "HPEXPIRETIME" | "HPTTL" => {
                let answer = |field: &&str| match hash.get(*field) {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, Some(deadline))) => match command {
                        "HPERSIST" => 1,
                        "HPTTL" => deadline - self.now,
                        _ => *deadline,
                    },
                };
                let replies = words[4..].iter().map(answer).map(Reply::Int).collect();
                if command == "HPERSIST" {
                    for field in &words[4..] {
                        let fields = self.keys.entry(key.to_owned()).or_default();
                        if let Some(value) = fields.get_mut(*field) {
                            value.1 = None;
                        }
                    }
                }
                Reply::Array(replies)
            }
            "HGETEX" => {
                let when = self.deadline(words[2], words[3]);
                let read = |field: &&str| bulk(hash.get(*field).map(|(value, _)| value));
                let replies = words[6..].iter().map(read).collect();
                for field in &words[6..] {
                    if hash.contains_key(*field) {
                        self.set(key, field, when);
                    }
                }
                Reply::Array(replies)
            }
            "HSETEX" => {
                let when = self.deadline(words[2], words[3]);
                let exist = hash.contains_key(words[7]);
                if exist == (words[4] == "FXX") {
                    let fields = self.keys.entry(key.to_owned()).or_default();
                    fields.insert(words[7].to_owned(), (words[8].to_owned(), None));
                    self.set(key, words[7], when);
                    int(1)
                } else {
                    int(0)
                }
            }
            "HGETDEL" => {
                let read = |field: &&str| bulk(hash.get(*field).map(|(value, _)| value));
                let replies = words[4..].iter().map(read).collect();
                if let Some(fields) = self.keys.get_mut(key) {
                    fields.retain(|field, _| !words[4..].contains(&field.as_str()));
                }
                Reply::Array(replies)
            }
            // The four that set deadlines: COMMAND key time CONDITION FIELDS n field...
            _ => {
                let when = self.deadline(command, words[2]);
                let mut replies = Vec::new();
                for field in &words[6..] {
                    let old = hash.get(*field).map(|(_, deadline)| *deadline);
                    let allowed = old.map(|old| match words[3] {
                        "NX" => old.is_none(),
                        "XX" => old.is_some(),
                        "GT" => old.is_some_and(|old| when > old),
                        _ => old.is_none_or(|old| when < old),
                    });
                    replies.push(Reply::Int(match allowed {
                        None => -2,
                        Some(false) => 0,
                        Some(true) => 1 + i64::from(self.set(key, field, when)),
                    }));
                }
                Reply::Array(replies)
            }
        };
        self.settle();
        reply
    }
}

fn random_line(random: &mut Random, now: i64) -> String {
    let (a, other) = (random.below(4), random.below(4));
    // No two alike in one command, for the model's sake.
    let (field, second) = (random.below(6), 6 + random.below(6));
    let n = random.below(300) as i64;
    let condition = ["NX", "XX", "GT", "LT"][random.below(4)];
    let exist = ["FNX", "FXX"][random.below(2)];
    match random.below(27) {
        0..4 => format!("HSET k{a} f{field} {n}"),
        4 => format!("HSETNX k{a} f{field} {n}"),
        5 => format!("HINCRBY k{a} f{field} {n}"),
        6 => format!("HDEL k{a} f{field} f{second}"),
        7 => format!("HGET k{a} f{field}"),
        8 => format!("HLEN k{a}"),
        9 => format!("HEXISTS k{a} f{field}"),
        10 => format!("HSTRLEN k{a} f{field}"),
        11 => format!("EXISTS k{a}"),
        12 if n < 30 => format!("DEL k{a}"),
        13 if n < 100 => format!("RENAME k{a} k{other}"),
        14 => format!("COPY k{a} k{other} REPLACE"),
        15 => format!("HPERSIST k{a} FIELDS 2 f{field} f{second}"),
        16 => format!("HPEXPIRETIME k{a} FIELDS 2 f{field} f{second}"),
        17 => format!("HPTTL k{a} FIELDS 2 f{field} f{second}"),
        18 => format!("HGETEX k{a} PX {n} FIELDS 2 f{field} f{second}"),
        19 => format!("HSETEX k{a} PX {n} {exist} FIELDS 1 f{field} {n}"),
        20 => format!(
            "HSETEX k{a} PXAT {} {exist} FIELDS 1 f{second} {n}",
            now + n - 100
        ),
        21 => format!("HGETDEL k{a} FIELDS 2 f{field} f{second}"),
        22 => format!(
            "HEXPIRE k{a} {} {condition} FIELDS 2 f{field} f{second}",
            n % 2
        ),
        23 => format!(
            "HEXPIREAT k{a} {} {condition} FIELDS 1 f{second}",
            now / 1000 + n % 3
        ),
        24 => format!(
            "HPEXPIREAT k{a} {} {condition} FIELDS 2 f{second} f{field}",
            now + n - 50
        ),
        _ => format!("HPEXPIRE k{a} {n} {condition} FIELDS 2 f{field} f{second}"),
    }
}

#[test]
fn commands_answer_as_a_map_that_knows_the_time() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new(seed);
        // Some of them begin beyond the compact encoding.
        if seed % 3 == 0 {
            bench.call("CONFIG SET hash-max-listpack-entries 3");
        }
        let mut model = Model {
            keys: BTreeMap::new(),
            now: START_MS,
        };
        for _ in 0..600 {
            if random.below(4) == 0 {
                let step = random.below(60) as u64;
                bench.clock.advance_millis(step);
                model.now += step as i64;
                model.settle();
            }
            if random.below(6) == 0 {
                bench.engine.tick();
            }
            let line = random_line(&mut random, model.now);
            assert_eq!(bench.call(&line), model.run(&line), "seed {seed}: {line}");
        }
        for key in 0..4 {
            let fields = model.keys.remove(&format!("k{key}")).unwrap_or_default();
            let mut expected: Vec<Reply> = fields.keys().map(|field| bulk(Some(field))).collect();
            let Reply::Array(mut found) = bench.call(&format!("HKEYS k{key}")) else {
                panic!("HKEYS");
            };
            found.sort_by_key(|field| format!("{field:?}"));
            expected.sort_by_key(|field| format!("{field:?}"));
            assert_eq!(found, expected, "seed {seed}");
        }
        // What is left expires, and then nothing is.
        bench.clock.advance_millis(1_000_000);
        while bench.engine.tick() == 0 {}
        for key in 0..4 {
            for field in 0..12 {
                let left = bench.call(&format!("HPTTL k{key} FIELDS 1 f{field}"));
                let Reply::Array(left) = left else {
                    panic!("HPTTL")
                };
                assert!(matches!(left[0], Reply::Int(-1 | -2)), "{left:?}");
            }
        }
    }
}

/// A hash of `count` fields that are all due in a second, and of one that stays.
fn large(bench: &mut Bench, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("f{number}")).collect();
    for names in names.chunks(1000) {
        let pairs: Vec<String> = names.iter().map(|name| format!("{name} v")).collect();
        bench.call(&format!("HSET k {}", pairs.join(" ")));
        let reply = bench.call(&format!(
            "HPEXPIRE k 1000 FIELDS {} {}",
            names.len(),
            names.join(" ")
        ));
        assert!(matches!(reply, Reply::Array(_)), "{reply:?}");
    }
    bench.call("HSET k stays v");
}

#[test]
fn very_many_fields_go_in_bounded_pieces_and_are_gone_at_once() {
    const FIELDS: usize = 20_000;
    let mut bench = Bench::new(1);
    large(&mut bench, FIELDS);
    let full = bench.int("MEMORY USAGE k");
    assert_eq!(bench.int("HLEN k"), FIELDS as i64 + 1);
    bench.clock.advance_millis(1000);
    bench.removals.0.lock().clear();

    // Nobody has removed them, and nobody finds them.
    assert_eq!(bench.int("HLEN k"), 1);
    assert_eq!(bench.call("HGET k f19999"), Reply::Null);
    assert_eq!(
        bench.call("HKEYS k"),
        Reply::Array(vec![Reply::bulk("stays")])
    );
    assert_eq!(bench.call("HRANDFIELD k"), Reply::bulk("stays"));
    assert_eq!(
        bench.call("HTTL k FIELDS 1 f19998"),
        Reply::Array(vec![Reply::Int(-2)])
    );
    assert!(bench.int("MEMORY USAGE k") > full / 2);
    // Who writes one begins anew.
    assert_eq!(bench.int("HINCRBY k f19997 5"), 5);
    assert_eq!(bench.int("HSETNX k f19996 w"), 1);
    assert_eq!(
        bench.call("HPTTL k FIELDS 2 f19997 f19996"),
        Reply::Array(vec![Reply::Int(-1), Reply::Int(-1)])
    );

    let mut ticks = 0;
    while bench.engine.tick() == 0 {
        ticks += 1;
    }
    assert!(ticks > 20, "only {ticks} pieces");
    let removals = bench.removals.0.lock().clone();
    assert_eq!(removals.iter().sum::<usize>(), FIELDS);
    assert!(removals.iter().all(|fields| *fields <= 400), "{removals:?}");
    assert_eq!(bench.int("HLEN k"), 3);
    assert!(bench.int("MEMORY USAGE k") < full / 10);
    let (Reply::Bulk(info) | Reply::Verbatim(_, info)) = bench.call("INFO stats") else {
        panic!("INFO");
    };
    let expected = format!("expired_subkeys:{FIELDS}\r\n");
    assert!(String::from_utf8_lossy(&info).contains(&expected));
}

#[test]
fn a_hash_goes_with_its_last_field() {
    let mut bench = Bench::new(1);
    large(&mut bench, 3000);
    bench.call("HDEL k stays");
    bench.clock.advance_millis(999);
    assert_eq!(bench.int("EXISTS k"), 1);
    assert_eq!(bench.engine.tick(), 1, "the next deadline is known");
    bench.clock.advance_millis(1);
    // Whoever only walks by does not see it either.
    assert_eq!(bench.call("KEYS *"), Reply::Array(Vec::new()));
    assert_eq!(bench.int("EXISTS k"), 0);
    assert_eq!(bench.int("DBSIZE"), 0);
    assert_eq!(bench.engine.tick(), u64::MAX);

    // The same by the timer alone.
    large(&mut bench, 3000);
    bench.call("HDEL k stays");
    bench.clock.advance_millis(1000);
    while bench.engine.tick() == 0 {}
    assert_eq!(bench.int("DBSIZE"), 0);
    assert_eq!(bench.engine.tick(), u64::MAX);
}

#[test]
fn a_field_that_expires_ends_a_watch() {
    for timer in [false, true] {
        let mut bench = Bench::new(1);
        bench.call("HSETEX k PX 10 FIELDS 1 f v");
        bench.call("HSET k g v");
        bench.call("WATCH k");
        bench.clock.advance_millis(10);
        if timer {
            bench.engine.tick();
        }
        bench.call("MULTI");
        bench.call("HLEN k");
        assert_eq!(bench.call("EXEC"), Reply::NullArray);
    }
}

/// A script that fails is taken back where Upstash's rules hold.
#[test]
fn an_undone_unit_gives_back_what_it_met() {
    const FAILS: &str = "redis.call('HSET',KEYS[1],'f','new')\
        redis.call('HPEXPIRE',KEYS[1],5,'FIELDS',1,'h')\
        redis.call('HGETDEL',KEYS[1],'FIELDS',1,'i')\
        return\tredis.error_reply('no')";
    let mut bench = Bench::new(1);
    bench.session = bench.engine.rest_session();
    let owner = bench.engine.owner();
    bench.session.set_principal(Some(owner));
    bench.call("HSETEX k PX 10 FIELDS 2 f 1 g 2");
    bench.call("HSETEX k PX 1000 FIELDS 1 h 3");
    bench.call("HSET k i 4");
    bench.clock.advance_millis(10);
    bench.removals.0.lock().clear();
    let reply = bench.call(&format!("EVAL {FAILS} 1 k"));
    assert!(reply.is_error(), "{reply:?}");
    assert!(bench.removals.0.lock().is_empty(), "nothing is logged");
    assert_eq!(
        bench.call("HPEXPIRETIME k FIELDS 4 f g h i"),
        Reply::Array([-2, -2, START_MS + 1000, -1].map(Reply::Int).to_vec())
    );
    assert_eq!(bench.removals.0.lock().iter().sum::<usize>(), 2);
    assert_eq!(bench.engine.tick(), 990);
}
