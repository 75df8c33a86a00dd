//! Lua values to JSON text.

use mlua::{Lua, Result, Table, Value};

use super::super::library::Shared;
use super::super::number::format_g;
use super::super::raise;
use super::{Invalid, STACK_DEPTH, STEPS, Settings};

/// The JSON text of a value; the error is lua-cjson's.
pub(super) fn encode(
    lua: &Lua,
    run: &Shared,
    settings: Settings,
    value: &Value,
) -> Result<Vec<u8>> {
    let mut encoder = Encoder {
        lua,
        run,
        settings,
        out: Vec::with_capacity(64),
    };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    lua: &'a Lua,
    run: &'a Shared,
    settings: Settings,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn refuse(&self, value: &Value, reason: &str) -> mlua::Error {
        let name = raise::type_name(Some(value));
        raise::error(self.lua, format!("Cannot serialise {name}: {reason}"))
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        self.run.spend(STEPS)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => {
                self.out.extend_from_slice(b"null");
            }
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => {
                let depth = depth + 1;
                if depth > self.settings.encode_depth || depth > STACK_DEPTH {
                    let text = format!("Cannot serialise, excessive nesting ({depth})");
                    return Err(raise::error(self.lua, text));
                }
                match self.array_length(table, value)? {
                    0 => self.object(table, depth)?,
                    length => self.array(table, length, depth)?,
                }
            }
            _ => return Err(self.refuse(value, "type not supported")),
        }
        Ok(())
    }

    /// The largest index when all keys are whole numbers from 1 and they are
    /// dense enough; 0 for what becomes an object.
    fn array_length(&self, table: &Table, value: &Value) -> Result<i64> {
        let length = table.raw_len();
        if length == 0 && table.is_empty() {
            return Ok(0);
        }
        let (mut largest, mut items) = (0_i64, 0_i64);
        for pair in table.pairs::<Value, Value>() {
            self.run.spend(STEPS)?;
            match pair?.0 {
                Value::Integer(key) if (1..=i64::from(i32::MAX)).contains(&key) => {
                    largest = largest.max(key);
                }
                _ => return Ok(0),
            }
            items += 1;
        }
        let Settings {
            sparse_convert,
            sparse_ratio,
            sparse_safe,
            ..
        } = self.settings;
        if sparse_ratio > 0 && largest > items.saturating_mul(sparse_ratio) && largest > sparse_safe
        {
            if !sparse_convert {
                return Err(self.refuse(value, "excessively sparse array"));
            }
            return Ok(0);
        }
        Ok(largest)
    }

    fn array(&mut self, table: &Table, length: i64, depth: usize) -> Result<()> {
        self.out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get(index)?, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: usize) -> Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !first {
                self.out.push(b',');
            }
            first = false;
            match &key {
                Value::String(text) => self.string(&text.as_bytes())?,
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.number(&key)?;
                    self.out.push(b'"');
                }
                _ => return Err(self.refuse(&key, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<()> {
        let number = match value {
            // Short enough for any precision: no rounding to think of.
            Value::Integer(integer)
                if integer.unsigned_abs() < 10_u64.pow(self.settings.precision as u32) =>
            {
                self.out
                    .extend_from_slice(itoa::Buffer::new().format(*integer).as_bytes());
                return Ok(());
            }
            Value::Integer(integer) => *integer as f64,
            Value::Number(number) => *number,
            _ => 0.0,
        };
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refuse => return Err(self.refuse(value, "must not be NaN or Inf")),
                Invalid::Write if number.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::Write => {}
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
            }
        }
        self.out
            .extend_from_slice(format_g(number, self.settings.precision).as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<()> {
        self.run.spend(text.len())?;
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'/' => b"\\/",
                8 => b"\\b",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                12 => b"\\f",
                b'\r' => b"\\r",
                0..32 | 127 => b"",
                _ => continue,
            };
            self.out
                .extend_from_slice(text.get(plain..at).unwrap_or_default());
            plain = at + 1;
            if escape.is_empty() {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                self.out
                    .extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            } else {
                self.out.extend_from_slice(escape);
            }
        }
        self.out
            .extend_from_slice(text.get(plain..).unwrap_or_default());
        self.out.push(b'"');
        Ok(())
    }
}
