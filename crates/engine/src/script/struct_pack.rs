//! `struct` 0.2: packs values into byte strings and back by a format.
//!
//! `>` big endian, `<` little endian, `!n` alignment, `x` padding, `b h l i`
//! signed and `B H L I T` unsigned integers (`in` of n bytes), `f d` floats,
//! `s` a string ended by NUL, `cn` n bytes (`c0`: all when packing, as many as
//! the number before says when unpacking).

use mlua::{Lua, MultiValue, Result, Table, Value, Variadic};

use super::convert;
use super::raise::{self, Arguments};

const MAX_INTEGER: usize = 32;
const MAX_ALIGNMENT: usize = 8;

/// What is left of a format, and the settings its controls have made.
struct Format<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    big_endian: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8]) -> Self {
        // A C string ends at the first NUL.
        let rest = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Format {
            lua,
            rest,
            big_endian: false,
            alignment: 1,
        }
    }

    /// The next option with its size in bytes.
    fn next(&mut self) -> Result<Option<(u8, usize)>> {
        let Some((&option, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > MAX_INTEGER {
                    let text =
                        format!("integral size {size} is larger than limit of {MAX_INTEGER}");
                    return Err(raise::error(self.lua, text));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    fn number(&mut self, default: usize) -> Result<usize> {
        let mut value: Option<usize> = None;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            let next = value.unwrap_or(0) * 10 + usize::from(digit - b'0');
            if next > i32::MAX as usize {
                return Err(raise::error(self.lua, "integral size overflow"));
            }
            value = Some(next);
            self.rest = rest;
        }
        Ok(value.unwrap_or(default))
    }

    /// Padding before an item of `size` bytes at `position`.
    fn padding(&self, position: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.alignment);
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }

    fn control(&mut self, option: u8) -> Result<()> {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let alignment = self.number(MAX_ALIGNMENT)?;
                if !alignment.is_power_of_two() {
                    let text = format!("alignment {alignment} is not a power of 2");
                    return Err(raise::error(self.lua, text));
                }
                self.alignment = alignment;
            }
            other => {
                let mut what = b"invalid format option '".to_vec();
                what.extend_from_slice(&[other, b'\'']);
                return Err(raise::bad_argument(self.lua, 1, what));
            }
        }
        Ok(())
    }
}

/// C's conversion of a double to an unsigned 64-bit integer on x86-64: negative
/// ones wrap, what is too large becomes 0, and NaN the highest bit.
fn unsigned(value: f64) -> u64 {
    if value >= 18_446_744_073_709_551_616.0 {
        0
    } else if value >= 0.0 {
        value as u64
    } else {
        convert::truncate(value) as u64
    }
}

fn pack(lua: &Lua, values: &[Value]) -> Result<Value> {
    // What is missing counts as nil, except the format.
    let arguments = Arguments::new(lua, values).ending_in_nil();
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &text);
    let mut out = Vec::new();
    let mut number = 2;
    while let Some((option, size)) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), option, size), 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = unsigned(arguments.number(number)?);
                let mut bytes = [0; MAX_INTEGER];
                let (low, _) = bytes.split_at_mut(8);
                low.copy_from_slice(&value.to_le_bytes());
                let bytes = bytes.get(..size).unwrap_or_default();
                if format.big_endian {
                    out.extend(bytes.iter().rev());
                } else {
                    out.extend_from_slice(bytes);
                }
                number += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let value = arguments.number(number)? as f32;
                out.extend(if format.big_endian {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                });
                number += 1;
            }
            b'd' => {
                let value = arguments.number(number)?;
                out.extend(if format.big_endian {
                    value.to_be_bytes()
                } else {
                    value.to_le_bytes()
                });
                number += 1;
            }
            b'c' | b's' => {
                let value = arguments.string(number)?;
                let value = value.as_bytes();
                number += 1;
                let size = if size == 0 { value.len() } else { size };
                arguments.require(value.len() >= size, number, "string too short")?;
                out.extend_from_slice(value.get(..size).unwrap_or_default());
                if option == b's' {
                    out.push(0);
                }
            }
            control => format.control(control)?,
        }
    }
    lua.create_string(out).map(Value::String)
}

fn read_integer(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let push = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    let value = if big_endian {
        bytes.iter().fold(0, push)
    } else {
        bytes.iter().rev().fold(0, push)
    };
    if !signed {
        return value as f64;
    }
    // C shifts modulo 64 here, so sizes past 8 have no sign of their own.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
    let value = if value & mask == 0 {
        value
    } else {
        value | mask
    };
    value as i64 as f64
}

fn unpack(lua: &Lua, values: &[Value]) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let data = arguments.string(2)?;
    let data = data.as_bytes();
    let start = arguments.integer_or(3, 1)?;
    arguments.require(start != 0, 3, "offset must be 1 or greater")?;
    // Counted in C's `size_t`: before the start is far behind the end.
    let mut position = start.wrapping_sub(1) as usize;
    let mut format = Format::new(lua, &text);
    let mut results: Vec<Value> = Vec::new();
    let short = || raise::bad_argument(lua, 2, "data string too short");
    while let Some((option, mut size)) = format.next()? {
        position = position.wrapping_add(format.padding(position, option, size));
        let rest = data
            .get(position..)
            .filter(|rest| rest.len() >= size)
            .ok_or_else(short)?;
        let item = rest.get(..size).unwrap_or_default();
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let value = read_integer(item, format.big_endian, option.is_ascii_lowercase());
                results.push(Value::Number(value));
            }
            b'x' => {}
            b'f' => {
                let mut bytes: [u8; 4] = item.try_into().map_err(|_| short())?;
                if format.big_endian {
                    bytes.reverse();
                }
                results.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let mut bytes: [u8; 8] = item.try_into().map_err(|_| short())?;
                if format.big_endian {
                    bytes.reverse();
                }
                results.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let Some(previous) = results
                        .last()
                        .cloned()
                        .and_then(|value| lua.coerce_number(value).ok()?)
                    else {
                        return Err(raise::error(lua, "format 'c0' needs a previous size"));
                    };
                    results.pop();
                    size = unsigned(previous) as usize;
                }
                let item = rest.get(..size).ok_or_else(short)?;
                results.push(Value::String(lua.create_string(item)?));
            }
            b's' => {
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(raise::error(lua, "unfinished string in data"));
                };
                results.push(Value::String(
                    lua.create_string(rest.get(..end).unwrap_or_default())?,
                ));
                size = end + 1;
            }
            control => format.control(control)?,
        }
        position += size;
    }
    results.push(Value::Integer(position.wrapping_add(1) as i64));
    Ok(MultiValue::from_vec(results))
}

fn size(lua: &Lua, values: &[Value]) -> Result<usize> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, &text);
    let mut position = 0;
    while let Some((option, size)) = format.next()? {
        position += format.padding(position, option, size);
        match option {
            b's' => return Err(raise::bad_argument(lua, 1, "option 's' has no fixed size")),
            b'c' if size == 0 => {
                return Err(raise::bad_argument(lua, 1, "option 'c0' has no fixed size"));
            }
            option if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        position += size;
    }
    Ok(position)
}

/// The table `struct`.
pub(crate) fn library(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(
        "pack",
        lua.create_function(|lua, values: Variadic<Value>| pack(lua, &values))?,
    )?;
    table.raw_set(
        "unpack",
        lua.create_function(|lua, values: Variadic<Value>| unpack(lua, &values))?,
    )?;
    table.raw_set(
        "size",
        lua.create_function(|lua, values: Variadic<Value>| size(lua, &values))?,
    )?;
    Ok(table)
}
