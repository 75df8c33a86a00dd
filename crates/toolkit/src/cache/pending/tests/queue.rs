//! Bounds, and who takes whose place.

use std::collections::{BTreeMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::super::bus::Change;
use super::super::super::key::TagId;
use super::super::queue::{BYTES_MAX, COUNT_MAX, Queue, Refused, Sending, What};
use super::{TAG, Unsent, cache, deleted, stamp};

fn all(queue: &Queue) -> Vec<Sending> {
    queue.batch(usize::MAX, usize::MAX)
}

fn large(bytes: usize) -> Unsent {
    Unsent::Value {
        stamp: stamp(1),
        bytes: vec![0; bytes],
        ends_ms: u64::MAX,
    }
}

#[test]
fn the_newest_of_a_key_waits() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    queue.push_key(&one, "k", deleted(1));
    let first = all(&queue).remove(0);
    queue.push_key(&one, "k", deleted(2));
    assert_eq!(queue.len(), 1);
    queue.sent(&first);
    assert_eq!(queue.refused(&first), Refused::Waits);
    assert!(queue.has_key("one", "k"));
    let second = all(&queue).remove(0);
    assert!(matches!(
        &second.what,
        What::Key(_, unsent) if matches!(**unsent, Unsent::Deleted { stamp } if stamp.time_us == 2)
    ));
    queue.sent(&second);
    assert_eq!(queue.len(), 0);
    assert!(!queue.has_key("one", "k"));
}

#[test]
fn caches_and_tags_are_told_apart() {
    let (mut queue, one, two) = (Queue::default(), cache("one", None), cache("two", None));
    queue.push_key(&one, "k", deleted(1));
    queue.push_tag(&two, TAG);
    assert!(queue.has_key("one", "k") && !queue.has_key("two", "k"));
    assert!(queue.has_tag("two", TAG) && !queue.has_tag("one", TAG));
    assert!(!queue.has_tag("two", TagId::ALL) && !queue.has_key("one", "l"));
    queue.remove_key("one", "k");
    queue.remove_key("none", "k");
    assert!(!queue.has_key("one", "k"));
    assert_eq!(queue.len(), 1);
}

#[test]
fn three_refusals_are_enough() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    queue.push_key(&one, "k", deleted(1));
    let sending = all(&queue).remove(0);
    assert_eq!(queue.refused(&sending), Refused::Waits);
    assert_eq!(queue.refused(&sending), Refused::Waits);
    assert_eq!(queue.refused(&sending), Refused::Dropped);
    assert_eq!(queue.len(), 0);
    assert_eq!(queue.refused(&sending), Refused::Waits);
}

/// What it should have replaced would come back otherwise.
#[test]
fn a_value_that_is_refused_is_deleted_before_it_is_dropped() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    queue.push_key(&one, "k", large(1000));
    let value = all(&queue).remove(0);
    for expected in [Refused::Waits, Refused::Waits, Refused::Deletes] {
        assert_eq!(queue.refused(&value), expected);
    }
    assert_eq!(queue.bytes(), 128 + 1);
    let deletion = all(&queue).remove(0);
    assert!(matches!(
        &deletion.what,
        What::Key(_, unsent) if matches!(**unsent, Unsent::Deleted { stamp } if stamp.time_us == 1)
    ));
    for expected in [Refused::Waits, Refused::Waits, Refused::Dropped] {
        assert_eq!(queue.refused(&deletion), expected);
    }
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
}

#[test]
fn what_the_store_has_since_ends_what_waited_before() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    queue.push_key(&one, "k", deleted(1));
    queue.push_key(&one, "other", deleted(1));
    queue.push_tag(&one, TAG);
    let last = queue.last();
    queue.push_key(&one, "later", deleted(1));
    let changes = ["k", "later", "none"].map(|key| Change::Key(key.into()));
    queue.settled("one", &changes, last);
    queue.settled("two", &changes, last);
    assert!(!queue.has_key("one", "k"));
    assert!(queue.has_key("one", "other") && queue.has_key("one", "later"));
    queue.settled("one", &[Change::Tag(TAG), Change::Tag(TagId::ALL)], last);
    assert!(!queue.has_tag("one", TAG));
    assert_eq!((queue.len(), queue.bytes()), (2, 2 * 128 + 10));
}

/// As those of a node that is away do.
#[test]
fn what_fails_again_and_again_keeps_nothing_waiting() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    for key in 0..250 {
        queue.push_key(&one, &key.to_string(), deleted(1));
    }
    let mut sent = Vec::new();
    for expected in [0, 100, 150] {
        for sending in queue.batch(100, usize::MAX) {
            let What::Key(key, _) = &sending.what else {
                panic!("a tag")
            };
            let key: usize = key.parse().unwrap();
            match key {
                0..100 if key.is_multiple_of(2) => queue.later(&sending),
                0..100 => assert_eq!(queue.refused(&sending), Refused::Waits),
                _ => {
                    sent.push(key);
                    queue.sent(&sending);
                }
            }
        }
        // The oldest come first.
        assert_eq!(sent, (100..100 + expected).collect::<Vec<_>>());
    }
}

