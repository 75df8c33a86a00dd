use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::pairs::{length_size, push_length, read_length};
use super::{Form, Hash, HashLimits, record};
use crate::value::Collection;

const LIMITS: HashLimits = HashLimits {
    max_entries: 20,
    max_value: 300,
};

fn contents(hash: &Hash) -> BTreeMap<Vec<u8>, Vec<u8>> {
    hash.iter()
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect()
}

fn in_order(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
    hash.iter()
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect()
}

/// `heap_bytes` from the contents instead of the running totals.
fn counted_bytes(hash: &Hash) -> usize {
    let Form::Records(records) = &hash.form else {
        return hash.heap_bytes();
    };
    let held: usize = hash
        .iter()
        .map(|(field, value)| record(field, value).len())
        .sum();
    size_of::<Hash>() + size_of_val(records.as_ref()) + records.table_bytes() + held
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u16, Vec<u8>),
    Remove(u16),
    Begin,
    Commit,
    Rollback,
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..6),
        2 => prop::collection::vec(any::<u8>(), 120..140),
        1 => prop::collection::vec(any::<u8>(), 295..305),
    ];
    prop_oneof![
        10 => (0..30_u16, value).prop_map(|(field, value)| Op::Insert(field, value)),
        8 => (0..30_u16).prop_map(Op::Remove),
        1 => Just(Op::Begin),
        1 => Just(Op::Commit),
        1 => Just(Op::Rollback),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 1..150)) {
        let mut hash = Hash::default();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut saved = None;
        for op in ops {
            let edits = hash.edits();
            match op {
                Op::Insert(field, value) => {
                    let field = field.to_string().into_bytes();
                    let is_new = hash.insert(&field, &value, LIMITS);
                    prop_assert_eq!(is_new, model.insert(field, value).is_none());
                    prop_assert!(hash.edits() > edits);
                }
                Op::Remove(field) => {
                    let field = field.to_string().into_bytes();
                    let removed = hash.remove(&field);
                    prop_assert_eq!(removed, model.remove(&field).is_some());
                    prop_assert_eq!(hash.edits() > edits, removed);
                }
                Op::Begin => {
                    hash.begin_undo();
                    if saved.is_none() {
                        saved = Some((hash.encoding(), edits, in_order(&hash), model.clone()));
                    }
                }
                Op::Commit => {
                    hash.commit_undo();
                    saved = None;
                }
                Op::Rollback => {
                    hash.rollback();
                    if let Some((encoding, edits, order, contents)) = saved.take() {
                        prop_assert_eq!(hash.encoding(), encoding);
                        prop_assert_eq!(hash.edits(), edits);
                        if encoding == "listpack" {
                            prop_assert_eq!(in_order(&hash), order);
                        }
                        model = contents;
                    }
                }
            }
            prop_assert_eq!(hash.is_recording(), saved.is_some());
            prop_assert_eq!(hash.len(), model.len());
            prop_assert_eq!(hash.is_empty(), model.is_empty());
            prop_assert_eq!(hash.heap_bytes(), counted_bytes(&hash));
            if hash.encoding() == "listpack" {
                prop_assert!(hash.len() <= LIMITS.max_entries);
            }
        }
        prop_assert_eq!(&contents(&hash), &model);
        for field in 0..30 {
            let field = field.to_string().into_bytes();
            let expected = model.get(&field);
            prop_assert_eq!(hash.get(&field), expected.map(Vec::as_slice));
            prop_assert_eq!(hash.contains(&field), expected.is_some());
            prop_assert_eq!(hash.strlen(&field), expected.map_or(0, Vec::len));
        }
        let copy = hash.clone();
        prop_assert!(!copy.is_recording());
        prop_assert_eq!(contents(&copy), model);
    }

    #[test]
    fn lengths_round_trip(length in any::<usize>().prop_map(|n| n >> (n % 60)), tail: Vec<u8>) {
        let mut bytes = Vec::new();
        push_length(&mut bytes, length);
        prop_assert_eq!(bytes.len(), length_size(length));
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(read_length(&bytes), (length, tail.as_slice()));
    }
}

