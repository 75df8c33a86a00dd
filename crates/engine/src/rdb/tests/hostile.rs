//! Payloads that were damaged or made up.

use super::*;
use crate::rdb::crc64;

/// A payload of every type that is read, and of every form of its parts.
fn samples() -> Vec<Vec<u8>> {
    let text = |byte: u8, length: usize| vec![byte; length];
    let mut samples: Vec<Vec<u8>> = [
        string(b"12"),
        string(b"-30000"),
        string(b"2000000000"),
        string(b"some text that is not compressed"),
        string(&b"abcabcabcabcabcabd".repeat(20)),
        hash([
            (b"f".to_vec(), b"v".to_vec()),
            (b"7".to_vec(), text(b'y', 30)),
        ]),
        hash((0..30).map(|at| {
            (
                format!("field{at}").into_bytes(),
                format!("{at}").into_bytes(),
            )
        })),
        hash([
            (b"f".to_vec(), text(b'x', 70)),
            (b"500".to_vec(), b"v".to_vec()),
        ]),
        timed([
            (b"f".to_vec(), b"v".to_vec(), 5000),
            (b"g".to_vec(), b"w".to_vec(), 0),
        ]),
        timed([
            (b"f".to_vec(), text(b'x', 70), 0),
            (b"g".to_vec(), b"w".to_vec(), 1 << 45),
            (b"h".to_vec(), Vec::new(), 7),
        ]),
        streams::small_stream(),
        stream([], &[], []),
        list([b"a".to_vec(), b"-5".to_vec(), text(b'l', 70), Vec::new()]),
        list((0..3).map(|at| (0..3000).map(|byte| (byte * byte % 5 + at) as u8).collect())),
        set((0..20).map(|at| (at * 3 - 5).to_string().into_bytes())),
        set([b"100000".to_vec(), b"-9999999999".to_vec()]),
        set([b"member".to_vec(), b"9".to_vec(), text(b'z', 50)]),
        zset([
            (b"a".to_vec(), 1.0),
            (b"b".to_vec(), 1.5),
            (b"c".to_vec(), -4.0e18),
        ]),
        zset([
            (b"a".to_vec(), f64::INFINITY),
            (text(b'm', 65), 0.25),
            (b"3".to_vec(), -7.0),
        ]),
    ]
    .iter()
    .map(encode)
    .collect();
    samples.extend(known::old_forms().into_iter().map(|(payload, _)| payload));
    // Each byte of each is changed: long ones would only take longer.
    samples.retain(|sample| sample.len() < 1000);
    samples
}

/// Uses a value as commands do; it must not panic, nor lose what it holds.
fn exercise(value: &mut Value) {
    let again = read(&encode(value)).unwrap();
    if let (Value::Hash(hash), Value::Hash(again)) = (&*value, &again)
        && hash.has_deadlines()
    {
        // They are written in the order of their deadlines.
        let fields = |hash: &Hash| {
            let mut fields: Vec<_> = hash
                .stored()
                .map(|(field, value, deadline)| (field.to_vec(), value.to_vec(), deadline))
                .collect();
            fields.sort();
            fields
        };
        assert_eq!(fields(again), fields(hash));
        assert_eq!(again.encoding(), hash.encoding());
    } else {
        assert_eq!(shown(&again), shown(value));
    }
    match value {
        Value::Hash(hash) => {
            let fields: Vec<Vec<u8>> = hash.iter().map(|(field, _)| field.to_vec()).collect();
            assert_eq!(fields.len(), Collection::len(&**hash));
            assert!(hash.insert(b"a field of nobody's", b"v", HashLimits::default()));
            for field in fields {
                assert!(hash.contains(&field) && hash.remove(&field));
            }
            assert_eq!(Collection::len(&**hash), 1);
        }
        Value::List(list) => {
            let elements: Vec<Vec<u8>> = list.iter().map(Element::to_vec).collect();
            assert_eq!(elements.len(), Collection::len(&**list));
            list.push(End::Head, b"an element of nobody's", ListLimits::default());
            for element in elements.iter().rev() {
                assert_eq!(list.pop(End::Tail).as_ref(), Some(element));
            }
            assert_eq!(Collection::len(&**list), 1);
        }
        Value::Set(set) => {
            let members: Vec<Vec<u8>> = set.iter().map(|member| member.to_vec()).collect();
            assert_eq!(members.len(), Collection::len(&**set));
            assert!(set.insert(b"a member of nobody's", SetLimits::default()));
            for member in members {
                assert!(set.contains(&member) && set.remove(&member));
            }
            assert_eq!(Collection::len(&**set), 1);
        }
        Value::ZSet(zset) => {
            let members: Vec<Vec<u8>> = zset.iter().map(|(member, _)| member.to_vec()).collect();
            assert_eq!(members.len(), Collection::len(&**zset));
            for (rank, member) in members.iter().enumerate() {
                assert_eq!(zset.rank(member), Some(rank));
            }
            zset.insert(b"a member of nobody's", 0.5, ZSetLimits::default());
            for member in members {
                assert!(zset.remove(&member).is_some());
            }
            assert_eq!(Collection::len(&**zset), 1);
        }
        Value::Stream(stream) => {
            let all = |stream: &Stream| {
                stream
                    .range(StreamId::MIN, StreamId::MAX, false)
                    .map(|entry| entry.id)
                    .collect::<Vec<_>>()
            };
            let ids = all(stream);
            assert_eq!(ids.len(), Collection::len(&**stream));
            for id in ids {
                assert!(stream.get(id).is_some() && stream.delete(id));
            }
            let mut groups: Vec<_> = stream.groups().map(|(name, _)| name.to_vec()).collect();
            for name in groups.drain(..) {
                let consumers: Vec<_> = stream
                    .group(&name)
                    .unwrap()
                    .consumers()
                    .map(|(_, consumer)| consumer.name().to_vec())
                    .collect();
                for consumer in consumers {
                    stream.edit_group(&name, |group| group.remove(&consumer));
                }
                assert!(stream.group(&name).unwrap().pending().is_empty());
                assert!(stream.remove_group(&name));
            }
            if let Some(next) = stream.header().last_id.next() {
                stream
                    .append(next, &[[b"f", b"v"]], StreamLimits::default())
                    .unwrap();
                assert_eq!(all(stream), [next]);
            }
        }
        Value::Int(_) | Value::Str(_) => {}
    }
}

