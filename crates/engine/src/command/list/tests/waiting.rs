//! The forms that wait: who is served, with what, and what is logged.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::{Lines, run};
use crate::session::{Blocked, Session};
use crate::{Engine, Options, Reply};

/// An engine, a session that writes, and what the engine logs.
struct Stage {
    engine: Engine,
    session: Session,
    lines: Arc<Lines>,
}

impl Stage {
    fn new() -> Self {
        let lines = Arc::new(Lines::default());
        let engine = Engine::new(Options {
            sink: lines.clone(),
            ..Options::default()
        });
        let session = engine.session();
        Stage {
            engine,
            session,
            lines,
        }
    }

    fn run(&mut self, line: &str) -> Reply {
        run(&self.engine, &mut self.session, line)
    }

    /// Another client, which has to wait.
    #[track_caller]
    fn wait(&self, line: &str) -> Waiting<'_> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut session = self.engine.session();
        match self.engine.call_or_block(&mut session, &argv).0 {
            Err(blocked) => Waiting(&self.engine, blocked),
            Ok(reply) => panic!("{line} did not wait: {reply:?}"),
        }
    }

    fn other(&self) -> Session {
        self.engine.session()
    }

    fn logged(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.0.lock())
    }
}

struct Waiting<'a>(&'a Engine, Blocked);

impl Waiting<'_> {
    fn waits(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(self.0.unblocked(&self.1))
            .as_mut()
            .poll(&mut context)
            .is_pending()
    }

    /// Its reply; the wait is over then.
    fn reply(&self) -> Reply {
        self.0.blocked_reply(&self.1).0.unpacked()
    }
}

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(Reply::bulk).collect())
}

#[test]
fn who_came_first_is_served_first_whatever_it_waits_with() {
    let stage = Stage::new();
    let mut writer = stage.other();
    let waiting = [
        stage.wait("BLPOP k 0"),
        stage.wait("BRPOP none k 0"),
        stage.wait("BLMPOP 0 2 none k RIGHT COUNT 2"),
        stage.wait("BLMOVE k d LEFT RIGHT 0"),
        stage.wait("BRPOPLPUSH k d 0"),
        stage.wait("BLPOP k 0"),
    ];
    run(&stage.engine, &mut writer, "RPUSH k a b c d e f");
    let pairs = |key, texts| Reply::Array(vec![Reply::bulk(key), bulks(texts)]);
    assert_eq!(waiting[0].reply(), bulks(&["k", "a"]));
    assert_eq!(waiting[1].reply(), bulks(&["k", "f"]));
    assert_eq!(waiting[2].reply(), pairs("k", &["e", "d"]));
    assert_eq!(waiting[3].reply(), Reply::bulk("b"));
    assert_eq!(waiting[4].reply(), Reply::bulk("c"));
    assert!(waiting[5].waits());
    assert_eq!(
        stage.logged(),
        [
            "RPUSH k a b c d e f",
            "LPOP k",
            "RPOP k",
            "RPOP k 2",
            "LMOVE k d LEFT RIGHT",
            "LMOVE k d RIGHT LEFT",
        ]
    );
    assert_eq!(
        run(&stage.engine, &mut writer, "LRANGE d 0 -1"),
        bulks(&["c", "b"])
    );
    assert_eq!(waiting[5].reply(), Reply::NullArray);
    assert_eq!(run(&stage.engine, &mut writer, "EXISTS k"), Reply::Int(0));
}

#[test]
fn where_there_is_an_element_nobody_waits() {
    let mut stage = Stage::new();
    stage.run("RPUSH k a b c d e");
    stage.logged();
    assert_eq!(stage.run("BLPOP none k 0"), bulks(&["k", "a"]));
    assert_eq!(stage.run("BRPOP k none 0"), bulks(&["k", "e"]));
    assert_eq!(stage.run("BLMOVE k k LEFT RIGHT 0"), Reply::bulk("b"));
    assert_eq!(stage.run("BRPOPLPUSH k d 0"), Reply::bulk("b"));
    let expected = Reply::Array(vec![Reply::bulk("k"), bulks(&["c", "d"])]);
    assert_eq!(stage.run("BLMPOP 0 2 none k LEFT COUNT 9"), expected);
    assert_eq!(
        stage.logged(),
        [
            "LPOP k",
            "RPOP k",
            "LMOVE k k LEFT RIGHT",
            "LMOVE k d RIGHT LEFT",
            "LPOP k 2",
        ]
    );
}

#[test]
fn of_several_keys_the_first_written_counts() {
    let mut stage = Stage::new();
    let first = stage.engine.clone();
    let blocked = Stage::wait(&stage, "BLPOP a b a 0").1;
    let waiting = Waiting(&first, blocked);
    for line in ["MULTI", "RPUSH b x", "RPUSH a y", "EXEC"] {
        stage.run(line);
    }
    assert_eq!(waiting.reply(), bulks(&["b", "x"]));
    assert_eq!(stage.run("LLEN a"), Reply::Int(1));
}

#[test]
fn a_unit_is_seen_whole() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    let waiting = Waiting(&engine, stage.wait("BRPOP k 0").1);
    for line in ["MULTI", "RPUSH k gone", "DEL k", "EXEC"] {
        stage.run(line);
    }
    assert!(waiting.waits());
    stage.run("EVAL redis.call('LPUSH','k',2)redis.call('LPUSH','k',1)redis.call('RPOP','k') 0");
    assert_eq!(waiting.reply(), bulks(&["k", "1"]));
    let waiting = Waiting(&engine, stage.wait("BLPOP k 0").1);
    stage.run("LPUSH k a b c");
    assert_eq!(waiting.reply(), bulks(&["k", "c"]));
}

