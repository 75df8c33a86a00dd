//! The Lua VM of one keyspace: compiles scripts, keeps them by SHA-1, runs them.
//!
//! A VM lives as long as its keyspace and runs one script at a time. For each
//! run the caller lends it a [`Host`], on which `redis.call` executes. Globals are
//! read-only and `KEYS` and `ARGV` are set anew, so that no run sees another.
//!
//! There are two kinds: one keeps scripts, the other the functions of libraries,
//! which get their keys and arguments as arguments (`functions`).
//!
//! Bounds: memory by Lua's allocator; time by a hook every [`Limits::interval`]
//! instructions, or fewer where they take long, that asks [`Host::tick`]. Library functions whose work grows with
//! their arguments count it and ask too ([`Shared::spend`]): patterns, sorting,
//! `cjson`, `cmsgpack`, long strings. A kill is an error that no `pcall` holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ahash::RandomState;
use hashbrown::HashMap;
use mlua::{Function, HookTriggers, Lua, RegistryKey, Value, VmState};
use sha1::{Digest, Sha1};

use super::convert;
use super::functions::{Function as Registered, Registering};
use super::library::Shared;
use super::native::{self, Reader, Writer};
use super::pattern::QUANTUM;
use super::raise;
use super::sandbox::{self, Random, Sandbox};
use super::shebang::{self, Flags};
use crate::reply::Reply;

/// Instructions before the first tick of a run, at the most.
const FIRST_PACE: u32 = 256;
/// Between two ticks this long, microseconds, some instructions take long (two
/// strings of megabytes joined, a search through a table of holes): the next tick
/// comes after fewer of them.
const SLOW_US: u64 = 1000;
/// Between two ticks this short, it comes after more.
const QUICK_US: u64 = 200;

const NO_MEMORY: &[u8] = b"not enough memory";

/// What a run raised.
enum Raised {
    /// An error table: its text, its source and line.
    Reply(Vec<u8>, Option<(Vec<u8>, Vec<u8>)>),
    /// Anything else, as text.
    Value(Vec<u8>),
}

/// What scripts may ask of the engine during a run.
pub(crate) trait Host: Send {
    /// Executes one command; an error reply is raised or returned as the script
    /// asked. `resp3` is the protocol that the script chose.
    fn call(&mut self, argv: &[&[u8]], resp3: bool) -> Reply;

    /// Asked every [`Limits::interval`] instructions, and during long library calls.
    fn tick(&mut self) -> Tick {
        Tick::Continue
    }

    /// `redis.log`: a level from 0 (debug) to 3 (warning) and a line.
    fn log(&mut self, level: u8, line: &[u8]) {
        let _ = (level, line);
    }

    /// `redis.acl_check_cmd`; `None` when there is no such command.
    fn allowed(&mut self, argv: &[&[u8]]) -> Option<bool> {
        let _ = argv;
        Some(true)
    }
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// It goes on.
    Continue,
    /// It ends with Redis' answer to `SCRIPT KILL`.
    Kill,
}

/// Bounds of a VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes that Lua may hold, cached scripts included; 0 for no bound.
    pub(crate) memory: usize,
    /// Instructions between two ticks, at the most.
    pub(crate) interval: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 128 << 20,
            interval: 2000,
        }
    }
}

/// What a VM is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Scripts, by their text.
    Scripts,
    /// The functions of libraries.
    Functions,
}

/// What a run calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// What errors call it: a script's SHA-1, or a function's name.
    pub(crate) name: &'a [u8],
    /// The Lua function.
    pub(crate) function: &'a RegistryKey,
    /// What is handed to it.
    pub(crate) takes: Takes,
}

/// How keys and arguments reach what is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// As the globals `KEYS` and `ARGV`.
    Globals,
    /// As two tables.
    Arguments,
    /// Not at all.
    Nothing,
}

/// How one run deviates from Redis.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunOptions {
    /// Numbers given to `redis.call` lose their fraction, as on Upstash.
    pub(crate) truncate_numbers: bool,
}

/// A compiled script.
#[derive(Debug)]
pub(crate) struct Script {
    sha: [u8; 40],
    flags: Option<Flags>,
    body: Box<[u8]>,
    function: RegistryKey,
}

impl Script {
    /// The SHA-1 of the text in lower-case hexadecimal.
    pub(crate) fn sha(&self) -> &[u8; 40] {
        &self.sha
    }

    /// What its shebang declares; `None` without a shebang.
    pub(crate) fn flags(&self) -> Option<Flags> {
        self.flags
    }

