//! How a library function written in Rust fails the way one written in C does.
//!
//! A C function raises any Lua value; a Rust callback can only return an
//! [`mlua::Error`], which Lua code sees as a userdata. So a callback returns a
//! [`Raise`] and every place where a script can catch an error (`pcall`,
//! `xpcall`, `coroutine.resume`, the end of the run) turns it back into the
//! string or the table that Redis would have raised: see [`shown`]. Where the
//! text begins with a position, it is taken when the error is raised, since the
//! frame is gone by the time it is caught. Raising costs a few microseconds;
//! what does not fail pays nothing.

use mlua::{Lua, LuaString, Result, Value};

/// An error value on its way from a Rust callback to whoever catches it.
#[derive(Debug)]
pub(crate) enum Raise {
    /// A string, complete with its position.
    Text(Vec<u8>),
    /// A table with the field `err`.
    Reply(Vec<u8>),
    /// The end of the run, which no script may catch.
    Killed(Vec<u8>),
}

impl std::fmt::Display for Raise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Raise::Text(text) | Raise::Reply(text) | Raise::Killed(text)) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raise {}

impl From<Raise> for mlua::Error {
    fn from(raise: Raise) -> Self {
        mlua::Error::external(raise)
    }
}

/// The error of a killed run, in Redis' words.
pub(crate) fn killed() -> mlua::Error {
    Raise::Killed(b"ERR Script killed by user with SCRIPT KILL...".to_vec()).into()
}

/// A string error with the position of the caller in front, as `luaL_error`.
#[cold]
#[inline(never)]
pub(crate) fn error(lua: &Lua, text: impl AsRef<[u8]>) -> mlua::Error {
    let mut full = lua
        .inspect_stack(1, |frame| {
            let line = frame.current_line()?;
            let source = frame.source();
            Some(format!("{}:{line}: ", source.short_src?).into_bytes())
        })
        .flatten()
        .unwrap_or_default();
    full.extend_from_slice(text.as_ref());
    Raise::Text(full).into()
}

/// `bad argument #n to 'name' (what)`, as `luaL_argerror`.
#[cold]
#[inline(never)]
pub(crate) fn bad_argument(lua: &Lua, number: usize, what: impl AsRef<[u8]>) -> mlua::Error {
    let (name, method) = lua
        .inspect_stack(0, |frame| {
            let names = frame.names();
            let name = names
                .name
                .map_or_else(|| "?".to_owned(), std::borrow::Cow::into_owned);
            (name, names.name_what == Some("method"))
        })
        .unwrap_or_else(|| ("?".to_owned(), false));
    let mut text = match (method, number) {
        (true, 1) => format!("calling '{name}' on bad self (").into_bytes(),
        (true, n) => format!("bad argument #{} to '{name}' (", n - 1).into_bytes(),
        (false, n) => format!("bad argument #{n} to '{name}' (").into_bytes(),
    };
    text.extend_from_slice(what.as_ref());
    text.push(b')');
    error(lua, text)
}

/// The type's name as Lua's own messages give it.
pub(crate) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Nil) => "nil",
        Some(Value::Boolean(_)) => "boolean",
        Some(Value::Integer(_) | Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Table(_)) => "table",
        Some(Value::Function(_)) => "function",
        Some(Value::Thread(_)) => "thread",
        Some(_) => "userdata",
    }
}

/// The arguments of one call, read as `luaL_check*` reads them; numbers count
/// from 1, as the messages do.
pub(crate) struct Arguments<'a> {
    lua: &'a Lua,
    values: &'a [Value],
    nil_follows: bool,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(lua: &'a Lua, values: &'a [Value]) -> Self {
        Arguments {
            lua,
            values,
            nil_follows: false,
        }
    }

    /// The same arguments with a nil after the last, which messages then name.
    pub(crate) fn ending_in_nil(self) -> Self {
        Arguments {
            nil_follows: !self.values.is_empty(),
            ..self
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&'a Value> {
        self.values.get(number.wrapping_sub(1))
    }

    /// Whether the argument is absent or nil.
    pub(crate) fn is_none(&self, number: usize) -> bool {
        matches!(self.get(number), None | Some(Value::Nil))
    }

    fn mismatch(&self, number: usize, expected: &str) -> mlua::Error {
        let found = match self.get(number) {
            None if self.nil_follows => "nil",
            value => type_name(value),
        };
        bad_argument(
            self.lua,
            number,
            format!("{expected} expected, got {found}"),
        )
    }

    pub(crate) fn number(&self, number: usize) -> Result<f64> {
        match self.get(number) {
            Some(Value::Integer(value)) => Ok(*value as f64),
            Some(Value::Number(value)) => Ok(*value),
            Some(Value::String(text)) => self
                .lua
                .coerce_number(Value::String(text.clone()))?
                .ok_or_else(|| self.mismatch(number, "number")),
            _ => Err(self.mismatch(number, "number")),
        }
    }

    pub(crate) fn integer(&self, number: usize) -> Result<i64> {
        self.number(number).map(|value| value as i64)
    }

    pub(crate) fn integer_or(&self, number: usize, default: i64) -> Result<i64> {
        if self.is_none(number) {
            Ok(default)
        } else {
            self.integer(number)
        }
    }

    pub(crate) fn string(&self, number: usize) -> Result<LuaString> {
        match self.get(number) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => self
                .lua
                .coerce_string(value.clone())?
                .ok_or_else(|| self.mismatch(number, "string")),
            _ => Err(self.mismatch(number, "string")),
        }
    }

    pub(crate) fn require(&self, met: bool, number: usize, what: &str) -> Result<()> {
        if met {
            Ok(())
        } else {
            Err(bad_argument(self.lua, number, what))
        }
    }
}

/// The table `{err = text}` that stands for an error reply inside Lua.
pub(crate) fn error_table(lua: &Lua, text: &[u8]) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// What a script sees of an error value: a [`Raise`] becomes its string or its
/// table, anything that is not ours stays what it was, and so does a kill.
pub(crate) fn shown(lua: &Lua, value: Value) -> Result<Value> {
    let Value::Error(error) = value else {
        return Ok(value);
    };
    if let mlua::Error::MemoryError(_) = innermost(&error) {
        return lua.create_string("not enough memory").map(Value::String);
    }
    match error.downcast_ref::<Raise>() {
        Some(Raise::Text(text)) => lua.create_string(text).map(Value::String),
        Some(Raise::Reply(text)) => error_table(lua, text),
        Some(Raise::Killed(_)) => Ok(Value::Error(error)),
        None => lua
            .create_string(innermost(&error).to_string())
            .map(Value::String),
    }
}

/// The error below the wrappers that each callback on the way put around it.
pub(crate) fn innermost(mut error: &mlua::Error) -> &mlua::Error {
    while let mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } =
        error
    {
        error = cause;
    }
    error
}
