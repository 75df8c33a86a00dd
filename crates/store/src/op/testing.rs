//! One op in both languages, on one state: the outcomes and what they leave must
//! be the same, byte for byte.
//!
//! [`Twins`] are three engines with one clock: the first runs the op as Rust, the
//! second its script as Redis would, the third as Upstash would, which refuses keys
//! that were not declared. A real redis-server may be the fourth. An op that fails
//! must leave the state alone on each of them.
//!
//! Differences are answers, so that a property test can shrink its input:
//!
//! ```
//! use sangam_store::op::{CompareAndDelete, testing::Twins};
//!
//! let mut twins = Twins::new();
//! twins.prepare(&[b"SET", b"lease", b"mine"]).unwrap();
//! let op = CompareAndDelete { key: b"lease", expected: b"mine" };
//! assert_eq!(twins.check(&op).unwrap(), Ok(true));
//! assert_eq!(twins.check(&op).unwrap(), Ok(false));
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sangam_engine::clock::{Clock as _, ManualClock};
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply};
use sangam_wire::resp::{DecodedReply, decode_reply};

use super::AtomicOp;
use crate::error::{Error, checked, refusal};
use crate::script::{self, Script};
use crate::typed::{array, int, value};

/// How far deadlines on a server may lie from ours, whose clock stands still
/// between two ops: milliseconds.
const DRIFT_MS: i64 = 2_000;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the clock of twins without a server begins, in milliseconds since the
/// epoch.
pub const START_MS: u64 = 1_700_000_000_000;

/// What the texts of scripts may not hold, with the reason.
const FORBIDDEN: [(&str, &str); 3] = [
    ("tostring", "it makes 1.7e+15 of large integers"),
    ("'TIME'", "time comes as an argument"),
    ("math.random", "chance comes as an argument"),
];

/// What an op came to on both sides, or where they differ.
pub type Compared<T> = Result<Result<T, Error>, String>;

/// Every key's payload, as DUMP has it, and when it expires.
type Contents = BTreeMap<Vec<u8>, (Reply, i64)>;

/// The same state several times over; see the module.
pub struct Twins {
    clock: Arc<ManualClock>,
    rust: Side,
    others: Vec<Side>,
}

struct Side {
    name: &'static str,
    locks_keys: bool,
    place: Place,
    /// Billed commands of the last script.
    cost: u64,
}

enum Place {
    Engine(Box<(Engine, Session)>),
    /// A server, and an engine that writes its payloads as ours: both compress
    /// strings, each in its own way.
    Server(Box<(Connection, Engine)>),
}

impl Twins {
    /// Three engines, whose time stands still.
    pub fn new() -> Self {
        Twins::at(START_MS)
    }

