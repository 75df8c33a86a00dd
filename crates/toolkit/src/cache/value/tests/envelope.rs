//! Envelopes there and back, and everything that is none.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::super::key::TagId;
use super::super::super::settings::{Compression, Encoding, Method};
use super::super::{CUT_SHORT, DAMAGED, Envelope, HEAD, Kind, Read, Stamp, head, read};

const MAX: usize = 1 << 20;
const PLAIN: Compression = Compression {
    method: None,
    from: 0,
};

/// An envelope that owns what it holds.
#[derive(Debug, Clone)]
struct Owned {
    kind: Kind,
    stamp: Stamp,
    schema: u32,
    fresh_until_ms: u64,
    ends_ms: u64,
    tags: Vec<(TagId, u64)>,
    validator: Option<String>,
    encoding: Encoding,
    body: Vec<u8>,
}

impl Owned {
    fn write(&self, compression: Compression) -> Vec<u8> {
        let envelope = Envelope {
            kind: self.kind,
            stamp: self.stamp,
            schema: self.schema,
            fresh_until_ms: self.fresh_until_ms,
            ends_ms: self.ends_ms,
            tags: &self.tags,
            validator: self.validator.as_deref(),
            encoding: self.encoding,
            body: &self.body,
        };
        envelope.write(compression)
    }

