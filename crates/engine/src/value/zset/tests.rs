use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: ZSetLimits = ZSetLimits {
    max_entries: 128,
    max_value: 64,
};
const NEVER_PACKED: ZSetLimits = ZSetLimits {
    max_entries: 0,
    max_value: 0,
};

/// A small generator, so that failures repeat.
fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

type Model = BTreeMap<Vec<u8>, f64>;
type Entry = (Vec<u8>, f64);

fn sorted(model: &Model) -> Vec<Entry> {
    let mut entries: Vec<Entry> = model
        .iter()
        .map(|(member, score)| (member.clone(), *score))
        .collect();
    entries.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    entries
}

fn owned<'a>(entries: impl IntoIterator<Item = (&'a [u8], f64)>) -> Vec<Entry> {
    entries
        .into_iter()
        .map(|(member, score)| (member.to_vec(), score))
        .collect()
}

fn check(zset: &ZSet, model: &Model) {
    let entries = sorted(model);
    assert_eq!(zset.len(), entries.len());
    assert_eq!(owned(zset), entries);
    for (rank, (member, score)) in entries.iter().enumerate() {
        assert_eq!(zset.score(member), Some(*score));
        assert_eq!(zset.rank(member), Some(rank));
    }
    if let Form::Indexed(indexed) = &zset.form {
        indexed.check();
    }
}

fn numbered(count: usize, limits: ZSetLimits) -> ZSet {
    let mut zset = ZSet::default();
    for n in 0..count {
        zset.insert(format!("member:{n:06}").as_bytes(), n as f64, limits);
    }
    zset
}

#[test]
fn limits_decide_the_encoding_once() {
    let mut zset = numbered(128, LIMITS);
    assert_eq!(zset.encoding(), "listpack");
    zset.insert(b"member:000000", 7.5, LIMITS);
    assert_eq!(zset.encoding(), "listpack");
    zset.insert(b"one more", 7.5, LIMITS);
    assert_eq!(zset.encoding(), "skiplist");
    assert_eq!(zset.remove_range_by_rank(1, usize::MAX, |_, _| {}), 128);
    assert_eq!((zset.len(), zset.encoding()), (1, "skiplist"));

    let mut zset = ZSet::default();
    zset.insert(&[b'x'; 64], 1.0, LIMITS);
    assert_eq!(zset.encoding(), "listpack");
    zset.insert(&[b'x'; 65], 1.0, LIMITS);
    assert_eq!(zset.encoding(), "skiplist");
    let mut zset = ZSet::default();
    zset.insert(b"", 1.0, NEVER_PACKED);
    assert_eq!((zset.encoding(), zset.rank(b"")), ("skiplist", Some(0)));
}

#[test]
fn equal_scores_are_no_edit() {
    for limits in [LIMITS, NEVER_PACKED] {
        let mut zset = ZSet::default();
        assert_eq!(zset.insert(b"a", 0.0, limits), None);
        assert_eq!(zset.edits(), 1);
        assert_eq!(zset.insert(b"a", 0.0, limits), Some(0.0));
        assert_eq!(zset.insert(b"a", -0.0, limits), Some(0.0));
        assert_eq!(zset.remove(b"b"), None);
        assert_eq!(zset.remove_range_by_rank(1, 5, |_, _| {}), 0);
        assert_eq!(zset.edits(), 1);
        assert!(zset.score(b"a").unwrap().is_sign_positive());
        assert_eq!(zset.insert(b"a", 1.0, limits), Some(0.0));
        assert_eq!(zset.remove(b"a"), Some(1.0));
        assert_eq!(zset.edits(), 3);
        assert!(zset.is_empty());
        assert_eq!(zset.pop_min(), None);
        assert_eq!(zset.pop_max(), None);
    }
}

#[test]
fn minus_zero_lives_only_outside_the_listpack() {
    for (limits, negative) in [(LIMITS, false), (NEVER_PACKED, true)] {
        let mut zset = ZSet::default();
        zset.insert(b"b", -0.0, limits);
        zset.insert(b"a", 0.0, limits);
        assert_eq!(zset.rank(b"a"), Some(0));
        assert_eq!(zset.score(b"b").unwrap().is_sign_negative(), negative);
    }
}

