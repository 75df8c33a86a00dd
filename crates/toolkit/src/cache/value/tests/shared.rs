//! The form of other apps, there and back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base64_simd::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sangam_rig::random::Random;

use super::super::super::settings::{Compression, Encoding, Method};
use super::super::compress::gzip;
use super::super::{decode, encode, read_shared, write_shared};

const MAX: usize = 1 << 20;
const GZIP: Compression = Compression {
    method: Some(Method::Gzip),
    from: 1024,
};

fn compression() -> impl Strategy<Value = Compression> {
    let method = prop_oneof![
        Just(None),
        Just(Some(Method::Zstd)),
        Just(Some(Method::Gzip))
    ];
    (method, prop_oneof![Just(0), 0..2000usize])
        .prop_map(|(method, from)| Compression { method, from })
}

const BEGINNINGS: [&[u8]; 4] = [b"", b"\x1f\x8b", b"H4sI", b"\"H4sI"];

proptest! {
    #[test]
    fn what_was_written_is_read(
        text in prop_oneof![".*", "[ab]{0,3000}", "H4sI.{0,20}", "H4sI[a-zA-Z0-9+/]{4}"],
        compression in compression(),
    ) {
        let json = encode(&text, Encoding::Json, MAX).unwrap();
        let written = write_shared(json.clone(), compression);
        let read = read_shared(written.clone(), MAX).unwrap();
        prop_assert_eq!(decode::<String>(&read, Encoding::Json).unwrap(), text);
        if written.len() < json.len() {
            prop_assert_eq!(compression.method, Some(Method::Gzip));
            prop_assert!(json.len() >= compression.from);
            prop_assert!(written.len() * 10 <= json.len() * 9);
        }
    }

    #[test]
    fn anything_is_read_without_a_panic(
        begin in select(&BEGINNINGS[..]),
        rest in vec(any::<u8>(), 0..100),
    ) {
        if let Ok(text) = read_shared([begin, &rest].concat(), 64) {
            prop_assert!(text.len() <= 64);
        }
    }
}

#[test]
fn every_form_of_other_apps_is_read() {
    let json = br#"{"id":7,"name":"a name that is long enough"}"#.to_vec();
    let packed = gzip(&json).unwrap();
    let text = STANDARD.encode_to_string(&packed);
    assert!(text.starts_with("H4sI"));
    let quoted = format!("\"{text}\"");
    // As some languages write JSON.
    let slashes = quoted.replace('/', "\\/");
    for form in [
        json.clone(),
        packed,
        text.clone().into_bytes(),
        quoted.into_bytes(),
        slashes.into_bytes(),
    ] {
        assert_eq!(read_shared(form, MAX).as_ref(), Ok(&json));
    }
    let not_base64 = [&text[..], "!"].concat().into_bytes();
    assert!(read_shared(not_base64, MAX).is_err());
    let cut = text.as_bytes()[..text.len() - 8].to_vec();
    assert!(read_shared(cut, MAX).is_err());
    assert!(read_shared(b"\"H4sI".to_vec(), MAX).is_err());
}

/// Bytes of `{"id":1}` that other programs made.
#[test]
fn what_another_program_compressed_is_read() {
    let python = "H4sIAAAAAAACA6tWykxRsjKsBQDF+F1ECAAAAA==";
    let node = "H4sIAAAAAAAAA6tWykxRsjKsBQDF+F1ECAAAAA==";
    for text in [python, node] {
        let json = read_shared(text.as_bytes().to_vec(), MAX).unwrap();
        assert_eq!(json, br#"{"id":1}"#);
    }
}

#[test]
fn only_gzip_that_pays_is_written() {
    let small = br#"{"id":7}"#.to_vec();
    assert_eq!(write_shared(small.clone(), GZIP), small);
    let large = encode(&vec!["the same"; 500], Encoding::Json, MAX).unwrap();
    let written = write_shared(large.clone(), GZIP);
    assert!(written.starts_with(b"H4sI") && written.len() < large.len() / 10);
    // Five bits and a half a letter: gzip saves a third of it, and base64 takes most back.
    let mut random = Random::new(1);
    let text: String = (0..4000)
        .map(|_| char::from(b'+' + random.below(48) as u8))
        .collect();
    let hardly = encode(&text, Encoding::Json, MAX).unwrap();
    assert!(gzip(&hardly).unwrap().len() * 4 < hardly.len() * 3);
    assert_eq!(write_shared(hardly.clone(), GZIP), hardly);
    for method in [None, Some(Method::Zstd)] {
        let other = Compression { method, from: 0 };
        assert_eq!(write_shared(large.clone(), other), large);
    }
}
