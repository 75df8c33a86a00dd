use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::intset::{IntSet, parse};
use super::{Form, Set, SetLimits};
use crate::value::Collection;

const LIMITS: SetLimits = SetLimits {
    max_intset_entries: 16,
};

fn contents(set: &Set) -> BTreeSet<Vec<u8>> {
    set.iter().map(|member| member.to_vec()).collect()
}

/// `heap_bytes` from the contents instead of the running totals.
fn counted_bytes(set: &Set) -> usize {
    let Form::Records(records) = &set.form else {
        return set.heap_bytes();
    };
    let held: usize = set.iter().map(|member| member.len()).sum();
    size_of::<Set>() + size_of_val(records.as_ref()) + records.table_bytes() + held
}

#[derive(Debug, Clone)]
enum Op {
    Insert(Vec<u8>),
    Remove(Vec<u8>),
    Pop,
    Begin,
    Commit,
    Rollback,
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        30 => (-9..9_i64).prop_map(|n| n.to_string().into_bytes()),
        6 => (-9..9_i64).prop_map(|n| (n << 20).to_string().into_bytes()),
        3 => prop_oneof![Just(i64::MIN), Just(i64::MAX)].prop_map(|n| n.to_string().into_bytes()),
        1 => prop_oneof![Just(b"01".to_vec()), Just(b"-0".to_vec()), Just(b"x".to_vec())],
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => member().prop_map(Op::Insert),
        8 => member().prop_map(Op::Remove),
        1 => Just(Op::Pop),
        1 => Just(Op::Begin),
        1 => Just(Op::Commit),
        1 => Just(Op::Rollback),
    ]
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

proptest! {
    #[test]
    fn behaves_like_a_set(ops in prop::collection::vec(op(), 1..150)) {
        let mut set = Set::default();
        let mut model: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut saved = None;
        let mut rng = random(9);
        for op in ops {
            let edits = set.edits();
            match op {
                Op::Insert(member) => {
                    let inserted = set.insert(&member, LIMITS);
                    prop_assert_eq!(inserted, model.insert(member));
                    prop_assert_eq!(set.edits() > edits, inserted);
                }
                Op::Remove(member) => {
                    let removed = set.remove(&member);
                    prop_assert_eq!(removed, model.remove(&member));
                    prop_assert_eq!(set.edits() > edits, removed);
                }
                Op::Pop => match set.pop(&mut rng) {
                    Some(member) => prop_assert!(model.remove(&member)),
                    None => prop_assert!(model.is_empty()),
                },
                Op::Begin => {
                    set.begin_undo();
                    if saved.is_none() {
                        saved = Some((set.encoding(), edits, model.clone()));
                    }
                }
                Op::Commit => {
                    set.commit_undo();
                    saved = None;
                }
                Op::Rollback => {
                    set.rollback();
                    if let Some((encoding, edits, contents)) = saved.take() {
                        prop_assert_eq!(set.encoding(), encoding);
                        prop_assert_eq!(set.edits(), edits);
                        model = contents;
                    }
                }
            }
            prop_assert_eq!(set.is_recording(), saved.is_some());
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.heap_bytes(), counted_bytes(&set));
            if set.encoding() == "intset" {
                prop_assert!(set.len() <= LIMITS.max_intset_entries);
                let members: Vec<i64> = set.iter().filter_map(|m| parse(&m)).collect();
                prop_assert_eq!(members.len(), set.len());
                prop_assert!(members.is_sorted());
            }
        }
        prop_assert_eq!(&contents(&set), &model);
        for member in &model {
            prop_assert!(set.contains(member));
        }
        prop_assert!(!set.contains(b"+1"));
        let copy = set.clone();
        prop_assert!(!copy.is_recording());
        prop_assert_eq!(contents(&copy), model);
    }

    #[test]
    fn integers_are_exactly_what_prints_the_same(text in "[-+ ]{0,2}[0-9]{0,21}") {
        let printed = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
        prop_assert_eq!(parse(text.as_bytes()), printed);
    }

    #[test]
    fn every_integer_parses(integer: i64) {
        prop_assert_eq!(parse(integer.to_string().as_bytes()), Some(integer));
        let mut set = Set::default();
        set.insert(integer.to_string().as_bytes(), SetLimits::default());
        prop_assert_eq!(set.iter().next().map(|m| m.to_vec()), Some(integer.to_string().into()));
    }
}

