//! Random requests to this engine and to a real redis-server 7.0, side by
//! side: replies and error texts must be the same. `SEED` and `ROUNDS` choose
//! another or a longer run. Skipped, saying so, where there is no redis-server.

#![allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "a panic is how a test fails, and Drop waits for the process"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sangam_engine::random::Random;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Reply};

fn installed() -> bool {
    let found = Command::new("redis-server")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        eprintln!("skipped: redis-server is not installed");
    }
    found
}

struct Redis {
    process: Child,
    stream: BufReader<TcpStream>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--databases",
                "1",
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                return Redis {
                    process,
                    stream: BufReader::new(stream),
                };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not answer");
    }

    fn call(&mut self, argv: &[&[u8]]) -> Reply {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
        self.read()
    }

    fn read(&mut self) -> Reply {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        line.truncate(line.len() - 2);
        let rest = &line[1..];
        let number = || std::str::from_utf8(rest).unwrap().parse::<i64>().unwrap();
        match line[0] {
            b'+' => Reply::Status(String::from_utf8(rest.to_vec()).unwrap().into()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(number()),
            b'$' if number() < 0 => Reply::Null,
            b'*' if number() < 0 => Reply::NullArray,
            b'$' => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            b'*' => Reply::Array((0..number()).map(|_| self.read()).collect()),
            other => panic!("{other}"),
        }
    }
}

/// The reply as RESP2 carries it.
fn flat(reply: Reply) -> Reply {
    let list = |items: Vec<Reply>| Reply::Array(items.into_iter().map(flat).collect());
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => list(items),
        Reply::Map(items) | Reply::Pairs(items) => list(
            items
                .into_iter()
                .flat_map(|(key, value)| [key, value])
                .collect(),
        ),
        Reply::Bool(value) => Reply::Int(i64::from(value)),
        Reply::Verbatim(_, bytes) => Reply::Bulk(bytes),
        other => other,
    }
}

fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Array(items) => {
            let mut items: Vec<Reply> = items.into_iter().map(sorted).collect();
            items.sort_by_key(|item| format!("{item:?}"));
            Reply::Array(items)
        }
        other => other,
    }
}

/// Whether a scan's cursor says that it is over.
fn is_whole(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(parts) if parts.first() == Some(&Reply::bulk("0")))
}

struct Pair {
    redis: Redis,
    engine: Engine,
    session: Session,
    random: Random,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let engine = Engine::default();
        let session = engine.session();
        Pair {
            redis: Redis::start(),
            engine,
            session,
            random: Random::new(seed),
        }
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.random.below(words.len())]
    }

    fn compare(&mut self, words: &[String]) {
        let argv: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let name = words[0].as_str();
        let ours = flat(self.engine.call(&mut self.session, &argv).0);
        let theirs = self.redis.call(&argv);
        match (&ours, &theirs) {
            // Both clocks tick.
            (Reply::Int(ours), Reply::Int(theirs))
                if matches!(name, "TTL" | "EXPIRETIME" | "PTTL" | "PEXPIRETIME") =>
            {
                let tolerance = if name.starts_with('P') { 200 } else { 1 };
                assert!(
                    (ours - theirs).abs() <= tolerance,
                    "{words:?}: {ours} {theirs}"
                );
            }
            (Reply::Bulk(_), Reply::Bulk(_)) if name == "RANDOMKEY" => {}
            _ if name == "MEMORY" && matches!((&ours, &theirs), (Reply::Int(_), Reply::Int(_))) => {
            }
            // Cursors are each engine's own: only a whole walk compares.
            (Reply::Array(_), Reply::Array(_)) if name.ends_with("SCAN") => {
                let from = words
                    .get(if name == "SCAN" { 1 } else { 2 })
                    .map(String::as_str);
                if from == Some("0") && is_whole(&ours) && is_whole(&theirs) {
                    assert_eq!(sorted(ours), sorted(theirs), "{words:?}");
                }
            }
            _ if name == "KEYS" => assert_eq!(sorted(ours), sorted(theirs), "{words:?}"),
            _ => assert_eq!(ours, theirs, "{words:?}"),
        }
    }
}

const KEYS: [&str; 8] = ["a", "b", "c", "d", "key:1", "key:2", "", "*"];
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "100",
    "5000",
    "100000000",
    "-5000",
    "x",
    "",
    "1.5",
    "+1",
    "01",
    " 1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "4102444800",
    "4102444800000",
    "4202444800",
    "2147483648",
];
const PATTERNS: [&str; 14] = [
    "*", "**", "?", "key:*", "[ab]", "[^ab]*", "", "\\*", "[a-c]", "*:?", "k*y*1", "[", "[b-", "x",
];
const OPTIONS: [&str; 16] = [
    "NX", "XX", "GT", "lt", "REPLACE", "DB", "COUNT", "MATCH", "TYPE", "0", "1000", "SAMPLES",
    "ASYNC", "zset", "STRING", "nonsense",
];
const COMMANDS: [&str; 36] = [
    "DEL",
    "UNLINK",
    "EXISTS",
    "TYPE",
    "KEYS",
    "RENAME",
    "RENAMENX",
    "RANDOMKEY",
    "TOUCH",
    "COPY",
    "MOVE",
    "SELECT",
    "DBSIZE",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "PERSIST",
    "SCAN",
    "HSCAN",
    "SSCAN",
    "OBJECT",
    "MEMORY",
    "PING",
    "ECHO",
    "ZSCAN",
    "FLUSHDB",
    "PUBLISH",
    "PUBSUB",
    "COMMAND",
    "CONFIG",
    "SLOWLOG",
];

