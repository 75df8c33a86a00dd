use proptest::collection::vec;
use proptest::prelude::*;

use super::{Malformed, decode, encode, skip};
use crate::expiry::NEVER;
use crate::keyspace::tests::describe;
use crate::keyspace::{Key, Record};
use crate::value::{
    Collection, Element, End, Group, Hash, HashLimits, Header, LATEST_FIELD_DEADLINE, List,
    ListLimits, Pending, Set, SetLimits, Stream, StreamId, StreamLimits, Value, ZSet, ZSetLimits,
    make_raw,
};

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..6),
        vec(any::<u8>(), 40..50),
        (0usize..3).prop_map(|more| vec![b'x'; 127 + more]),
        (-300i64..300).prop_map(|number| number.to_string().into_bytes()),
    ]
}

/// Values of every type, on both sides of each encoding's limits.
fn value() -> impl Strategy<Value = Value> {
    let size = prop_oneof![1usize..4, 5usize..700];
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (text(), any::<bool>()).prop_map(|(mut text, raw)| {
            text.shrink_to_fit();
            if raw {
                make_raw(&mut text);
            }
            Value::Str(text)
        }),
        (
            size.clone(),
            vec((text(), text(), field_deadline()), 1..8),
            1usize..9
        )
            .prop_map(|(size, seed, most)| {
                let mut hash = Hash::default();
                let limits = HashLimits {
                    max_entries: most * 80,
                    max_value: 64,
                };
                for at in 0..size {
                    let (field, value, deadline) = &seed[at % seed.len()];
                    let field = [field, at.to_string().as_bytes()].concat();
                    hash.insert(&field, value, limits);
                    hash.set_deadline(&field, *deadline);
                }
                hash.into_value()
            }),
        (size.clone(), any::<bool>(), any::<i64>(), 1usize..9).prop_map(
            |(size, integers, base, most)| {
                let mut set = Set::default();
                let limits = SetLimits {
                    max_intset_entries: most * 80,
                };
                let step = base >> 13;
                for at in 0..size as i64 {
                    let member = base.wrapping_add(at.wrapping_mul(step | 1)).to_string();
                    set.insert(member.as_bytes(), limits);
                    if !integers {
                        set.insert(format!("m{at}").as_bytes(), limits);
                    }
                }
                set.into_value()
            }
        ),
        (size.clone(), vec(text(), 1..8), any::<bool>()).prop_map(|(size, seed, turned)| {
            let mut list = List::default();
            for at in 0..size {
                let end = if turned { End::Head } else { End::Tail };
                list.push(end, &seed[at % seed.len()], ListLimits::default());
            }
            list.into_value()
        }),
        (
            0usize..300,
            vec((text(), text()), 1..8),
            vec(any::<u64>(), 1..6)
        )
            .prop_map(|(size, seed, numbers)| stream(size, &seed, &numbers).into_value()),
        (size, vec(text(), 1..8), vec(score(), 1..8), 1usize..9).prop_map(
            |(size, seed, scores, most)| {
                let mut zset = ZSet::default();
                let limits = ZSetLimits {
                    max_entries: most * 80,
                    max_value: 64,
                };
                for at in 0..size {
                    let member = [&seed[at % seed.len()], at.to_string().as_bytes()].concat();
                    zset.insert(&member, scores[at % scores.len()], limits);
                }
                zset.into_value()
            }
        ),
    ]
}

fn field_deadline() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        4 => Just(None),
        1 => (1..=LATEST_FIELD_DEADLINE).prop_map(Some),
        1 => Just(Some(LATEST_FIELD_DEADLINE)),
    ]
}

