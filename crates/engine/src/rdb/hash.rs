//! Hashes, and those whose fields have deadlines.
//!
//! Such fields are in a form of their own, which begins with the earliest
//! deadline: as a listpack, the fields with deadlines in their order before all
//! others, each with its deadline behind it (0 for none); or each behind its
//! deadline's distance from the earliest, plus one (0 for none).

use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, REDIS_7_0, REDIS_7_4, kind, listpack, pairs, ziplist};
use crate::value::{Collection, Hash, HashLimits, LATEST_FIELD_DEADLINE, Value};

/// Appends the hash behind its type; answers the version that has this type.
pub(super) fn encode(hash: &Hash, out: &mut Writer) -> u16 {
    if hash.has_deadlines() && encode_timed(hash, out) {
        return REDIS_7_4;
    }
    if hash.is_compact() {
        let mut entries = listpack::Builder::new();
        for (field, value) in hash {
            entries.push(field);
            entries.push(value);
        }
        out.raw(&[kind::HASH_LISTPACK]);
        out.string(&entries.finish());
        return REDIS_7_0;
    }
    out.raw(&[kind::HASH]);
    out.length(Collection::len(hash) as u64);
    for (field, value) in hash {
        out.string(field);
        out.string(value);
    }
    REDIS_7_0
}

/// The same for a hash whose fields have deadlines, unless those have that are
/// hidden alone.
fn encode_timed(hash: &Hash, out: &mut Writer) -> bool {
    let mut fields: Vec<(&[u8], &[u8], Option<u64>)> = hash
        .iter()
        .map(|(field, value)| (field, value, hash.deadline(field)))
        .collect();
    fields.sort_by_key(|(_, _, deadline)| deadline.unwrap_or(u64::MAX));
    let Some(earliest) = fields.first().and_then(|(_, _, deadline)| *deadline) else {
        return false;
    };
    if hash.is_compact() {
        let mut entries = listpack::Builder::new();
        for (field, value, deadline) in fields {
            entries.push(field);
            entries.push(value);
            entries.push_integer(deadline.unwrap_or(0) as i64);
        }
        out.raw(&[kind::HASH_LISTPACK_EX]);
        out.raw(&earliest.to_le_bytes());
        out.string(&entries.finish());
        return true;
    }
    out.raw(&[kind::HASH_METADATA]);
    out.raw(&earliest.to_le_bytes());
    out.length(fields.len() as u64);
    for (field, value, deadline) in fields {
        out.length(deadline.map_or(0, |deadline| deadline - earliest + 1));
        out.string(field);
        out.string(value);
    }
    true
}

/// A field with its value, and its deadline if it has one.
type Field<'a> = (Text<'a>, Text<'a>, Option<u64>);

/// The deadline that `at` is, if there may be such a one: 0 stands for none.
fn deadline(at: u64) -> Result<Option<u64>, Malformed> {
    if (1..=LATEST_FIELD_DEADLINE).contains(&at) {
        return Ok(Some(at));
    }
    Err(Malformed)
}

fn lasting<'a>((field, value): (Text<'a>, Text<'a>)) -> Result<Field<'a>, Malformed> {
    Ok((field, value, None))
}

/// Reads a hash of this type.
pub(super) fn decode(
    kind: u8,
    reader: &mut Reader<'_>,
    limits: HashLimits,
) -> Result<Value, Malformed> {
    if kind == kind::HASH {
        // A field and a value take a byte each.
        let count = reader.count(2)?;
        let fields = (0..count).map(|_| lasting((reader.string()?, reader.string()?)));
        return build(fields, limits, limits.max_value);
    }
    let packed = reader.string()?;
    // What was compact stays so whatever the length of its values, as in Redis.
    match kind {
        kind::HASH_ZIPMAP => {
            let fields = ziplist::zipmap(&packed)?.into_iter().map(lasting);
            build(fields, limits, limits.max_value)
        }
        kind::HASH_ZIPLIST => {
            let fields = pairs(ziplist::Entries::open(&packed)?)?.map(lasting);
            build(fields, limits, usize::MAX)
        }
        _ => {
            let fields = pairs(listpack::Entries::open(&packed)?)?.map(lasting);
            build(fields, limits, usize::MAX)
        }
    }
}

/// Reads a hash of this type, which fields with deadlines have.
pub(super) fn decode_timed(
    kind: u8,
    reader: &mut Reader<'_>,
    limits: HashLimits,
) -> Result<Value, Malformed> {
    let earliest = u64::from_le_bytes(reader.array()?);
    if kind == kind::HASH_METADATA {
        let count = reader.count(3)?;
        let fields = (0..count).map(|_| {
            let deadline = match reader.length()?.checked_sub(1) {
                None => None,
                Some(later) => deadline(earliest.checked_add(later).ok_or(Malformed)?)?,
            };
            Ok((reader.string()?, reader.string()?, deadline))
        });
        return build(fields, limits, limits.max_value);
    }
    let packed = reader.string()?;
    let mut entries = listpack::Entries::open(&packed)?;
    if entries.len() % 3 != 0 {
        return Err(Malformed);
    }
    let fields = (0..entries.len() / 3).map(|_| {
        let (field, value) = (entries.text()?, entries.text()?);
        let deadline = match u64::try_from(entries.integer()?).map_err(|_| Malformed)? {
            0 => None,
            at => deadline(at)?,
        };
        Ok((field, value, deadline))
    });
    build(fields, limits, usize::MAX)
}

/// Reads a hash whose fields have deadlines as Valkey writes it: each with its
/// deadline, or -1.
pub(super) fn decode_valkey(
    reader: &mut Reader<'_>,
    limits: HashLimits,
) -> Result<Value, Malformed> {
    let count = reader.count(2 + size_of::<i64>())?;
    let fields = (0..count).map(|_| {
        let (field, value) = (reader.string()?, reader.string()?);
        let deadline = match i64::from_le_bytes(reader.array()?) {
            -1 => None,
            at => deadline(at.cast_unsigned())?,
        };
        Ok((field, value, deadline))
    });
    build(fields, limits, limits.max_value)
}

/// A hash of these fields, compact if the limit on their number allows and none
/// of them is longer than `longest`.
fn build<'a>(
    mut fields: impl ExactSizeIterator<Item = Result<Field<'a>, Malformed>>,
    limits: HashLimits,
    longest: usize,
) -> Result<Value, Malformed> {
    if fields.len() == 0 {
        return Err(Malformed);
    }
    if fields.len() <= limits.max_entries {
        let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
        let compact = fields
            .iter()
            .all(|(field, value, _)| field.len().max(value.len()) <= longest);
        let fields = fields
            .iter()
            .map(|(field, value, deadline)| (&**field, &**value, *deadline));
        return Hash::build_timed(compact, fields)
            .map(Collection::into_value)
            .ok_or(Malformed);
    }
    let mut hash = Hash::default();
    let table = HashLimits {
        max_entries: 0,
        ..limits
    };
    fields.try_for_each(|field| {
        let (field, value, deadline) = field?;
        if !hash.insert(&field, &value, table) {
            return Err(Malformed);
        }
        if deadline.is_some() {
            hash.set_deadline(&field, deadline);
        }
        Ok(())
    })?;
    Ok(hash.into_value())
}