#[test]
fn random_requests_get_the_same_replies() {
    if !installed() {
        return;
    }
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60_000);
    let mut pair = Pair::new(seed);
    pair.compare(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"].map(String::from));
    for _ in 0..rounds {
        let key = pair.pick(&KEYS).to_owned();
        let mut words: Vec<String> = match pair.random.below(12) {
            0 => ["HSET", &key, pair.pick(&KEYS), pair.pick(&NUMBERS)]
                .map(String::from)
                .into(),
            1 => ["SADD", &key, pair.pick(&KEYS), pair.pick(&NUMBERS)]
                .map(String::from)
                .into(),
            2 => ["SET", &key, pair.pick(&NUMBERS)].map(String::from).into(),
            3 => ["ZADD", &key, pair.pick(&NUMBERS), pair.pick(&KEYS)]
                .map(String::from)
                .into(),
            _ => vec![pair.pick(&COMMANDS).to_owned()],
        };
        if words.len() == 1 {
            match words[0].as_str() {
                // A flush now and then only, or there would never be keys.
                "FLUSHDB" if pair.random.below(40) > 0 => words[0] = "DBSIZE".into(),
                "OBJECT" => {
                    words.push(pair.pick(&["ENCODING", "refcount", "FREQ", "nope"]).into());
                }
                "MEMORY" => words.push("usage".into()),
                "PUBSUB" => {
                    words.push(pair.pick(&["CHANNELS", "numsub", "NUMPAT", "nope"]).into());
                }
                "COMMAND" => words.push(pair.pick(&["nope", "COUNT", "GETKEYS"]).into()),
                "CONFIG" => words.push(pair.pick(&["nope", "REWRITE"]).into()),
                "SLOWLOG" => words.push(pair.pick(&["GET", "LEN", "nope", "RESET"]).into()),
                _ => {}
            }
            let count = if words[0] == "COMMAND" && words[1] == "COUNT" {
                1 + pair.random.below(2)
            } else {
                pair.random.below(6)
            };
            for at in 0..count {
                let word = match (at, pair.random.below(10)) {
                    (0, 0..8) => pair.pick(&KEYS),
                    (0, _) => pair.pick(&PATTERNS),
                    (1, 0..6) | (_, 0) => pair.pick(&NUMBERS),
                    (1, 6..8) | (_, 1) => pair.pick(&KEYS),
                    (_, 2) => pair.pick(&PATTERNS),
                    _ => pair.pick(&OPTIONS),
                };
                words.push(word.into());
            }
            if words[0].ends_with("SCAN") && pair.random.below(2) == 0 {
                words.extend(["COUNT", "100000"].map(String::from));
            }
            // What would answer with text of our own.
            let has = |word: &str| words.iter().any(|other| other.eq_ignore_ascii_case(word));
            if has("HELP") || (words[0] == "COMMAND" && words[1] == "GETKEYS" && has("TYPE")) {
                continue;
            }
        }
        // A deadline that passes during the run passes on one side first.
        let time = words
            .get(2)
            .and_then(|word| word.parse::<i64>().ok())
            .unwrap_or(0);
        let soon = match words[0].as_str() {
            "EXPIRE" => (1..1000).contains(&time),
            "PEXPIRE" => (1..1_000_000).contains(&time),
            _ => false,
        };
        if !soon {
            pair.compare(&words);
        }
    }
}

/// Arity, flags, keys and categories.
type Entry = (Reply, Vec<String>, Vec<Reply>, Vec<String>);

/// What COMMAND INFO says of a command.
fn entry(reply: Reply) -> Option<Entry> {
    let Reply::Array(mut fields) = flat(reply) else {
        return None;
    };
    let names = |reply: &Reply| {
        let Reply::Array(names) = reply else {
            return Vec::new();
        };
        let mut names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        names.sort();
        names
    };
    fields.truncate(7);
    let categories = names(&fields[6]);
    let keys = fields[3..6].to_vec();
    let flags = names(&fields[2]);
    Some((fields.swap_remove(1), flags, keys, categories))
}

#[test]
fn the_command_table_is_the_same() {
    if !installed() {
        return;
    }
    let mut pair = Pair::new(1);
    let (reply, _) = pair.engine.call(&mut pair.session, &[b"COMMAND", b"LIST"]);
    let Reply::Array(names) = reply else { panic!() };
    let mut differences = Vec::new();
    for name in names {
        let Reply::Bulk(name) = name else { panic!() };
        let argv: [&[u8]; 3] = [b"COMMAND", b"INFO", &name];
        let first = |reply: Reply| match flat(reply) {
            Reply::Array(mut items) => items.remove(0),
            other => other,
        };
        let theirs = entry(first(pair.redis.call(&argv)));
        let ours = entry(first(pair.engine.call(&mut pair.session, &argv).0));
        let Some(theirs) = theirs else { continue };
        if ours.as_ref() != Some(&theirs) {
            differences.push(format!(
                "{}\n  ours   {ours:?}\n  theirs {theirs:?}",
                String::from_utf8_lossy(&name)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
