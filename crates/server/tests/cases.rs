//! Runs the conformance cases of `cases/` over every way in: in process, RESP2,
//! RESP3 and REST. The format is in `cases/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use sangam_engine::session::Session;
use sangam_engine::{Engine, Reply};
use sangam_rig::redis::Redis;
use sangam_store::{Options, Store, Target};
use sangam_wire::resp::{DecodedReply, decode_reply};
use serde_json::Value;

mod support;

const TOKEN: &str = "cases-token";

/// Cases that do not hold in front of a store, each with the reason.
const NOT_OVER_STORE: &[(&str, &str)] = &[
    (
        "ACL LOAD and SAVE over REST: everything is kept already",
        "the store's server may have a file of users, or none",
    ),
    (
        "FCALL_RO over REST runs what turns out to read",
        "a Redis asks for the flag no-writes before it runs",
    ),
    (
        "NOACK leaves no consumer behind over REST",
        "a Redis makes the consumer, and to remove it could lose what was read at the same time",
    ),
];

/// Cases that do not hold in front of the Redis of these tests, each with the
/// version that it takes, or the reason.
const NOT_OVER_REDIS: &[(&str, &str)] = &[
    ("BITOP DIFF needs two sources", "Redis 8.2"),
    ("ACL RESTTOKEN and GENTOKEN", "Upstash's own"),
    ("HEXPIRE answers for each field", "Redis 7.4"),
    ("HEXPIRE with conditions", "Redis 7.4"),
    ("A deadline that has passed removes the field", "Redis 7.4"),
    ("HEXPIRE errors", "Redis 7.4"),
    (
        "HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME, HPERSIST errors",
        "Redis 7.4",
    ),
    ("HPERSIST", "Redis 7.4"),
    (
        "Who keeps a field's deadline, and who takes it",
        "Redis 7.4",
    ),
    ("HGETDEL", "Redis 8.0"),
    ("HGETEX", "Redis 8.0"),
    ("HSETEX", "Redis 8.0"),
    ("HSETEX errors", "Redis 8.0"),
    (
        "key locking takes declared keys only",
        "a Redis does not check it",
    ),
    ("snapshots of what is only in memory", "a Redis has a disk"),
    ("WAITAOF without a journal", "Redis 7.2"),
    (
        "A lower last id than that of a deleted entry",
        "Redis 7.0 trims one entry less where ids went back",
    ),
    ("XDELEX asks the groups", "Redis 8.2"),
    ("XACKDEL", "Redis 8.2"),
    ("Trimming asks the groups", "Redis 8.2"),
    ("SET IFEQ", "Redis 8.4"),
    ("SET IFEQ GET", "Redis 8.4"),
    ("SET IFEQ compares numbers as text", "Redis 8.4"),
    ("SET IFNE", "Redis 8.4"),
    ("SET IFEQ errors", "Redis 8.4"),
    ("DELEX without a condition deletes", "Redis 8.4"),
    ("DELEX compares", "Redis 8.4"),
    ("DELEX compares digests", "Redis 8.4"),
    ("DELEX errors", "Redis 8.4"),
    ("DIGEST hashes the value", "Redis 8.4"),
    ("DIGEST of numbers and long values", "Redis 8.4"),
    ("DIGEST errors", "Redis 8.4"),
    (
        "DEBUG is refused unless the server was started for it",
        "this one was",
    ),
];

/// A way in.
trait Door {
    fn name(&self) -> &'static str;
    /// Whether replies come in RESP2's shapes.
    fn is_flat(&self) -> bool;
    fn call(&mut self, argv: &[Vec<u8>]) -> Reply;
    /// The store behind a gateway; empty for the engine.
    fn over(&self) -> &'static str {
        ""
    }
}

struct InProcess(Engine, Session);

impl Door for InProcess {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn call(&mut self, argv: &[Vec<u8>]) -> Reply {
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        self.0.call(&mut self.1, &argv).0.unpacked()
    }
}

struct Resp {
    stream: TcpStream,
    buffer: Vec<u8>,
    protocol: u8,
}

impl Resp {
    fn connect(addr: SocketAddr, protocol: u8) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        let mut door = Resp {
            stream,
            buffer: Vec::new(),
            protocol,
        };
        let hello = ["HELLO", &protocol.to_string(), "AUTH", "default", TOKEN];
        let argv: Vec<Vec<u8>> = hello.iter().map(|part| part.as_bytes().to_vec()).collect();
        let reply = door.call(&argv);
        assert!(!reply.is_error(), "{reply:?}");
        door
    }
}

impl Door for Resp {
    fn name(&self) -> &'static str {
        if self.protocol == 3 { "resp3" } else { "resp2" }
    }

    fn is_flat(&self) -> bool {
        self.protocol == 2
    }

    fn call(&mut self, argv: &[Vec<u8>]) -> Reply {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        loop {
            match decode_reply(&self.buffer).unwrap() {
                DecodedReply::Complete(reply, used) => {
                    self.buffer.drain(..used);
                    return reply;
                }
                DecodedReply::Incomplete(_) => {
                    let mut chunk = vec![0; 65536];
                    let count = self.stream.read(&mut chunk).unwrap();
                    assert!(count > 0, "the connection was closed after {argv:?}");
                    self.buffer.extend_from_slice(&chunk[..count]);
                }
            }
        }
    }
}

