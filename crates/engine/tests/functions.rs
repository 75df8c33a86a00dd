//! Libraries of functions as data, and their functions as atomic units.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sangam_engine::clock::ManualClock;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::random::Random;
use sangam_engine::session::{Dialect, Session};
use sangam_engine::{Engine, Options, Reply, Seq};

/// Commands of one unit.
type Unit = Vec<Vec<Vec<u8>>>;

#[derive(Default)]
struct Recording(Mutex<Vec<Unit>>);

impl EffectSink for Recording {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _: u32, _: u64, effects: &Effects) -> Seq {
        let mut units = self.0.lock();
        let own = |argv: Vec<&[u8]>| argv.iter().map(|arg| arg.to_vec()).collect();
        units.push(effects.iter().map(own).collect());
        Seq(units.len() as u64)
    }
}

fn recorded() -> (Engine, Arc<Recording>) {
    let sink = Arc::<Recording>::default();
    let engine = Engine::new(Options {
        sink: sink.clone(),
        ..Options::default()
    });
    (engine, sink)
}

fn call(engine: &Engine, session: &mut Session, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    engine.call(session, &argv).0
}

fn ask(engine: &Engine, argv: &[&str]) -> Reply {
    call(engine, &mut engine.session(), argv)
}

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("an error was expected, not {other:?}"),
    }
}

/// A library with functions of these names and one body.
fn library(name: &str, functions: &[&str], body: &str) -> String {
    let mut text = format!("#!lua name={name}\n");
    for function in functions {
        let _ = writeln!(
            text,
            "redis.register_function('{function}', function(keys, args) {body} end)"
        );
    }
    text
}

fn load(engine: &Engine, text: &str) {
    let reply = ask(engine, &["FUNCTION", "LOAD", "REPLACE", text]);
    assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
}

fn listed(engine: &Engine) -> Reply {
    ask(engine, &["FUNCTION", "LIST", "WITHCODE"])
}

