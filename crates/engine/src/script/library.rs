//! The table `redis` of scripts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use mlua::{Lua, MultiValue, Result, Table, Value, Variadic};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::convert;
use super::functions::{self, Registering};
use super::native::{self, Frame, Lent, Outcome, Seen};
use super::number::format_g;
use super::pattern::Scratch;
use super::raise::Raise;
use super::vm::{self, Kind};
use crate::reply::Reply;

/// What a run shares with the functions it calls, all on its own thread: nothing
/// here needs an order.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) host: Lent,
    /// [`RunOptions::truncate_numbers`](super::vm::RunOptions).
    pub(crate) truncate_numbers: AtomicBool,
    /// The protocol of `redis.setresp`.
    pub(crate) resp3: AtomicBool,
    /// Once set, every tick ends the run.
    pub(crate) killed: AtomicBool,
    /// Steps of library functions until they ask the host next.
    pub(crate) left: AtomicUsize,
    /// Instructions until the hook comes next.
    pub(crate) pace: AtomicU32,
    /// When the hook came last, in microseconds since the VM was made; 0 before it
    /// has come in this run.
    pub(crate) paced_at: AtomicU64,
    /// What our matcher of patterns keeps from one call to the next.
    pub(crate) scratch: Mutex<Scratch>,
    /// Worst case, in steps, below which C functions match patterns.
    pub(crate) small: AtomicUsize,
    /// Bytes that Lua may hold; 0 for no bound.
    pub(crate) memory: AtomicUsize,
    /// What the library that is loaded now has registered.
    pub(crate) registering: Mutex<Option<Registering>>,
}

/// An error table without a position, as `luaPushError` and `luaError`.
pub(super) fn refuse(text: &str) -> mlua::Error {
    Raise::Reply(format!("ERR {text}").into_bytes()).into()
}

/// One argument of a command.
enum Argument<'a> {
    Text(&'a [u8]),
    Number(SmallVec<[u8; 24]>),
}

impl<'a> Argument<'a> {
    fn new(value: Seen<'a>, truncate: bool) -> Option<Self> {
        match value {
            Seen::String(text) => Some(Argument::Text(text)),
            Seen::Number(value) if truncate => {
                Some(Argument::number(convert::truncate(value) as f64))
            }
            Seen::Number(value) => Some(Argument::number(value)),
            _ => None,
        }
    }

    /// As `%.17g` writes it, which turns to an exponent past 17 digits.
    fn number(value: f64) -> Self {
        let whole = value as i64;
        let is_whole = (whole as f64).to_bits() == value.to_bits();
        Argument::Number(
            if is_whole && whole.unsigned_abs() < 100_000_000_000_000_000 {
                SmallVec::from_slice(itoa::Buffer::new().format(whole).as_bytes())
            } else {
                SmallVec::from_slice(format_g(value, 17).as_bytes())
            },
        )
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Argument::Text(text) => text,
            Argument::Number(text) => text,
        }
    }
}

