//! Hashes.

use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, kind, listpack, pairs, ziplist};
use crate::value::{Collection, Hash, HashLimits, Value};

/// Appends the hash behind its type.
pub(super) fn encode(hash: &Hash, out: &mut Writer) {
    if hash.is_compact() {
        let mut entries = listpack::Builder::new();
        for (field, value) in hash {
            entries.push(field);
            entries.push(value);
        }
        out.raw(&[kind::HASH_LISTPACK]);
        out.string(&entries.finish());
        return;
    }
    out.raw(&[kind::HASH]);
    out.length(Collection::len(hash) as u64);
    for (field, value) in hash {
        out.string(field);
        out.string(value);
    }
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
        let fields = (0..count).map(|_| Ok((reader.string()?, reader.string()?)));
        return build(fields, limits, limits.max_value);
    }
    let packed = reader.string()?;
    // What was compact stays so whatever the length of its values, as in Redis.
    match kind {
        kind::HASH_ZIPMAP => {
            let fields = ziplist::zipmap(&packed)?.into_iter().map(Ok);
            build(fields, limits, limits.max_value)
        }
        kind::HASH_ZIPLIST => {
            let fields = pairs(ziplist::Entries::open(&packed)?)?.map(Ok);
            build(fields, limits, usize::MAX)
        }
        _ => {
            let fields = pairs(listpack::Entries::open(&packed)?)?.map(Ok);
            build(fields, limits, usize::MAX)
        }
    }
}

/// A hash of these fields, compact if the limit on their number allows and none
/// of them is longer than `longest`.
fn build<'a>(
    mut fields: impl ExactSizeIterator<Item = Result<(Text<'a>, Text<'a>), Malformed>>,
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
            .all(|(field, value)| field.len().max(value.len()) <= longest);
        let fields = fields.iter().map(|(field, value)| (&**field, &**value));
        return Hash::build(compact, fields)
            .map(Collection::into_value)
            .ok_or(Malformed);
    }
    let mut hash = Hash::default();
    let table = HashLimits {
        max_entries: 0,
        ..limits
    };
    fields.try_for_each(|pair| {
        let (field, value) = pair?;
        hash.insert(&field, &value, table)
            .then_some(())
            .ok_or(Malformed)
    })?;
    Ok(hash.into_value())
}
