//! The table `redis` of scripts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mlua::{BorrowedBytes, Lua, MultiValue, Result, Table, Value, Variadic};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::convert;
use super::number::format_g;
use super::raise::{self, Raise};
use super::vm::{self, Host, RunOptions};
use crate::reply::Reply;

/// What a run shares with the functions it calls.
#[derive(Default)]
pub(crate) struct Shared<H> {
    pub(crate) host: H,
    pub(crate) options: RunOptions,
    /// The protocol of `redis.setresp`.
    pub(crate) resp3: bool,
    /// Once set, every tick ends the run.
    pub(crate) killed: Arc<AtomicBool>,
    /// The VM's memory limit.
    pub(crate) memory: usize,
}

/// An error table without a position, as `luaPushError` and `luaError`.
fn refuse(text: &str) -> mlua::Error {
    Raise::Reply {
        text: format!("ERR {text}").into_bytes(),
        replied: false,
    }
    .into()
}

/// One argument of a command.
enum Argument {
    Text(BorrowedBytes),
    Number(SmallVec<[u8; 24]>),
}

impl Argument {
    fn new(value: &Value, truncate: bool) -> Option<Self> {
        Some(match value {
            Value::String(text) => Argument::Text(text.as_bytes()),
            Value::Integer(value) => Argument::integer(*value),
            Value::Number(value) if truncate => Argument::integer(convert::truncate(*value)),
            Value::Number(value) => {
                Argument::Number(SmallVec::from_slice(format_g(*value, 17).as_bytes()))
            }
            _ => return None,
        })
    }

    fn integer(value: i64) -> Self {
        // %.17g turns to an exponent past 17 digits.
        if value.unsigned_abs() < 100_000_000_000_000_000 {
            Argument::Number(SmallVec::from_slice(
                itoa::Buffer::new().format(value).as_bytes(),
            ))
        } else {
            Argument::Number(SmallVec::from_slice(format_g(value as f64, 17).as_bytes()))
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Argument::Text(text) => text,
            Argument::Number(text) => text,
        }
    }
}

/// Gives `each` the command that the values spell.
fn with_command<R>(
    values: &MultiValue,
    truncate: bool,
    each: impl FnOnce(&[&[u8]]) -> R,
) -> std::result::Result<R, &'static str> {
    if values.is_empty() {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let mut arguments: SmallVec<[Argument; 6]> = SmallVec::with_capacity(values.len());
    for value in values {
        match Argument::new(value, truncate) {
            Some(argument) => arguments.push(argument),
            None => return Err("Lua redis lib command arguments must be strings or integers"),
        }
    }
    let argv: SmallVec<[&[u8]; 8]> = arguments.iter().map(Argument::bytes).collect();
    Ok(each(&argv))
}

/// `redis.call` and, unless errors are to be raised, `redis.pcall`.
fn call<H: Host>(
    lua: &Lua,
    shared: &Mutex<Shared<H>>,
    values: &MultiValue,
    raises: bool,
) -> Result<Value> {
    let mut run = shared.lock();
    let resp3 = run.resp3;
    let truncate = run.options.truncate_numbers;
    let memory = run.memory;
    let answer = with_command(values, truncate, |argv| run.host.call(argv, resp3));
    drop(run);
    match answer {
        Ok(Reply::Error(text)) if raises => Err(Raise::Reply {
            text,
            replied: true,
        }
        .into()),
        Ok(Reply::Int(value)) => Ok(Value::Number(value as f64)),
        Ok(reply) => {
            // Under a limit each allocation would be a protected call.
            lua.set_memory_limit(0)?;
            let value = convert::to_lua(lua, reply, resp3);
            lua.set_memory_limit(memory)?;
            if memory > 0 && lua.used_memory() > memory {
                return Err(Raise::Text(b"not enough memory".to_vec()).into());
            }
            value
        }
        Err(text) if raises => Err(refuse(text)),
        Err(text) => raise::reply_table(lua, format!("ERR {text}").as_bytes(), false),
    }
}

/// `redis.error_reply`: the text, with `ERR` in front unless it has a code.
fn error_reply(lua: &Lua, values: &[Value]) -> Result<Value> {
    let [Value::String(text)] = values else {
        return raise::reply_table(lua, b"ERR wrong number or type of arguments", false);
    };
    let text = text.as_bytes();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let text = text.trim_ascii_end();
    if text.contains(&b' ') {
        raise::reply_table(lua, text, false)
    } else {
        raise::reply_table(lua, &[b"ERR ", text].concat(), false)
    }
}

fn status_reply(lua: &Lua, values: &[Value]) -> Result<Value> {
    let [Value::String(text)] = values else {
        return raise::reply_table(lua, b"ERR wrong number or type of arguments", false);
    };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", text)?;
    Ok(Value::Table(table))
}

/// A value as a number where Lua would take it for one.
fn number(lua: &Lua, value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Integer(value) => Some(*value as f64),
        Value::Number(value) => Some(*value),
        Value::String(text) => lua.coerce_number(Value::String(text.clone())).ok()?,
        _ => None,
    }
}

