//! What the journal promises, tried on storage that fails: a crash leaves a
//! prefix of the history with everything acknowledged in it, a fault stops
//! writes before it loses any, and a restart changes nothing that it should not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod classes;
mod closing;
mod faults;
mod full;
mod functions;
mod model;
mod requests;
mod restart;
mod saves;
mod threads;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sangam_engine::clock::ManualClock;
use sangam_engine::journal::storage::{Faults, FaultyStorage};
use sangam_engine::journal::{Fsync, Health, JournalOptions};
use sangam_engine::keyspace::{Class, Keyspace};
use sangam_engine::persist::{OpenError, Opened};
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply, Seq};

const START_US: u64 = 1_700_000_000_000_000;

/// How long anything may take that is to happen by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine from its start to its crash.
struct Life {
    engine: Engine,
    opened: Opened,
    storage: FaultyStorage,
    clock: Arc<ManualClock>,
    session: Session,
}

/// How a life is begun.
#[derive(Clone, Copy)]
struct Manner {
    fsync: Fsync,
    segment_size: u64,
    seed: u64,
    at_us: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            fsync: Fsync::Always,
            segment_size: 8 << 10,
            seed: 1,
            at_us: START_US,
        }
    }
}

impl Manner {
    fn of(fsync: Fsync) -> Self {
        Manner {
            fsync,
            ..Manner::default()
        }
    }

    fn at(self, at_us: u64) -> Self {
        Manner { at_us, ..self }
    }

    fn open(self, storage: &FaultyStorage) -> Life {
        self.try_open(storage).unwrap_or_else(|error| {
            panic!("{error}");
        })
    }

    fn try_open(self, storage: &FaultyStorage) -> Result<Life, OpenError> {
        let clock = Arc::new(ManualClock::new(self.at_us));
        let (engine, opened) = Engine::open(
            Options {
                clock: clock.clone(),
                seed: self.seed,
                ..Options::default()
            },
            Arc::new(storage.clone()),
            JournalOptions {
                fsync: self.fsync,
                segment_size: self.segment_size,
            },
            &mut |_, _| {},
        )?;
        let session = engine.session();
        Ok(Life {
            engine,
            opened,
            storage: storage.clone(),
            clock,
            session,
        })
    }
}

impl Life {
    fn call(&mut self, line: &str) -> (Reply, Seq) {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.engine.call(&mut self.session, &argv)
    }

    /// A command and its reply as text.
    fn say(&mut self, line: &str) -> String {
        show(&self.call(line).0)
    }

    /// A command that has to succeed, durable when this returns.
    fn commit(&mut self, line: &str) -> Seq {
        let (reply, seq) = self.call(line);
        assert!(!reply.is_error(), "{line}: {}", show(&reply));
        self.engine.durable_blocking(seq).unwrap();
        seq
    }

    /// From now on commands go to this keyspace.
    fn enter(&mut self, name: &str, class: Class) -> Arc<Keyspace> {
        let keyspace = self.engine.keyspace_of(name, class);
        self.session
            .set_principal(Some(self.engine.owner_of(&keyspace)));
        keyspace
    }

    fn health(&self) -> Health {
        self.engine.journal().unwrap().health()
    }

    fn fail(&self, faults: Faults) {
        self.storage.set_faults(faults);
    }

    /// Loses power with this engine running.
    fn crash(self, seed: u64) -> FaultyStorage {
        self.storage.crash(seed)
    }

    /// Ends in good order.
    fn close(self) -> FaultyStorage {
        self.engine.close();
        self.storage.kill()
    }
}

/// Waits for something that happens by itself.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `work` on a thread of its own, which has to end.
fn in_time<R: Send + 'static>(what: &str, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => panic!("{what} said nothing"),
        },
    }
}

/// A reply on one line.
fn show(reply: &Reply) -> String {
    match reply {
        Reply::Null | Reply::NullArray => "nil".into(),
        Reply::Status(text) => text.to_string(),
        Reply::Error(text) | Reply::Bulk(text) | Reply::Verbatim(_, text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Reply::Int(number) => number.to_string(),
        Reply::Array(items) | Reply::Set(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            items.join(" ")
        }
        other => format!("{other:?}"),
    }
}

/// A key as a client can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    /// Milliseconds since the epoch.
    deadline: Option<i64>,
    encoding: String,
    value: Vec<String>,
    /// When which of `value` goes, where it is the fields of a hash.
    fields: BTreeMap<String, i64>,
}