    /// The same, and the redis-server at `addr`, which is emptied. Times to live
    /// should be a minute or more there.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn with_server(addr: SocketAddr) -> Result<Self, String> {
        let mut server = Side {
            name: "the script on the server",
            locks_keys: false,
            place: Place::Server(Box::new((Connection::open(addr)?, Engine::default()))),
            cost: 0,
        };
        server.call(&[b"FLUSHALL"])?;
        let mut twins = Twins::at(server.time_ms()?);
        twins.others.push(server);
        Ok(twins)
    }

    fn at(now_ms: u64) -> Self {
        let clock = Arc::new(ManualClock::new(now_ms * 1000));
        let side = |name, locks_keys| {
            let engine = Engine::new(Options {
                clock: clock.clone(),
                ..Options::default()
            });
            let mut session = engine.session();
            if locks_keys {
                session = engine.rest_session();
                session.set_principal(Some(engine.owner()));
            }
            let place = Place::Engine(Box::new((engine, session)));
            Side {
                name,
                locks_keys,
                place,
                cost: 0,
            }
        };
        Twins {
            rust: side("the op in Rust", false),
            others: vec![
                side("its script", false),
                side("its script with declared keys", true),
            ],
            clock,
        }
    }

    /// Milliseconds since the epoch, for the op's arguments.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_micros() / 1000
    }

    /// Moves the clock of the engines; a server has its own.
    pub fn advance(&self, time: Duration) {
        self.clock.advance_millis(time.as_millis() as u64);
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// Where a side refuses.
    pub fn clear(&mut self) -> Result<(), String> {
        self.prepare(&[b"FLUSHALL"]).map(drop)
    }

    /// Runs a command on each side, to make a state; answers what the engine does.
    ///
    /// # Errors
    /// Where the sides answer differently.
    pub fn prepare(&mut self, argv: &[&[u8]]) -> Result<Reply, String> {
        self.read_clock()?;
        let reply = self.rust.call(argv)?;
        for side in &mut self.others {
            let other = side.call(argv)?;
            if other != reply {
                let name = side.name;
                return Err(format!(
                    "{name}: {argv:?} answered {other:?}, not {reply:?}"
                ));
            }
        }
        Ok(reply)
    }

    /// Runs an op on each side.
    ///
    /// # Errors
    /// Where outcomes, keys, values or deadlines differ, where an op that failed
    /// has changed something, or a script's text breaks a rule.
    pub fn check<O>(&mut self, op: &O) -> Compared<O::Output>
    where
        O: AtomicOp,
        O::Output: PartialEq + Debug,
    {
        follows_the_rules(op.script())?;
        self.read_clock()?;
        let before = self.rust.contents()?;
        let outcome = self.rust.run(op);
        let after = self.rust.contents()?;
        if outcome.is_err() && after != before {
            let name = self.rust.name;
            return Err(format!("{name} failed and left {}", told(&before, &after)));
        }
        for side in &mut self.others {
            let other = side.eval(op)?;
            if other != outcome {
                let name = side.name;
                return Err(format!("{name} came to {other:?}, not to {outcome:?}"));
            }
            let contents = side.contents()?;
            let drift = side.drift();
            if !alike(&after, &contents, drift) {
                let (name, told) = (side.name, told(&after, &contents));
                return Err(format!("after {outcome:?}, {name} left {told}"));
            }
        }
        Ok(outcome)
    }

    /// Billed commands of the last op's script: itself and what it called.
    pub fn cost(&self) -> u64 {
        self.others.first().map_or(0, |side| side.cost)
    }

    /// Sets the engines' clock by the server's.
    fn read_clock(&mut self) -> Result<(), String> {
        for side in &mut self.others {
            if let Place::Server(_) = side.place {
                let now = side.time_ms()?;
                let ours = self.clock.now_micros() / 1000;
                self.clock.advance_millis(now.saturating_sub(ours));
            }
        }
        Ok(())
    }
}

impl Default for Twins {
    fn default() -> Self {
        Twins::new()
    }
}

impl Side {
    fn call(&mut self, argv: &[&[u8]]) -> Result<Reply, String> {
        match &mut self.place {
            Place::Engine(engine) => {
                let (engine, session) = &mut **engine;
                Ok(engine.call(session, argv).0)
            }
            Place::Server(server) => server.0.call(argv),
        }
    }

    fn run<O: AtomicOp>(&mut self, op: &O) -> Result<O::Output, Error> {
        match &mut self.place {
            Place::Engine(engine) => {
                let (engine, session) = &mut **engine;
                let (outcome, _) = engine.atomic(session, &op.keys(), |tx| op.run(tx));
                outcome.map_err(|error| refusal(error.into()))
            }
            Place::Server(_) => Err(Error::Unsupported("a server runs no Rust".to_owned())),
        }
    }

    fn eval<O: AtomicOp>(&mut self, op: &O) -> Result<Result<O::Output, Error>, String> {
        let (keys, args) = (op.keys(), op.args());
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let (text, sha1) = op.script().sent(self.locks_keys);
        let count = script::count(keys.len());
        let by_name = script::argv("EVALSHA", sha1, &count, &keys, &args);
        let mut before = self.billed()?;
        let mut reply = self.call(&by_name)?;
        if matches!(&reply, Reply::Error(text) if text.starts_with(b"NOSCRIPT")) {
            self.call(&[b"SCRIPT", b"LOAD", text.as_bytes()])?;
            before = self.billed()?;
            reply = self.call(&by_name)?;
        }
        self.cost = self.billed()? - before;
        let reply = checked(reply).map_err(Error::without_place);
        Ok(reply.and_then(|reply| op.read(reply)))
    }

