//! What a call costs in process: GET, SET and a cached script on 100,000 keys;
//! lists at both ends; the same steps as a script and as an atomic operation.
//!
//! Keys are spelled out for each call: fetched from a list in random order, they
//! would cost more than the call.
//!
//! `cargo run --release -p sangam-engine --example in_process [calls] [name]`

use std::time::Instant;

use sangam_engine::keyspace::StrRef;
use sangam_engine::random::Random;
use sangam_engine::{Engine, Reply, Ttl};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 100_000;

fn measure(name: &str, calls: usize, mut call: impl FnMut(usize)) {
    if std::env::args()
        .nth(2)
        .is_some_and(|wanted| !name.starts_with(&wanted))
    {
        return;
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for turn in 0..calls {
            call(turn);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    println!("{name:<24} {best:>7.0} ns");
}

/// The key of this number: 16 bytes.
fn key(mut number: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    for digit in key.iter_mut().rev().take(12) {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    key
}

fn main() {
    let calls = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let engine = Engine::default();
    let mut session = engine.session();
    let value = [b'v'; 16];
    for number in 0..KEYS {
        engine.call(&mut session, &[b"SET", &key(number), &value]);
    }
    let mut random = Random::new(7);
    measure("GET", calls, |_| {
        let key = key(random.below(KEYS));
        let (reply, _) = engine.call(&mut session, &[b"GET", &key]);
        assert!(matches!(reply, Reply::Bulk(_)));
    });
    measure("SET", calls, |_| {
        let key = key(random.below(KEYS));
        engine.call(&mut session, &[b"SET", &key, &value]);
    });
    measure("spelling a key", calls, |_| {
        std::hint::black_box(key(random.below(KEYS)));
    });
    measure("INCR", calls, |_| {
        engine.call(&mut session, &[b"INCR", b"counter"]);
    });
    let element = b"element:0042";
    for _ in 0..1000 {
        engine.call(&mut session, &[b"RPUSH", b"queue", element]);
    }
    measure("RPUSH", calls, |_| {
        engine.call(&mut session, &[b"RPUSH", b"pushed", element]);
    });
    measure("LPUSH", calls, |_| {
        engine.call(&mut session, &[b"LPUSH", b"pushed", element]);
    });
    measure("a job: RPUSH, LPOP", calls, |_| {
        engine.call(&mut session, &[b"RPUSH", b"queue", element]);
        let (reply, _) = engine.call(&mut session, &[b"LPOP", b"queue"]);
        assert!(matches!(reply, Reply::Bulk(_)));
    });
    measure("LRANGE, 100 elements", calls / 10, |_| {
        let (reply, _) = engine.call(&mut session, &[b"LRANGE", b"queue", b"0", b"99"]);
        assert!(matches!(reply, Reply::Bulks(found) if found.len() == 100));
    });
    let script = b"return redis.call('INCR', KEYS[1])";
    let (sha, _) = engine.call(&mut session, &[b"SCRIPT", b"LOAD", script]);
    let Reply::Bulk(sha) = sha else {
        println!("{sha:?}");
        return;
    };
    measure("EVALSHA, one call", calls, |_| {
        let (reply, _) = engine.call(&mut session, &[b"EVALSHA", &sha, b"1", b"counter:script"]);
        assert!(matches!(reply, Reply::Int(_)));
    });
    let script =
        b"local v = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return v";
    let (sha, _) = engine.call(&mut session, &[b"SCRIPT", b"LOAD", script]);
    let Reply::Bulk(sha) = sha else {
        println!("{sha:?}");
        return;
    };
    engine.call(&mut session, &[b"SET", b"swapped", &value]);
    measure("EVALSHA, get and put", calls, |_| {
        let (reply, _) = engine.call(&mut session, &[b"EVALSHA", &sha, b"1", b"swapped", &value]);
        assert!(!reply.is_error());
    });
    measure("atomic, get and put", calls, |_| {
        let (outcome, _) = engine.atomic(&mut session, &[b"swapped"], |tx| {
            let length = tx.get(b"swapped")?.map_or(0, StrRef::len);
            tx.put(b"swapped", &value, Ttl::None)?;
            Ok(length)
        });
        assert_eq!(outcome, Ok(value.len()));
    });
    measure("atomic, get", calls, |_| {
        let (outcome, _) = engine.atomic(&mut session, &[b"swapped"], |tx| {
            Ok(tx.get(b"swapped")?.map_or(0, StrRef::len))
        });
        assert_eq!(outcome, Ok(value.len()));
    });
}
