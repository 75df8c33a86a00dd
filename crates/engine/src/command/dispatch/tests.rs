use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;

use super::*;
use crate::effect::{EffectSink, Effects, UNIT_MAX};
use crate::engine::Options;

/// A sink for which effects are kept.
#[derive(Debug, Default)]
struct Wanting(AtomicU64);

impl EffectSink for Wanting {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _: u32, _: u64, _: &Effects) -> Seq {
        Seq(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Runs a command for a caller that has `room`, and takes the reply or not.
fn within(engine: &Engine, room: usize, takes: bool, argv: &[&[u8]]) -> (Reply, usize) {
    let mut session = engine.rest_session();
    session.set_principal(Some(engine.owner()));
    let keyspace = engine.keyspace("default");
    let mut batch = engine.try_batch(&keyspace).unwrap();
    let mut asked = 0;
    let reply = batch.run_within(&mut session, argv, room, &mut |_| {
        asked += 1;
        takes
    });
    assert!(!batch.db.is_recording());
    (reply, asked)
}

#[test]
fn only_what_may_be_lost_asks_for_room() {
    let engine = Engine::default();
    let ask = |room, argv: &[&[u8]]| within(&engine, room, false, argv).1;
    assert_eq!(ask(1000, &[b"SET", b"k", b"v"]), 0);
    assert_eq!(ask(1000, &[b"GET", b"k"]), 0);
    assert_eq!(ask(1000, &[b"HSET", b"h", b"f", b"v"]), 0);
    assert_eq!(ask(1000, &[b"SET", b"k", b"w", b"GET"]), 1);
    assert_eq!(ask(0, &[b"SET", b"k", b"w"]), 1);
    assert_eq!(ask(0, &[b"INCR", b"n"]), 1);
    assert_eq!(ask(0, &[b"GET", b"k"]), 0);
    let (reply, asked) = within(&engine, 0, true, &[b"GETDEL", b"k"]);
    assert_eq!((reply, asked), (Reply::bulk("v"), 1));
    let get = |key: &[u8]| within(&engine, 0, true, &[b"GET", key]).0;
    assert_eq!((get(b"k"), get(b"n")), (Reply::Null, Reply::Null));
}

#[test]
fn a_panic_leaves_no_half_of_a_command() {
    let engine = Engine::default();
    within(&engine, 1000, true, &[b"SET", b"k", b"whole"]);
    let panicking = || within(&engine, 0, true, &[b"test.panic", b"k"]);
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    // A later unit that is undone takes back no more than its own.
    within(&engine, 0, false, &[b"SET", b"other", b"v"]);
    let get = |key: &[u8]| within(&engine, 0, true, &[b"GET", key]).0;
    assert_eq!(get(b"k"), Reply::bulk("whole"));
    assert_eq!(get(b"other"), Reply::Null);
}

#[test]
fn a_transaction_that_a_panic_ends_is_taken_back() {
    let engine = Engine::default();
    let mut session = engine.session();
    let mut run = |argv: &[&[u8]]| engine.call(&mut session, argv).0;
    run(&[b"SET", b"k", b"whole"]);
    run(&[b"MULTI"]);
    run(&[b"SET", b"k", b"half"]);
    run(&[b"TEST.PANIC", b"l"]);
    assert!(catch_unwind(AssertUnwindSafe(|| run(&[b"EXEC"]))).is_err());
    let mut session = engine.session();
    let mut run = |argv: &[&[u8]]| engine.call(&mut session, argv).0;
    assert_eq!(run(&[b"GET", b"k"]), Reply::bulk("whole"));
    assert_eq!(run(&[b"EXISTS", b"l"]), Reply::Int(0));
}

#[test]
fn a_script_is_as_bounded_as_when_it_is_alone() {
    let engine = Engine::new(Options {
        sink: Arc::new(Wanting::default()),
        ..Options::default()
    });
    let script = b"redis.call('SET', 'k', ARGV[1]); return redis.call('SET', 'l', ARGV[1])";
    let run = |size: usize| {
        let value = vec![b'x'; size];
        let argv: [&[u8]; 4] = [b"EVAL", script, b"0", &value];
        let reply = within(&engine, 1000, true, &argv).0;
        let kept = within(&engine, 1000, true, &[b"EXISTS", b"k", b"l"]).0;
        (reply, kept)
    };
    let (reply, kept) = run(UNIT_MAX / 2 + 1);
    assert!(reply.is_error(), "{reply:?}");
    assert_eq!(kept, Reply::Int(0));
    assert_eq!(run(1000), (Reply::OK, Reply::Int(2)));
}
