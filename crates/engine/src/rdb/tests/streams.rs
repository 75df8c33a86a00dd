//! Streams whose payloads are known, and such that contradict themselves.

use super::known::{long, short};
use super::*;
use crate::rdb::listpack;
use crate::rdb::read::Reader;

/// Three entries, one of them deleted; a group that one was given to.
pub(super) fn small_stream() -> Value {
    stream_with(0x01a1_ff0a_8adf, None)
}

fn stream_with(now_ms: u64, read: Option<u64>) -> Value {
    let id = StreamId::new;
    let pair = |field: &str, value: &str| (field.as_bytes().to_vec(), value.as_bytes().to_vec());
    let entries = [
        (id(5, 1), vec![pair("f", "v")]),
        (id(5, 3), vec![pair("f", "12")]),
        (id(9, 0), vec![pair("g", "v"), pair("h", "-1")]),
    ];
    let given = [(id(5, 1), now_ms, 1)];
    let consumers = [("b", now_ms, &[][..]), ("c", now_ms, &given)];
    let group = group((id(5, 1), read), &consumers);
    stream(entries, &[id(5, 3)], [(b"g".to_vec(), group)])
}

/// What redis-server 7.0.15, 6.2.5 and 8.2.3 answered for the same stream.
#[test]
fn payloads_of_redis_servers() {
    let node: &[u8] = b"\x01\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01>>\0\0\0\x18\0\x02\x01\x01\x01\x01\x01\x81f\
        \x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\x03\x01\0\x01\x02\x01\x0c\x01\x04\x01\0\x01\x04\x01\
        \xdf\xff\x02\x02\x01\x81g\x02\x81v\x02\x81h\x02\xdf\xff\x02\x08\x01\xff";
    let of_7_0 = [
        b"\x13",
        node,
        b"\x02\x09\0\x05\x01\x05\x03\x03\x01\x01g\x05\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\
          \0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\xdf\x8a\n\xff\xa1\x01\0\0\x01\x02\
          \x01b\xdf\x8a\n\xff\xa1\x01\0\0\0\
          \x01c\xdf\x8a\n\xff\xa1\x01\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\
          \n\0\xac^\x0c~\xb1zX\xbd",
    ]
    .concat();
    let of_6_2 = [
        b"\x0f",
        node,
        b"\x02\x09\0\x01\x01g\x05\x01\x01\
          \0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\xe1\x8a\n\xff\xa1\x01\0\0\x01\x02\
          \x01b\xe1\x8a\n\xff\xa1\x01\0\0\0\
          \x01c\xe1\x8a\n\xff\xa1\x01\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\
          \t\0\x14e\xf6f\xe8\x05F@",
    ]
    .concat();
    let of_8_2 = [
        b"\x15",
        node,
        b"\x02\x09\0\x05\x01\x05\x03\x03\x01\x01g\x05\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\
          \0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\xe2\x8a\n\xff\xa1\x01\0\0\x01\x02\
          \x01b\xe2\x8a\n\xff\xa1\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\
          \x01c\xe2\x8a\n\xff\xa1\x01\0\0\xe2\x8a\n\xff\xa1\x01\0\0\
          \x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\
          \x0c\0\xc9\xb3\xce\x8e\xb2\x94\x8d\xb1",
    ]
    .concat();
    let value = read(&of_7_0).unwrap();
    assert_eq!(shown(&value), shown(&small_stream()));
    assert_eq!(
        shown(&read(&of_8_2).unwrap()),
        shown(&stream_with(0x01a1_ff0a_8ae2, None))
    );

    // The oldest form says nothing of what was ever added or deleted.
    let mut expected = stream_with(0x01a1_ff0a_8ae1, Some(1));
    let Value::Stream(stream) = &mut expected else {
        panic!("{expected:?}")
    };
    stream.set_header(Header {
        added: 2,
        max_deleted: StreamId::MIN,
        ..stream.header()
    });
    assert_eq!(shown(&read(&of_6_2).unwrap()), shown(&expected));

    // What is written is the same but for compression.
    let written = encode(&value);
    let mut ours = Reader::new(&written, usize::MAX);
    let mut theirs = Reader::new(&of_7_0, usize::MAX);
    assert_eq!(ours.take(2), theirs.take(2));
    for _ in 0..2 {
        assert_eq!(
            ours.string().unwrap().to_vec(),
            theirs.string().unwrap().to_vec()
        );
    }
    let (ours, theirs) = (ours.rest(), theirs.rest());
    assert_eq!(ours[..ours.len() - 8], theirs[..theirs.len() - 8]);
}

/// A stream of one node behind 5-1, with these elements and what follows.
fn of_node(elements: &[i64], rest: &[u8]) -> Vec<u8> {
    let mut node = listpack::Builder::new();
    for element in elements {
        node.push_integer(*element);
    }
    let key = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1];
    let (key, node) = (short(&key), long(&node.finish()));
    payload(&[&[kind::STREAM_LISTPACKS_2, 1], &key, &node, rest])
}

