//! Scripts: the Lua host of a keyspace.
//!
//! A keyspace has one VM, made with its first script and kept beside its data
//! under the lock, so a script sees exactly what a command sees and nobody sees
//! half of it. For a run the data is lent to the VM, and `redis.call` goes through the same dispatch as any command.
//!
//! A script is an atomic unit. It runs under an undo list, so SCRIPT KILL may
//! end it at any time, even after writes; in Upstash's dialect an error takes its
//! writes back too. So do a panic of a command and more writes than a unit may
//! have. Past `busy-reply-threshold` everybody else gets BUSY.
//!
//! `allow-key-locking`, Upstash's flag, is accepted: with one lock a keyspace it
//! gives no more parallelism here, and keeps its promise to refuse a key that
//! the caller did not declare. The strict dialect refuses those in every script
//! but one that has asked the keyspace for its keys, which nobody can declare.
//!
//! Functions of libraries run in the same way, in a VM of their own: [`functions`].

mod bit;
mod cjson;
mod cmsgpack;
mod convert;
pub(crate) mod functions;
mod library;
mod native;
mod number;
mod pattern;
mod raise;
mod sandbox;
mod shebang;
mod struct_pack;
mod vm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::command::declared::Declared;
use crate::command::spec;
use crate::command::{Ctx, Tracks, call_scripted, may_call, resolve};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Db, Running};
use crate::reply::Reply;
use crate::session::{Client, Dialect, Protocol, Session};
use functions::{Function, Library, Metadata};
use shebang::Flags;
use vm::{Entry, Host, Kind, Limits, RunOptions, Tick, Vm};

pub(crate) use sandbox::Random;
pub(crate) use vm::{Script, sha1_hex};

/// Microseconds after which the host is told to move its other tasks away.
const LONG_RUN_US: u64 = 2_000;

/// Microseconds that the code of a library may run while it is loaded.
const LOAD_US: u64 = 500_000;

const TOO_LARGE: &str = "ERR the script is undone: it writes more than a unit may";

const FAILED_INSIDE: &str = "ERR internal error: a command of the script panicked, it is undone";

/// Scripts cached before the cache starts anew. Callers that build a script's
/// text for each call would fill the memory otherwise; whoever uses EVALSHA
/// loads again on NOSCRIPT.
const MOST_SCRIPTS: usize = 10_000;

/// A VM of a keyspace, that of its scripts or that of its libraries, and what it
/// lends them.
pub(crate) struct Scripts {
    vm: Vm,
    /// In which scripts' commands run.
    session: Session,
}

fn start(kind: Kind, limits: Limits, random: Random) -> Result<Vm, CommandError> {
    Vm::new(kind, limits, random)
        .map_err(|error| format!("ERR cannot start the script engine: {error}").into())
}

fn session() -> Session {
    let client = Arc::new(Client::new(0, String::new(), String::new(), 0));
    let mut session = Session::new(client, Dialect::Redis, None);
    session.scripted = true;
    session
}