    /// To run it.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            name: &self.sha,
            function: &self.function,
            takes: Takes::Globals,
        }
    }
}

/// See the module.
pub(crate) struct Vm {
    random: Random,
    lua: Lua,
    shared: Arc<Shared>,
    scripts: HashMap<[u8; 40], Arc<Script>, RandomState>,
    /// The script that ran last, ready to run again.
    last: Option<Arc<Script>>,
    sandbox: Sandbox,
    loadstring: Function,
    limits: Limits,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("scripts", &self.scripts.len())
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// A VM without scripts. Fails only when memory does.
    pub(crate) fn new(kind: Kind, limits: Limits, random: Random) -> mlua::Result<Self> {
        let lua = sandbox::lua()?;
        let shared = Arc::<Shared>::default();
        let native = lua.globals();
        let loadstring = native.raw_get("loadstring")?;
        shared.memory.store(limits.memory, Ordering::Relaxed);
        let sandbox = sandbox::build(&lua, kind, &shared, &random)?;
        let watched = Arc::clone(&shared);
        let (interval, start) = (limits.interval.max(1), Instant::now());
        shared.pace.store(first_pace(limits), Ordering::Relaxed);
        lua.set_global_hook(
            HookTriggers::new().every_nth_instruction(first_pace(limits)),
            move |lua, _| {
                watched.tick()?;
                if let Some(pace) = watched.new_pace(interval, start.elapsed()) {
                    native::set_pace(lua, pace);
                }
                Ok(VmState::Continue)
            },
        )?;
        Ok(Vm {
            random,
            lua,
            shared,
            scripts: HashMap::with_hasher(RandomState::new()),
            last: None,
            sandbox,
            loadstring,
            limits,
        })
    }

    /// The script with this text, compiled now if it is not known yet; the
    /// error is Redis' reply.
    pub(crate) fn load(&mut self, body: &[u8]) -> Result<Arc<Script>, Reply> {
        let sha = sha1_hex(body);
        if let Some(script) = self.scripts.get(&sha) {
            return Ok(Arc::clone(script));
        }
        let (flags, code) = shebang::parse(body)?;
        let compiled = self.compile(code, "@user_script");
        let function = compiled.map_err(|text| {
            let mut full = b"ERR Error compiling script (new function): ".to_vec();
            full.extend_from_slice(&text);
            Reply::error(full)
        })?;
        let script = Arc::new(Script {
            sha,
            flags,
            body: body.into(),
            function,
        });
        self.scripts.insert(sha, Arc::clone(&script));
        Ok(script)
    }

    /// Runs the code of a library, on a host that decides how long it may take;
    /// the functions that it registers, or the client's error.
    pub(crate) fn load_library(
        &mut self,
        code: &[u8],
        host: &mut dyn Host,
    ) -> Result<Vec<Registered>, Vec<u8>> {
        let prefixed = |prefix: &[u8], text: &[u8]| [b"ERR ", prefix, text].concat();
        // Functions that are gone leave their places in the registry until now.
        self.lua.expire_registry_values();
        let loading = self.sandbox.stage(&self.lua, true);
        let out_of_memory = || prefixed(b"Error registering functions: ", NO_MEMORY);
        loading.map_err(|_| out_of_memory())?;
        let compiled = self.compile(code, "@user_function");
        let ran = compiled
            .map_err(|text| prefixed(b"Error compiling function: ", &text))
            .and_then(|function| {
                *self.shared.registering.lock() = Some(Registering::default());
                let entry = Entry {
                    name: b"",
                    function: &function,
                    takes: Takes::Nothing,
                };
                self.enter(entry, &[], &[], RunOptions::default(), host)
                    .map(drop)
                    .map_err(|raised| {
                        let text = if self.shared.killed.load(Ordering::Relaxed) {
                            b"ERR FUNCTION LOAD timeout".to_vec()
                        } else {
                            match self.described(&raised) {
                                Raised::Reply(text, _) | Raised::Value(text) => text,
                            }
                        };
                        prefixed(b"Error registering functions: ", &text)
                    })
            });
        let registered = self.shared.registering.lock().take();
        let running = self.sandbox.stage(&self.lua, false);
        running.map_err(|_| out_of_memory())?;
        ran?;
        Ok(registered.unwrap_or_default().into_functions())
    }

    /// Frees what libraries that are gone have left.
    pub(crate) fn collect(&self) {
        self.lua.expire_registry_values();
        let _ = self.lua.gc_collect();
    }

