//! Versions of tags in the store.
//!
//! A version is the decimal of a random number from 1 to 2^63 - 1. It is made when the
//! first value that has the tag is, lives longer than any value that names it, and is
//! replaced by another when the tag is invalidated.

use std::time::Duration;

use sangam_engine::Reply;
use sangam_store::{Commands, Error, Store};

use super::super::key::{Keys, TagId};

/// A new version.
pub(in super::super) fn make() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::Setting(format!("chance: {error}")))?;
    Ok((u64::from_le_bytes(bytes) >> 1).max(1))
}

/// The versions of tags, in order; none where there is none. One command.
pub(in super::super) async fn read(
    store: &Store,
    keys: &Keys,
    tags: &[TagId],
) -> Result<Vec<Option<u64>>, Error> {
    let keys: Vec<Vec<u8>> = tags.iter().map(|tag| keys.tag(*tag)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let values = store.get_many(&keys).await?;
    Ok(values.into_iter().map(|value| version(&value?)).collect())
}

/// The versions of tags, in order, made where there is none, and kept for `ttl` from
/// now on at least. Two commands a tag.
pub(in super::super) async fn keep(
    store: &Store,
    keys: &Keys,
    tags: &[TagId],
    ttl: Duration,
) -> Result<Vec<u64>, Error> {
    let ms = ttl.as_millis().to_string();
    let mut commands = Commands::new();
    let mut made = Vec::with_capacity(tags.len());
    for tag in tags {
        let key = keys.tag(*tag);
        let fresh = make()?;
        let text = fresh.to_string();
        commands
            .push(&[
                b"SET",
                &key,
                text.as_bytes(),
                b"NX",
                b"GET",
                b"PX",
                ms.as_bytes(),
            ])
            .push(&[b"PEXPIRE", &key, ms.as_bytes(), b"GT"]);
        made.push(fresh);
    }
    let mut replies = store.pipeline(&commands).await.into_iter();
    let mut versions = Vec::with_capacity(tags.len());
    for fresh in made {
        let (set, expire) = (replies.next(), replies.next());
        let found = match set.unwrap_or_else(|| Err(missing()))? {
            Reply::Null => fresh,
            Reply::Bulk(text) => {
                version(&text).ok_or_else(|| Error::Reply("a version of a tag".to_owned()))?
            }
            _ => return Err(missing()),
        };
        expire.unwrap_or_else(|| Err(missing()))?;
        versions.push(found);
    }
    Ok(versions)
}

fn missing() -> Error {
    Error::Reply("expected the version of a tag".to_owned())
}

fn version(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