fn log<H: Host>(lua: &Lua, shared: &Mutex<Shared<H>>, values: &[Value]) -> Result<()> {
    if values.len() < 2 {
        return Err(refuse("redis.log() requires two arguments or more."));
    }
    let Some(level) = number(lua, values.first()) else {
        return Err(refuse("First argument must be a number (log level)."));
    };
    let level = level as i64;
    if !(0..=3).contains(&level) {
        return Err(refuse("Invalid debug level."));
    }
    let mut line = Vec::new();
    for (index, value) in values.iter().skip(1).enumerate() {
        if let Value::String(_) | Value::Integer(_) | Value::Number(_) = value
            && let Some(text) = lua.coerce_string(value.clone())?
        {
            if index > 0 {
                line.push(b' ');
            }
            line.extend_from_slice(&text.as_bytes());
        }
    }
    shared.lock().host.log(level as u8, &line);
    Ok(())
}

fn sha1hex(lua: &Lua, values: &[Value]) -> Result<Value> {
    let [value] = values else {
        return Err(refuse("wrong number of arguments"));
    };
    let hex = match value {
        Value::String(text) => vm::sha1_hex(&text.as_bytes()),
        Value::Integer(_) | Value::Number(_) => {
            let text = lua.coerce_string(value.clone())?;
            text.map_or_else(|| vm::sha1_hex(b""), |text| vm::sha1_hex(&text.as_bytes()))
        }
        _ => vm::sha1_hex(b""),
    };
    lua.create_string(hex).map(Value::String)
}

fn setresp<H: Host>(lua: &Lua, shared: &Mutex<Shared<H>>, values: &[Value]) -> Result<()> {
    let [value] = values else {
        return Err(refuse("redis.setresp() requires one argument."));
    };
    match number(lua, Some(value)).unwrap_or(0.0) as i64 {
        protocol @ (2 | 3) => shared.lock().resp3 = protocol == 3,
        _ => return Err(refuse("RESP version must be 2 or 3.")),
    }
    Ok(())
}

fn set_repl(lua: &Lua, values: &[Value]) -> Result<()> {
    let [value] = values else {
        return Err(refuse("redis.set_repl() requires two arguments."));
    };
    if number(lua, Some(value)).unwrap_or(0.0) as i64 & !3 == 0 {
        Ok(())
    } else {
        Err(refuse(
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ))
    }
}

fn acl_check<H: Host>(shared: &Mutex<Shared<H>>, values: &MultiValue) -> Result<bool> {
    let mut run = shared.lock();
    match with_command(values, false, |argv| run.host.allowed(argv)) {
        Ok(Some(allowed)) => Ok(allowed),
        Ok(None) => Err(refuse("Invalid command passed to redis.acl_check_cmd()")),
        Err(text) => Err(refuse(text)),
    }
}

/// The table, whose functions act on the host in `shared`.
pub(crate) fn redis<H: Host>(lua: &Lua, shared: &Arc<Mutex<Shared<H>>>) -> Result<Table> {
    let table = lua.create_table()?;
    for (name, raises) in [("call", true), ("pcall", false)] {
        let shared = Arc::clone(shared);
        table.raw_set(
            name,
            lua.create_function(move |lua, values: MultiValue| {
                call(lua, &shared, &values, raises)
            })?,
        )?;
    }
    let own = Arc::clone(shared);
    table.raw_set(
        "log",
        lua.create_function(move |lua, values: Variadic<Value>| log(lua, &own, &values))?,
    )?;
    let own = Arc::clone(shared);
    table.raw_set(
        "setresp",
        lua.create_function(move |lua, values: Variadic<Value>| setresp(lua, &own, &values))?,
    )?;
    let own = Arc::clone(shared);
    table.raw_set(
        "acl_check_cmd",
        lua.create_function(move |_, values: MultiValue| acl_check(&own, &values))?,
    )?;
    table.raw_set(
        "error_reply",
        lua.create_function(|lua, values: Variadic<Value>| error_reply(lua, &values))?,
    )?;
    table.raw_set(
        "status_reply",
        lua.create_function(|lua, values: Variadic<Value>| status_reply(lua, &values))?,
    )?;
    table.raw_set(
        "sha1hex",
        lua.create_function(|lua, values: Variadic<Value>| sha1hex(lua, &values))?,
    )?;
    table.raw_set(
        "set_repl",
        lua.create_function(|lua, values: Variadic<Value>| set_repl(lua, &values))?,
    )?;
    table.raw_set(
        "replicate_commands",
        lua.create_function(|_, _: MultiValue| Ok(true))?,
    )?;
    table.raw_set(
        "breakpoint",
        lua.create_function(|_, _: MultiValue| Ok(false))?,
    )?;
    table.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", 0x0007_000f),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("REDIS_VERSION", "7.0.15")?;
    Ok(table)
}
