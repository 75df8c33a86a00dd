use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::{SEGMENT_BUCKETS, SEGMENT_ENTRIES, Table};

/// A bijection that spreads every bit (the finalizer of SplitMix64).
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state += 1;
        mix(state)
    }
}

type Entry = (u64, u64);

struct Spread(fn(u64) -> u64, Table<Entry>);

impl Spread {
    fn insert(&mut self, key: u64, value: u64) -> Option<u64> {
        let Spread(hash, table) = self;
        let hasher = |entry: &Entry| hash(entry.0);
        let (entry, added) =
            table.find_or_insert_with(hash(key), |entry| entry.0 == key, || (key, value), hasher);
        let old = std::mem::replace(&mut entry.1, value);
        (!added).then_some(old)
    }

    fn remove(&mut self, key: u64) -> Option<u64> {
        let Spread(hash, table) = self;
        table
            .remove(hash(key), |entry| entry.0 == key, |entry| hash(entry.0))
            .map(|entry| entry.1)
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.1
            .find((self.0)(key), |entry| entry.0 == key)
            .map(|entry| entry.1)
    }

    fn scan(&self, cursor: u64, count: usize, seen: &mut Vec<u64>) -> u64 {
        self.1.scan(
            cursor,
            count,
            |entry| (self.0)(entry.0),
            |entry| seen.push(entry.0),
        )
    }

    /// What the module promises of the structure.
    fn check(&self) {
        let table = &self.1;
        let entries: usize = table.segments.iter().map(|s| s.table.len()).sum();
        assert_eq!(entries, table.len());
        let bytes: usize = table
            .segments
            .iter()
            .map(|s| s.table.allocation_size())
            .sum();
        assert_eq!(bytes, table.bucket_bytes);
        assert!(
            table
                .segments
                .iter()
                .all(|s| s.table.num_buckets() <= table.widest)
        );
        if table.segments.len() <= 1 {
            assert!(table.directory.is_empty() && table.depth == 0);
        } else {
            assert_eq!(table.directory.len(), 1 << table.depth);
        }
        for (slot, &index) in table.directory.iter().enumerate() {
            let segment = &table.segments[index as usize];
            assert_eq!(
                slot >> (table.depth - segment.depth),
                segment.prefix as usize
            );
        }
        for (index, segment) in table.segments.iter().enumerate() {
            for entry in &segment.table {
                assert_eq!(table.segment_of((self.0)(entry.0)), index);
            }
        }
    }
}

/// Hashes that spread, that collide in their position, that share their first
/// bits, and that are all the same.
const HASHES: [fn(u64) -> u64; 5] = [
    mix,
    |key| mix(key) & !(u64::MAX >> 7 & u64::MAX << 9),
    |key| mix(key) & (u64::MAX >> 20),
    |key| mix(key % 3),
    |_| 0x1234_5678_9abc_def0,
];

