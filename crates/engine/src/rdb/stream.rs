//! Streams.
//!
//! A node of Redis' is a listpack: the numbers of entries that are and that are
//! not deleted, the fields that they share, a zero, and for each entry its
//! flags, the distance of its id to the first, its texts, and its number of
//! elements. Our blocks begin and end where its nodes do.

use super::listpack::{self, Entries};
use super::read::Reader;
use super::text::Text;
use super::write::Writer;
use super::{Malformed, kind};
use crate::value::{
    Collection, ConsumerId, Group, Header, OpenBlock, Pending, Stream, StreamBuilder, StreamId,
    StreamLayout as _, Value,
};

/// Flag of an entry: it is deleted.
const DELETED: i64 = 1;
/// Flag of an entry: its fields are those of the node.
const SAME: i64 = 2;
/// Bytes of an id.
const ID: usize = 16;

/// Appends the stream behind its type.
pub(super) fn encode(stream: &Stream, out: &mut Writer) {
    out.raw(&[kind::STREAM_2]);
    out.length(stream.blocks() as u64);
    for block in stream.views() {
        let first = block.first();
        out.string(&id_bytes(first));
        let mut node = listpack::Builder::new();
        let (live, dead) = block.counts();
        node.push_integer(live as i64);
        node.push_integer(dead as i64);
        node.push_integer(block.fields().count() as i64);
        for field in block.fields() {
            node.push(field);
        }
        node.push_integer(0);
        for (entry, dead) in block.entries() {
            let same = entry.is_plain();
            let flags = if same { SAME } else { 0 } | i64::from(dead);
            node.push_integer(flags);
            node.push_integer(entry.id.ms.wrapping_sub(first.ms) as i64);
            node.push_integer(entry.id.seq.wrapping_sub(first.seq) as i64);
            let mut elements = entry.len + 3;
            if !same {
                node.push_integer(entry.len as i64);
                elements += entry.len + 1;
            }
            for (field, value) in entry.pairs() {
                if !same {
                    node.push(field);
                }
                node.push(value);
            }
            node.push_integer(elements as i64);
        }
        out.string(&node.finish());
    }
    let header = stream.header();
    out.length(stream.len() as u64);
    for id in [header.last_id, stream.first_id(), header.max_deleted] {
        push_id(out, id);
    }
    out.length(header.added);
    out.length(stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        out.string(name);
        push_id(out, group.last_id());
        out.length(group.entries_read().unwrap_or(u64::MAX));
        encode_pending(group, out);
    }
}