/// Gives `each` the command that the arguments spell.
fn with_command<R>(
    frame: &Frame,
    truncate: bool,
    each: impl FnOnce(&[&[u8]]) -> R,
) -> std::result::Result<R, &'static str> {
    if frame.count() == 0 {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let texts = frame.arguments().map(|value| match value {
        Seen::String(text) => Some(text),
        _ => None,
    });
    if let Some(argv) = texts.collect::<Option<SmallVec<[&[u8]; 8]>>>() {
        return Ok(each(&argv));
    }
    let mut arguments: SmallVec<[Argument<'_>; 6]> = SmallVec::new();
    for value in frame.arguments() {
        match Argument::new(value, truncate) {
            Some(argument) => arguments.push(argument),
            None => return Err("Lua redis lib command arguments must be strings or integers"),
        }
    }
    let argv: SmallVec<[&[u8]; 8]> = arguments.iter().map(Argument::bytes).collect();
    Ok(each(&argv))
}

/// `redis.call` and, unless errors are to be raised, `redis.pcall`.
fn call(shared: &Shared, frame: &mut Frame, raises: bool) -> Outcome {
    let resp3 = shared.resp3.load(Ordering::Relaxed);
    let truncate = shared.truncate_numbers.load(Ordering::Relaxed);
    let answer = with_command(frame, truncate, |argv| {
        let answer = shared.host.host(|host| host.call(argv, resp3));
        answer.unwrap_or(Reply::Null)
    });
    match answer {
        Ok(reply) => match convert::scalar(&reply, resp3) {
            Some(value) => frame.scalar(value),
            None => frame.answer(raises && reply.is_error(), |lua| {
                convert::to_lua(lua, &reply, resp3);
            }),
        },
        Err(text) => error_table(frame, raises, &[b"ERR ", text.as_bytes()].concat()),
    }
}

/// Answers or raises an error table that no command has answered.
fn error_table(frame: &mut Frame, raise: bool, text: &[u8]) -> Outcome {
    frame.answer(raise, |lua| {
        convert::field(lua, "err", |lua| lua.string(text));
    })
}

/// `redis.error_reply`: the text, with `ERR` in front unless it has a code.
fn error_reply(frame: &mut Frame) -> Outcome {
    let text = match one_string(frame) {
        Some(text) => {
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = text.strip_prefix(b"-").unwrap_or(text).trim_ascii_end();
            let code: &[u8] = if text.contains(&b' ') { b"" } else { b"ERR " };
            [code, text].concat()
        }
        None => WRONG_REPLY.to_vec(),
    };
    error_table(frame, false, &text)
}

fn status_reply(frame: &mut Frame) -> Outcome {
    match one_string(frame).map(<[u8]>::to_vec) {
        Some(text) => frame.answer(false, |lua| {
            convert::field(lua, "ok", |lua| lua.string(&text));
        }),
        None => error_table(frame, false, WRONG_REPLY),
    }
}

const WRONG_REPLY: &[u8] = b"ERR wrong number or type of arguments";

/// The only argument, if it is a string.
fn one_string(frame: &Frame) -> Option<&[u8]> {
    match (frame.arguments().next(), frame.count()) {
        (Some(Seen::String(text)), 1) => Some(text),
        _ => None,
    }
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

fn log(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<()> {
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
    shared.host.host(|host| host.log(level as u8, &line));
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

fn setresp(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<()> {
    let [value] = values else {
        return Err(refuse("redis.setresp() requires one argument."));
    };
    match number(lua, Some(value)).unwrap_or(0.0) as i64 {
        protocol @ (2 | 3) => shared.resp3.store(protocol == 3, Ordering::Relaxed),
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

fn acl_check(shared: &Shared, frame: &mut Frame) -> Outcome {
    let allowed = with_command(frame, false, |argv| {
        shared.host.host(|host| host.allowed(argv)).flatten()
    });
    let refusal = match allowed {
        Ok(Some(allowed)) => return frame.scalar(Seen::Boolean(allowed)),
        Ok(None) => "Invalid command passed to redis.acl_check_cmd()",
        Err(text) => text,
    };
    error_table(frame, true, &[b"ERR ", refusal.as_bytes()].concat())
}

/// The table `redis` of a library that is being loaded.
pub(crate) fn loading(lua: &Lua, shared: &Arc<Shared>) -> Result<Table> {
    let table = lua.create_table()?;
    let own = Arc::clone(shared);
    table.raw_set(
        "register_function",
        lua.create_function(move |lua, values: Variadic<Value>| {
            functions::register(lua, &own, &values)
        })?,
    )?;
    log_and_version(lua, shared, &table)?;
    Ok(table)
}

/// What the tables `redis` of all have in common.
fn log_and_version(lua: &Lua, shared: &Arc<Shared>, table: &Table) -> Result<()> {
    let own = Arc::clone(shared);
    table.raw_set(
        "log",
        lua.create_function(move |lua, values: Variadic<Value>| log(lua, &own, &values))?,
    )?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REDIS_VERSION_NUM", 0x0007_000f),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("REDIS_VERSION", "7.0.15")
}

/// The table, whose functions act on the host in `shared`.
pub(crate) fn redis(lua: &Lua, kind: Kind, shared: &Arc<Shared>) -> Result<Table> {
    let table = lua.create_table()?;
    log_and_version(lua, shared, &table)?;
    for (name, raises) in [("call", true), ("pcall", false)] {
        let shared = Arc::clone(shared);
        let function = native::function(lua, move |frame| call(&shared, frame, raises))?;
        table.raw_set(name, function)?;
    }
    let own = Arc::clone(shared);
    table.raw_set(
        "acl_check_cmd",
        native::function(lua, move |frame| acl_check(&own, frame))?,
    )?;
    table.raw_set("error_reply", native::function(lua, error_reply)?)?;
    table.raw_set("status_reply", native::function(lua, status_reply)?)?;
    let own = Arc::clone(shared);
    table.raw_set(
        "setresp",
        lua.create_function(move |lua, values: Variadic<Value>| setresp(lua, &own, &values))?,
    )?;
    table.raw_set(
        "sha1hex",
        lua.create_function(|lua, values: Variadic<Value>| sha1hex(lua, &values))?,
    )?;
    table.raw_set(
        "set_repl",
        lua.create_function(|lua, values: Variadic<Value>| set_repl(lua, &values))?,
    )?;
    if kind == Kind::Scripts {
        table.raw_set(
            "replicate_commands",
            lua.create_function(|_, _: MultiValue| Ok(true))?,
        )?;
        table.raw_set(
            "breakpoint",
            lua.create_function(|_, _: MultiValue| Ok(false))?,
        )?;
        table.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    }
    for (name, value) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ] {
        table.raw_set(name, value)?;
    }
    Ok(table)
}
