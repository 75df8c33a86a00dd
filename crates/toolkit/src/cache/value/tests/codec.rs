//! Values of types, there and back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::super::error::CacheError;
use super::super::super::settings::Encoding;
use super::super::{decode, encode};

const MAX: usize = 1 << 20;
const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::MessagePack];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    rating: Option<f64>,
    roles: Vec<Role>,
    place: (i32, i32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Role {
    Member,
    Admin { since: i64 },
    Custom(String, u8),
}

fn user() -> impl Strategy<Value = User> {
    let role = prop_oneof![
        Just(Role::Member),
        any::<i64>().prop_map(|since| Role::Admin { since }),
        (".*", any::<u8>()).prop_map(|(name, level)| Role::Custom(name, level)),
    ];
    let rating = proptest::option::of((-1000..1000i32).prop_map(|n| f64::from(n) / 8.0));
    (
        any::<u64>(),
        ".*",
        rating,
        vec(role, 0..4),
        any::<(i32, i32)>(),
    )
        .prop_map(|(id, name, rating, roles, place)| User {
            id,
            name,
            rating,
            roles,
            place,
        })
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(user in user()) {
        for encoding in BOTH {
            let bytes = encode(&user, encoding, MAX).unwrap();
            prop_assert_eq!(decode(&bytes, encoding), Ok(user.clone()));
            prop_assert!(encode(&user, encoding, bytes.len()).is_ok());
            let refused = encode(&user, encoding, bytes.len() - 1);
            let is_too_large = matches!(refused, Err(CacheError::TooLarge { .. }));
            prop_assert!(is_too_large, "{:?}", refused);
            let more = [bytes.as_slice(), b"\x91"].concat();
            prop_assert!(decode::<User>(&more, encoding).is_err());
            prop_assert!(decode::<User>(&bytes[..bytes.len() - 1], encoding).is_err());
        }
    }

    #[test]
    fn anything_is_decoded_without_a_panic(bytes in vec(any::<u8>(), 0..100)) {
        for encoding in BOTH {
            let _ = decode::<User>(&bytes, encoding);
            let _ = decode::<serde_json::Value>(&bytes, encoding);
        }
    }
}

#[test]
fn names_of_fields_are_kept() {
    let user = User {
        id: 1,
        name: "Ada".to_owned(),
        rating: None,
        roles: vec![],
        place: (0, 0),
    };
    for encoding in BOTH {
        let bytes = encode(&user, encoding, MAX).unwrap();
        let map: BTreeMap<String, serde_json::Value> = decode(&bytes, encoding).unwrap();
        assert_eq!(map.get("name"), Some(&"Ada".into()));
    }
}

#[test]
fn what_an_encoding_cannot_hold_is_said() {
    let pairs = BTreeMap::from([((1, 2), "a"), ((3, 4), "b")]);
    let refused = encode(&pairs, Encoding::Json, MAX);
    assert!(matches!(refused, Err(CacheError::Encode(_))), "{refused:?}");
    let bytes = encode(&pairs, Encoding::MessagePack, MAX).unwrap();
    let read: BTreeMap<(i32, i32), String> = decode(&bytes, Encoding::MessagePack).unwrap();
    assert_eq!(read.get(&(3, 4)).map(String::as_str), Some("b"));
}

/// It stops where the room ends, not where the value does.
#[test]
fn endless_values_are_given_up() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq as _;
            let mut list = to.serialize_seq(Some(usize::MAX >> 40))?;
            loop {
                list.serialize_element("again and again")?;
            }
        }
    }
    for encoding in BOTH {
        match encode(&Endless, encoding, MAX) {
            Err(CacheError::TooLarge { bytes, max: MAX }) => assert!(bytes < MAX + 100),
            other => panic!("{other:?}"),
        }
    }
}

/// Deep enough to end a small thread, if nothing ended it before.
#[test]
fn deep_bytes_do_not_end_the_stack() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is only read")]
    struct Node {
        next: Option<Box<Node>>,
    }
    let deep = 200_000;
    for open in ["[", "{\"next\":"] {
        let bytes = open.repeat(deep).into_bytes();
        assert!(decode::<serde_json::Value>(&bytes, Encoding::Json).is_err());
        assert!(decode::<Node>(&bytes, Encoding::Json).is_err());
    }
    for open in [&b"\x91"[..], b"\x81\xa4next", b"\xc7\x01", b"\xd4\x01"] {
        let bytes = open.repeat(deep);
        assert!(decode::<serde_json::Value>(&bytes, Encoding::MessagePack).is_err());
        assert!(decode::<Node>(&bytes, Encoding::MessagePack).is_err());
        assert!(decode::<serde::de::IgnoredAny>(&bytes, Encoding::MessagePack).is_err());
    }
    // As deep in one as in the other.
    for (open, innermost, end, encoding) in [
        (&b"["[..], &b"[]"[..], &b"]"[..], Encoding::Json),
        (b"\x91", b"\x90", b"", Encoding::MessagePack),
    ] {
        let nested = |more: usize| [&open.repeat(more), innermost, &end.repeat(more)].concat();
        assert!(decode::<serde_json::Value>(&nested(126), encoding).is_ok());
        assert!(decode::<serde_json::Value>(&nested(127), encoding).is_err());
    }
}

/// Lengths that bytes claim make no room for them.
#[test]
fn claimed_lengths_are_not_believed() {
    for claim in [
        &b"\xdb\xff\xff\xff\xff"[..],
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ] {
        assert!(decode::<String>(claim, Encoding::MessagePack).is_err());
        assert!(decode::<Vec<u64>>(claim, Encoding::MessagePack).is_err());
    }
}
