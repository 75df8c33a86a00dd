//! Random changes against a map of fields to values and deadlines.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::LATEST_FIELD_DEADLINE;
use crate::expiry::NEVER;
use crate::value::{Collection, Hash, HashLimits};

const LIMITS: HashLimits = HashLimits {
    max_entries: 20,
    max_value: 100,
};

type Stored = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// What a hash is to show: everything in it, and what time it was told.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    stored: Stored,
    now: u64,
}

impl Model {
    fn hides(&self, field: &[u8]) -> bool {
        let deadline = self.stored.get(field).and_then(|(_, deadline)| *deadline);
        deadline.is_some_and(|deadline| deadline <= self.now)
    }

    fn visible(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.stored
            .iter()
            .filter(|(field, _)| !self.hides(field))
            .map(|(field, (value, _))| (field.clone(), value.clone()))
            .collect()
    }

    fn meet(&mut self, field: &[u8], met: &mut Vec<Vec<u8>>) {
        if self.hides(field) {
            self.stored.remove(field);
            met.push(field.to_vec());
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, usize),
    Update(u8, usize),
    Remove(u8),
    Deadline(u8, Option<u64>),
    Hide(u64),
    RemoveHidden(usize),
    Begin,
    Commit,
    Rollback,
}

fn op() -> impl Strategy<Value = Op> {
    let field = 0..40_u8;
    let length = prop_oneof![9 => 0..6_usize, 1 => 90..110_usize];
    let deadline = prop_oneof![1 => Just(None), 4 => (1..300_u64).prop_map(Some)];
    prop_oneof![
        8 => (field.clone(), length.clone()).prop_map(|(field, length)| Op::Insert(field, length)),
        4 => (field.clone(), length).prop_map(|(field, length)| Op::Update(field, length)),
        5 => field.clone().prop_map(Op::Remove),
        9 => (field, deadline).prop_map(|(field, deadline)| Op::Deadline(field, deadline)),
        4 => (0..250_u64).prop_map(Op::Hide),
        2 => (0..5_usize).prop_map(Op::RemoveHidden),
        1 => Just(Op::Begin),
        1 => Just(Op::Commit),
        1 => Just(Op::Rollback),
    ]
}

fn stored(hash: &Hash) -> Stored {
    hash.stored()
        .map(|(field, value, deadline)| (field.to_vec(), (value.to_vec(), deadline)))
        .collect()
}

fn check(hash: &Hash, model: &Model) {
    let visible = model.visible();
    assert_eq!(stored(hash), model.stored);
    assert_eq!(hash.len(), visible.len());
    assert_eq!(hash.is_empty(), visible.is_empty());
    assert_eq!(hash.hidden(), model.stored.len() - visible.len());
    assert_eq!(hash.iter().len(), visible.len());
    let shown: BTreeMap<Vec<u8>, Vec<u8>> = hash
        .iter()
        .map(|(field, value)| (field.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(shown, visible);
    let mut deadlines = model.stored.values().filter_map(|(_, deadline)| *deadline);
    assert_eq!(
        hash.next_deadline(),
        deadlines.clone().min().unwrap_or(NEVER)
    );
    assert_eq!(hash.has_deadlines(), deadlines.next().is_some());
    assert_eq!(
        hash.has_live_fields(model.now),
        !visible.is_empty() || model.stored.is_empty()
    );
    for (field, (value, deadline)) in &model.stored {
        let hidden = model.hides(field);
        assert_eq!(hash.contains(field), !hidden);
        assert_eq!(hash.get(field), (!hidden).then_some(value.as_slice()));
        assert_eq!(hash.strlen(field), if hidden { 0 } else { value.len() });
        assert_eq!(hash.deadline(field), deadline.filter(|_| !hidden));
    }
    let mut scanned: Vec<Vec<u8>> = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 7, |field, _| scanned.push(field.to_vec()));
        if cursor == 0 {
            break;
        }
    }
    scanned.sort();
    assert_eq!(scanned, visible.keys().cloned().collect::<Vec<_>>());
    let mut state = 7_u64;
    let mut rng = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.rotate_left(23)
    };
    let drawn = hash.random(&mut rng).map(|(field, _)| field.to_vec());
    assert_eq!(drawn.is_some(), !visible.is_empty());
    assert!(drawn.is_none_or(|field| visible.contains_key(&field)));
    let chosen = hash.random_distinct(3, &mut rng);
    assert_eq!(chosen.len(), visible.len().min(3));
    assert!(chosen.iter().all(|(field, _)| visible.contains_key(*field)));
}

