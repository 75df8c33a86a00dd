//! lua-cmsgpack 0.4.0: MessagePack for scripts.
//!
//! Tables whose keys are exactly 1..n pack as arrays, others as maps; nesting
//! stops at 16 levels, below which tables pack as nil; numbers that are whole
//! pack as integers, others as the shortest float that keeps their value.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Result, Table, Value, Variadic};

use super::library::Shared;
use super::raise::{self, Arguments};

const MAX_PACK_DEPTH: usize = 16;
/// How deep a message may nest; a bound on our own stack.
const MAX_UNPACK_DEPTH: usize = 500;
/// How many values `pack` takes: they stand twice on Lua's stack.
const MOST_PACKED: usize = 4000;
/// How many values a call answers.
const MOST_UNPACKED: usize = 7998;
/// What a value costs, in steps of [`Shared::spend`].
const STEPS: usize = 32;

fn pack_value(value: &Value, depth: usize, shared: &Shared, out: &mut Vec<u8>) -> Result<()> {
    shared.spend(STEPS)?;
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            shared.spend(text.len() / 16)?;
            pack_bytes(&text, out);
        }
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(value) => pack_integer(*value, out),
        Value::Number(value) => pack_number(*value, out),
        Value::Table(table) if depth < MAX_PACK_DEPTH => pack_table(table, depth, shared, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn pack_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = bytes.len();
    match length {
        0..32 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend([0xd9, length as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend((length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

fn pack_integer(value: i64, out: &mut Vec<u8>) {
    match value {
        -32..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend([0xcc, value as u8]),
        0x100..=0xffff => tagged(0xcd, &(value as u16).to_be_bytes(), out),
        0x1_0000..=0xffff_ffff => tagged(0xce, &(value as u32).to_be_bytes(), out),
        0x1_0000_0000.. => tagged(0xcf, &value.to_be_bytes(), out),
        -128..-32 => out.extend([0xd0, value as u8]),
        -0x8000..-128 => tagged(0xd1, &(value as i16).to_be_bytes(), out),
        -0x8000_0000..-0x8000 => tagged(0xd2, &(value as i32).to_be_bytes(), out),
        _ => tagged(0xd3, &value.to_be_bytes(), out),
    }
}

fn pack_number(value: f64, out: &mut Vec<u8>) {
    if value as i64 as f64 == value && value.abs() < 9_223_372_036_854_775_808.0 {
        return pack_integer(value as i64, out);
    }
    let short = value as f32;
    if f64::from(short) == value {
        tagged(0xca, &short.to_be_bytes(), out);
    } else {
        tagged(0xcb, &value.to_be_bytes(), out);
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn pack_header(length: usize, fixed: u8, tag: u8, out: &mut Vec<u8>) {
    match length {
        0..16 => out.push(fixed | length as u8),
        16..=0xffff => tagged(tag, &(length as u16).to_be_bytes(), out),
        _ => tagged(tag + 1, &(length as u32).to_be_bytes(), out),
    }
}

/// Whether the keys are exactly 1..n; with the number of pairs.
fn shape(table: &Table, shared: &Shared) -> Result<(bool, usize)> {
    let (mut count, mut largest, mut array) = (0, 0, true);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        shared.spend(STEPS)?;
        count += 1;
        match key {
            Value::Integer(key) if key > 0 => largest = largest.max(key),
            _ => array = false,
        }
    }
    Ok((array && largest == count, count as usize))
}

fn pack_table(table: &Table, depth: usize, shared: &Shared, out: &mut Vec<u8>) -> Result<()> {
    let (array, count) = shape(table, shared)?;
    if array {
        pack_header(count, 0x90, 0xdc, out);
        for index in 1..=count {
            pack_value(&table.raw_get(index)?, depth + 1, shared, out)?;
        }
    } else {
        pack_header(count, 0x80, 0xde, out);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            pack_value(&key, depth + 1, shared, out)?;
            pack_value(&value, depth + 1, shared, out)?;
        }
    }
    Ok(())
}

fn pack(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<Value> {
    let refusal = match values.len() {
        0 => Some("MessagePack pack needs input."),
        1..=MOST_PACKED => None,
        _ => Some("Too many arguments for MessagePack pack."),
    };
    if let Some(refusal) = refusal {
        return Err(raise::bad_argument(lua, 0, refusal));
    }
    let mut out = Vec::new();
    for value in values {
        pack_value(value, 0, shared, &mut out)?;
    }
    lua.create_string(out).map(Value::String)
}

/// What is wrong with a message.
enum Fault {
    Missing,
    Format,
    TooDeep(&'static str),
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Fault::Lua(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> std::result::Result<&'a [u8], Fault> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Fault::Missing)?;
        self.rest = rest;
        Ok(head)
    }

    fn unsigned(&mut self, bytes: usize) -> std::result::Result<u64, Fault> {
        Ok(self
            .take(bytes)?
            .iter()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn string(&mut self, length: usize) -> std::result::Result<Value, Fault> {
        let bytes = self.take(length)?;
        self.shared.spend(length / 16)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, length: usize, depth: usize) -> std::result::Result<Value, Fault> {
        if depth >= MAX_UNPACK_DEPTH {
            return Err(Fault::TooDeep("array"));
        }
        let table = self.lua.create_table()?;
        for index in 1..=length {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize, depth: usize) -> std::result::Result<Value, Fault> {
        if depth >= MAX_UNPACK_DEPTH {
            return Err(Fault::TooDeep("hash"));
        }
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match &key {
                Value::Nil => {
                    return Err(Fault::Lua(
                        raise::Raise::Text(b"table index is nil".to_vec()).into(),
                    ));
                }
                Value::Number(number) if number.is_nan() => {
                    return Err(Fault::Lua(
                        raise::Raise::Text(b"table index is NaN".to_vec()).into(),
                    ));
                }
                _ => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> std::result::Result<Value, Fault> {
        self.shared.spend(STEPS)?;
        let tag = *self.take(1)?.first().ok_or(Fault::Missing)?;
        Ok(match tag {
            0x00..=0x7f => Value::Integer(i64::from(tag)),
            0xe0..=0xff => Value::Integer(i64::from(tag as i8)),
            0x80..=0x8f => self.map(usize::from(tag & 0x0f), depth)?,
            0x90..=0x9f => self.array(usize::from(tag & 0x0f), depth)?,
            0xa0..=0xbf => self.string(usize::from(tag & 0x1f))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            // Eight bytes come out signed, as they do in Redis.
            0xcc..=0xcf => Value::Integer(self.unsigned(1 << (tag - 0xcc))? as i64),
            0xd0 => Value::Integer(i64::from(self.unsigned(1)? as i8)),
            0xd1 => Value::Integer(i64::from(self.unsigned(2)? as i16)),
            0xd2 => Value::Integer(i64::from(self.unsigned(4)? as i32)),
            0xd3 => Value::Integer(self.unsigned(8)? as i64),
            0xd9..=0xdb => {
                let length = self.unsigned(1 << (tag - 0xd9))?;
                self.string(length as usize)?
            }
            0xdc | 0xdd => {
                let length = self.unsigned(2 << (tag - 0xdc))?;
                self.array(length as usize, depth)?
            }
            0xde | 0xdf => {
                let length = self.unsigned(2 << (tag - 0xde))?;
                self.map(length as usize, depth)?
            }
            _ => return Err(Fault::Format),
        })
    }
}

/// Unpacks up to `limit` objects from `offset`; with both 0 all of them, and no
/// offset in front of the results.
fn unpack(lua: &Lua, shared: &Shared, data: &[u8], limit: i64, offset: i64) -> Result<MultiValue> {
    if limit < 0 || offset < 0 {
        let text = format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            data.len()
        );
        return Err(raise::error(lua, text));
    }
    let Some(rest) = data.get(offset as usize..) else {
        let text = format!(
            "Start offset {offset} greater than input length {}.",
            data.len()
        );
        return Err(raise::error(lua, text));
    };
    let all = limit == 0 && offset == 0;
    let limit = if all { usize::MAX } else { limit as usize };
    let mut reader = Reader { lua, shared, rest };
    let mut results = Vec::new();
    while !reader.rest.is_empty() && results.len() < limit {
        if results.len() >= MOST_UNPACKED {
            let text = "stack overflow (too many return values at once; \
                        use unpack_one or unpack_limit instead.)";
            return Err(raise::error(lua, text));
        }
        let value = reader.value(0).map_err(|fault| match fault {
            Fault::Missing => raise::error(lua, "Missing bytes in input."),
            Fault::Format => raise::error(lua, "Bad data format in input."),
            Fault::TooDeep(kind) => raise::error(
                lua,
                format!("stack overflow (in function mp_decode_to_lua_{kind})"),
            ),
            Fault::Lua(error) => error,
        })?;
        results.push(value);
    }
    if !all {
        let left = reader.rest.len();
        let next = if left == 0 {
            -1
        } else {
            (data.len() - left) as i64
        };
        results.insert(0, Value::Integer(next));
    }
    Ok(MultiValue::from_vec(results))
}

/// The table `cmsgpack`.
pub(crate) fn library(lua: &Lua, shared: &Arc<Shared>) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    macro_rules! entry {
        ($name:literal, $body:expr) => {
            let shared = Arc::clone(shared);
            table.raw_set(
                $name,
                lua.create_function(move |lua: &Lua, values: Variadic<Value>| {
                    $body(lua, &shared, values.as_slice())
                })?,
            )?;
        };
    }
    entry!("pack", pack);
    entry!("unpack", |lua, shared, values| {
        let data = Arguments::new(lua, values).string(1)?;
        unpack(lua, shared, &data.as_bytes(), 0, 0)
    });
    entry!("unpack_one", |lua, shared, values| {
        let arguments = Arguments::new(lua, values);
        let offset = arguments.integer_or(2, 0)?;
        unpack(lua, shared, &arguments.string(1)?.as_bytes(), 1, offset)
    });
    entry!("unpack_limit", |lua, shared, values| {
        let arguments = Arguments::new(lua, values);
        let limit = arguments.integer(2)?;
        let offset = arguments.integer_or(3, 0)?;
        unpack(lua, shared, &arguments.string(1)?.as_bytes(), limit, offset)
    });
    Ok(table)
}
