//! Keys, deadlines, scans, connections and the server's own commands, as a
//! caller in the same process meets them.

use std::sync::Arc;

use parking_lot::Mutex;
use sangam_engine::clock::ManualClock;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::session::{Protocol, Role, Session};
use sangam_engine::{Engine, Options, Reply, Seq};

const START_MS: i64 = 1_700_000_000_000;

#[derive(Default)]
struct Journal(Mutex<Vec<Vec<Vec<u8>>>>);

impl EffectSink for Journal {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut journal = self.0.lock();
        journal.extend(
            effects
                .iter()
                .map(|argv| argv.iter().map(|arg| arg.to_vec()).collect()),
        );
        Seq(journal.len() as u64)
    }
}

struct Bench {
    engine: Engine,
    session: Session,
    clock: Arc<ManualClock>,
    journal: Arc<Journal>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START_MS as u64 * 1000));
        let journal = Arc::new(Journal::default());
        let engine = Engine::new(Options {
            clock: clock.clone(),
            sink: journal.clone(),
            seed: 7,
            ..Options::default()
        });
        let session = engine.session();
        Bench {
            engine,
            session,
            clock,
            journal,
        }
    }

    fn run(&mut self, line: &str) -> Reply {
        call(&self.engine, &mut self.session, line)
    }

    /// Runs each line and compares its reply as text.
    fn expect(&mut self, steps: &[(&str, &str)]) {
        for (line, expected) in steps {
            assert_eq!(text(&self.run(line)), *expected, "{line}");
        }
    }

    /// What was logged since the last look.
    fn logged(&self) -> Vec<String> {
        let effects = std::mem::take(&mut *self.journal.0.lock());
        let line = |argv: &Vec<Vec<u8>>| {
            argv.iter()
                .map(|arg| String::from_utf8_lossy(arg))
                .collect::<Vec<_>>()
                .join(" ")
        };
        effects.iter().map(line).collect()
    }
}

/// Words of `line`; `""` is the empty word.
fn call(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let word = |word: &'static [u8]| if word == b"\"\"" { &b""[..] } else { word };
    let line: &'static str = line.to_owned().leak();
    let argv: Vec<&[u8]> = line.split(' ').map(|text| word(text.as_bytes())).collect();
    engine.call(session, &argv).0
}

/// A reply on one line: `(1)` an integer, `"x"` a bulk string.
fn text(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(text).collect::<Vec<_>>().join(" ");
    let pairs = |items: &[(Reply, Reply)]| {
        let pair = |(key, value): &(Reply, Reply)| format!("{}: {}", text(key), text(value));
        items.iter().map(pair).collect::<Vec<_>>().join(", ")
    };
    match reply {
        Reply::Null | Reply::NullArray => "null".into(),
        Reply::Status(status) => status.to_string(),
        Reply::Error(error) => format!("-{}", String::from_utf8_lossy(error)),
        Reply::Int(number) => format!("({number})"),
        Reply::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Reply::Verbatim(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("~[{}]", list(items)),
        Reply::Push(items) => format!(">[{}]", list(items)),
        Reply::Many(items) => list(items),
        Reply::Map(items) | Reply::Pairs(items) => format!("{{{}}}", pairs(items)),
        other => format!("{other:?}"),
    }
}

#[test]
fn names_of_keys() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("HSET a f v", "(1)"),
        ("SADD b x", "(1)"),
        ("EXISTS a b c a", "(3)"),
        ("TOUCH a b c", "(2)"),
        ("TYPE a", "hash"),
        ("TYPE c", "none"),
        ("RENAME c d", "-ERR no such key"),
        ("RENAME a a", "OK"),
        ("RENAMENX a b", "(0)"),
        ("RENAMENX a a", "(0)"),
        ("RENAME a b", "OK"),
        ("TYPE b", "hash"),
        ("DBSIZE", "(1)"),
        (
            "COPY b b",
            "-ERR source and destination objects are the same",
        ),
        ("COPY b c DB 0", "(1)"),
        ("COPY b c", "(0)"),
        ("COPY b c REPLACE", "(1)"),
        ("COPY b c DB 1", "-ERR DB index is out of range"),
        ("COPY b c DB", "-ERR syntax error"),
        (
            "MOVE b 0",
            "-ERR source and destination objects are the same",
        ),
        ("MOVE b 1", "-ERR DB index is out of range"),
        ("SELECT 0", "OK"),
        ("SELECT 1", "-ERR DB index is out of range"),
        ("UNLINK b c nope", "(2)"),
        (
            "UNLINK",
            "-ERR wrong number of arguments for 'unlink' command",
        ),
        ("RANDOMKEY", "null"),
        ("FLUSHALL SOON", "-ERR syntax error"),
        ("FLUSHALL ASYNC", "OK"),
    ]);
}

