//! A key with its value as bytes (docs/journal.md), for snapshots and for
//! frames of latest values.
//!
//! What comes back has the same `OBJECT ENCODING`, deadline and time of the
//! last access. A hash table's order is not kept: it hangs on the process.
//!
//! Bytes come from a disk and are believed in nothing: reading them ends in a
//! record or in [`Malformed`]. Everything is checked against the input before
//! anything is allocated, so what a record takes is at most some sixty times
//! its bytes (a slot of a table for a member of one byte takes twenty, a consumer
//! of a stream with a name of one byte forty, a field of a byte with a deadline,
//! which has an index, sixty), and one allocation of the right size for each
//! table and buffer.

use crate::expiry::NEVER;
use crate::keyspace::{Key, Record};
use crate::value::{
    Collection, EMBEDDED, Hash, LATEST_FIELD_DEADLINE, List, Member, Set, StoredField, Value, ZSet,
    make_raw,
};

mod stream;

const INTEGER: u8 = 1;
const STRING: u8 = 2;
const HASH: u8 = 3;
const SET: u8 = 4;
const SORTED_SET: u8 = 5;
const LIST: u8 = 6;
const STREAM: u8 = 7;

/// Flag: a deadline follows.
const DEADLINE: u8 = 1;
/// Flag: it has left its compact encoding, or is a `raw` string.
const EXPANDED: u8 = 2;
/// Flag: fields of the hash have deadlines.
const TIMED: u8 = 4;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside it.
    #[error("a record ends early")]
    Short,
    /// A length that is longer than need be, or beyond 64 bits.
    #[error("a length is not written as lengths are")]
    Length,
    /// No type has this number.
    #[error("a record has the unknown type {0}")]
    Type(u8),
    /// Flags that have no meaning, or none for this type.
    #[error("a record has the flags {0:#04x}, which its type does not know")]
    Flags(u8),
    /// A deadline that stands for none, or is none where there must be some.
    #[error("a deadline is beyond all time, or missing")]
    Deadline,
    /// A collection without elements.
    #[error("a collection is empty")]
    Empty,
    /// Elements twice, out of order, or of the wrong kind for the encoding.
    #[error("the elements of a collection contradict its encoding")]
    Elements,
}

/// Appends the record's bytes. Cost: a copy of the value; a collection is
/// walked whole.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let (kind, expanded) = match &record.value {
        Value::Int(_) => (INTEGER, false),
        Value::Str(text) => (STRING, text.capacity() > EMBEDDED),
        Value::Hash(hash) => (HASH, !hash.is_compact()),
        Value::Set(set) => (SET, !set.is_compact()),
        Value::ZSet(zset) => (SORTED_SET, !zset.is_compact()),
        Value::List(_) => (LIST, false),
        Value::Stream(_) => (STREAM, false),
    };
    let has_deadline = record.deadline != NEVER;
    let expanded = if expanded { EXPANDED } else { 0 };
    let timed = match &record.value {
        Value::Hash(hash) if hash.has_deadlines() => TIMED,
        _ => 0,
    };
    out.extend_from_slice(&[kind, u8::from(has_deadline) | expanded | timed]);
    out.extend_from_slice(&record.accessed.to_le_bytes());
    if has_deadline {
        out.extend_from_slice(&record.deadline.to_le_bytes());
    }
    push_text(out, &record.key);
    match &record.value {
        Value::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Str(text) => push_text(out, text),
        Value::Hash(hash) => {
            let fields = hash.stored();
            push_length(out, fields.len());
            for (field, value, deadline) in fields {
                push_text(out, field);
                push_text(out, value);
                if timed != 0 {
                    push_number(out, deadline.unwrap_or(0));
                }
            }
        }
        Value::Set(set) => {
            push_length(out, Collection::len(&**set));
            for member in set.iter() {
                push_text(out, &member);
            }
        }
        Value::ZSet(zset) => {
            push_length(out, Collection::len(&**zset));
            for (member, score) in zset.iter() {
                push_text(out, member);
                out.extend_from_slice(&score.to_bits().to_le_bytes());
            }
        }
        Value::List(list) => {
            push_length(out, Collection::len(&**list));
            for element in list.iter() {
                push_text(out, &Member::from(element));
            }
        }
        Value::Stream(value) => stream::encode(value, out),
    }
}

/// The record at the start of `bytes`, which then start behind it.
pub fn decode(bytes: &mut &[u8]) -> Result<Box<Record>, Malformed> {
    let view = View::read(bytes)?;
    let value = match view.body {
        Body::Integer(number) => Value::Int(number),
        Body::String(text) => {
            let mut text = text.to_vec();
            if view.expanded {
                make_raw(&mut text);
            }
            Value::Str(text)
        }
        Body::Hash(pairs) => Hash::build(!view.expanded, pairs)
            .ok_or(Malformed::Elements)?
            .into_value(),
        Body::TimedHash(fields) => Hash::build_timed(!view.expanded, fields)
            .ok_or(Malformed::Elements)?
            .into_value(),
        Body::Set(members) => Set::build(!view.expanded, members)
            .ok_or(Malformed::Elements)?
            .into_value(),
        Body::SortedSet(entries) => ZSet::build(!view.expanded, entries)
            .ok_or(Malformed::Elements)?
            .into_value(),
        Body::List(elements) => List::build(elements).into_value(),
        Body::Stream(view) => view.build().ok_or(Malformed::Elements)?.into_value(),
    };
    Ok(Box::new(Record {
        key: Key::from(view.key),
        value,
        deadline: view.deadline,
        accessed: view.accessed,
    }))
}