fn filled(members: usize, prefix: &str) -> Set {
    let mut set = Set::default();
    for i in 0..members {
        set.insert(format!("{prefix}{i}").as_bytes(), SetLimits::default());
    }
    set
}

#[test]
fn converts_where_redis_does() {
    let limits = SetLimits::default();
    let mut set = filled(512, "");
    assert_eq!(set.encoding(), "intset");
    set.insert(b"7", limits);
    assert_eq!(set.encoding(), "intset");
    set.insert(b"512", limits);
    assert_eq!(set.encoding(), "hashtable");
    set.remove(b"512");
    assert_eq!(set.encoding(), "hashtable");
    assert!((0..512).all(|i| set.contains(i.to_string().as_bytes())));

    for member in ["x", "", "01", "-0", "1.0", "9223372036854775808"] {
        let mut set = filled(3, "");
        set.insert(member.as_bytes(), limits);
        assert_eq!(set.encoding(), "hashtable", "{member}");
        assert_eq!(set.len(), 4);
    }
}

#[test]
fn integers_take_the_bytes_they_need() {
    let mut integers = IntSet::default();
    assert!(integers.insert(3) && integers.insert(-3) && !integers.insert(3));
    assert!(matches!(integers, IntSet::Two(_)));
    assert!(integers.insert(40_000));
    assert!(matches!(integers, IntSet::Four(_)));
    assert!(integers.insert(i64::MIN));
    assert!(matches!(integers, IntSet::Eight(_)));
    assert!(!integers.remove(4) && integers.remove(i64::MIN));
    assert_eq!(integers.iter().collect::<Vec<_>>(), [-3, 3, 40_000]);
}

#[test]
fn rollback_undoes_pops_of_a_large_set() {
    let mut set = filled(2000, "m");
    let before = contents(&set);
    set.begin_undo();
    let mut rng = random(1);
    for _ in 0..1990 {
        set.pop(&mut rng);
    }
    set.insert(b"other", SetLimits::default());
    set.rollback();
    assert_eq!(contents(&set), before);
    assert_eq!(set.heap_bytes(), counted_bytes(&set));
}

#[test]
fn random_members_are_uniform() {
    let mut rng = random(5);
    assert!(Set::default().random(&mut rng).is_none());
    assert!(Set::default().pop(&mut rng).is_none());
    for (members, prefix) in [(20, ""), (20, "m"), (1000, "m")] {
        let set = filled(members, prefix);
        let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut first: HashMap<Vec<u8>, usize> = HashMap::new();
        for _ in 0..members * 100 {
            *times
                .entry(set.random(&mut rng).unwrap().to_vec())
                .or_default() += 1;
            let pair = set.random_distinct(2, &mut rng);
            *first.entry(pair[0].to_vec()).or_default() += 1;
        }
        for times in [times, first] {
            assert_eq!(times.len(), members);
            assert!(times.values().all(|n| (40..=180).contains(n)), "{times:?}");
        }
        for count in [0, 5, members, members + 1] {
            let chosen = set.random_distinct(count, &mut rng);
            let distinct: HashSet<&[u8]> = chosen.iter().map(AsRef::as_ref).collect();
            assert_eq!(distinct.len(), count.min(members));
            assert_eq!(chosen.len(), distinct.len());
            assert!(distinct.iter().all(|member| set.contains(member)));
        }
    }
}

#[test]
fn scan_visits_every_member() {
    for (members, prefix) in [(100, ""), (3000, "m")] {
        let set = filled(members, prefix);
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 10, |member| assert!(seen.insert(member.to_vec())));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, contents(&set));
    }
}

#[test]
fn a_set_is_small() {
    assert!(size_of::<Set>() <= 56);
    fn is_send<T: Send>() {}
    is_send::<Set>();
}