/// A stream of several blocks with entries that are deleted, and groups.
fn stream(size: usize, seed: &[(Vec<u8>, Vec<u8>)], numbers: &[u64]) -> Stream {
    let mut stream = Stream::default();
    let number = |at: usize| numbers[at % numbers.len()];
    let base = number(0) >> 1;
    let id = |at: usize| StreamId::new(base + at as u64 / 2, at as u64 % 2 + 1);
    for at in 0..size {
        let (field, value) = &seed[at / 7 % seed.len()];
        let pairs = [[&field[..], &value[..]], [b"n", &seed[at % seed.len()].1]];
        let pairs = &pairs[..=at / 11 % 2];
        stream
            .append(id(at), pairs, StreamLimits::default())
            .unwrap();
    }
    for at in 0..size / 3 {
        stream.delete(id(number(at) as usize % size));
    }
    for (at, (name, _)) in seed.iter().enumerate() {
        let read = (at % 2 == 0).then_some(number(at) >> 1);
        stream.add_group(name, Group::new(id(at), read));
        stream.edit_group(name, |group| {
            for (at, (name, _)) in seed.iter().enumerate() {
                let (consumer, _) = group.find_or_add(name, number(at + 1));
                let pending = Pending {
                    consumer,
                    delivered_ms: number(at + 2),
                    deliveries: number(at + 3) >> 1,
                };
                group.set(id(number(at) as usize % 1000), Some(pending));
            }
        });
    }
    let header = stream.header();
    stream.set_header(Header {
        added: header.added + (number(3) >> 2),
        ..header
    });
    stream
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        -3.0..3.0,
        any::<f64>().prop_filter("a number", |score| !score.is_nan()),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let deadline = prop_oneof![Just(NEVER), 0..NEVER];
    (text(), value(), deadline, any::<u32>()).prop_map(|(key, value, deadline, accessed)| Record {
        key: Key::from(key.as_slice()),
        value,
        deadline,
        accessed,
    })
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

fn bits(value: &Value) -> Vec<u64> {
    match value {
        Value::ZSet(zset) => zset.iter().map(|(_, score)| score.to_bits()).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_record_comes_back(record in any_record(), behind in vec(any::<u8>(), 0..3)) {
        let mut bytes = encoded(&record);
        let length = bytes.len();
        bytes.extend_from_slice(&behind);

        let mut rest = bytes.as_slice();
        let mut back = decode(&mut rest).unwrap();
        prop_assert_eq!(rest, &behind[..]);
        prop_assert_eq!(describe(&back), describe(&record));
        prop_assert_eq!(back.accessed, record.accessed);
        prop_assert_eq!(bits(&back.value), bits(&record.value));

        let mut rest = bytes.as_slice();
        skip(&mut rest).unwrap();
        prop_assert_eq!(rest, &behind[..]);

        // What came back is a value like any other.
        match &mut back.value {
            Value::Hash(hash) => {
                let first = hash.iter().next().unwrap().0.to_vec();
                prop_assert!(hash.remove(&first) && !hash.contains(&first));
                prop_assert!(hash.insert(&first, b"", HashLimits::default()));
            }
            Value::Set(set) => {
                let first = set.iter().next().unwrap().to_vec();
                prop_assert!(set.remove(&first) && !set.contains(&first));
                prop_assert!(set.insert(&first, SetLimits::default()));
            }
            Value::List(list) => {
                let first = list.iter().next().map(Element::to_vec);
                list.push(End::Head, b"before", ListLimits::default());
                prop_assert_eq!(list.get(1).map(Element::to_vec), first);
            }
            Value::ZSet(zset) => {
                let first = zset.iter().next().unwrap().0.to_vec();
                prop_assert_eq!(zset.rank(&first), Some(0));
                prop_assert!(zset.remove(&first).is_some() && zset.score(&first).is_none());
                zset.insert(&first, 1e300, ZSetLimits::default());
                let members: Vec<_> = zset.iter().map(|(member, _)| member.to_vec()).collect();
                for (rank, member) in members.iter().enumerate() {
                    prop_assert_eq!(zset.rank(member), Some(rank));
                }
            }
            Value::Stream(stream) => {
                let (length, first) = (stream.len(), stream.first_id());
                prop_assert_eq!(stream.delete(first), length > 0);
                let next = stream.header().last_id.next().unwrap();
                stream.append(next, &[[b"f", b"v"]], StreamLimits::default()).unwrap();
                prop_assert_eq!(stream.last().map(|last| last.id), Some(next));
            }
            Value::Int(_) | Value::Str(_) => {}
        }

        for cut in [0, length / 2, length - 1] {
            let mut short = &bytes[..cut];
            prop_assert!(decode(&mut short).is_err());
        }
    }

    #[test]
    fn changed_bytes_are_a_record_or_none(
        record in any_record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&record);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut rest = bytes.as_slice();
        if let Ok(other) = decode(&mut rest) {
            let read = bytes.len() - rest.len();
            prop_assert_eq!(encoded(&other).len(), read);
            let mut again = &bytes[..];
            skip(&mut again).unwrap();
            prop_assert_eq!(again, rest);
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_none(kind in 0u8..8, flags in 0u8..8, rest in vec(any::<u8>(), 0..40)) {
        let bytes = [&[kind, flags][..], &rest].concat();
        let _ = decode(&mut bytes.as_slice());
    }
}

/// type, flags, access; then key `k`.
fn bytes(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, flags, 7, 0, 0, 0, 1, b'k'][..], value].concat()
}

#[test]
fn the_bytes_are_those_of_the_contract() {
    let record = |value| Record {
        key: Key::from(&b"k"[..]),
        value,
        deadline: NEVER,
        accessed: 7,
    };
    let mut set = Set::default();
    set.insert(b"-5", SetLimits::default());
    let mut zset = ZSet::default();
    zset.insert(b"m", 2.0, ZSetLimits::default());
    let mut hash = Hash::default();
    hash.insert(b"f", &[b'v'; 200], HashLimits::default());
    let mut list = List::default();
    for element in [b"b".as_slice(), b"17", b"b"] {
        list.push(End::Tail, element, ListLimits::default());
    }
    let mut timed = Hash::default();
    timed.insert(b"f", b"v", HashLimits::default());
    timed.insert(b"g", b"w", HashLimits::default());
    timed.set_deadline(b"g", Some(300));
    let mut log = Stream::default();
    for (ms, seq, field, value) in [(6, 1, b"f", b"a"), (6, 2, b"f", b"b"), (7, 0, b"h", b"c")] {
        let id = StreamId::new(ms, seq);
        log.append(id, &[[field, value]], StreamLimits::default())
            .unwrap();
    }
    log.delete(StreamId::new(6, 2));
    log.add_group(b"g", Group::new(StreamId::new(6, 1), Some(1)));
    log.edit_group(b"g", |group| {
        let (consumer, _) = group.find_or_add(b"c", 300);
        let pending = Pending {
            consumer,
            delivered_ms: 301,
            deliveries: 2,
        };
        group.set(StreamId::new(6, 1), Some(pending));
    });
    let two = 2f64.to_bits().to_le_bytes();
    for (value, expected) in [
        (Value::Int(-2), bytes(1, 0, &(-2i64).to_le_bytes())),
        (Value::Str(b"ab".to_vec()), bytes(2, 0, b"\x02ab")),
        (
            Value::Str(vec![b'a'; 45]),
            bytes(2, 2, &[&[45], &[b'a'; 45][..]].concat()),
        ),
        (
            hash.into_value(),
            bytes(3, 2, &[b"\x01\x01f\xc8\x01", &[b'v'; 200][..]].concat()),
        ),
        (
            timed.into_value(),
            bytes(3, 4, b"\x02\x01f\x01v\x00\x01g\x01w\xac\x02"),
        ),
        (set.into_value(), bytes(4, 0, b"\x01\x02-5")),
        (
            zset.into_value(),
            bytes(5, 0, &[b"\x01\x01m", &two[..]].concat()),
        ),
        (list.into_value(), bytes(6, 0, b"\x03\x01b\x0217\x01b")),
        (
            log.into_value(),
            bytes(
                7,
                0,
                // Last id 7-0, deleted 6-2, 3 added; a block from 6-1 on: field f;
                // 6-1 f a; 6-2 f b, deleted; 7-0 of another field. Group g, up to
                // 6-1, 1 read; consumer c at 300; 6-1 is its since 301, twice.
                b"\x07\x00\x06\x02\x03\x01\x06\x01\x18\x01\x01f\
                  \x12\x00\x00\x01a\x05\x13\x00\x01\x01b\x05\x1c\x01\x00\x01\x01h\x01c\x08\
                  \x01\x01g\x06\x01\x02\x01\x01c\xac\x02\x01\x06\x01\x00\xad\x02\x02",
            ),
        ),
    ] {
        assert_eq!(encoded(&record(value)), expected);
    }
    let mut dated = record(Value::Int(0));
    dated.deadline = 9;
    let expected = [
        1, 1, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, b'k', 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(encoded(&dated), expected);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let one = 1f64.to_bits().to_le_bytes();
    let two = 2f64.to_bits().to_le_bytes();
    let nan = f64::NAN.to_bits().to_le_bytes();
    let scored = |entries: &[(&[u8], [u8; 8])]| {
        let mut value = vec![entries.len() as u8];
        for (member, score) in entries {
            value.push(member.len() as u8);
            value.extend_from_slice(member);
            value.extend_from_slice(score);
        }
        value
    };
    for (kind, flags, value, expected) in [
        (0, 0, vec![], Malformed::Type(0)),
        (7, 2, vec![], Malformed::Flags(2)),
        (7, 0, vec![1, 0, 0, 0, 0, 0], Malformed::Short),
        (
            7,
            0,
            vec![1, 0, 0, 0, 0, 1, 1, 0, 0, 0],
            Malformed::Elements,
        ),
        (200, 0, vec![], Malformed::Type(200)),
        (1, 2, vec![0; 8], Malformed::Flags(2)),
        (2, 4, vec![0], Malformed::Flags(4)),
        (6, 2, vec![1, 0], Malformed::Flags(2)),
        (3, 8, vec![0], Malformed::Flags(8)),
        (4, 4, b"\x01\x01m".to_vec(), Malformed::Flags(4)),
        (3, 4, b"\x01\x01f\x01v\x00".to_vec(), Malformed::Deadline),
        (3, 4, b"\x01\x01f\x01v".to_vec(), Malformed::Short),
        (3, 4, b"\x01\x01f\x01v\x81\x00".to_vec(), Malformed::Length),
        (
            3,
            4,
            b"\x01\x01f\x01v\x80\x80\x80\x80\x80\x80\x10".to_vec(),
            Malformed::Deadline,
        ),
        (
            3,
            4,
            b"\x02\x01f\x00\x01\x01f\x00\x01".to_vec(),
            Malformed::Elements,
        ),
        (3, 0, vec![0], Malformed::Empty),
        (6, 0, vec![0], Malformed::Empty),
        (6, 0, vec![2, 1, b'a'], Malformed::Short),
        (2, 0, vec![0x80, 0], Malformed::Length),
        (2, 0, [&[0xff; 9][..], &[2]].concat(), Malformed::Length),
        (2, 0, [&[0xff; 9][..], &[1]].concat(), Malformed::Short),
        (4, 2, [&[0xff; 9][..], &[1, 0]].concat(), Malformed::Short),
        (
            3,
            0,
            b"\x02\x01f\x00\x01f\x00".to_vec(),
            Malformed::Elements,
        ),
        (
            3,
            2,
            b"\x02\x01f\x00\x01f\x00".to_vec(),
            Malformed::Elements,
        ),
        (4, 2, b"\x02\x01m\x01m".to_vec(), Malformed::Elements),
        (4, 0, b"\x02\x011\x011".to_vec(), Malformed::Elements),
        (4, 0, b"\x02\x012\x011".to_vec(), Malformed::Elements),
        (4, 0, b"\x01\x01m".to_vec(), Malformed::Elements),
        (
            5,
            0,
            scored(&[(b"a", two), (b"b", one)]),
            Malformed::Elements,
        ),
        (
            5,
            2,
            scored(&[(b"b", one), (b"a", one)]),
            Malformed::Elements,
        ),
        (
            5,
            0,
            scored(&[(b"a", one), (b"a", two)]),
            Malformed::Elements,
        ),
        (
            5,
            2,
            scored(&[(b"a", one), (b"a", two)]),
            Malformed::Elements,
        ),
        (5, 2, scored(&[(b"a", nan)]), Malformed::Elements),
    ] {
        let bytes = bytes(kind, flags, &value);
        assert_eq!(
            decode(&mut &bytes[..]).map(drop),
            Err(expected),
            "{bytes:?}"
        );
    }
}
