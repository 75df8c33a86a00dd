use proptest::collection::vec;
use proptest::prelude::*;

use super::{FOOTER, PayloadError, REDIS_7_0, REDIS_7_4, VALKEY, decode, encode, kind, seal};
use crate::config::Settings;
use crate::expiry::NEVER;
use crate::keyspace::tests::describe;
use crate::keyspace::{Key, Record};
use crate::value::{
    Collection, Element, End, Group, Hash, HashLimits, Header, List, ListLimits, Pending, Set,
    SetLimits, Stream, StreamId, StreamLimits, Value, ZSet, ZSetLimits,
};

mod hostile;
mod known;
mod streams;

fn shown(value: &Value) -> String {
    describe(&Record {
        key: Key::from(&b"k"[..]),
        value: value.clone(),
        deadline: NEVER,
        accessed: 0,
    })
}

fn read(payload: &[u8]) -> Result<Value, PayloadError> {
    decode(payload, &Settings::default())
}

/// The payload of these bytes, the type among them.
fn payload(parts: &[&[u8]]) -> Vec<u8> {
    seal(parts.concat(), REDIS_7_0)
}

fn string(text: &[u8]) -> Value {
    super::string(text.into())
}

fn hash(fields: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Value {
    let mut hash = Hash::default();
    for (field, value) in fields {
        hash.insert(&field, &value, HashLimits::default());
    }
    hash.into_value()
}

/// A hash of fields with deadlines, 0 for none.
fn timed(fields: impl IntoIterator<Item = (Vec<u8>, Vec<u8>, u64)>) -> Value {
    let mut hash = Hash::default();
    for (field, value, deadline) in fields {
        hash.insert(&field, &value, HashLimits::default());
        if deadline > 0 {
            hash.set_deadline(&field, Some(deadline));
        }
    }
    hash.into_value()
}

fn list(elements: impl IntoIterator<Item = Vec<u8>>) -> Value {
    let mut list = List::default();
    for element in elements {
        list.push(End::Tail, &element, ListLimits::default());
    }
    list.into_value()
}

/// A stream of these entries, some of them deleted, with groups.
fn stream(
    entries: impl IntoIterator<Item = (StreamId, Vec<(Vec<u8>, Vec<u8>)>)>,
    deleted: &[StreamId],
    groups: impl IntoIterator<Item = (Vec<u8>, Group)>,
) -> Value {
    let mut stream = Stream::default();
    for (id, pairs) in entries {
        let pairs: Vec<[&[u8]; 2]> = pairs
            .iter()
            .map(|(field, value)| [&**field, &**value])
            .collect();
        stream.append(id, &pairs, StreamLimits::default()).unwrap();
    }
    for id in deleted {
        stream.delete(*id);
    }
    for (name, group) in groups {
        stream.add_group(&name, group);
    }
    stream.into_value()
}

/// A consumer: its name, when it was seen, and what it has, each with when and how
/// often it was delivered.
type Holder<'a> = (&'a str, u64, &'a [(StreamId, u64, u64)]);

/// A group of these consumers.
fn group(read: (StreamId, Option<u64>), consumers: &[Holder<'_>]) -> Group {
    let mut group = Group::new(read.0, read.1);
    for (name, seen_ms, ids) in consumers {
        let (consumer, _) = group.find_or_add(name.as_bytes(), *seen_ms);
        for (id, delivered_ms, deliveries) in *ids {
            let pending = Pending {
                consumer,
                delivered_ms: *delivered_ms,
                deliveries: *deliveries,
            };
            group.set(*id, Some(pending));
        }
    }
    group
}

fn set(members: impl IntoIterator<Item = Vec<u8>>) -> Value {
    let mut set = Set::default();
    for member in members {
        set.insert(&member, SetLimits::default());
    }
    set.into_value()
}

fn zset(members: impl IntoIterator<Item = (Vec<u8>, f64)>) -> Value {
    let mut zset = ZSet::default();
    for (member, score) in members {
        zset.insert(&member, score, ZSetLimits::default());
    }
    zset.into_value()
}

/// Texts at every limit of the encodings: integers by width, lengths by how many
/// bytes they take, what compresses and what does not.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..6),
        vec(any::<u8>(), 10..70),
        (
            prop::sample::select(vec![7u32, 8, 12, 15, 16, 23, 24, 31, 32, 62]),
            -2i64..3,
            any::<bool>()
        )
            .prop_map(|(bits, near, negative)| {
                let integer = (1i64 << bits) + near;
                (if negative { -integer } else { integer })
                    .to_string()
                    .into_bytes()
            }),
        prop::sample::select(vec![i64::MIN, i64::MAX, 0, -1])
            .prop_map(|integer| integer.to_string().into_bytes()),
        (
            prop::sample::select(vec![
                20usize, 21, 43, 44, 45, 62, 63, 64, 65, 4095, 4096, 16378, 16384
            ]),
            -1i64..2,
            any::<bool>()
        )
            .prop_map(|(length, near, repeats)| {
                let length = length.saturating_add_signed(near as isize);
                (0..length)
                    .map(|at| if repeats { b'x' } else { (at * at % 251) as u8 })
                    .collect()
            }),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        -3.0..3.0,
        prop::sample::select(vec![
            127.0,
            4096.0,
            -4097.0,
            1e17,
            1e18,
            -4.6e18,
            4.7e18,
            9_007_199_254_740_993.0
        ]),
        any::<f64>().prop_filter("a number", |score| !score.is_nan()),
    ]
}