fn counts(engine: &Engine) -> (i64, i64) {
    let field = |reply: &Reply, name: &str| -> Reply {
        let Reply::Map(pairs) = reply else {
            panic!("{reply:?} is no map")
        };
        let found = pairs.iter().find(|(key, _)| *key == Reply::bulk(name));
        found.unwrap().1.clone()
    };
    let stats = ask(engine, &["FUNCTION", "STATS"]);
    let lua = field(&field(&stats, "engines"), "LUA");
    match (
        field(&lua, "libraries_count"),
        field(&lua, "functions_count"),
    ) {
        (Reply::Int(libraries), Reply::Int(functions)) => (libraries, functions),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_gets_its_keys_and_arguments() {
    let engine = Engine::default();
    load(
        &engine,
        &library("lib", &["f"], "return {keys[1], args[1], #keys, #args}"),
    );
    let reply = ask(&engine, &["FCALL", "F", "1", "k", "a", "b"]);
    let expected = vec![
        Reply::bulk("k"),
        Reply::bulk("a"),
        Reply::Int(1),
        Reply::Int(2),
    ];
    assert_eq!(reply, Reply::Array(expected));
    let globals = library("lib", &["f"], "return KEYS");
    load(&engine, &globals);
    let reply = error(&ask(&engine, &["FCALL", "f", "0"]));
    let expected = "ERR user_function:2: Script attempted to access nonexistent global variable \
                    'KEYS' script: f, on @user_function:2.";
    assert_eq!(reply, expected);
}

#[test]
fn libraries_outlive_keys_and_scripts() {
    let engine = Engine::default();
    load(&engine, &library("lib", &["f"], "return 7"));
    for command in [
        &["FLUSHALL"][..],
        &["SCRIPT", "FLUSH"],
        &["SCRIPT", "FLUSH", "ASYNC"],
    ] {
        assert_eq!(ask(&engine, command), Reply::OK);
        assert_eq!(ask(&engine, &["FCALL", "f", "0"]), Reply::Int(7));
    }
    assert_eq!(counts(&engine), (1, 1));
    assert_eq!(ask(&engine, &["FUNCTION", "FLUSH"]), Reply::OK);
    assert_eq!(counts(&engine), (0, 0));
    let missing = ask(&engine, &["FCALL", "f", "0"]);
    assert_eq!(error(&missing), "ERR Function not found");
}

#[test]
fn a_library_keeps_its_locals_and_nobody_elses() {
    let engine = Engine::default();
    let counter = "#!lua name=counter\nlocal n = 0\nredis.register_function('count', function() \
                   n = n + 1 return n end)";
    let nested = |name: &str| library(name, &[name], "return cjson.encode({{{1}}})");
    load(&engine, counter);
    load(&engine, &nested("nested"));
    assert_eq!(ask(&engine, &["FCALL", "count", "0"]), Reply::Int(1));
    assert_eq!(ask(&engine, &["FCALL", "count", "0"]), Reply::Int(2));
    // Scripts and functions have settings of their own.
    ask(&engine, &["EVAL", "cjson.encode_max_depth(2)", "0"]);
    let reply = ask(&engine, &["FCALL", "nested", "0"]);
    assert_eq!(reply, Reply::bulk("[[[1]]]"));
    // Loading it anew begins anew.
    load(&engine, counter);
    assert_eq!(ask(&engine, &["FCALL", "count", "0"]), Reply::Int(1));
}

#[test]
fn what_fails_to_load_changes_nothing() {
    let (engine, sink) = recorded();
    load(&engine, &library("lib", &["f", "g"], "return 1"));
    load(&engine, &library("other", &["h"], "return 1"));
    let (before, units) = (listed(&engine), sink.0.lock().len());
    let broken = format!("{}nonsense(", library("lib", &["x"], ""));
    let raising = format!("{}local a = nil + 1", library("lib", &["x"], ""));
    for text in [
        &*broken,
        &raising,
        &library("lib", &["x", "H"], "return 2"),
        &library("lib", &[], ""),
        "#!lua name=lib\nredis.register_function('x', 5)",
        "#!lua name=lib\nredis.call('SET', 'k', 'v')",
        "#!lua name=lib\nx = 1",
        "#!lua name=bad-name\n",
    ] {
        let reply = ask(&engine, &["FUNCTION", "LOAD", "REPLACE", text]);
        assert!(reply.is_error(), "{text}");
        assert_eq!(listed(&engine), before, "{text}");
        assert_eq!(ask(&engine, &["FCALL", "f", "0"]), Reply::Int(1));
        assert_eq!(sink.0.lock().len(), units, "nothing is logged");
    }
}

#[test]
fn loading_has_a_time_limit() {
    let engine = Engine::default();
    for code in [
        "while true do end",
        "return ('a'):rep(2000):find(('.-'):rep(6) .. 'b')",
    ] {
        let text = format!("#!lua name=lib\n{code}");
        let started = Instant::now();
        let reply = ask(&engine, &["FUNCTION", "LOAD", &text]);
        let expected = "ERR Error registering functions: ERR FUNCTION LOAD timeout";
        assert_eq!(error(&reply), expected);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(counts(&engine), (0, 0));
}

#[test]
fn a_library_may_not_fill_the_memory() {
    let engine = Engine::default();
    engine
        .update_settings(|settings| settings.set("script-max-memory", "8mb"))
        .unwrap();
    let text = "#!lua name=lib\nlocal t = {} for i = 1, 100 do t[i] = ('x'):rep(1e6) .. i end";
    let reply = error(&ask(&engine, &["FUNCTION", "LOAD", text]));
    assert!(reply.contains("not enough memory"), "{reply}");
    load(&engine, &library("lib", &["f"], "return ('x'):rep(1e8)"));
    let reply = error(&ask(&engine, &["FCALL", "f", "0"]));
    assert!(reply.contains("not enough memory"), "{reply}");
    // What is replaced and what fails is given back.
    for round in 0..200 {
        let body = format!("local t = '{}' return {round}", "y".repeat(100_000));
        load(&engine, &library("lib", &["f"], &body));
        assert_eq!(ask(&engine, &["FCALL", "f", "0"]), Reply::Int(round));
    }
    let used = |engine: &Engine| {
        let (Reply::Verbatim(_, info) | Reply::Bulk(info)) = ask(engine, &["INFO", "memory"])
        else {
            panic!("INFO")
        };
        let info = String::from_utf8(info).unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<usize>().unwrap()
    };
    assert!(used(&engine) > 100_000, "the code of libraries counts");
    ask(&engine, &["FUNCTION", "DELETE", "lib"]);
    assert_eq!(used(&engine), 0);
}

#[test]
fn a_transaction_that_is_undone_takes_libraries_back() {
    let (engine, sink) = recorded();
    let mut session = engine.session();
    load(&engine, &library("kept", &["f"], "return 'old'"));
    load(&engine, &library("gone", &["g"], "return 1"));
    load(
        &engine,
        &library(
            "slow",
            &["loop"],
            "redis.call('SET', 'k', 'v') while true do end",
        ),
    );
    let (before, units) = (listed(&engine), sink.0.lock().len());
    // To the end: the first that it meets may be the short one.
    let over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (engine, over) = (engine.clone(), over.clone());
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                ask(&engine, &["FUNCTION", "KILL"]);
                thread::yield_now();
            }
        })
    };
    let new = library("kept", &["f", "x"], "return 'new'");
    for argv in [
        &["MULTI"][..],
        &["FUNCTION", "LOAD", "REPLACE", &new],
        &["FUNCTION", "DELETE", "gone"],
        &["FCALL", "f", "0"],
        &["FCALL", "loop", "0"],
        &["FUNCTION", "FLUSH"],
    ] {
        assert!(!call(&engine, &mut session, argv).is_error());
    }
    let reply = call(&engine, &mut session, &["EXEC"]);
    over.store(true, Ordering::Relaxed);
    killer.join().unwrap();
    assert!(error(&reply).starts_with("EXECABORT"), "{reply:?}");
    assert_eq!(listed(&engine), before);
    assert_eq!(counts(&engine), (3, 3));
    assert_eq!(ask(&engine, &["FCALL", "f", "0"]), Reply::bulk("old"));
    assert_eq!(ask(&engine, &["FCALL", "g", "0"]), Reply::Int(1));
    assert!(ask(&engine, &["FCALL", "x", "0"]).is_error());
    assert_eq!(sink.0.lock().len(), units, "nothing is logged");

    // And one that is kept sees its own libraries.
    for argv in [
        &["MULTI"][..],
        &["FUNCTION", "LOAD", "REPLACE", &new],
        &["FCALL", "x", "0"],
        &["FUNCTION", "FLUSH"],
        &["FCALL", "x", "0"],
    ] {
        call(&engine, &mut session, argv);
    }
    let Reply::Array(replies) = call(&engine, &mut session, &["EXEC"]) else {
        panic!("EXEC")
    };
    assert_eq!(replies[1], Reply::bulk("new"));
    assert_eq!(error(&replies[3]), "ERR Function not found");
    assert_eq!(sink.0.lock().len(), units + 1, "one unit");
}

