//! What is logged: absolute, nothing where nothing changed, and enough to
//! arrive at the same data.

use std::sync::Arc;

use parking_lot::Mutex;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::random::Random;
use sangam_engine::{Options, Seq};

use super::Caller;

#[derive(Default)]
struct Recording(Mutex<Vec<Vec<Vec<u8>>>>);

impl EffectSink for Recording {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut log = self.0.lock();
        log.extend(
            effects
                .iter()
                .map(|argv| argv.iter().map(|arg| arg.to_vec()).collect()),
        );
        Seq(log.len() as u64)
    }
}

fn recorded() -> (Caller, Arc<Recording>) {
    let sink = Arc::new(Recording::default());
    (
        Caller::new(Options {
            sink: sink.clone(),
            ..Options::default()
        }),
        sink,
    )
}

#[test]
fn effects_are_absolute() {
    let (mut caller, sink) = recorded();
    for (line, effect) in [
        ("SET k 1", "SET k 1"),
        ("SET k 1 NX", ""),
        ("SET k 1 XX GET", "SET k 1"),
        ("SET k 1 EX 10", "SET k 1 PXAT 1700000010000"),
        ("SET k 2 KEEPTTL", "SET k 2 KEEPTTL"),
        ("SET k 3 IFEQ 2 PX 5", "SET k 3 PXAT 1700000000005"),
        ("SET k 3 IFEQ 2", ""),
        ("SETEX k 10 4", "SET k 4 PXAT 1700000010000"),
        ("PSETEX k 10 4", "SET k 4 PXAT 1700000000010"),
        ("GETEX k", ""),
        ("GETEX k EX 7", "PEXPIREAT k 1700000007000"),
        ("GETEX k PERSIST", "PERSIST k"),
        ("GETEX k PERSIST", ""),
        ("INCRBYFLOAT k 0.5", "SET k 4.5 KEEPTTL"),
        ("GETSET k 1", "SET k 1"),
        ("INCR k", "INCR k"),
        ("SETBIT k 2 1", ""),
        ("SETBIT k 6 0", "SETBIT k 6 0"),
        ("BITFIELD k GET u8 0", ""),
        ("BITFIELD k SET u8 0 48", ""),
        ("BITFIELD k SET u8 0 49", "BITFIELD k SET u8 0 49"),
        ("BITFIELD k OVERFLOW FAIL INCRBY u1 7 1", ""),
        ("SETRANGE k 0 ", ""),
        ("GETEX k PXAT 1", "DEL k"),
        ("GETDEL k", ""),
        ("BITOP NOT d k", ""),
        ("SETNX k v", "SETNX k v"),
        ("SETNX k v", ""),
        ("MSETNX k v l w", ""),
        ("GETDEL k", "DEL k"),
        ("INCRBY k x", ""),
        ("SET k v", "SET k v"),
        ("DELEX k IFEQ w", ""),
        ("DELEX k IFEQ v", "DEL k"),
    ] {
        caller.run(line);
        let logged: Vec<String> = std::mem::take(&mut *sink.0.lock())
            .iter()
            .map(|argv| String::from_utf8(argv.join(&b' ')).unwrap())
            .collect();
        assert_eq!(logged.join("; "), effect, "{line}");
    }
}

#[test]
fn effects_lead_to_the_same_data() {
    let words = "SET|GETSET|APPEND|SETRANGE|INCR|DECRBY|INCRBYFLOAT|SETBIT|BITFIELD|BITOP|GETEX|\
                 GETDEL|SETEX|MSET|MSETNX|SETNX|DELEX";
    let words: Vec<&str> = words.split('|').collect();
    for seed in 0..20 {
        let (mut caller, sink) = recorded();
        let mut random = Random::new(seed);
        for _ in 0..500 {
            let key = format!("k{}", random.below(4));
            let number = random.below(90);
            let line = match words[random.below(words.len())] {
                "SET" => format!(
                    "SET {key} {number} {}",
                    ["PX 60", "KEEPTTL", "NX", "GET", "EX 1", "IFEQ 7"][random.below(6)]
                ),
                "SETRANGE" => format!("SETRANGE {key} {number} xyz"),
                "INCR" => format!("INCR {key}"),
                "SETBIT" => format!("SETBIT {key} {number} {}", random.below(2)),
                "BITFIELD" => {
                    format!("BITFIELD {key} OVERFLOW FAIL INCRBY i7 {number} 30 SET u9 #2 {number}")
                }
                "BITOP" => format!("BITOP XOR {key} k1 k2"),
                "GETEX" => format!("GETEX {key} PX {}", number + 1),
                "GETDEL" => format!("GETDEL {key}"),
                "SETEX" => format!("SETEX {key} 1 {number}"),
                "MSET" | "MSETNX" => format!("MSETNX {key} {number} k9 1"),
                "DELEX" => format!("DELEX {key} IFNE {number}"),
                "INCRBYFLOAT" => format!("INCRBYFLOAT {key} 0.{number}"),
                other => format!("{other} {key} {number}"),
            };
            caller.run(&line);
            caller.clock.advance_millis(random.below(20) as u64);
        }
        let mut copy = Caller::new(Options::default());
        for argv in sink.0.lock().iter() {
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            let reply = copy.call(&argv);
            assert!(!reply.is_error(), "{reply:?}");
        }
        // Only now may the copy's keys expire by themselves.
        let passed = caller.engine.now_micros() - copy.engine.now_micros();
        copy.clock.advance_millis(passed / 1000);
        for key in ["k0", "k1", "k2", "k3", "k9"] {
            for read in ["GET", "PEXPIRETIME"] {
                let line = format!("{read} {key}");
                assert_eq!(caller.say(&line), copy.say(&line), "{line}, seed {seed}");
            }
        }
    }
}