struct Rest {
    stream: TcpStream,
    /// What stands behind the gateway, if not the engine alone.
    over: &'static str,
}

impl Rest {
    fn connect(addr: SocketAddr, over: &'static str) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        Rest { stream, over }
    }
}

impl Door for Rest {
    fn name(&self) -> &'static str {
        "rest"
    }

    fn over(&self) -> &'static str {
        self.over
    }

    fn is_flat(&self) -> bool {
        true
    }

    fn call(&mut self, argv: &[Vec<u8>]) -> Reply {
        let argv: Vec<&str> = argv
            .iter()
            .map(|arg| std::str::from_utf8(arg).unwrap())
            .collect();
        let body = serde_json::to_vec(&argv).unwrap();
        let (_, answer) = support::http(
            &mut self.stream,
            "POST",
            "/",
            &[
                ("Authorization", &format!("Bearer {TOKEN}")),
                ("Upstash-Encoding", "base64"),
            ],
            &body,
        );
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        match answer.get("error") {
            Some(error) => Reply::error(error.as_str().unwrap()),
            None => from_json(&answer["result"], true),
        }
    }
}

fn from_json(value: &Value, top: bool) -> Reply {
    match value {
        Value::Null => Reply::Null,
        Value::Number(number) => Reply::Int(number.as_i64().unwrap()),
        Value::String(text) if top && text == "OK" => Reply::OK,
        Value::String(text) => Reply::Bulk(
            base64_simd::STANDARD
                .decode_to_vec(text.as_bytes())
                .unwrap(),
        ),
        Value::Array(items) => {
            Reply::Array(items.iter().map(|item| from_json(item, false)).collect())
        }
        other => panic!("no reply looks like {other}"),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Object(object) => {
            let text = object["b64"].as_str().unwrap();
            base64_simd::STANDARD
                .decode_to_vec(text.as_bytes())
                .unwrap()
        }
        other => panic!("no argument looks like {other}"),
    }
}

fn items(reply: &Reply) -> Option<&[Reply]> {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Some(items),
        _ => None,
    }
}

