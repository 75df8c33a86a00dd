//! Random commands of every family between the pieces of a walk, against a
//! copy of the state at the moment of the cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Walk;
use crate::clock::ManualClock;
use crate::command::spec::find;
use crate::command::{Ctx, call};
use crate::config::Settings;
use crate::effect::Effects;
use crate::expiry::NEVER;
use crate::journal::snapshot::block::BLOCK_HEADER;
use crate::journal::snapshot::{Encoded, record};
use crate::keyspace::tests::{books_balance, describe, random_command};
use crate::keyspace::{Db, Expire, Record};
use crate::random::Random;
use crate::value::Value;
use crate::{Engine, Options};

const NOW_MS: u64 = 1_700_000_000_000;

type State = BTreeMap<Vec<u8>, String>;

fn database(seed: u64) -> Db {
    let mut db = Db::new(seed, Arc::new(Settings::default()), Effects::default());
    db.now_ms = NOW_MS;
    db
}

/// Everything in the table, what is past its deadline and nobody met as well.
fn state(db: &Db) -> State {
    db.table
        .iter()
        .map(|record| (record.key.to_vec(), describe(record)))
        .collect()
}

fn decoded(mut encoded: Encoded) -> Vec<Record> {
    encoded.close();
    let mut records = Vec::new();
    for gathered in encoded.take_closed() {
        let mut bytes = &gathered.bytes[BLOCK_HEADER..];
        let before = records.len();
        while !bytes.is_empty() {
            records.push(*record::decode(&mut bytes).unwrap());
        }
        assert_eq!((records.len() - before) as u64, gathered.records);
    }
    records
}

/// Compares what was written with the state at the cut, and loads it.
fn assert_exact(encoded: Encoded, at_cut: &State, seed: u64) {
    let mut db = database(seed);
    let mut deadlines = 0;
    for record in decoded(encoded) {
        deadlines += usize::from(record.deadline != NEVER);
        assert!(
            !db.restore_record(Box::new(record)),
            "seed {seed}: a key comes twice"
        );
    }
    let written = state(&db);
    for (key, expected) in at_cut {
        assert_eq!(written.get(key), Some(expected), "seed {seed}");
    }
    assert_eq!(written.len(), at_cut.len(), "seed {seed}");
    assert!(db.expiring() <= deadlines);
    books_balance(&db);
    for key in written.keys() {
        assert!(db.forget(key));
    }
    assert_eq!((db.len(), db.used, db.expiring()), (0, 0, 0));
}

struct Commands {
    engine: Engine,
    keys: usize,
    /// One of so many FLUSHALLs is run.
    flushes: usize,
}

impl Commands {
    fn new(keys: usize, flushes: usize) -> Self {
        let engine = Engine::new(Options {
            clock: Arc::new(ManualClock::new(NOW_MS * 1000)),
            seed: 1,
            ..Options::default()
        });
        Commands {
            engine,
            keys,
            flushes,
        }
    }

    fn run(&self, count: usize, random: &mut Random, db: &mut Db) {
        let keyspace = self.engine.keyspace("default");
        let mut session = self.engine.session();
        for _ in 0..count {
            let argv = self.next(random);
            if argv == [b"FLUSHALL"] && random.below(self.flushes) != 0 {
                continue;
            }
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            let mut ctx = Ctx {
                engine: &self.engine,
                keyspace: &keyspace,
                db,
                session: &mut session,
            };
            call(&mut ctx, find(argv[0]).unwrap(), &argv);
        }
    }

    fn next(&self, random: &mut Random) -> Vec<Vec<u8>> {
        if random.below(40) != 0 {
            return random_command(random, self.keys);
        }
        let script = "redis.call('HSET', KEYS[1], 'a', ARGV[1]) \
             redis.call('RENAME', KEYS[1], KEYS[2]) \
             redis.call('SADD', KEYS[1], 1, 2) \
             redis.call('PEXPIRE', KEYS[2], 100000) \
             return redis.call('INCR', KEYS[2])";
        let (a, b) = (random.below(self.keys), random.below(self.keys));
        let argv = ["EVAL", script, "2", &format!("k{a}"), &format!("k{b}"), "x"];
        argv.map(|arg| arg.as_bytes().to_vec()).to_vec()
    }

    /// One of the things that may happen between two pieces of a walk.
    fn unit(&self, random: &mut Random, db: &mut Db) {
        let count = random.below(12);
        match random.below(12) {
            0..3 => {
                db.begin_undo();
                self.run(count, random, db);
                db.rollback();
            }
            3..6 => {
                db.begin_undo();
                self.run(count, random, db);
                db.commit();
            }
            6 => {
                db.now_ms += random.below(4000) as u64;
                db.expire_due(count);
            }
            7 => drop(db.evict_one(3)),
            8 => drop(db.random_key()),
            _ => self.run(count, random, db),
        }
        db.effects.clear();
    }
}