/// Moves `bytes` behind the record at their start without making it: whether
/// elements come twice or out of order is not looked at.
pub fn skip(bytes: &mut &[u8]) -> Result<(), Malformed> {
    View::read(bytes).map(drop)
}

/// A record as it stands in the bytes, whole and of a known type.
struct View<'a> {
    key: &'a [u8],
    deadline: u64,
    accessed: u32,
    expanded: bool,
    body: Body<'a>,
}

enum Body<'a> {
    Integer(i64),
    String(&'a [u8]),
    Hash(Elements<'a, Pair>),
    TimedHash(Elements<'a, TimedPair>),
    Set(Elements<'a, Text>),
    SortedSet(Elements<'a, Scored>),
    List(Elements<'a, Text>),
    Stream(stream::View<'a>),
}

impl<'a> View<'a> {
    fn read(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let [kind, flags] = *take(bytes)?;
        let known = match kind {
            INTEGER | LIST | STREAM => DEADLINE,
            HASH => DEADLINE | EXPANDED | TIMED,
            STRING..=SORTED_SET => DEADLINE | EXPANDED,
            _ => return Err(Malformed::Type(kind)),
        };
        if flags & !known != 0 {
            return Err(Malformed::Flags(flags));
        }
        let accessed = u32::from_le_bytes(*take(bytes)?);
        let deadline = if flags & DEADLINE == 0 {
            NEVER
        } else {
            u64::from_le_bytes(*take(bytes)?)
        };
        if flags & DEADLINE != 0 && deadline == NEVER {
            return Err(Malformed::Deadline);
        }
        let key = take_text(bytes)?;
        let body = match kind {
            INTEGER => Body::Integer(i64::from_le_bytes(*take(bytes)?)),
            STRING => Body::String(take_text(bytes)?),
            HASH if flags & TIMED != 0 => {
                let fields = Elements::<TimedPair>::read(bytes)?;
                if fields.clone().all(|(_, _, deadline)| deadline.is_none()) {
                    return Err(Malformed::Deadline);
                }
                Body::TimedHash(fields)
            }
            HASH => Body::Hash(Elements::read(bytes)?),
            SET => Body::Set(Elements::read(bytes)?),
            SORTED_SET => Body::SortedSet(Elements::read(bytes)?),
            LIST => Body::List(Elements::read(bytes)?),
            _ => Body::Stream(stream::View::read(bytes)?),
        };
        Ok(View {
            key,
            deadline,
            accessed,
            expanded: flags & EXPANDED != 0,
            body,
        })
    }
}

/// How an element of a collection stands in bytes.
trait Element {
    type Item<'a>;
    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed>;
}

#[derive(Clone)]
struct Text;
#[derive(Clone)]
struct Pair;
#[derive(Clone)]
struct TimedPair;
#[derive(Clone)]
struct Scored;

impl Element for Text {
    type Item<'a> = &'a [u8];

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
        take_text(bytes)
    }
}

impl Element for Pair {
    type Item<'a> = (&'a [u8], &'a [u8]);

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        Ok((take_text(bytes)?, take_text(bytes)?))
    }
}

impl Element for TimedPair {
    type Item<'a> = StoredField<'a>;

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        let (field, value) = Pair::take(bytes)?;
        let deadline = take_number(bytes)?;
        if deadline > LATEST_FIELD_DEADLINE {
            return Err(Malformed::Deadline);
        }
        Ok((field, value, (deadline != 0).then_some(deadline)))
    }
}

impl Element for Scored {
    type Item<'a> = (&'a [u8], f64);

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        let member = take_text(bytes)?;
        Ok((member, f64::from_bits(u64::from_le_bytes(*take(bytes)?))))
    }
}

/// The elements of a collection, all of which were seen to be whole.
#[derive(Clone)]
struct Elements<'a, E> {
    bytes: &'a [u8],
    left: usize,
    element: std::marker::PhantomData<E>,
}

impl<'a, E: Element> Elements<'a, E> {
    /// Behind their count; `bytes` then start behind them.
    fn read(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        match take_length(bytes)? {
            0 => Err(Malformed::Empty),
            count => Self::read_counted(bytes, count),
        }
    }

    /// The same behind a count that is read, and may be 0.
    fn read_counted(bytes: &mut &'a [u8], count: usize) -> Result<Self, Malformed> {
        let all = *bytes;
        // An element takes a byte at least: a count too high runs into the end.
        for _ in 0..count {
            E::take(bytes)?;
        }
        Ok(Elements {
            bytes: all,
            left: count,
            element: std::marker::PhantomData,
        })
    }
}

impl<'a, E: Element> Iterator for Elements<'a, E> {
    type Item = E::Item<'a>;

    fn next(&mut self) -> Option<E::Item<'a>> {
        self.left = self.left.checked_sub(1)?;
        E::take(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<E: Element> ExactSizeIterator for Elements<'_, E> {}

fn push_length(out: &mut Vec<u8>, length: usize) {
    push_number(out, length as u64);
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_length(out, text.len());
    out.extend_from_slice(text);
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (head, rest) = bytes.split_first_chunk().ok_or(Malformed::Short)?;
    *bytes = rest;
    Ok(head)
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    usize::try_from(take_number(bytes)?).map_err(|_| Malformed::Length)
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = *take(bytes)?;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
            return Err(Malformed::Length);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed::Length)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = take_length(bytes)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Malformed::Short)?;
    *bytes = rest;
    Ok(text)
}

#[cfg(test)]
mod tests;
