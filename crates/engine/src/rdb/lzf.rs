//! LZF, the compression of strings inside a payload.
//!
//! A stream is a sequence of steps. A byte below 32 announces that many plus one
//! literal bytes. Any other byte is a reference to what was written before: its
//! high three bits are the length less two (seven: a byte more of length
//! follows), its low five bits and one byte the distance less one.

/// Farthest that a reference reaches back.
const WINDOW: usize = 1 << 13;
/// Longest that a reference stands for.
const LONGEST: usize = 7 + 255 + 2;
/// Most literals of one step.
const LITERALS: usize = 32;
/// Bytes that a byte of the stream can stand for at most: a reference of three
/// bytes for 264.
const RATIO: usize = LONGEST / 3;

/// Writes the bytes that `stream` stands for; `None` where they are not exactly
/// `length`, or the stream refers to what is not there. `length` is checked
/// against the stream's before anything is allocated.
pub(super) fn decompress(stream: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > stream.len().saturating_mul(RATIO) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = stream;
    while let Some((control, behind)) = rest.split_first() {
        let control = usize::from(*control);
        if control < LITERALS {
            let (literals, behind) = behind.split_at_checked(control + 1)?;
            if literals.len() > length - out.len() {
                return None;
            }
            out.extend_from_slice(literals);
            rest = behind;
            continue;
        }
        let (mut copy, mut behind) = (control >> 5, behind);
        if copy == 7 {
            let (more, shorter) = behind.split_first()?;
            copy += usize::from(*more);
            behind = shorter;
        }
        copy += 2;
        let (low, behind) = behind.split_first()?;
        let distance = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
        let start = out.len().checked_sub(distance)?;
        if copy > length - out.len() {
            return None;
        }
        // A reference may reach into what it writes: then it repeats itself.
        let mut left = copy;
        while left > 0 {
            let part = left.min(out.len() - start);
            out.extend_from_within(start..start + part);
            left -= part;
        }
        rest = behind;
    }
    (out.len() == length).then_some(out)
}

/// Slots of the table of what was seen; a power of two.
const SLOTS: usize = 1 << 13;

/// Compresses one string after the other with one table, which is not cleared in
/// between: what a slot says of an earlier string is known by its position.
#[derive(Default)]
pub(super) struct Compressor {
    /// Where three bytes of this hash were seen last, counted over all strings.
    seen: Vec<u32>,
    /// The position at which the current string begins.
    base: u32,
}

impl Compressor {
    /// Appends the stream for `bytes` to `out` and answers its length, if it
    /// stays at or below `most` bytes; `out` is as before otherwise.
    pub(super) fn compress(
        &mut self,
        bytes: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let length = u32::try_from(bytes.len()).ok()?;
        let next = self.base.checked_add(length);
        if self.seen.is_empty() || next.is_none() {
            self.seen.clear();
            self.seen.resize(SLOTS, 0);
            // Position 0 stands for "never".
            self.base = 1;
        }
        let start = out.len();
        let written = self.write(bytes, most, out);
        self.base = self.base.saturating_add(length);
        if written.is_none() {
            out.truncate(start);
        }
        written.map(|()| out.len() - start)
    }

    fn write(&mut self, bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        let (mut at, mut pending) = (0, 0);
        while let Some(three) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let found = self.candidate(*three, at);
            let reference = found.and_then(|found| {
                let length = common(bytes, found, at).min(LONGEST);
                (length >= 3).then_some((at - found, length))
            });
            let Some((distance, length)) = reference else {
                at += 1;
                continue;
            };
            push_literals(bytes.get(pending..at)?, out);
            push_reference(distance, length, out);
            if out.len() - start > most {
                return None;
            }
            // What the reference covers is found again by its first bytes and
            // by its last: each position would cost more than it gains.
            let end = at + length;
            for seen in [at + 1, end - 2, end - 1] {
                if let Some(three) = bytes.get(seen..).and_then(<[u8]>::first_chunk) {
                    self.candidate(*three, seen);
                }
            }
            (at, pending) = (end, end);
        }
        let left = bytes.get(pending..)?;
        if out.len() - start + left.len() + left.len().div_ceil(LITERALS) > most {
            return None;
        }
        push_literals(left, out);
        Some(())
    }

    /// Notes that `three` stand at `at`; answers where they, or others of the
    /// same hash, stood last, if within reach.
    fn candidate(&mut self, three: [u8; 3], at: usize) -> Option<usize> {
        let [a, b, c] = three.map(u32::from);
        let hash =
            (a << 16 | b << 8 | c).wrapping_mul(0x9e37_79b1) >> (32 - SLOTS.trailing_zeros());
        let slot = self.seen.get_mut(hash as usize)?;
        let before = std::mem::replace(slot, self.base + at as u32);
        let found = before.checked_sub(self.base)? as usize;
        (found < at && at - found <= WINDOW).then_some(found)
    }
}

