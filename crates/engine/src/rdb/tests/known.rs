//! Payloads whose bytes are known: from a redis-server, or from the format's
//! description where no server of today writes it.

use super::*;
use crate::rdb::read::Reader;
use crate::rdb::{crc64, listpack};

/// What redis-server 7.0.15 answered to DUMP.
#[test]
fn payloads_of_a_redis_server() {
    let cases: [(&[u8], Value); 3] = [
        (
            b"\x00\x01b\n\x00\x16$\xb8\x91\xa6\xe3\x12\x83",
            string(b"b"),
        ),
        (
            b"\x00\xc3\t@@\x01aa\xe03\x00\x01aa\n\x00\xc3e\x96\x12\xce\x1c\xc4l",
            string(&[b'a'; 64]),
        ),
        (
            b"\x11\xc3@[@h\x0eh\x00\x00\x00\x0e\x00\x81c\x02\x00\x01\x81d\x02\xf4 \r \x00\x04 \x00\t\
              \x81b@\x0c\x08\x8a]xEc\x01\t\x81a@\x0c\x08d\xa7\xb3\xb6\xe0\r\t\x81e@\x0c\x19\xcc\xce\
              \xa0{\xd6?\t\x81f\x02\x874.7e+18\x08\x81g\x02\x971.0\xe0\x05\x00\x071e+300\x18\xff\n\
              \x00\xd1\xe0\xd5\xc6\x94T\xf1\xfb",
            zset([
                (b"a".to_vec(), 1e18),
                (b"b".to_vec(), 1e17),
                (b"c".to_vec(), -0.0),
                (b"d".to_vec(), 9_007_199_254_740_993.0),
                (b"e".to_vec(), 4.6e18),
                (b"f".to_vec(), 4.7e18),
                (b"g".to_vec(), 1e300),
            ]),
        ),
    ];
    for (payload, expected) in cases {
        let value = read(payload).unwrap();
        assert_eq!(shown(&value), shown(&expected));
    }
}

/// What redis-server 8.2.3 answered to DUMP, and valkey-server 9.1.2.
#[test]
fn fields_with_deadlines() {
    let at = 0x01a1_fefc_4329;
    let field = |name: u8, value: u8, deadline| (vec![name], vec![value], deadline);
    let fields = [
        field(b'b', b'2', at - 50_000),
        field(b'a', b'1', at),
        field(b'c', b'3', at),
        field(b'd', b'4', 0),
    ];
    let listpack = b"\x19\xd9\x7f\xfb\xfe\xa1\x01\x00\x00;;\x00\x00\x00\x0c\x00\x81b\x02\x02\x01\xf4\
        \xd9\x7f\xfb\xfe\xa1\x01\x00\x00\t\x81a\x02\x01\x01\xf4)C\xfc\xfe\xa1\x01\x00\x00\t\x81c\x02\x03\
        \x01\xf4)C\xfc\xfe\xa1\x01\x00\x00\t\x81d\x02\x04\x01\x00\x01\xff\x0c\x00\xf4\r\x8e\xec\x9f6\
        \xe0\x87";
    let value = read(listpack).unwrap();
    assert_eq!(shown(&value), shown(&timed(fields.clone())));
    assert_eq!(
        uncompressed(&value, kind::HASH_LISTPACK_EX),
        listpack[..listpack.len() - 8]
    );

    let table =
        b"\x18\xd9\x7f\xfb\xfe\xa1\x01\x00\x00\x04\x00\x01d\xc0\x04\x80\x00\x00\xc3Q\x01c\xc0\x03\
        \x80\x00\x00\xc3Q\x01a\xc0\x01\x01\x01b\xc0\x02\x0c\x00W\xf4U\r\xe7\x04\x116";
    let mut settings = Settings::default();
    settings.hash.max_entries = 2;
    let back = decode(table, &settings).unwrap();
    let Value::Hash(hash) = &back else {
        panic!("{back:?}")
    };
    assert_eq!(hash.encoding(), "hashtable");
    for (name, value, deadline) in fields {
        assert_eq!(hash.get(&name), Some(&*value));
        assert_eq!(hash.deadline(&name).unwrap_or(0), deadline);
    }
    let again = encode(&back);
    assert_eq!(again.len(), table.len());
    assert_eq!(again[..10], table[..10]);
    assert_eq!(shown(&decode(&again, &settings).unwrap()), shown(&back));

    let valkey = b"\x16\x04\x01a\xc0\x01)C\xfc\xfe\xa1\x01\x00\x00\x01b\xc0\x02\xff\xff\xff\xff\xff\xff\
        \xff\xff\x01c\xc0\x03)C\xfc\xfe\xa1\x01\x00\x00\x01d\xc0\x04\xff\xff\xff\xff\xff\xff\xff\xffP\
        \x00\x33T\xff\x99\xf1\x18n\xa3";
    let expected = timed([
        field(b'a', b'1', at),
        field(b'b', b'2', 0),
        field(b'c', b'3', at),
        field(b'd', b'4', 0),
    ]);
    assert_eq!(shown(&read(valkey).unwrap()), shown(&expected));
    // The same bytes are of another type in Redis' versions.
    let body = valkey[..valkey.len() - FOOTER].to_vec();
    assert_eq!(
        read(&seal(body.clone(), REDIS_7_4)).map(drop),
        Err(PayloadError::Format)
    );
    for length in 0..body.len() {
        let cut = seal(body[..length].to_vec(), VALKEY);
        assert_eq!(read(&cut).map(drop), Err(PayloadError::Format));
    }
}