#[test]
fn a_killed_function_takes_its_writes_back() {
    let engine = Engine::default();
    engine
        .update_settings(|settings| settings.set("busy-reply-threshold", "30"))
        .unwrap();
    let body =
        "redis.call('SET', keys[1], args[1]) while true do pcall(redis.call, 'GET', 'k') end";
    load(&engine, &library("lib", &["Loop"], body));
    let looping = {
        let engine = engine.clone();
        thread::spawn(move || ask(&engine, &["FCALL", "loop", "1", "k", "v"]))
    };
    let busy = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN \
                NOSAVE.";
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(&engine, &["SCRIPT", "KILL"]) != Reply::error(busy) {
        assert!(Instant::now() < deadline, "others never heard BUSY");
        thread::yield_now();
    }
    for argv in [
        &["GET", "k"][..],
        &["FUNCTION", "LIST"],
        &["FCALL", "x", "0"],
    ] {
        assert_eq!(error(&ask(&engine, argv)), busy, "{argv:?}");
    }
    let stats = format!("{:?}", ask(&engine, &["FUNCTION", "STATS"]));
    let name = format!("{:?}", Reply::bulk("Loop"));
    let command = ["FCALL", "loop", "1", "k", "v"].map(Reply::bulk);
    let command = format!("{:?}", Reply::Array(command.into()));
    assert!(stats.contains(&name) && stats.contains(&command), "{stats}");
    assert_eq!(ask(&engine, &["FUNCTION", "KILL"]), Reply::OK);
    let reply = error(&looping.join().unwrap());
    let expected = "ERR Script killed by user with SCRIPT KILL... script: Loop, on @user_function:";
    assert!(reply.starts_with(expected), "{reply}");
    assert_eq!(ask(&engine, &["EXISTS", "k"]), Reply::Int(0));
    let nobody = "NOTBUSY No scripts in execution right now.";
    assert_eq!(error(&ask(&engine, &["FUNCTION", "KILL"])), nobody);
    assert!(format!("{:?}", ask(&engine, &["FUNCTION", "STATS"])).contains("Null"));
}