#[test]
fn score_ranges_at_their_ends() {
    use Bound::{Excluded, Included};
    let inf = f64::INFINITY;
    for limits in [LIMITS, NEVER_PACKED] {
        let mut zset = ZSet::default();
        assert_eq!(zset.score_range(Included(-inf), Included(inf)), (0, 0));
        for (member, score) in [("a", -inf), ("b", 1.0), ("c", 2.0), ("d", 2.0), ("e", inf)] {
            zset.insert(member.as_bytes(), score, limits);
        }
        assert_eq!(zset.score_range(Included(-inf), Included(inf)), (0, 5));
        assert_eq!(zset.score_range(Excluded(-inf), Excluded(inf)), (1, 3));
        assert_eq!(zset.score_range(Included(2.0), Included(2.0)), (2, 2));
        assert_eq!(zset.score_range(Excluded(2.0), Included(2.0)).1, 0);
        assert_eq!(zset.score_range(Included(2.0), Excluded(2.0)).1, 0);
        assert_eq!(zset.score_range(Included(3.0), Included(1.0)).1, 0);
        assert_eq!(zset.score_range(Excluded(1.0), Included(7.0)), (2, 2));
    }
}

#[test]
fn lex_ranges_at_their_ends() {
    use LexBound::{Excluded, Included, Max, Min};
    for limits in [LIMITS, NEVER_PACKED] {
        let mut zset = ZSet::default();
        for member in ["", "a", "aa", "b", "c"] {
            zset.insert(member.as_bytes(), 0.0, limits);
        }
        assert_eq!(zset.lex_range(&Min, &Max), (0, 5));
        assert_eq!(zset.lex_range(&Max, &Min).1, 0);
        assert_eq!(zset.lex_range(&Min, &Min).1, 0);
        assert_eq!(
            zset.lex_range(&Included(b"a".to_vec()), &Excluded(b"b".to_vec())),
            (1, 2)
        );
        assert_eq!(
            zset.lex_range(&Excluded(b"a".to_vec()), &Included(b"b".to_vec())),
            (2, 2)
        );
        assert_eq!(zset.lex_range(&Excluded(b"aaa".to_vec()), &Max), (3, 2));
        assert_eq!(
            zset.lex_range(&Included(b"c".to_vec()), &Included(b"a".to_vec()))
                .1,
            0
        );
    }
}

#[test]
fn ranges_run_both_ways() {
    for (count, limits) in [(100, LIMITS), (5000, NEVER_PACKED)] {
        let zset = numbered(count, limits);
        let all = owned(&zset);
        for (start, wanted) in [
            (0, 0),
            (0, 3),
            (7, 91),
            (count - 1, 9),
            (count, 1),
            (usize::MAX, 2),
            (3, usize::MAX),
        ] {
            let start_in = start.min(count);
            let end = start_in.saturating_add(wanted).min(count);
            let mut expected = all[start_in..end].to_vec();
            let iter = zset.iter_range(start, wanted, false);
            assert_eq!(iter.len(), expected.len());
            assert_eq!(owned(iter), expected);
            expected.reverse();
            assert_eq!(owned(zset.iter_range(start, wanted, true)), expected);
        }
    }
}

#[test]
fn long_members_survive_both_encodings() {
    let limits = ZSetLimits {
        max_entries: 128,
        max_value: usize::MAX,
    };
    let mut zset = ZSet::default();
    let mut model = Model::new();
    for len in [0, 1, 16, 17, 64, 253, 254, 255, 256, 1000, 70_000] {
        zset.insert(&vec![b'm'; len], -1.5 * (len % 7) as f64, limits);
        model.insert(vec![b'm'; len], -1.5 * (len % 7) as f64);
    }
    assert_eq!(zset.encoding(), "listpack");
    check(&zset, &model);
    let mut expected = sorted(&model);
    expected.reverse();
    assert_eq!(owned(zset.iter_range(0, 99, true)), expected);
    zset.insert(b"x", 0.5, LIMITS);
    zset.leave_packed();
    model.insert(b"x".to_vec(), 0.5);
    check(&zset, &model);
    assert_eq!(zset.encoding(), "skiplist");
}

