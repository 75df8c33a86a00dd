use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::effect::{EffectSink, Effects, Seq};
use crate::session::{Dialect, Session};
use crate::{Engine, Options, Reply};

/// Keeps effects as lines.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl EffectSink for Lines {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut lines = self.0.lock();
        for effect in effects.iter() {
            let words: Vec<_> = effect
                .iter()
                .map(|word| String::from_utf8_lossy(word))
                .collect();
            lines.push(words.join(" "));
        }
        Seq(lines.len() as u64)
    }
}

fn run(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    engine.call(session, &argv).0
}

fn effects_of(commands: &[&str]) -> Vec<String> {
    let lines = Arc::new(Lines::default());
    let engine = Engine::new(Options {
        sink: lines.clone(),
        ..Options::default()
    });
    let mut session = engine.session();
    for command in commands {
        run(&engine, &mut session, command);
    }
    lines.0.lock().clone()
}

#[test]
fn effects_are_absolute() {
    let setup = "ZADD k 1 a 2 b 3 c";
    let cases = [
        ("ZINCRBY k 0.1 a", "ZADD k 1.1000000000000001 a"),
        ("ZADD k XX INCR -5 b", "ZADD k -3 b"),
        ("ZPOPMIN k", "ZREM k a"),
        ("ZPOPMAX k 2", "ZREM k c b"),
        ("ZPOPMIN k 9", "DEL k"),
        ("ZMPOP 2 none k MAX COUNT 2", "ZREM k c b"),
        ("ZREMRANGEBYRANK k 0 0", "ZREMRANGEBYRANK k 0 0"),
        ("ZRANGESTORE d k 0 0", "ZRANGESTORE d k 0 0"),
    ];
    for (command, effect) in cases {
        assert_eq!(effects_of(&[setup, command]), [setup, effect]);
    }
}

#[test]
fn what_changes_nothing_has_no_effect() {
    let setup = "ZADD k 1 a inf b";
    for command in [
        "ZADD k 1 a",
        "ZADD k NX 5 a",
        "ZADD k XX 5 none",
        "ZADD k GT 0 a",
        "ZADD k INCR 0 a",
        "ZADD none XX INCR 1 a",
        "ZINCRBY k -inf b",
        "ZREM k none",
        "ZPOPMIN k 0",
        "ZPOPMIN none",
        "ZREMRANGEBYSCORE k 5 6",
        "ZUNIONSTORE none 1 nothing",
        "ZRANGESTORE none k 5 6",
    ] {
        assert_eq!(effects_of(&[setup, command]), [setup], "{command}");
    }
}

#[test]
fn upstash_takes_a_limit_on_ranks_and_withscore() {
    let engine = Engine::default();
    let mut session = engine.session();
    run(&engine, &mut session, "ZADD k 1 a 2 b 3 c 4 d");
    session.dialect = Dialect::Upstash;
    let members = |names: &[&str]| Reply::Array(names.iter().map(Reply::bulk).collect());
    let mut ask = |line: &str| run(&engine, &mut session, line);
    assert_eq!(ask("ZRANGE k 0 -1 LIMIT 1 2"), members(&["b", "c"]));
    assert_eq!(ask("ZRANGE k 0 2 REV LIMIT 2 5"), members(&["b"]));
    assert_eq!(ask("ZRANGE k 1 -1 LIMIT 1 -1"), members(&["c", "d"]));
    assert_eq!(
        ask("ZREVRANK k a WITHSCORE"),
        Reply::Array(vec![Reply::Int(3), Reply::Double(1.0)])
    );
    assert_eq!(ask("ZRANK k x WITHSCORE"), Reply::NullArray);
    assert_eq!(
        ask("ZRANK k a WITHSCORES"),
        Reply::error("ERR syntax error")
    );
}

#[test]
fn only_long_walks_are_announced() {
    let announced = Arc::new(AtomicUsize::new(0));
    let count = announced.clone();
    let engine = Engine::new(Options {
        on_long_unit: Some(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })),
        ..Options::default()
    });
    let mut session = engine.session();
    for chunk in (0..super::LONG_ELEMENTS + 100)
        .collect::<Vec<_>>()
        .chunks(1000)
    {
        let pairs: Vec<_> = chunk.iter().map(|n| format!("{n} m{n}")).collect();
        run(
            &engine,
            &mut session,
            &format!("ZADD k {}", pairs.join(" ")),
        );
    }
    run(&engine, &mut session, "ZRANGE k 0 9");
    run(
        &engine,
        &mut session,
        "ZRANGE k -inf +inf BYSCORE LIMIT 0 10",
    );
    run(&engine, &mut session, "ZPOPMIN k 10");
    assert_eq!(announced.load(Ordering::Relaxed), 0);
    run(&engine, &mut session, "ZRANGE k 0 -1");
    run(&engine, &mut session, "ZREMRANGEBYSCORE k -inf +inf");
    assert_eq!(announced.load(Ordering::Relaxed), 2);
}
