//! lua-cjson 2.1.0: JSON for scripts, with its settings and its error texts.
//!
//! Settings belong to the module and outlast a run, as they do in Redis;
//! `cjson.new()` makes a module with settings of its own.

mod decode;
mod encode;

use std::sync::Arc;

use mlua::{LightUserData, Lua, MultiValue, Result, Table, Value, Variadic};
use parking_lot::Mutex;

use super::library;
use super::raise::{self, Arguments};

/// Nesting beyond which both directions give up whatever the settings say, since
/// they recurse: this takes under 1 MB of stack.
const STACK_DEPTH: usize = 1000;

/// What a value costs, in steps of [`library::Shared::spend`].
const STEPS: usize = 32;

/// How numbers that JSON cannot say are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refuse,
    Write,
    Null,
}

/// The settings of one module.
#[derive(Debug, Clone, Copy)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: usize,
    decode_depth: usize,
    precision: usize,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
        }
    }
}

type Shared = Arc<Mutex<Settings>>;

/// Arguments of a setting's function: at most `most`.
fn options<'a>(lua: &'a Lua, values: &'a [Value], most: usize) -> Result<Arguments<'a>> {
    let arguments = Arguments::new(lua, values);
    arguments.require(values.len() <= most, most + 1, "found too many arguments")?;
    Ok(arguments)
}

fn integer(
    arguments: &Arguments<'_>,
    number: usize,
    current: i64,
    low: i64,
    high: i64,
) -> Result<i64> {
    if arguments.is_none(number) {
        return Ok(current);
    }
    let value = i64::from(arguments.integer(number)? as i32);
    let what = format!("expected integer between {low} and {high}");
    arguments.require((low..=high).contains(&value), 1, &what)?;
    Ok(value)
}

/// A choice among `names`, where `true` stands for the second.
fn choice(
    lua: &Lua,
    arguments: &Arguments<'_>,
    number: usize,
    current: usize,
    names: &[&'static str],
) -> Result<usize> {
    match arguments.get(number) {
        None | Some(Value::Nil) => Ok(current),
        Some(Value::Boolean(value)) => Ok(usize::from(*value)),
        Some(_) => {
            let text = arguments.string(number)?;
            let bytes = text.as_bytes();
            names
                .iter()
                .position(|name| name.as_bytes() == &*bytes)
                .ok_or_else(|| {
                    let mut what = b"invalid option '".to_vec();
                    what.extend_from_slice(&bytes);
                    what.push(b'\'');
                    raise::bad_argument(lua, number, what)
                })
        }
    }
}

const SWITCH: [&str; 2] = ["off", "on"];
const INVALID: [&str; 3] = ["off", "on", "null"];

fn sparse_array(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<(bool, i64, i64)> {
    let arguments = options(lua, values, 3)?;
    let mut settings = shared.lock();
    let convert = choice(
        lua,
        &arguments,
        1,
        usize::from(settings.sparse_convert),
        &SWITCH,
    )?;
    settings.sparse_convert = convert == 1;
    settings.sparse_ratio = integer(&arguments, 2, settings.sparse_ratio, 0, i64::from(i32::MAX))?;
    settings.sparse_safe = integer(&arguments, 3, settings.sparse_safe, 0, i64::from(i32::MAX))?;
    Ok((
        settings.sparse_convert,
        settings.sparse_ratio,
        settings.sparse_safe,
    ))
}

fn invalid_numbers(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<Value> {
    let arguments = options(lua, values, 1)?;
    let mut settings = shared.lock();
    let chosen = choice(
        lua,
        &arguments,
        1,
        settings.encode_invalid as usize,
        &INVALID,
    )?;
    settings.encode_invalid = match chosen {
        0 => Invalid::Refuse,
        1 => Invalid::Write,
        _ => Invalid::Null,
    };
    match settings.encode_invalid {
        Invalid::Null => lua.create_string("null").map(Value::String),
        other => Ok(Value::Boolean(other == Invalid::Write)),
    }
}

fn switch(
    lua: &Lua,
    shared: &Shared,
    values: &[Value],
    field: fn(&mut Settings) -> &mut bool,
) -> Result<bool> {
    let arguments = options(lua, values, 1)?;
    let mut settings = shared.lock();
    let field = field(&mut settings);
    *field = choice(lua, &arguments, 1, usize::from(*field), &SWITCH)? == 1;
    Ok(*field)
}

fn level(
    lua: &Lua,
    shared: &Shared,
    values: &[Value],
    high: i64,
    field: fn(&mut Settings) -> &mut usize,
) -> Result<usize> {
    let arguments = options(lua, values, 1)?;
    let mut settings = shared.lock();
    let field = field(&mut settings);
    *field = integer(&arguments, 1, *field as i64, 1, high)? as usize;
    Ok(*field)
}

/// A module with settings of its own.
pub(crate) fn library(lua: &Lua, run: &Arc<library::Shared>) -> Result<Table> {
    let shared = Shared::default();
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    table.raw_set(
        "null",
        Value::LightUserData(LightUserData(std::ptr::null_mut())),
    )?;
    macro_rules! entry {
        ($name:literal, $body:expr) => {{
            let shared = Arc::clone(&shared);
            table.raw_set(
                $name,
                lua.create_function(move |lua: &Lua, values: Variadic<Value>| {
                    $body(lua, &shared, values.as_slice())
                })?,
            )?;
        }};
    }
    const MOST: i64 = i32::MAX as i64;
    let own = Arc::clone(run);
    entry!("encode", |lua, shared: &Shared, values: &[Value]| {
        let arguments = Arguments::new(lua, values);
        arguments.require(values.len() == 1, 1, "expected 1 argument")?;
        let settings = *shared.lock();
        let text = encode::encode(lua, &own, settings, arguments.get(1).unwrap_or(&Value::Nil))?;
        lua.create_string(text)
    });
    let own = Arc::clone(run);
    entry!("decode", |lua, shared: &Shared, values: &[Value]| {
        let arguments = Arguments::new(lua, values);
        arguments.require(values.len() == 1, 1, "expected 1 argument")?;
        let text = arguments.string(1)?;
        let settings = *shared.lock();
        decode::decode(lua, &own, settings, &text.as_bytes())
    });
    entry!("encode_sparse_array", sparse_array);
    entry!("encode_invalid_numbers", invalid_numbers);
    entry!("encode_max_depth", |lua, shared, values| level(
        lua,
        shared,
        values,
        MOST,
        |s| &mut s.encode_depth
    ));
    entry!("decode_max_depth", |lua, shared, values| level(
        lua,
        shared,
        values,
        MOST,
        |s| &mut s.decode_depth
    ));
    entry!("encode_number_precision", |lua, shared, values| level(
        lua,
        shared,
        values,
        14,
        |s| &mut s.precision
    ));
    entry!("encode_keep_buffer", |lua, shared, values| switch(
        lua,
        shared,
        values,
        |s| &mut s.keep_buffer
    ));
    entry!("decode_invalid_numbers", |lua, shared, values| switch(
        lua,
        shared,
        values,
        |s| &mut s.decode_invalid
    ));
    let own = Arc::clone(run);
    table.raw_set(
        "new",
        lua.create_function(move |lua, _: MultiValue| library(lua, &own))?,
    )?;
    Ok(table)
}
