//! Which keys go when memory is full, policy by policy; and what LFU counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply};

struct Bench {
    engine: Engine,
    session: Session,
    clock: Arc<ManualClock>,
}

impl Bench {
    /// Under a policy, without a limit yet.
    fn new(policy: &str) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            seed: 11,
            ..Options::default()
        });
        let session = engine.session();
        let mut bench = Bench {
            engine,
            session,
            clock,
        };
        bench.ok(&format!("CONFIG SET maxmemory-policy {policy}"));
        bench.ok("CONFIG SET maxmemory-samples 20");
        bench
    }

    fn call(&mut self, line: &str) -> Reply {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.engine.call(&mut self.session, &argv).0
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.call(line), Reply::OK, "{line}");
    }

    fn int(&mut self, line: &str) -> i64 {
        match self.call(line) {
            Reply::Int(number) => number,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn used(&mut self) -> usize {
        let keyspace = self.engine.keyspace("default");
        let batch = self.engine.try_batch(&keyspace).unwrap();
        batch.db().used_memory()
    }

    /// Limits memory to what is used, less so many bytes.
    fn limit(&mut self, less: usize) {
        let limit = self.used() - less;
        self.ok(&format!("CONFIG SET maxmemory {limit}"));
    }

    /// How many of the keys `name0`, `name1`, ... are there.
    fn count(&mut self, name: &str, keys: usize) -> i64 {
        (0..keys)
            .map(|key| self.int(&format!("EXISTS {name}{key}")))
            .sum()
    }

    fn fill(&mut self, name: &str, keys: usize, options: &str) {
        let value = "v".repeat(400);
        for key in 0..keys {
            self.ok(&format!("SET {name}{key} {value}{options}"));
        }
    }
}

#[test]
fn volatile_policies_take_only_keys_with_a_deadline() {
    for policy in [
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let mut bench = Bench::new(policy);
        bench.fill("stays", 100, "");
        bench.fill("may", 100, " EX 1000");
        bench.limit(0);
        bench.fill("new", 50, "");
        assert_eq!(bench.count("stays", 100), 100, "{policy}");
        assert_eq!(bench.count("new", 50), 50, "{policy}");
        assert!(bench.count("may", 100) < 70, "{policy}");
        // Few among many are found too, to the last of them.
        bench.limit(0);
        let value = "v".repeat(400);
        let refused = (0..200).find(|key| {
            let reply = bench.call(&format!("SET more{key} {value}"));
            reply.is_error()
        });
        assert!(refused.is_some(), "{policy}: nothing is refused");
        assert_eq!(bench.count("may", 100), 0, "{policy}");
        assert_eq!(bench.count("stays", 100), 100, "{policy}");
        assert!(!bench.call("DEL stays0").is_error());
    }
}

#[test]
fn volatile_ttl_takes_what_expires_first() {
    let mut bench = Bench::new("volatile-ttl");
    let value = "v".repeat(400);
    for key in 0..100 {
        // The later, the sooner.
        bench.ok(&format!("SET k{key} {value} EX {}", 1000 - key));
    }
    bench.limit(0);
    bench.fill("new", 20, "");
    let left: Vec<i64> = (0..100)
        .map(|key| bench.int(&format!("EXISTS k{key}")))
        .collect();
    let first_gone = left.iter().position(|there| *there == 0).unwrap();
    assert!(left.iter().skip(first_gone).all(|there| *there == 0));
    assert!(first_gone > 50);
}

#[test]
fn lfu_keeps_what_is_used_often_and_lru_what_was_used_last() {
    for (policy, kept, gone) in [
        ("allkeys-lfu", "often", "late"),
        ("allkeys-lru", "late", "often"),
    ] {
        let mut bench = Bench::new(policy);
        bench.fill("often", 50, "");
        bench.fill("late", 50, "");
        for _ in 0..30 {
            for key in 0..50 {
                bench.call(&format!("GET often{key}"));
            }
        }
        bench.clock.advance_millis(5000);
        for key in 0..50 {
            bench.call(&format!("GET late{key}"));
        }
        bench.limit(12_000);
        bench.ok("SET one more");
        let (kept, gone) = (bench.count(kept, 50), bench.count(gone, 50));
        assert!(kept >= 48 && gone <= 30, "{policy}: {kept} and {gone}");
    }
}

#[test]
fn random_eviction_stays_within_the_limit() {
    let mut bench = Bench::new("allkeys-random");
    bench.fill("k", 200, "");
    bench.limit(0);
    bench.fill("new", 200, "");
    assert!(bench.count("k", 200) < 200);
    assert!(bench.count("new", 200) < 200);
    assert!(bench.int("DBSIZE") <= 201);
}

#[test]
fn lfu_counts_uses_and_forgets_them() {
    let mut bench = Bench::new("allkeys-lfu");
    bench.ok("SET k v");
    assert_eq!(bench.int("OBJECT FREQ k"), 5);
    bench.call("GET k");
    assert_eq!(bench.int("OBJECT FREQ k"), 6);
    assert!(bench.call("OBJECT IDLETIME k").is_error());
    bench.clock.advance_millis(2 * 60_000);
    assert_eq!(bench.int("OBJECT FREQ k"), 4);
    bench.ok("CONFIG SET lfu-decay-time 0");
    assert_eq!(bench.int("OBJECT FREQ k"), 6);
    bench.ok("CONFIG SET lfu-log-factor 0");
    for _ in 0..300 {
        bench.call("GET k");
    }
    assert_eq!(bench.int("OBJECT FREQ k"), 255);
    // A new value is the same key's.
    bench.ok("SET k w");
    assert_eq!(bench.int("OBJECT FREQ k"), 255);
    assert!(!bench.call("COPY k copy").is_error());
    assert_eq!(bench.int("OBJECT FREQ copy"), 5);
    bench.ok("CONFIG SET maxmemory-policy allkeys-lru");
    assert!(bench.call("OBJECT FREQ k").is_error());
    bench.call("GET k");
    bench.clock.advance_millis(3000);
    assert_eq!(bench.int("OBJECT IDLETIME k"), 3);
}

#[test]
fn restore_says_how_often_or_how_long_ago_a_key_was_used() {
    let mut bench = Bench::new("allkeys-lfu");
    bench.ok("SET k 1");
    let Reply::Bulk(payload) = bench.call("DUMP k") else {
        panic!("DUMP")
    };
    let restore = |bench: &mut Bench, key: &str, option: &str, value: &str| {
        let argv: [&[u8]; 6] = [
            b"RESTORE",
            key.as_bytes(),
            b"0",
            &payload,
            option.as_bytes(),
            value.as_bytes(),
        ];
        assert_eq!(bench.engine.call(&mut bench.session, &argv).0, Reply::OK);
    };
    restore(&mut bench, "often", "FREQ", "200");
    assert_eq!(bench.int("OBJECT FREQ often"), 200);
    restore(&mut bench, "idle", "IDLETIME", "200");
    assert_eq!(bench.int("OBJECT FREQ idle"), 5);
    bench.ok("CONFIG SET maxmemory-policy noeviction");
    restore(&mut bench, "old", "IDLETIME", "200");
    assert_eq!(bench.int("OBJECT IDLETIME old"), 200);
    restore(&mut bench, "new", "FREQ", "200");
    assert_eq!(bench.int("OBJECT IDLETIME new"), 0);
}