fn encode_pending(group: &Group, out: &mut Writer) {
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

fn push_id(out: &mut Writer, id: StreamId) {
    out.length(id.ms);
    out.length(id.seq);
}

fn id_bytes(id: StreamId) -> [u8; ID] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn id_of(bytes: [u8; ID]) -> StreamId {
    let number = u128::from_be_bytes(bytes);
    StreamId::new((number >> 64) as u64, number as u64)
}

/// Reads a stream of this type.
pub(super) fn decode(kind: u8, reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    let nodes = reader.count_or_none(2)?;
    let packed = (0..nodes)
        .map(|_| {
            let first: [u8; ID] = (*reader.string()?).try_into().map_err(|_| Malformed)?;
            Ok((id_of(first), reader.string()?))
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    let length = reader.length()?;
    let last_id = take_id(reader)?;
    let mut header = Header {
        last_id,
        max_deleted: StreamId::MIN,
        added: length,
    };
    let counted = kind != kind::STREAM;
    if counted {
        take_id(reader)?;
        header.max_deleted = take_id(reader)?;
        header.added = reader.length()?;
    }
    let mut builder = StreamBuilder::new(header).ok_or(Malformed)?;
    for (first, node) in &packed {
        decode_node(*first, node, &mut builder)?;
    }
    if builder.len() as u64 != length {
        return Err(Malformed);
    }
    let mut stream = builder.finish();
    for _ in 0..reader.count_or_none(5)? {
        let name = reader.string()?;
        let last_id = take_id(reader)?;
        let read = if counted {
            Some(reader.length()?).filter(|read| *read != u64::MAX)
        } else {
            stream.extent().added_up_to(last_id)
        };
        if read.is_some_and(|read| read > i64::MAX as u64) {
            return Err(Malformed);
        }
        let mut group = Group::new(last_id, read);
        decode_pending(kind, &mut group, reader)?;
        if !stream.add_group(&name, group) {
            return Err(Malformed);
        }
    }
    Ok(stream.into_value())
}

fn decode_node(first: StreamId, node: &[u8], builder: &mut StreamBuilder) -> Result<(), Malformed> {
    let mut elements = Entries::open(node)?;
    let said = elements.integer()?.checked_add(elements.integer()?);
    let fields = texts(&mut elements, 1)?;
    let names: Vec<&[u8]> = fields.iter().map(|field| &**field).collect();
    if elements.integer()? != 0 {
        return Err(Malformed);
    }
    let mut open = builder.open(first, &names).ok_or(Malformed)?;
    let mut found = 0;
    while elements.len() > 0 {
        decode_entry(first, &names, &mut elements, (builder, &mut open))?;
        found += 1;
    }
    if said != Some(found) {
        return Err(Malformed);
    }
    builder.close(&mut open).ok_or(Malformed)
}

fn decode_entry(
    first: StreamId,
    names: &[&[u8]],
    elements: &mut Entries<'_>,
    (builder, open): (&mut StreamBuilder, &mut OpenBlock),
) -> Result<(), Malformed> {
    let before = elements.len();
    let flags = elements.integer()?;
    let id = StreamId::new(
        first.ms.wrapping_add(elements.integer()? as u64),
        first.seq.wrapping_add(elements.integer()? as u64),
    );
    let own;
    let pairs: Vec<[&[u8]; 2]> = if flags & SAME == 0 {
        own = texts(elements, 2)?;
        let (pairs, _) = own.as_chunks::<2>();
        pairs
            .iter()
            .map(|[field, value]| [&**field, &**value])
            .collect()
    } else {
        own = (0..names.len())
            .map(|_| elements.text())
            .collect::<Result<_, _>>()?;
        let pairs = names.iter().zip(&own);
        pairs.map(|(field, value)| [*field, &**value]).collect()
    };
    let said = (before - elements.len()) as i64;
    if elements.integer()? != said {
        return Err(Malformed);
    }
    builder
        .entry(open, id, &pairs, flags & DELETED != 0)
        .ok_or(Malformed)
}

/// A number, and so many times `each` texts.
fn texts<'a>(elements: &mut Entries<'a>, each: usize) -> Result<Vec<Text<'a>>, Malformed> {
    let count = usize::try_from(elements.integer()?)
        .ok()
        .and_then(|count| count.checked_mul(each))
        .filter(|count| *count <= elements.len())
        .ok_or(Malformed)?;
    (0..count).map(|_| elements.text()).collect()
}

fn decode_pending(kind: u8, group: &mut Group, reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let count = reader.count_or_none(ID + 9)?;
    let mut delivered = Vec::with_capacity(count);
    for _ in 0..count {
        let id = id_of(reader.array()?);
        let time = u64::from_le_bytes(reader.array()?);
        let deliveries = reader.length()?;
        if deliveries > i64::MAX as u64 {
            return Err(Malformed);
        }
        delivered.push((id, time, deliveries));
    }
    if !delivered.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(Malformed);
    }
    let mut owned = 0;
    for _ in 0..reader.count_or_none(10)? {
        let name = reader.string()?;
        let seen_ms = u64::from_le_bytes(reader.array()?);
        if kind == kind::STREAM_3 {
            // When it got something last.
            reader.array::<8>()?;
        }
        let (consumer, made) = group.find_or_add(&name, seen_ms);
        if !made {
            return Err(Malformed);
        }
        for _ in 0..reader.count_or_none(ID)? {
            let id = id_of(reader.array()?);
            hand_over(group, &delivered, id, consumer)?;
            owned += 1;
        }
    }
    // What is pending is somebody's.
    if owned == count {
        Ok(())
    } else {
        Err(Malformed)
    }
}

/// Gives what was delivered under this id to its consumer; nobody else has it.
fn hand_over(
    group: &mut Group,
    delivered: &[(StreamId, u64, u64)],
    id: StreamId,
    consumer: ConsumerId,
) -> Result<(), Malformed> {
    let at = delivered.binary_search_by_key(&id, |(id, ..)| *id);
    let found = at.ok().and_then(|at| delivered.get(at)).ok_or(Malformed)?;
    let pending = Pending {
        consumer,
        delivered_ms: found.1,
        deliveries: found.2,
    };
    match group.set(id, Some(pending)) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}

fn take_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    Ok(StreamId::new(reader.length()?, reader.length()?))
}
