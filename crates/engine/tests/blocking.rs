//! Commands that wait for a key: served in the order of arrival, as units of
//! their own, at the end of the unit that wrote; and nothing is lost to a client
//! that has gone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sangam_engine::effect::{EffectSink, Effects, Seq};
use sangam_engine::session::{Blocked, Session};
use sangam_engine::{Engine, Options, Reply};

fn call(engine: &Engine, session: &mut Session, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    engine.call(session, &argv).0
}

fn block(engine: &Engine, argv: &[&str]) -> Blocked {
    let mut session = engine.session();
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    match engine.call_or_block(&mut session, &argv).0 {
        Err(blocked) => blocked,
        Ok(reply) => panic!("{argv:?} did not wait: {reply:?}"),
    }
}

fn waits(engine: &Engine, blocked: &Blocked) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(engine.unblocked(blocked))
        .as_mut()
        .poll(&mut context)
        .is_pending()
}

fn popped(key: &str, member: &str, score: f64) -> Reply {
    Reply::Array(vec![
        Reply::bulk(key),
        Reply::bulk(member),
        Reply::Double(score),
    ])
}

#[test]
fn the_longest_waiting_is_served_first() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked: Vec<Blocked> = (0..3)
        .map(|_| block(&engine, &["BZPOPMIN", "z", "0"]))
        .collect();
    call(&engine, &mut session, &["ZADD", "z", "1", "a", "2", "b"]);
    assert!(waits(&engine, &blocked[2]));
    assert_eq!(engine.blocked_reply(&blocked[0]).0, popped("z", "a", 1.0));
    assert_eq!(engine.blocked_reply(&blocked[1]).0, popped("z", "b", 2.0));
    assert_eq!(call(&engine, &mut session, &["EXISTS", "z"]), Reply::Int(0));
    assert_eq!(engine.blocked_reply(&blocked[2]).0, Reply::NullArray);
}

#[test]
fn of_several_keys_the_first_written_counts() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked = block(&engine, &["BZPOPMAX", "a", "b", "0"]);
    call(&engine, &mut session, &["MULTI"]);
    call(&engine, &mut session, &["ZADD", "b", "1", "x"]);
    call(&engine, &mut session, &["ZADD", "a", "1", "y"]);
    call(&engine, &mut session, &["EXEC"]);
    assert_eq!(engine.blocked_reply(&blocked).0, popped("b", "x", 1.0));
    // It is out of the queue of the other key too.
    let next = block(&engine, &["BZPOPMAX", "b", "0"]);
    assert_eq!(call(&engine, &mut session, &["ZCARD", "a"]), Reply::Int(1));
    drop(next);
}

#[test]
fn a_unit_is_seen_whole() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked = block(&engine, &["BZPOPMIN", "z", "0"]);
    call(&engine, &mut session, &["MULTI"]);
    call(&engine, &mut session, &["ZADD", "z", "1", "gone"]);
    call(&engine, &mut session, &["DEL", "z"]);
    call(&engine, &mut session, &["EXEC"]);
    assert!(waits(&engine, &blocked));
    let script = "redis.call('ZADD', 'z', 2, 'two') redis.call('ZADD', 'z', 1, 'one')";
    call(&engine, &mut session, &["EVAL", script, "0"]);
    assert_eq!(engine.blocked_reply(&blocked).0, popped("z", "one", 1.0));
}

#[test]
fn nobody_waits_inside_a_unit() {
    let engine = Engine::default();
    let mut session = engine.session();
    call(&engine, &mut session, &["MULTI"]);
    call(&engine, &mut session, &["BZPOPMIN", "none", "0"]);
    assert_eq!(
        call(&engine, &mut session, &["EXEC"]),
        Reply::Array(vec![Reply::NullArray])
    );
    let script = "return redis.call('BZMPOP', 0, 1, 'none', 'MIN')";
    let reply = call(&engine, &mut session, &["EVAL", script, "0"]);
    assert_eq!(reply, Reply::Null);
}

#[test]
fn a_key_of_another_type_keeps_it_waiting() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked = block(&engine, &["BZPOPMIN", "z", "0"]);
    call(&engine, &mut session, &["SADD", "z", "member"]);
    assert!(waits(&engine, &blocked));
    call(&engine, &mut session, &["ZADD", "other", "1", "a"]);
    call(&engine, &mut session, &["RENAME", "other", "z"]);
    assert_eq!(engine.blocked_reply(&blocked).0, popped("z", "a", 1.0));
}

#[test]
fn what_brings_a_key_serves() {
    let engine = Engine::default();
    let mut session = engine.session();
    call(&engine, &mut session, &["ZADD", "from", "1", "a"]);
    for bring in [
        &["COPY", "from", "z"][..],
        &["ZUNIONSTORE", "z", "1", "from"],
        &["ZRANGESTORE", "z", "from", "0", "-1"],
        &["ZINCRBY", "z", "1", "a"],
    ] {
        let blocked = block(&engine, &["BZMPOP", "0", "2", "none", "z", "MIN"]);
        call(&engine, &mut session, bring);
        assert!(!waits(&engine, &blocked), "{bring:?}");
    }
}

