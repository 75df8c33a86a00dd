//! Streams with their consumer groups.
//!
//! Entries stand in nodes, each a listpack behind the id of its first entry:
//!
//! ```text
//! node  = live, deleted, count of fields, fields, 0, entry...
//! entry = flags, ms, seq, [count, (field, value)...] | [value...], length
//! ```
//!
//! `ms` and `seq` are differences to the node's id, `length` is the number of
//! the entry's elements before it. Nodes of a payload and blocks of a stream are
//! the same entries. A group's pending entries stand in it by id; each of its
//! consumers names those that it has.

use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, kind, listpack};
use crate::value::{
    Collection, Group, Header, Stream, StreamBlock as Block, StreamBuilder, StreamId,
    StreamLayout as _, Value,
};

/// Flag of an entry: it is deleted.
const DELETED: i64 = 1;
/// Flag of an entry: its fields are the node's.
const SAME_FIELDS: i64 = 2;
/// A number of entries read that is not known.
const UNKNOWN: u64 = u64::MAX;
/// Bytes of an id as it stands in nodes' keys and pending entries.
const ID: usize = 16;

/// Appends the stream behind its type.
pub(super) fn encode(stream: &Stream, out: &mut Writer) {
    out.raw(&[kind::STREAM_LISTPACKS_2]);
    out.length(stream.blocks() as u64);
    for block in stream.block_list() {
        out.string(&id_bytes(block.first()));
        out.string(&node(block));
    }
    let header = stream.header();
    out.length(Collection::len(stream) as u64);
    for id in [header.last_id, stream.first_id(), header.max_deleted] {
        push_id(out, id);
    }
    out.length(header.added);
    out.length(stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        out.string(name);
        encode_group(group, out);
    }
}

fn id_bytes(id: StreamId) -> [u8; ID] {
    ((u128::from(id.ms) << u64::BITS) | u128::from(id.seq)).to_be_bytes()
}

fn push_id(out: &mut Writer, id: StreamId) {
    out.length(id.ms);
    out.length(id.seq);
}

/// The listpack of a node.
fn node(block: &Block) -> Vec<u8> {
    let mut node = listpack::Builder::new();
    let (count, fields) = block.fields();
    for number in [block.live(), block.dead(), count] {
        node.push_integer(number as i64);
    }
    for field in fields {
        node.push(field);
    }
    node.push_integer(0);
    let first = block.first();
    for (entry, is_deleted) in block.entries() {
        let start = node.len();
        let same = entry.has_block_fields();
        let deleted = if is_deleted { DELETED } else { 0 };
        node.push_integer(deleted | if same { SAME_FIELDS } else { 0 });
        node.push_integer(entry.id.ms.wrapping_sub(first.ms).cast_signed());
        node.push_integer(entry.id.seq.wrapping_sub(first.seq).cast_signed());
        if !same {
            node.push_integer(entry.len as i64);
        }
        for (field, value) in entry.pairs() {
            if !same {
                node.push(field);
            }
            node.push(value);
        }
        node.push_integer((node.len() - start) as i64);
    }
    node.finish()
}

fn encode_group(group: &Group, out: &mut Writer) {
    push_id(out, group.last_id());
    out.length(group.entries_read().unwrap_or(UNKNOWN));
    out.length(group.pending().len() as u64);
    for (id, pending) in group.pending() {
        out.raw(&id_bytes(*id));
        out.raw(&pending.delivered_ms.to_le_bytes());
        out.length(pending.deliveries);
    }
    out.length(group.consumer_count() as u64);
    for (_, consumer) in group.consumers() {
        out.string(consumer.name());
        out.raw(&consumer.seen_ms().to_le_bytes());
        out.length(consumer.pending().len() as u64);
        for id in consumer.pending() {
            out.raw(&id_bytes(*id));
        }
    }
}

/// Reads a stream of this type.
pub(super) fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    let mut blocks = Vec::new();
    for _ in 0..reader.count_or_none(2)? {
        let first = read_id(&mut Reader::new(&reader.string()?, 0))?;
        read_node(first, &reader.string()?, &mut blocks)?;
    }
    let length = reader.length()?;
    let last_id = take_id(reader)?;
    let mut header = Header {
        last_id,
        max_deleted: StreamId::MIN,
        added: length,
    };
    if kind != kind::STREAM_LISTPACKS {
        // The first id, which the entries tell.
        take_id(reader)?;
        header.max_deleted = take_id(reader)?;
        header.added = reader.length()?;
    }
    let mut stream = StreamBuilder::new(header).ok_or(Malformed)?;
    for block in blocks {
        stream.add(block).ok_or(Malformed)?;
    }
    if stream.length() as u64 != length {
        return Err(Malformed);
    }
    // A group takes its name, its id and three counts.
    for _ in 0..reader.count_or_none(6)? {
        read_group(kind, reader, &mut stream)?;
    }
    Ok(stream.finish().into_value())
}

/// An id in sixteen bytes.
fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    let ms = u64::from_be_bytes(reader.array()?);
    Ok(StreamId::new(ms, u64::from_be_bytes(reader.array()?)))
}

/// An id as two lengths.
fn take_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    Ok(StreamId::new(reader.length()?, reader.length()?))
}

/// A moment in milliseconds, none of which lies before the epoch.
fn take_time(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    u64::try_from(i64::from_le_bytes(reader.array()?)).map_err(|_| Malformed)
}

