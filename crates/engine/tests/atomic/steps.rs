//! What each step answers and leaves.

use sangam_engine::keyspace::StrRef;
use sangam_engine::value::Bound;
use sangam_engine::{CommandError, Reply, Ttl};

use crate::{Bench, START_MS, refusal};

#[test]
fn strings_and_their_time() {
    let mut bench = Bench::new();
    let keys: &[&[u8]] = &[b"k", b"none"];
    bench
        .atomic(keys, |tx| {
            assert!(tx.get(b"k")?.is_none());
            assert_eq!(tx.ttl(b"k")?, None);
            tx.put(b"k", b"12", Ttl::Millis(100))?;
            assert_eq!(tx.ttl(b"k")?, Some(Ttl::At(START_MS + 100)));
            tx.put(b"k", b"013", Ttl::Keep)?;
            assert_eq!(tx.get(b"k")?.map(StrRef::to_vec), Some(b"013".into()));
            assert_eq!(tx.ttl(b"k")?, Some(Ttl::At(START_MS + 100)));
            assert!(tx.set_ttl(b"k", Ttl::None)?);
            assert!(!tx.set_ttl(b"k", Ttl::None)?);
            assert_eq!(tx.ttl(b"k")?, Some(Ttl::None));
            assert!(tx.set_ttl(b"k", Ttl::Millis(5))?);
            assert_eq!(tx.ttl(b"k")?, Some(Ttl::At(START_MS + 5)));
            tx.put(b"k", b"", Ttl::None)?;
            assert_eq!(tx.ttl(b"k")?, Some(Ttl::None));
            assert!(!tx.set_ttl(b"none", Ttl::Millis(5))?);
            assert!(
                tx.set_ttl(b"k", Ttl::At(START_MS))?,
                "it passes and is gone"
            );
            assert!(!tx.exists(b"k")?);
            assert!(!tx.remove(b"k")?);
            tx.put(b"k", b"late", Ttl::At(1))?;
            assert!(!tx.exists(b"k")?);
            Ok(())
        })
        .unwrap();
    for bad in [
        Ttl::Millis(0),
        Ttl::At(0),
        Ttl::Millis(u64::MAX),
        Ttl::At(1 << 63),
    ] {
        let outcome = bench.atomic(keys, |tx| tx.put(b"k", b"v", bad));
        assert_eq!(refusal(outcome), "ERR invalid expire time in 'set' command");
    }
    let far = bench.atomic(keys, |tx| tx.set_ttl(b"k", Ttl::At(u64::MAX)));
    assert_eq!(
        refusal(far),
        "ERR invalid expire time in 'pexpireat' command"
    );
}

#[test]
fn counters() {
    let mut bench = Bench::new();
    let keys: &[&[u8]] = &[b"n"];
    assert_eq!(bench.atomic(keys, |tx| tx.add(b"n", -3)), Ok(-3));
    bench.call("PEXPIRE n 500");
    assert_eq!(
        bench.atomic(keys, |tx| tx.add(b"n", i64::MAX)),
        Ok(i64::MAX - 3)
    );
    assert_eq!(bench.call("PTTL n"), Reply::Int(500));
    let over = bench.atomic(keys, |tx| tx.add(b"n", 4));
    assert_eq!(over, Err(CommandError::Overflow));
    bench.call("SET n 01");
    let text = bench.atomic(keys, |tx| tx.add(b"n", 4));
    assert_eq!(text, Err(CommandError::NotInteger));
}

#[test]
fn hashes() {
    let mut bench = Bench::new();
    bench
        .atomic(&[b"h"], |tx| {
            assert_eq!(tx.hash_get(b"h", b"f")?, None);
            assert!(tx.hash_put(b"h", b"f", b"1")?);
            assert!(!tx.hash_put(b"h", b"f", b"2")?);
            assert_eq!(tx.hash_get(b"h", b"f")?, Some(&b"2"[..]));
            assert_eq!(tx.hash_len(b"h")?, 1);
            assert!(!tx.hash_remove(b"h", b"g")?);
            assert!(tx.hash_remove(b"h", b"f")?);
            assert!(!tx.exists(b"h")?);
            assert!(!tx.hash_remove(b"h", b"f")?);
            Ok(())
        })
        .unwrap();
    assert_eq!(
        bench.logged(),
        [["HSET h f 1", "HSET h f 2", "HDEL h f"]],
        "what changed nothing is not logged"
    );
}

