//! What stands in the store, as any other client sees it.

use crate::NAME;
use crate::place::Place;
use crate::plain::{Plain, ask};

/// Where the value of a key of [`NAME`] is.
pub(crate) fn key(place: &Place, key: &str) -> String {
    format!("{}cache:{NAME}:{key}", place.prefix())
}

pub(crate) async fn get(place: &Place, key: &str) -> Option<Vec<u8>> {
    read(place, &self::key(place, key)).await
}

pub(crate) async fn put(place: &Place, key: &str, bytes: &[u8]) {
    write(place, &self::key(place, key), bytes).await;
}

/// The string of any key.
pub(crate) async fn read(place: &Place, key: &str) -> Option<Vec<u8>> {
    match ask(&place.store, &["GET", key]).await {
        Plain::Nil => None,
        Plain::Text(bytes) => Some(bytes),
        other => panic!("{other:?}"),
    }
}

/// Writes a string that lives an hour.
pub(crate) async fn write(place: &Place, key: &str, bytes: &[u8]) {
    let argv: [&[u8]; 5] = [b"SET", key.as_bytes(), bytes, b"EX", b"3600"];
    ask(&place.store, &argv).await;
}
