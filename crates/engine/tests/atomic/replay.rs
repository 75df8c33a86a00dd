//! What a unit logs repeats what it did.

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::random::Random;
use sangam_engine::value::Bound;
use sangam_engine::{CommandError, Engine, Options, Reply, Ttl, Tx};

use crate::{Bench, START_MS, call};

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"d"];

fn ttl(random: &mut Random) -> Ttl {
    match random.below(5) {
        0 => Ttl::None,
        1 => Ttl::Keep,
        2 => Ttl::At(START_MS + random.below(4000) as u64),
        _ => Ttl::Millis(1 + random.below(900) as u64),
    }
}

/// One step; its own failure is nothing to the unit.
fn step(tx: &mut Tx<'_>, random: &mut Random) {
    let key = KEYS[random.below(KEYS.len())];
    let member = [b'm', b'0' + random.below(6) as u8];
    let score = random.below(100) as f64 / 7.0;
    let _ = match random.below(14) {
        0..3 => tx.put(key, &member, ttl(random)),
        3 => tx.get(key).map(drop),
        4 => tx.remove(key).map(drop),
        5 | 6 => tx.set_ttl(key, ttl(random)).map(drop),
        7 => tx.hash_put(key, &member, &member).map(drop),
        8 => tx.hash_remove(key, &member).map(drop),
        9 => tx.zset_put(key, &member, score).map(drop),
        10 => tx.zset_remove(key, &member).map(drop),
        11 => tx.zset_remove_up_to(key, Bound::Excluded(score)).map(drop),
        12 => {
            tx.call(&[b"INCRBYFLOAT", key, b"0.1"]);
            Ok(())
        }
        _ => {
            tx.call(&[b"SPOP", key]);
            tx.call(&[b"SADD", key, &member, b"x", b"y"]);
            Ok(())
        }
    };
}

/// Every key's type, deadline and contents; of sets and hashes the order is
/// nobody's business.
fn state(engine: &Engine) -> Vec<Vec<String>> {
    let mut session = engine.session();
    let mut read = |command: &str, key: &[u8]| {
        let (command, options) = command.split_once(' ').unwrap_or((command, ""));
        let line = format!("{command} {} {options}", String::from_utf8_lossy(key));
        call(engine, &mut session, line.trim_end())
    };
    let mut all = Vec::new();
    for key in KEYS {
        let kind = read("TYPE", key);
        let by = match &kind {
            Reply::Status(kind) => match &**kind {
                "string" => "GET",
                "hash" => "HGETALL",
                "set" => "SMEMBERS",
                "zset" => "ZRANGE 0 -1 WITHSCORES",
                _ => "EXISTS",
            },
            other => panic!("{other:?}"),
        };
        let mut lines = match read(by, key).unpacked() {
            Reply::Array(items) | Reply::Set(items) => {
                items.iter().map(|item| format!("{item:?}")).collect()
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => {
                pairs.iter().map(|pair| format!("{pair:?}")).collect()
            }
            other => vec![format!("{other:?}")],
        };
        lines.sort();
        lines.push(format!("{kind:?} {:?}", read("PEXPIRETIME", key)));
        all.push(lines);
    }
    all
}

#[test]
fn units_replay_to_the_same_bytes() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new();
        for _ in 0..150 {
            bench.clock.advance_millis(random.below(60) as u64);
            let before = state(&bench.engine);
            let fails = random.below(4) == 0;
            let outcome = bench.atomic(KEYS, |tx| {
                for _ in 0..=random.below(6) {
                    step(tx, &mut random);
                }
                if fails {
                    Err(CommandError::Syntax)
                } else {
                    Ok(())
                }
            });
            assert_eq!(outcome.is_err(), fails);
            if fails {
                assert_eq!(state(&bench.engine), before, "seed {seed}");
            }
        }
        while bench.engine.tick() == 0 {}
        let second = Engine::new(Options {
            clock: Arc::new(ManualClock::new(START_MS * 1000)),
            seed: seed + 1,
            ..Options::default()
        });
        let mut replayer = second.session();
        for argv in bench.sink.units.lock().iter().flatten() {
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            let (reply, _) = second.call(&mut replayer, &argv);
            assert!(!reply.is_error(), "seed {seed}: {argv:?}: {reply:?}");
        }
        assert_eq!(state(&second), state(&bench.engine), "seed {seed}");
    }
}
