//! Random changes of a stream and of a naive one, rolled back or kept, written
//! out and read again.

use std::collections::BTreeMap;

use super::{
    Builder, Collection, Group, Header, Keep, Layout, Pending, References, Stream, StreamId,
    StreamLimits, Trim,
};
use crate::random::Random;

type Texts = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Clone, PartialEq, Default)]
struct NaiveGroup {
    last_id: StreamId,
    entries_read: Option<u64>,
    seen: BTreeMap<Vec<u8>, u64>,
    /// With the consumer's name, the time and the count.
    pending: BTreeMap<StreamId, (Vec<u8>, u64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Naive {
    entries: BTreeMap<StreamId, Texts>,
    header: Header,
    groups: BTreeMap<Vec<u8>, NaiveGroup>,
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn naive(stream: &Stream) -> Naive {
    let entry = |entry: super::Entry<'_>| {
        let pairs = entry
            .pairs()
            .map(|(field, value)| (field.to_vec(), value.to_vec()));
        (entry.id, pairs.collect())
    };
    let group = |(name, group): (&[u8], &Group)| {
        let pending = group.pending().iter().map(|(id, pending)| {
            let name = group.name_of(pending.consumer).to_vec();
            (*id, (name, pending.delivered_ms, pending.deliveries))
        });
        let seen = group
            .consumers()
            .map(|(_, consumer)| (consumer.name().to_vec(), consumer.seen_ms()));
        let copy = NaiveGroup {
            last_id: group.last_id(),
            entries_read: group.entries_read(),
            seen: seen.collect(),
            pending: pending.collect(),
        };
        (name.to_vec(), copy)
    };
    Naive {
        entries: stream
            .range(StreamId::MIN, StreamId::MAX, false)
            .map(entry)
            .collect(),
        header: stream.header(),
        groups: stream.groups().map(group).collect(),
    }
}

/// The books, and that consumers have what is pending for them and no more.
fn assert_sound(stream: &Stream) {
    let mut copy = stream.clone();
    copy.packed = stream
        .sealed
        .values()
        .chain(&stream.tail)
        .map(super::Block::heap_bytes)
        .sum();
    copy.grouped = stream
        .groups
        .iter()
        .map(|(name, group)| super::GROUP + name.len() + group.heap_bytes())
        .sum();
    assert_eq!(copy.heap_bytes(), stream.heap_bytes());
    let forward: Vec<StreamId> = stream
        .range(StreamId::MIN, StreamId::MAX, false)
        .map(|entry| entry.id)
        .collect();
    let mut back: Vec<StreamId> = stream
        .range(StreamId::MIN, StreamId::MAX, true)
        .map(|entry| entry.id)
        .collect();
    back.reverse();
    assert_eq!(forward, back);
    assert!(forward.is_sorted_by(|one, next| one < next));
    assert_eq!(forward.len(), stream.len());
    assert_eq!(
        stream.first_id(),
        forward.first().copied().unwrap_or_default()
    );
    assert_eq!(stream.is_empty(), stream.blocks() == 0);
    for (_, group) in stream.groups() {
        let mut owned = 0;
        for (number, consumer) in group.consumers() {
            assert_eq!(group.find(consumer.name()), Some(number));
            for id in consumer.pending() {
                assert_eq!(group.pending()[id].consumer, number);
                owned += 1;
            }
        }
        assert_eq!(owned, group.pending().len());
    }
}

fn written(stream: &Stream) -> Vec<(StreamId, Vec<u8>)> {
    stream
        .buffers()
        .map(|(first, bytes)| (first, bytes.to_vec()))
        .collect()
}

/// A stream of what this one is written as.
fn reread(stream: &Stream) -> Stream {
    let mut builder = Builder::new(stream.header()).unwrap();
    for (first, bytes) in stream.buffers() {
        builder.block(first, bytes).unwrap();
    }
    for (name, group) in stream.groups() {
        let numbers: Vec<_> = group.consumers().map(|(number, _)| number).collect();
        let consumers = group
            .consumers()
            .map(|(_, consumer)| (consumer.name(), consumer.seen_ms()));
        let pending = group.pending().iter().map(|(id, pending)| {
            let number = numbers
                .iter()
                .position(|number| *number == pending.consumer)
                .unwrap();
            (*id, number as u64, pending.delivered_ms, pending.deliveries)
        });
        builder
            .group(
                name,
                (group.last_id(), group.entries_read()),
                consumers,
                pending,
            )
            .unwrap();
    }
    builder.finish()
}

fn texts(random: &mut Random) -> Texts {
    let text = |random: &mut Random| match random.below(6) {
        0 => Vec::new(),
        1 => (random.below(100_000) as i64 - 500)
            .to_string()
            .into_bytes(),
        2 => vec![b'v'; random.below(300)],
        _ => vec![b'a' + random.below(3) as u8],
    };
    if random.below(5) > 0 {
        return vec![(b"f".to_vec(), text(random)), (b"g".to_vec(), text(random))];
    }
    (0..=random.below(3))
        .map(|_| (text(random), text(random)))
        .collect()
}

fn change(random: &mut Random, stream: &mut Stream, model: &mut Naive, limits: StreamLimits) {
    let edits = stream.edits();
    let known = |random: &mut Random, model: &Naive| {
        let at = random.below(model.entries.len().max(1));
        let found = model.entries.keys().nth(at).copied();
        found.unwrap_or_else(|| id(random.below(50) as u64, random.below(2) as u64))
    };
    let names = [&b"one"[..], b"two", b"three"];
    let (name, who) = (names[random.below(2)], names[random.below(3)]);
    let now_ms = random.below(1000) as u64;
    match random.below(26) {
        0..9 => {
            let step = [(0, 1), (0, 7), (1, 0), (300, 5), (1 << 40, 0)][random.below(5)];
            let last = model.header.last_id;
            let new = if step.0 == 0 {
                id(last.ms, last.seq + step.1)
            } else {
                id(last.ms + step.0, step.1)
            };
            let pairs = texts(random);
            let slices: Vec<[&[u8]; 2]> = pairs
                .iter()
                .map(|(field, value)| [&field[..], &value[..]])
                .collect();
            stream.append(new, &slices, limits).unwrap();
            model.entries.insert(new, pairs);
            model.header.last_id = new;
            model.header.added += 1;
        }
        9..13 => {
            let gone = known(random, model);
            assert_eq!(stream.delete(gone), model.entries.remove(&gone).is_some());
            if stream.edits() != edits {
                model.header.max_deleted = model.header.max_deleted.max(gone);
            }
        }
        13 => {
            let keep = if random.below(2) == 0 {
                Keep::Newest(random.below(model.entries.len() + 3) as u64)
            } else {
                Keep::From(known(random, model))
            };
            let references =
                [References::Keep, References::Forget, References::Respect][random.below(3)];
            let trim = Trim {
                keep,
                about: false,
                limit: 0,
                references,
            };
            let removed = stream.trim(trim);
            assert_eq!(removed, model.trim(trim));
        }
        14 => {
            // About is no more than exactly, from the front, and by whole blocks.
            let length = model.entries.len();
            let keep = Keep::Newest(random.below(length + 3) as u64);
            let trim = Trim {
                keep,
                about: true,
                limit: 0,
                references: References::Keep,
            };
            let mut exact = model.clone();
            exact.trim(Trim {
                about: false,
                ..trim
            });
            let removed = stream.trim(trim);
            assert!(removed <= length - exact.entries.len());
            let keep = Keep::Newest((length - removed) as u64);
            assert_eq!(
                model.trim(Trim {
                    keep,
                    about: false,
                    ..trim
                }),
                removed
            );
        }
        15 => {
            let header = Header {
                last_id: stream.last().map_or(id(0, 3), |last| last.id),
                added: model.entries.len() as u64 + 5,
                ..model.header
            };
            stream.set_header(header);
            model.header = header;
        }
        16 => {
            let last_id = known(random, model);
            let added = stream.add_group(name, Group::new(last_id, None));
            assert_eq!(added, !model.groups.contains_key(name));
            model.groups.entry(name.to_vec()).or_insert(NaiveGroup {
                last_id,
                ..NaiveGroup::default()
            });
        }
        17 if random.below(4) == 0 => {
            assert_eq!(
                stream.remove_group(name),
                model.groups.remove(name).is_some()
            );
        }
        18 => {
            let removed = stream.edit_group(name, |group| group.remove(who)).flatten();
            let expected = model.groups.get_mut(name).and_then(|group| {
                group.seen.remove(who)?;
                let before = group.pending.len();
                group.pending.retain(|_, (owner, ..)| owner != who);
                Some(before - group.pending.len())
            });
            assert_eq!(removed, expected);
        }
        19 => {
            let last_id = known(random, model);
            let done = stream.edit_group(name, |group| group.set_last(last_id, Some(now_ms)));
            if let Some(group) = model.groups.get_mut(name) {
                (group.last_id, group.entries_read) = (last_id, Some(now_ms));
                assert_eq!(done, Some(()));
            }
        }
        _ => deliver(random, stream, model, (name, who, now_ms)),
    }
    // What has changed, and nothing else, moves the count of edits.
    if stream.edits() == edits {
        assert_eq!(naive(stream).entries.len(), model.entries.len());
    }
}

fn deliver(
    random: &mut Random,
    stream: &mut Stream,
    model: &mut Naive,
    (name, who, now_ms): (&[u8], &[u8], u64),
) {
    let Some(naive) = model.groups.get_mut(name) else {
        assert!(stream.group(name).is_none());
        return;
    };
    let consumer = stream.edit_group(name, |group| {
        let (consumer, _) = group.find_or_add(who, now_ms);
        group.see(consumer, now_ms);
        consumer
    });
    let consumer = consumer.unwrap();
    naive.seen.insert(who.to_vec(), now_ms);
    if random.below(3) == 0 {
        let acked = naive
            .pending
            .keys()
            .nth(random.below(naive.pending.len().max(1)))
            .copied();
        let acked = acked.unwrap_or(id(1, 1));
        let was = stream
            .edit_group(name, |group| group.set(acked, None))
            .flatten();
        assert_eq!(was.is_some(), naive.pending.remove(&acked).is_some());
        return;
    }
    if random.below(3) == 0
        && let Some(claimed) = naive
            .pending
            .keys()
            .nth(random.below(naive.pending.len().max(1)))
    {
        let claimed = *claimed;
        let pending = Pending {
            consumer,
            delivered_ms: now_ms,
            deliveries: 9,
        };
        stream.edit_group(name, |group| group.set(claimed, Some(pending)));
        naive.pending.insert(claimed, (who.to_vec(), now_ms, 9));
        return;
    }
    let (count, forget) = (random.below(6), random.below(4) == 0);
    let mut got = Vec::new();
    let done = stream.deliver(name, consumer, (count, forget), now_ms, |entry| {
        got.push(entry.id);
    });
    done.unwrap();
    let new = model
        .entries
        .range(naive.last_id.next().unwrap()..)
        .take(count);
    let new: Vec<StreamId> = new.map(|(id, _)| *id).collect();
    assert_eq!(got, new);
    for id in new {
        naive.last_id = id;
        if !forget {
            naive.pending.insert(id, (who.to_vec(), now_ms, 1));
        }
    }
    naive.entries_read = stream.group(name).unwrap().entries_read();
}

impl Naive {
    fn trim(&mut self, trim: Trim) -> usize {
        let ids: Vec<StreamId> = self.entries.keys().copied().collect();
        let before = ids.len();
        for id in ids {
            let kept = match trim.keep {
                Keep::Newest(count) => self.entries.len() as u64 <= count,
                Keep::From(from) => id >= from,
            };
            if kept {
                break;
            }
            let waited_for =
                |group: &NaiveGroup| id > group.last_id || group.pending.contains_key(&id);
            match trim.references {
                References::Respect if self.groups.values().any(waited_for) => continue,
                References::Forget => {
                    for group in self.groups.values_mut() {
                        group.pending.remove(&id);
                    }
                }
                References::Keep | References::Respect => {}
            }
            self.entries.remove(&id);
        }
        before - self.entries.len()
    }
}

#[test]
fn a_stream_is_as_the_naive_one() {
    for seed in 0..250 {
        let mut random = Random::new(seed);
        let limits = StreamLimits {
            max_bytes: [0, 60, 400, 4096][random.below(4)],
            max_entries: [0, 1, 5, 100][random.below(4)],
        };
        let (mut stream, mut model) = (Stream::default(), Naive::default());
        for _ in 0..random.below(12) {
            for _ in 0..random.below(60) {
                change(&mut random, &mut stream, &mut model, limits);
            }
            assert_eq!(naive(&stream), model, "seed {seed}");
            assert_sound(&stream);
            let (before, edits, blocks) = (model.clone(), stream.edits(), written(&stream));
            stream.begin_undo();
            for _ in 0..random.below(40) {
                change(&mut random, &mut stream, &mut model, limits);
            }
            assert_eq!(naive(&stream), model, "seed {seed}");
            if random.below(3) == 0 {
                stream.commit_undo();
            } else {
                stream.rollback();
                model = before;
                assert_eq!(naive(&stream), model, "seed {seed}, rolled back");
                assert_eq!(
                    (stream.edits(), written(&stream)),
                    (edits, blocks),
                    "seed {seed}"
                );
            }
            assert!(!stream.is_recording());
            assert_sound(&stream);
            let mut copy = reread(&stream);
            assert_eq!(naive(&copy), model, "seed {seed}, read again");
            assert_eq!(written(&copy), written(&stream));
            assert_sound(&copy);
            if random.below(3) == 0 {
                copy.edits = stream.edits;
                stream = copy;
            } else {
                assert_eq!(naive(&stream.clone()), model);
            }
        }
        ranges_agree(&mut random, &stream, &model);
    }
}

fn ranges_agree(random: &mut Random, stream: &Stream, model: &Naive) {
    let ids: Vec<StreamId> = model.entries.keys().copied().collect();
    let edge = |random: &mut Random| {
        let near = ids
            .get(random.below(ids.len() + 1))
            .copied()
            .unwrap_or(id(60, 0));
        [
            near,
            near.next().unwrap_or(near),
            near.previous().unwrap_or(near),
        ][random.below(3)]
    };
    for _ in 0..40 {
        let (start, end) = (edge(random), edge(random));
        let mut expected: Vec<StreamId> = ids
            .iter()
            .filter(|id| (start..=end).contains(id))
            .copied()
            .collect();
        let found = |reverse| -> Vec<StreamId> {
            stream
                .range(start, end, reverse)
                .map(|entry| entry.id)
                .collect()
        };
        assert_eq!(found(false), expected, "{start}..={end}");
        expected.reverse();
        assert_eq!(found(true), expected, "{start}..={end} reversed");
        assert_eq!(
            stream.get(start).is_some(),
            model.entries.contains_key(&start)
        );
    }
}

fn append(stream: &mut Stream, id: StreamId, texts: &[(&str, &str)]) {
    let pairs: Vec<[&[u8]; 2]> = texts
        .iter()
        .map(|(field, value)| [field.as_bytes(), value.as_bytes()])
        .collect();
    stream.append(id, &pairs, StreamLimits::default()).unwrap();
}

#[test]
fn a_block_that_contradicts_itself_is_refused() {
    let mut stream = Stream::default();
    append(&mut stream, id(5, 1), &[("field", "value"), ("other", "1")]);
    append(&mut stream, id(5, 2), &[("field", "value"), ("other", "2")]);
    append(&mut stream, id(6, 0), &[("field", "value")]);
    stream.delete(id(5, 2));
    let (first, bytes) = written(&stream).pop().unwrap();
    let accepts = |bytes: &[u8]| super::Block::parse(first, bytes).is_some();
    assert!(accepts(&bytes));
    for end in 0..bytes.len() {
        // Whole entries are a block of their own.
        let whole = super::Block::parse(first, &bytes[..end]);
        assert!(whole.is_none_or(|block| block.end() == end && block.live() > 0));
    }
    let mut changed = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            if let Some(block) = super::Block::parse(first, &other) {
                changed += 1;
                let last = block.before(block.end()).unwrap();
                assert_eq!(last.next, other.len());
            }
        }
    }
    assert!(changed > 0, "texts may be anything");
    assert!(super::Block::parse(id(5, 0), &bytes).is_some());
    assert!(
        super::Block::parse(id(u64::MAX, 1), &bytes).is_none(),
        "ids end"
    );
}

