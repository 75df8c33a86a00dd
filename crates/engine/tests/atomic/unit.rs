//! A unit is kept whole or taken back whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sangam_engine::keyspace::StrRef;
use sangam_engine::{CommandError, Reply, Ttl, Tx};

use crate::{Bench, START_MS, refusal};

const KEYS: &[&[u8]] = &[b"s", b"h", b"z", b"gone", b"new"];

/// A step of each kind on what [`filled`] holds.
fn change_all(tx: &mut Tx<'_>) -> Result<(), CommandError> {
    tx.put(b"s", b"changed", Ttl::Millis(500))?;
    tx.hash_put(b"h", b"f", b"changed")?;
    tx.hash_remove(b"h", b"g")?;
    tx.zset_put(b"z", b"a", 9.0)?;
    tx.zset_remove(b"z", b"b")?;
    tx.remove(b"gone")?;
    tx.put(b"new", b"1", Ttl::None)?;
    tx.set_ttl(b"h", Ttl::At(START_MS + 900))?;
    assert_eq!(tx.call(&[b"INCR", b"new"]), Reply::Int(2));
    Ok(())
}

fn filled() -> Bench {
    let mut bench = Bench::new();
    for line in [
        "SET s whole PX 70000",
        "HSET h f 1 g 2",
        "ZADD z 1 a 2 b",
        "SET gone here",
    ] {
        assert!(!bench.call(line).is_error());
    }
    bench.logged();
    bench
}

fn contents(bench: &mut Bench) -> Vec<Reply> {
    let read = [
        "GET s",
        "PEXPIRETIME s",
        "HGETALL h",
        "PEXPIRETIME h",
        "ZRANGE z 0 -1 WITHSCORES",
        "GET gone",
        "GET new",
        "DBSIZE",
    ];
    read.iter().map(|line| bench.call(line)).collect()
}

#[test]
fn an_operation_is_one_unit_of_the_log() {
    let mut bench = filled();
    let (outcome, seq) = bench.engine.atomic(&mut bench.session, KEYS, change_all);
    assert_eq!(outcome, Ok(()));
    assert_eq!(seq, bench.engine.keyspace("default").last_seq());
    assert_eq!(
        bench.logged(),
        [[
            "SET s changed PXAT 1700000000500",
            "HSET h f changed",
            "HDEL h g",
            "ZADD z 9 a",
            "ZREM z b",
            "DEL gone",
            "SET new 1",
            "PEXPIREAT h 1700000000900",
            "INCR new",
        ]]
    );
}

#[test]
fn an_error_takes_all_back() {
    let mut bench = filled();
    let before = contents(&mut bench);
    let outcome: Result<(), _> = bench.atomic(KEYS, |tx| {
        change_all(tx)?;
        Err(CommandError::NotInteger)
    });
    assert_eq!(outcome, Err(CommandError::NotInteger));
    assert_eq!(contents(&mut bench), before);
    assert!(bench.logged().is_empty());
}

#[test]
fn a_panic_takes_all_back_and_goes_on() {
    let mut bench = filled();
    let before = contents(&mut bench);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        bench.atomic(KEYS, |tx| -> Result<(), CommandError> {
            change_all(tx)?;
            panic!("asked for")
        })
    }));
    let said = panicked.unwrap_err();
    assert_eq!(said.downcast_ref(), Some(&"asked for"));
    assert_eq!(contents(&mut bench), before);
    assert!(bench.logged().is_empty());
    // The next unit is whole.
    assert_eq!(bench.atomic(KEYS, change_all), Ok(()));
    assert_eq!(bench.logged().len(), 1);
}