#[test]
fn what_contradicts_itself_is_refused() {
    // One entry of the node's one field, 7; length, three ids, entries added, no groups.
    let rest = [1, 5, 1, 5, 1, 0, 0, 1, 0];
    let good = [1, 0, 1, 7, 0, 2, 0, 0, 8, 4];
    assert!(read(&of_node(&good, &rest)).is_ok());
    // An element of the node is another one.
    for (at, elements) in [
        (0, &[0i64, 2, -1][..]),
        (1, &[1]),
        (2, &[0, 2, 100, -1]),
        (4, &[1]),
        (5, &[0, 4, -1]),
        (6, &[1, -1]),
        (7, &[1, -1]),
        (9, &[3, 5]),
    ] {
        for element in elements {
            let mut node = good;
            node[at] = *element;
            let bytes = of_node(&node, &rest);
            assert_eq!(
                read(&bytes).map(drop),
                Err(PayloadError::Format),
                "{at} {element}"
            );
        }
    }
    for node in [
        // Cut short, too long, out of order, without fields.
        &good[..9],
        &[1, 0, 1, 7, 0, 2, 0, 0, 8, 4, 2],
        &[2, 0, 1, 7, 0, 2, 0, 0, 8, 4, 2, 0, 0, 8, 4],
        &[1, 0, 0, 0, 2, 0, 0, 3],
    ] {
        assert_eq!(
            read(&of_node(node, &rest)).map(drop),
            Err(PayloadError::Format)
        );
    }
    // A length, a last id or a number of entries added that is too low.
    for rest in [
        [2, 5, 1, 5, 1, 0, 0, 2, 0],
        [1, 5, 0, 5, 1, 0, 0, 1, 0],
        [1, 5, 1, 5, 1, 0, 0, 0, 0],
    ] {
        assert_eq!(
            read(&of_node(&good, &rest)).map(drop),
            Err(PayloadError::Format)
        );
    }
    // A node with deleted entries alone is nothing.
    let dead = [0, 1, 1, 7, 0, 3, 0, 0, 8, 4];
    let value = read(&of_node(&dead, &[0, 5, 1, 0, 0, 5, 1, 1, 0])).unwrap();
    assert!(matches!(&value, Value::Stream(stream) if stream.blocks() == 0));

    // Groups: the good one, then each that is wrong.
    let id = |seq: u8| [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, seq];
    let moment = [1, 0, 0, 0, 0, 0, 0, 0];
    let with = |groups: &[&[u8]]| {
        let groups = [&rest[..8], &groups.concat()].concat();
        read(&of_node(&good, &groups)).map(drop)
    };
    let bad = Err(PayloadError::Format);
    let head = b"\x01\x01g\x05\x01\x01";
    let owned = [&id(1)[..], &moment, &[1]].concat();
    let consumer = [&[1, 1, b'c'][..], &moment, &[1], &id(1)].concat();
    assert_eq!(with(&[head, &[1], &owned, &consumer]), Ok(()));
    // Nobody's, somebody's twice, somebody's that is not pending, out of order.
    assert_eq!(with(&[head, &[1], &owned, &[0]]), bad);
    let twice = [&[1, 1, b'c'][..], &moment, &[2], &id(1), &id(1)].concat();
    assert_eq!(with(&[head, &[1], &owned, &twice]), bad);
    let other = [&[1, 1, b'c'][..], &moment, &[1], &id(2)].concat();
    assert_eq!(with(&[head, &[1], &owned, &other]), bad);
    assert_eq!(with(&[head, &[2], &owned, &owned, &consumer]), bad);
    let past = [&id(1)[..], &[0xff; 8], &[1]].concat();
    assert_eq!(with(&[head, &[1], &past, &consumer]), bad);
    // Two of one name.
    let none = b"\x01g\x05\x01\x01\0\0";
    assert_eq!(with(&[&[2], none, b"\x01h\x05\x01\x01\0\0"]), Ok(()));
    assert_eq!(with(&[&[2], none, none]), bad);
    let same = [&[2, 1, b'c'][..], &moment, &[0, 1, b'c'], &moment, &[0]].concat();
    assert_eq!(with(&[head, &[0], &same]), bad);
}

/// A deleted entry with a higher id than the one behind it: XSETID goes back.
#[test]
fn ids_that_go_back_behind_what_is_deleted() {
    let node = [2, 1, 1, 7, 0, 2, 0, 0, 8, 4, 3, 9, 0, 8, 4, 2, 1, 0, 9, 4];
    let value = read(&of_node(&node, &[2, 6, 1, 5, 1, 14, 1, 3, 0])).unwrap();
    let Value::Stream(stream) = &value else {
        panic!("{value:?}")
    };
    let ids: Vec<_> = stream
        .range(StreamId::MIN, StreamId::MAX, false)
        .map(|entry| entry.id)
        .collect();
    assert_eq!(ids, [StreamId::new(5, 1), StreamId::new(6, 1)]);
    assert_eq!(stream.blocks(), 2);
    assert_eq!(shown(&read(&encode(&value)).unwrap()), shown(&value));
}