/// A number of elements of a node, no more than there are.
fn take_count(entries: &mut listpack::Entries<'_>) -> Result<usize, Malformed> {
    usize::try_from(entries.integer()?)
        .ok()
        .filter(|count| *count <= entries.len())
        .ok_or(Malformed)
}

/// Reads a node into a block, or into several where a deleted entry has a higher
/// id than one behind it (XSETID goes back as far as that).
fn read_node(first: StreamId, node: &[u8], blocks: &mut Vec<Block>) -> Result<(), Malformed> {
    let mut entries = listpack::Entries::open(node)?;
    let (live, deleted) = (take_count(&mut entries)?, take_count(&mut entries)?);
    let count = take_count(&mut entries)?;
    let fields = (0..count)
        .map(|_| entries.text())
        .collect::<Result<Vec<_>, _>>()?;
    if count == 0 || entries.integer()? != 0 {
        return Err(Malformed);
    }
    let shared: Vec<[&[u8]; 2]> = fields.iter().map(|field| [&**field, &[][..]]).collect();
    let mut block = Block::new(first, &shared);
    let mut seen = [0, 0];
    let mut last = None;
    while entries.len() > 0 {
        let start = entries.len();
        let flags = entries.integer()?;
        if flags & !(DELETED | SAME_FIELDS) != 0 {
            return Err(Malformed);
        }
        let ms = first.ms.wrapping_add_signed(entries.integer()?);
        let seq = first.seq.wrapping_add_signed(entries.integer()?);
        let id = StreamId::new(ms, seq);
        let texts = if flags & SAME_FIELDS != 0 {
            let values = (0..count).map(|_| entries.text());
            values.collect::<Result<Vec<_>, _>>()?
        } else {
            let count = take_count(&mut entries)?;
            let texts = (0..count.saturating_mul(2)).map(|_| entries.text());
            texts.collect::<Result<Vec<_>, _>>()?
        };
        let pairs: Vec<[&[u8]; 2]> = if flags & SAME_FIELDS != 0 {
            let values = fields.iter().zip(&texts);
            values.map(|(field, value)| [&**field, &**value]).collect()
        } else {
            let (pairs, _) = texts.as_chunks::<2>();
            pairs
                .iter()
                .map(|[field, value]| [&**field, &**value])
                .collect()
        };
        let length = start - entries.len();
        let is_whole = usize::try_from(entries.integer()?) == Ok(length);
        if pairs.is_empty() || !Block::takes(&pairs) || !is_whole || id < first {
            return Err(Malformed);
        }
        match last {
            None if id != first => return Err(Malformed),
            Some(last) if id <= last => {
                let before = std::mem::replace(&mut block, Block::new(id, &pairs));
                if before.live() > 0 {
                    blocks.push(before);
                }
            }
            _ => {}
        }
        last = Some(id);
        let is_deleted = flags & DELETED != 0;
        seen[usize::from(is_deleted)] += 1;
        block.adopt(id, &pairs, is_deleted);
    }
    if seen != [live, deleted] {
        return Err(Malformed);
    }
    // Redis keeps a node of which XTRIM MINID left deleted entries alone.
    if block.live() > 0 {
        blocks.push(block);
    }
    Ok(())
}

/// A pending entry, before it is known whose it is.
struct Unowned {
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
    owner: Option<u64>,
}

fn read_group(
    kind: u8,
    reader: &mut Reader<'_>,
    stream: &mut StreamBuilder,
) -> Result<(), Malformed> {
    let name = reader.string()?;
    let last_id = take_id(reader)?;
    let entries_read = if kind == kind::STREAM_LISTPACKS {
        stream.added_up_to(last_id)
    } else {
        Some(reader.length()?).filter(|read| *read != UNKNOWN)
    };
    let mut pending = Vec::new();
    for _ in 0..reader.count_or_none(ID + size_of::<u64>() + 1)? {
        pending.push(Unowned {
            id: read_id(reader)?,
            delivered_ms: take_time(reader)?,
            deliveries: reader.length()?,
            owner: None,
        });
    }
    if !pending.array_windows().all(|[one, next]| one.id < next.id) {
        return Err(Malformed);
    }
    let mut consumers: Vec<(Text<'_>, u64)> = Vec::new();
    for number in 0..reader.count_or_none(2 + size_of::<u64>())? as u64 {
        consumers.push((reader.string()?, take_time(reader)?));
        if kind == kind::STREAM_LISTPACKS_3 {
            // When it was last given something: Redis 7.0 does not know that.
            reader.array::<{ size_of::<u64>() }>()?;
        }
        for _ in 0..reader.count_or_none(ID)? {
            let id = read_id(reader)?;
            let found = pending.binary_search_by_key(&id, |pending| pending.id);
            let found = found.ok().and_then(|at| pending.get_mut(at));
            let pending = found.ok_or(Malformed)?;
            if pending.owner.replace(number).is_some() {
                return Err(Malformed);
            }
        }
    }
    let owned = pending.iter().map(|pending| {
        let owner = pending.owner.ok_or(Malformed)?;
        Ok((pending.id, owner, pending.delivered_ms, pending.deliveries))
    });
    let owned = owned.collect::<Result<Vec<_>, Malformed>>()?;
    let consumers = consumers.iter().map(|(name, seen_ms)| (&**name, *seen_ms));
    stream
        .group(&name, (last_id, entries_read), consumers, owned.into_iter())
        .ok_or(Malformed)
}