#[test]
fn while_a_script_runs_functions_answer_nothing() {
    let engine = Engine::default();
    engine
        .update_settings(|settings| settings.set("busy-reply-threshold", "30"))
        .unwrap();
    let looping = {
        let engine = engine.clone();
        thread::spawn(move || ask(&engine, &["EVAL", "while true do end", "0"]))
    };
    let busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                NOSAVE.";
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(&engine, &["FUNCTION", "KILL"]) != Reply::error(busy) {
        assert!(Instant::now() < deadline, "others never heard BUSY");
        thread::yield_now();
    }
    assert_eq!(error(&ask(&engine, &["FUNCTION", "STATS"])), busy);
    assert_eq!(ask(&engine, &["SCRIPT", "KILL"]), Reply::OK);
    assert!(looping.join().unwrap().is_error());
}

#[test]
fn an_upstash_error_takes_the_writes_of_a_function_back() {
    let engine = Engine::default();
    let body = "redis.call('SET', keys[1], 'half') error('no')";
    load(&engine, &library("lib", &["f"], body));
    for (dialect, left) in [(Dialect::Upstash, 0), (Dialect::Redis, 1)] {
        let mut session = engine.session();
        session.dialect = dialect;
        let reply = call(&engine, &mut session, &["FCALL", "f", "1", "k"]);
        assert!(reply.is_error());
        assert_eq!(ask(&engine, &["EXISTS", "k"]), Reply::Int(left));
    }
}

#[test]
fn upstash_lets_fcall_ro_run_what_only_reads() {
    let engine = Engine::default();
    load(
        &engine,
        &library("r", &["read"], "return redis.call('GET', keys[1])"),
    );
    let write = "return redis.call('SET', keys[1], 'v')";
    load(&engine, &library("w", &["write"], write));
    ask(&engine, &["SET", "k", "v"]);
    let mut session = engine.session();
    let argv = ["FCALL_RO", "read", "1", "k"];
    let refusal = "ERR Can not execute a script with write flag using *_ro command.";
    assert_eq!(error(&call(&engine, &mut session, &argv)), refusal);
    session.dialect = Dialect::Upstash;
    assert_eq!(call(&engine, &mut session, &argv), Reply::bulk("v"));
    let reply = call(&engine, &mut session, &["FCALL_RO", "write", "1", "k"]);
    let refusal = "ERR Write commands are not allowed from read-only scripts. script: write, ";
    assert!(error(&reply).starts_with(refusal), "{reply:?}");
}

#[test]
fn a_full_keyspace_calls_what_says_that_it_may() {
    let engine = Engine::default();
    let flagged = |name: &str, flags: &str| {
        let body = "return redis.call('EXISTS', 'k')";
        let text = format!(
            "#!lua name={name}\nredis.register_function{{function_name='{name}', flags={{{flags}}}, \
             callback=function() {body} end}}"
        );
        load(&engine, &text);
    };
    flagged("plain", "");
    flagged("stale", "'allow-stale'");
    flagged("reads", "'no-writes'");
    flagged("may", "'ALLOW-OOM'");
    engine
        .update_settings(|settings| settings.set("maxmemory", "1"))
        .unwrap();
    let full = "OOM command not allowed when used memory > 'maxmemory'.";
    for name in ["plain", "stale"] {
        assert_eq!(error(&ask(&engine, &["FCALL", name, "0"])), full, "{name}");
    }
    for name in ["reads", "may"] {
        assert_eq!(ask(&engine, &["FCALL", name, "0"]), Reply::Int(0), "{name}");
    }
    let text = library("new", &["x"], "");
    assert_eq!(error(&ask(&engine, &["FUNCTION", "LOAD", &text])), full);
}