/// One request to run a script or a function.
pub(crate) struct Request<'a> {
    /// All of it.
    pub(crate) argv: &'a [&'a [u8]],
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) args: &'a [&'a [u8]],
    /// EVAL_RO, EVALSHA_RO and FCALL_RO.
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
        Scripts::start(Kind::Scripts, db)
    }

    /// The same for the VM of the libraries, which stays as long as the keyspace.
    pub(crate) fn take_functions(db: &mut Db) -> Result<Box<Scripts>, CommandError> {
        let memory = db.settings.script_memory;
        match db.functions.take() {
            Some(mut functions) => {
                if functions.vm.limits().memory != memory {
                    functions.vm.set_memory(memory);
                }
                Ok(functions)
            }
            None => Scripts::start(Kind::Functions, db),
        }
    }

    fn start(kind: Kind, db: &Db) -> Result<Box<Scripts>, CommandError> {
        let limits = Limits {
            memory: db.settings.script_memory,
            ..Limits::default()
        };
        Ok(Box::new(Scripts {
            vm: start(kind, limits, db.script_random.clone())?,
            session: session(),
        }))
    }

    /// Runs the code of a library once; what it registers makes the library.
    /// Nobody sees it yet.
    pub(crate) fn load_library(
        &mut self,
        ctx: &Ctx<'_>,
        text: &[u8],
        metadata: &Metadata<'_>,
    ) -> Result<Library, CommandError> {
        let mut loading = Loading {
            engine: ctx.engine,
            began_us: ctx.engine.now_micros(),
            announced: false,
        };
        let functions = self
            .vm
            .load_library(metadata.code, &mut loading)
            .map_err(CommandError::Bytes)?;
        if functions.is_empty() {
            return Err(CommandError::text("ERR No functions registered"));
        }
        Ok(Library::new(&metadata.name, text, functions))
    }

    /// Frees what libraries that are gone have left.
    pub(crate) fn collect(&self) {
        self.vm.collect();
    }

    /// Compiles and caches a script.
    pub(crate) fn load(&mut self, body: &[u8]) -> Result<Arc<Script>, Reply> {
        if self.vm.len() >= MOST_SCRIPTS && !self.vm.exists(&sha1_hex(body)) {
            self.vm = start(Kind::Scripts, self.vm.limits(), self.vm.random())?;
        }
        self.vm.load(body)
    }

    pub(crate) fn exists(&self, sha: &[u8]) -> bool {
        self.vm.exists(sha)
    }

    /// The cached script with this SHA-1, to run it; [`Scripts::ran`] takes it back.
    pub(crate) fn take_script(&mut self, sha: &[u8]) -> Option<Arc<Script>> {
        self.vm.take(sha)
    }

    pub(crate) fn ran(&mut self, script: Arc<Script>) {
        self.vm.ran(script);
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
        self.run_unit(ctx, Kind::Scripts, script.entry(), script.flags(), request)
    }

    /// The same for a function.
    pub(crate) fn call(
        &mut self,
        ctx: &mut Ctx<'_>,
        function: &Function,
        request: &Request<'_>,
    ) -> Reply {
        let flags = Some(function.flags);
        self.run_unit(ctx, Kind::Functions, function.entry(), flags, request)
    }

    fn run_unit(
        &mut self,
        ctx: &mut Ctx<'_>,
        kind: Kind,
        entry: Entry<'_>,
        flags: Option<Flags>,
        request: &Request<'_>,
    ) -> Reply {
        let upstash = ctx.is_upstash();
        let nested = ctx.db.is_recording();
        let mut read_only = request.read_only;
        let mut allow_oom = false;
        if let Some(flags) = flags {
            allow_oom = flags.contains(Flags::ALLOW_OOM) || flags.contains(Flags::NO_WRITES);
            // Upstash lets FCALL_RO run what turns out to read only.
            let may_read = upstash && kind == Kind::Functions;
            if request.read_only && !flags.contains(Flags::NO_WRITES) && !may_read {
                return Reply::error(
                    "ERR Can not execute a script with write flag using *_ro command.",
                );
            }
            read_only |= flags.contains(Flags::NO_WRITES);
            if !allow_oom && crate::evict::is_full(ctx.db) {
                if !nested {
                    return CommandError::OutOfMemory.into();
                }
                return Reply::error(
                    "OOM allow-oom flag is not set on the script, can not run it when \
                     used memory > 'maxmemory'",
                );
            }
        }
        let mark = ctx.db.effects.mark();
        if !nested {
            ctx.db.begin_undo();
        }
        let session = &mut self.session;
        // Refusals tell whose script it was.
        std::mem::swap(&mut session.principal, &mut ctx.session.principal);
        std::mem::swap(&mut session.client, &mut ctx.session.client);
        session.dialect = ctx.session.dialect;
        let locks_keys = flags.is_some_and(|flags| flags.contains(Flags::ALLOW_KEY_LOCKING));
        let mut run = Run {
            ctx: Ctx {
                engine: ctx.engine,
                keyspace: ctx.keyspace,
                db: ctx.db,
                session,
            },
            declared: (locks_keys || ctx.session.dialect.is_strict())
                .then(|| Declared::new(request.keys)),
            locks_keys,
            found_keys: false,
            read_only,
            allow_oom,
            killed: false,
            announced: false,
            name: entry.name,
            argv: request.argv,
        };
        let tracks = ctx.session.tracking.as_ref();
        let reader = tracks.filter(|tracks| tracks.remembers());
        if let Some(tracking) = run.ctx.db.tracking_mut() {
            tracking.begin_script(reader.map(Tracks::number), request.keys);
        }
        ctx.keyspace.script.start(match kind {
            Kind::Scripts => Running::Script,
            Kind::Functions => Running::Function,
        });
        let options = RunOptions {
            truncate_numbers: upstash,
        };
        // A panic of a command ends here: its unit is undone, and what the
        // keyspace lent to the run comes back whole.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            self.vm
                .run(entry, request.keys, request.args, options, &mut run)
        }));
        let killed = run.killed;
        drop(run);
        if let Some(tracking) = ctx.db.tracking_mut() {
            tracking.end_script();
        }
        ctx.keyspace.script.finish();
        if ctx.keyspace.data.is_busy() {
            ctx.keyspace.data.set_busy(false);
            ctx.keyspace.script.withdraw();
        }
        std::mem::swap(&mut self.session.principal, &mut ctx.session.principal);
        std::mem::swap(&mut self.session.client, &mut ctx.session.client);
        let panicked = ran.is_err();
        let mut reply = ran.unwrap_or_else(|_| Reply::error(FAILED_INSIDE));
        if nested {
            ctx.db.must_roll_back |= killed || panicked;
            return reply;
        }
        let too_large = ctx.db.effects.exceed_a_unit();
        if too_large && !killed {
            reply = Reply::error(TOO_LARGE);
        }
        if killed || panicked || too_large || (upstash && reply.is_error()) {
            // Undoing meets whatever the panic left half done.
            if catch_unwind(AssertUnwindSafe(|| ctx.db.rollback())).is_err() {
                reply = Reply::error(FAILED_INSIDE);
            }
            ctx.db.effects.truncate(mark);
        } else {
            ctx.db.commit();
        }
        reply
    }
}