/// Walks a cut in pieces with units between them; what was written, and how
/// many pieces it took.
fn walk(commands: &Commands, random: &mut Random, db: &mut Db) -> (Encoded, usize) {
    let mut out = Encoded::default();
    let mut pieces = 0;
    let impatience = 1 + random.below(40);
    loop {
        for _ in 0..random.below(4) {
            commands.unit(random, db);
        }
        pieces += 1;
        let mut dice = random.fork();
        let walk = db.walk_cut(&mut out, &mut || dice.below(impatience) == 0);
        match walk.unwrap() {
            Walk::More => {}
            Walk::Ended(mut rest) => {
                commands.unit(random, db);
                while !rest.walk(&mut out, &mut || true) {}
                return (out, pieces);
            }
        }
    }
}

fn cuts_are_exact(commands: &Commands, seeds: u64, warm_up: usize) -> usize {
    let mut most_pieces = 0;
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut db = database(seed);
        let before = random.below(warm_up);
        commands.run(before, &mut random, &mut db);
        for _ in 0..3 {
            let at_cut = state(&db);
            assert!(db.begin_cut().is_some());
            assert!(db.begin_cut().is_none(), "one at a time");
            let (written, pieces) = walk(commands, &mut random, &mut db);
            most_pieces = most_pieces.max(pieces);
            assert!(db.cut.is_none());
            assert_exact(written, &at_cut, seed);
            books_balance(&db);
        }
    }
    most_pieces
}

#[test]
fn a_cut_of_few_keys_is_exact() {
    cuts_are_exact(&Commands::new(6, 1), 300, 200);
}

#[test]
fn a_cut_of_many_segments_is_exact() {
    let pieces = cuts_are_exact(&Commands::new(3000, 60), 20, 20_000);
    assert!(pieces > 20, "only {pieces} pieces");
}

/// Segments merge and split behind and before the cursor.
#[test]
fn a_cut_of_a_table_that_shrinks_and_grows_is_exact() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut db = database(seed);
        let key = |number: usize| number.to_string().into_bytes();
        for number in 0..20_000 {
            db.put(&key(number), Value::Int(number as i64), Expire::Clear);
        }
        let at_cut = state(&db);
        db.begin_cut().unwrap();
        let mut out = Encoded::default();
        let (mut removed, mut added) = (0, 20_000);
        let is_growing = seed % 2 == 0;
        loop {
            let Walk::Ended(mut rest) = db.walk_cut(&mut out, &mut || true).unwrap() else {
                for _ in 0..random.below(50) {
                    if is_growing {
                        db.put(&key(added), Value::Int(-1), Expire::Clear);
                        added += 1;
                    } else if removed < 19_900 {
                        assert!(db.remove(&key(removed)));
                        removed += 1;
                    }
                }
                continue;
            };
            assert!(rest.walk(&mut out, &mut || true));
            break;
        }
        assert_exact(out, &at_cut, seed);
    }
}

#[test]
fn a_flushed_table_is_written_without_the_lock() {
    let mut db = database(1);
    for number in 0..5000u32 {
        db.put(&number.to_be_bytes(), Value::Int(1), Expire::Clear);
    }
    let at_cut = state(&db);
    db.begin_cut().unwrap();
    let mut out = Encoded::default();
    assert!(matches!(
        db.walk_cut(&mut out, &mut || true),
        Some(Walk::More)
    ));
    db.begin_undo();
    db.clear();
    db.put(b"new", Value::Int(2), Expire::Clear);
    db.clear();
    db.rollback();
    assert_eq!(state(&db), at_cut);
    db.clear();
    assert!(db.is_empty());
    let Some(Walk::Ended(mut rest)) = db.walk_cut(&mut out, &mut || true) else {
        panic!("the keyspace has nothing of the cut any more")
    };
    assert!(!rest.walk(&mut out, &mut || true));
    while !rest.walk(&mut out, &mut || true) {}
    assert_exact(out, &at_cut, 1);
}

#[test]
fn an_abandoned_cut_leaves_nothing() {
    let mut db = database(1);
    db.put(b"a", Value::Int(1), Expire::Clear);
    db.begin_cut().unwrap();
    db.put(b"a", Value::Int(2), Expire::Clear);
    assert!(db.abandon_cut().is_some());
    assert!(db.cut.is_none());
    assert!(db.abandon_cut().is_none());
    assert!(
        db.walk_cut(&mut Encoded::default(), &mut || true).is_none(),
        "nobody may take it for a whole one"
    );
    assert!(db.begin_cut().is_some());
}
