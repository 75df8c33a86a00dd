//! BITFIELD: integers of 1 to 64 bits at any bit of a string.
//!
//! All operations are read before the first runs, so an error changes nothing.
//! One field lies in at most nine bytes: it is read into, and written from, a
//! 128-bit window on them. A write first grows the string to the farthest bit
//! that any of the operations writes, as Redis does even where an overflow then
//! forbids the write.

use smallvec::SmallVec;

use super::Ctx;
use super::args::{at, int, is, parse_i64};
use super::bitmap::bit_offset;
use super::spec::{Acl, CommandSpec, Flags, ONE_KEY, Outcome};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::Reply;

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("bitfield", -2, bitfield)
        .writes(ONE_KEY, Acl::BITMAP)
        .denyoom()
        .flags(Flags::YIELDS)
        .since("3.2.0"),
    CommandSpec::new("bitfield_ro", -2, bitfield_ro)
        .reads(ONE_KEY, Acl::BITMAP)
        .fast()
        .since("6.0.0"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    signed: bool,
    bits: u32,
    offset: usize,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

type Operations = SmallVec<[(Field, Action); 4]>;

/// The type `i1` to `i64` or `u1` to `u63`.
fn field_type(text: &[u8]) -> Result<(bool, u32), CommandError> {
    let parsed = match text {
        [b'i', bits @ ..] => parse_i64(bits).filter(|bits| (1..=64).contains(bits)),
        [b'u', bits @ ..] => parse_i64(bits).filter(|bits| (1..=63).contains(bits)),
        _ => None,
    };
    parsed
        .map(|bits| (text.first() == Some(&b'i'), bits as u32))
        .ok_or(CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. \
         Note that u64 is not supported but i64 is.",
        ))
}

fn parse(db: &Db, args: &[&[u8]]) -> Result<Operations, CommandError> {
    let mut operations = Operations::new();
    let mut overflow = Overflow::Wrap;
    let mut next = 0;
    while let Some(name) = args.get(next) {
        // The arguments after the name; too few of them are a syntax error.
        let takes = if is(name, "GET") {
            2
        } else if is(name, "SET") || is(name, "INCRBY") {
            3
        } else if is(name, "OVERFLOW") {
            1
        } else {
            return Err(CommandError::Syntax);
        };
        let rest = args
            .get(next + 1..next + 1 + takes)
            .ok_or(CommandError::Syntax)?;
        next += 1 + takes;
        if takes == 1 {
            overflow = overflow_type(at(rest, 0)?)?;
            continue;
        }
        let (signed, bits) = field_type(at(rest, 0)?)?;
        let offset = bit_offset(db, at(rest, 1)?, Some(bits))?;
        let action = match rest.get(2) {
            None => Action::Get,
            Some(value) if is(name, "SET") => Action::Set(int(value)?, overflow),
            Some(value) => Action::Add(int(value)?, overflow),
        };
        operations.push((
            Field {
                signed,
                bits,
                offset,
            },
            action,
        ));
    }
    Ok(operations)
}

fn overflow_type(name: &[u8]) -> Result<Overflow, CommandError> {
    if is(name, "WRAP") {
        Ok(Overflow::Wrap)
    } else if is(name, "SAT") {
        Ok(Overflow::Saturate)
    } else if is(name, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::text("ERR Invalid OVERFLOW type specified"))
    }
}

/// The bytes that a field may touch.
const WINDOW: usize = 9;

impl Field {
    fn first_byte(self) -> usize {
        self.offset >> 3
    }

    /// Index of the last byte that it touches.
    fn last_byte(self) -> usize {
        (self.offset + self.bits as usize - 1) >> 3
    }

    /// How far its lowest bit is from the window's.
    fn shift(self) -> u32 {
        u128::BITS - (self.offset & 7) as u32 - self.bits
    }

    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    /// The bytes at it, zeros after the end of the string.
    fn window(self, text: &[u8]) -> u128 {
        let mut window = [0; 16];
        let bytes = text.get(self.first_byte()..).unwrap_or_default();
        for (slot, byte) in window.iter_mut().zip(bytes.iter().take(WINDOW)) {
            *slot = *byte;
        }
        u128::from_be_bytes(window)
    }

    /// Its raw bits as a value of its type.
    fn interpret(self, raw: u128) -> i128 {
        let raw = (raw & self.mask()) as i128;
        if self.signed && raw >> (self.bits - 1) != 0 {
            raw - (1 << self.bits)
        } else {
            raw
        }
    }