#[test]
fn a_dump_restores_by_its_policy() {
    let (engine, sink) = recorded();
    let bytes = |reply: Reply| match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let dump = || bytes(ask(&engine, &["FUNCTION", "DUMP"]));
    let restore = |payload: &[u8], policy: &str| {
        let argv = [&b"FUNCTION"[..], b"RESTORE", payload, policy.as_bytes()];
        engine.call(&mut engine.session(), &argv).0
    };
    load(&engine, &library("one", &["f"], "return 1"));
    load(&engine, &library("two", &["g"], "return 1"));
    let (both, listed_both) = (dump(), listed(&engine));
    load(&engine, &library("one", &["f"], "return 2"));
    load(&engine, &library("three", &["h"], "return 1"));
    let (three, units) = (listed(&engine), sink.0.lock().len());
    let reply = restore(&both, "APPEND");
    assert_eq!(error(&reply), "ERR Library one already exists");
    assert_eq!(listed(&engine), three);
    assert_eq!(sink.0.lock().len(), units, "nothing is logged");
    assert_eq!(restore(&both, "REPLACE"), Reply::OK);
    assert_eq!(ask(&engine, &["FCALL", "f", "0"]), Reply::Int(1));
    assert_eq!(counts(&engine), (3, 3));
    assert_eq!(restore(&both, "FLUSH"), Reply::OK);
    assert_eq!(listed(&engine), listed_both);
    assert_eq!(dump(), both);
    // One whose function another library has got since.
    ask(&engine, &["FUNCTION", "DELETE", "two"]);
    load(&engine, &library("thief", &["G"], "return 3"));
    let before = listed(&engine);
    let reply = restore(&both, "REPLACE");
    assert_eq!(error(&reply), "ERR Function g already exists");
    assert_eq!(listed(&engine), before);
    assert_eq!(ask(&engine, &["FCALL", "g", "0"]), Reply::Int(3));
}

fn random_step(random: &mut Random) -> Vec<String> {
    let name = format!("l{}", random.below(4));
    let functions: Vec<String> = (0..=random.below(3))
        .map(|_| format!("{}{}", ["f", "F"][random.below(2)], random.below(8)))
        .collect();
    let names: Vec<&str> = functions.iter().map(String::as_str).collect();
    let body = format!("redis.call('INCRBY', keys[1], {})", random.below(9));
    let text = library(&name, &names, &body);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match random.below(20) {
        0..5 => words(&["FUNCTION", "LOAD", &text]),
        5..9 => words(&["FUNCTION", "LOAD", "REPLACE", &text]),
        9..11 => words(&["FUNCTION", "DELETE", &name]),
        11 => words(&["FUNCTION", "FLUSH"]),
        12 => words(&["FLUSHALL"]),
        13..15 => words(&["SET", "k", "5"]),
        _ => words(&["FCALL", &functions[0], "1", ["k", "n"][random.below(2)]]),
    }
}

#[test]
fn replayed_effects_give_the_same_libraries() {
    let mut loaded = 0;
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let (first, sink) = recorded();
        let mut session = first.session();
        for _ in 0..60 {
            let in_unit = random.below(4);
            if in_unit > 1 {
                call(&first, &mut session, &["MULTI"]);
            }
            for _ in 0..in_unit.max(1) {
                let step = random_step(&mut random);
                let step: Vec<&str> = step.iter().map(String::as_str).collect();
                call(&first, &mut session, &step);
            }
            if in_unit > 1 {
                call(&first, &mut session, &["EXEC"]);
            }
        }
        let second = Engine::new(Options {
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000)),
            ..Options::default()
        });
        for unit in sink.0.lock().iter() {
            for argv in unit {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                let (reply, _) = second.call(&mut second.session(), &argv);
                assert!(!reply.is_error(), "seed {seed}: {argv:?}: {reply:?}");
            }
        }
        assert_eq!(listed(&second), listed(&first), "seed {seed}");
        assert_eq!(counts(&second), counts(&first), "seed {seed}");
        loaded += counts(&first).0;
        for key in ["k", "n"] {
            let get = ["GET", key];
            assert_eq!(ask(&second, &get), ask(&first, &get), "seed {seed}");
        }
    }
    assert!(loaded > 10, "libraries are left at the end");
}
