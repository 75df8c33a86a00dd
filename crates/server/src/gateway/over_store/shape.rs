//! A reply of a Redis in the shape that the gateway's encoder expects.
//!
//! In RESP3 some commands answer nested pairs, and XREAD a map, where RESP2, and
//! so Upstash, has another shape. The encoder cannot tell such an array from any
//! other; the command's name can.

use sangam_engine::{Reply, config};

/// Commands whose pairs stand flat in RESP2.
const PAIRS: &[&str] = &[
    "hrandfield",
    "zdiff",
    "zinter",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebyscore",
    "zrevrange",
    "zrevrangebyscore",
    "zunion",
];

/// Parameters of a Redis or Valkey that open something.
const SECRETS: &[&str] = &[
    "requirepass",
    "masterauth",
    "masteruser",
    "primaryauth",
    "primaryuser",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
];

/// CONFIG GET's reply without what opens the store, and in the strict dialect
/// without what Upstash does not have.
pub(super) fn settings(reply: Reply, strict: bool) -> Reply {
    let shown = |name: &Reply| {
        let name = match name {
            Reply::Bulk(name) => name.as_slice(),
            Reply::Status(name) => name.as_bytes(),
            _ => return false,
        };
        let is = |secret: &&str| secret.as_bytes().eq_ignore_ascii_case(name);
        !SECRETS.iter().any(is) && (!strict || config::is_upstash(name))
    };
    match reply.unpacked() {
        Reply::Map(mut pairs) => {
            pairs.retain(|(name, _)| shown(name));
            Reply::Map(pairs)
        }
        Reply::Array(items) => {
            let (pairs, _) = items.as_chunks::<2>();
            let kept = pairs.iter().filter(|[name, _]| shown(name));
            Reply::Array(kept.flatten().cloned().collect())
        }
        _ => Reply::Array(Vec::new()),
    }
}

/// The reply of the command `name`.
pub(super) fn of(name: &[u8], reply: Reply) -> Reply {
    let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
    match reply {
        Reply::Array(items) if PAIRS.iter().any(is) => pairs(items),
        Reply::Map(pairs) if is(&"xread") || is(&"xreadgroup") => {
            let pair = |(key, entries)| Reply::Array(vec![key, entries]);
            Reply::Array(pairs.into_iter().map(pair).collect())
        }
        reply => reply,
    }
}

/// Two-element arrays as pairs, if all of them are that.
fn pairs(items: Vec<Reply>) -> Reply {
    let is_pair = |item: &Reply| matches!(item, Reply::Array(pair) if pair.len() == 2);
    if items.is_empty() || !items.iter().all(is_pair) {
        return Reply::Array(items);
    }
    let pair = |item| match item {
        Reply::Array(pair) => {
            let mut pair = pair.into_iter();
            Some((pair.next()?, pair.next()?))
        }
        _ => None,
    };
    Reply::Pairs(items.into_iter().filter_map(pair).collect())
}

/// Ranks `offset` and following of a sorted set's range, at most `limit`.
pub(super) fn slice(reply: Reply, offset: i64, limit: i64, with_scores: bool) -> Reply {
    let Ok(offset) = usize::try_from(offset) else {
        return Reply::Array(Vec::new());
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match reply.unpacked() {
        Reply::Pairs(pairs) => Reply::Pairs(pairs.into_iter().skip(offset).take(limit).collect()),
        Reply::Array(items) => {
            let width = if with_scores { 2 } else { 1 };
            let items = items.into_iter().skip(offset.saturating_mul(width));
            Reply::Array(items.take(limit.saturating_mul(width)).collect())
        }
        other => other,
    }
}

/// A page of SCAN with the types of its keys, which were asked for after it: keys
/// that went in between are left out.
pub(super) fn typed(cursor: Reply, keys: Vec<Reply>, types: Vec<Reply>) -> Reply {
    let mut found = Vec::with_capacity(keys.len() * 2);
    for (key, kind) in keys.into_iter().zip(types) {
        let name = match kind {
            Reply::Status(name) => name.into_owned().into_bytes(),
            Reply::Bulk(name) => name,
            _ => continue,
        };
        if name != b"none" {
            found.push(key);
            found.push(Reply::Bulk(name));
        }
    }
    Reply::Array(vec![cursor, Reply::Array(found)])
}