/// The reply as a list of pairs, however the protocol shaped it.
fn pairs(reply: &Reply, flat: bool) -> Option<Vec<(Reply, Reply)>> {
    match reply {
        Reply::Map(pairs) | Reply::Pairs(pairs) => Some(pairs.clone()),
        Reply::Array(items) if flat => Some(
            items
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair.get(1).cloned().unwrap_or(Reply::Null)))
                .collect(),
        ),
        Reply::Array(items) => items
            .iter()
            .map(|item| match item {
                Reply::Array(pair) if pair.len() == 2 => Some((pair[0].clone(), pair[1].clone())),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn agrees(expected: &Value, actual: &Reply, door: &dyn Door) -> bool {
    let (form, value) = expected.as_object().unwrap().iter().next().unwrap();
    let text = value.as_str().unwrap_or_default();
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match form.as_str() {
        "any" => true,
        "null" => matches!(actual, Reply::Null | Reply::NullArray),
        "int" => *actual == Reply::Int(value.as_i64().unwrap()),
        "error" => *actual == Reply::error(text),
        "status" => {
            matches!(actual, Reply::Status(status) if status == text)
                || (door.name() == "rest" && *actual == Reply::bulk(text))
        }
        "bulk" => match actual {
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => *bytes == text.as_bytes(),
            _ => false,
        },
        "bulk64" => {
            let wanted = base64_simd::STANDARD
                .decode_to_vec(text.as_bytes())
                .unwrap();
            *actual == Reply::Bulk(wanted)
        }
        "double" => {
            let wanted: f64 = text.parse().unwrap();
            match actual {
                Reply::Double(number) => *number == wanted,
                Reply::Decimal(bytes) => std::str::from_utf8(bytes).unwrap() == text,
                Reply::Bulk(bytes) if door.is_flat() => {
                    std::str::from_utf8(bytes).unwrap().parse() == Ok(wanted)
                }
                _ => false,
            }
        }
        "bool" => {
            let wanted = value.as_bool().unwrap();
            *actual == Reply::Bool(wanted)
                || (door.is_flat() && *actual == Reply::Int(i64::from(wanted)))
        }
        "array" => items(actual).is_some_and(|items| {
            items.len() == list.len()
                && list
                    .iter()
                    .zip(items)
                    .all(|(wanted, item)| agrees(wanted, item, door))
        }),
        "unordered" => items(actual).is_some_and(|items| {
            items.len() == list.len()
                && list
                    .iter()
                    .all(|wanted| items.iter().any(|item| agrees(wanted, item, door)))
        }),
        "map" | "pairs" => pairs(actual, door.is_flat()).is_some_and(|pairs| {
            let fits = |wanted: &Value, (key, value): &(Reply, Reply)| {
                let form = |value: &Value| match value {
                    Value::Object(_) => value.clone(),
                    other => serde_json::json!({ "bulk": other }),
                };
                agrees(&form(&wanted[0]), key, door) && agrees(&form(&wanted[1]), value, door)
            };
            pairs.len() == list.len()
                && if form == "pairs" {
                    list.iter()
                        .zip(&pairs)
                        .all(|(wanted, pair)| fits(wanted, pair))
                } else {
                    list.iter()
                        .all(|wanted| pairs.iter().any(|pair| fits(wanted, pair)))
                }
        }),
        other => panic!("unknown form of reply: {other}"),
    }
}

/// What came of running all cases.
#[derive(Default)]
struct Run {
    count: usize,
    /// Case and what was wrong.
    failures: Vec<(String, String)>,
    /// Commands that were called.
    covered: BTreeSet<String>,
    names: BTreeSet<String>,
}

fn run(doors: &mut [Box<dyn Door>]) -> Run {
    let mut run = Run::default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    for path in &files {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap())
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        for case in cases.as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            run.names.insert(name.to_owned());
            let only = case.get("only").and_then(Value::as_array);
            let steps = case["steps"].as_array().unwrap();
            let binary = steps.iter().any(|step| {
                step["do"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|arg| std::str::from_utf8(&bytes(arg)).is_err())
            });
            for door in doors.iter_mut() {
                let wanted = only.is_none_or(|only| only.iter().any(|one| one == door.name()));
                let is_in = |list: &[(&str, &str)]| list.iter().any(|(case, _)| *case == name);
                let differs = match door.over() {
                    "" => false,
                    "redis" => is_in(NOT_OVER_STORE) || is_in(NOT_OVER_REDIS),
                    _ => is_in(NOT_OVER_STORE),
                };
                if !wanted || (binary && door.name() == "rest") || differs {
                    continue;
                }
                door.call(&[b"FLUSHALL".to_vec()]);
                run.count += 1;
                for step in steps {
                    let argv: Vec<Vec<u8>> =
                        step["do"].as_array().unwrap().iter().map(bytes).collect();
                    run.covered
                        .insert(String::from_utf8_lossy(&argv[0]).to_ascii_lowercase());
                    let actual = door.call(&argv);
                    if !agrees(&step["reply"], &actual, door.as_ref()) {
                        run.failures.push((
                            name.to_owned(),
                            format!(
                                "{file}: {name} over {} {}: {} answered {actual:?}, expected {}",
                                door.name(),
                                door.over(),
                                step["do"],
                                step["reply"]
                            ),
                        ));
                        break;
                    }
                }
            }
        }
    }
    run
}

#[test]
fn every_case_holds_over_every_door() {
    let server = support::start(TOKEN);
    let over_engine = support::start_over(TOKEN, async { Store::memory() });
    let engine = Engine::default();
    let session = engine.session();
    let mut doors: Vec<Box<dyn Door>> = vec![
        Box::new(InProcess(engine, session)),
        Box::new(Resp::connect(server.resp.unwrap(), 2)),
        Box::new(Resp::connect(server.resp.unwrap(), 3)),
        Box::new(Rest::connect(server.http, "")),
        Box::new(Rest::connect(over_engine.http, "memory")),
    ];
    let run = run(&mut doors);
    let failures: Vec<_> = run.failures.iter().map(|(_, text)| text.as_str()).collect();
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
    for (case, _) in NOT_OVER_STORE {
        assert!(run.names.contains(*case), "there is no case {case}");
    }
    assert!(run.count > 1000, "only {} runs", run.count);
    let missing: Vec<&str> = sangam_engine::command::spec::commands()
        .iter()
        .map(|command| command.spec.name)
        .filter(|name| !run.covered.contains(*name))
        .collect();
    assert!(missing.is_empty(), "commands without a case: {missing:?}");
}

/// Over a real Redis, which is older than what the engine has.
#[test]
fn cases_hold_in_front_of_a_redis() {
    let (redis, server) = {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let redis = runtime.block_on(Redis::start());
        let url = redis.url();
        let server = support::start_over(TOKEN, async move {
            let target = Target::new(&url, None, "url", "token").unwrap();
            Store::connect(&target, Options::default()).await.unwrap()
        });
        (redis, server)
    };
    let mut doors: Vec<Box<dyn Door>> = vec![Box::new(Rest::connect(server.http, "redis"))];
    let run = run(&mut doors);
    drop((server, redis));
    let wrong: Vec<_> = run.failures.iter().map(|(_, text)| text.as_str()).collect();
    assert!(
        wrong.is_empty(),
        "{} failures\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(run.count > 300, "only {} runs", run.count);
    for (case, _) in NOT_OVER_REDIS {
        assert!(run.names.contains(*case), "there is no case {case}");
    }
}
