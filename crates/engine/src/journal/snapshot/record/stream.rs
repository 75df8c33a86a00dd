//! A stream as bytes: its blocks as they are in memory, then its groups.

use super::{
    Element, Elements, Malformed, push_length, push_number, push_text, take_length, take_number,
    take_text,
};
use crate::value::{ConsumerId, Header, Stream, StreamBuilder, StreamId, StreamLayout as _};

/// Appends what follows the key.
pub(super) fn encode(stream: &Stream, out: &mut Vec<u8>) {
    let header = stream.header();
    push_id(out, header.last_id);
    push_id(out, header.max_deleted);
    push_number(out, header.added);
    push_length(out, stream.blocks());
    for (first, bytes) in stream.buffers() {
        push_id(out, first);
        push_text(out, bytes);
    }
    push_length(out, stream.groups().len());
    for (name, group) in stream.groups() {
        push_text(out, name);
        push_id(out, group.last_id());
        push_number(
            out,
            group.entries_read().map_or(0, |read| read.wrapping_add(1)),
        );
        push_length(out, group.consumer_count());
        let mut numbers = Vec::with_capacity(group.consumer_count());
        for (id, consumer) in group.consumers() {
            push_text(out, consumer.name());
            push_number(out, consumer.seen_ms());
            numbers.push(id);
        }
        // By place in the group, to find each pending entry's number at once.
        let mut places: Vec<(ConsumerId, usize)> = numbers.into_iter().zip(0..).collect();
        places.sort_unstable();
        push_length(out, group.pending().len());
        for (id, pending) in group.pending() {
            let at = places.binary_search_by_key(&pending.consumer, |(id, _)| *id);
            let number = at
                .ok()
                .and_then(|at| places.get(at))
                .map_or(0, |place| place.1);
            push_id(out, *id);
            push_length(out, number);
            push_number(out, pending.delivered_ms);
            push_number(out, pending.deliveries);
        }
    }
}

/// A stream as it stands in the bytes, whole.
pub(super) struct View<'a> {
    header: Header,
    blocks: Elements<'a, Block>,
    groups: Elements<'a, Group>,
}

impl<'a> View<'a> {
    pub(super) fn read(bytes: &mut &'a [u8]) -> Result<Self, Malformed> {
        let header = Header {
            last_id: take_id(bytes)?,
            max_deleted: take_id(bytes)?,
            added: take_number(bytes)?,
        };
        Ok(View {
            header,
            blocks: counted(bytes)?,
            groups: counted(bytes)?,
        })
    }

    /// The stream, unless its parts contradict each other.
    pub(super) fn build(self) -> Option<Stream> {
        let mut builder = StreamBuilder::new(self.header)?;
        for (first, bytes) in self.blocks {
            builder.block(first, bytes)?;
        }
        for group in self.groups {
            builder.group(
                group.name,
                (group.last_id, group.entries_read),
                group.consumers,
                group.pending,
            )?;
        }
        Some(builder.finish())
    }
}

/// Elements behind their count, which may be 0.
fn counted<'a, E: Element>(bytes: &mut &'a [u8]) -> Result<Elements<'a, E>, Malformed> {
    let count = take_length(bytes)?;
    Elements::read_counted(bytes, count)
}

#[derive(Clone)]
struct Block;
#[derive(Clone)]
struct Group;
#[derive(Clone)]
struct Seen;
#[derive(Clone)]
struct Delivered;

struct GroupView<'a> {
    name: &'a [u8],
    last_id: StreamId,
    entries_read: Option<u64>,
    consumers: Elements<'a, Seen>,
    pending: Elements<'a, Delivered>,
}

impl Element for Block {
    type Item<'a> = (StreamId, &'a [u8]);

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        Ok((take_id(bytes)?, take_text(bytes)?))
    }
}

impl Element for Group {
    type Item<'a> = GroupView<'a>;

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<GroupView<'a>, Malformed> {
        Ok(GroupView {
            name: take_text(bytes)?,
            last_id: take_id(bytes)?,
            entries_read: take_number(bytes)?.checked_sub(1),
            consumers: counted(bytes)?,
            pending: counted(bytes)?,
        })
    }
}

impl Element for Seen {
    type Item<'a> = (&'a [u8], u64);

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        Ok((take_text(bytes)?, take_number(bytes)?))
    }
}

impl Element for Delivered {
    type Item<'a> = (StreamId, u64, u64, u64);

    fn take<'a>(bytes: &mut &'a [u8]) -> Result<Self::Item<'a>, Malformed> {
        let id = take_id(bytes)?;
        Ok((
            id,
            take_number(bytes)?,
            take_number(bytes)?,
            take_number(bytes)?,
        ))
    }
}

fn push_id(out: &mut Vec<u8>, id: StreamId) {
    push_number(out, id.ms);
    push_number(out, id.seq);
}

fn take_id(bytes: &mut &[u8]) -> Result<StreamId, Malformed> {
    Ok(StreamId::new(take_number(bytes)?, take_number(bytes)?))
}