#[derive(Debug, Clone)]
enum Op {
    Insert(u64, u64),
    InsertMany(u64, u64),
    Remove(u64),
    RemoveMany(u64, u64),
    RemoveRandom,
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..3000_u64;
    prop_oneof![
        8 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Op::Insert(key, value)),
        4 => (key.clone(), 0..1500_u64).prop_map(|(from, count)| Op::InsertMany(from, count)),
        8 => key.clone().prop_map(Op::Remove),
        4 => (key, 0..2500_u64).prop_map(|(from, count)| Op::RemoveMany(from, count)),
        2 => Just(Op::RemoveRandom),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 1..40), which in 0..HASHES.len()) {
        let mut table = Spread(HASHES[which], Table::new());
        let mut model = HashMap::new();
        let mut rng = random(1);
        // Equal hashes make every operation linear.
        let scale = if which >= 3 { 8 } else { 1 };
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    prop_assert_eq!(table.insert(key, value), model.insert(key, value));
                }
                Op::InsertMany(from, count) => {
                    for key in from..from + count / scale {
                        prop_assert_eq!(table.insert(key, from), model.insert(key, from));
                    }
                }
                Op::Remove(key) => prop_assert_eq!(table.remove(key), model.remove(&key)),
                Op::RemoveMany(from, count) => {
                    for key in from..from + count {
                        prop_assert_eq!(table.remove(key), model.remove(&key));
                    }
                }
                Op::RemoveRandom => {
                    let hash = table.0;
                    match table.1.remove_random(&mut rng, |entry| hash(entry.0)) {
                        Some((key, value)) => prop_assert_eq!(model.remove(&key), Some(value)),
                        None => prop_assert!(model.is_empty()),
                    }
                }
                Op::Clear => {
                    table.1.clear();
                    model.clear();
                }
            }
            table.check();
            prop_assert_eq!(table.1.len(), model.len());
            prop_assert_eq!(table.1.is_empty(), model.is_empty());
        }
        for key in 0..4600 {
            prop_assert_eq!(table.get(key), model.get(&key).copied());
        }
        let contents: BTreeMap<u64, u64> = table.1.iter().copied().collect();
        prop_assert_eq!(&contents, &model.into_iter().collect());
        prop_assert_eq!(table.1.iter().len(), contents.len());
        let mut seen = Vec::new();
        let mut cursor = table.scan(0, 10, &mut seen);
        while cursor != 0 {
            cursor = table.scan(cursor, 10, &mut seen);
        }
        seen.sort_unstable();
        prop_assert!(seen.iter().eq(contents.keys()));
        let drained: BTreeMap<u64, u64> = table.1.drain().collect();
        prop_assert_eq!(drained, contents);
        prop_assert_eq!(table.1.heap_bytes(), 0);
    }

    #[test]
    fn scan_returns_what_stays_exactly_once(
        start in 0..4000_u64,
        which in 0..3_usize,
        steps in prop::collection::vec((1..700_usize, any::<bool>(), 0..1500_u64), 1..30),
    ) {
        let mut table = Spread(HASHES[which], Table::new());
        for key in 0..start {
            table.insert(key, 0);
        }
        let stays: HashSet<u64> = (0..start).filter(|key| key % 3 == 0).collect();
        let mut transient = start;
        let mut seen = Vec::new();
        let mut cursor = 0;
        for (count, grow, changes) in steps.into_iter().cycle() {
            cursor = table.scan(cursor, count, &mut seen);
            prop_assert!(cursor < 1 << 48);
            if cursor == 0 {
                break;
            }
            for i in 0..changes {
                if grow {
                    table.insert(transient, 0);
                    transient += 1;
                } else {
                    let key = mix(changes + i) % transient;
                    if !stays.contains(&key) {
                        table.remove(key);
                    }
                }
            }
            if transient > 60_000 {
                for key in start..transient {
                    table.remove(key);
                }
                transient = start;
            }
        }
        let mut times: HashMap<u64, usize> = HashMap::new();
        for key in seen {
            *times.entry(key).or_default() += 1;
        }
        for key in stays {
            prop_assert_eq!(times.get(&key), Some(&1));
        }
    }

    #[test]
    fn any_cursor_is_safe(cursor: u64, count: usize, keys in 0..2000_u64) {
        let mut table = Spread(mix, Table::new());
        for key in 0..keys {
            table.insert(key, 0);
        }
        let mut seen = Vec::new();
        table.scan(cursor, count, &mut seen);
        prop_assert!(cursor < 1 << 48 || seen.is_empty());
    }
}

#[test]
fn scan_returns_about_as_many_as_asked() {
    let mut table = Spread(mix, Table::new());
    for key in 0..10_000 {
        table.insert(key, 0);
    }
    for count in [1, 10, 500, 3000] {
        let mut seen = Vec::new();
        let cursor = table.scan(0, count, &mut seen);
        assert_ne!(cursor, 0);
        assert_eq!(seen.len(), count);
    }
    let mut seen = Vec::new();
    assert_eq!(table.scan(0, usize::MAX, &mut seen), 0);
    assert_eq!(seen.len(), 10_000);
}