#[test]
fn what_was_written_must_fit_together() {
    let mut stream = Stream::default();
    append(&mut stream, id(5, 1), &[("f", "v")]);
    let (first, bytes) = written(&stream).pop().unwrap();
    let header = stream.header();
    let block = |header, first| Builder::new(header)?.block(first, &bytes);
    assert!(block(header, first).is_some());
    assert!(block(header, id(5, 2)).is_none(), "an id above the last");
    assert!(block(Header { added: 0, ..header }, first).is_none());
    assert!(
        block(
            Header {
                added: u64::MAX,
                ..header
            },
            first
        )
        .is_none()
    );
    let group = |consumers: &[(&'static [u8], u64)], pending: &[(StreamId, u64, u64, u64)]| {
        Builder::new(header)?.group(
            b"g",
            (first, None),
            consumers.iter().copied(),
            pending.iter().copied(),
        )
    };
    let (a, b) = ((&b"a"[..], 1), (&b"b"[..], 2));
    assert!(group(&[a, b], &[(id(1, 0), 0, 7, 1), (id(2, 0), 1, 7, 1)]).is_some());
    assert!(group(&[b, a], &[]).is_none(), "names out of order");
    assert!(group(&[a, a], &[]).is_none(), "a name twice");
    assert!(group(&[a], &[(id(1, 0), 1, 7, 1)]).is_none(), "nobody's");
    assert!(group(&[a], &[(id(2, 0), 0, 7, 1), (id(1, 0), 0, 7, 1)]).is_none());
    assert!(group(&[a], &[(id(1, 0), 0, 7, u64::MAX)]).is_none());
}

#[test]
fn a_million_pending_are_found_and_ended_at_once() {
    const COUNT: u64 = 1_000_000;
    let mut stream = Stream::default();
    stream.add_group(b"g", Group::new(StreamId::MIN, None));
    let consumer = stream.edit_group(b"g", |group| {
        let (consumer, _) = group.find_or_add(b"c", 1);
        for ms in 1..=COUNT {
            let pending = Pending {
                consumer,
                delivered_ms: ms,
                deliveries: 1,
            };
            group.set(id(ms, 0), Some(pending));
        }
        consumer
    });
    let group = stream.group(b"g").unwrap();
    let middle = group
        .pending_in(id(COUNT / 2, 0)..=StreamId::MAX, consumer)
        .next();
    assert_eq!(middle.map(|(id, _)| id.ms), Some(COUNT / 2));
    let bytes = stream.heap_bytes();
    assert!(bytes < 150 * COUNT as usize, "{bytes}");
    for ms in 1..=COUNT {
        stream.edit_group(b"g", |group| group.set(id(ms, 0), None));
    }
    assert!(stream.heap_bytes() < 1000);
}

#[test]
fn small_entries_take_few_bytes() {
    let mut stream = Stream::default();
    for n in 0..100_000u64 {
        append(
            &mut stream,
            id(1_700_000_000_000 + n / 3, n % 3),
            &[("n", &n.to_string())],
        );
    }
    let each = stream.heap_bytes() as f64 / 100_000.0;
    assert!(each < 14.0, "{each} bytes");
}