/// What the payload of this type holds, its one string as it is when it is not
/// compressed.
fn uncompressed(value: &Value, kind: u8) -> Vec<u8> {
    let payload = encode(value);
    let earliest = &payload[..9];
    let mut reader = Reader::new(&payload[9..], usize::MAX);
    let text = reader.string().unwrap();
    assert_eq!(payload[0], kind);
    [
        earliest,
        &[text.len() as u8],
        &text,
        &payload[payload.len() - FOOTER..][..2],
    ]
    .concat()
}

/// The bytes that are written, uncompressed as far as they are short.
#[test]
fn the_bytes_are_those_of_the_format() {
    let body = |value: &Value| {
        let mut payload = encode(value);
        payload.truncate(payload.len() - FOOTER);
        payload
    };
    assert_eq!(body(&string(b"b")), b"\x00\x01b");
    assert_eq!(body(&string(b"-128")), b"\x00\xc0\x80");
    assert_eq!(body(&string(b"128")), b"\x00\xc1\x80\x00");
    assert_eq!(body(&string(b"-2147483648")), b"\x00\xc2\x00\x00\x00\x80");
    assert_eq!(body(&string(b"2147483648")), b"\x00\x0a2147483648");
    assert_eq!(body(&string(b"")), b"\x00\x00");
    let long: Vec<u8> = (0..200).map(|at| (at * at % 251) as u8).collect();
    assert_eq!(body(&string(&long)), [b"\x00\x40\xc8", &long[..]].concat());
    assert_eq!(
        body(&set([b"3".to_vec(), b"-1".to_vec()])),
        b"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x03\x00"
    );
    assert_eq!(body(&set([b"m".to_vec()])), b"\x02\x01\x01m");
    assert_eq!(
        body(&list([b"a".to_vec(), b"-1".to_vec()])),
        b"\x12\x01\x02\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\xdf\xff\x02\xff"
    );
    assert_eq!(
        body(&hash([(b"f".to_vec(), b"-1".to_vec())])),
        b"\x10\x0d\x0d\x00\x00\x00\x02\x00\x81f\x02\xdf\xff\x02\xff"
    );
    let payload = encode(&string(b"b"));
    assert_eq!(payload, b"\x00\x01b\n\x00\x16$\xb8\x91\xa6\xe3\x12\x83");
    assert_eq!(crc64::checksum(&payload[..5]).to_le_bytes(), payload[5..]);
}

