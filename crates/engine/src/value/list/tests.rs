use std::collections::VecDeque;

use super::*;
use crate::random::Random;
use crate::value::Member;

/// Settings under which nodes of a few elements are full.
const SETTINGS: [i32; 8] = [-2, -1, -5, 0, 1, 2, 3, 7];

fn limits(node_size: i32) -> ListLimits {
    ListLimits { node_size }
}

fn text(random: &mut Random) -> Vec<u8> {
    match random.below(24) {
        0 => Vec::new(),
        1 => vec![b'h'; 8192 + random.below(60_000)],
        2 => vec![b'n'; 8150 + random.below(60)],
        3 => vec![b'm'; 1000 + random.below(4000)],
        4..7 => vec![b'l'; 50 + random.below(100)],
        7 => (random.next() as i64 >> random.below(64))
            .to_string()
            .into_bytes(),
        8..14 => random.below(30).to_string().into_bytes(),
        _ => format!("e{}", random.below(20)).into_bytes(),
    }
}

fn texts(walk: Walk<'_>) -> Vec<Vec<u8>> {
    walk.map(Element::to_vec).collect()
}

/// Everything that must hold between operations.
#[track_caller]
fn sound(list: &List, model: &VecDeque<Vec<u8>>) {
    assert_eq!(list.length, model.len());
    let counts: usize = list.nodes.iter().map(Node::count).sum();
    assert_eq!(counts, list.length);
    let buffers: usize = list.nodes.iter().map(Node::heap_bytes).sum();
    assert_eq!(buffers, list.buffers);
    for node in &list.nodes {
        assert!(node.count() > 0, "a node is empty");
        let whole = node.heap_bytes().max(64) <= 8 * node.size().max(16);
        assert!(whole, "{} bytes in {}", node.size(), node.heap_bytes());
        for number in 0..=node.count().min(3) {
            let back = node.count() - number;
            assert!(node.offset(number) <= node.offset(back) || number > back);
        }
    }
    assert!(texts(list.iter()).iter().eq(model), "from the head");
    let last = list.length.wrapping_sub(1);
    let back = texts(list.walk(last, usize::MAX, End::Head));
    assert!(back.iter().eq(model.iter().rev()), "from the tail");
}

fn end(random: &mut Random) -> End {
    [End::Head, End::Tail][random.below(2)]
}

/// One operation on both; the answers must agree.
fn step(list: &mut List, model: &mut VecDeque<Vec<u8>>, random: &mut Random, limits: ListLimits) {
    let length = model.len();
    match random.below(20) {
        0..8 => {
            let end = end(random);
            for _ in 0..=random.below(12) {
                let text = text(random);
                list.push(end, &text, limits);
                match end {
                    End::Head => model.push_front(text),
                    End::Tail => model.push_back(text),
                }
            }
        }
        8..11 => {
            let end = end(random);
            for _ in 0..random.below(14) {
                let expected = match end {
                    End::Head => model.pop_front(),
                    End::Tail => model.pop_back(),
                };
                assert_eq!(list.pop(end), expected);
            }
        }
        11 | 12 => {
            let (index, text) = (random.below(length + 2), text(random));
            let there = model
                .get_mut(index)
                .map(|old| *old = text.clone())
                .is_some();
            assert_eq!(list.set(index, &text, limits), there);
        }
        13 | 14 => {
            let (index, text) = (random.below(length + 1), text(random));
            list.insert(index, &text, limits);
            model.insert(index, text);
        }
        15 => {
            let (start, count) = (random.below(length + 3), random.below(length / 3 + 4));
            let stop = (start + count).min(length);
            let expected = model.drain(start.min(stop)..stop).count();
            assert_eq!(list.remove_range(start, count), expected);
        }
        16 | 17 => {
            let wanted = match random.below(4) {
                0 => text(random),
                _ => model
                    .get(random.below(length.max(1)))
                    .cloned()
                    .unwrap_or_default(),
            };
            let (end, most) = (end(random), 1 + random.below(4));
            let mut left = most;
            let mut keep = |text: &Vec<u8>| {
                let goes = left > 0 && *text == wanted;
                left -= usize::from(goes);
                !goes
            };
            if end == End::Head {
                model.retain(keep);
            } else {
                let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
                while let Some(text) = model.pop_back() {
                    if keep(&text) {
                        kept.push_front(text);
                    }
                }
                *model = kept;
            }
            assert_eq!(list.remove(&wanted, end, most), most - left);
        }
        18 => {
            let wanted = text(random);
            let (end, most) = (end(random), random.below(length + 3));
            let mut found = Vec::new();
            list.find(&wanted, end, most, |at| {
                found.push(at);
                found.len() < 5
            });
            let matching = |(at, text): (usize, &Vec<u8>)| (*text == wanted).then_some(at);
            let expected: Vec<usize> = match end {
                End::Head => model
                    .iter()
                    .take(most)
                    .enumerate()
                    .filter_map(matching)
                    .take(5)
                    .collect(),
                End::Tail => model
                    .iter()
                    .rev()
                    .take(most)
                    .enumerate()
                    .filter_map(matching)
                    .take(5)
                    .collect(),
            };
            assert_eq!(found, expected);
        }
        _ => {
            let (index, count) = (random.below(length + 2), random.below(length + 2));
            let element = list.get(index).map(Element::to_vec);
            assert_eq!(element.as_ref(), model.get(index));
            let there: Vec<_> = model.iter().skip(index).take(count).cloned().collect();
            assert_eq!(texts(list.walk(index, count, End::Tail)), there);
            let mut folded = Vec::new();
            let walk = list.walk(index, count, End::Tail);
            walk.for_each(|element| folded.push(element.to_vec()));
            assert_eq!(folded, there);
            let back: Vec<_> = model
                .iter()
                .take(index + 1)
                .rev()
                .take(count)
                .cloned()
                .collect();
            let expected = if index < length { back } else { Vec::new() };
            assert_eq!(texts(list.walk(index, count, End::Head)), expected);
        }
    }
}