#[test]
fn grows_to_a_million_and_gives_the_memory_back() {
    const MANY: u64 = 1_000_000;
    let mut table: Spread = Spread(mix, Table::new());
    assert_eq!(table.1.heap_bytes(), 0);
    for key in 0..MANY {
        assert_eq!(table.insert(key, !key), None);
    }
    table.check();
    let widest = table.1.segments.iter().map(|s| s.table.num_buckets()).max();
    assert_eq!(widest, Some(SEGMENT_BUCKETS));
    // 17 bytes a bucket, 44 % used at worst.
    assert!(table.1.heap_bytes() < 40 * MANY as usize);
    for key in 0..MANY {
        assert_eq!(table.get(key), Some(!key));
    }
    for key in 0..MANY - 1000 {
        assert_eq!(table.remove(key), Some(!key));
    }
    table.check();
    assert!(
        table.1.heap_bytes() < 100 * 1000,
        "{}",
        table.1.heap_bytes()
    );
    for key in MANY - 1000..MANY {
        assert_eq!(table.remove(key), Some(!key));
    }
    table.check();
    assert!(table.1.heap_bytes() < 1000, "{}", table.1.heap_bytes());
}

#[test]
fn churn_does_not_inflate_segments() {
    let mut table: Spread = Spread(mix, Table::new());
    for key in 0..20_000 {
        table.insert(key, 0);
    }
    for key in 20_000..400_000 {
        table.remove(key - 20_000);
        table.insert(key, 0);
    }
    table.check();
    assert_eq!(table.1.len(), 20_000);
    assert!(
        table
            .1
            .segments
            .iter()
            .all(|s| s.table.num_buckets() <= SEGMENT_BUCKETS)
    );
    assert!(
        table.1.heap_bytes() < 20_000 * 60,
        "{}",
        table.1.heap_bytes()
    );
}

#[test]
fn hashes_that_do_not_spread_stay_correct_and_small() {
    for hash in HASHES {
        let mut table = Spread(hash, Table::new());
        for key in 0..5000 {
            assert_eq!(table.insert(key, key), None);
        }
        table.check();
        assert!(table.1.directory.len() <= 5000 / 16);
        assert_eq!(table.get(4999), Some(4999));
        assert_eq!(table.get(5000), None);
        for key in 0..5000 {
            assert_eq!(table.remove(key), Some(key));
        }
        table.check();
        assert!(table.1.heap_bytes() < 2000, "{}", table.1.heap_bytes());
    }
}

#[test]
fn entries_with_one_hash_are_all_found_by_it() {
    let mut table: Table<Entry> = Table::new();
    let hasher = |entry: &Entry| mix(entry.0 / 2);
    for key in 0..4000 {
        table.insert_unique(hasher(&(key, 0)), (key, 0), hasher).1 = key;
    }
    for key in (0..4000).step_by(2) {
        let hash = hasher(&(key, 0));
        let mut found: Vec<u64> = table
            .iter_hash(hash)
            .filter(|e| hasher(e) == hash)
            .map(|e| e.1)
            .collect();
        found.sort_unstable();
        assert_eq!(found, [key, key + 1]);
    }
    assert_eq!(Table::<Entry>::new().iter_hash(7).count(), 0);
}

#[test]
fn a_slot_leads_back_to_its_entry() {
    let mut table = Spread(mix, Table::new());
    assert!(table.1.locate(mix(1), |_| true).is_none());
    for key in 0..2000 {
        table.insert(key, 0);
    }
    for key in 0..2000 {
        let slot = table.1.locate(mix(key), |entry| entry.0 == key).unwrap();
        table.1.at_mut(slot).unwrap().1 = key;
        assert_eq!(table.1.at(slot), Some(&(key, key)));
    }
    assert!(table.1.locate(mix(7), |entry| entry.0 == 8).is_none());
    // A slot that outlived its entry names another one or none.
    let slot = table.1.locate(mix(3), |entry| entry.0 == 3).unwrap();
    table.1.clear();
    assert!(table.1.at(slot).is_none() && table.1.at_mut(slot).is_none());
}

