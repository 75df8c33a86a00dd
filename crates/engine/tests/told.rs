//! What a client is told unasked: keyspace events, invalidations of its cache,
//! the commands of others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::journal::JournalOptions;
use sangam_engine::journal::storage::FaultyStorage;
use sangam_engine::session::{Protocol, Role, Session};
use sangam_engine::{Engine, Options, Reply};

struct Bench {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            ..Options::default()
        });
        Bench { engine, clock }
    }

    fn connect(&self) -> Session {
        self.engine.connect("10.0.0.1:5".to_owned(), String::new())
    }

    /// Runs a line of words; `'` in a word stands for a blank.
    fn run(&self, session: &mut Session, line: &str) -> Reply {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.replace('\'', " ").into_bytes())
            .collect();
        let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.engine.call(session, &argv).0
    }

    fn all(&self, session: &mut Session, lines: &[&str]) {
        for line in lines {
            let reply = self.run(session, line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
    }

    /// A session that hears all events of these classes.
    fn listener(&self, classes: &str) -> Session {
        let mut session = self.connect();
        self.all(
            &mut session,
            &[
                &format!("CONFIG SET notify-keyspace-events {classes}"),
                "PSUBSCRIBE *",
            ],
        );
        session
    }
}

fn words(reply: &Reply) -> String {
    match reply {
        Reply::Push(parts) | Reply::Array(parts) => {
            let parts: Vec<_> = parts.iter().map(words).collect();
            parts.join(" ")
        }
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Status(text) => text.to_string(),
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Null => "nil".to_owned(),
        Reply::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// What waits in the mailbox, one line each.
fn told(session: &Session) -> Vec<String> {
    let subscribed = session.subscriptions() > 0;
    std::iter::from_fn(|| session.client().mailbox.try_next())
        .filter_map(|post| post.to_reply(session.protocol, subscribed))
        .map(|reply| words(&reply))
        .collect()
}

/// Events as `channel payload`, without what they have in common.
fn events(session: &Session) -> Vec<String> {
    let lines = told(session).into_iter();
    lines
        .map(|line| line.replace("pmessage * ", "").replace("@0__:", " "))
        .collect()
}

#[test]
fn events_come_by_key_and_by_event_as_chosen() {
    let bench = Bench::new();
    let listener = bench.listener("KE$g");
    let mut session = bench.connect();
    bench.all(&mut session, &["SET k v EX 100", "SADD s 1", "DEL k"]);
    assert_eq!(
        events(&listener),
        [
            "__keyspace k set",
            "__keyevent set k",
            "__keyspace k expire",
            "__keyevent expire k",
            "__keyspace k del",
            "__keyevent del k",
        ]
    );
    bench.all(
        &mut session,
        &["CONFIG SET notify-keyspace-events A", "SET k v"],
    );
    assert!(events(&listener).is_empty(), "no channel was chosen");
}

#[test]
fn time_and_room_raise_events_too() {
    let bench = Bench::new();
    let listener = bench.listener("Eexmn");
    let mut session = bench.connect();
    bench.all(&mut session, &["SET a 1 PX 10", "SET b 1 PX 10", "GET c"]);
    bench.clock.advance_millis(11);
    bench.all(&mut session, &["GET a"]);
    bench.engine.tick();
    assert_eq!(
        events(&listener),
        [
            "__keyevent new a",
            "__keyevent new b",
            "__keyevent keymiss c",
            "__keyevent expired a",
            "__keyevent keymiss a",
            "__keyevent expired b",
        ]
    );
    bench.all(
        &mut session,
        &[
            "SET old v",
            "CONFIG SET maxmemory-policy allkeys-lru",
            "CONFIG SET maxmemory 1",
        ],
    );
    assert!(bench.run(&mut session, "SET new v").is_error());
    assert_eq!(
        events(&listener),
        ["__keyevent new old", "__keyevent evicted old"]
    );
}

#[test]
fn a_unit_tells_in_order_with_what_it_publishes() {
    let bench = Bench::new();
    let listener = bench.listener("E$");
    let mut session = bench.connect();
    bench.all(
        &mut session,
        &["MULTI", "PUBLISH c 1", "SET k v", "PUBLISH c 2", "INCR n"],
    );
    assert!(events(&listener).is_empty());
    let replies = bench.run(&mut session, "EXEC");
    assert_eq!(words(&replies), "1 OK 1 1");
    assert_eq!(
        events(&listener),
        ["c 1", "__keyevent set k", "c 2", "__keyevent incrby n"]
    );
}

#[test]
fn a_unit_that_is_undone_has_told_nothing() {
    let bench = Bench::new();
    let listener = bench.listener("EA");
    let mut session = bench.engine.rest_session();
    session.set_principal(Some(bench.engine.owner()));
    let script = "EVAL redis.call('PUBLISH','c','m');redis.call('SET',KEYS[1],1);error('no') 1 k";
    let argv: Vec<&[u8]> = script.splitn(4, ' ').map(str::as_bytes).collect();
    assert!(bench.engine.call(&mut session, &argv).0.is_error());
    assert_eq!(bench.run(&mut session, "EXISTS k"), Reply::Int(0));
    assert!(events(&listener).is_empty());
}

#[test]
fn readers_are_told_once_and_writers_after_their_unit() {
    let bench = Bench::new();
    let (mut reader, mut writer) = (bench.connect(), bench.connect());
    bench.all(&mut reader, &["HELLO 3", "CLIENT TRACKING ON", "MGET a b"]);
    bench.all(&mut writer, &["SET a 1", "SET a 2", "SET c 1"]);
    assert_eq!(told(&reader), ["invalidate a"]);
    bench.all(&mut reader, &["SET b 1"]);
    assert!(reader.client().mailbox.try_next_before_reply().is_none());
    assert_eq!(told(&reader), ["invalidate b"]);
    bench.all(&mut reader, &["GET a"]);
    bench.all(&mut writer, &["FLUSHALL", "SET a 1"]);
    assert_eq!(told(&reader), ["invalidate nil"]);
    bench.all(&mut reader, &["GET a", "CLIENT TRACKING OFF"]);
    bench.all(&mut writer, &["SET a 2"]);
    assert!(told(&reader).is_empty());
}

#[test]
fn time_and_room_invalidate() {
    let bench = Bench::new();
    let mut reader = bench.connect();
    bench.all(
        &mut reader,
        &["HELLO 3", "SET a 1 PX 10", "CLIENT TRACKING ON", "GET a"],
    );
    bench.clock.advance_millis(11);
    bench.engine.tick();
    assert_eq!(told(&reader), ["invalidate a"]);
    bench.all(
        &mut reader,
        &[
            "SET b 1",
            "GET b",
            "CONFIG SET maxmemory-policy allkeys-lru",
            "CONFIG SET maxmemory 1",
        ],
    );
    bench.run(&mut reader, "SET c 1");
    assert_eq!(told(&reader), ["invalidate b"]);
}

#[test]
fn what_a_transaction_or_a_script_reads_is_tracked() {
    let bench = Bench::new();
    let (mut reader, mut writer) = (bench.connect(), bench.connect());
    bench.all(
        &mut reader,
        &["HELLO 3", "CLIENT TRACKING ON", "MULTI", "GET a", "EXEC"],
    );
    bench.all(&mut writer, &["SET a 1"]);
    assert_eq!(told(&reader), ["invalidate a"]);
    let script = "EVAL return'redis.call(\"GET\",\"hidden\") 1 declared";
    assert_eq!(bench.run(&mut reader, script), Reply::Null);
    bench.all(&mut writer, &["SET hidden 1", "SET declared 1"]);
    assert_eq!(told(&reader), ["invalidate declared"]);
}

#[test]
fn opting_in_holds_for_one_command() {
    let bench = Bench::new();
    let (mut reader, mut writer) = (bench.connect(), bench.connect());
    bench.all(
        &mut reader,
        &[
            "HELLO 3",
            "CLIENT TRACKING ON OPTIN",
            "GET a",
            "CLIENT CACHING YES",
            "CLIENT ID",
            "GET b",
            "GET c",
            "CLIENT CACHING YES",
            "MULTI",
            "GET d",
            "GET e",
            "EXEC",
        ],
    );
    bench.all(&mut writer, &["MSET a 1 b 1 c 1 d 1 e 1"]);
    assert_eq!(
        told(&reader),
        ["invalidate b", "invalidate d", "invalidate e"]
    );
}

#[test]
fn prefixes_are_told_once_a_unit() {
    let bench = Bench::new();
    let (mut reader, mut writer) = (bench.connect(), bench.connect());
    bench.all(
        &mut reader,
        &[
            "HELLO 3",
            "CLIENT TRACKING ON BCAST NOLOOP PREFIX a: PREFIX b:",
        ],
    );
    bench.all(&mut writer, &["MSET a:2 1 b:1 1 a:1 1 c 1"]);
    assert_eq!(told(&reader), ["invalidate a:1 a:2", "invalidate b:1"]);
    bench.all(&mut reader, &["SET a:1 2"]);
    assert!(told(&reader).is_empty(), "its own");
}

#[test]
fn another_client_is_told_in_its_place() {
    let bench = Bench::new();
    let (mut reader, mut target, mut writer) = (bench.connect(), bench.connect(), bench.connect());
    let Reply::Int(id) = bench.run(&mut target, "CLIENT ID") else {
        panic!("no id");
    };
    bench.all(&mut target, &["SUBSCRIBE __redis__:invalidate"]);
    let redirect = format!("CLIENT TRACKING ON REDIRECT {id}");
    bench.all(&mut reader, &[&redirect, "GET a"]);
    bench.all(&mut writer, &["SET a 1"]);
    assert_eq!(told(&target), ["message __redis__:invalidate a"]);
    assert!(told(&reader).is_empty());
    bench.engine.disconnect(target);
    bench.all(&mut reader, &["HELLO 3", "GET a"]);
    bench.all(&mut writer, &["SET a 2"]);
    assert_eq!(told(&reader), [format!("tracking-redir-broken {id}")]);
}

#[test]
fn nobody_is_told_of_another_keyspace() {
    let bench = Bench::new();
    bench.engine.grant("mine", "mine", Role::Full);
    bench.engine.grant("theirs", "theirs", Role::Full);
    let (mut reader, mut writer, mut watcher) = (bench.connect(), bench.connect(), bench.connect());
    bench.all(
        &mut reader,
        &["AUTH mine", "HELLO 3", "CLIENT TRACKING ON", "GET a"],
    );
    bench.all(&mut watcher, &["AUTH mine", "MONITOR"]);
    let id = reader.client().id;
    bench.all(&mut writer, &["AUTH theirs", "SET a 1"]);
    let redirect = format!("CLIENT TRACKING ON REDIRECT {id}");
    assert!(bench.run(&mut writer, &redirect).is_error());
    assert!(told(&reader).is_empty() && told(&watcher).is_empty());
    // Who moves to another keyspace is done with the first.
    bench.all(&mut reader, &["AUTH theirs"]);
    assert!(!reader.is_tracking());
}

#[test]
fn a_monitor_sees_commands_as_they_run() {
    let bench = Bench::new();
    let (mut watcher, mut other) = (bench.connect(), bench.connect());
    bench.all(&mut watcher, &["MONITOR"]);
    bench.all(
        &mut other,
        &["SET k v", "MULTI", "GET k", "EXEC", "CONFIG GET port"],
    );
    let script = "EVAL return'redis.call(\"get\",KEYS[1]) 1 k";
    bench.run(&mut other, script);
    bench.run(&mut other, "AUTH default secret");
    bench.run(&mut other, "HELLO 3 AUTH default secret");
    bench.run(&mut other, "GET");
    let at = "1700000000.000000 [0 10.0.0.1:5]";
    let expected = [
        format!(r#"{at} "SET" "k" "v""#),
        format!(r#"{at} "MULTI""#),
        format!(r#"{at} "GET" "k""#),
        format!(r#"{at} "EXEC""#),
        format!(r#"{at} "EVAL" "return redis.call(\"get\",KEYS[1])" "1" "k""#),
        r#"1700000000.000000 [0 lua] "get" "k""#.to_owned(),
        format!(r#"{at} "AUTH" "(redacted)" "(redacted)""#),
        format!(r#"{at} "HELLO" "3" "AUTH" "(redacted)" "(redacted)""#),
    ];
    assert_eq!(told(&watcher), expected);
    assert_eq!(
        bench.run(&mut watcher, "GET k"),
        Reply::error("ERR Replica can't interact with the keyspace")
    );
    bench.all(&mut watcher, &["RESET"]);
    told(&watcher);
    bench.all(&mut other, &["SET k v"]);
    assert!(told(&watcher).is_empty());
}

#[test]
fn a_monitor_that_does_not_read_is_cut_off() {
    let bench = Bench::new();
    let (mut watcher, mut other) = (bench.connect(), bench.connect());
    bench.all(&mut watcher, &["MONITOR"]);
    let text = "x".repeat(1 << 20);
    for _ in 0..33 {
        bench.all(&mut other, &[&format!("ECHO {text}")]);
    }
    assert!(watcher.client().mailbox.is_closed());
    assert_eq!(watcher.client().mailbox.waiting(), (0, 0));
}

#[test]
fn a_reader_may_track_and_not_monitor() {
    let bench = Bench::new();
    bench.engine.grant("full", "default", Role::Full);
    bench.engine.grant("read", "default", Role::ReadOnly);
    let mut reader = bench.connect();
    bench.all(&mut reader, &["AUTH read", "CLIENT TRACKING ON"]);
    assert_eq!(
        bench.run(&mut reader, "MONITOR"),
        Reply::error("NOPERM this user has no permissions to run the 'monitor' command")
    );
    assert_eq!(reader.protocol, Protocol::Resp2);
}

#[test]
fn a_reload_brings_everything_back() {
    let engine = Engine::new(Options {
        settings: sangam_engine::config::Settings {
            debug_command: true,
            ..Default::default()
        },
        ..Options::default()
    });
    let bench = Bench {
        engine,
        clock: Arc::new(ManualClock::new(0)),
    };
    let mut session = bench.connect();
    bench.all(
        &mut session,
        &[
            "SET s hello",
            "SET n 12 EX 1000",
            "HSET h a 1 b 2",
            "SADD i 1 2 3",
            "ZADD z 1 a 2 b",
            "DEBUG RELOAD",
        ],
    );
    for (line, expected) in [
        ("GET s", "hello"),
        ("OBJECT ENCODING s", "embstr"),
        ("GET n", "12"),
        ("OBJECT ENCODING i", "intset"),
        ("ZRANGE z 0 -1", "a b"),
        ("HMGET h a b", "1 2"),
        ("DBSIZE", "5"),
    ] {
        assert_eq!(words(&bench.run(&mut session, line)), expected, "{line}");
    }
    assert!(matches!(bench.run(&mut session, "TTL n"), Reply::Int(1..)));
}

#[test]
fn a_reload_reads_what_the_disk_has() {
    let storage = FaultyStorage::new();
    let options = Options {
        settings: sangam_engine::config::Settings {
            debug_command: true,
            ..Default::default()
        },
        ..Options::default()
    };
    let opened = Engine::open(
        options,
        Arc::new(storage),
        JournalOptions::default(),
        &mut |_, _| (),
    );
    let bench = Bench {
        engine: opened.unwrap().0,
        clock: Arc::new(ManualClock::new(0)),
    };
    let mut session = bench.connect();
    bench.all(
        &mut session,
        &["SET s hello", "SAVE", "APPEND s !", "SADD i 1 2 3"],
    );
    bench.all(
        &mut session,
        &["SET t v PX 1", "DEBUG SLEEP 0.01", "DEBUG RELOAD", "INCR n"],
    );
    for (line, expected) in [
        ("GET s", "hello!"),
        ("SCARD i", "3"),
        ("GET n", "1"),
        ("DBSIZE", "3"),
    ] {
        assert_eq!(words(&bench.run(&mut session, line)), expected, "{line}");
    }
}

#[test]
fn debug_is_refused_unless_asked_for() {
    let bench = Bench::new();
    let reply = bench.run(&mut bench.connect(), "DEBUG SLEEP 100");
    assert!(
        words(&reply).contains("DEBUG command not allowed"),
        "{reply:?}"
    );
}