#[test]
fn who_has_gone_takes_nothing() {
    let engine = Engine::default();
    let mut session = engine.session();
    let gone = block(&engine, &["BZPOPMIN", "z", "0"]);
    let late = block(&engine, &["BZPOPMIN", "z", "0"]);
    let stays = block(&engine, &["BZPOPMIN", "z", "0"]);
    drop(gone);
    assert_eq!(engine.blocked_reply(&late).0, Reply::NullArray);
    call(&engine, &mut session, &["ZADD", "z", "1", "a"]);
    assert_eq!(engine.blocked_reply(&stays).0, popped("z", "a", 1.0));
}

#[test]
fn a_thread_waits_for_its_time_and_no_longer() {
    let engine = Engine::default();
    let mut session = engine.session();
    let began = Instant::now();
    let reply = call(&engine, &mut session, &["BZPOPMIN", "z", "0.05"]);
    assert_eq!(reply, Reply::NullArray);
    assert!(began.elapsed() >= Duration::from_millis(50));
    let waiting = {
        let engine = engine.clone();
        thread::spawn(move || call(&engine, &mut engine.session(), &["BZPOPMIN", "z", "20"]))
    };
    while call(&engine, &mut session, &["ZADD", "z", "1", "a"]) == Reply::Int(0) {
        thread::yield_now();
    }
    assert_eq!(waiting.join().unwrap(), popped("z", "a", 1.0));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Vec<String>>>);

impl EffectSink for Log {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _: u32, _: u64, effects: &Effects) -> Seq {
        let mut units = self.0.lock();
        units.push(
            effects
                .iter()
                .map(|argv| {
                    let words: Vec<_> = argv
                        .iter()
                        .map(|arg| String::from_utf8_lossy(arg))
                        .collect();
                    words.join(" ")
                })
                .collect(),
        );
        Seq(units.len() as u64)
    }
}

#[test]
fn each_served_client_is_a_unit_of_its_own() {
    let log = Arc::new(Log::default());
    let engine = Engine::new(Options {
        sink: log.clone(),
        ..Options::default()
    });
    let mut session = engine.session();
    let blocked = [
        block(&engine, &["BZPOPMIN", "z", "0"]),
        block(&engine, &["BZPOPMIN", "z", "0"]),
    ];
    let argv: Vec<&[u8]> = vec![b"ZADD", b"z", b"1", b"a", b"2", b"b"];
    let seq = engine.call(&mut session, &argv).1;
    let units = log.0.lock().clone();
    assert_eq!(
        units,
        [["ZADD z 1 a 2 b"], ["ZREM z a"], ["DEL z"]].map(|unit| unit.map(str::to_owned).to_vec())
    );
    assert_eq!(engine.blocked_reply(&blocked[0]).1, Seq(2));
    assert_eq!(engine.blocked_reply(&blocked[1]).1, Seq(3));
    assert_eq!(seq, Seq(3));
}

/// What XREAD answers in RESP2: one stream with entries of one field.
fn read(key: &str, entries: &[(&str, &str)]) -> Reply {
    let entries = entries.iter().map(|(id, value)| {
        let texts = vec![Reply::bulk("f"), Reply::bulk(value)];
        Reply::Array(vec![Reply::bulk(id), Reply::Array(texts)])
    });
    let stream = vec![Reply::bulk(key), Reply::Array(entries.collect())];
    Reply::Array(vec![Reply::Array(stream)])
}

fn answer(engine: &Engine, blocked: &Blocked) -> Reply {
    engine.blocked_reply(blocked).0.unpacked()
}

#[test]
fn readers_of_a_stream_wait_for_what_is_new() {
    let engine = Engine::default();
    let mut session = engine.session();
    call(&engine, &mut session, &["XADD", "s", "5", "f", "old"]);
    let both = [
        block(
            &engine,
            &["XREAD", "BLOCK", "0", "STREAMS", "s", "t", "$", "$"],
        ),
        block(
            &engine,
            &["XREAD", "BLOCK", "0", "STREAMS", "t", "s", "$", "6"],
        ),
    ];
    call(&engine, &mut session, &["XADD", "s", "6", "f", "new"]);
    assert_eq!(answer(&engine, &both[0]), read("s", &[("6-0", "new")]));
    assert!(waits(&engine, &both[1]));
    call(&engine, &mut session, &["MULTI"]);
    call(&engine, &mut session, &["XADD", "s", "7", "f", "a"]);
    call(&engine, &mut session, &["XADD", "t", "1", "f", "x"]);
    call(&engine, &mut session, &["XADD", "s", "8", "f", "b"]);
    call(&engine, &mut session, &["EXEC"]);
    assert_eq!(
        answer(&engine, &both[1]),
        read("s", &[("7-0", "a"), ("8-0", "b")])
    );
}