proptest! {
    #[test]
    fn behaves_like_a_map_with_deadlines(ops in prop::collection::vec(op(), 1..120)) {
        let mut hash = Hash::default();
        let mut model = Model::default();
        let mut saved: Option<(u64, &str, Stored, usize)> = None;
        for op in ops {
            let edits = hash.edits();
            let mut met = Vec::new();
            match op {
                Op::Insert(field, length) => {
                    let (field, value) = (vec![b'f', field], vec![b'v'; length]);
                    model.meet(&field, &mut met);
                    let is_new = hash.insert(&field, &value, LIMITS);
                    prop_assert_eq!(is_new, model.stored.insert(field, (value, None)).is_none());
                    prop_assert!(hash.edits() > edits);
                }
                Op::Update(field, length) => {
                    let (field, value) = (vec![b'f', field], vec![b'v'; length]);
                    model.meet(&field, &mut met);
                    let is_new = hash.update(&field, &value, LIMITS);
                    let old = model.stored.get(&field).map(|(_, deadline)| *deadline);
                    prop_assert_eq!(is_new, old.is_none());
                    model.stored.insert(field, (value, old.flatten()));
                }
                Op::Remove(field) => {
                    let field = vec![b'f', field];
                    model.meet(&field, &mut met);
                    let removed = hash.remove(&field);
                    prop_assert_eq!(removed, model.stored.remove(&field).is_some());
                    prop_assert_eq!(hash.edits() > edits, removed);
                }
                Op::Deadline(field, deadline) => {
                    let field = vec![b'f', field];
                    model.meet(&field, &mut met);
                    let done = hash.set_deadline(&field, deadline);
                    let old = model.stored.get_mut(&field).map(|(_, deadline)| deadline);
                    let expected = match (&old, deadline) {
                        (None, _) | (Some(None), None) => false,
                        (Some(_), _) => true,
                    };
                    prop_assert_eq!(done, expected);
                    prop_assert_eq!(hash.edits() > edits, done);
                    if let Some(old) = old {
                        *old = deadline;
                    }
                    // An index that is made now has not been told the time.
                    hash.hide_due(model.now);
                }
                Op::Hide(now) => {
                    hash.hide_due(now);
                    model.now = now;
                    prop_assert!(!hash.is_behind(now) || hash.hidden() > 0);
                    prop_assert_eq!(hash.edits(), edits);
                }
                Op::RemoveHidden(most) => {
                    let removed = hash.remove_hidden(most);
                    prop_assert_eq!(removed.len(), most.min(model.stored.len() - model.visible().len()));
                    let mut last = 0;
                    for field in removed {
                        prop_assert!(model.hides(&field));
                        let (_, deadline) = model.stored.remove(&*field).unwrap();
                        prop_assert!(deadline.unwrap() >= last, "the earliest first");
                        last = deadline.unwrap();
                    }
                    prop_assert_eq!(hash.edits(), edits);
                }
                Op::Begin => {
                    hash.begin_undo();
                    if saved.is_none() {
                        let bytes = hash.heap_bytes();
                        saved = Some((edits, hash.encoding(), model.stored.clone(), bytes));
                    }
                }
                Op::Commit => {
                    hash.commit_undo();
                    saved = None;
                }
                Op::Rollback => {
                    hash.rollback();
                    if let Some((edits, encoding, stored, bytes)) = saved.take() {
                        prop_assert_eq!(hash.edits(), edits);
                        prop_assert_eq!(hash.encoding(), encoding);
                        prop_assert!(encoding == "hashtable" || hash.heap_bytes() <= bytes);
                        model.stored = stored;
                    }
                    hash.hide_due(model.now);
                }
            }
            let taken = hash.take_met();
            prop_assert_eq!(taken.iter().map(|field| field.to_vec()).collect::<Vec<_>>(), met);
            check(&hash, &model);
        }
        let mut copy = hash.clone();
        prop_assert!(!copy.is_recording());
        check(&copy, &model);
        hash.rollback();
        hash.commit_undo();
        copy.remove_hidden(usize::MAX);
        prop_assert_eq!(copy.hidden(), 0);
    }
}

