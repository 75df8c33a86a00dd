//! Replies as bytes, to be kept: those of requests that have an id
//! (docs/journal.md, *Remembered requests*).

use std::borrow::Cow;

use super::Reply;
use crate::value::leb128::{push_number, push_text, take_number, take_text};

/// Replies inside replies, deeper than which none is kept.
const DEPTH: usize = 64;

const NULL: u8 = 0;
const NULL_ARRAY: u8 = 1;
const STATUS: u8 = 2;
const ERROR: u8 = 3;
const INT: u8 = 4;
const BULK: u8 = 5;
const ARRAY: u8 = 6;
const MAP: u8 = 7;
const PAIRS: u8 = 8;
const SET: u8 = 9;
const DOUBLE: u8 = 10;
const DECIMAL: u8 = 11;
const BOOL: u8 = 12;
const BIG_NUMBER: u8 = 13;
const VERBATIM: u8 = 14;
const PUSH: u8 = 15;
const MANY: u8 = 16;

/// A reply on its way into bytes, as long as it has no more than it may.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    limit: usize,
    fits: bool,
}

impl Encoder {
    /// For one reply, or the head and the elements of one, of up to `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Encoder {
            bytes: Vec::new(),
            limit,
            fits: true,
        }
    }

    /// The head of an array; its elements follow.
    pub(crate) fn array(&mut self, count: usize) {
        self.bytes.push(ARRAY);
        push_number(&mut self.bytes, count as u64);
    }

    /// A reply.
    pub(crate) fn push(&mut self, reply: &Reply) {
        self.fits = self.fits && self.encode(reply, DEPTH) && self.bytes.len() <= self.limit;
        if !self.fits {
            self.bytes = Vec::new();
        }
    }

    /// The bytes, if there are no more than may be.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        self.fits.then_some(self.bytes)
    }

    fn encode(&mut self, reply: &Reply, depth: usize) -> bool {
        let out = &mut self.bytes;
        match reply {
            Reply::Null => out.push(NULL),
            Reply::NullArray => out.push(NULL_ARRAY),
            Reply::Status(text) => return self.text(STATUS, text.as_bytes()),
            Reply::Error(text) => return self.text(ERROR, text),
            Reply::Int(number) => {
                out.push(INT);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Reply::Bulk(text) => return self.text(BULK, text),
            Reply::Double(number) => {
                out.push(DOUBLE);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Reply::Decimal(text) => return self.text(DECIMAL, text),
            Reply::Bool(truth) => out.extend([BOOL, u8::from(*truth)]),
            Reply::BigNumber(text) => return self.text(BIG_NUMBER, text),
            Reply::Verbatim(format, text) => {
                out.push(VERBATIM);
                out.extend_from_slice(format);
                return self.rest_of_text(text);
            }
            Reply::Bulks(bulks) => {
                self.array(bulks.len());
                return bulks.iter().all(|text| self.text(BULK, text));
            }
            Reply::Array(items) => return self.all(ARRAY, items, depth),
            Reply::Set(items) => return self.all(SET, items, depth),
            Reply::Push(items) => return self.all(PUSH, items, depth),
            Reply::Many(items) => return self.all(MANY, items, depth),
            Reply::Map(pairs) => return self.both(MAP, pairs, depth),
            Reply::Pairs(pairs) => return self.both(PAIRS, pairs, depth),
        }
        true
    }

    /// A text, unless that alone is more than may be.
    fn text(&mut self, kind: u8, text: &[u8]) -> bool {
        self.bytes.push(kind);
        self.rest_of_text(text)
    }

    fn rest_of_text(&mut self, text: &[u8]) -> bool {
        let fits = self.bytes.len() + text.len() <= self.limit;
        if fits {
            push_text(&mut self.bytes, text);
        }
        fits
    }

    fn all(&mut self, kind: u8, items: &[Reply], depth: usize) -> bool {
        self.bytes.push(kind);
        push_number(&mut self.bytes, items.len() as u64);
        depth > 0
            && items
                .iter()
                .all(|item| self.bytes.len() <= self.limit && self.encode(item, depth - 1))
    }

    fn both(&mut self, kind: u8, pairs: &[(Reply, Reply)], depth: usize) -> bool {
        self.bytes.push(kind);
        push_number(&mut self.bytes, pairs.len() as u64);
        depth > 0
            && pairs.iter().all(|(name, value)| {
                self.bytes.len() <= self.limit
                    && self.encode(name, depth - 1)
                    && self.encode(value, depth - 1)
            })
    }
}

/// The reply in these bytes; `None` unless they are one to the last byte. Takes
/// any bytes, and memory in proportion to them.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Reply> {
    let reply = take(&mut bytes, DEPTH)?;
    bytes.is_empty().then_some(reply)
}