/// Streams with ids near and far, entries with the same fields and others.
fn any_stream() -> impl Strategy<Value = Value> {
    let step = prop_oneof![4 => Just(0u64), 4 => 1u64..300, 1 => any::<u32>().prop_map(u64::from), 1 => Just(1 << 50)];
    let fields = vec((text(), text()), 1..4);
    let entry = (step, any::<u32>(), any::<bool>(), fields);
    let numbers = vec(any::<u64>(), 1..6);
    let size = prop_oneof![0usize..5, 95usize..210];
    (size, vec(entry, 1..8), numbers, 0usize..3).prop_map(|(size, seed, numbers, groups)| {
        let number = |at: usize| numbers[at % numbers.len()] >> 2;
        let mut last = StreamId::new(number(0) >> 8, 1);
        let mut ids = Vec::new();
        let entries: Vec<_> = (0..size)
            .map(|at| {
                let (step, seq, same, fields) = &seed[at % seed.len()];
                last = match step {
                    0 => StreamId::new(last.ms, last.seq + u64::from(*seq) + 1),
                    step => StreamId::new(last.ms + step, u64::from(*seq)),
                };
                ids.push(last);
                let (_, _, _, first) = &seed[0];
                let fields = if *same { first } else { fields };
                let valued = |(field, value): &(Vec<u8>, Vec<u8>)| {
                    (
                        field.clone(),
                        if at % 3 == 0 {
                            value.clone()
                        } else {
                            at.to_string().into_bytes()
                        },
                    )
                };
                (last, fields.iter().map(valued).collect())
            })
            .collect();
        let pick = |at: usize| {
            ids.get(number(at) as usize % ids.len().max(1))
                .copied()
                .unwrap_or(StreamId::new(7, 7))
        };
        let deleted: Vec<_> = (0..size / 4).map(|at| pick(at + at / 7)).collect();
        let groups = (0..groups).map(|at| {
            let read = (at % 2 == 0).then(|| number(at));
            let some: Vec<_> = (0..at * 30)
                .map(|place| {
                    (
                        StreamId::new(place as u64, number(at)),
                        number(at),
                        number(place),
                    )
                })
                .collect();
            let consumers = [("c", number(1), &some[..]), ("d", number(2), &[])];
            (
                format!("group {at}").into_bytes(),
                group((pick(at), read), &consumers[..at.min(2)]),
            )
        });
        let mut value = stream(entries, &deleted, groups);
        if let Value::Stream(stream) = &mut value {
            let header = stream.header();
            stream.set_header(Header {
                added: header.added + number(3),
                ..header
            });
        }
        value
    })
}

