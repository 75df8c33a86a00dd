//! The `upstash-sync-token` header: an opaque name for a position in the order
//! of writes.
//!
//! It is a keyed one-to-one mapping of the position, so every write changes it
//! and it tells nobody how many writes there were.

use hyper::header::HeaderValue;
use sangam_engine::Seq;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// 64 bits, five a digit.
const DIGITS: usize = 13;

/// Writes tokens; the key differs from start to start.
#[derive(Debug)]
pub(super) struct SyncTokens {
    offset: u64,
    factor: u64,
}

impl SyncTokens {
    pub(super) fn new(seed: u64) -> Self {
        // Odd, hence invertible modulo 2^64.
        let factor = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        SyncTokens {
            offset: seed.rotate_left(29),
            factor,
        }
    }

    pub(super) fn of(&self, seq: Seq) -> HeaderValue {
        let mut mixed = seq.0.wrapping_add(self.offset).wrapping_mul(self.factor);
        mixed ^= mixed >> 32;
        mixed = mixed.wrapping_mul(self.factor);
        let mut text = [0u8; DIGITS];
        for (at, digit) in text.iter_mut().enumerate() {
            let index = (mixed >> (at * 5)) as usize & 31;
            *digit = ALPHABET.get(index).copied().unwrap_or(b'a');
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("a"))
    }
}

/// The last token that a connection sent: reads repeat it.
#[derive(Debug)]
pub(super) struct LastToken {
    seq: Seq,
    value: HeaderValue,
}

impl LastToken {
    pub(super) fn new(tokens: &SyncTokens) -> Self {
        let seq = Seq::default();
        LastToken {
            seq,
            value: tokens.of(seq),
        }
    }

    pub(super) fn at(&mut self, seq: Seq, tokens: &SyncTokens) -> HeaderValue {
        if seq != self.seq {
            *self = LastToken {
                seq,
                value: tokens.of(seq),
            };
        }
        self.value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_position_has_its_own() {
        let tokens = SyncTokens::new(42);
        let all: HashSet<_> = (0..10_000).map(|seq| tokens.of(Seq(seq))).collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!(tokens.of(Seq(7)), tokens.of(Seq(7)));
        assert_ne!(tokens.of(Seq(7)), SyncTokens::new(43).of(Seq(7)));
        let mut last = LastToken::new(&tokens);
        assert_eq!(last.at(Seq(1), &tokens), tokens.of(Seq(1)));
        assert_eq!(last.at(Seq(1), &tokens), tokens.of(Seq(1)));
    }
}
