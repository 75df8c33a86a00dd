//! Scripts: the Lua host of a keyspace.
//!
//! A keyspace has one VM, made with its first script and kept beside its data
//! under the lock, so a script sees exactly what a command sees and nobody sees
//! half of it. For a run the data is lent to the VM's host (two swaps) and
//! `redis.call` goes through the same dispatch as any command.
//!
//! A script is an atomic unit. It runs under an undo list, so SCRIPT KILL may
//! end it at any time, even after writes; in Upstash's dialect an error takes its
//! writes back too. Past `busy-reply-threshold` everybody else gets BUSY.
//!
//! `allow-key-locking`, Upstash's flag, is accepted: with one lock a keyspace it
//! gives no more parallelism here, and keeps its promise to refuse a key that
//! the caller did not declare.

mod bit;
mod cjson;
mod cmsgpack;
mod convert;
mod library;
mod native;
mod number;
mod raise;
mod sandbox;
mod shebang;
mod struct_pack;
mod vm;

use std::sync::Arc;

use crate::command::spec::{self, Keys};
use crate::command::{Ctx, call_scripted, may_call};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Db, Keyspace};
use crate::reply::Reply;
use crate::session::{Client, Dialect, Protocol, Session};
use shebang::Flags;
use vm::{Host, Limits, RunOptions, Tick, Vm};

pub(crate) use sandbox::Random;
pub(crate) use vm::{Script, sha1_hex};

/// Microseconds after which the host is told to move its other tasks away.
const LONG_RUN_US: u64 = 2_000;

/// Scripts cached before the cache starts anew. Callers that build a script's
/// text for each call would fill the memory otherwise; whoever uses EVALSHA
/// loads again on NOSCRIPT.
const MOST_SCRIPTS: usize = 10_000;

/// The VM of a keyspace and what it lends its scripts.
pub(crate) struct Scripts {
    vm: Vm<Run>,
    /// Lent to the VM during a run, kept here between runs.
    run: Run,
}

fn start(limits: Limits, random: Random) -> Result<Vm<Run>, CommandError> {
    Vm::new(limits, random)
        .map_err(|error| format!("ERR cannot start the script engine: {error}").into())
}

/// One request to run a script.
pub(crate) struct Request<'a> {
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) args: &'a [&'a [u8]],
    /// EVAL_RO and EVALSHA_RO.
    pub(crate) read_only: bool,
}

impl Scripts {
    /// The VM of this database, made now if it has none. Taken out of the
    /// database for the time of a run. To forget all scripts, and what they made
    /// of their libraries' settings, is to drop it.
    pub(crate) fn take(db: &mut Db) -> Result<Box<Scripts>, CommandError> {
        if let Some(scripts) = db.scripts.take() {
            return Ok(scripts);
        }
        let limits = Limits {
            memory: db.settings.script_memory,
            ..Limits::default()
        };
        Ok(Box::new(Scripts {
            vm: start(limits, db.script_random.clone())?,
            run: Run(Some(Box::default())),
        }))
    }

    /// Compiles and caches a script.
    pub(crate) fn load(&mut self, body: &[u8]) -> Result<Arc<Script>, Reply> {
        if self.vm.len() >= MOST_SCRIPTS && !self.vm.exists(&sha1_hex(body)) {
            self.vm = start(self.vm.limits(), self.vm.random())?;
        }
        self.vm.load(body)
    }

    pub(crate) fn find(&self, sha: &[u8]) -> Option<Arc<Script>> {
        self.vm.script(sha)
    }

    pub(crate) fn len(&self) -> usize {
        self.vm.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.vm.memory()
    }

    /// Runs a script as one atomic unit, or as a part of the unit around it.
    pub(crate) fn run(
        &mut self,
        ctx: &mut Ctx<'_>,
        script: &Script,
        request: &Request<'_>,
    ) -> Reply {
        let flags = script.flags();
        let mut read_only = request.read_only;
        let mut allow_oom = false;
        if let Some(flags) = flags {
            allow_oom = flags.contains(Flags::ALLOW_OOM) || flags.contains(Flags::NO_WRITES);
            if request.read_only && !flags.contains(Flags::NO_WRITES) {
                return Reply::error(
                    "ERR Can not execute a script with write flag using *_ro command.",
                );
            }
            read_only |= flags.contains(Flags::NO_WRITES);
            if !allow_oom && crate::evict::is_full(ctx.db) {
                return Reply::error(
                    "OOM allow-oom flag is not set on the script, can not run it when \
                     used memory > 'maxmemory'",
                );
            }
        }
        let upstash = ctx.is_upstash();
        let nested = ctx.db.is_recording();
        let mark = ctx.db.effects.mark();
        if !nested {
            ctx.db.begin_undo();
        }
        let Some(state) = self.run.0.as_mut() else {
            return Reply::error("ERR the script engine is in use");
        };
        state.begin(ctx, flags, request, read_only, allow_oom);
        ctx.keyspace.script.start();
        let options = RunOptions {
            truncate_numbers: upstash,
        };
        let reply = self
            .vm
            .run(script, request.keys, request.args, options, &mut self.run);
        ctx.keyspace.script.finish();
        if ctx.keyspace.data.is_busy() {
            ctx.keyspace.data.set_busy(false);
        }
        let killed = self.run.0.as_mut().is_some_and(|state| state.end(ctx));
        if nested {
            ctx.db.must_roll_back |= killed;
        } else if killed || (upstash && reply.is_error()) {
            ctx.db.rollback();
            ctx.db.effects.truncate(mark);
        } else {
            ctx.db.commit();
        }
        reply
    }
}