#[test]
fn a_step_that_fails_leaves_the_choice_to_the_operation() {
    let mut bench = filled();
    let outcome = bench.atomic(KEYS, |tx| {
        tx.put(b"new", b"kept", Ttl::None)?;
        assert_eq!(tx.get(b"h").map(|_| ()), Err(CommandError::WrongType));
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(bench.call("GET new"), Reply::bulk("kept"));
    let outcome = bench.atomic(KEYS, |tx| {
        tx.put(b"new", b"lost", Ttl::None)?;
        tx.hash_put(b"s", b"f", b"v")
    });
    assert_eq!(outcome, Err(CommandError::WrongType));
    assert_eq!(bench.call("GET new"), Reply::bulk("kept"));
}

#[test]
fn a_unit_that_only_reads_logs_nothing() {
    let mut bench = filled();
    let outcome = bench.atomic(KEYS, |tx| {
        let text = tx.get(b"s")?.map(StrRef::to_vec);
        Ok((text, tx.hash_len(b"h")?, tx.zset_len(b"z")?))
    });
    assert_eq!(outcome, Ok((Some(b"whole".to_vec()), 2, 2)));
    assert!(bench.logged().is_empty());
}

#[test]
fn what_expires_on_the_way_comes_back_with_the_rest() {
    let mut bench = filled();
    bench.clock.advance_millis(70_000);
    let outcome: Result<(), _> = bench.atomic(KEYS, |tx| {
        assert!(tx.get(b"s")?.is_none());
        tx.put(b"s", b"again", Ttl::Keep)?;
        Err(CommandError::Syntax)
    });
    assert_eq!(outcome, Err(CommandError::Syntax));
    assert!(bench.logged().is_empty());
    // It is due still, and the log hears of it from whoever meets it next.
    assert_eq!(bench.call("GET s"), Reply::Null);
    assert_eq!(bench.logged(), [["DEL s"]]);
}

#[test]
fn keys_that_are_not_declared_are_refused() {
    let mut bench = filled();
    let error = "ERR the atomic operation did not declare this key: h";
    let keys: &[&[u8]] = &[b"s"];
    assert_eq!(refusal(bench.atomic(keys, |tx| tx.remove(b"h"))), error);
    assert_eq!(
        refusal(bench.atomic(keys, |tx| tx.hash_len(b"h"))),
        error,
        "reads too"
    );
    bench
        .atomic(keys, |tx| {
            for argv in [
                &[&b"HGET"[..], b"h", b"f"][..],
                &[b"MGET", b"s", b"h"],
                &[b"RENAME", b"s", b"h"],
                &[b"OBJECT", b"ENCODING", b"h"],
                &[b"XGROUP", b"CREATE", b"h", b"g", b"$"],
            ] {
                assert_eq!(tx.call(argv), Reply::error(error), "{argv:?}");
            }
            for argv in [&[&b"FLUSHALL"[..]][..], &[b"KEYS", b"*"], &[b"DBSIZE"]] {
                let Reply::Error(text) = tx.call(argv) else {
                    panic!("{argv:?} ran")
                };
                let text = String::from_utf8(text).unwrap();
                assert!(text.ends_with("it does not name its keys"), "{text}");
            }
            Ok(())
        })
        .unwrap();
    let many: Vec<Vec<u8>> = (0..20).map(|at: u8| vec![b'k', at]).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let put = |tx: &mut Tx<'_>| tx.put(many[19], b"v", Ttl::None);
    assert_eq!(bench.atomic(&many, put), Ok(()));
    assert_eq!(refusal(bench.atomic(&many, |tx| tx.exists(b"h"))), error);
}

#[test]
fn more_than_a_unit_may_write_is_undone() {
    // A unit may have 1 GiB: values of the largest size get there fast.
    let mut bench = Bench::new();
    let value = vec![b'x'; 512 << 20];
    let outcome = bench.atomic(&[b"k"], |tx| {
        for _ in 0..3 {
            tx.put(b"k", &value, Ttl::None)?;
        }
        Ok(())
    });
    assert_eq!(
        refusal(outcome),
        "ERR the unit is undone: it writes more than a unit may"
    );
    assert_eq!(bench.call("EXISTS k"), Reply::Int(0));
}