#[test]
fn sorted_sets() {
    let mut bench = Bench::new();
    let infinity = f64::INFINITY;
    bench
        .atomic(&[b"z"], |tx| {
            assert_eq!(tx.zset_first(b"z")?, None);
            assert!(tx.zset_put(b"z", b"a", 1.5)?);
            assert!(tx.zset_put(b"z", b"b", 0.1)?);
            assert!(!tx.zset_put(b"z", b"b", 0.1)?);
            assert!(tx.zset_put(b"z", b"c", infinity)?);
            assert_eq!(tx.zset_first(b"z")?, Some((&b"b"[..], 0.1)));
            assert_eq!(tx.zset_score(b"z", b"a")?, Some(1.5));
            assert_eq!(tx.zset_score(b"z", b"x")?, None);
            let (from, to) = (Bound::Excluded(0.1), Bound::Included(infinity));
            assert_eq!(tx.zset_count(b"z", from, to)?, 2);
            assert_eq!(tx.zset_remove_up_to(b"z", Bound::Excluded(1.5))?, 1);
            assert_eq!(tx.zset_remove_up_to(b"z", Bound::Included(1.5))?, 1);
            assert_eq!(tx.zset_remove_up_to(b"z", Bound::Included(1.5))?, 0);
            assert_eq!(tx.zset_len(b"z")?, 1);
            assert!(tx.zset_remove(b"z", b"c")?);
            assert!(!tx.exists(b"z")?);
            let nan = tx.zset_put(b"z", b"a", f64::NAN);
            assert_eq!(nan, Err(CommandError::NotFloat));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        bench.logged(),
        [[
            "ZADD z 1.5 a",
            "ZADD z 0.10000000000000001 b",
            "ZADD z inf c",
            "ZREMRANGEBYSCORE z -inf (1.5",
            "ZREMRANGEBYSCORE z -inf 1.5",
            "ZREM z c",
        ]]
    );
}

#[test]
fn any_other_command_is_a_step_too() {
    let mut bench = Bench::new();
    let replies = bench.atomic(&[b"l", b"z"], |tx| {
        Ok([
            tx.call(&[b"RPUSH", b"l", b"a"]),
            tx.call(&[b"INCR", b"l"]),
            // Nobody waits inside a unit.
            tx.call(&[b"BLPOP", b"z", b"0"]),
            tx.call(&[b"BLPOP", b"l", b"z", b"0"]),
        ])
    });
    let [pushed, failed, waited, popped] = replies.unwrap();
    assert_eq!(pushed, Reply::Int(1));
    assert_eq!(failed, CommandError::WrongType.into());
    assert_eq!(waited, Reply::NullArray);
    let both = vec![Reply::bulk("l"), Reply::bulk("a")];
    assert_eq!(popped.unpacked(), Reply::Array(both));
    assert_eq!(bench.logged(), [["RPUSH l a", "LPOP l"]]);
    for line in [
        "MULTI",
        "EXEC",
        "WATCH l",
        "EVAL x 0",
        "FCALL f 0",
        "SCRIPT FLUSH",
        "AUTH p",
        "HELLO 3",
        "SELECT 0",
        "CLIENT ID",
        "CONFIG GET port",
        "SUBSCRIBE c",
        "BGSAVE",
        "MONITOR",
        "WAIT 0 0",
        "ACL WHOAMI",
    ] {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = bench.atomic(&[b"l"], |tx| Ok(tx.call(&argv))).unwrap();
        let Reply::Error(text) = reply else {
            panic!("{line} ran: {reply:?}")
        };
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("not allowed in an atomic"), "{line}: {text}");
    }
    let wrong = bench.atomic(&[b"l"], |tx| {
        Ok([tx.call(&[]), tx.call(&[b"NONE"]), tx.call(&[b"GET"])])
    });
    assert!(wrong.unwrap().iter().all(Reply::is_error));
}

/// Of the same length it is written in place, and taken back there.
#[test]
fn a_put_over_a_string_of_its_length_is_undone() {
    let mut bench = Bench::new();
    for made in ["SET k one PX 500", "SET k one"] {
        bench.call(made);
        let look = [
            "GET k",
            "PEXPIRETIME k",
            "MEMORY USAGE k",
            "OBJECT ENCODING k",
        ];
        let was = look.map(|line| bench.call(line));
        assert_eq!(was[0], Reply::Bulk(b"one".to_vec()));
        for ttl in [Ttl::Keep, Ttl::None, Ttl::Millis(90)] {
            let failed: Result<(), CommandError> = bench.atomic(&[b"k"], |tx| {
                tx.put(b"k", b"two", ttl)?;
                tx.put(b"k", b"six", Ttl::Keep)?;
                tx.put(b"k", b"seven", Ttl::Keep)?;
                tx.put(b"k", b"eight", ttl)?;
                Err(CommandError::Syntax)
            });
            assert!(failed.is_err());
            assert_eq!(look.map(|line| bench.call(line)), was);
        }
    }
    bench.logged();
    let kept = bench.atomic(&[b"k"], |tx| tx.put(b"k", b"two", Ttl::Millis(90)));
    assert!(kept.is_ok());
    let gone = START_MS + 90;
    assert_eq!(bench.logged(), [[format!("SET k two PXAT {gone}")]]);
    assert_eq!(bench.call("PEXPIRETIME k"), Reply::Int(gone as i64));
    bench.clock.advance_millis(90);
    assert_eq!(bench.call("GET k"), Reply::Null);
}
