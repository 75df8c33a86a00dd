//! Messages as bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::message::{hello, instance, read, write};
use super::{Change, Changes};
use crate::cache::key::TagId;

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<String>().prop_map(|key| Change::Key(key.into())),
        any::<u64>().prop_map(|tag| Change::Tag(TagId(tag))),
    ]
}

fn changes() -> impl Strategy<Value = Changes> {
    ("[a-z._-]{0,64}", vec(change(), 0..20)).prop_map(|(cache, changes)| Changes {
        cache: cache.into(),
        changes,
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(changes in changes(), number in any::<u64>()) {
        let all = write([7; 16], || number, &changes);
        prop_assert_eq!(all.len(), 1);
        let message = read(&all[0]).unwrap();
        prop_assert_eq!(message.instance, [7; 16]);
        prop_assert_eq!(message.sequence, number);
        prop_assert_eq!(message.changes, changes);
    }

    #[test]
    fn no_damage_is_read(
        changes in changes(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = write([7; 16], || 1, &changes).remove(0);
        let mut damaged = whole.clone();
        let at = at.index(damaged.len());
        damaged[at] = to;
        prop_assert_eq!(read(&damaged).is_some(), damaged == whole);
        prop_assert!(read(&whole[..cut.index(whole.len())]).is_none());
    }

    #[test]
    fn nothing_else_is_read(bytes in vec(any::<u8>(), 0..200), text in "1[A-Za-z0-9+/]{0,100}") {
        prop_assert!(read(&bytes).is_none());
        prop_assert!(read(text.as_bytes()).is_none());
    }
}

#[test]
fn many_changes_are_several_messages() {
    let key = |number: usize| Change::Key(format!("{number:0200}").into());
    let long = Change::Key("k".repeat(64 << 10).into());
    let mut all: Vec<Change> = (0..1000).map(key).collect();
    all.insert(500, long);
    let changes = Changes {
        cache: "test".into(),
        changes: all.clone(),
    };
    let mut number = 0;
    let texts = write(
        instance(),
        || {
            number += 1;
            number
        },
        &changes,
    );
    assert!((5..10).contains(&texts.len()), "{}", texts.len());
    let mut said = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let message = read(text).unwrap();
        assert_eq!(message.sequence, at as u64 + 1);
        assert!(text.len() <= 64 << 10 || message.changes.changes.len() == 1);
        assert!(!text.contains(&b'\n'));
        said.extend(message.changes.changes);
    }
    assert_eq!(said, all);
}

#[test]
fn a_stream_begins_with_a_message_that_says_nothing() {
    let first = read(&hello()).unwrap();
    assert_eq!((first.sequence, first.changes.changes.len()), (0, 0));
    assert_ne!(hello(), hello());
}

#[test]
fn every_instance_has_another_id() {
    assert_ne!(instance(), instance());
}
