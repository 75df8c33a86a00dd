//! Who hears of a unit: listeners, watchers, those who wait and those who cache.

use std::pin::pin;
use std::task::{Context, Waker};

use sangam_engine::session::Session;
use sangam_engine::{CommandError, Reply, Ttl};

use crate::{Bench, call};

fn told(session: &Session) -> Vec<Reply> {
    let subscribed = session.subscriptions() > 0;
    std::iter::from_fn(|| session.client().mailbox.try_next())
        .filter_map(|post| post.to_reply(session.protocol, subscribed))
        .collect()
}

fn connect(bench: &Bench) -> Session {
    bench.engine.connect("10.0.0.1:5".to_owned(), String::new())
}

#[test]
fn events_and_messages_go_out_with_the_unit() {
    let mut bench = Bench::new();
    let mut listener = connect(&bench);
    call(
        &bench.engine,
        &mut listener,
        "CONFIG SET notify-keyspace-events EA",
    );
    call(&bench.engine, &mut listener, "PSUBSCRIBE *");
    told(&listener);
    let keys: &[&[u8]] = &[b"k", b"h"];
    let failed: Result<(), _> = bench.atomic(keys, |tx| {
        tx.put(b"k", b"v", Ttl::None)?;
        tx.call(&[b"PUBLISH", b"c", b"never"]);
        Err(CommandError::Syntax)
    });
    assert!(failed.is_err());
    assert!(told(&listener).is_empty());
    bench
        .atomic(keys, |tx| {
            tx.put(b"k", b"v", Ttl::Millis(9))?;
            tx.call(&[b"PUBLISH", b"c", b"m"]);
            tx.hash_put(b"h", b"f", b"v")?;
            tx.hash_remove(b"h", b"f")?;
            tx.remove(b"k")?;
            assert!(told(&listener).is_empty(), "told before the unit was over");
            Ok(())
        })
        .unwrap();
    let heard: Vec<String> = told(&listener)
        .into_iter()
        .map(|reply| match reply {
            Reply::Push(parts) | Reply::Array(parts) => {
                let words = parts.iter().skip(2).map(|part| match part {
                    Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                });
                words.collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        })
        .map(|line| line.replace("__keyevent@0__:", ""))
        .collect();
    let expected = [
        "set k", "expire k", "c m", "hset h", "hdel h", "del h", "del k",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_watch_is_broken_by_a_write_and_by_nothing_else() {
    let mut bench = Bench::new();
    let mut other = bench.engine.session();
    for (writes, reply) in [
        (false, Reply::Array(vec![Reply::status("PONG")])),
        (true, Reply::NullArray),
    ] {
        call(&bench.engine, &mut other, "WATCH k");
        call(&bench.engine, &mut other, "MULTI");
        call(&bench.engine, &mut other, "PING");
        bench
            .atomic(&[b"k"], |tx| {
                tx.get(b"k")?;
                if writes {
                    tx.put(b"k", b"v", Ttl::None)?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(call(&bench.engine, &mut other, "EXEC"), reply);
    }
}

#[test]
fn who_waits_is_served_at_the_end_of_the_unit() {
    let mut bench = Bench::new();
    let mut waiting = bench.engine.session();
    let (blocked, _) = bench
        .engine
        .call_or_block(&mut waiting, &[b"BZPOPMIN", b"z", b"0"]);
    let blocked = blocked.unwrap_err();
    let engine = bench.engine.clone();
    let waits = || {
        let mut context = Context::from_waker(Waker::noop());
        pin!(engine.unblocked(&blocked))
            .as_mut()
            .poll(&mut context)
            .is_pending()
    };
    let failed: Result<(), _> = bench.atomic(&[b"z"], |tx| {
        tx.zset_put(b"z", b"never", 0.0)?;
        Err(CommandError::Syntax)
    });
    assert!(failed.is_err() && waits());
    bench
        .atomic(&[b"z"], |tx| {
            tx.zset_put(b"z", b"second", 2.0)?;
            tx.zset_put(b"z", b"first", 1.0)?;
            assert!(waits(), "served inside the unit");
            Ok(())
        })
        .unwrap();
    let (reply, _) = bench.engine.blocked_reply(&blocked);
    let Reply::Array(parts) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(parts[1], Reply::bulk("first"));
    assert_eq!(bench.call("ZCARD z"), Reply::Int(1));
    let logged = bench.logged();
    assert_eq!(logged.len(), 2, "the one who waited has a unit of its own");
}

#[test]
fn who_caches_hears_of_the_write() {
    let mut bench = Bench::new();
    let mut reader = connect(&bench);
    call(&bench.engine, &mut reader, "HELLO 3");
    call(&bench.engine, &mut reader, "CLIENT TRACKING ON");
    call(&bench.engine, &mut reader, "GET k");
    bench
        .atomic(&[b"k"], |tx| tx.put(b"k", b"v", Ttl::None))
        .unwrap();
    assert_eq!(told(&reader).len(), 1);
    // A unit's reads are remembered like a command's.
    let (outcome, _) = bench
        .engine
        .atomic(&mut reader, &[b"k"], |tx| Ok(tx.get(b"k")?.is_some()));
    assert_eq!(outcome, Ok(true));
    bench.call("SET k w");
    assert_eq!(told(&reader).len(), 1);
}

#[test]
fn steps_are_counted_and_shown() {
    let mut bench = Bench::new();
    let mut monitor = connect(&bench);
    call(&bench.engine, &mut monitor, "MONITOR");
    bench
        .atomic(&[b"k"], |tx| {
            tx.get(b"k")?;
            tx.put(b"k", b"v", Ttl::None)
        })
        .unwrap();
    let lines: Vec<String> = told(&monitor)
        .iter()
        .map(|reply| format!("{reply:?}"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("GET") && lines[1].contains("SET"));
    let (Reply::Verbatim(_, text) | Reply::Bulk(text)) = bench.call("INFO commandstats") else {
        panic!("INFO")
    };
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("cmdstat_set:calls=1,"), "{text}");
}