    /// Billed commands so far; nothing on a server, which does not count them.
    fn billed(&self) -> Result<u64, String> {
        let Place::Engine(engine) = &self.place else {
            return Ok(0);
        };
        let keyspace = engine.0.keyspace("default");
        match engine.0.batch_blocking(&keyspace) {
            Ok(batch) => Ok(batch.db().billed()),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    fn contents(&mut self) -> Result<Contents, String> {
        let keys = self.call(&[b"KEYS", b"*"])?;
        let mut contents = Contents::new();
        for key in array(keys).map_err(|error| error.to_string())? {
            let key = value(key).map_err(|error| error.to_string())?;
            let key = key.unwrap_or_default();
            let payload = self.payload(&key)?;
            let deadline = int(self.call(&[b"PEXPIRETIME", &key])?);
            let deadline = deadline.map_err(|error| error.to_string())?;
            if payload != Reply::Null {
                contents.insert(key, (payload, deadline));
            }
        }
        Ok(contents)
    }

    fn payload(&mut self, key: &[u8]) -> Result<Reply, String> {
        let payload = self.call(&[b"DUMP", key])?;
        let (Place::Server(server), Reply::Bulk(bytes)) = (&self.place, &payload) else {
            return Ok(payload);
        };
        let (engine, mut session) = (&server.1, server.1.session());
        let (reply, _) = engine.call(&mut session, &[b"RESTORE", key, b"0", bytes, b"REPLACE"]);
        checked(reply).map_err(|error| format!("its payload of {key:?} is {error}"))?;
        Ok(engine.call(&mut session, &[b"DUMP", key]).0)
    }

    const fn drift(&self) -> i64 {
        match self.place {
            Place::Engine(_) => 0,
            Place::Server(_) => DRIFT_MS,
        }
    }

    fn time_ms(&mut self) -> Result<u64, String> {
        let reply = self.call(&[b"TIME"])?;
        let parts = array(reply).map_err(|error| error.to_string())?;
        let numbers: Option<Vec<u64>> = parts
            .into_iter()
            .map(|part| {
                let text = String::from_utf8(value(part).ok()??).ok()?;
                text.parse().ok()
            })
            .collect();
        match numbers.as_deref() {
            Some([seconds, micros]) => Ok(seconds * 1000 + micros / 1000),
            other => Err(format!("TIME answered {other:?}")),
        }
    }
}

fn follows_the_rules(script: &Script) -> Result<(), String> {
    let (text, _) = script.sent(false);
    match FORBIDDEN.iter().find(|(word, _)| text.contains(word)) {
        Some((word, reason)) => Err(format!("{} holds {word}: {reason}", script.name())),
        None => Ok(()),
    }
}

/// Whether both are the same, but for deadlines up to `drift` apart.
fn alike(ours: &Contents, theirs: &Contents, drift: i64) -> bool {
    let near = |a: i64, b: i64| a == b || (a > 0 && b > 0 && (a - b).abs() <= drift);
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            let ((key, (payload, at)), (other, (others, others_at))) = (ours, theirs);
            key == other && payload == others && near(*at, *others_at)
        })
}

/// What is different between two states.
fn told(wanted: &Contents, found: &Contents) -> String {
    let differs = |(key, entry): &(&Vec<u8>, &(Reply, i64))| wanted.get(*key) != Some(entry);
    let other: Vec<_> = found.iter().filter(differs).collect();
    let missing: Vec<_> = wanted
        .keys()
        .filter(|key| !found.contains_key(*key))
        .map(|key| String::from_utf8_lossy(key))
        .collect();
    format!("{other:?} and without {missing:?}, where there should be {wanted:?}")
}

/// A plain connection to a redis-server.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn open(addr: SocketAddr) -> Result<Self, String> {
        let open = || {
            let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let failed = |error: std::io::Error| format!("cannot connect to {addr}: {error}");
        Ok(Connection {
            stream: open().map_err(failed)?,
            received: Vec::new(),
        })
    }

    fn call(&mut self, argv: &[&[u8]]) -> Result<Reply, String> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        let failed = |error: std::io::Error| format!("the server does not answer: {error}");
        self.stream.write_all(&request).map_err(failed)?;
        loop {
            match decode_reply(&self.received).map_err(|error| error.to_string())? {
                DecodedReply::Complete(reply, length) => {
                    self.received.drain(..length);
                    return Ok(reply);
                }
                DecodedReply::Incomplete(_) => {}
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                return Err("the server has closed the connection".to_owned());
            }
            self.received
                .extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }
}