    fn compile(&self, code: &[u8], name: &str) -> Result<RegistryKey, Vec<u8>> {
        // What begins with ESC is bytecode to Lua; after a blank it is text.
        let blank: &[u8] = if code.first() == Some(&27) { b" " } else { b"" };
        let compiled = self
            .lua
            .create_string([blank, code].concat())
            .and_then(|code| self.loadstring.call::<(Value, Value)>((code, name)));
        match compiled {
            Ok((Value::Function(function), _)) => self
                .lua
                .create_registry_value(function)
                .map_err(|_| NO_MEMORY.to_vec()),
            Ok((_, Value::String(text))) => Err(text.as_bytes().to_vec()),
            Ok(_) | Err(_) => Err(NO_MEMORY.to_vec()),
        }
    }

    /// The cached script with this SHA-1, in hexadecimal of either case.
    pub(crate) fn script(&self, sha: &[u8]) -> Option<Arc<Script>> {
        let mut sha: [u8; 40] = sha.try_into().ok()?;
        sha.make_ascii_lowercase();
        self.scripts.get(&sha).map(Arc::clone)
    }

    /// The same for a run, which [`Vm::ran`] ends: the script that ran last is at
    /// hand without a search and without counting another reference.
    pub(crate) fn take(&mut self, sha: &[u8]) -> Option<Arc<Script>> {
        self.last
            .take_if(|last| last.sha == sha)
            .or_else(|| self.script(sha))
    }

    /// Keeps the script that ran at hand.
    pub(crate) fn ran(&mut self, script: Arc<Script>) {
        self.last = Some(script);
    }

    /// Whether a script with this SHA-1 is cached.
    pub(crate) fn exists(&self, sha: &[u8]) -> bool {
        self.script(sha).is_some()
    }

    /// Runs a script or a function on `host`, which comes back as the run left it.
    pub(crate) fn run(
        &mut self,
        entry: Entry<'_>,
        keys: &[&[u8]],
        argv: &[&[u8]],
        options: RunOptions,
        host: &mut dyn Host,
    ) -> Reply {
        match self.enter(entry, keys, argv, options, host) {
            Ok(reply) => reply,
            Err(raised) => self.failure(entry.name, &raised),
        }
    }

    /// The same; the error is the value that was raised.
    fn enter(
        &self,
        entry: Entry<'_>,
        keys: &[&[u8]],
        argv: &[&[u8]],
        options: RunOptions,
        host: &mut dyn Host,
    ) -> Result<Reply, Value> {
        let shared = &self.shared;
        let pace = shared.begin(options, first_pace(self.limits));
        let Sandbox {
            globals,
            names,
            handler,
            ..
        } = &self.sandbox;
        let list = |lua: &mut Writer, items: &[&[u8]]| {
            let table = lua.table(items.len(), 0);
            for (index, item) in items.iter().enumerate() {
                lua.string(item);
                lua.set_item(table, index + 1);
            }
        };
        let prepare = |lua: &mut Writer| match entry.takes {
            Takes::Globals => {
                let globals = lua.kept(globals);
                for (name, items) in names.iter().zip([keys, argv]) {
                    lua.kept(name);
                    list(lua, items);
                    lua.set_pair(globals);
                }
                lua.kept(entry.function);
                0
            }
            Takes::Arguments => {
                lua.kept(entry.function);
                list(lua, keys);
                list(lua, argv);
                2
            }
            Takes::Nothing => {
                lua.kept(entry.function);
                0
            }
        };
        let read = |lua: &mut Reader, value| {
            convert::to_reply(lua, value, shared.resp3.load(Ordering::Relaxed))
        };
        let limit = self.limits.memory;
        let lent = (&shared.host, host);
        let outcome = native::run(&self.lua, handler, (limit, pace), lent, prepare, read);
        outcome.unwrap_or_else(|error| Err(Value::Error(Box::new(error))))
    }

    /// The reply of a run that raised `value`, which the handler has made a table
    /// unless memory or the stack failed it.
    #[cold]
    fn failure(&self, name: &[u8], value: &Value) -> Reply {
        let out = match self.described(value) {
            Raised::Reply(mut text, place) => {
                if let Some((source, line)) = place {
                    for part in [b" script: ", name, b", on ", &source, b":", &line, b"."] {
                        text.extend_from_slice(part);
                    }
                }
                text
            }
            Raised::Value(text) => {
                let mut out = [b"ERR Error running script ", name, b", "].concat();
                out.extend(text.iter().take(100));
                out
            }
        };
        // What failed for lack of memory has left garbage in its place.
        if self.lua.used_memory() > 1 << 20 {
            let _ = self.lua.gc_collect();
        }
        Reply::error(out)
    }