#[test]
fn upstash_differs() {
    let bench = Bench::new();
    bench.engine.grant("token", "default", Role::Full);
    let mut session = bench.engine.rest_session();
    session.set_principal(bench.engine.authenticate(b"token"));
    for (line, expected) in [
        ("UNLINK", "(0)"),
        ("HSET k f v", "(1)"),
        ("COPY k k", "(0)"),
        ("SCAN 0 WITHTYPE", r#"["0" ["k" "hash"]]"#),
        ("CLIENT SETINFO LIB-NAME x", "OK"),
        (
            "CLIENT ID",
            "-ERR Command \"CLIENT\" is not allowed in REST or it has a special context path",
        ),
        (
            "HELLO 3",
            "-ERR Command \"HELLO\" is not allowed in REST or it has a special context path",
        ),
    ] {
        assert_eq!(
            text(&call(&bench.engine, &mut session, line)),
            expected,
            "{line}"
        );
    }
}

#[test]
fn keys_go_when_their_time_comes() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("SADD k v", "(1)"),
        ("TTL k", "(-1)"),
        ("TTL nope", "(-2)"),
        ("EXPIRE k 10", "(1)"),
        ("TTL k", "(10)"),
        ("PTTL k", "(10000)"),
        ("EXPIRETIME k", "(1700000010)"),
        ("PEXPIRETIME k", "(1700000010000)"),
        ("EXPIRE k 20 NX", "(0)"),
        ("EXPIRE k 5 GT", "(0)"),
        ("EXPIRE k 20 LT", "(0)"),
        ("EXPIRE k 20 GT", "(1)"),
        ("EXPIRE k 15 xx lt", "(1)"),
        ("PERSIST k", "(1)"),
        ("PERSIST k", "(0)"),
        ("EXPIRE k 10 GT", "(0)"),
        ("EXPIRE k 10 XX", "(0)"),
        ("EXPIRE k 10 LT", "(1)"),
    ]);
    bench.clock.advance_millis(9_999);
    bench.expect(&[("EXISTS k", "(1)"), ("PTTL k", "(1)")]);
    bench.clock.advance_millis(1);
    bench.expect(&[
        ("EXISTS k", "(0)"),
        ("PTTL k", "(-2)"),
        ("SADD k v", "(1)"),
        ("EXPIRE k -1", "(1)"),
        ("EXISTS k", "(0)"),
    ]);
}

#[test]
fn deadlines_that_do_not_parse() {
    Bench::new().expect(&[
        ("SADD k v", "(1)"),
        (
            "EXPIRE k ten",
            "-ERR value is not an integer or out of range",
        ),
        ("EXPIRE k x SOON", "-ERR Unsupported option SOON"),
        (
            "EXPIRE k 1 NX GT",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE k 1 GT LT",
            "-ERR GT and LT options at the same time are not compatible",
        ),
        (
            "EXPIRE nope 9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "PEXPIRE k 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command",
        ),
        (
            "EXPIREAT k 9223372036854776",
            "-ERR invalid expire time in 'expireat' command",
        ),
        ("PEXPIREAT k 9223372036854775807", "(1)"),
        ("EXPIRETIME k", "(9223372036854776)"),
        ("TTL k", "(9223370336854776)"),
    ]);
}

#[test]
fn effects_are_absolute() {
    let mut bench = Bench::new();
    bench.run("SADD k v");
    bench.run("EXPIRE k 10");
    bench.run("PEXPIRE k 500 LT");
    bench.run("EXPIRE k 100 NX");
    bench.run("PERSIST k");
    bench.run("PERSIST k");
    bench.run("COPY k l");
    bench.run("EXPIREAT l 1");
    bench.run("DEL nope");
    bench.run("RENAME k m");
    bench.run("PEXPIRE m 5");
    bench.clock.advance_millis(5);
    bench.run("TTL m");
    bench.run("FLUSHALL");
    assert_eq!(
        bench.logged(),
        [
            "SADD k v",
            "PEXPIREAT k 1700000010000",
            "PEXPIREAT k 1700000000500",
            "PERSIST k",
            "COPY k l",
            "DEL l",
            "RENAME k m",
            "PEXPIREAT m 1700000000005",
            "DEL m",
        ]
    );
}