/// A ziplist of entries that are written already, each with what it is behind
/// the size of the one before it.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut before, mut last) = (0, 10);
    for entry in entries {
        last = 10 + bytes.len();
        let start = bytes.len();
        if before < 254 {
            bytes.push(before as u8);
        } else {
            bytes.push(254);
            bytes.extend_from_slice(&(before as u32).to_le_bytes());
        }
        bytes.extend_from_slice(entry);
        before = bytes.len() - start;
    }
    let size = 11 + bytes.len() as u32;
    let count = entries.len() as u16;
    [
        &size.to_le_bytes()[..],
        &(last as u32).to_le_bytes(),
        &count.to_le_bytes(),
        &bytes,
        &[0xff],
    ]
    .concat()
}

/// A string of less than 64 bytes.
pub(super) fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

/// A string of any length.
pub(super) fn long(text: &[u8]) -> Vec<u8> {
    let length = (text.len() as u32).to_be_bytes();
    [&[0x80][..], &length, text].concat()
}

/// Payloads in encodings that are read and not written, with what they hold.
pub(super) fn old_forms() -> Vec<(Vec<u8>, Value)> {
    let pairs = |pairs: &[(&str, &str)]| {
        hash(
            pairs
                .iter()
                .map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec())),
        )
    };
    let large = "y".repeat(300);
    let mut listpack = listpack::Builder::new();
    for member in [&b"one"[..], b"2", b"-70000", b"", &[b'q'; 5000]] {
        listpack.push(member);
    }
    vec![
        (
            payload(&[&[kind::LIST, 3], b"\x01a\xc0\xff\x00"]),
            list([b"a".to_vec(), b"-1".to_vec(), Vec::new()]),
        ),
        (
            payload(&[&[kind::LIST_ZIPLIST], &long(&ziplist(&[b"\x01a", b"\xf3"]))]),
            list([b"a".to_vec(), b"2".to_vec()]),
        ),
        (
            // An empty node does no harm.
            payload(&[
                &[kind::LIST_QUICKLIST, 3],
                &long(&ziplist(&[b"\x01a", b"\xf3"])),
                &long(&ziplist(&[])),
                &long(&ziplist(&[b"\x01b"])),
            ]),
            list([b"a".to_vec(), b"2".to_vec(), b"b".to_vec()]),
        ),
        (
            // An element that is a node by itself.
            payload(&[&[kind::LIST_QUICKLIST_2, 2, 1], b"\x01a", &[1], b"\xc0\x07"]),
            list([b"a".to_vec(), b"7".to_vec()]),
        ),
        (
            payload(&[
                &[kind::HASH_ZIPMAP],
                &short(b"\x02\x01f\x03\x00val\x03two\x02\x01x2_\xff"),
            ]),
            pairs(&[("f", "val"), ("two", "x2")]),
        ),
        (
            payload(&[
                &[kind::HASH_ZIPLIST],
                &long(&ziplist(&[
                    b"\x01f",
                    b"\xf1",
                    b"\x40\x02gg",
                    b"\xfe\x80",
                    b"\x80\x00\x00\x00\x01h",
                    b"\xc0\x00\x80",
                    b"\x01i",
                    b"\xf0\x00\x00\x80",
                    b"\x01j",
                    b"\xd0\x00\x00\x00\x80",
                    b"\x01k",
                    b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
                    b"\x01l",
                    b"\xfd",
                ])),
            ]),
            pairs(&[
                ("f", "0"),
                ("gg", "-128"),
                ("h", "-32768"),
                ("i", "-8388608"),
                ("j", "-2147483648"),
                ("k", "-9223372036854775808"),
                ("l", "12"),
            ]),
        ),
        (
            // A long entry stays in the compact encoding.
            payload(&[
                &[kind::HASH_ZIPLIST],
                &long(&ziplist(&[
                    &[b"\x41\x2c", large.as_bytes()].concat(),
                    b"\x01v",
                ])),
            ]),
            Hash::build(true, [(large.as_bytes(), &b"v"[..])].into_iter())
                .unwrap()
                .into_value(),
        ),
        (
            payload(&[
                &[kind::ZSET_ZIPLIST],
                &long(&ziplist(&[
                    b"\x01a", b"\xf2", b"\x01b", b"\x031.5", b"\x01c", b"\x03inf",
                ])),
            ]),
            zset([
                (b"a".to_vec(), 1.0),
                (b"b".to_vec(), 1.5),
                (b"c".to_vec(), f64::INFINITY),
            ]),
        ),
        (
            // Written downwards, as Redis does.
            payload(&[
                &[kind::ZSET, 4],
                b"\x01d\xfe\x01c\x031e3\x01b\x03-.5\x01a\xff",
            ]),
            zset([
                (b"a".to_vec(), f64::NEG_INFINITY),
                (b"b".to_vec(), -0.5),
                (b"c".to_vec(), 1000.0),
                (b"d".to_vec(), f64::INFINITY),
            ]),
        ),
        (
            payload(&[&[kind::SET_LISTPACK], &long(&listpack.finish())]),
            set([
                b"one".to_vec(),
                b"2".to_vec(),
                b"-70000".to_vec(),
                Vec::new(),
                vec![b'q'; 5000],
            ]),
        ),
        (
            // Integers, though not as such.
            payload(&[&[kind::SET, 3], b"\x013\xc0\xff\xc1\x00\x01"]),
            set([b"-1".to_vec(), b"3".to_vec(), b"256".to_vec()]),
        ),
    ]
}

