//! Sorted sets.

use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, kind, listpack, pairs, ziplist};
use crate::value::float::{format_g17, parse_f64};
use crate::value::{Collection, Value, ZSet, ZSetLimits};

/// Scores that are integers and not above this are integers in a listpack.
const INTEGERS: f64 = (i64::MAX / 2) as f64;

/// Appends the sorted set behind its type.
pub(super) fn encode(zset: &ZSet, out: &mut Writer) {
    if zset.is_compact() {
        let mut entries = listpack::Builder::new();
        let mut text = Vec::new();
        for (member, score) in zset {
            entries.push(member);
            if score.abs() <= INTEGERS && score.trunc() == score {
                entries.push_integer(score as i64);
            } else {
                text.clear();
                format_g17(score, &mut text);
                entries.push(&text);
            }
        }
        out.raw(&[kind::ZSET_LISTPACK]);
        out.string(&entries.finish());
        return;
    }
    out.raw(&[kind::ZSET_2]);
    out.length(Collection::len(zset) as u64);
    // Downwards: whoever reads it inserts at the front.
    for (member, score) in zset.iter_range(0, usize::MAX, true) {
        out.string(member);
        out.raw(&score.to_le_bytes());
    }
}

/// Reads a sorted set of this type.
pub(super) fn decode(
    kind: u8,
    reader: &mut Reader<'_>,
    limits: ZSetLimits,
) -> Result<Value, Malformed> {
    match kind {
        kind::ZSET => {
            let count = reader.count(2)?;
            let entries = (0..count).map(|_| Ok((reader.string()?, written_score(reader)?)));
            return build(entries, limits, limits.max_value);
        }
        kind::ZSET_2 => {
            let count = reader.count(1 + size_of::<f64>())?;
            let entries = (0..count).map(|_| Ok((reader.string()?, reader.double()?)));
            return build(entries, limits, limits.max_value);
        }
        _ => {}
    }
    let packed = reader.string()?;
    // What was compact stays so whatever the length of its members, as in Redis.
    if kind == kind::ZSET_ZIPLIST {
        let entries = pairs(ziplist::Entries::open(&packed)?)?;
        build(entries.map(scored), limits, usize::MAX)
    } else {
        let entries = pairs(listpack::Entries::open(&packed)?)?;
        build(entries.map(scored), limits, usize::MAX)
    }
}

/// A member and the text of its score.
fn scored<'a>((member, score): (Text<'a>, Text<'a>)) -> Result<(Text<'a>, f64), Malformed> {
    let score = parse_f64(&score).ok_or(Malformed)?;
    Ok((member, score))
}

/// A score as text behind its length, with numbers for what has no digits.
fn written_score(reader: &mut Reader<'_>) -> Result<f64, Malformed> {
    match reader.byte()? {
        // Not a number.
        253 => Err(Malformed),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        length => parse_f64(reader.take(usize::from(length))?).ok_or(Malformed),
    }
}

/// A sorted set of these members in any order, compact if the limit on their
/// number allows and none is longer than `longest`.
fn build<'a>(
    mut entries: impl ExactSizeIterator<Item = Result<(Text<'a>, f64), Malformed>>,
    limits: ZSetLimits,
    longest: usize,
) -> Result<Value, Malformed> {
    if entries.len() == 0 {
        return Err(Malformed);
    }
    if entries.len() <= limits.max_entries {
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        if entries.iter().any(|(_, score)| score.is_nan()) {
            return Err(Malformed);
        }
        entries.sort_by(|(one, a), (other, b)| {
            let scores = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
            scores.then_with(|| one.cmp(other))
        });
        let compact = entries.iter().all(|(member, _)| member.len() <= longest);
        let entries = entries.iter().map(|(member, score)| (&**member, *score));
        return ZSet::build(compact, entries)
            .map(Collection::into_value)
            .ok_or(Malformed);
    }
    let mut zset = ZSet::default();
    let table = ZSetLimits {
        max_entries: 0,
        ..limits
    };
    entries.try_for_each(|entry| {
        let (member, score) = entry?;
        if score.is_nan() || zset.insert(&member, score, table).is_some() {
            return Err(Malformed);
        }
        Ok(())
    })?;
    Ok(zset.into_value())
}
