//! What a run leaves behind when it fails inside or goes too far.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::effect::{EffectSink, Effects, Seq, UNIT_MAX};
use crate::engine::{Engine, Options};
use crate::reply::Reply;

/// Keeps the commands of each unit.
#[derive(Default)]
struct Units(Mutex<Vec<Vec<Vec<u8>>>>);

impl EffectSink for Units {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _: u32, _: u64, effects: &Effects) -> Seq {
        let mut units = self.0.lock();
        let names = effects.iter().map(|argv| argv.concat());
        units.push(
            names
                .map(|name| name[..name.len().min(20)].to_vec())
                .collect(),
        );
        Seq(units.len() as u64)
    }
}

fn engine() -> (Engine, Arc<Units>) {
    let units = Arc::<Units>::default();
    let engine = Engine::new(Options {
        sink: units.clone(),
        ..Options::default()
    });
    (engine, units)
}

fn ask(engine: &Engine, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|text| text.as_bytes()).collect();
    engine.call(&mut engine.session(), &argv).0
}

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("an error was expected, not {other:?}"),
    }
}

#[test]
fn a_panic_of_a_command_undoes_its_script_alone() {
    let (engine, units) = engine();
    ask(&engine, &["SET", "k", "whole"]);
    ask(&engine, &["SET", "gone", "here"]);
    let before = units.0.lock().len();
    for script in [
        "redis.call('SET', 'new', 1) redis.call('DEL', 'gone') return redis.call('TEST.PANIC', 'k')",
        "redis.call('FLUSHALL') pcall(redis.call, 'TEST.PANIC', 'k') return 1",
        "redis.call('SET', 'k', 1) coroutine.wrap(function() redis.pcall('test.panic', 'k') end)()",
    ] {
        let reply = ask(&engine, &["EVAL", script, "0"]);
        assert!(error(&reply).starts_with("ERR internal error"), "{script}");
        assert_eq!(
            ask(&engine, &["GET", "k"]),
            Reply::bulk("whole"),
            "{script}"
        );
        assert_eq!(ask(&engine, &["GET", "gone"]), Reply::bulk("here"));
        assert_eq!(ask(&engine, &["EXISTS", "new"]), Reply::Int(0));
        assert_eq!(ask(&engine, &["DBSIZE"]), Reply::Int(2));
        assert_eq!(units.0.lock().len(), before, "nothing is logged");
        let kill = ask(&engine, &["SCRIPT", "KILL"]);
        assert!(error(&kill).starts_with("NOTBUSY"));
    }
    // A later unit is its own: undone when killed, kept when not.
    let later = "redis.call('SET', KEYS[1], 'later') return redis.call('GET', KEYS[1])";
    let reply = ask(&engine, &["EVAL", later, "1", "k"]);
    assert_eq!(reply, Reply::bulk("later"));
    assert_eq!(units.0.lock().last().unwrap(), &[b"SETklater".to_vec()]);
}

#[test]
fn a_panic_in_exec_undoes_all_of_it() {
    let (engine, units) = engine();
    let mut session = engine.session();
    let mut run = |argv: &[&str]| {
        let argv: Vec<&[u8]> = argv.iter().map(|text| text.as_bytes()).collect();
        engine.call(&mut session, &argv).0
    };
    run(&["MULTI"]);
    run(&["SET", "first", "1"]);
    run(&["EVAL", "return redis.call('TEST.PANIC', 'k')", "0"]);
    assert!(error(&run(&["EXEC"])).starts_with("EXECABORT"));
    assert_eq!(run(&["DBSIZE"]), Reply::Int(0));
    assert_eq!(
        run(&["EVAL", "return redis.call('SET', 'k', 1)", "0"]),
        Reply::OK
    );
    assert_eq!(units.0.lock().len(), 1);
}

#[test]
fn a_script_that_writes_more_than_a_unit_is_undone() {
    let (engine, units) = engine();
    let mega = UNIT_MAX >> 20;
    let script = "local text = string.rep('x', 1048576) \
                  for i = 1, ARGV[1] do redis.pcall('SET', KEYS[1], text) end return 1";
    let fits = (mega - 1).to_string();
    let reply = ask(&engine, &["EVAL", script, "1", "k", &fits]);
    assert_eq!(reply, Reply::Int(1));
    assert_eq!(units.0.lock().len(), 1);
    ask(&engine, &["SET", "k", "before"]);
    for more in [mega + 1, mega * 50] {
        let reply = ask(&engine, &["EVAL", script, "1", "k", &more.to_string()]);
        assert!(error(&reply).contains("writes more than a unit may"));
        assert_eq!(ask(&engine, &["GET", "k"]), Reply::bulk("before"));
        assert_eq!(units.0.lock().len(), 2);
    }
    let reply = ask(&engine, &["EVAL", script, "1", "k", "2"]);
    assert_eq!(reply, Reply::Int(1));
}

#[test]
fn many_declared_keys_are_found_at_once() {
    let (engine, _) = engine();
    let keys: Vec<String> = (0..60_000).map(|key| format!("key:{key}")).collect();
    let mut argv = vec![
        "EVAL",
        "#!lua flags=allow-key-locking\nfor _, key in ipairs(KEYS) do redis.call('INCR', key) end \
         return redis.pcall('GET', ARGV[1])",
        "60000",
    ];
    argv.extend(keys.iter().map(String::as_str));
    argv.push("stranger");
    let start = Instant::now();
    let reply = ask(&engine, &argv);
    assert!(error(&reply).ends_with("Key was: stranger"), "{reply:?}");
    assert_eq!(ask(&engine, &["DBSIZE"]), Reply::Int(60_000));
    // A walk over all for each takes minutes without optimisation.
    assert!(start.elapsed().as_secs() < 30);
}