/// Chi-square of drawing `draws` times from `table`, against its degrees of
/// freedom, in standard deviations.
fn deviation(table: &Table<Entry>, draws: usize) -> f64 {
    let mut rng = random(42);
    let mut times: HashMap<u64, f64> = table.iter().map(|entry| (entry.0, 0.0)).collect();
    for _ in 0..draws {
        let key = table.random(&mut rng).map(|entry| entry.0);
        *key.and_then(|key| times.get_mut(&key)).unwrap() += 1.0;
    }
    let expected = draws as f64 / table.len() as f64;
    let chi_square: f64 = times
        .values()
        .map(|n| (n - expected).powi(2) / expected)
        .sum();
    let freedom = table.len() as f64 - 1.0;
    (chi_square - freedom) / (2.0 * freedom).sqrt()
}

#[test]
fn random_is_uniform() {
    // Whatever the number of segments, their depths and their loads.
    for (keys, left) in [(7, 7), (300, 300), (700, 700), (5000, 5000), (5000, 900)] {
        for hash in [HASHES[0], HASHES[2]] {
            let mut table = Spread(hash, Table::new());
            for key in 0..keys {
                table.insert(key, 0);
            }
            for key in left..keys {
                table.remove(key);
            }
            let deviation = deviation(&table.1, left as usize * 40);
            assert!(deviation.abs() < 5.0, "{keys} {left}: {deviation}");
        }
    }
    let stuck = Spread(mix, Table::new());
    assert!(stuck.1.random(&mut || 0).is_none());
}

#[test]
fn a_stuck_generator_holds_nobody() {
    let mut table = Spread(mix, Table::new());
    for key in 0..3000 {
        table.insert(key, 0);
    }
    for stuck in [0, 1, u64::MAX] {
        assert!(table.1.random(&mut || stuck).is_some());
        let chosen = table.1.random_distinct(500, &mut || stuck);
        assert_eq!(
            chosen.iter().map(|e| e.0).collect::<HashSet<_>>().len(),
            500
        );
    }
}

#[test]
fn random_distinct_takes_no_entry_twice() {
    let mut table = Spread(mix, Table::new());
    for key in 0..3000 {
        table.insert(key, 0);
    }
    let mut rng = random(3);
    for count in [0, 1, 400, 2000, 3000, usize::MAX] {
        let chosen = table.1.random_distinct(count, &mut rng);
        let distinct: HashSet<u64> = chosen.iter().map(|entry| entry.0).collect();
        assert_eq!(chosen.len(), count.min(3000));
        assert_eq!(distinct.len(), chosen.len());
    }
}

#[test]
fn a_segment_takes_its_fill_before_it_splits() {
    let mut table = Spread(mix, Table::new());
    for key in 0..SEGMENT_ENTRIES as u64 {
        table.insert(key, 0);
    }
    assert_eq!(table.1.segments.len(), 1);
    table.insert(u64::MAX, 0);
    assert_eq!(table.1.segments.len(), 2);
    let copy = table.1.clone();
    assert_eq!(copy.len(), SEGMENT_ENTRIES + 1);
    assert!(copy.find(mix(5), |entry| entry.0 == 5).is_some());
}

#[test]
fn room_made_ahead_is_room_for_all() {
    for count in [0, 1, 14, 448, 449, 5000, 100_000] {
        let mut table = Spread(mix, Table::with_capacity(count));
        table.check();
        let (segments, bytes) = (table.1.segments.len(), table.1.heap_bytes());
        assert!(bytes <= 48 * count + 16 * 1024, "{count}: {bytes}");
        for key in 0..count as u64 {
            assert_eq!(table.insert(key, key), None);
        }
        table.check();
        let split = table.1.segments.len() - segments;
        assert!(split * 20 <= segments, "{split} of {segments} split");
        let mut ends = Vec::new();
        let mut cursor = 0;
        let mut seen = 0;
        while let Some((entries, end)) = table.1.segment_at(cursor) {
            seen += entries.len();
            assert!(end > cursor);
            cursor = end;
            ends.push(end);
        }
        assert_eq!((seen, ends.len()), (count, table.1.segments.len()));
        for key in 0..count as u64 {
            assert_eq!(table.remove(key), Some(key));
        }
        table.check();
    }
}