fn filled(fields: usize) -> Hash {
    let mut hash = Hash::default();
    for i in 0..fields {
        hash.insert(
            format!("f{i}").as_bytes(),
            i.to_string().as_bytes(),
            HashLimits::default(),
        );
    }
    hash
}

#[test]
fn converts_where_redis_does() {
    let limits = HashLimits::default();
    let mut hash = filled(512);
    assert_eq!(hash.encoding(), "listpack");
    hash.insert(b"f5", &[b'x'; 64], limits);
    assert_eq!(hash.encoding(), "listpack");
    hash.insert(b"f512", b"", limits);
    assert_eq!(hash.encoding(), "hashtable");
    hash.remove(b"f512");
    assert_eq!(hash.encoding(), "hashtable");

    for (field, value) in [(64, 65), (65, 64)] {
        let mut hash = Hash::default();
        hash.insert(&vec![b'x'; field], &vec![b'y'; value], limits);
        assert_eq!(hash.encoding(), "hashtable");
    }
    let mut hash = Hash::default();
    hash.insert(&[b'x'; 64], &[b'y'; 64], limits);
    assert_eq!(hash.encoding(), "listpack");
}

#[test]
fn compact_hashes_keep_insertion_order() {
    let limits = HashLimits::default();
    let mut hash = Hash::default();
    for (field, value) in [
        ("c", "1"),
        ("a", "22"),
        ("b", ""),
        ("a", "longer"),
        ("c", ""),
    ] {
        hash.insert(field.as_bytes(), value.as_bytes(), limits);
    }
    let order: Vec<_> = hash.iter().collect();
    assert_eq!(
        order,
        [(&b"c"[..], &b""[..]), (b"a", b"longer"), (b"b", b"")]
    );
}

#[test]
fn rollback_undoes_a_conversion() {
    let mut hash = filled(10);
    let before = in_order(&hash);
    let (edits, bytes) = (hash.edits(), hash.heap_bytes());
    hash.begin_undo();
    hash.remove(b"f3");
    hash.insert(b"f4", &[b'x'; 1000], HashLimits::default());
    hash.remove(b"f5");
    assert_eq!(hash.encoding(), "hashtable");
    hash.rollback();
    assert_eq!(hash.encoding(), "listpack");
    assert_eq!(in_order(&hash), before);
    assert_eq!(hash.edits(), edits);
    assert!(hash.heap_bytes() <= bytes);
}

#[test]
fn random_fields_come_with_their_values() {
    let mut state = 0_u64;
    let mut rng = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    assert_eq!(Hash::default().random(&mut rng), None);
    assert!(Hash::default().random_distinct(3, &mut rng).is_empty());
    for fields in [20, 1000] {
        let hash = filled(fields);
        let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
        for _ in 0..fields * 100 {
            let (field, value) = hash.random(&mut rng).unwrap();
            assert_eq!(hash.get(field), Some(value));
            *times.entry(field.to_vec()).or_default() += 1;
        }
        assert_eq!(times.len(), fields);
        assert!(times.values().all(|n| (40..=180).contains(n)), "{times:?}");
        for count in [0, 5, fields, fields + 1] {
            let chosen = hash.random_distinct(count, &mut rng);
            let distinct: HashSet<_> = chosen.iter().map(|(field, _)| field).collect();
            assert_eq!(distinct.len(), count.min(fields));
            assert_eq!(chosen.len(), distinct.len());
            assert!(
                chosen
                    .iter()
                    .all(|(field, value)| hash.get(field) == Some(value))
            );
        }
    }
}

#[test]
fn scan_visits_every_field() {
    for fields in [20, 3000] {
        let hash = filled(fields);
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, 10, |field, value| seen.push((field, value)));
            if cursor == 0 {
                break;
            }
        }
        seen.sort_unstable();
        let mut all: Vec<_> = hash.iter().collect();
        all.sort_unstable();
        assert_eq!(seen, all);
    }
}

#[test]
fn a_hash_is_small() {
    assert!(size_of::<Hash>() <= 56);
    fn is_send<T: Send>() {}
    is_send::<Hash>();
}
