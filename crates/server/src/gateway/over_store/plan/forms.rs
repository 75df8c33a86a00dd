//! Forms of requests that Upstash takes and a Redis does not.
//!
//! Each answers the plan where the request has that form, and nothing where it has
//! not: then it goes as it is, and what is wrong in it is the store's to say.

use std::borrow::Cow;

use sangam_engine::Reply;

use super::{Plan, Request, Then, is, send};

fn int(arg: &[u8]) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

// ---- keys ----

pub(super) fn scan<'a>(argv: &[&'a [u8]]) -> Option<Plan<'a>> {
    let (head, mut options) = argv.split_at_checked(2)?;
    let mut kept = head.to_vec();
    while let Some((option, rest)) = options.split_first() {
        options = rest;
        if is(option, "WITHTYPE") {
            continue;
        }
        kept.push(option);
        if let Some((value, rest)) = rest.split_first() {
            kept.push(value);
            options = rest;
        }
    }
    (kept.len() < argv.len()).then(|| send(kept, Then::Types))
}

/// The table has let it pass: a database that is named is the clients' only one,
/// whichever that is in the store.
pub(super) fn copy<'a>(argv: &[&'a [u8]]) -> Option<Plan<'a>> {
    let [_, from, to, options @ ..] = argv else {
        return None;
    };
    if from == to {
        return Some(Plan::Here(Reply::Int(0)));
    }
    if !options.iter().any(|option| is(option, "DB")) {
        return None;
    }
    let replace = options.iter().copied().find(|it| is(it, "REPLACE"));
    let head = argv.get(..3)?.iter().copied();
    Some(send(head.chain(replace), Then::Plain))
}

pub(super) fn flush<'a>(argv: &[&'a [u8]]) -> Option<Plan<'a>> {
    let mode = argv.get(1..)?.iter().copied();
    Some(send([&b"FLUSHDB"[..]].into_iter().chain(mode), Then::Plain))
}

// ---- the server ----

pub(super) fn settings<'a>(argv: &[&'a [u8]], strict: bool) -> Option<Plan<'a>> {
    let then = Then::Settings { strict };
    is(argv.get(1)?, "GET").then(|| send(argv.iter().copied(), then))
}

/// The connections to the store are not the client's: there is nothing to name.
pub(super) fn set_info<'a>(argv: &[&'a [u8]]) -> Option<Plan<'a>> {
    let [_, word, option, value] = argv else {
        return None;
    };
    if !is(word, "SETINFO") {
        return None;
    }
    if !is(option, "LIB-NAME") && !is(option, "LIB-VER") {
        let text = [b"ERR Unrecognized option '", *option, b"'"].concat();
        return Some(Plan::Here(Reply::error(text)));
    }
    if value.iter().any(|byte| !byte.is_ascii_graphic()) {
        let why: &[u8] = b" cannot contain spaces, newlines or special characters.";
        return Some(Plan::Here(Reply::error([b"ERR ", *option, why].concat())));
    }
    Some(Plan::Here(Reply::OK))
}

// ---- sorted sets ----

/// A range by rank with a LIMIT; the first rank stands at `at`.
pub(super) fn range<'a>(argv: &[&'a [u8]], at: usize) -> Option<Plan<'a>> {
    let (head, tail) = argv.split_at_checked(at)?;
    let (start, stop) = (int(tail.first()?)?, int(tail.get(1)?)?);
    let mut options = tail.get(2..)?;
    let (mut cut, mut with_scores, mut kept) = (None, false, Vec::new());
    while let Some((option, rest)) = options.split_first() {
        options = rest;
        if let [offset, limit, rest @ ..] = rest
            && is(option, "LIMIT")
        {
            cut = Some((int(offset)?, int(limit)?));
            options = rest;
        } else if is(option, "REV") {
            kept.push(*option);
        } else if is(option, "WITHSCORES") {
            with_scores = true;
            kept.push(*option);
        } else {
            return None;
        }
    }
    let (offset, limit) = cut?;
    let narrowed = narrow((start, stop), (offset, limit));
    let (ranks, then) = match narrowed {
        Some(ranks) => (ranks, Then::Plain),
        None if at == 2 => (
            (start, stop),
            Then::Slice {
                offset,
                limit,
                with_scores,
            },
        ),
        None => return None,
    };
    let ranks = [ranks.0, ranks.1].map(|rank| Cow::Owned(rank.to_string().into_bytes()));
    let head = head.iter().copied().map(Cow::Borrowed);
    let kept = kept.into_iter().map(Cow::Borrowed);
    Some(Plan::Send(Request {
        args: head.chain(ranks).chain(kept).collect(),
        then,
    }))
}

/// The ranks that are left, where the length need not be known.
fn narrow((start, stop): (i64, i64), (offset, limit): (i64, i64)) -> Option<(i64, i64)> {
    const NONE: (i64, i64) = (1, 0);
    if offset < 0 || limit == 0 {
        return Some(NONE);
    }
    if start < 0 || stop < -1 {
        return None;
    }
    let first = start.saturating_add(offset);
    if limit < 0 {
        return Some((first, stop));
    }
    let last = first.saturating_add(limit - 1);
    Some((first, if stop < 0 { last } else { last.min(stop) }))
}

// ---- streams ----

/// XADD or XTRIM to the entry.
pub(super) fn trim_exactly<'a>(argv: &[&'a [u8]]) -> Option<Plan<'a>> {
    let adds = is(argv.first()?, "XADD");
    let mut at = 2;
    let mut about = None;
    while let Some(option) = argv.get(at) {
        if is(option, "MAXLEN") || is(option, "MINID") {
            let sign = argv.get(at + 1)?;
            let signed = matches!(*sign, b"~" | b"=");
            if *sign == b"~" {
                about = Some(at + 1);
            }
            at += if signed { 3 } else { 2 };
        } else if is(option, "LIMIT") {
            // Who says how much may be done at once, means the other form.
            return None;
        } else if adds && !is(option, "NOMKSTREAM") && !is_reference(option) {
            // The id, and behind it the fields.
            break;
        } else {
            at += 1;
        }
    }
    let about = about?;
    let exact = argv
        .iter()
        .enumerate()
        .map(|(index, arg)| if index == about { &b"="[..] } else { *arg });
    Some(send(exact, Then::Plain))
}

fn is_reference(option: &[u8]) -> bool {
    ["KEEPREF", "DELREF", "ACKED"]
        .iter()
        .any(|word| is(option, word))
}

/// A read that does not wait; its options begin at `at`.
pub(super) fn without_block<'a>(argv: &[&'a [u8]], at: usize) -> Option<Plan<'a>> {
    let mut index = at;
    while let Some(option) = argv.get(index) {
        if is(option, "STREAMS") {
            return None;
        }
        if is(option, "BLOCK") {
            // What is no time is the store's to refuse.
            int(argv.get(index + 1)?).filter(|wait| *wait >= 0)?;
            let (before, behind) = (argv.get(..index)?, argv.get(index + 2..)?);
            let kept = before.iter().chain(behind).copied();
            return Some(send(kept, Then::Plain));
        }
        index += if is(option, "COUNT") { 2 } else { 1 };
    }
    None
}