impl Shown {
    /// What is left of it at this time, if anything.
    fn at(mut self, now_ms: i64) -> Option<Self> {
        let due = |deadline: i64| deadline <= now_ms;
        if self.deadline.is_some_and(due) {
            return None;
        }
        self.value
            .retain(|item| !self.fields.get(item).copied().is_some_and(due));
        self.fields.retain(|_, deadline| !due(*deadline));
        (!self.value.is_empty()).then_some(self)
    }
}

type Dump = BTreeMap<String, Shown>;

/// Everything that clients see in a keyspace. Reading it changes nothing of that,
/// but fields that are due may be removed by it.
fn dump(engine: &Engine, keyspace: &Arc<Keyspace>) -> Dump {
    let mut session = engine.session();
    session.set_principal(Some(engine.owner_of(keyspace)));
    let mut call = |argv: &[&[u8]]| engine.call(&mut session, argv).0;
    let Reply::Array(keys) = call(&[b"KEYS", b"*"]) else {
        panic!("KEYS");
    };
    let mut dump = Dump::new();
    let libraries = show(&call(&[b"FUNCTION", b"LIST", b"WITHCODE"]));
    if !libraries.is_empty() {
        let shown = Shown {
            deadline: None,
            encoding: String::new(),
            value: vec![libraries],
            fields: BTreeMap::new(),
        };
        dump.insert("libraries".to_owned(), shown);
    }
    for key in keys {
        let Reply::Bulk(key) = key else {
            panic!("{key:?} is no key");
        };
        let Reply::Int(deadline) = call(&[b"PEXPIRETIME", &key]) else {
            panic!("PEXPIRETIME");
        };
        let encoding = show(&call(&[b"OBJECT", b"ENCODING", &key]));
        let mut fields = BTreeMap::new();
        let value = match show(&call(&[b"TYPE", &key])).as_str() {
            "string" => vec![show(&call(&[b"GET", &key]))],
            "hash" => {
                let pairs = call(&[b"HGETALL", &key]);
                let Reply::Map(all) = &pairs else {
                    panic!("HGETALL");
                };
                for (field, value) in all {
                    let Reply::Bulk(name) = field else {
                        panic!("{field:?} is no field");
                    };
                    let argv: [&[u8]; 5] = [b"HPEXPIRETIME", &key, b"FIELDS", b"1", name];
                    let Reply::Array(deadline) = call(&argv) else {
                        panic!("HPEXPIRETIME");
                    };
                    if let [Reply::Int(deadline @ 0..)] = deadline[..] {
                        fields.insert(format!("{}={}", show(field), show(value)), deadline);
                    }
                }
                items(&pairs, true)
            }
            "set" => items(&call(&[b"SMEMBERS", &key]), true),
            "zset" => items(&call(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]), false),
            "list" => items(&call(&[b"LRANGE", &key, b"0", b"-1"]).unpacked(), false),
            "stream" => stream(call(&[b"XINFO", b"STREAM", &key, b"FULL", b"COUNT", b"0"])),
            other => panic!("{other} is no type"),
        };
        let shown = Shown {
            deadline: (deadline >= 0).then_some(deadline),
            encoding,
            value,
            fields,
        };
        dump.insert(String::from_utf8(key).unwrap(), shown);
    }
    dump
}

/// All of a stream but when its consumers were seen: that alone is no change.
fn stream(full: Reply) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = vec![(String::new(), full.unpacked())];
    while let Some((path, reply)) = rest.pop() {
        match reply {
            Reply::Array(items) => {
                let items = items.into_iter().enumerate();
                rest.extend(items.map(|(at, item)| (format!("{path}.{at}"), item)));
            }
            Reply::Map(pairs) => {
                let pairs = pairs.into_iter();
                let named = pairs.map(|(name, value)| (format!("{path}.{}", show(&name)), value));
                rest.extend(named.filter(|(path, _)| !path.ends_with("seen-time")));
            }
            Reply::Null => lines.push(format!("{path} none")),
            one => lines.push(format!("{path} {}", show(&one))),
        }
    }
    lines.sort();
    lines
}

fn items(reply: &Reply, sort: bool) -> Vec<String> {
    let mut items: Vec<String> = match reply {
        Reply::Array(items) | Reply::Set(items) => items.iter().map(show).collect(),
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
            .iter()
            .map(|(one, other)| format!("{}={}", show(one), show(other)))
            .collect(),
        other => panic!("{other:?} is no collection"),
    };
    if sort {
        items.sort();
    }
    items
}
