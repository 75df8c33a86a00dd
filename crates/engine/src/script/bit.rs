//! LuaBitOp 1.0.2: bitwise operations on numbers taken modulo 2^32.

use mlua::{Lua, Result, Table, Value, Variadic};

use super::raise::Arguments;

/// The number's low 32 bits, rounded to the nearest even integer as the C
/// library does by adding 2^52 + 2^51.
fn bits(number: f64) -> i32 {
    (number + 6_755_399_441_055_744.0).to_bits() as i32
}

fn fold(lua: &Lua, values: &[Value], op: impl Fn(i32, i32) -> i32) -> Result<i32> {
    let arguments = Arguments::new(lua, values);
    let mut result = bits(arguments.number(1)?);
    for number in 2..=arguments.count() {
        result = op(result, bits(arguments.number(number)?));
    }
    Ok(result)
}

fn shift(lua: &Lua, values: &[Value], op: impl Fn(i32, u32) -> i32) -> Result<i32> {
    let arguments = Arguments::new(lua, values);
    let value = bits(arguments.number(1)?);
    Ok(op(value, bits(arguments.number(2)?) as u32 & 31))
}

fn hexadecimal(lua: &Lua, values: &[Value]) -> Result<String> {
    let arguments = Arguments::new(lua, values);
    let value = bits(arguments.number(1)?);
    let digits = if arguments.count() < 2 {
        8
    } else {
        bits(arguments.number(2)?)
    };
    let full = if digits < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    let keep = digits.unsigned_abs().min(8) as usize;
    Ok(full.get(8 - keep..).unwrap_or_default().to_owned())
}

/// The table `bit`.
pub(crate) fn library(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    macro_rules! entry {
        ($name:literal, $body:expr) => {
            table.raw_set(
                $name,
                lua.create_function(move |lua: &Lua, values: Variadic<Value>| {
                    $body(lua, values.as_slice())
                })?,
            )?;
        };
    }
    entry!("tobit", |lua, values| fold(lua, first(values), |a, _| a));
    entry!("bnot", |lua, values| fold(lua, first(values), |a, _| a)
        .map(|a| !a));
    entry!("bswap", |lua, values| fold(lua, first(values), |a, _| a)
        .map(i32::swap_bytes));
    entry!("band", |lua, values| fold(lua, values, |a, b| a & b));
    entry!("bor", |lua, values| fold(lua, values, |a, b| a | b));
    entry!("bxor", |lua, values| fold(lua, values, |a, b| a ^ b));
    entry!("lshift", |lua, values| shift(lua, values, |a, n| a << n));
    entry!("rshift", |lua, values| shift(
        lua,
        values,
        |a, n| ((a as u32) >> n) as i32
    ));
    entry!("arshift", |lua, values| shift(lua, values, |a, n| a >> n));
    entry!("rol", |lua, values| shift(lua, values, i32::rotate_left));
    entry!("ror", |lua, values| shift(lua, values, i32::rotate_right));
    entry!("tohex", hexadecimal);
    Ok(table)
}

fn first(values: &[Value]) -> &[Value] {
    values.get(..1).unwrap_or_default()
}