#[test]
fn inside_a_unit_nobody_waits() {
    let mut stage = Stage::new();
    for (line, reply) in [
        ("BLPOP none 0", Reply::NullArray),
        ("BRPOP none none 0", Reply::NullArray),
        ("BLMPOP 0 1 none LEFT", Reply::NullArray),
        ("BLMOVE none d LEFT LEFT 0", Reply::Null),
        ("BRPOPLPUSH none d 0", Reply::Null),
    ] {
        stage.run("MULTI");
        stage.run(line);
        assert_eq!(stage.run("EXEC"), Reply::Array(vec![reply]), "{line}");
    }
    let script = "EVAL return(redis.call('BLMPOP',0,1,'none','LEFT')) 0";
    assert_eq!(stage.run(script), Reply::Null);
    let refused = stage.run("EVAL return(redis.call('BLPOP','none',0)) 0");
    assert!(refused.is_error(), "{refused:?}");
}

#[test]
fn what_brings_a_list_serves() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    for bring in [
        "LPUSH k x",
        "RPUSH k x",
        "COPY other k",
        "RENAME other k",
        "LMOVE other k LEFT LEFT",
        "RPOPLPUSH other k",
        "EVAL redis.call('RPUSH','k','x') 0",
    ] {
        stage.run("DEL other");
        stage.run("RPUSH other x");
        let waiting = Waiting(&engine, stage.wait("BLPOP k 0").1);
        stage.run(bring);
        assert!(!waiting.waits(), "{bring}");
        assert_eq!(waiting.reply(), bulks(&["k", "x"]), "{bring}");
        assert_eq!(stage.run("EXISTS k"), Reply::Int(0), "{bring}");
    }
}

#[test]
fn another_type_at_the_key_keeps_it_waiting() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    for line in [
        "BLPOP k 0",
        "BLMPOP 0 1 k LEFT",
        "BLMOVE k d LEFT LEFT 0",
        "BLMOVE k k LEFT LEFT 0",
        "BRPOPLPUSH k d 0",
    ] {
        let waiting = Waiting(&engine, stage.wait(line).1);
        stage.run("SET k text");
        stage.run("DEL k");
        stage.run("ZADD k 1 member");
        assert!(waiting.waits(), "{line}");
        stage.run("DEL k");
        stage.run("RPUSH k x");
        assert!(!waiting.waits(), "{line}");
        assert!(!waiting.reply().is_error(), "{line}");
        stage.run("DEL k");
    }
}

#[test]
fn a_destination_of_another_type_ends_the_wait_and_moves_nothing() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    for line in ["BLMOVE k s LEFT LEFT 0", "BRPOPLPUSH k s 0"] {
        let waiting = Waiting(&engine, stage.wait(line).1);
        let next = Waiting(&engine, stage.wait("BLPOP k 0").1);
        stage.run("SET s text");
        assert!(waiting.waits());
        stage.run("RPUSH k x y");
        assert!(waiting.reply().is_error(), "{line}");
        assert_eq!(next.reply(), bulks(&["k", "x"]));
        assert_eq!(stage.run("LRANGE k 0 -1"), bulks(&["y"]));
        stage.run("DEL k s");
    }
}

#[test]
fn moves_wake_those_who_wait_behind_them() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    let links: Vec<Waiting<'_>> = (0..100)
        .map(|at| {
            let line = format!("BLMOVE k{at} k{} LEFT RIGHT 0", at + 1);
            Waiting(&engine, stage.wait(&line).1)
        })
        .collect();
    let last = Waiting(&engine, stage.wait("BLPOP k100 0").1);
    stage.run("RPUSH k0 x");
    assert!(links.iter().all(|link| link.reply() == Reply::bulk("x")));
    assert_eq!(last.reply(), bulks(&["k100", "x"]));
    assert_eq!(stage.run("DBSIZE"), Reply::Int(0));
    assert_eq!(stage.logged().len(), 102);
}

#[test]
fn a_circle_of_moves_ends() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    let there = Waiting(&engine, stage.wait("BLMOVE a b LEFT LEFT 0").1);
    let back = Waiting(&engine, stage.wait("BLMOVE b a LEFT LEFT 0").1);
    let round = Waiting(&engine, stage.wait("BLMOVE a a LEFT RIGHT 0").1);
    let again = Waiting(&engine, stage.wait("BLMOVE a a LEFT RIGHT 0").1);
    stage.run("RPUSH a 1 2");
    assert_eq!(there.reply(), Reply::bulk("1"));
    assert_eq!(back.reply(), Reply::bulk("1"));
    assert_eq!(round.reply(), Reply::bulk("2"));
    assert!(!again.waits());
    assert_eq!(stage.run("LLEN a"), Reply::Int(2));
    assert_eq!(stage.run("EXISTS b"), Reply::Int(0));
}

#[test]
fn who_has_gone_takes_nothing() {
    let mut stage = Stage::new();
    let engine = stage.engine.clone();
    drop(stage.wait("BLPOP k 0"));
    let late = Waiting(&engine, stage.wait("BLMOVE k d LEFT LEFT 0").1);
    assert_eq!(late.reply(), Reply::NullArray, "its time is over");
    stage.run("RPUSH k x");
    assert_eq!(stage.run("LLEN k"), Reply::Int(1));
    assert_eq!(stage.run("BLPOP none 0.01"), Reply::NullArray);
    assert_eq!(stage.run("BRPOPLPUSH none d 0.01"), Reply::NullArray);
}