#[test]
fn a_scan_visits_everything_that_stays() {
    let mut bench = Bench::new();
    for number in 0..1000 {
        bench.run(&format!("SADD key:{number} v"));
        bench.run(&format!("HSET hash f{number} {number}"));
    }
    for (command, expected) in [("SCAN", 1001), ("HSCAN hash", 2000)] {
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = bench.run(&format!("{command} {cursor} COUNT 7"));
            let Reply::Array(parts) = reply else {
                panic!("{reply:?}")
            };
            let [Reply::Bulk(next), Reply::Array(items)] = &parts[..] else {
                panic!()
            };
            found.extend(items.iter().map(text));
            cursor = String::from_utf8(next.clone()).unwrap();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), expected, "{command}");
        found.sort();
        found.dedup();
        assert!(found.len() > 1000, "{command}");
    }
    bench.expect(&[
        ("SCAN 0 MATCH key:99? COUNT 5000 TYPE hash", r#"["0" []]"#),
        (
            "SCAN 0 MATCH hash COUNT 5000 TYPE HASH",
            r#"["0" ["hash"]]"#,
        ),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 WITHTYPE", "-ERR syntax error"),
        ("HSCAN nope 0 SENSELESS", r#"["0" []]"#),
        (
            "SSCAN hash 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
    ]);
}

#[test]
fn how_values_are_kept() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("SADD ints 1 2 3", "(3)"),
        ("OBJECT ENCODING ints", "\"intset\""),
        ("HSET h f v", "(1)"),
        ("OBJECT ENCODING h", "\"listpack\""),
        ("OBJECT ENCODING nope", "null"),
        ("OBJECT REFCOUNT h", "(1)"),
        (
            "OBJECT ENCODING",
            "-ERR wrong number of arguments for 'object|encoding' command",
        ),
        ("MEMORY USAGE nope SAMPLES 0", "null"),
        ("MEMORY USAGE h SAMPLES -1", "-ERR syntax error"),
    ]);
    assert!(matches!(bench.run("MEMORY USAGE h"), Reply::Int(50..)));
    bench.clock.advance_millis(12_000);
    bench.expect(&[
        ("OBJECT IDLETIME h", "(12)"),
        ("TYPE h", "hash"),
        ("OBJECT IDLETIME h", "(12)"),
        ("TOUCH h", "(1)"),
        ("OBJECT IDLETIME h", "(0)"),
    ]);
}

#[test]
fn who_connects() {
    let bench = Bench::new();
    let engine = &bench.engine;
    let mut open = engine.connect("1.1.1.1:1".into(), "2.2.2.2:2".into());
    assert!(text(&call(engine, &mut open, "AUTH x")).contains("without any password configured"));
    assert_eq!(text(&call(engine, &mut open, "AUTH default x")), "OK");

    engine.grant("full", "default", Role::Full);
    engine.grant("other", "elsewhere", Role::ReadOnly);
    let mut session = engine.connect("1.1.1.1:3".into(), "2.2.2.2:2".into());
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    for (line, expected) in [
        ("PING", "-NOAUTH Authentication required."),
        ("AUTH nope", wrong),
        ("AUTH default_ro full", wrong),
        (
            "HELLO 3 SETNAME",
            "-ERR Syntax error in HELLO option 'SETNAME'",
        ),
        ("HELLO 9", "-NOPROTO unsupported protocol version"),
        ("HELLO 3 AUTH default nope", wrong),
        ("AUTH full", "OK"),
        (
            "CLIENT SETNAME a\u{e9}",
            "-ERR Client names cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT SETNAME me", "OK"),
        ("CLIENT GETNAME", "\"me\""),
        ("CLIENT KILL 9.9.9.9:9", "-ERR No such client"),
        (
            "CLIENT KILL ID 0",
            "-ERR client-id should be greater than 0",
        ),
        ("CLIENT KILL TYPE pubsub", "(0)"),
        ("CLIENT KILL ADDR 1.1.1.1:1", "(1)"),
        ("RESET", "RESET"),
        ("CLIENT GETNAME", "-NOAUTH Authentication required."),
        ("HELLO 3 AUTH default_ro other SETNAME you", ""),
        ("CLIENT GETNAME", "\"you\""),
        (
            "SADD a b",
            "-NOPERM this user has no permissions to run the 'sadd' command",
        ),
    ] {
        let reply = text(&call(engine, &mut session, line));
        if line.starts_with("HELLO 3 AUTH default_ro") {
            assert!(
                reply.contains("\"proto\": (3)") && reply.contains("\"7.4.0\""),
                "{reply}"
            );
        } else {
            assert_eq!(reply, expected, "{line}");
        }
    }
    assert!(open.client().mailbox.is_closed());
    let info = text(&call(engine, &mut session, "CLIENT INFO"));
    assert!(
        info.starts_with("id=2 addr=1.1.1.1:3 laddr=2.2.2.2:2 fd=-1 name=you age=0"),
        "{info}"
    );
    assert!(
        info.contains("cmd=client|info user=default_ro redir=-1 resp=3"),
        "{info}"
    );
    call(engine, &mut session, "QUIT");
    assert!(session.is_closing());
}