/// What a running script acts on.
struct Run<'a> {
    ctx: Ctx<'a>,
    /// The declared keys, when others are refused.
    declared: Option<Declared<'a>>,
    /// Whether it asked for that by its flag.
    locks_keys: bool,
    /// Whether it has asked for keys that nobody named.
    found_keys: bool,
    read_only: bool,
    allow_oom: bool,
    killed: bool,
    announced: bool,
    /// What runs, and the request for it.
    name: &'a [u8],
    argv: &'a [&'a [u8]],
}

/// What the code of a library acts on while it is loaded: nothing.
struct Loading<'a> {
    engine: &'a Engine,
    began_us: u64,
    announced: bool,
}

impl Host for Loading<'_> {
    fn call(&mut self, _: &[&[u8]], _: bool) -> Reply {
        Reply::error("ERR This Redis command is not allowed from script")
    }

    fn tick(&mut self) -> Tick {
        // What was loaded once loads again, however long it takes.
        if self.engine.is_being_filled() {
            return Tick::Continue;
        }
        let elapsed = self.engine.now_micros().saturating_sub(self.began_us);
        if elapsed > LONG_RUN_US && !self.announced {
            self.announced = true;
            self.engine.announce_long_unit();
        }
        if elapsed > LOAD_US {
            Tick::Kill
        } else {
            Tick::Continue
        }
    }
}

impl Run<'_> {
    /// Whether Redis would send the command to replicas though it does not write,
    /// which counts as a write in a script that may not.
    fn replicates(&self, argv: &[&[u8]]) -> bool {
        let found = argv.first().and_then(|name| spec::find(name));
        found.is_some_and(|command| {
            matches!(command.spec.name, "publish" | "spublish" | "pfcount")
                && command.spec.accepts(argv.len())
        }) && may_call(self.ctx.session, argv) == Some(true)
    }

    /// The reason to refuse a command that touches what was not declared.
    fn undeclared(&mut self, argv: &[&[u8]]) -> Option<Reply> {
        let declared = self.declared.as_ref()?;
        let command = resolve(spec::find(argv.first()?)?, argv).ok()?;
        if self.locks_keys && matches!(command.spec.name, "flushdb" | "flushall") {
            return Some(Reply::error(format!(
                "ERR {} is not allowed in Lua scripts when 'allow-key-locking' flag is set",
                command.spec.name.to_ascii_uppercase()
            )));
        }
        if command.spec.keys == spec::Keys::None {
            self.found_keys |= command.spec.flags.has(spec::Flags::FINDS_KEYS);
            return None;
        }
        if self.found_keys && !self.locks_keys {
            return None;
        }
        let stranger = declared.stranger(command.spec.keys, argv)?;
        let reason: &[u8] = if self.locks_keys {
            b"ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is \
              set. Key was: "
        } else {
            b"ERR Keys that are not declared are refused here (--strict-upstash): Upstash may \
              read them from its disk while everybody waits. Pass it in KEYS. Key was: "
        };
        Some(Reply::error([reason, stranger].concat()))
    }
}

impl Host for Run<'_> {
    fn call(&mut self, argv: &[&[u8]], resp3: bool) -> Reply {
        if let Some(refusal) = self.undeclared(argv) {
            return refusal;
        }
        if self.ctx.db.effects.exceed_a_unit() {
            return Reply::error(TOO_LARGE);
        }
        if self.read_only && self.replicates(argv) {
            return Reply::error("ERR Write commands are not allowed from read-only scripts.");
        }
        self.ctx.session.protocol = if resp3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        };
        call_scripted(&mut self.ctx, argv, self.read_only, self.allow_oom)
    }

    fn tick(&mut self) -> Tick {
        let Ctx {
            engine,
            keyspace,
            db,
            ..
        } = &self.ctx;
        if keyspace.script.kill_requested() {
            self.killed = true;
            return Tick::Kill;
        }
        let elapsed = engine.now_micros().saturating_sub(db.now_us);
        if elapsed > LONG_RUN_US && !self.announced {
            self.announced = true;
            engine.announce_long_unit();
        }
        if elapsed > db.settings.busy_reply_threshold.saturating_mul(1000)
            && !keyspace.data.is_busy()
        {
            keyspace.script.publish(self.name, self.argv, db.now_us);
            keyspace.data.set_busy(true);
        }
        Tick::Continue
    }

    fn allowed(&mut self, argv: &[&[u8]]) -> Option<bool> {
        may_call(self.ctx.session, argv)
    }
}

#[cfg(test)]
mod tests;