    fn read(self, window: u128) -> i128 {
        self.interpret(window >> self.shift())
    }

    /// The window with `value` in the field.
    fn write(self, window: u128, value: i128) -> u128 {
        let mask = self.mask() << self.shift();
        window & !mask | ((value as u128) << self.shift()) & mask
    }

    /// Its greatest value.
    fn max(self) -> i128 {
        (1 << (self.bits - u32::from(self.signed))) - 1
    }

    /// `value` brought into its range; `None` where that is refused.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i128> {
        let max = self.max();
        let min = if self.signed { -max - 1 } else { 0 };
        if (min..=max).contains(&value) {
            return Some(value);
        }
        match overflow {
            Overflow::Wrap => Some(self.interpret(value as u128)),
            Overflow::Saturate => Some(value.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

fn bitfield(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx.db, argv, false)
}

fn bitfield_ro(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx.db, argv, true)
}

fn run(db: &mut Db, argv: &[&[u8]], read_only: bool) -> Outcome {
    let key = argv[1];
    let operations = parse(db, &argv[2..])?;
    let farthest = operations
        .iter()
        .filter(|(_, action)| !matches!(action, Action::Get))
        .map(|(field, _)| field.last_byte())
        .max();
    let Some(farthest) = farthest else {
        let read = |text: &[u8]| {
            let replies = operations
                .iter()
                .map(|(field, _)| Reply::Int(field.read(field.window(text)) as i64));
            Reply::Array(replies.collect())
        };
        return Ok(match db.get_str(key)? {
            Some(text) => text.with(read),
            None => read(&[]),
        });
    };
    if read_only {
        return Err(CommandError::text(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    let dirty = db.dirty;
    if db.peek_str(key)?.is_none_or(|text| text.len() <= farthest) {
        db.splice(key, farthest, &[0]);
    }
    let mut replies = Vec::with_capacity(operations.len());
    let mut wrote = false;
    for (field, action) in operations {
        let reply = execute(db, key, field, action)?;
        wrote |= !matches!(action, Action::Get) && reply != Reply::Null;
        replies.push(reply);
    }
    // A string that only grew for what then failed is no event, as in Redis.
    if wrote && db.dirty != dirty {
        db.notify(Event::String, "setbit", key);
    }
    Ok(Reply::Array(replies))
}

fn execute(db: &mut Db, key: &[u8], field: Field, action: Action) -> Outcome {
    let window = db
        .peek_str(key)?
        .map_or(0, |text| text.with(|text| field.window(text)));
    let old = field.read(window);
    let (new, overflow) = match action {
        Action::Get => return Ok(Reply::Int(old as i64)),
        // Redis computes the distance to the greatest value in 64 bits; where
        // that overflows, what is far too low saturates upwards.
        Action::Set(value, Overflow::Saturate)
            if field.signed
                && field.bits < 64
                && field.max() - i128::from(value) > i128::from(i64::MAX) =>
        {
            (field.max(), Overflow::Saturate)
        }
        // A negative number is a huge one where the field has no sign.
        Action::Set(value, overflow) if !field.signed => {
            (i128::from(value.cast_unsigned()), overflow)
        }
        Action::Set(value, overflow) => (i128::from(value), overflow),
        Action::Add(delta, overflow) => (old + i128::from(delta), overflow),
    };
    let Some(new) = field.fit(new, overflow) else {
        return Ok(Reply::Null);
    };
    if new != old {
        let bytes = field.write(window, new).to_be_bytes();
        let touched = field.last_byte() + 1 - field.first_byte();
        db.splice(
            key,
            field.first_byte(),
            bytes.get(..touched).unwrap_or_default(),
        );
    }
    Ok(Reply::Int(if matches!(action, Action::Set(..)) {
        old
    } else {
        new
    } as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_changes_no_bit_beside_it() {
        for bits in 1..=64 {
            for offset in 0..16 {
                let field = Field {
                    signed: true,
                    bits,
                    offset,
                };
                for text in [[0x00; 16], [0xff; 16], [0xa5; 16]] {
                    let window = field.window(&text);
                    for value in [0, -1, 1, i128::from(i64::MIN), 0x5555_5555] {
                        let value = field.interpret(value as u128);
                        let written = field.write(window, value);
                        assert_eq!(field.read(written), value, "{field:?}");
                        let beside = !(field.mask() << field.shift());
                        assert_eq!(written & beside, window & beside, "{field:?}");
                    }
                }
            }
        }
    }
}