#[test]
fn tenants_do_not_see_each_other() {
    let bench = Bench::new();
    let engine = &bench.engine;
    engine.grant("one", "default", Role::Full);
    engine.grant("two", "second", Role::Full);
    let mut one = engine.connect("1.1.1.1:1".into(), String::new());
    let mut two = engine.connect("1.1.1.1:2".into(), String::new());
    call(engine, &mut one, "AUTH one");
    call(engine, &mut two, "AUTH two");
    assert_eq!(
        text(&call(engine, &mut one, "CLIENT LIST")).lines().count(),
        1
    );
    assert_eq!(
        text(&call(engine, &mut one, "CLIENT KILL ADDR 1.1.1.1:2")),
        "(0)"
    );
    call(engine, &mut one, "SUBSCRIBE news");
    assert_eq!(text(&call(engine, &mut two, "PUBLISH news x")), "(0)");
    assert_eq!(text(&call(engine, &mut two, "PUBSUB CHANNELS")), "[]");
}

#[test]
fn messages_reach_those_who_listen() {
    let mut bench = Bench::new();
    let mut listener = bench.engine.connect("1.1.1.1:1".into(), String::new());
    for (line, expected) in [
        (
            "SUBSCRIBE a b a",
            r#">["subscribe" "a" (1)] >["subscribe" "b" (2)] >["subscribe" "a" (2)]"#,
        ),
        ("PSUBSCRIBE [a-c]*", r#">["psubscribe" "[a-c]*" (3)]"#),
        ("PING", r#"["pong" ""]"#),
        ("PING x", r#"["pong" "x"]"#),
        ("UNSUBSCRIBE nope", r#">["unsubscribe" "nope" (3)]"#),
        (
            "CONFIG GET a",
            "-ERR Can't execute 'config|get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
             QUIT / RESET are allowed in this context",
        ),
    ] {
        assert_eq!(
            text(&call(&bench.engine, &mut listener, line)),
            expected,
            "{line}"
        );
    }
    bench.expect(&[
        ("PUBLISH a hello", "(2)"),
        ("PUBLISH car hi", "(1)"),
        ("PUBLISH z hi", "(0)"),
        ("PUBSUB NUMSUB a z", r#"["a" (1) "z" (0)]"#),
        ("PUBSUB NUMPAT", "(1)"),
        ("PUBSUB CHANNELS a*", r#"["a"]"#),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        ),
    ]);
    let mailbox = listener.client().mailbox.clone();
    let received: Vec<String> = std::iter::from_fn(|| mailbox.try_next())
        .filter_map(|post| post.to_reply(Protocol::Resp2, true))
        .map(|reply| text(&reply))
        .collect();
    assert_eq!(
        received,
        [
            r#">["message" "a" "hello"]"#,
            r#">["pmessage" "[a-c]*" "a" "hello"]"#,
            r#">["pmessage" "[a-c]*" "car" "hi"]"#,
        ]
    );
    for (line, expected) in [
        ("PUNSUBSCRIBE", r#">["punsubscribe" "[a-c]*" (2)]"#),
        ("PUNSUBSCRIBE", r#">["punsubscribe" null (2)]"#),
        ("RESET", "RESET"),
        ("UNSUBSCRIBE", r#">["unsubscribe" null (0)]"#),
    ] {
        assert_eq!(
            text(&call(&bench.engine, &mut listener, line)),
            expected,
            "{line}"
        );
    }
}

#[test]
fn settings() {
    let mut bench = Bench::new();
    let fails = "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - ";
    bench.expect(&[
        ("CONFIG GET MaxMemory nope", r#"{"MaxMemory": "0"}"#),
        ("CONFIG SET maxmemory 1mb SLOWLOG-max-len 3", "OK"),
        (
            "CONFIG GET maxmemory slowlog-max-l?n maxmemory",
            r#"{"maxmemory": "1048576", "slowlog-max-len": "3"}"#,
        ),
        (
            "CONFIG SET maxmemory 2mb nope 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'",
        ),
        ("CONFIG SET maxmemory 2mb MAXMEMORY", "-ERR syntax error"),
        (
            "CONFIG SET maxmemory 2mb MAXMEMORY 3mb",
            "-ERR CONFIG SET failed (possibly related to argument 'MAXMEMORY') - duplicate parameter",
        ),
        ("CONFIG SET slowlog-max-len 5 MAXMEMORY x", &format!("{fails}argument must be a memory value")),
        ("CONFIG GET slowlog-max-len", r#"{"slowlog-max-len": "3"}"#),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG SET slowlog-log-slower-than 0", "OK"),
        ("SADD k v", "(1)"),
        ("SLOWLOG LEN", "(1)"),
        ("SLOWLOG GET 1", r#"[[(0) (1700000000) (0) ["SADD" "k" "v"] "" ""]]"#),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
        ("SLOWLOG RESET", "OK"),
        ("SLOWLOG GET -1", "[]"),
        ("TIME", r#"["1700000000" "0"]"#),
        ("ROLE", r#"["master" (0) []]"#),
    ]);
}

#[test]
fn figures() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("SADD k v", "(1)"),
        ("PEXPIRE k 1000", "(1)"),
        ("PING", "PONG"),
    ]);
    bench.run("HSET k f v");
    bench.run("NONSENSE");
    let info = text(&bench.run("INFO EVERYTHING"));
    for line in [
        "# Server\r\nredis_version:7.4.0\r\nsangam_version:",
        "cmdstat_ping:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0\r\n",
        "cmdstat_hset:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1\r\n",
        "errorstat_ERR:count=1\r\n",
        "errorstat_WRONGTYPE:count=1\r\n",
        "# Cluster\r\ncluster_enabled:0\r\n",
        "# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=1000\r\n",
        "maxmemory_policy:noeviction\r\n",
        "total_commands_processed:4\r\n",
        "sangam_billed_commands:3\r\n",
    ] {
        assert!(info.contains(line), "{line}\n{info}");
    }
    assert!(!text(&bench.run("INFO")).contains("# Commandstats"));
    assert_eq!(text(&bench.run("INFO nope")), "");
    assert_eq!(
        text(&bench.run("INFO keyspace CLUSTER")),
        "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=1000\r\n"
    );
    bench.run("CONFIG RESETSTAT");
    let info = text(&bench.run("INFO everything"));
    assert!(!info.contains("cmdstat_ping") && info.contains("sangam_billed_commands:3\r\n"));
}

#[test]
fn the_table_describes_itself() {
    let mut bench = Bench::new();
    bench.expect(&[
        ("COMMAND GETKEYS HSET k f v", r#"["k"]"#),
        ("COMMAND GETKEYS DEL a b c", r#"["a" "b" "c"]"#),
        ("COMMAND GETKEYS OBJECT ENCODING k", r#"["k"]"#),
        ("COMMAND GETKEYS PING x", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS NOPE x", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS TYPE a b", "-ERR Invalid number of arguments specified for command"),
        ("COMMAND LIST FILTERBY PATTERN pexpire*", r#"["pexpire" "pexpireat" "pexpiretime"]"#),
        ("COMMAND LIST FILTERBY MODULE x", "[]"),
        ("COMMAND LIST FILTERBY COLOUR x", "-ERR syntax error"),
        ("COMMAND INFO nope", "[null]"),
        (
            "COMMAND INFO keys",
            r#"[["keys" (2) ~[readonly] (0) (0) (0) ~[@keyspace @read @slow @dangerous] ~[] ~[] ~[]]]"#,
        ),
        (
            "COMMAND DOCS config|get nope",
            "{\"config|get\": {\"summary\": \"Answers settings by name or pattern\", \"since\": \
             \"2.0.0\", \"group\": \"server\", \"complexity\": \"O(N) where N is the number of \
             arguments\"}}",
        ),
        ("COMMAND WHAT", "-ERR unknown subcommand 'WHAT'. Try COMMAND HELP."),
    ]);
    let Reply::Int(count) = bench.run("COMMAND COUNT") else {
        panic!()
    };
    let Reply::Array(all) = bench.run("COMMAND") else {
        panic!()
    };
    assert_eq!(all.len() as i64, count);
}
