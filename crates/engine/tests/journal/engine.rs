//! The whole engine on a disk that loses power, fills up and fails: what was
//! answered under `always` is there after any crash, and the state is one that
//! was reached, never half a unit.

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::journal::storage::{Faults, FaultyStorage};
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::random::Random;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply};

fn open(storage: &FaultyStorage, fsync: Fsync, seed: u64) -> Option<Engine> {
    let options = Options {
        clock: Arc::new(ManualClock::new(1_700_000_000_000_000)),
        seed,
        ..Options::default()
    };
    let journal = JournalOptions {
        fsync,
        segment_size: 1500,
    };
    let opened = Engine::open(options, Arc::new(storage.clone()), journal, &mut |_, _| ());
    opened.ok().map(|(engine, _)| engine)
}

fn call(engine: &Engine, session: &mut Session, line: &str) -> (Reply, bool) {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let (reply, seq) = engine.call(session, &argv);
    let stored = !engine.must_wait(seq) || engine.durable_blocking(seq).is_ok();
    (reply, stored)
}

/// One atomic unit, the `n`-th: three keys say `n`.
fn unit(engine: &Engine, session: &mut Session, n: u64) -> bool {
    call(engine, session, "MULTI");
    call(engine, session, &format!("SET a {n}"));
    call(
        engine,
        session,
        &format!("HSET h n {n} filler {}", "x".repeat(90)),
    );
    call(engine, session, &format!("ZADD z {n} n"));
    let (reply, stored) = call(engine, session, "EXEC");
    matches!(reply, Reply::Array(_)) && stored
}

/// The unit that the data stand at; all three keys agree on it.
fn reached(engine: &Engine) -> u64 {
    let mut session = engine.session();
    let mut ask = |line: &str| match call(engine, &mut session, line).0 {
        Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
        Reply::Double(number) => number as u64,
        _ => 0,
    };
    let (a, h, z) = (ask("GET a"), ask("HGET h n"), ask("ZSCORE z n"));
    assert!(a == h && h == z, "half a unit: {a} {h} {z}");
    a
}

#[test]
fn what_was_answered_survives_every_loss_of_power() {
    let mut chance = Random::new(11);
    let (mut crashes, mut refused) = (0, 0);
    for seed in 0..40 {
        let mut storage = FaultyStorage::new();
        let (mut acknowledged, mut tried) = (0, 0);
        for life in 0..5 {
            let point = chance.below(120) as u64;
            storage.set_faults(Faults {
                stop_after: Some(point),
                torn: true,
                short_writes: (life % 2 == 1).then_some(100),
                ..Faults::default()
            });
            if let Some(engine) = open(&storage, Fsync::Always, seed) {
                let at = reached(&engine);
                assert!((acknowledged..=tried).contains(&at));
                let mut session = engine.session();
                for n in at + 1..at + 14 {
                    tried = tried.max(n);
                    if !unit(&engine, &mut session, n) {
                        refused += 1;
                        break;
                    }
                    acknowledged = n;
                    if n % 8 == 3 {
                        let _ = engine.save();
                    }
                }
            }
            crashes += 1;
            storage = storage.crash(chance.next());
        }
        let engine = open(&storage, Fsync::Always, seed).expect("nothing was damaged");
        let at = reached(&engine);
        assert!(
            (acknowledged..=tried).contains(&at),
            "{acknowledged} was answered, {at} is there"
        );
    }
    assert!(crashes == 200 && refused > 40, "{refused}");
}

#[test]
fn a_failed_sync_or_write_never_answers_what_is_not_stored() {
    for fault in 1..30 {
        for (write_error, sync_error) in [(Some(fault), None), (None, Some(fault))] {
            let storage = FaultyStorage::new();
            let engine = open(&storage, Fsync::Always, 1).unwrap();
            storage.set_faults(Faults {
                write_error,
                sync_error,
                torn: fault % 2 == 0,
                ..Faults::default()
            });
            let mut session = engine.session();
            let mut acknowledged = 0;
            for n in 1..20 {
                if unit(&engine, &mut session, n) {
                    acknowledged = n;
                }
            }
            drop(session);
            // The process starts again, then the machine.
            let storage = storage.kill();
            drop(engine);
            let engine = open(&storage, Fsync::Always, 1).unwrap();
            let at = reached(&engine);
            assert!(
                at >= acknowledged,
                "{acknowledged} was answered, {at} is there"
            );
            let storage = storage.crash_hard();
            drop(engine);
            let engine = open(&storage, Fsync::Always, 1).unwrap();
            assert_eq!(reached(&engine), at);
        }
    }
}

#[test]
fn without_always_the_state_is_still_one_that_was_reached() {
    for seed in 0..60 {
        let fsync = [Fsync::EverySecond, Fsync::No][(seed % 2) as usize];
        let storage = FaultyStorage::new();
        let engine = open(&storage, fsync, seed).unwrap();
        let mut session = engine.session();
        for n in 1..40 {
            assert!(unit(&engine, &mut session, n));
            if n == 20 {
                engine.save().unwrap();
            }
        }
        let storage = storage.crash(seed);
        drop(engine);
        let engine = open(&storage, fsync, seed).unwrap();
        let at = reached(&engine);
        assert!(
            (20..40).contains(&at),
            "the snapshot at 20 was durable: {at}"
        );
    }
}

#[test]
fn units_that_need_a_segment_of_their_own_do_not_take_the_spare_twice() {
    for seed in 0..200 {
        let storage = FaultyStorage::new();
        let engine = open(&storage, Fsync::Always, seed).unwrap();
        let mut session = engine.session();
        for n in 0..4 {
            // Larger than a segment, and at once the next segment.
            let value = "v".repeat(1500 + n);
            let (reply, stored) = call(&engine, &mut session, &format!("SET k{n} {value}"));
            assert!(reply == Reply::OK && stored, "{reply:?}");
        }
        let storage = storage.crash_hard();
        drop(engine);
        let engine = open(&storage, Fsync::Always, seed).unwrap();
        let mut session = engine.session();
        for n in 0..4 {
            let length = call(&engine, &mut session, &format!("STRLEN k{n}")).0;
            assert_eq!(length, Reply::Int(1500 + n));
        }
    }
}
