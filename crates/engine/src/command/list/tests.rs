mod waiting;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::effect::{EffectSink, Effects, Seq};
use crate::session::Session;
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
    engine.call(session, &argv).0.unpacked()
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
fn effects_repeat_what_happened() {
    let setup = "RPUSH k a b c";
    let cases = [
        ("LPUSH k x", "LPUSH k x"),
        ("LPOP k", "LPOP k"),
        ("RPOP k 9", "RPOP k 9"),
        ("LMPOP 2 none k LEFT", "LPOP k"),
        ("LMPOP 2 none k RIGHT COUNT 2", "RPOP k 2"),
        ("LMPOP 1 k RIGHT COUNT 99", "RPOP k 3"),
        ("LMOVE k d LEFT RIGHT", "LMOVE k d LEFT RIGHT"),
        ("RPOPLPUSH k k", "RPOPLPUSH k k"),
        ("LREM k 0 b", "LREM k 0 b"),
        ("LTRIM k 5 9", "LTRIM k 5 9"),
    ];
    for (command, effect) in cases {
        assert_eq!(effects_of(&[setup, command]), [setup, effect]);
    }
}

#[test]
fn what_changes_nothing_has_no_effect() {
    let setup = "RPUSH k a b c";
    for command in [
        "LPUSHX none x",
        "LPOP k 0",
        "LPOP none",
        "LMPOP 1 none LEFT",
        "LMOVE none k LEFT LEFT",
        "LREM k 0 x",
        "LTRIM k 0 -1",
        "LTRIM none 5 9",
        "LSET k 3 x",
        "LINSERT k BEFORE x y",
        "LINSERT none BEFORE x y",
        "LRANGE k 0 -1",
    ] {
        assert_eq!(effects_of(&[setup, command]), [setup], "{command}");
    }
}

#[test]
fn a_move_that_cannot_end_does_not_begin() {
    let engine = Engine::default();
    let mut session = engine.session();
    let mut run = |line: &str| run(&engine, &mut session, line);
    run("RPUSH k a b");
    run("SET s v");
    for refused in ["LMOVE k s LEFT LEFT", "RPOPLPUSH k s"] {
        assert!(run(refused).is_error());
        assert_eq!(run("LLEN k"), Reply::Int(2), "{refused}");
    }
    assert_eq!(run("GET s"), Reply::bulk("v"));
}

#[test]
fn memory_follows_what_a_list_holds() {
    let engine = Engine::default();
    let mut session = engine.session();
    let mut run = |line: &str| run(&engine, &mut session, line);
    let mut usage = |changes: &[&str]| {
        for change in changes {
            run(change);
        }
        match run("MEMORY USAGE k") {
            Reply::Int(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    };
    let large = format!("RPUSH k {}", "x".repeat(100_000));
    let small = usage(&["RPUSH k a"]);
    assert!(small < 400, "{small}");
    let with_large = usage(&[&large, "RPUSH k b"]);
    assert!((100_000..101_500).contains(&with_large), "{with_large}");
    assert!(usage(&["LREM k 1 a", "LPOP k"]) < 400);
}

#[test]
fn a_list_is_as_its_setting_says_and_changes_with_it() {
    let engine = Engine::default();
    let mut session = engine.session();
    let mut run = |line: &str| run(&engine, &mut session, line);
    let many = format!("RPUSH k{}", " element".repeat(1000));
    for setting in ["-5", "1", "0", "-2147483648", "2147483647", "-2"] {
        let set = run(&format!("CONFIG SET list-max-listpack-size {setting}"));
        assert_eq!(set, Reply::OK);
        let expected = [Reply::bulk("list-max-listpack-size"), Reply::bulk(setting)];
        let seen = match run("CONFIG GET list-max-listpack-size") {
            Reply::Map(pairs) => pairs.into_iter().flat_map(<[Reply; 2]>::from).collect(),
            other => vec![other],
        };
        assert_eq!(seen, expected);
        run(&many);
    }
    assert_eq!(run("LLEN k"), Reply::Int(6000));
    assert_eq!(run("LREM k 0 element"), Reply::Int(6000));
    assert_eq!(run("EXISTS k"), Reply::Int(0));
}
