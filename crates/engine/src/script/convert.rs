//! Replies to Lua values and back, as Redis' scripting does.
//!
//! The script's protocol (`redis.setresp`) decides what a command's reply looks
//! like in Lua: with 2, null is `false`, maps are flat and doubles are strings;
//! with 3 the richer shapes arrive as tables of one field that names them.

use std::borrow::Cow;

use super::native::{Reader, Seen, Slot, Writer};
use super::number::format_g;
use crate::reply::Reply;
use crate::value::float;

/// How deep a table may nest in an answer. Redis ends where its Lua stack does;
/// whoever walks the reply recurses on ours.
const MAX_DEPTH: usize = 500;

/// The Lua value of a reply that needs no memory: a number, a boolean or nil.
pub(crate) fn scalar(reply: &Reply, resp3: bool) -> Option<Seen<'static>> {
    match reply {
        Reply::Int(value) => Some(Seen::Number(*value as f64)),
        Reply::Null | Reply::NullArray if resp3 => Some(Seen::Nil),
        Reply::Null | Reply::NullArray => Some(Seen::Boolean(false)),
        Reply::Bool(value) if resp3 => Some(Seen::Boolean(*value)),
        Reply::Bool(value) => Some(Seen::Number((*value).into())),
        _ => None,
    }
}

/// Pushes the Lua value of a reply, to a script that speaks RESP3 or RESP2.
pub(crate) fn to_lua(lua: &mut Writer, reply: &Reply, resp3: bool) {
    if !lua.has_room() {
        return lua.push(Seen::Nil);
    }
    match reply {
        Reply::Int(_) | Reply::Null | Reply::NullArray | Reply::Bool(_) => {
            lua.push(scalar(reply, resp3).unwrap_or(Seen::Nil));
        }
        Reply::Bulk(bytes) => lua.string(bytes),
        Reply::Status(text) => field(lua, "ok", |lua| lua.string(text.as_bytes())),
        Reply::Error(text) => {
            let table = lua.table(0, 2);
            lua.string(text);
            lua.set_field(table, "err");
            lua.push(Seen::Boolean(true));
            lua.set_field(table, "ignore_error_stats_update");
        }
        Reply::Array(items) | Reply::Push(items) | Reply::Many(items) => {
            sequence(lua, items.len(), items, resp3);
        }
        Reply::Bulks(bulks) => {
            let table = lua.table(bulks.len(), 0);
            for (index, text) in bulks.iter().enumerate() {
                if lua.has_room() {
                    lua.string(text);
                } else {
                    lua.push(Seen::Nil);
                }
                lua.set_item(table, index + 1);
            }
        }
        Reply::Set(items) if resp3 => field(lua, "set", |lua| {
            let set = lua.table(0, items.len());
            for item in items {
                to_lua(lua, item, resp3);
                lua.push(Seen::Boolean(true));
                lua.set_pair(set);
            }
        }),
        Reply::Set(items) => sequence(lua, items.len(), items, resp3),
        Reply::Map(pairs) if resp3 => field(lua, "map", |lua| {
            let map = lua.table(0, pairs.len());
            for (key, value) in pairs {
                to_lua(lua, key, resp3);
                to_lua(lua, value, resp3);
                lua.set_pair(map);
            }
        }),
        Reply::Pairs(pairs) if resp3 => {
            let table = lua.table(pairs.len(), 0);
            for (index, (key, value)) in pairs.iter().enumerate() {
                sequence(lua, 2, [key, value], resp3);
                lua.set_item(table, index + 1);
            }
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let items = pairs.iter().flat_map(|(key, value)| [key, value]);
            sequence(lua, pairs.len() * 2, items, resp3);
        }
        Reply::Double(value) if resp3 => {
            field(lua, "double", |lua| lua.push(Seen::Number(*value)));
        }
        Reply::Double(value) => lua.string(format_g(*value, 17).as_bytes()),
        Reply::Decimal(digits) if resp3 => {
            let value = float::parse_f64(digits).unwrap_or_default();
            field(lua, "double", |lua| lua.push(Seen::Number(value)));
        }
        Reply::BigNumber(digits) if resp3 => field(lua, "big_number", |lua| lua.string(digits)),
        Reply::Verbatim(format, text) if resp3 => field(lua, "verbatim_string", |lua| {
            let table = lua.table(0, 2);
            lua.string(format);
            lua.set_field(table, "format");
            lua.string(text);
            lua.set_field(table, "string");
        }),
        Reply::Decimal(text) | Reply::BigNumber(text) | Reply::Verbatim(_, text) => {
            lua.string(text);
        }
    }
}

/// Pushes a table whose one field is what `write` leaves on top.
pub(crate) fn field(lua: &mut Writer, name: &str, write: impl FnOnce(&mut Writer)) {
    let table = lua.table(0, 1);
    write(lua);
    lua.set_field(table, name);
}

