//! SCAN and its kin: a walk in steps, with a cursor the caller keeps.
//!
//! What is there during the whole walk is visited; filters apply after the
//! visit, so a step may well answer nothing and go on.

use super::Ctx;
use super::args::{int, is};
use super::generic::kind_of;
use super::spec::{Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome};
use crate::error::CommandError;
use crate::glob;
use crate::reply::Reply;
use crate::value::{Hash, Set, ZSet, float};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("scan", -2, scan)
        .reads(Keys::None, Acl::KEYSPACE)
        .flags(Flags::FINDS_KEYS)
        .since("2.8.0"),
    CommandSpec::new("hscan", -3, hscan)
        .reads(ONE_KEY, Acl::HASH)
        .flags(Flags::LONG)
        .since("2.8.0"),
    CommandSpec::new("sscan", -3, sscan)
        .reads(ONE_KEY, Acl::SET)
        .flags(Flags::LONG)
        .since("2.8.0"),
    CommandSpec::new("zscan", -3, zscan)
        .reads(ONE_KEY, Acl::SORTEDSET)
        .flags(Flags::LONG)
        .since("2.8.0"),
];

struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    with_type: bool,
}

/// Which options a command has beside MATCH and COUNT.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Elements,
    Keyspace { with_type: bool },
}

impl<'a> Options<'a> {
    fn parse(argv: &[&'a [u8]], scope: Scope) -> Result<Self, CommandError> {
        let mut options = Options {
            count: 10,
            pattern: None,
            kind: None,
            with_type: false,
        };
        let mut rest = argv.iter().copied();
        while let Some(name) = rest.next() {
            if is(name, "WITHTYPE") && scope == (Scope::Keyspace { with_type: true }) {
                options.with_type = true;
                continue;
            }
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if is(name, "COUNT") {
                options.count = match int(value)? {
                    count if count < 1 => return Err(CommandError::Syntax),
                    count => count as usize,
                };
            } else if is(name, "MATCH") {
                options.pattern = (value != b"*").then_some(value);
            } else if is(name, "TYPE") && scope != Scope::Elements {
                options.kind = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// A cursor as C's `strtoul` reads it (a sign, a wrap-around below zero, an
/// end at a NUL, nothing at all as zero), but without leading blanks.
fn cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let number = digits
        .first()
        .filter(|first| first.is_ascii_digit())
        .and_then(|_| std::str::from_utf8(digits).ok()?.parse::<u64>().ok())
        .ok_or(CommandError::InvalidCursor)?;
    Ok(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

fn page(next: u64, elements: Vec<Reply>) -> Outcome {
    let next = itoa::Buffer::new().format(next).as_bytes().to_vec();
    Ok(Reply::Array(vec![
        Reply::Bulk(next),
        Reply::Array(elements),
    ]))
}

fn scan(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, from, options @ ..] = argv else {
        return Err(CommandError::Syntax);
    };
    let from = cursor(from)?;
    let options = Options::parse(
        options,
        Scope::Keyspace {
            with_type: ctx.is_upstash(),
        },
    )?;
    let mut found = Vec::new();
    let next = ctx.db.scan(from, options.count, |record| {
        let kind = kind_of(&record.value).name();
        let typed = options
            .kind
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind.as_bytes()));
        if typed && options.wants(&record.key) {
            found.push(Reply::bulk(&record.key));
            if options.with_type {
                found.push(Reply::bulk(kind));
            }
        }
    });
    page(next, found)
}

fn hscan(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, key, from, options @ ..] = argv else {
        return Err(CommandError::Syntax);
    };
    let from = cursor(from)?;
    let Some(hash) = ctx.db.get::<Hash>(key)? else {
        return page(0, Vec::new());
    };
    let options = Options::parse(options, Scope::Elements)?;
    let mut found = Vec::new();
    let next = hash.scan(from, options.count, |field, value| {
        if options.wants(field) {
            found.push(Reply::bulk(field));
            found.push(Reply::bulk(value));
        }
    });
    page(next, found)
}

fn sscan(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, key, from, options @ ..] = argv else {
        return Err(CommandError::Syntax);
    };
    let from = cursor(from)?;
    let Some(set) = ctx.db.get::<Set>(key)? else {
        return page(0, Vec::new());
    };
    let options = Options::parse(options, Scope::Elements)?;
    let mut found = Vec::new();
    let next = set.scan(from, options.count, |member| {
        if options.wants(&member) {
            found.push(Reply::bulk(member));
        }
    });
    page(next, found)
}

fn zscan(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, key, from, options @ ..] = argv else {
        return Err(CommandError::Syntax);
    };
    let from = cursor(from)?;
    let Some(zset) = ctx.db.get::<ZSet>(key)? else {
        return page(0, Vec::new());
    };
    let options = Options::parse(options, Scope::Elements)?;
    let compact = zset.encoding() == "listpack";
    let mut found = Vec::new();
    let next = zset.scan(from, options.count, |member, score| {
        if options.wants(member) {
            found.push(Reply::bulk(member));
            found.push(Reply::Bulk(score_text(score, compact)));
        }
    });
    page(next, found)
}

/// Redis prints what it stored: a listpack keeps whole scores as integers.
fn score_text(score: f64, compact: bool) -> Vec<u8> {
    const HALF: f64 = (i64::MAX / 2) as f64;
    let mut text = Vec::with_capacity(24);
    if compact && score.trunc() == score && score.abs() <= HALF {
        text.extend_from_slice(itoa::Buffer::new().format(score as i64).as_bytes());
    } else {
        float::format_g17(score, &mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_like_strtoul() {
        for (text, expected) in [
            (&b""[..], Some(0)),
            (b"0", Some(0)),
            (b"+7", Some(7)),
            (b"007", Some(7)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b" 1", None),
            (b"1 ", None),
            (b"-", None),
            (b"+-1", None),
            (b"0x1", None),
            (b"5\0abc", Some(5)),
        ] {
            assert_eq!(cursor(text).ok(), expected, "{text:?}");
        }
    }
}
