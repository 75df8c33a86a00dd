//! The globals of scripts and of libraries: exactly those of Redis 7.0.15,
//! read-only.
//!
//! `sandbox.lua` builds the tables; here are the functions that it cannot write
//! in Lua: the error handler, the generator that every run seeds alike, and a
//! `string.rep` that asks the memory limit first. Nothing that reaches the file
//! system, the process, bytecode or the debug library is in the environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Lua, LuaOptions, RegistryKey, Result, StdLib, Table, Value, Variadic};

use super::library::{self, Shared};
use super::raise::{self, Arguments};
use super::vm::Kind;
use super::{bit, cjson, cmsgpack, native, struct_pack};

/// The chunk name of `sandbox.lua`, by which the error handler knows its frames.
const OWN_SOURCE: &str = "=sandbox";

/// What the VM keeps of the environment, in Lua's registry.
pub(crate) struct Sandbox {
    /// The table behind the globals, which takes `KEYS` and `ARGV`.
    pub(crate) globals: RegistryKey,
    /// The names `KEYS` and `ARGV`.
    pub(crate) names: [RegistryKey; 2],
    /// Gives an error its position: [`on_error`].
    pub(crate) handler: RegistryKey,
    /// What the code of libraries sees.
    stages: Option<Stages>,
}

/// The globals of libraries: one table for all their code, behind which stands
/// little while a library is loaded and everything while its functions run.
struct Stages {
    /// The metatable of that table.
    switch: RegistryKey,
    loading: RegistryKey,
    running: RegistryKey,
}

impl Sandbox {
    /// Shows libraries the globals of the time when they are loaded, or when
    /// they run; does nothing for scripts.
    pub(crate) fn stage(&self, lua: &Lua, loading: bool) -> Result<()> {
        let Some(stages) = &self.stages else {
            return Ok(());
        };
        let globals = if loading {
            &stages.loading
        } else {
            &stages.running
        };
        let globals: Table = lua.registry_value(globals)?;
        let switch: Table = lua.registry_value(&stages.switch)?;
        switch.raw_set("__index", globals)
    }
}

/// A fresh Lua with base, table, string, math and coroutine loaded.
pub(crate) fn lua() -> Result<Lua> {
    Lua::new_with(
        StdLib::TABLE | StdLib::STRING | StdLib::MATH,
        LuaOptions::new(),
    )
}

/// Makes `lua` a sandbox.
pub(crate) fn build(
    lua: &Lua,
    kind: Kind,
    shared: &Arc<Shared>,
    random: &Random,
) -> Result<Sandbox> {
    native::guard(lua, shared)?;
    let host = lua.create_table()?;
    // Where an error is caught for good: no kill goes past it.
    let own = Arc::clone(shared);
    host.raw_set(
        "caught",
        lua.create_function(move |lua, value: Value| {
            if own.killed.load(Ordering::Relaxed) {
                Err(raise::killed())
            } else {
                raise::shown(lua, value)
            }
        })?,
    )?;
    host.raw_set(
        "shown",
        lua.create_function(|lua, value: Value| {
            let value = raise::shown(lua, value)?;
            let last = matches!(value, Value::Error(_));
            Ok((value, last))
        })?,
    )?;
    let handler = lua.create_function(on_error)?;
    host.raw_set("handler", &handler)?;
    let own = Arc::clone(shared);
    host.raw_set(
        "rep",
        lua.create_function(move |lua, values: Variadic<Value>| repeat(lua, &own, &values))?,
    )?;
    host.raw_set(
        "rawset",
        lua.create_function(|lua, sealed: Table| {
            lua.create_function(move |lua, values: Variadic<Value>| raw_set(lua, &sealed, &values))
        })?,
    )?;
    let state = random.clone();
    host.raw_set(
        "random",
        lua.create_function(move |lua, values: Variadic<Value>| state.pick(lua, &values))?,
    )?;
    let state = random.clone();
    host.raw_set(
        "randomseed",
        lua.create_function(move |lua, values: Variadic<Value>| {
            state.seed(Arguments::new(lua, &values).integer(1)? as i32);
            Ok(())
        })?,
    )?;

    let libraries = lua.create_table()?;
    libraries.raw_set("redis", library::redis(lua, kind, shared)?)?;
    libraries.raw_set("cjson", cjson::library(lua, shared)?)?;
    libraries.raw_set("cmsgpack", cmsgpack::library(lua, shared)?)?;
    libraries.raw_set("bit", bit::library(lua)?)?;
    libraries.raw_set("struct", struct_pack::library(lua)?)?;

    let source = lua.load(include_str!("sandbox.lua")).set_name(OWN_SOURCE);
    let loading = match kind {
        Kind::Scripts => None,
        Kind::Functions => Some(library::loading(lua, shared)?),
    };
    let (environment, globals, switch, loading): (Table, Table, Option<Table>, Option<Table>) =
        source.call((lua.globals(), host, libraries, loading))?;
    lua.set_globals(environment)?;
    let stages = match switch.zip(loading) {
        None => None,
        Some((switch, loading)) => Some(Stages {
            switch: lua.create_registry_value(switch)?,
            loading: lua.create_registry_value(loading)?,
            running: lua.create_registry_value(&globals)?,
        }),
    };
    Ok(Sandbox {
        globals: lua.create_registry_value(globals)?,
        names: [
            lua.create_registry_value("KEYS")?,
            lua.create_registry_value("ARGV")?,
        ],
        handler: lua.create_registry_value(handler)?,
        stages,
    })
}