#[test]
fn too_many_become_the_whole_cache() {
    let (mut queue, one, two) = (Queue::default(), cache("one", None), cache("two", None));
    queue.push_key(&two, "k", deleted(1));
    for key in 0..COUNT_MAX - 1 {
        queue.push_key(&one, &key.to_string(), deleted(1));
        assert!(queue.collapse().is_empty());
    }
    assert_eq!(queue.len(), COUNT_MAX);
    queue.push_tag(&one, TAG);
    assert_eq!(queue.collapse(), [("one".into(), 0)]);
    assert_eq!(queue.len(), 2);
    assert!(queue.has_tag("one", TagId::ALL) && !queue.has_tag("one", TAG));
    assert!(!queue.has_key("one", "5") && queue.has_key("two", "k"));
}

#[test]
fn too_large_become_the_whole_cache() {
    let (mut queue, one, two) = (Queue::default(), cache("one", None), cache("two", None));
    for key in 0..100 {
        queue.push_key(&two, &key.to_string(), deleted(1));
    }
    for key in 0..3 {
        queue.push_key(&one, &key.to_string(), large(BYTES_MAX / 4));
        queue.push_key(&one, &key.to_string(), large(BYTES_MAX / 4));
        assert!(queue.collapse().is_empty());
    }
    queue.push_key(&one, "3", large(BYTES_MAX / 4));
    assert_eq!(queue.collapse(), [("one".into(), 0)]);
    assert_eq!(queue.len(), 101);
    queue.push_key(&two, "x", large(BYTES_MAX));
    assert_eq!(queue.collapse(), [("two".into(), 0)]);
    assert_eq!(queue.len(), 2);
    // There is room again.
    let three = cache("three", None);
    queue.push_key(&three, "x", large(BYTES_MAX / 2));
    assert!(queue.collapse().is_empty());
}

/// What comes while the whole cache is being sent is covered by sending it again.
#[test]
fn the_whole_cache_covers_what_comes_later() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    queue.push_key(&one, "k", deleted(1));
    queue.push_tag(&one, TAG);
    queue.push_tag(&one, TagId::ALL);
    assert_eq!(queue.len(), 1);
    let first = all(&queue).remove(0);
    queue.push_key(&one, "k", deleted(2));
    assert_eq!(queue.len(), 1);
    queue.sent(&first);
    assert!(queue.has_tag("one", TagId::ALL));
    let again = all(&queue).remove(0);
    queue.sent(&again);
    assert_eq!(queue.len(), 0);
}

/// Other apps' values have no version that all of them would lose.
#[test]
fn in_the_form_of_other_apps_what_is_too_much_is_dropped() {
    let (mut queue, theirs) = (Queue::default(), cache("theirs", Some("t:")));
    for key in 0..=COUNT_MAX {
        queue.push_key(&theirs, &key.to_string(), deleted(1));
    }
    assert_eq!(queue.collapse(), [("theirs".into(), COUNT_MAX as u64 + 1)]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn batches_are_bounded() {
    let (mut queue, one) = (Queue::default(), cache("one", None));
    for key in 0..250 {
        queue.push_key(&one, &key.to_string(), large(1000));
    }
    assert_eq!(queue.batch(100, usize::MAX).len(), 100);
    let batch = queue.batch(100, 10_000);
    assert!((5..10).contains(&batch.len()), "{}", batch.len());
    assert_eq!(queue.batch(100, 1).len(), 1);
    let mut seen = HashSet::new();
    while queue.len() > 0 {
        for one in queue.batch(100, usize::MAX) {
            queue.sent(&one);
            assert!(seen.insert(format!("{:?}", one.change())));
        }
    }
    assert_eq!(seen.len(), 250);
}

proptest! {
    /// Its count and bytes are those of what is in it, whatever happened.
    #[test]
    fn it_counts_right(steps in vec((0u8..4, 0u8..3, 0u8..5, 0usize..300), 1..200)) {
        let mut queue = Queue::default();
        let caches = [cache("a", None), cache("b", None), cache("c", Some("c:"))];
        let mut model: BTreeMap<(u8, u8), usize> = BTreeMap::new();
        for (step, at, key, size) in steps {
            let name = key.to_string();
            match step {
                0 | 1 => {
                    queue.push_key(&caches[usize::from(at)], &name, large(size));
                    model.insert((at, key), size);
                }
                2 => {
                    queue.remove_key(&caches[usize::from(at)].name, &name);
                    model.remove(&(at, key));
                }
                _ => {
                    for one in queue.batch(2, usize::MAX) {
                        let What::Key(key, _) = &one.what else { panic!("a tag") };
                        let at = caches.iter().position(|it| it.name == one.cache.name).unwrap();
                        model.remove(&(at as u8, key.parse().unwrap()));
                        queue.sent(&one);
                    }
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            let bytes: usize = model.values().map(|size| size + 128 + 1).sum();
            prop_assert_eq!(queue.bytes(), bytes);
        }
    }
}
