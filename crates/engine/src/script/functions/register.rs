//! `redis.register_function`, which the code of a library calls while it loads.

use mlua::{Lua, Result, Table, Value};

use super::super::library::{Shared, refuse};
use super::super::shebang::Flags;
use super::{BAD_NAME, Function, is_name};

/// The functions that the library being loaded has registered so far.
#[derive(Debug, Default)]
pub(crate) struct Registering(Vec<Function>);

impl Registering {
    pub(crate) fn into_functions(self) -> Vec<Function> {
        self.0
    }
}

/// What the arguments of one call say.
#[derive(Default)]
struct Arguments {
    name: Option<Vec<u8>>,
    callback: Option<mlua::Function>,
    description: Option<Vec<u8>>,
    flags: Flags,
}

/// `redis.register_function`, by position or by a table of named arguments.
pub(crate) fn register(lua: &Lua, shared: &Shared, values: &[Value]) -> Result<()> {
    if shared.registering.lock().is_none() {
        return Err(refuse(
            "redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let arguments = match values {
        [Value::Table(named)] => by_name(lua, named)?,
        [_] => {
            return Err(refuse(
                "calling redis.register_function with a single argument is only applicable to \
                 Lua table (representing named arguments).",
            ));
        }
        [name, callback] => by_position(lua, name, callback)?,
        _ => {
            return Err(refuse(
                "wrong number of arguments to redis.register_function",
            ));
        }
    };
    let Some(name) = arguments.name else {
        return Err(refuse(
            "redis.register_function must get a function name argument",
        ));
    };
    let Some(callback) = arguments.callback else {
        return Err(refuse(
            "redis.register_function must get a callback argument",
        ));
    };
    if !is_name(&name) {
        return Err(refuse(BAD_NAME));
    }
    let callback = lua.create_registry_value(callback)?;
    let mut registering = shared.registering.lock();
    let Some(Registering(functions)) = &mut *registering else {
        return Ok(());
    };
    if functions.iter().any(|function| *function.name == *name) {
        return Err(refuse("Function already exists in the library"));
    }
    functions.push(Function {
        name: name.into(),
        description: arguments.description.map(Into::into),
        flags: arguments.flags,
        callback,
    });
    Ok(())
}

fn by_position(lua: &Lua, name: &Value, callback: &Value) -> Result<Arguments> {
    let name = text(lua, name)?
        .ok_or_else(|| refuse("first argument to redis.register_function must be a string"))?;
    let Value::Function(callback) = callback else {
        return Err(refuse(
            "second argument to redis.register_function must be a function",
        ));
    };
    Ok(Arguments {
        name: Some(name),
        callback: Some(callback.clone()),
        ..Arguments::default()
    })
}

fn by_name(lua: &Lua, named: &Table) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = text(lua, &key)?.ok_or_else(|| {
            refuse("named argument key given to redis.register_function is not a string")
        })?;
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        if is("function_name") {
            let name = text(lua, &value)?.ok_or_else(|| {
                refuse("function_name argument given to redis.register_function must be a string")
            })?;
            arguments.name = Some(name);
        } else if is("description") {
            let description = text(lua, &value)?.ok_or_else(|| {
                refuse("description argument given to redis.register_function must be a string")
            })?;
            arguments.description = Some(description);
        } else if is("callback") {
            let Value::Function(callback) = value else {
                return Err(refuse(
                    "callback argument given to redis.register_function must be a function",
                ));
            };
            arguments.callback = Some(callback);
        } else if is("flags") {
            let Value::Table(names) = value else {
                return Err(refuse(
                    "flags argument to redis.register_function must be a table representing \
                     function flags",
                ));
            };
            arguments.flags = flags(lua, &names)?;
        } else {
            return Err(refuse("unknown argument given to redis.register_function"));
        }
    }
    Ok(arguments)
}

/// The flags that the items of a table name.
fn flags(lua: &Lua, names: &Table) -> Result<Flags> {
    let mut flags = Flags::default();
    for index in 1.. {
        let name: Value = names.raw_get(index)?;
        if name.is_nil() {
            break;
        }
        let flag = text(lua, &name)?.and_then(|name| Flags::of_function(&name));
        flags = flags.and(flag.ok_or_else(|| refuse("unknown flag given"))?);
    }
    Ok(flags)
}

/// The bytes of a string or a number.
fn text(lua: &Lua, value: &Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        Value::Integer(_) | Value::Number(_) => {
            let text = lua.coerce_string(value.clone())?;
            Ok(text.map(|text| text.as_bytes().to_vec()))
        }
        _ => Ok(None),
    }
}