/// Gives an error the position where it was raised, as Redis' handler does: in
/// the fields `source` and `line` of a table, which any other value becomes.
pub(crate) fn on_error(lua: &Lua, value: Value) -> Result<Value> {
    let killed = match &value {
        Value::Error(error) => match error.downcast_ref::<raise::Raise>() {
            Some(raise::Raise::Killed(text)) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    let value = match killed {
        Some(text) => raise::error_table(lua, &text)?,
        None => raise::shown(lua, value)?,
    };
    let table = match value {
        Value::Table(table) => table,
        other => {
            let mut text = b"ERR ".to_vec();
            match &other {
                Value::Boolean(value) => text.extend_from_slice(value.to_string().as_bytes()),
                Value::Nil => text.extend_from_slice(b"nil"),
                other => match lua.coerce_string(other.clone())? {
                    Some(string) => text.extend_from_slice(&string.as_bytes()),
                    None => text.extend_from_slice(other.to_string()?.as_bytes()),
                },
            }
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string(text)?)?;
            table
        }
    };
    if let Some((source, line)) = raised_at(lua) {
        // A read-only table refuses; it then has no position.
        let _ = table
            .set("source", source)
            .and_then(|()| table.set("line", line));
    }
    Ok(Value::Table(table))
}

/// Source and line of the frame that raised, or of its caller where a library
/// function did; the sandbox's own frames count as part of such a function.
fn raised_at(lua: &Lua) -> Option<(String, i64)> {
    let mut level = 1;
    let mut library = false;
    loop {
        let (source, line, what) = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source
                .source
                .map_or_else(String::new, std::borrow::Cow::into_owned);
            (
                name,
                frame.current_line().map_or(-1, |line| line as i64),
                source.what,
            )
        })?;
        let own = source == OWN_SOURCE || what == "tail";
        if own || (what == "C" && !library) {
            library = true;
            level += 1;
        } else {
            return Some((source, line));
        }
    }
}

/// `rawset`, which respects the tables in `sealed`.
fn raw_set(lua: &Lua, sealed: &Table, values: &[Value]) -> Result<Value> {
    let text = |text: &str| Err(raise::Raise::Text(text.as_bytes().to_vec()).into());
    let Some(Value::Table(table)) = values.first() else {
        let found = raise::type_name(values.first());
        return Err(raise::bad_argument(
            lua,
            1,
            format!("table expected, got {found}"),
        ));
    };
    let (Some(key), Some(value)) = (values.get(1), values.get(2)) else {
        return Err(raise::bad_argument(lua, values.len() + 1, "value expected"));
    };
    if !sealed.raw_get::<Value>(table)?.is_nil() {
        return text("Attempt to modify a readonly table");
    }
    match key {
        Value::Nil => return text("table index is nil"),
        Value::Number(number) if number.is_nan() => return text("table index is NaN"),
        _ => {}
    }
    table.raw_set(key, value)?;
    Ok(Value::Table(table.clone()))
}

/// `string.rep`, which refuses what memory cannot hold before it allocates.
fn repeat(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<Value> {
    let limit = shared.memory.load(Ordering::Relaxed);
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let count = arguments.integer(2)?.max(0) as usize;
    let bytes = text.as_bytes();
    match bytes.len().checked_mul(count) {
        Some(length) if limit == 0 || length <= limit => {
            shared.spend(length / 8)?;
            lua.create_string(bytes.repeat(count)).map(Value::String)
        }
        _ => Err(raise::Raise::Text(b"not enough memory".to_vec()).into()),
    }
}

/// The 48-bit linear congruential generator of `lrand48`. As in Redis, it begins
/// where the C library's does and goes on from run to run, and from VM to VM.
#[derive(Debug, Clone)]
pub(crate) struct Random(Arc<AtomicU64>);

impl Default for Random {
    fn default() -> Self {
        Random(Arc::new(AtomicU64::new(0x1234_abcd_330e)))
    }
}

impl Random {
    fn seed(&self, seed: i32) {
        self.0
            .store((u64::from(seed as u32) << 16) | 0x330e, Ordering::Relaxed);
    }

    /// The next 31 bits.
    fn next(&self) -> u32 {
        let state = self
            .0
            .load(Ordering::Relaxed)
            .wrapping_mul(0x5_deec_e66d)
            .wrapping_add(0xb);
        let state = state & 0xffff_ffff_ffff;
        self.0.store(state, Ordering::Relaxed);
        (state >> 17) as u32
    }

    /// `math.random`.
    fn pick(&self, lua: &Lua, values: &[Value]) -> Result<f64> {
        let most = i32::MAX as u32;
        let unit = f64::from(self.next() % most) / f64::from(most);
        let arguments = Arguments::new(lua, values);
        let bound = |number| arguments.integer(number).map(|value| value as i32);
        match arguments.count() {
            0 => Ok(unit),
            1 => {
                let high = bound(1)?;
                arguments.require(high >= 1, 1, "interval is empty")?;
                Ok((unit * f64::from(high)).floor() + 1.0)
            }
            2 => {
                let (low, high) = (bound(1)?, bound(2)?);
                arguments.require(low <= high, 2, "interval is empty")?;
                Ok(
                    (unit * f64::from(high.wrapping_sub(low).wrapping_add(1))).floor()
                        + f64::from(low),
                )
            }
            _ => Err(raise::error(lua, "wrong number of arguments")),
        }
    }
}