#[test]
fn scan_visits_every_member() {
    let zset = numbered(100, LIMITS);
    let mut seen = 0;
    assert_eq!(zset.scan(0, 10, |_, _| seen += 1), 0);
    assert_eq!(seen, 100);

    let zset = numbered(5000, LIMITS);
    let mut seen = Model::new();
    let (mut cursor, mut calls) = (0, 0);
    loop {
        cursor = zset.scan(cursor, 10, |member, score| {
            assert_eq!(seen.insert(member.to_vec(), score), None);
        });
        calls += 1;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(sorted(&seen), owned(&zset));
    assert!((450..=500).contains(&calls), "{calls}");
}

#[test]
fn random_members_are_members_and_distinct() {
    let mut rng = rng(7);
    assert!(ZSet::default().random(&mut rng).is_none());
    assert!(ZSet::default().random_distinct(3, &mut rng).is_empty());
    for count in [1, 100, 3000] {
        let zset = numbered(count, LIMITS);
        let mut hit = Model::new();
        for _ in 0..count * 20 {
            let (member, score) = zset.random(&mut rng).unwrap();
            assert_eq!(zset.score(member), Some(score));
            hit.insert(member.to_vec(), score);
        }
        assert_eq!(hit.len(), count);
        for wanted in [0, 1, count / 2, count, count + 1] {
            let chosen: Model = owned(zset.random_distinct(wanted, &mut rng))
                .into_iter()
                .collect();
            assert_eq!(chosen.len(), wanted.min(count));
        }
    }
}

#[test]
fn memory_comes_back() {
    let mut zset = numbered(100_000, LIMITS);
    let full = zset.heap_bytes();
    assert!(full < 100_000 * 75, "{full}");
    // A sliding window: new members come, the oldest go.
    for n in 100_000..300_000 {
        zset.insert(format!("member:{n:06}").as_bytes(), f64::from(n), LIMITS);
        assert_eq!(
            zset.pop_min().map(|(_, score)| score),
            Some(f64::from(n - 100_000))
        );
    }
    assert!(zset.heap_bytes() < full * 5 / 4, "{}", zset.heap_bytes());
    zset.remove_range_by_rank(10, usize::MAX, |_, _| {});
    assert!(zset.heap_bytes() < full / 20, "{}", zset.heap_bytes());
    if let Form::Indexed(indexed) = &zset.form {
        indexed.check();
    }
}

#[test]
fn order_of_arrival_fills_leaves() {
    let ascending = numbered(50_000, NEVER_PACKED).heap_bytes();
    let mut zset = ZSet::default();
    for n in (0..50_000).rev() {
        zset.insert(
            format!("member:{n:06}").as_bytes(),
            f64::from(n),
            NEVER_PACKED,
        );
    }
    let difference = zset.heap_bytes().abs_diff(ascending);
    assert!(difference < ascending / 50, "{difference} of {ascending}");
}

#[test]
fn a_clone_is_equal_and_independent() {
    let mut zset = numbered(10_000, LIMITS);
    zset.remove_range_by_rank(100, 3000, |_, _| {});
    zset.begin_undo();
    let mut clone = zset.clone();
    assert!(!clone.is_recording());
    assert_eq!(owned(&clone), owned(&zset));
    for n in 0..20_000 {
        clone.insert(format!("other:{n}").as_bytes(), f64::from(n % 100), LIMITS);
    }
    if let Form::Indexed(indexed) = &clone.form {
        indexed.check();
    }
    assert_eq!((zset.len(), clone.len()), (7000, 27_000));
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u16, i8),
    InsertMany(u16, u16),
    Remove(u16),
    RemoveRange(usize, usize),
    PopMin,
    PopMax,
    ScoreRange(i8, bool, i8, bool),
    LexRange(u16, bool, u16, bool),
    Begin,
    Commit,
    Rollback,
}