    /// What a reader is to find.
    fn expected(self) -> Read {
        let is_value = self.kind == Kind::Value;
        Read {
            kind: self.kind,
            stamp: self.stamp,
            schema: self.schema,
            fresh_until_ms: self.fresh_until_ms,
            ends_ms: self.ends_ms,
            tags: self.tags,
            validator: self.validator.map(String::into_boxed_str),
            encoding: if is_value {
                self.encoding
            } else {
                Encoding::Json
            },
            body: if is_value { self.body } else { Vec::new() },
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let body = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..300),
        vec(select(&b"abcd"[..]), 0..3000),
        (any::<u8>(), 0..40_000usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    (
        (
            select(&[Kind::Value, Kind::Value, Kind::Nothing, Kind::Deleted][..]),
            any::<u64>(),
            any::<u32>(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
        ),
        (
            vec((any::<u64>().prop_map(TagId), any::<u64>()), 0..5),
            proptest::option::of(".{1,40}"),
            select(&[Encoding::Json, Encoding::MessagePack][..]),
            body,
        ),
    )
        .prop_map(
            |(
                (kind, time_us, writer, schema, fresh_until_ms, ends_ms),
                (tags, validator, encoding, body),
            )| Owned {
                kind,
                stamp: Stamp { time_us, writer },
                schema,
                fresh_until_ms,
                ends_ms,
                tags,
                validator,
                encoding,
                body,
            },
        )
}

fn compression() -> impl Strategy<Value = Compression> {
    let method = select(&[None, Some(Method::Zstd), Some(Method::Gzip)][..]);
    (method, prop_oneof![Just(0), 0..2000usize])
        .prop_map(|(method, from)| Compression { method, from })
}

/// One of everything, compressed or not.
fn example(compression: Compression) -> Vec<u8> {
    let owned = Owned {
        kind: Kind::Value,
        stamp: Stamp {
            time_us: 1_700_000_000_000_000,
            writer: 0xdead_beef,
        },
        schema: 3,
        fresh_until_ms: 1_700_000_300_000,
        ends_ms: 1_700_003_600_000,
        tags: vec![(TagId(1), 2), (TagId(u64::MAX), 3)],
        validator: Some("W/\"größer\"".to_owned()),
        encoding: Encoding::Json,
        body: b"{\"name\":\"a name\"}".repeat(12),
    };
    owned.write(compression)
}

fn examples() -> Vec<Vec<u8>> {
    [None, Some(Method::Zstd), Some(Method::Gzip)]
        .map(|method| example(Compression { method, from: 0 }))
        .to_vec()
}

proptest! {
    #[test]
    fn what_was_written_is_read(owned in owned(), compression in compression()) {
        let bytes = owned.write(compression);
        prop_assert_eq!(Stamp::of(&bytes), Some(owned.stamp));
        prop_assert_eq!(Stamp::of(head(&bytes)), Some(owned.stamp));
        prop_assert_eq!(read(bytes, MAX), Ok(owned.expected()));
    }

    #[test]
    fn compression_never_costs_a_byte(owned in owned(), compression in compression()) {
        let (plain, smaller) = (owned.write(PLAIN), owned.write(compression));
        let body = if owned.kind == Kind::Value { owned.body.len() } else { 0 };
        let saved = plain.len() - smaller.len();
        prop_assert!(saved == 0 || saved * 10 >= body, "{saved} of {body}");
        if body < compression.from {
            prop_assert_eq!(saved, 0);
        }
    }

    #[test]
    fn a_byte_that_changed_is_noticed(
        owned in owned(),
        compression in compression(),
        at in any::<proptest::sample::Index>(),
        change in 1u8..,
    ) {
        let mut bytes = owned.write(compression);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(read(bytes, MAX).is_err());
    }

    #[test]
    fn what_is_cut_or_goes_on_is_noticed(
        owned in owned(),
        compression in compression(),
        at in any::<proptest::sample::Index>(),
        more in vec(any::<u8>(), 1..20),
    ) {
        let bytes = owned.write(compression);
        let cut = bytes[..at.index(bytes.len())].to_vec();
        prop_assert!(read(cut, MAX).is_err());
        prop_assert!(read([bytes, more].concat(), MAX).is_err());
    }

    #[test]
    fn anything_is_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(read(bytes, MAX).is_err());
    }

    /// With a checksum that fits, so that everything behind it is asked too.
    #[test]
    fn lies_are_read_without_a_panic(
        example in select(examples()),
        lies in vec((2usize..45, any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = example;
        for (at, byte) in lies {
            bytes[at] = byte;
        }
        bytes.truncate(49 + cut.index(bytes.len() - 48));
        let bytes = sealed(bytes);
        if let Ok(read) = read(bytes, 300) {
            prop_assert!(read.body.len() <= 300);
        }
    }
}

/// The bytes with the checksum that fits them.
pub(super) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&[&bytes[..45], &bytes[49..]].concat());
    bytes[45..49].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn every_cut_and_every_bit_is_noticed() {
    for example in examples() {
        assert!(read(example.clone(), MAX).is_ok());
        for length in 0..example.len() {
            let cut = example[..length].to_vec();
            let why = if length < 49 { CUT_SHORT } else { DAMAGED };
            assert_eq!(read(cut, MAX), Err(why), "{length} bytes");
        }
        for bit in 0..example.len() * 8 {
            let mut damaged = example.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(damaged, MAX).is_err(), "bit {bit}");
        }
    }
}

/// The layout is what other versions of this program read.
#[test]
fn bytes_stand_where_the_module_says() {
    let bytes = example(PLAIN);
    let (header, rest) = bytes.split_at(49);
    assert_eq!(&header[..5], b"c\x01vj\0");
    assert_eq!(header[5..13], 1_700_000_000_000_000u64.to_be_bytes());
    assert_eq!(header[13..17], 0xdead_beefu32.to_be_bytes());
    assert_eq!(header[17..21], 3u32.to_be_bytes());
    assert_eq!(header[21..29], 1_700_000_300_000u64.to_be_bytes());
    assert_eq!(header[29..37], 1_700_003_600_000u64.to_be_bytes());
    assert_eq!(header[37..41], 204u32.to_be_bytes());
    assert_eq!(header[41..43], 2u16.to_be_bytes());
    assert_eq!(header[43..45], 12u16.to_be_bytes());
    assert_eq!(sealed(bytes.clone()), bytes);
    let tags = [1u64, 2, u64::MAX, 3].map(u64::to_be_bytes).concat();
    assert_eq!(rest[..32], tags);
    assert_eq!(&rest[32..44], "W/\"größer\"".as_bytes());
    assert_eq!(rest[44..], b"{\"name\":\"a name\"}".repeat(12));
    assert_eq!(head(&bytes), &bytes[..HEAD]);
    assert_eq!(head(b"short"), b"short");
    let methods = examples().iter().map(|bytes| bytes[4]).collect::<Vec<_>>();
    assert_eq!(methods, b"\0zg");
}

#[test]
fn what_no_version_wrote_is_unreadable() {
    let with = |at: usize, byte: u8| {
        let mut bytes = example(PLAIN);
        bytes[at] = byte;
        read(sealed(bytes), MAX).unwrap_err().to_string()
    };
    assert_eq!(with(0, b'v'), "it has another form");
    assert_eq!(with(1, 2), "it has another form");
    let unknown = "it says what this version does not know";
    assert_eq!(with(2, b'x'), unknown);
    assert_eq!(with(2, b'd'), unknown, "a deletion with a body");
    assert_eq!(with(3, 0), unknown);
    assert_eq!(with(4, b'l'), unknown);
    assert_eq!(with(4, b'z'), "it is damaged");
    assert_eq!(with(40, 203), "it is damaged", "a byte too many");
    assert_eq!(with(37, 1), "it is larger than a value may be");
    assert_eq!(with(41, 255), "it is cut short", "more tags than bytes");
    assert_eq!(with(43, 255), "it is cut short");
    assert_eq!(with(49 + 32, 0xff), "its validator is no text");
}

#[test]
fn a_validator_that_does_not_fit_is_left_out() {
    let write = |validator: &str| {
        let mut owned = read(example(PLAIN), MAX).unwrap();
        owned.validator = None;
        let bytes = Envelope {
            kind: owned.kind,
            stamp: owned.stamp,
            schema: owned.schema,
            fresh_until_ms: owned.fresh_until_ms,
            ends_ms: owned.ends_ms,
            tags: &owned.tags,
            validator: Some(validator),
            encoding: owned.encoding,
            body: &owned.body,
        }
        .write(PLAIN);
        let read = read(bytes, MAX).unwrap();
        assert_eq!(read.body, owned.body);
        read.validator.map(|validator| validator.len())
    };
    assert_eq!(write(&"x".repeat(65_535)), Some(65_535));
    assert_eq!(write(&"x".repeat(65_536)), None);
    assert_eq!(write(""), None);
}

/// Reading what is not compressed needs no second place for the body.
#[test]
fn a_plain_body_stays_where_it_came() {
    let bytes = example(PLAIN);
    let place = bytes.as_ptr();
    let read = read(bytes, MAX).unwrap();
    assert_eq!(read.body.as_ptr(), place);
}