/// How many bytes from `first` and from `second` on are the same, as far as a
/// reference reaches.
fn common(bytes: &[u8], first: usize, second: usize) -> usize {
    let ahead = bytes.get(second..).unwrap_or_default();
    let behind = bytes.get(first..).unwrap_or_default();
    ahead
        .iter()
        .zip(behind)
        .take(LONGEST)
        .take_while(|(a, b)| a == b)
        .count()
}

fn push_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_reference(distance: usize, length: usize, out: &mut Vec<u8>) {
    let distance = distance - 1;
    let high = (distance >> 8) as u8;
    match length - 2 {
        short @ 0..7 => out.push((short as u8) << 5 | high),
        long => out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8]),
    }
    out.push(distance as u8);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{Compressor, decompress};

    #[test]
    fn known_streams() {
        // What a redis-server wrote for 64 times `a`.
        let stream = [1, b'a', b'a', 0xe0, 0x33, 0x00, 1, b'a', b'a'];
        assert_eq!(decompress(&stream, 64), Some(vec![b'a'; 64]));
        assert_eq!(decompress(&stream, 63), None);
        assert_eq!(decompress(&stream, 65), None);
        assert_eq!(decompress(&stream[..8], 64), None);
        // Nothing stands before the beginning.
        assert_eq!(decompress(&[0x20, 0x00], 3), None);
        assert_eq!(decompress(&[0, b'a', 0x20, 0x01], 4), None);
        assert_eq!(decompress(&[], usize::MAX), None);
        assert_eq!(decompress(&[], 0), Some(Vec::new()));
    }

    /// Text with repetitions near and far.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            vec(any::<u8>(), 1..4),
            vec(any::<u8>(), 30..70),
            (any::<u8>(), 1usize..600).prop_map(|(byte, count)| vec![byte; count]),
        ];
        (vec(word, 1..8), vec(any::<prop::sample::Index>(), 0..60)).prop_map(|(words, order)| {
            order
                .iter()
                .flat_map(|at| words[at.index(words.len())].clone())
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(texts in vec(text(), 1..6), base in prop_oneof![Just(0), Just(u32::MAX - 5000)]) {
            let mut compressor = Compressor::default();
            compressor.compress(b"abcabcabc", 100, &mut Vec::new());
            compressor.base = compressor.base.max(base);
            for text in texts {
                let mut out = b"before".to_vec();
                let most = text.len() + text.len() / 32 + 1;
                let length = compressor.compress(&text, most, &mut out).unwrap();
                prop_assert_eq!(out.len(), 6 + length);
                prop_assert!(length <= most);
                prop_assert_eq!(decompress(&out[6..], text.len()), Some(text.clone()));
                let mut none = b"before".to_vec();
                prop_assert_eq!(compressor.compress(&text, length.saturating_sub(1), &mut none), (length == 0).then_some(0));
                prop_assert_eq!(none.len(), 6);
            }
        }

        #[test]
        fn any_stream_is_text_or_none(stream in vec(any::<u8>(), 0..60), length in 0usize..10_000) {
            if let Some(text) = decompress(&stream, length) {
                prop_assert_eq!(text.len(), length);
            }
        }
    }

    #[test]
    fn repetition_compresses_well() {
        let mut out = Vec::new();
        let length = Compressor::default().compress(&vec![b'x'; 100_000], 100_000, &mut out);
        assert!(length.unwrap() < 1200, "{length:?}");
        let text = b"{\"id\":12345,\"name\":\"somebody\"}".repeat(20);
        let length = Compressor::default().compress(&text, text.len(), &mut out);
        assert!(length.unwrap() < 60, "{length:?}");
    }
}