    /// The text of what was raised, with source and line if it tells them.
    fn described(&self, value: &Value) -> Raised {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Integer(_) | Value::Number(_) => Some(
                self.lua
                    .coerce_string(value.clone())
                    .ok()??
                    .as_bytes()
                    .to_vec(),
            ),
            _ => None,
        };
        if let Value::Table(table) = value {
            let field = |name: &str| table.get::<Value>(name).ok().as_ref().and_then(text);
            if let Some(error) = field("err") {
                return Raised::Reply(error, field("source").zip(field("line")));
            }
        }
        Raised::Value(match value {
            Value::Error(error)
                if matches!(raise::innermost(error), mlua::Error::MemoryError(_)) =>
            {
                NO_MEMORY.to_vec()
            }
            value => text(value).unwrap_or_else(|| b"execution failure".to_vec()),
        })
    }

    /// The bounds it was made with.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Bounds memory anew.
    pub(crate) fn set_memory(&mut self, bytes: usize) {
        self.limits.memory = bytes;
        self.shared.memory.store(bytes, Ordering::Relaxed);
    }

    /// The generator of `math.random`, for the next VM to go on with.
    pub(crate) fn random(&self) -> Random {
        self.random.clone()
    }

    /// How many scripts are cached.
    pub(crate) fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Bytes that Lua holds, and the texts of the cached scripts.
    pub(crate) fn memory(&self) -> usize {
        self.lua.used_memory()
            + self
                .scripts
                .values()
                .map(|script| script.body.len())
                .sum::<usize>()
    }
}

/// Instructions before the first tick of a run.
fn first_pace(limits: Limits) -> u32 {
    FIRST_PACE.min(limits.interval.max(1))
}

/// SHA-1 in lower-case hexadecimal.
pub(crate) fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha1::digest(bytes)) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    hex
}

impl Shared {
    /// Begins a run; answers the hook's pace where the last run has changed it.
    fn begin(&self, options: RunOptions, pace: u32) -> Option<u32> {
        let truncate = options.truncate_numbers;
        self.truncate_numbers.store(truncate, Ordering::Relaxed);
        self.resp3.store(false, Ordering::Relaxed);
        self.killed.store(false, Ordering::Relaxed);
        if self.paced_at.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.paced_at.store(0, Ordering::Relaxed);
        self.pace.store(pace, Ordering::Relaxed);
        Some(pace)
    }

    fn tick(&self) -> mlua::Result<()> {
        if self.goes_on() {
            Ok(())
        } else {
            Err(raise::killed())
        }
    }

    /// After how many instructions the hook is to come next, where that changes.
    /// `now` is the time since the VM was made.
    fn new_pace(&self, interval: u32, now: Duration) -> Option<u32> {
        let now = (now.as_micros() as u64).max(1);
        let before = self.paced_at.swap(now, Ordering::Relaxed);
        let pace = self.pace.load(Ordering::Relaxed);
        let took = now.saturating_sub(before);
        let new = if before != 0 && took > SLOW_US {
            (pace / 8).max(1)
        } else if before == 0 || took < QUICK_US {
            pace.saturating_mul(2).min(interval)
        } else {
            pace
        };
        self.pace.store(new, Ordering::Relaxed);
        (new != pace).then_some(new)
    }

    /// Asks the host; once it has killed the run, the answer stays no.
    pub(crate) fn goes_on(&self) -> bool {
        let tick = self.host.host(|host| host.tick());
        if tick == Some(Tick::Kill) {
            self.killed.store(true, Ordering::Relaxed);
        }
        !self.killed.load(Ordering::Relaxed)
    }

    /// Counts work that takes no instruction, in steps of a few nanoseconds, and
    /// asks the host when it has come to [`QUANTUM`]: false when the run ends.
    #[inline]
    pub(crate) fn has_time_for(&self, steps: usize) -> bool {
        if let Some(left) = self.left.load(Ordering::Relaxed).checked_sub(steps) {
            self.left.store(left, Ordering::Relaxed);
            return true;
        }
        self.left.store(QUANTUM, Ordering::Relaxed);
        self.goes_on()
    }

    /// The same for a function that may fail.
    #[inline]
    pub(crate) fn spend(&self, steps: usize) -> mlua::Result<()> {
        if self.has_time_for(steps) {
            Ok(())
        } else {
            Err(raise::killed())
        }
    }
}

#[cfg(test)]
mod tests;