fn many(fields: usize, deadline: u64) -> Hash {
    let mut hash = Hash::default();
    for number in 0..fields {
        let field = number.to_string();
        hash.insert(field.as_bytes(), b"v", HashLimits::default());
        hash.set_deadline(field.as_bytes(), Some(deadline));
    }
    hash
}

#[test]
fn a_hash_without_deadlines_has_no_index() {
    let mut hash = Hash::default();
    hash.insert(b"f", b"v", LIMITS);
    let bytes = hash.heap_bytes();
    hash.set_deadline(b"f", Some(1));
    assert!(hash.heap_bytes() > bytes);
    hash.set_deadline(b"f", None);
    assert_eq!(hash.heap_bytes(), bytes);

    hash.begin_undo();
    hash.set_deadline(b"f", Some(1));
    hash.rollback();
    assert_eq!(hash.heap_bytes(), bytes);

    hash.set_deadline(b"f", Some(1));
    hash.begin_undo();
    hash.insert(b"f", b"v", LIMITS);
    hash.commit_undo();
    assert_eq!(hash.heap_bytes(), bytes);
}

#[test]
fn the_index_is_counted() {
    let plain = {
        let mut hash = Hash::default();
        for number in 0..10_000 {
            hash.insert(number.to_string().as_bytes(), b"v", LIMITS);
        }
        hash.heap_bytes()
    };
    let timed = many(10_000, 5).heap_bytes();
    let each = (timed - plain) / 10_000;
    assert!((40..160).contains(&each), "{each} bytes a field");
}

#[test]
fn a_deadline_is_exact_up_to_the_latest() {
    let mut hash = Hash::default();
    hash.insert(b"f", b"v", LIMITS);
    for deadline in [1, LATEST_FIELD_DEADLINE - 1, LATEST_FIELD_DEADLINE] {
        hash.set_deadline(b"f", Some(deadline));
        assert_eq!(hash.deadline(b"f"), Some(deadline));
        hash.hide_due(deadline - 1);
        assert!(hash.contains(b"f"));
        hash.hide_due(deadline);
        assert!(!hash.contains(b"f"));
        hash.hide_due(0);
    }
    hash.set_deadline(b"f", Some(u64::MAX));
    assert_eq!(hash.deadline(b"f"), Some(LATEST_FIELD_DEADLINE));
}

/// Draws stay uniform among what is visible, however little that is.
#[test]
fn random_fields_are_visible_ones() {
    let mut hash = many(5000, 10);
    hash.set_deadline(b"7", None);
    hash.set_deadline(b"4000", Some(20));
    hash.hide_due(10);
    let mut state = 0_u64;
    let mut rng = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut first = 0;
    for _ in 0..200 {
        let (field, _) = hash.random(&mut rng).unwrap();
        assert!([&b"7"[..], b"4000"].contains(&field));
        first += usize::from(field == b"7");
    }
    assert!((60..140).contains(&first), "{first} of 200");
    assert_eq!(hash.random_distinct(5, &mut rng).len(), 2);
}