#[test]
fn old_forms_are_read() {
    for (payload, expected) in old_forms() {
        let value = read(&payload).map(|value| shown(&value));
        assert_eq!(value, Ok(shown(&expected)), "{payload:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let two = 2f64.to_le_bytes();
    let nan = f64::NAN.to_le_bytes();
    let intset = |width: u32, count: u32, integers: &[u8]| {
        let packed = [&width.to_le_bytes()[..], &count.to_le_bytes(), integers].concat();
        payload(&[&[kind::SET_INTSET], &long(&packed)])
    };
    let listpack = |kind: u8, entries: &[&[u8]]| {
        let mut builder = listpack::Builder::new();
        for entry in entries {
            builder.push(entry);
        }
        payload(&[&[kind], &long(&builder.finish())])
    };
    for bytes in [
        // Types that there are none of: modules, and beyond.
        payload(&[&[6, 0, 0]]),
        payload(&[&[7, 0, 0]]),
        payload(&[&[8, 0, 0]]),
        payload(&[&[99, 0, 0]]),
        // Nothing in them.
        payload(&[&[]]),
        payload(&[&[kind::HASH, 0]]),
        payload(&[&[kind::SET, 0]]),
        payload(&[&[kind::LIST, 0]]),
        payload(&[&[kind::LIST_QUICKLIST, 0]]),
        payload(&[&[kind::LIST_QUICKLIST_2, 0]]),
        payload(&[&[kind::LIST_ZIPLIST], &long(&ziplist(&[]))]),
        payload(&[&[kind::LIST_QUICKLIST, 1], &long(&ziplist(&[]))]),
        payload(&[
            &[kind::LIST_QUICKLIST_2, 1, 2],
            &short(b"\x07\0\0\0\0\0\xff"),
        ]),
        payload(&[&[kind::LIST_QUICKLIST_2, 1, 1, 0]]),
        payload(&[&[kind::LIST_QUICKLIST_2, 1, 3], b"\x01a"]),
        payload(&[&[kind::LIST_QUICKLIST_2, 1], b"\xc0\x02\x01a"]),
        payload(&[&[kind::ZSET, 0]]),
        payload(&[&[kind::ZSET_2, 0]]),
        listpack(kind::HASH_LISTPACK, &[]),
        listpack(kind::ZSET_LISTPACK, &[]),
        listpack(kind::SET_LISTPACK, &[]),
        payload(&[&[kind::HASH_ZIPLIST], &long(&ziplist(&[]))]),
        payload(&[&[kind::HASH_ZIPMAP], &short(b"\x00\xff")]),
        intset(2, 0, b""),
        // Twice.
        payload(&[&[kind::HASH, 2], b"\x01f\x01v\x01f\x01w"]),
        payload(&[&[kind::SET, 2], b"\x01m\x01m"]),
        payload(&[&[kind::SET, 2], b"\xc0\x01\x011"]),
        payload(&[&[kind::ZSET_2, 2], b"\x01m", &two, b"\x01m", &nan]),
        payload(&[&[kind::ZSET_2, 2], b"\x01m", &two, b"\x01m", &two]),
        listpack(kind::HASH_LISTPACK, &[b"f", b"v", b"f", b"w"]),
        listpack(kind::ZSET_LISTPACK, &[b"m", b"1", b"m", b"2"]),
        intset(2, 2, b"\x01\x00\x01\x00"),
        // Out of order, of another number or width.
        intset(2, 2, b"\x02\x00\x01\x00"),
        intset(2, 3, b"\x01\x00\x02\x00"),
        intset(2, 1, b"\x01\x00\x02"),
        intset(3, 1, b"\x01\x00\x02"),
        // A member without a score, a score that is no number.
        listpack(kind::ZSET_LISTPACK, &[b"m"]),
        listpack(kind::ZSET_LISTPACK, &[b"m", b"nan"]),
        listpack(kind::ZSET_LISTPACK, &[b"m", b"x"]),
        listpack(kind::HASH_LISTPACK, &[b"f", b"v", b"g"]),
        payload(&[&[kind::ZSET, 1], b"\x01m\xfd"]),
        payload(&[&[kind::ZSET, 1], b"\x01m\x00"]),
        payload(&[&[kind::ZSET_2, 1], b"\x01m", &nan]),
    ] {
        assert_eq!(
            read(&bytes).map(drop),
            Err(PayloadError::Format),
            "{bytes:?}"
        );
    }
    // Deadlines beyond all time, before 0, or none where one must be.
    let earliest = 1000u64.to_le_bytes();
    let latest = ((1u64 << 46) - 1).to_le_bytes();
    for bytes in [
        payload(&[&[kind::HASH_METADATA], &earliest, &[0]]),
        payload(&[&[kind::HASH_METADATA], &latest, &[1, 2], b"\x01f\x01v"]),
        payload(&[&[kind::HASH_METADATA], &[0; 8], &[1, 1], b"\x01f\x01v"]),
        payload(&[&[kind::HASH_METADATA], &[0xff; 8], &[1, 2], b"\x01f\x01v"]),
        payload(&[
            &[kind::HASH_METADATA],
            &earliest,
            &[2, 1],
            b"\x01f\x01v\x00\x01f\x01w",
        ]),
    ] {
        assert_eq!(
            read(&bytes).map(drop),
            Err(PayloadError::Format),
            "{bytes:?}"
        );
    }
    for entries in [
        &[&b"f"[..], b"v"][..],
        &[b"f", b"v", b"x"],
        &[b"f", b"v", b"-1"],
        &[b"f", b"v", b"70368744177664"],
        &[b"f", b"v", b"1", b"f", b"w", b"2"],
        &[],
    ] {
        let mut builder = listpack::Builder::new();
        for entry in entries {
            builder.push(entry);
        }
        let bytes = payload(&[
            &[kind::HASH_LISTPACK_EX],
            &earliest,
            &long(&builder.finish()),
        ]);
        assert_eq!(
            read(&bytes).map(drop),
            Err(PayloadError::Format),
            "{bytes:?}"
        );
    }
    let fits = payload(&[&[kind::HASH_METADATA], &latest, &[1, 1], b"\x01f\x01v"]);
    assert!(read(&fits).is_ok());
    // The same where there are too many for the compact encodings.
    let mut settings = Settings::default();
    settings.hash.max_entries = 1;
    settings.set.max_intset_entries = 1;
    settings.zset.max_entries = 1;
    for bytes in [
        payload(&[&[kind::HASH, 2], b"\x01f\x01v\x01f\x01w"]),
        payload(&[&[kind::SET, 2], b"\x01m\x01m"]),
        payload(&[&[kind::SET, 2], b"\xc0\x01\x011"]),
        payload(&[&[kind::ZSET_2, 2], b"\x01m", &two, b"\x01m", &two]),
        payload(&[&[kind::ZSET_2, 2], b"\x01m", &two, b"\x01n", &nan]),
        listpack(kind::HASH_LISTPACK, &[b"f", b"v", b"f", b"w"]),
    ] {
        let read = decode(&bytes, &settings).map(drop);
        assert_eq!(read, Err(PayloadError::Format), "{bytes:?}");
    }
}
