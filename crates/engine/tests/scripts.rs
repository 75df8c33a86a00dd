//! Scripts as atomic units: killed, refused or failed, they leave nothing; a
//! looping one holds nobody who does not need the lock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::thread;
use std::time::{Duration, Instant};

use sangam_engine::session::{Dialect, Role, Session};
use sangam_engine::{Engine, Reply};

fn call(engine: &Engine, session: &mut Session, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    engine.call(session, &argv).0
}

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("an error was expected, not {other:?}"),
    }
}

/// Runs `argv` on a thread and kills its script once it loops.
fn run_and_kill(engine: &Engine, argv: &[Vec<&'static str>]) -> Vec<Reply> {
    let looping = {
        let (engine, argv) = (engine.clone(), argv.to_vec());
        thread::spawn(move || {
            let mut session = engine.session();
            argv.iter()
                .map(|argv| call(&engine, &mut session, argv))
                .collect::<Vec<_>>()
        })
    };
    let mut session = engine.session();
    let deadline = Instant::now() + Duration::from_secs(20);
    while call(engine, &mut session, &["SCRIPT", "KILL"]) != Reply::OK {
        assert!(Instant::now() < deadline, "the script never ran");
        thread::yield_now();
    }
    looping.join().unwrap()
}

const WRITE_AND_LOOP: &str = "redis.call('SET', KEYS[1], 'half') \
    redis.call('HSET', 'h', 'f', 'v') redis.call('DEL', 'gone') while true do end";

#[test]
fn a_killed_script_takes_its_writes_back() {
    let engine = Engine::default();
    let mut session = engine.session();
    call(&engine, &mut session, &["SET", "k", "whole"]);
    call(&engine, &mut session, &["SET", "gone", "here"]);
    let replies = run_and_kill(&engine, &[vec!["EVAL", WRITE_AND_LOOP, "1", "k"]]);
    assert!(error(&replies[0]).contains("Script killed by user with SCRIPT KILL"));
    assert_eq!(
        call(&engine, &mut session, &["GET", "k"]),
        Reply::bulk("whole")
    );
    assert_eq!(
        call(&engine, &mut session, &["GET", "gone"]),
        Reply::bulk("here")
    );
    assert_eq!(call(&engine, &mut session, &["EXISTS", "h"]), Reply::Int(0));
    let again = call(&engine, &mut session, &["EVAL", "return 7", "0"]);
    assert_eq!(again, Reply::Int(7), "the engine runs scripts after a kill");
}

#[test]
fn no_pcall_survives_a_kill() {
    for script in [
        "while true do pcall(function() while true do end end) end",
        "local c = coroutine.wrap(function() while true do end end) while true do pcall(c) end",
        "while true do redis.pcall('SET', 'k', 'v') end",
    ] {
        let engine = Engine::default();
        let replies = run_and_kill(&engine, &[vec!["EVAL", script, "0"]]);
        assert!(error(&replies[0]).contains("SCRIPT KILL"), "{script}");
    }
}

#[test]
fn a_kill_inside_exec_takes_the_whole_transaction_back() {
    let engine = Engine::default();
    let replies = run_and_kill(
        &engine,
        &[
            vec!["MULTI"],
            vec!["SET", "first", "1"],
            vec!["EVAL", WRITE_AND_LOOP, "1", "k"],
            vec!["EXEC"],
        ],
    );
    assert!(error(&replies[3]).starts_with("EXECABORT"), "{replies:?}");
    let mut session = engine.session();
    assert_eq!(call(&engine, &mut session, &["DBSIZE"]), Reply::Int(0));
}

#[test]
fn others_get_busy_and_what_needs_no_lock_answers() {
    for script in [
        "while true do end",
        "return ('a'):rep(2000):find(('.-'):rep(6) .. 'b')",
        "local t = cjson.decode('[' .. ('1,'):rep(1e5) .. '1]') \
         while true do cjson.encode(t) end",
    ] {
        others_get_busy(script);
    }
}

fn others_get_busy(script: &'static str) {
    let engine = Engine::default();
    engine
        .update_settings(|settings| settings.set("busy-reply-threshold", "30"))
        .unwrap();
    let looping = {
        let engine = engine.clone();
        thread::spawn(move || call(&engine, &mut engine.session(), &["EVAL", script, "0"]))
    };
    let mut session = engine.session();
    let deadline = Instant::now() + Duration::from_secs(20);
    let text = loop {
        let reply = call(&engine, &mut session, &["GET", "k"]);
        if reply.is_error() {
            break error(&reply);
        }
        assert!(Instant::now() < deadline, "never busy");
    };
    assert!(
        text.starts_with("BUSY Redis is busy running a script."),
        "{text}"
    );
    assert_eq!(
        call(&engine, &mut session, &["PING"]),
        Reply::status("PONG")
    );
    engine.grant("other", "another", Role::Full);
    session.set_principal(engine.authenticate(b"other"));
    assert_eq!(
        call(&engine, &mut session, &["SET", "k", "v"]),
        Reply::OK,
        "another keyspace is not held"
    );
    session.set_principal(Some(engine.owner()));
    assert_eq!(call(&engine, &mut session, &["SCRIPT", "KILL"]), Reply::OK);
    assert!(error(&looping.join().unwrap()).contains("SCRIPT KILL"));
    assert_eq!(call(&engine, &mut session, &["GET", "k"]), Reply::Null);
    let none = call(&engine, &mut session, &["SCRIPT", "KILL"]);
    assert_eq!(error(&none), "NOTBUSY No scripts in execution right now.");
}

#[test]
fn upstash_takes_back_what_a_failed_script_wrote() {
    let engine = Engine::default();
    let mut session = engine.session();
    let script = "redis.call('SET', 'k', 'v') return redis.call('INCR', 'k')";
    session.dialect = Dialect::Upstash;
    assert!(call(&engine, &mut session, &["EVAL", script, "0"]).is_error());
    assert_eq!(call(&engine, &mut session, &["EXISTS", "k"]), Reply::Int(0));
    session.dialect = Dialect::Redis;
    assert!(call(&engine, &mut session, &["EVAL", script, "0"]).is_error());
    assert_eq!(call(&engine, &mut session, &["EXISTS", "k"]), Reply::Int(1));
}

#[test]
fn key_locking_refuses_undeclared_keys_and_keeps_the_clients_sha() {
    let engine = Engine::default();
    let mut session = engine.session();
    let script = "#!lua flags=allow-key-locking\nreturn redis.call('SET', KEYS[1], 'v')";
    let Reply::Bulk(sha) = call(&engine, &mut session, &["SCRIPT", "LOAD", script]) else {
        panic!("a SHA-1");
    };
    // sha1sum of the text above.
    assert_eq!(sha.len(), 40);
    let sha = String::from_utf8(sha).unwrap();
    assert_eq!(
        call(&engine, &mut session, &["EVALSHA", &sha, "1", "a"]),
        Reply::OK
    );
    let dynamic = "#!lua flags=allow-key-locking\nreturn redis.call('SET', 'other', 'v')";
    assert_eq!(
        error(&call(&engine, &mut session, &["EVAL", dynamic, "1", "a"]))
            .split(" script:")
            .next(),
        Some(
            "ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is \
             set. Key was: other"
        )
    );
    let flush = "#!lua flags=allow-key-locking\nreturn redis.call('FLUSHALL')";
    assert!(call(&engine, &mut session, &["EVAL", flush, "0"]).is_error());
}

#[test]
fn a_script_that_eats_memory_fails_alone() {
    let engine = Engine::default();
    engine
        .update_settings(|settings| settings.set("script-max-memory", "32mb"))
        .unwrap();
    let mut session = engine.session();
    for script in [
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
        "return string.rep('x', 1024 * 1024 * 1024)",
        "local s = 'x' while true do s = s .. s end",
    ] {
        let reply = call(&engine, &mut session, &["EVAL", script, "0"]);
        assert!(error(&reply).contains("memory"), "{script}: {reply:?}");
        assert_eq!(
            call(&engine, &mut session, &["EVAL", "return 1", "0"]),
            Reply::Int(1)
        );
    }
}