#[test]
fn a_stream_that_goes_or_changes_its_type_is_waited_for() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked = block(&engine, &["XREAD", "BLOCK", "0", "STREAMS", "s", "0"]);
    for line in [
        &["SET", "s", "v"][..],
        &["DEL", "s"],
        &["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"],
    ] {
        call(&engine, &mut session, line);
        assert!(waits(&engine, &blocked), "{line:?}");
    }
    call(&engine, &mut session, &["XADD", "from", "3", "f", "v"]);
    call(&engine, &mut session, &["RENAME", "from", "s"]);
    assert_eq!(answer(&engine, &blocked), read("s", &[("3-0", "v")]));
}

#[test]
fn who_waits_long_gets_a_thousand_at_most() {
    let engine = Engine::default();
    let mut session = engine.session();
    let blocked = block(&engine, &["XREAD", "BLOCK", "0", "STREAMS", "s", "0"]);
    let script = "for i = 1, 1500 do redis.call('XADD', 's', i, 'f', 'v') end";
    call(&engine, &mut session, &["EVAL", script, "0"]);
    let Reply::Array(streams) = answer(&engine, &blocked) else {
        panic!("streams")
    };
    let [Reply::Array(stream)] = &streams[..] else {
        panic!("a stream")
    };
    assert!(matches!(&stream[1], Reply::Array(entries) if entries.len() == 1000));
}

#[test]
fn a_group_hands_out_in_the_order_of_arrival() {
    let engine = Engine::default();
    let mut session = engine.session();
    call(
        &engine,
        &mut session,
        &["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"],
    );
    let wait = |consumer: &str, count: &str| {
        let argv = [
            "XREADGROUP",
            "GROUP",
            "g",
            consumer,
            "COUNT",
            count,
            "BLOCK",
            "0",
        ];
        block(&engine, &[&argv[..], &["STREAMS", "s", ">"]].concat())
    };
    let blocked = [wait("a", "1"), wait("b", "1"), wait("c", "9")];
    call(&engine, &mut session, &["MULTI"]);
    for id in ["1", "2"] {
        call(&engine, &mut session, &["XADD", "s", id, "f", id]);
    }
    call(&engine, &mut session, &["EXEC"]);
    assert_eq!(answer(&engine, &blocked[0]), read("s", &[("1-0", "1")]));
    assert_eq!(answer(&engine, &blocked[1]), read("s", &[("2-0", "2")]));
    assert!(waits(&engine, &blocked[2]));
    let pending = call(&engine, &mut session, &["XPENDING", "s", "g"]);
    let each = |name| Reply::Array(vec![Reply::bulk(name), Reply::bulk("1")]);
    let expected = vec![
        Reply::Int(2),
        Reply::bulk("1-0"),
        Reply::bulk("2-0"),
        Reply::Array(vec![each("a"), each("b")]),
    ];
    assert_eq!(pending, Reply::Array(expected));
}

#[test]
fn readers_of_a_group_are_told_when_it_goes() {
    let gone = Reply::error("UNBLOCKED the stream key no longer exists");
    let no_group =
        Reply::error("NOGROUP the consumer group this client was blocked on no longer exists");
    for (lines, expected) in [
        (&["DEL s"][..], &gone),
        (&["SET s v"], &gone),
        (&["RENAME s t"], &gone),
        (&["FLUSHALL"], &gone),
        (&["XGROUP DESTROY s g"], &no_group),
        (&["XADD t 1 f v", "RENAME t s"], &no_group),
    ] {
        let engine = Engine::default();
        let mut session = engine.session();
        call(
            &engine,
            &mut session,
            &["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"],
        );
        let argv = [
            "XREADGROUP",
            "GROUP",
            "g",
            "c",
            "BLOCK",
            "0",
            "STREAMS",
            "s",
            ">",
        ];
        let blocked = block(&engine, &argv);
        for line in lines {
            assert!(waits(&engine, &blocked), "{lines:?}");
            let argv: Vec<&str> = line.split(' ').collect();
            call(&engine, &mut session, &argv);
        }
        assert_eq!(&answer(&engine, &blocked), expected, "{lines:?}");
    }
}

#[test]
fn a_hundred_thousand_wait_and_go() {
    let engine = Engine::default();
    let mut session = engine.session();
    let began = Instant::now();
    let mut blocked: Vec<Blocked> = (0..100_000)
        .map(|_| block(&engine, &["BZPOPMIN", "z", "0"]))
        .collect();
    for score in 0..100 {
        call(
            &engine,
            &mut session,
            &["ZADD", "z", &score.to_string(), "m"],
        );
    }
    let rest = blocked.split_off(100);
    for (score, blocked) in blocked.iter().enumerate() {
        assert_eq!(
            engine.blocked_reply(blocked).0,
            popped("z", "m", score as f64)
        );
    }
    drop(rest);
    call(&engine, &mut session, &["ZADD", "z", "1", "m"]);
    assert_eq!(call(&engine, &mut session, &["ZCARD", "z"]), Reply::Int(1));
    // A walk over those who wait for each that comes or goes would take hours.
    assert!(began.elapsed() < Duration::from_mins(1));
}