#[test]
fn random_operations_agree_with_a_deque() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let limits = limits(SETTINGS[random.below(SETTINGS.len())]);
        let (mut list, mut model) = (List::default(), VecDeque::new());
        for _ in 0..120 {
            step(&mut list, &mut model, &mut random, limits);
            sound(&list, &model);
        }
        let copy = list.clone();
        sound(&copy, &model);
        assert!(copy.heap_bytes() <= list.heap_bytes() + 64 * size_of::<Node>());
    }
}

#[test]
fn what_is_rolled_back_was_never_there() {
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let setting = SETTINGS[random.below(SETTINGS.len())];
        let (mut list, mut model) = (List::default(), VecDeque::new());
        for _ in 0..random.below(60) {
            step(&mut list, &mut model, &mut random, limits(setting));
        }
        let (before, edits) = (model.clone(), list.edits());
        list.begin_undo();
        for _ in 0..random.below(40) {
            step(&mut list, &mut model, &mut random, limits(setting));
        }
        sound(&list, &model);
        let mut kept = list.clone();
        assert!(!kept.is_recording(), "a clone does not go on recording");
        list.rollback();
        sound(&list, &before);
        assert_eq!((list.edits(), list.is_recording()), (edits, false));
        kept.push(End::Tail, b"more", limits(setting));
        model.push_back(b"more".to_vec());
        sound(&kept, &model);
    }
}

#[test]
fn edits_move_with_changes_only() {
    let mut list = List::default();
    let limits = ListLimits::default();
    list.push(End::Tail, b"a", limits);
    list.push(End::Tail, b"b", limits);
    let edits = list.edits();
    assert!(!list.set(2, b"x", limits));
    assert_eq!(list.remove(b"x", End::Head, 5), 0);
    assert_eq!(list.remove_range(2, 5), 0);
    list.find(b"a", End::Head, 9, |_| true);
    assert_eq!(list.edits(), edits);
    list.set(0, b"a", limits);
    assert_eq!(list.remove_range(0, 5), 2);
    assert_eq!(list.edits(), edits + 3);
    assert_eq!((list.pop(End::Head), list.edits()), (None, edits + 3));
}