fn sequence<'a>(
    lua: &mut Writer,
    length: usize,
    items: impl IntoIterator<Item = &'a Reply>,
    resp3: bool,
) {
    let table = lua.table(length, 0);
    for (index, item) in items.into_iter().enumerate() {
        to_lua(lua, item, resp3);
        lua.set_item(table, index + 1);
    }
}

/// The reply that a script's value is; `resp3` once the script has asked for
/// that protocol.
pub(crate) fn to_reply(lua: &mut Reader, value: Slot, resp3: bool) -> Reply {
    convert(lua, value, resp3, 0)
}

fn convert(lua: &mut Reader, value: Slot, resp3: bool, depth: usize) -> Reply {
    match lua.seen(value) {
        Seen::String(text) => Reply::bulk(text),
        Seen::Number(value) => Reply::Int(truncate(value)),
        Seen::Boolean(value) if resp3 => Reply::Bool(value),
        Seen::Boolean(true) => Reply::Int(1),
        Seen::Table if depth < MAX_DEPTH => table(lua, value, resp3, depth + 1),
        Seen::Table => Reply::error("ERR reached lua stack limit"),
        Seen::Boolean(false) | Seen::Nil | Seen::Other => Reply::Null,
    }
}

fn table(lua: &mut Reader, table: Slot, resp3: bool, depth: usize) -> Reply {
    if !lua.has_room() {
        return Reply::error("ERR reached lua stack limit");
    }
    let length = lua.sequence(table);
    if length.is_none()
        && let Some(reply) = meant(lua, table, resp3, depth)
    {
        return reply;
    }
    let mut items = Vec::with_capacity(length.unwrap_or_default());
    loop {
        let item = lua.item(table, items.len() + 1);
        let is_nil = matches!(lua.seen(item), Seen::Nil);
        if !is_nil {
            items.push(convert(lua, item, resp3, depth));
        }
        lua.pop();
        if is_nil {
            return Reply::Array(items);
        }
    }
}

/// The reply of a table to which one of its fields gives a meaning.
fn meant(lua: &mut Reader, table: Slot, resp3: bool, depth: usize) -> Option<Reply> {
    let fields: [(&str, Meaning); 7] = [
        ("err", |lua, value, _, _| text(lua, value).map(Reply::error)),
        ("ok", |lua, value, _, _| {
            text(lua, value).map(|text| Reply::Status(Cow::Owned(one_line(text))))
        }),
        ("double", |lua, value, _, _| match lua.seen(value) {
            Seen::Number(value) => Some(Reply::Double(value)),
            _ => None,
        }),
        ("map", map),
        ("set", set),
        ("big_number", |lua, value, _, _| {
            text(lua, value).map(|digits| Reply::BigNumber(one_line(digits).into_bytes()))
        }),
        ("verbatim_string", verbatim),
    ];
    fields.into_iter().find_map(|(name, meaning)| {
        let value = lua.field(table, name);
        let reply = meaning(lua, value, resp3, depth);
        lua.pop();
        reply
    })
}

/// The reply that a field's value makes, if it is of the field's type.
type Meaning = fn(&mut Reader, Slot, bool, usize) -> Option<Reply>;

fn map(lua: &mut Reader, value: Slot, resp3: bool, depth: usize) -> Option<Reply> {
    let Seen::Table = lua.seen(value) else {
        return None;
    };
    let mut pairs = Vec::new();
    lua.pairs(value, |lua, key, value| {
        let key = convert(lua, key, resp3, depth);
        pairs.push((key, convert(lua, value, resp3, depth)));
    });
    Some(Reply::Map(pairs))
}

fn set(lua: &mut Reader, value: Slot, resp3: bool, depth: usize) -> Option<Reply> {
    let Seen::Table = lua.seen(value) else {
        return None;
    };
    let mut items = Vec::new();
    lua.pairs(value, |lua, key, _| {
        items.push(convert(lua, key, resp3, depth));
    });
    Some(Reply::Set(items))
}

fn verbatim(lua: &mut Reader, value: Slot, _: bool, _: usize) -> Option<Reply> {
    let (format, string) = (lua.field(value, "format"), lua.field(value, "string"));
    let reply = text(lua, format)
        .zip(text(lua, string))
        .map(|(format, text)| {
            let mut name = *b"   ";
            for (to, from) in name.iter_mut().zip(format) {
                *to = *from;
            }
            Reply::Verbatim(name, text.to_vec())
        });
    lua.pop();
    lua.pop();
    reply
}

fn text(lua: &Reader, value: Slot) -> Option<&[u8]> {
    match lua.seen(value) {
        Seen::String(text) => Some(text),
        _ => None,
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

fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}
