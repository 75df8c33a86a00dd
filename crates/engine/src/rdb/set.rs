//! Sets.

use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, kind, listpack, little_endian};
use crate::value::{Collection, Set, SetLimits, Value, parse_integer};

/// Bytes before the integers: how wide each is, and their number.
const HEADER: usize = 8;

/// Appends the set behind its type.
pub(super) fn encode(set: &Set, out: &mut Writer) {
    let Some((width, integers)) = set.integers() else {
        out.raw(&[kind::SET]);
        out.length(Collection::len(set) as u64);
        for member in set {
            out.string(&member);
        }
        return;
    };
    let mut packed = Vec::with_capacity(HEADER + width * integers.len());
    packed.extend_from_slice(&(width as u32).to_le_bytes());
    packed.extend_from_slice(&(integers.len() as u32).to_le_bytes());
    for integer in integers {
        packed.extend(integer.to_le_bytes().into_iter().take(width));
    }
    out.raw(&[kind::SET_INTSET]);
    out.string(&packed);
}

/// Reads a set of this type.
pub(super) fn decode(
    kind: u8,
    reader: &mut Reader<'_>,
    limits: SetLimits,
) -> Result<Value, Malformed> {
    match kind {
        kind::SET => {
            let count = reader.count(1)?;
            build((0..count).map(|_| reader.string()), limits)
        }
        kind::SET_INTSET => intset(&reader.string()?, limits),
        _ => {
            let packed = reader.string()?;
            build(listpack::Entries::open(&packed)?.map(Ok), limits)
        }
    }
}

/// A set of integers in ascending order.
fn intset(packed: &[u8], limits: SetLimits) -> Result<Value, Malformed> {
    let mut packed = Reader::new(packed, 0);
    let width = u32::from_le_bytes(packed.array()?);
    let count = u32::from_le_bytes(packed.array()?) as usize;
    let integers = match width {
        2 => integers::<2>(packed.rest())?,
        4 => integers::<4>(packed.rest())?,
        8 => integers::<8>(packed.rest())?,
        _ => return Err(Malformed),
    };
    let ascending = integers.array_windows().all(|[one, next]| one < next);
    if integers.len() != count || !ascending {
        return Err(Malformed);
    }
    build(
        integers.into_iter().map(|integer| Ok(integer.into())),
        limits,
    )
}

fn integers<const N: usize>(bytes: &[u8]) -> Result<Vec<i64>, Malformed> {
    let (integers, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Malformed);
    }
    Ok(integers.iter().map(little_endian).collect())
}

/// A set of these members, compact if they are integers and few enough.
fn build<'a>(
    mut members: impl ExactSizeIterator<Item = Result<Text<'a>, Malformed>>,
    limits: SetLimits,
) -> Result<Value, Malformed> {
    if members.len() == 0 {
        return Err(Malformed);
    }
    if members.len() <= limits.max_intset_entries {
        let mut members: Vec<_> = members.collect::<Result<_, _>>()?;
        let compact = members.iter().all(|member| parse_integer(member).is_some());
        if compact {
            members.sort_by_cached_key(|member| parse_integer(member));
        }
        return Set::build(compact, members.iter().map(|member| &**member))
            .map(Collection::into_value)
            .ok_or(Malformed);
    }
    let mut set = Set::default();
    let table = SetLimits {
        max_intset_entries: 0,
    };
    members.try_for_each(|member| set.insert(&member?, table).then_some(()).ok_or(Malformed))?;
    Ok(set.into_value())
}