fn value() -> impl Strategy<Value = Value> {
    let size = prop_oneof![4 => 1usize..5, 1 => 120usize..140, 1 => 500usize..530];
    // Behind a colon: "1" and 23 are not "12" and 3.
    let numbered = |text: &[u8], at: usize| [text, b":", at.to_string().as_bytes()].concat();
    prop_oneof![
        any_stream(),
        text().prop_map(|text| string(&text)),
        (size.clone(), vec(text(), 1..6)).prop_map(move |(size, seed)| {
            list((0..size).map(|at| seed[at % seed.len()].clone()))
        }),
        (size.clone(), vec((text(), text()), 1..6)).prop_map(move |(size, seed)| {
            hash((0..size).map(|at| {
                let (field, value) = &seed[at % seed.len()];
                (numbered(field, at), value.clone())
            }))
        }),
        (
            size.clone(),
            vec((text(), text(), 0u64..3, 0..1u64 << 46), 1..6)
        )
            .prop_map(move |(size, seed)| {
                // In the order in which they are written: by deadline, then those without.
                let mut fields: Vec<_> = (0..size)
                    .map(|at| {
                        let (field, value, form, deadline) = &seed[at % seed.len()];
                        (
                            numbered(field, at),
                            value.clone(),
                            if *form == 0 { 0 } else { (*deadline).max(1) },
                        )
                    })
                    .collect();
                fields.sort_by_key(|(_, _, deadline)| deadline.wrapping_sub(1));
                timed(fields)
            }),
        (size.clone(), vec(text(), 1..6)).prop_map(move |(size, seed)| {
            set((0..size).map(|at| {
                let member = &seed[at % seed.len()];
                if at < seed.len() {
                    member.clone()
                } else {
                    at.to_string().into_bytes()
                }
            }))
        }),
        (size.clone(), any::<i64>()).prop_map(|(size, base)| {
            set((0..size as i64).map(|at| base.wrapping_mul(at).to_string().into_bytes()))
        }),
        (size, vec((text(), score()), 1..6)).prop_map(move |(size, seed)| {
            zset((0..size).map(|at| {
                let (member, score) = &seed[at % seed.len()];
                (numbered(member, at), *score)
            }))
        }),
    ]
}

proptest! {
    #[test]
    fn a_value_comes_back(value in value()) {
        let payload = encode(&value);
        let back = read(&payload).unwrap();
        prop_assert_eq!(shown(&back), shown(&value));
        // It is written as it was read.
        let again = encode(&back);
        if matches!(value, Value::Int(_) | Value::Str(_) | Value::List(_) | Value::ZSet(_) | Value::Stream(_)) {
            prop_assert_eq!(&again, &payload);
        }
        prop_assert_eq!(shown(&read(&again).unwrap()), shown(&value));
    }

    #[test]
    fn the_limits_decide_the_encoding(value in value(), most in 1usize..600) {
        let mut settings = Settings::default();
        settings.hash.max_entries = most;
        settings.set.max_intset_entries = most;
        settings.zset.max_entries = most;
        let back = decode(&encode(&value), &settings).unwrap();
        let form = |value: &Value| match value {
            Value::Hash(hash) => Some((hash.is_compact(), Collection::len(&**hash))),
            Value::Set(set) => Some((set.is_compact(), Collection::len(&**set))),
            Value::ZSet(zset) => Some((zset.is_compact(), Collection::len(&**zset))),
            Value::Int(_) | Value::Str(_) | Value::List(_) | Value::Stream(_) => None,
        };
        if let (Some((was_compact, before)), Some((is_compact, after))) = (form(&value), form(&back)) {
            prop_assert_eq!(before, after);
            let fits = before <= most;
            prop_assert!(fits || !is_compact);
            prop_assert!(is_compact || !fits || !was_compact);
        }
    }
}

#[test]
fn what_decompresses_to_more_than_a_string_may_take_is_refused() {
    let value = hash((0..40u8).map(|at| (vec![at], vec![b'x'; 1000])));
    let payload = encode(&value);
    let within = |most| {
        let settings = Settings {
            proto_max_bulk_len: most,
            ..Settings::default()
        };
        decode(&payload, &settings).map(drop)
    };
    assert_eq!(within(40_000), Ok(()));
    assert_eq!(within(39_999), Err(PayloadError::Format));
}