/// What a running script acts on; empty only while the VM has it.
#[derive(Default)]
pub(crate) struct Run(Option<Box<State>>);

struct State {
    engine: Option<Engine>,
    keyspace: Option<Arc<Keyspace>>,
    db: Db,
    session: Session,
    /// The declared keys, when others are refused.
    declared: Option<Vec<Vec<u8>>>,
    read_only: bool,
    allow_oom: bool,
    killed: bool,
    announced: bool,
}

impl Default for State {
    fn default() -> Self {
        let client = Arc::new(Client::new(0, String::new(), String::new(), 0));
        let mut session = Session::new(client, Dialect::Redis, None);
        session.scripted = true;
        State {
            engine: None,
            keyspace: None,
            db: Db::default(),
            session,
            declared: None,
            read_only: false,
            allow_oom: false,
            killed: false,
            announced: false,
        }
    }
}

impl State {
    fn begin(
        &mut self,
        ctx: &mut Ctx<'_>,
        flags: Option<Flags>,
        request: &Request<'_>,
        read_only: bool,
        allow_oom: bool,
    ) {
        self.engine = Some(ctx.engine.clone());
        self.keyspace = Some(ctx.keyspace.clone());
        std::mem::swap(&mut self.db, ctx.db);
        std::mem::swap(&mut self.session.principal, &mut ctx.session.principal);
        self.session.dialect = ctx.session.dialect;
        self.declared = flags
            .is_some_and(|flags| flags.contains(Flags::ALLOW_KEY_LOCKING))
            .then(|| request.keys.iter().map(|key| key.to_vec()).collect());
        self.read_only = read_only;
        self.allow_oom = allow_oom;
        self.killed = false;
        self.announced = false;
    }

    /// Gives the data back; whether the run was killed.
    fn end(&mut self, ctx: &mut Ctx<'_>) -> bool {
        std::mem::swap(&mut self.db, ctx.db);
        self.engine = None;
        self.keyspace = None;
        std::mem::swap(&mut self.session.principal, &mut ctx.session.principal);
        self.killed
    }

    /// Whether Redis would send the command to replicas though it does not write,
    /// which counts as a write in a script that may not.
    fn replicates(&self, argv: &[&[u8]]) -> bool {
        let found = argv.first().and_then(|name| spec::find(name));
        found.is_some_and(|command| {
            matches!(command.spec.name, "publish" | "spublish" | "pfcount")
                && command.spec.accepts(argv.len())
        }) && may_call(&self.session, argv) == Some(true)
    }

    /// The reason to refuse a command that touches what was not declared.
    fn undeclared(&self, argv: &[&[u8]]) -> Option<Reply> {
        let declared = self.declared.as_ref()?;
        let command = spec::find(argv.first()?)?;
        if matches!(command.spec.name, "flushdb" | "flushall") {
            return Some(Reply::error(format!(
                "ERR {} is not allowed in Lua scripts when 'allow-key-locking' flag is set",
                command.spec.name.to_ascii_uppercase()
            )));
        }
        if command.spec.keys == Keys::None {
            return None;
        }
        let stranger = command
            .spec
            .keys
            .positions(argv)
            .into_iter()
            .filter_map(|at| argv.get(at))
            .find(|key| !declared.iter().any(|declared| declared == *key))?;
        let mut text = b"ERR Dynamic keys are not allowed in Lua scripts when \
                         'allow-key-locking' flag is set. Key was: "
            .to_vec();
        text.extend_from_slice(stranger);
        Some(Reply::error(text))
    }
}

impl Host for Run {
    fn call(&mut self, argv: &[&[u8]], resp3: bool) -> Reply {
        let Some(state) = self.0.as_deref_mut() else {
            return Reply::Null;
        };
        if let Some(refusal) = state.undeclared(argv) {
            return refusal;
        }
        if state.read_only && state.replicates(argv) {
            return Reply::error("ERR Write commands are not allowed from read-only scripts.");
        }
        let (Some(engine), Some(keyspace)) = (&state.engine, &state.keyspace) else {
            return Reply::Null;
        };
        state.session.protocol = if resp3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        };
        let mut ctx = Ctx {
            engine,
            keyspace,
            db: &mut state.db,
            session: &mut state.session,
        };
        call_scripted(&mut ctx, argv, state.read_only, state.allow_oom)
    }

    fn tick(&mut self) -> Tick {
        let Some(state) = self.0.as_deref_mut() else {
            return Tick::Continue;
        };
        let (Some(engine), Some(keyspace)) = (&state.engine, &state.keyspace) else {
            return Tick::Continue;
        };
        if keyspace.script.kill_requested() {
            state.killed = true;
            return Tick::Kill;
        }
        let elapsed = engine.now_micros().saturating_sub(state.db.now_us);
        if elapsed > LONG_RUN_US && !state.announced {
            state.announced = true;
            engine.announce_long_unit();
        }
        if elapsed > state.db.settings.busy_reply_threshold.saturating_mul(1000)
            && !keyspace.data.is_busy()
        {
            keyspace.data.set_busy(true);
        }
        Tick::Continue
    }

    fn allowed(&mut self, argv: &[&[u8]]) -> Option<bool> {
        let state = self.0.as_deref()?;
        may_call(&state.session, argv)
    }
}