/// The bytes before the footer with a right checksum behind them.
fn resealed(payload: &[u8]) -> Vec<u8> {
    seal(payload[..payload.len() - FOOTER].to_vec(), REDIS_7_0)
}

#[test]
fn every_byte_changed() {
    for sample in samples() {
        for at in 0..sample.len() {
            for change in (0..8).map(|bit| 1 << bit).chain([0xff, 0x7f]) {
                let mut damaged = sample.clone();
                damaged[at] ^= change;
                assert_eq!(read(&damaged).map(drop), Err(PayloadError::Footer));
                if at < sample.len() - FOOTER
                    && let Ok(mut value) = read(&resealed(&damaged))
                {
                    exercise(&mut value);
                }
            }
        }
    }
}

#[test]
fn every_byte_the_last() {
    for sample in samples() {
        for length in 0..sample.len() {
            assert_eq!(read(&sample[..length]).map(drop), Err(PayloadError::Footer));
        }
        for length in 0..sample.len() - FOOTER {
            let cut = seal(sample[..length].to_vec(), REDIS_7_0);
            assert_eq!(read(&cut).map(drop), Err(PayloadError::Format), "{cut:?}");
        }
        // What follows the value is passed over.
        let mut longer = sample[..sample.len() - FOOTER].to_vec();
        longer.extend_from_slice(b"more");
        assert!(read(&seal(longer, REDIS_7_0)).is_ok());
    }
}

#[test]
fn versions() {
    let mut payload = encode(&string(b"text"));
    let footer = payload.len() - FOOTER;
    for version in 0u16..100 {
        payload.truncate(footer);
        payload.extend_from_slice(&version.to_le_bytes());
        let checksum = crc64::checksum(&payload);
        payload.extend_from_slice(&checksum.to_le_bytes());
        let expected = if version <= REDIS_7_4 || version == VALKEY {
            Ok(())
        } else {
            Err(PayloadError::Footer)
        };
        assert_eq!(read(&payload).map(drop), expected, "version {version}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_none(kind in 0u8..30, rest in vec(any::<u8>(), 0..60)) {
        if let Ok(mut value) = read(&payload(&[&[kind], &rest])) {
            exercise(&mut value);
        }
    }

    #[test]
    fn several_bytes_changed(sample in any::<prop::sample::Index>(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let samples = samples();
        let mut damaged = sample.get(&samples).clone();
        let length = damaged.len() - FOOTER;
        for (at, byte) in changes {
            damaged[at.index(length)] = byte;
        }
        if let Ok(mut value) = read(&resealed(&damaged)) {
            exercise(&mut value);
        }
    }
}

/// Lengths and counts that no payload could have are refused before anything
/// is allocated for them: a test with them all would otherwise not end well.
#[test]
fn lengths_that_lie() {
    let huge: [&[u8]; 4] = [
        &[0x80, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0, 0, 0x10, 0, 0, 0, 0, 0],
    ];
    for kind in 0..30 {
        for length in huge {
            // As a count or a length, and as what a compressed string becomes.
            for bytes in [
                payload(&[&[kind], length, b"text"]),
                payload(&[&[kind], &[0xc3, 4], length, &[1, b'a', b'a', 0]]),
                payload(&[&[kind], &[0xc3], length, &[4], &[1, b'a', b'a', 0]]),
            ] {
                assert_eq!(read(&bytes).map(drop), Err(PayloadError::Format));
            }
        }
    }
    // Special strings that there are none of, and lengths of no known form.
    for first in [0x82, 0xbf, 0xc4, 0xff] {
        assert_eq!(
            read(&payload(&[&[kind::STRING, first], &[0; 20]])).map(drop),
            Err(PayloadError::Format)
        );
    }
}
