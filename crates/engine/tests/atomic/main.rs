//! Atomic operations: all of their steps or none, seen, told and logged like any
//! other unit, on declared keys only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod replay;
mod rights;
mod steps;
mod told;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sangam_engine::clock::ManualClock;
use sangam_engine::effect::{EffectSink, Effects};
use sangam_engine::session::Session;
use sangam_engine::{CommandError, Engine, Options, Reply, Seq, Tx};

const START_MS: u64 = 1_700_000_000_000;

/// Commands of one unit.
type Unit = Vec<Vec<Vec<u8>>>;

/// Keeps what is logged; refuses writes when told to.
#[derive(Default)]
struct Recording {
    units: Mutex<Vec<Unit>>,
    is_broken: AtomicBool,
}

impl EffectSink for Recording {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err("MISCONF no disk".to_owned());
        }
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, effects: &Effects) -> Seq {
        let mut units = self.units.lock();
        let owned = |argv: Vec<&[u8]>| argv.iter().map(|arg| arg.to_vec()).collect();
        units.push(effects.iter().map(owned).collect());
        Seq(units.len() as u64)
    }
}

/// An engine whose time stands still and whose log is read.
struct Bench {
    engine: Engine,
    session: Session,
    clock: Arc<ManualClock>,
    sink: Arc<Recording>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START_MS * 1000));
        let sink = Arc::new(Recording::default());
        let engine = Engine::new(Options {
            clock: clock.clone(),
            sink: sink.clone(),
            seed: 5,
            ..Options::default()
        });
        let session = engine.session();
        Bench {
            engine,
            session,
            clock,
            sink,
        }
    }

    fn call(&mut self, line: &str) -> Reply {
        call(&self.engine, &mut self.session, line)
    }

    fn atomic<R>(
        &mut self,
        keys: &[&[u8]],
        op: impl FnOnce(&mut Tx<'_>) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        self.engine.atomic(&mut self.session, keys, op).0
    }

    /// What was logged since the last call: each unit's commands, a line each.
    fn logged(&self) -> Vec<Vec<String>> {
        let units = std::mem::take(&mut *self.sink.units.lock());
        let line = |argv: Vec<Vec<u8>>| {
            let words: Vec<_> = argv
                .iter()
                .map(|arg| String::from_utf8_lossy(arg))
                .collect();
            words.join(" ")
        };
        units
            .into_iter()
            .map(|unit| unit.into_iter().map(line).collect())
            .collect()
    }
}

fn call(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    engine.call(session, &argv).0
}

/// The error's text.
fn refusal<R: std::fmt::Debug>(outcome: Result<R, CommandError>) -> String {
    outcome.unwrap_err().to_string()
}
