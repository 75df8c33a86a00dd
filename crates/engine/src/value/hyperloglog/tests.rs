#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use super::*;
use crate::random::Random;
use crate::value::{TextEdit, replace};

const MAX_BYTES: usize = 3000;

fn added(count: u32, max_bytes: usize) -> Vec<u8> {
    let mut text = empty();
    let mut edit = TextEdit::new(&mut text, false);
    for element in 0..count {
        add(
            &mut edit,
            format!("element {element}").as_bytes(),
            max_bytes,
        )
        .unwrap();
    }
    text
}

fn raise_at(
    text: &mut Vec<u8>,
    index: usize,
    value: u8,
    max_bytes: usize,
) -> Result<bool, Corrupted> {
    let mut edit = TextEdit::new(text, false);
    let mut cursor = Cursor::START;
    raise(&mut edit, &mut cursor, index, value, max_bytes)
}

fn registers(text: &[u8]) -> Vec<u8> {
    let mut union = Union::default();
    union.add(HyperLogLog::of(text).unwrap()).unwrap();
    union.registers().to_vec()
}

#[test]
fn murmur_agrees_with_itself_byte_by_byte() {
    assert_eq!(hash::murmur64a(b"", 0), 0);
    for length in 0..40 {
        let text: Vec<u8> = (0..length).map(|byte| byte * 5 + 3).collect();
        assert_eq!(hash::murmur64a(&text, SEED), murmur_by_bytes(&text));
    }
}

/// The same hash, a byte at a time.
fn murmur_by_bytes(bytes: &[u8]) -> u64 {
    let m = 0xc6a4_a793_5bd1_e995_u64;
    let mut hash = SEED ^ m.wrapping_mul(bytes.len() as u64);
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let word = (0..8).map(|byte| u64::from(bytes[at + byte]) << (8 * byte));
        let word = word.sum::<u64>().wrapping_mul(m);
        hash = (hash ^ (word ^ word >> 47).wrapping_mul(m)).wrapping_mul(m);
        at += 8;
    }
    if at < bytes.len() {
        for (shift, byte) in bytes[at..].iter().enumerate() {
            hash ^= u64::from(*byte) << (8 * shift);
        }
        hash = hash.wrapping_mul(m);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(m);
    hash ^ hash >> 47
}

#[test]
fn both_encodings_hold_the_same_registers() {
    let (mut sparse, mut dense) = (empty(), empty());
    to_dense(&mut TextEdit::new(&mut dense, false)).unwrap();
    let mut random = Random::new(5);
    for round in 0..1500 {
        let index = if random.below(2) == 0 {
            random.below(REGISTERS)
        } else {
            random.below(40)
        };
        let value = 1 + random.below(30) as u8;
        let one = raise_at(&mut sparse, index, value, usize::MAX);
        let other = raise_at(&mut dense, index, value, 0);
        assert_eq!(one, other);
        if round % 500 == 0 {
            assert_eq!(registers(&sparse), registers(&dense));
        }
    }
    assert!(!HyperLogLog::of(&sparse).unwrap().is_dense());
    assert_eq!(registers(&sparse), registers(&dense));
    let [one, other] = [&sparse, &dense].map(|text| HyperLogLog::of(text).unwrap().count());
    assert_eq!(one, other);
    assert!(to_dense(&mut TextEdit::new(&mut sparse, false)).unwrap());
    assert_eq!(sparse, dense);
}

#[test]
fn a_cursor_that_goes_on_changes_nothing() {
    let mut random = Random::new(6);
    for _ in 0..60 {
        let mut texts = [empty(), empty()];
        for _ in 0..40 {
            let (index, value) = (random.below(300), 1 + random.below(3) as u8);
            for text in &mut texts {
                raise_at(text, index, value, usize::MAX).unwrap();
            }
        }
        let [one, other] = &mut texts;
        let mut cursor = Cursor::START;
        for index in 0..310 {
            if random.below(3) > 0 {
                let value = 1 + random.below(3) as u8;
                let mut edit = TextEdit::new(one, false);
                raise(&mut edit, &mut cursor, index, value, usize::MAX).unwrap();
                raise_at(other, index, value, usize::MAX).unwrap();
                assert!(one == other, "at {index}");
            }
        }
    }
}

#[test]
fn it_grows_dense_past_its_limit_or_with_a_high_value() {
    let few = added(700, MAX_BYTES);
    assert!(!HyperLogLog::of(&few).unwrap().is_dense());
    assert!(few.len() <= MAX_BYTES);
    let many = added(3000, MAX_BYTES);
    assert!(HyperLogLog::of(&many).unwrap().is_dense());
    assert_eq!(registers(&many), registers(&added(3000, usize::MAX)));
    let mut high = empty();
    raise_at(&mut high, 9, 33, MAX_BYTES).unwrap();
    assert!(HyperLogLog::of(&high).unwrap().is_dense());
    assert_eq!(registers(&high)[9], 33);
}

#[test]
fn counts_are_near() {
    for count in [0, 1, 10, 1000, 20_000] {
        let text = added(count, MAX_BYTES);
        let seen = HyperLogLog::of(&text).unwrap().count().unwrap();
        let error = seen.abs_diff(count.into()) as f64;
        assert!(error <= f64::from(count) * 0.03, "{seen} of {count}");
    }
}

#[test]
fn every_change_can_be_taken_back() {
    let mut random = Random::new(8);
    let mut text = empty();
    for _ in 0..400 {
        let before = text.clone();
        let mut edit = TextEdit::new(&mut text, true);
        for _ in 0..=random.below(20) {
            let element = random.next().to_le_bytes();
            add(&mut edit, &element, 900).unwrap();
        }
        invalidate(&mut edit);
        let mut undone = edit.bytes().to_vec();
        for covered in edit.into_inverses().into_iter().rev() {
            replace(&mut undone, covered.place, &covered.old);
        }
        assert!(undone == before);
    }
    assert!(HyperLogLog::of(&text).unwrap().is_dense());
}

/// Strings come from anybody: no byte of them may lead astray.
#[test]
fn no_flipped_byte_leads_astray() {
    let dense = added(3000, MAX_BYTES);
    let sparse = added(60, MAX_BYTES);
    let header_of_dense = (0..64).chain(12_280..dense.len());
    let places = (0..sparse.len())
        .map(|at| (&sparse, at))
        .chain(header_of_dense.map(|at| (&dense, at)));
    for (text, at) in places {
        for flip in [1, 0x40, 0x80, 0xff] {
            let mut text = text.clone();
            text[at] ^= flip;
            let Some(one) = HyperLogLog::of(&text) else {
                continue;
            };
            let _ = (one.count(), one.cached(), one.decoded());
            let mut union = Union::default();
            let merged = union.add(one);
            assert_eq!(merged.is_ok(), one.count().is_ok());
            let mut edit = TextEdit::new(&mut text, false);
            for element in 0..60_u32 {
                let _ = add(&mut edit, &element.to_le_bytes(), MAX_BYTES);
            }
            let _ = union.write(&mut edit, MAX_BYTES);
            assert_eq!(to_dense(&mut edit).is_ok(), merged.is_ok());
        }
    }
    for length in 0..sparse.len() {
        let mut text = sparse[..length].to_vec();
        if HyperLogLog::of(&text).is_some() {
            let mut edit = TextEdit::new(&mut text, false);
            for element in 0..200_u32 {
                let _ = add(&mut edit, &element.to_le_bytes(), MAX_BYTES);
            }
            assert_eq!(to_dense(&mut edit), Err(Corrupted));
        }
    }
}