fn ops() -> impl Strategy<Value = Op> {
    let member = 0_u16..600;
    prop_oneof![
        12 => (member.clone(), -20_i8..20).prop_map(|(member, score)| Op::Insert(member, score)),
        3 => (member.clone(), 1_u16..200).prop_map(|(from, count)| Op::InsertMany(from, count)),
        6 => member.clone().prop_map(Op::Remove),
        2 => (0_usize..700, 0_usize..150).prop_map(|(start, count)| Op::RemoveRange(start, count)),
        1 => Just(Op::PopMin),
        1 => Just(Op::PopMax),
        3 => (-22_i8..22, any::<bool>(), -22_i8..22, any::<bool>())
            .prop_map(|(a, x, b, y)| Op::ScoreRange(a, x, b, y)),
        2 => (member.clone(), any::<bool>(), member, any::<bool>())
            .prop_map(|(a, x, b, y)| Op::LexRange(a, x, b, y)),
        1 => Just(Op::Begin),
        1 => Just(Op::Commit),
        1 => Just(Op::Rollback),
    ]
}

fn name(member: u16) -> Vec<u8> {
    // Some stay inside their slot, some have an allocation of their own.
    format!("{member:03}{}", "-".repeat(usize::from(member % 40))).into_bytes()
}

struct Saved {
    model: Model,
    edits: u64,
    encoding: &'static str,
}

