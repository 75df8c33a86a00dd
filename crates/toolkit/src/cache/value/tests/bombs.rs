//! Few bytes that promise, or become, very many.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;

use super::super::super::settings::{Compression, Encoding, Method};
use super::super::compress::{gunzip, gzip, original, promised, smaller};
use super::super::{DAMAGED, Envelope, Kind, Stamp, TOO_LARGE, read, read_shared};
use super::envelope::sealed;

const MAX: usize = 1 << 20;

fn envelope(body: &[u8], method: Option<Method>) -> Vec<u8> {
    let envelope = Envelope {
        kind: Kind::Value,
        stamp: Stamp {
            time_us: 1,
            writer: 1,
        },
        schema: 0,
        fresh_until_ms: 0,
        ends_ms: 0,
        tags: &[],
        validator: None,
        encoding: Encoding::Json,
        body,
    };
    envelope.write(Compression { method, from: 0 })
}

fn compressed(body: &[u8], method: Method) -> Vec<u8> {
    let named = Compression {
        method: Some(method),
        from: 0,
    };
    smaller(body, named).unwrap().1
}

const METHODS: [Method; 2] = [Method::Zstd, Method::Gzip];

#[test]
fn what_is_larger_than_allowed_is_not_made() {
    let body = vec![b' '; 8 * MAX];
    for method in METHODS {
        let bomb = envelope(&body, Some(method));
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        assert_eq!(read(bomb.clone(), MAX), Err(TOO_LARGE));
        assert_eq!(read(bomb, 8 * MAX).unwrap().body, body);
    }
    assert_eq!(read(envelope(&body, None), MAX), Err(TOO_LARGE));
}

/// The header says less, or more, than there is.
#[test]
fn a_false_length_is_noticed() {
    let body = vec![b' '; 8 * MAX];
    for method in METHODS {
        for length in [0u32, 1, 4096, 8 * MAX as u32 - 1, 8 * MAX as u32 + 1] {
            let mut bomb = envelope(&body, Some(method));
            bomb[37..41].copy_from_slice(&length.to_be_bytes());
            assert!(read(sealed(bomb), 9 * MAX).is_err(), "{length}");
        }
        let packed = compressed(&body, method);
        assert!(original(&packed, method, MAX).is_err());
        assert_eq!(original(&packed, method, body.len()).as_ref(), Ok(&body));
    }
}

#[test]
fn what_follows_the_compressed_is_noticed() {
    for method in METHODS {
        let mut packed = compressed(&[7; 5000], method);
        packed.push(0);
        assert_eq!(original(&packed, method, 5000), Err(DAMAGED));
        packed.truncate(packed.len() - 2);
        assert_eq!(original(&packed, method, 5000), Err(DAMAGED));
    }
}

#[test]
fn what_other_apps_share_is_bounded_too() {
    let body = vec![b' '; 8 * MAX];
    let bomb = gzip(&body).unwrap();
    let text = base64_simd::STANDARD.encode_to_string(&bomb);
    let quoted = format!("\"{text}\"");
    for form in [bomb.clone(), text.into_bytes(), quoted.into_bytes()] {
        assert_eq!(read_shared(form.clone(), MAX), Err(TOO_LARGE));
        assert_eq!(read_shared(form.clone(), 8 * MAX - 1), Err(TOO_LARGE));
        assert_eq!(read_shared(form, 8 * MAX).as_ref(), Ok(&body));
    }
    assert_eq!(read_shared(body, MAX), Err(TOO_LARGE));
}

/// The end of gzip's bytes says a length too, which nobody has checked yet.
#[test]
fn gzip_is_given_no_more_room_than_it_can_fill() {
    let mut packed = gzip(b"{}").unwrap();
    let end = packed.len();
    packed[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(gunzip(&packed, usize::MAX), Err(DAMAGED));
    assert!(promised(&packed) < 64 << 10, "{}", promised(&packed));
    for body in [b"{}".to_vec(), vec![0; 1 << 20]] {
        assert_eq!(promised(&gzip(&body).unwrap()), body.len());
    }
}

/// Long names in gzip's header, and streams that never end.
#[test]
fn odd_gzip_is_read_or_refused() {
    let mut encoder = flate2::GzBuilder::new()
        .filename("x".repeat(60_000))
        .comment("y".repeat(60_000))
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{}").unwrap();
    let named = encoder.finish().unwrap();
    assert_eq!(gunzip(&named, MAX).unwrap(), b"{}");
    let twice = [gzip(b"{}").unwrap(), gzip(b"{}").unwrap()].concat();
    assert_eq!(gunzip(&twice, MAX), Err(DAMAGED));
    let whole = gzip(&[b'x'; 3000]).unwrap();
    for length in 0..whole.len() {
        assert!(gunzip(&whole[..length], MAX).is_err(), "{length}");
    }
}
