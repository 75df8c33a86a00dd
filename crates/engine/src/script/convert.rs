//! Replies to Lua values and back, as Redis' scripting does.
//!
//! The script's protocol (`redis.setresp`) decides what a command's reply looks
//! like in Lua: with 2, null is `false`, maps are flat and doubles are strings;
//! with 3 the richer shapes arrive as tables of one field that names them.

use std::borrow::Cow;

use mlua::{Lua, LuaString, Result, Table, Value};

use super::number::format_g;
use super::raise;
use crate::reply::Reply;

/// How deep a table may nest in an answer. Redis ends where its Lua stack does;
/// whoever walks the reply recurses on ours.
const MAX_DEPTH: usize = 500;

/// The Lua value of a reply, to a script that speaks RESP3 or RESP2.
pub(crate) fn to_lua(lua: &Lua, reply: Reply, resp3: bool) -> Result<Value> {
    Ok(match reply {
        Reply::Int(value) => Value::Number(value as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Null | Reply::NullArray if resp3 => Value::Nil,
        Reply::Null | Reply::NullArray => Value::Boolean(false),
        Reply::Status(text) => field(lua, "ok", lua.create_string(text.as_bytes())?)?,
        Reply::Error(text) => raise::reply_table(lua, &text, true)?,
        Reply::Array(items) | Reply::Push(items) | Reply::Many(items) => {
            sequence(lua, items, resp3)?
        }
        Reply::Set(items) if resp3 => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, resp3)?, true)?;
            }
            field(lua, "set", set)?
        }
        Reply::Set(items) => sequence(lua, items, resp3)?,
        Reply::Map(pairs) if resp3 => {
            let map = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                map.raw_set(to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            field(lua, "map", map)?
        }
        Reply::Pairs(pairs) if resp3 => {
            let table = lua.create_table_with_capacity(pairs.len(), 0)?;
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                table.raw_set(index + 1, sequence(lua, vec![key, value], resp3)?)?;
            }
            Value::Table(table)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let table = lua.create_table_with_capacity(pairs.len() * 2, 0)?;
            for (index, item) in pairs
                .into_iter()
                .flat_map(|(key, value)| [key, value])
                .enumerate()
            {
                table.raw_set(index + 1, to_lua(lua, item, resp3)?)?;
            }
            Value::Table(table)
        }
        Reply::Double(value) if resp3 => field(lua, "double", value)?,
        Reply::Double(value) => Value::String(lua.create_string(format_g(value, 17))?),
        Reply::Bool(value) if resp3 => Value::Boolean(value),
        Reply::Bool(value) => Value::Integer(i64::from(value)),
        Reply::BigNumber(digits) if resp3 => field(lua, "big_number", lua.create_string(digits)?)?,
        Reply::Verbatim(format, text) if resp3 => {
            let table = lua.create_table_with_capacity(0, 2)?;
            table.raw_set("format", lua.create_string(format)?)?;
            table.raw_set("string", lua.create_string(text)?)?;
            field(lua, "verbatim_string", table)?
        }
        Reply::BigNumber(text) | Reply::Verbatim(_, text) => {
            Value::String(lua.create_string(text)?)
        }
    })
}

fn field(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn sequence(lua: &Lua, items: Vec<Reply>, resp3: bool) -> Result<Value> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for (index, item) in items.into_iter().enumerate() {
        table.raw_set(index + 1, to_lua(lua, item, resp3)?)?;
    }
    Ok(Value::Table(table))
}

/// The fields that give a table a meaning, made once.
pub(crate) struct Fields {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    map: LuaString,
    set: LuaString,
    big_number: LuaString,
    verbatim: LuaString,
}

impl Fields {
    pub(crate) fn new(lua: &Lua) -> Result<Self> {
        let name = |text: &str| lua.create_string(text);
        Ok(Fields {
            err: name("err")?,
            ok: name("ok")?,
            double: name("double")?,
            map: name("map")?,
            set: name("set")?,
            big_number: name("big_number")?,
            verbatim: name("verbatim_string")?,
        })
    }

    /// The reply that a script's value is; `resp3` once the script has asked for
    /// that protocol.
    pub(crate) fn to_reply(&self, lua: &Lua, value: &Value, resp3: bool) -> Reply {
        self.convert(lua, value, resp3, 0)
            .unwrap_or_else(|error| Reply::error(format!("ERR {error}")))
    }

    fn convert(&self, lua: &Lua, value: &Value, resp3: bool, depth: usize) -> Result<Reply> {
        Ok(match value {
            Value::String(text) => Reply::bulk(text.as_bytes()),
            Value::Integer(value) => Reply::Int(*value),
            Value::Number(value) => Reply::Int(truncate(*value)),
            Value::Boolean(value) if resp3 => Reply::Bool(*value),
            Value::Boolean(true) => Reply::Int(1),
            Value::Table(_) if depth >= MAX_DEPTH => Reply::error("ERR reached lua stack limit"),
            Value::Table(table) => self.table(lua, table, resp3, depth + 1)?,
            _ => Reply::Null,
        })
    }

    fn table(&self, lua: &Lua, table: &Table, resp3: bool, depth: usize) -> Result<Reply> {
        if let Value::String(text) = table.raw_get(&self.err)? {
            return Ok(Reply::error(text.as_bytes()));
        }
        if let Value::String(text) = table.raw_get(&self.ok)? {
            return Ok(Reply::Status(Cow::Owned(one_line(&text))));
        }
        match table.raw_get(&self.double)? {
            Value::Integer(value) => return Ok(Reply::Double(value as f64)),
            Value::Number(value) => return Ok(Reply::Double(value)),
            _ => {}
        }
        if let Value::Table(map) = table.raw_get(&self.map)? {
            let pairs = map.pairs::<Value, Value>().map(|pair| {
                let (key, value) = pair?;
                Ok((
                    self.convert(lua, &key, resp3, depth)?,
                    self.convert(lua, &value, resp3, depth)?,
                ))
            });
            return pairs.collect::<Result<_>>().map(Reply::Map);
        }
        if let Value::Table(set) = table.raw_get(&self.set)? {
            let items = set
                .pairs::<Value, Value>()
                .map(|pair| self.convert(lua, &pair?.0, resp3, depth));
            return items.collect::<Result<_>>().map(Reply::Set);
        }
        if let Value::String(digits) = table.raw_get(&self.big_number)? {
            return Ok(Reply::BigNumber(one_line(&digits).into_bytes()));
        }
        if let Value::Table(verbatim) = table.raw_get(&self.verbatim)?
            && let (Value::String(format), Value::String(text)) =
                (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
        {
            let mut name = *b"   ";
            for (to, from) in name.iter_mut().zip(&*format.as_bytes()) {
                *to = *from;
            }
            return Ok(Reply::Verbatim(name, text.as_bytes().to_vec()));
        }
        let mut items = Vec::with_capacity(table.raw_len());
        for item in table.sequence_values::<Value>() {
            items.push(self.convert(lua, &item?, resp3, depth)?);
        }
        Ok(Reply::Array(items))
    }
}

/// C's conversion of a double to a 64-bit integer on x86-64: what does not fit
/// becomes the smallest.
pub(crate) fn truncate(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

fn one_line(text: &LuaString) -> String {
    text.to_string_lossy().replace(['\r', '\n'], " ")
}