fn run(limits: ZSetLimits, ops: Vec<Op>) {
    let mut zset = ZSet::default();
    let mut model = Model::new();
    let mut saved: Option<Saved> = None;
    for op in ops {
        let edits = zset.edits();
        let before = model.clone();
        match op {
            Op::Insert(member, score) => {
                let (member, score) = (name(member), f64::from(score) / 2.0);
                assert_eq!(
                    zset.insert(&member, score, limits),
                    model.insert(member, score)
                );
            }
            Op::InsertMany(from, count) => {
                for member in from..from + count {
                    zset.insert(&name(member), f64::from(member % 7), limits);
                    model.insert(name(member), f64::from(member % 7));
                }
            }
            Op::Remove(member) => {
                let member = name(member);
                assert_eq!(zset.remove(&member), model.remove(&member));
            }
            Op::RemoveRange(start, count) => {
                let expected: Vec<Entry> =
                    sorted(&model).into_iter().skip(start).take(count).collect();
                let mut removed = Vec::new();
                let done = zset.remove_range_by_rank(start, count, |member, score| {
                    removed.push((member.to_vec(), score));
                });
                assert_eq!(done, removed.len());
                assert_eq!(removed, expected);
                model.retain(|member, _| !expected.iter().any(|(other, _)| other == member));
            }
            Op::PopMin => {
                let popped = zset.pop_min();
                assert_eq!(popped, sorted(&model).into_iter().next());
                popped.map(|(member, _)| model.remove(&member));
            }
            Op::PopMax => {
                let popped = zset.pop_max();
                assert_eq!(popped, sorted(&model).into_iter().next_back());
                popped.map(|(member, _)| model.remove(&member));
            }
            Op::ScoreRange(min, open_min, max, open_max) => {
                let bound = |score: i8, open| {
                    let score = f64::from(score) / 2.0;
                    if open {
                        Bound::Excluded(score)
                    } else {
                        Bound::Included(score)
                    }
                };
                let (min, max) = (bound(min, open_min), bound(max, open_max));
                let (start, count) = zset.score_range(min, max);
                let inside = |score: f64| {
                    (match min {
                        Bound::Included(min) => min <= score,
                        Bound::Excluded(min) => min < score,
                    }) && (match max {
                        Bound::Included(max) => score <= max,
                        Bound::Excluded(max) => score < max,
                    })
                };
                let mut expected = sorted(&model);
                expected.retain(|(_, score)| inside(*score));
                assert_eq!(owned(zset.iter_range(start, count, false)), expected);
            }
            Op::LexRange(min, open_min, max, open_max) => {
                let bound = |member, open| {
                    if open {
                        LexBound::Excluded(name(member))
                    } else {
                        LexBound::Included(name(member))
                    }
                };
                let mut flat = ZSet::default();
                for member in model.keys() {
                    flat.insert(member, 1.0, limits);
                }
                let (start, count) = flat.lex_range(&bound(min, open_min), &bound(max, open_max));
                let (min, max) = (name(min), name(max));
                let expected: Vec<Entry> = model
                    .keys()
                    .filter(|member| {
                        if open_min {
                            **member > min
                        } else {
                            **member >= min
                        }
                    })
                    .filter(|member| {
                        if open_max {
                            **member < max
                        } else {
                            **member <= max
                        }
                    })
                    .map(|member| (member.clone(), 1.0))
                    .collect();
                assert_eq!(owned(flat.iter_range(start, count, false)), expected);
            }
            Op::Begin => {
                zset.begin_undo();
                saved.get_or_insert_with(|| Saved {
                    model: model.clone(),
                    edits,
                    encoding: zset.encoding(),
                });
            }
            Op::Commit => {
                zset.commit_undo();
                saved = None;
            }
            Op::Rollback => {
                zset.rollback();
                if let Some(saved) = saved.take() {
                    model = saved.model;
                    assert_eq!(
                        (zset.edits(), zset.encoding()),
                        (saved.edits, saved.encoding)
                    );
                }
                check(&zset, &model);
                continue;
            }
        }
        assert_eq!(zset.is_recording(), saved.is_some());
        if model == before && !matches!(op, Op::InsertMany(..)) {
            assert_eq!(zset.edits(), edits);
        } else if model != before {
            assert!(zset.edits() > edits);
        }
        let sizes = zset.heap_bytes();
        assert!(sizes > size_of::<ZSet>() || model.is_empty());
        check(&zset, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map_sorted_on_demand(ops in proptest::collection::vec(ops(), 1..80)) {
        run(LIMITS, ops);
    }

    #[test]
    fn behaves_so_without_the_compact_encoding(ops in proptest::collection::vec(ops(), 1..80)) {
        run(NEVER_PACKED, ops);
    }
}

#[test]
fn large_trees_stay_exact() {
    // Deep enough for inner nodes to split, even out and merge.
    let mut rng = rng(42);
    let mut zset = ZSet::default();
    let mut model = Model::new();
    let verify = |zset: &ZSet, model: &Model| {
        assert_eq!(owned(zset), sorted(model));
        if let Form::Indexed(indexed) = &zset.form {
            indexed.check();
        }
    };
    for round in 0..3 {
        for _ in 0..60_000 {
            let member = (rng() % 100_000).to_string().into_bytes();
            let score = (rng() % 1000) as f64;
            assert_eq!(
                zset.insert(&member, score, LIMITS),
                model.insert(member, score)
            );
        }
        verify(&zset, &model);
        zset.begin_undo();
        let kept = model.clone();
        for _ in 0..40_000 {
            let member = (rng() % 100_000).to_string().into_bytes();
            assert_eq!(zset.remove(&member), model.remove(&member));
        }
        verify(&zset, &model);
        for _ in 0..round {
            let start = rng() as usize % zset.len();
            zset.remove_range_by_rank(start, 5000, |member, _| {
                model.remove(member);
            });
            verify(&zset, &model);
        }
        if round == 1 {
            zset.rollback();
            model = kept;
            verify(&zset, &model);
        } else {
            zset.commit_undo();
        }
    }
    while let Some((member, score)) = zset.pop_max() {
        assert_eq!(model.remove(&member), Some(score));
    }
    assert!(model.is_empty() && zset.is_empty());
}

#[test]
fn it_moves_between_threads() {
    fn is_plain<T: Send + Clone + std::fmt::Debug>() {}
    is_plain::<ZSet>();
    is_plain::<ZSetIter<'_>>();
}