#[test]
fn nodes_are_as_large_as_the_setting_says() {
    let sizes = [
        (-1, 4096),
        (-2, 8192),
        (-3, 16_384),
        (-4, 32_768),
        (-5, 65_536),
        (-9, 65_536),
    ];
    for (setting, bytes) in sizes {
        for end in [End::Head, End::Tail] {
            let mut list = List::default();
            for number in 0..100_000 {
                list.push(
                    end,
                    format!("element:{number:08}").as_bytes(),
                    limits(setting),
                );
            }
            // 18 bytes an element.
            let full = bytes / 18 * 18;
            assert_eq!(list.nodes.len(), (100_000usize * 18).div_ceil(full));
            let inner = list.nodes.iter().skip(1).take(list.nodes.len() - 2);
            assert!(inner.clone().all(|node| node.size() == full));
            assert!(inner.clone().all(|node| node.heap_bytes() <= bytes));
        }
    }
    for (setting, count) in [(0, 1), (1, 1), (5, 5), (100_000, 8192 / 18)] {
        let mut list = List::default();
        for _ in 0..1000 {
            list.push(End::Tail, b"element:00000000", limits(setting));
        }
        assert_eq!(list.nodes.len(), 1000usize.div_ceil(count));
    }
}

#[test]
fn an_element_larger_than_a_node_is_alone() {
    let huge = vec![b'x'; 100_000];
    for end in [End::Head, End::Tail] {
        let mut list = List::default();
        for text in [b"a".as_slice(), &huge, b"b", b"c"] {
            list.push(end, text, ListLimits::default());
        }
        let counts: Vec<usize> = list.nodes.iter().map(Node::count).collect();
        let expected = if end == End::Tail {
            [1, 1, 2]
        } else {
            [2, 1, 1]
        };
        assert_eq!(counts, expected);
        assert!(list.heap_bytes() < 101_000);
        list.set(2, b"small", ListLimits::default());
        list.set(1, b"small", ListLimits::default());
        assert!(list.heap_bytes() < 1000, "{}", list.heap_bytes());
    }
}

#[test]
fn a_queue_stays_small_however_much_goes_through() {
    for (push, pop) in [(End::Tail, End::Head), (End::Head, End::Tail)] {
        for standing in [1, 3, 100, 450, 5000] {
            let mut list = List::default();
            for number in 0..standing {
                list.push(
                    push,
                    format!("job:{number:08}").as_bytes(),
                    ListLimits::default(),
                );
            }
            let standing_bytes = list.heap_bytes();
            for number in 0..50_000 {
                list.push(
                    push,
                    format!("job:{number:08}").as_bytes(),
                    ListLimits::default(),
                );
                assert!(list.pop(pop).is_some());
                assert!(list.heap_bytes() < 2 * standing_bytes + 17_000);
            }
            while list.length > 1 {
                list.pop(pop);
            }
            assert!(list.heap_bytes() < 400, "{}", list.heap_bytes());
        }
    }
}

#[test]
fn a_million_short_elements_take_little() {
    // What redis-server 7.0.15 uses for the same, MEMORY USAGE with SAMPLES 0.
    for (make, theirs) in [
        (
            (|number: usize| format!("value:{number:06}")) as fn(usize) -> String,
            MILLION_TEXTS,
        ),
        (|number| number.to_string(), MILLION_INTEGERS),
        (|number| (number % 3000 + 130).to_string(), MILLION_SMALL),
        (|number| "x".repeat(number % 100), MILLION_LENGTHS),
    ] {
        for end in [End::Head, End::Tail] {
            let mut list = List::default();
            for number in 0..1_000_000 {
                list.push(end, make(number).as_bytes(), ListLimits::default());
            }
            let ours = list.heap_bytes();
            assert!(ours * 20 <= theirs * 21, "{ours}, redis {theirs}");
        }
    }
}

const MILLION_TEXTS: usize = 14_096_383;
const MILLION_INTEGERS: usize = 4_997_848;
const MILLION_SMALL: usize = 3_021_232;
const MILLION_LENGTHS: usize = 52_386_488;

#[test]
fn built_from_texts_it_is_the_same_list() {
    let mut random = Random::new(5);
    for count in [1, 2, 600, 3000] {
        let all: Vec<Vec<u8>> = (0..count).map(|_| text(&mut random)).collect();
        let list = List::build(all.iter().map(Vec::as_slice));
        sound(&list, &all.iter().cloned().collect());
        let members: Vec<Member<'_>> = list.iter().map(Member::from).collect();
        assert!(
            members
                .iter()
                .map(|member| &**member)
                .eq(all.iter().map(Vec::as_slice))
        );
    }
}