fn take(bytes: &mut &[u8], depth: usize) -> Option<Reply> {
    let (kind, rest) = bytes.split_first()?;
    *bytes = rest;
    let text = |bytes: &mut &[u8]| take_text(bytes).map(<[u8]>::to_vec);
    Some(match *kind {
        NULL => Reply::Null,
        NULL_ARRAY => Reply::NullArray,
        STATUS => Reply::Status(Cow::Owned(String::from_utf8(text(bytes)?).ok()?)),
        ERROR => Reply::Error(text(bytes)?),
        INT => Reply::Int(i64::from_le_bytes(take_fixed(bytes)?)),
        BULK => Reply::Bulk(text(bytes)?),
        ARRAY => Reply::Array(take_all(bytes, depth)?),
        MAP => Reply::Map(take_both(bytes, depth)?),
        PAIRS => Reply::Pairs(take_both(bytes, depth)?),
        SET => Reply::Set(take_all(bytes, depth)?),
        DOUBLE => Reply::Double(f64::from_bits(u64::from_le_bytes(take_fixed(bytes)?))),
        DECIMAL => Reply::Decimal(text(bytes)?),
        BOOL => match take_fixed(bytes)? {
            [0] => Reply::Bool(false),
            [1] => Reply::Bool(true),
            _ => return None,
        },
        BIG_NUMBER => Reply::BigNumber(text(bytes)?),
        VERBATIM => Reply::Verbatim(take_fixed(bytes)?, text(bytes)?),
        PUSH => Reply::Push(take_all(bytes, depth)?),
        MANY => Reply::Many(take_all(bytes, depth)?),
        _ => return None,
    })
}

fn take_fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (fixed, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*fixed)
}

/// A count that is followed by at least as many bytes.
fn take_count(bytes: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(take_number(bytes)?).ok()?;
    (count <= bytes.len()).then_some(count)
}

fn take_all(bytes: &mut &[u8], depth: usize) -> Option<Vec<Reply>> {
    let depth = depth.checked_sub(1)?;
    (0..take_count(bytes)?)
        .map(|_| take(bytes, depth))
        .collect()
}

fn take_both(bytes: &mut &[u8], depth: usize) -> Option<Vec<(Reply, Reply)>> {
    let depth = depth.checked_sub(1)?;
    (0..take_count(bytes)?)
        .map(|_| Some((take(bytes, depth)?, take(bytes, depth)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(reply: &Reply, limit: usize) -> Option<Vec<u8>> {
        let mut encoder = Encoder::new(limit);
        encoder.push(reply);
        encoder.finish()
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            Just(Reply::Null),
            Just(Reply::NullArray),
            "[a-z]{0,9}".prop_map(|text| Reply::Status(text.into())),
            text().prop_map(Reply::Error),
            any::<i64>().prop_map(Reply::Int),
            text().prop_map(Reply::Bulk),
            (-1e300..1e300).prop_map(Reply::Double),
            text().prop_map(Reply::Decimal),
            any::<bool>().prop_map(Reply::Bool),
            text().prop_map(Reply::BigNumber),
            (any::<[u8; 3]>(), text()).prop_map(|(format, text)| Reply::Verbatim(format, text)),
            prop::collection::vec(text(), 0..4).prop_map(|all| Reply::Bulks(all.iter().collect())),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..5);
            let pairs = prop::collection::vec((inner.clone(), inner), 0..3);
            prop_oneof![
                items.clone().prop_map(Reply::Array),
                items.clone().prop_map(Reply::Set),
                items.clone().prop_map(Reply::Push),
                items.prop_map(Reply::Many),
                pairs.clone().prop_map(Reply::Map),
                pairs.prop_map(Reply::Pairs),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_reply_comes_back(reply in reply()) {
            let bytes = encode(&reply, 1 << 20).unwrap();
            prop_assert_eq!(decode(&bytes), Some(reply.clone().unpacked()));
            prop_assert!(encode(&reply, bytes.len()).is_some());
            prop_assert!(encode(&reply, bytes.len() - 1).is_none());
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end]).is_none());
            }
        }

        #[test]
        fn any_bytes_are_a_reply_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(reply) = decode(&bytes) {
                let again = encode(&reply, usize::MAX).unwrap();
                let reply = decode(&again).unwrap();
                prop_assert_eq!(encode(&reply, usize::MAX).unwrap(), again);
            }
        }
    }

    #[test]
    fn what_is_too_deep_or_too_large_is_not_kept() {
        let nested = |depth| (0..depth).fold(Reply::Null, |inner, _| Reply::Array(vec![inner]));
        let deepest = encode(&nested(DEPTH), 1000).unwrap();
        assert_eq!(decode(&deepest), Some(nested(DEPTH)));
        assert!(encode(&nested(DEPTH + 1), 1000).is_none());
        let mut deeper = vec![ARRAY, 1];
        deeper.extend(&deepest);
        assert!(decode(&deeper).is_none());
        // A count says more than there is.
        assert!(decode(&[ARRAY, 0xff, 0xff, 0xff, 0x7f]).is_none());
        let mut encoder = Encoder::new(10);
        encoder.array(2);
        encoder.push(&Reply::bulk("four"));
        encoder.push(&Reply::Null);
        let bytes = encoder.finish().unwrap();
        let both = Reply::Array(vec![Reply::bulk("four"), Reply::Null]);
        assert_eq!(decode(&bytes), Some(both));
        let mut encoder = Encoder::new(10);
        encoder.push(&Reply::bulk("x".repeat(10)));
        encoder.push(&Reply::Null);
        assert!(encoder.finish().is_none(), "nor a part of it");
    }
}
