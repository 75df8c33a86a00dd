//! SORT and SORT_RO: the elements of a list, set or sorted set by their own
//! value, or by that of a key whose name holds them.
//!
//! Everything is copied out first, since each element may lead to other keys.
//! Without an order (BY a pattern without `*`) only the wanted range is. What is
//! stored is logged as the list that came of it: the order of a set differs from
//! one process to the next.
//!
//! Cost: O(N + M log M), and a lookup for each element and pattern.

use std::cmp::Ordering;
use std::ops::Range;

use super::generic::delete;
use super::partial_sort::sort_within;
use super::spec::{Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome};
use super::{Ctx, args, authorize};
use crate::error::CommandError;
use crate::keyspace::{Db, Expire};
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::{Collection, End, List, Member, Value, float};

const FAMILY: Acl = Acl::SET
    .and(Acl::SORTEDSET)
    .and(Acl::LIST)
    .and(Acl::DANGEROUS);

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("sort", -2, sort)
        .writes(Keys::Sorted, FAMILY)
        .denyoom()
        .flags(Flags::MOVABLEKEYS.and(Flags::YIELDS).and(Flags::LONG))
        .not_upstash(),
    CommandSpec::new("sort_ro", -2, sort_ro)
        .reads(ONE_KEY, FAMILY)
        .flags(Flags::MOVABLEKEYS.and(Flags::LONG))
        .since("7.0.0")
        .not_upstash(),
];

/// A request.
struct Request<'a> {
    descending: bool,
    /// By bytes instead of by number.
    alpha: bool,
    offset: i64,
    /// Negative for all.
    limit: i64,
    by: Option<&'a [u8]>,
    /// Whether the order of the source stays.
    unsorted: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

/// The text as C sees it: up to the first NUL.
fn c_text(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

impl<'a> Request<'a> {
    /// `reads_all` says whether the caller may read every key, which patterns
    /// can name.
    fn parse(
        options: &[&'a [u8]],
        may_store: bool,
        reads_all: bool,
    ) -> Result<Request<'a>, CommandError> {
        let mut request = Request {
            descending: false,
            alpha: false,
            offset: 0,
            limit: -1,
            by: None,
            unsorted: false,
            get: Vec::new(),
            store: None,
        };
        let mut options = options;
        while let [option, rest @ ..] = options {
            let named = |name: &str| args::is(option, name);
            options = match rest {
                _ if named("ASC") => {
                    request.descending = false;
                    rest
                }
                _ if named("DESC") => {
                    request.descending = true;
                    rest
                }
                _ if named("ALPHA") => {
                    request.alpha = true;
                    rest
                }
                [offset, limit, rest @ ..] if named("LIMIT") => {
                    request.offset = args::int(offset)?;
                    request.limit = args::int(limit)?;
                    rest
                }
                [key, rest @ ..] if may_store && named("STORE") => {
                    request.store = Some(key);
                    rest
                }
                [pattern, rest @ ..] if named("BY") => {
                    request.by = Some(pattern);
                    let names_keys = c_text(pattern).contains(&b'*');
                    if names_keys && !reads_all {
                        return Err(CommandError::text(
                            "ERR BY option of SORT denied due to insufficient ACL permissions.",
                        ));
                    }
                    request.unsorted |= !names_keys;
                    rest
                }
                [_, ..] if named("GET") && !reads_all => {
                    return Err(CommandError::text(
                        "ERR GET option of SORT denied due to insufficient ACL permissions.",
                    ));
                }
                [pattern, rest @ ..] if named("GET") => {
                    request.get.push(pattern);
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
        Ok(request)
    }

    /// The wanted ranks of so many elements.
    fn ranks(&self, count: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(count);
        let wanted = usize::try_from(self.limit).unwrap_or(count);
        start..start.saturating_add(wanted).min(count)
    }
}

/// The elements to sort, or where nothing is sorted, those that are wanted.
fn elements(value: &Value, request: &Request<'_>) -> Result<Vec<Vec<u8>>, CommandError> {
    let all = |count: usize| {
        if request.unsorted {
            request.ranks(count)
        } else {
            0..count
        }
    };
    Ok(match value {
        Value::List(list) => {
            let count = Collection::len(&**list);
            let ranks = all(count);
            let walk = if request.unsorted && request.descending {
                list.walk(
                    count.saturating_sub(ranks.start + 1),
                    ranks.len(),
                    End::Head,
                )
            } else {
                list.walk(ranks.start, ranks.len(), End::Tail)
            };
            walk.map(|element| Member::from(element).to_vec()).collect()
        }
        Value::Set(set) => {
            let ranks = all(Collection::len(&**set));
            let members = set.iter().skip(ranks.start).take(ranks.len());
            members.map(|member| member.to_vec()).collect()
        }
        Value::ZSet(zset) => {
            let count = Collection::len(&**zset);
            let ranks = all(count);
            let reverse = request.unsorted && request.descending;
            let first = if reverse {
                count - ranks.end
            } else {
                ranks.start
            };
            let members = zset.iter_range(first, ranks.len(), reverse);
            members.map(|(member, _)| member.to_vec()).collect()
        }
        _ => return Err(CommandError::WrongType),
    })
}

/// A pattern of BY or GET, taken apart.
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// A key around the element, and a field of it.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
    /// Without `*`: nothing is found.
    Constant,
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Self {
        let known = c_text(text);
        if known == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', known) else {
            return Pattern::Constant;
        };
        let (before, after) = text.split_at(star);
        let after = after.get(1..).unwrap_or_default();
        let known = known.get(star + 1..).unwrap_or_default();
        // An arrow at the end is part of the key.
        let arrow = known
            .windows(2)
            .position(|two| two == b"->")
            .filter(|at| at + 2 < known.len());
        let (after, field) = match arrow {
            Some(at) => (after.get(..at).unwrap_or_default(), after.get(at + 2..)),
            None => (after, None),
        };
        Pattern::Key {
            before,
            after,
            field,
        }
    }

    /// Runs `read` on what the pattern leads to for `element`.
    fn with<R>(&self, db: &mut Db, element: &[u8], read: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let (before, after, field) = match self {
            Pattern::Element => return read(Some(element)),
            Pattern::Constant => return read(None),
            Pattern::Key {
                before,
                after,
                field,
            } => (*before, *after, field),
        };
        let key = [before, element, after].concat();
        match (db.read(&key), field) {
            (Some(Value::Str(text)), None) => read(Some(text)),
            (Some(Value::Int(number)), None) => {
                read(Some(itoa::Buffer::new().format(*number).as_bytes()))
            }
            (Some(Value::Hash(hash)), Some(field)) => read(hash.get(field)),
            _ => read(None),
        }
    }
}

/// What an element is compared by, before it itself.
enum Weight {
    Number(f64),
    /// Of another key; `None` where it is missing, which is before all.
    Text(Option<Vec<u8>>),
    /// Itself.
    Element,
}

struct Item {
    element: Vec<u8>,
    weight: Weight,
}

/// Compares as texts. Where nothing is stored a NUL ends them, as it does in the
/// comparison by locale that Redis uses there.
fn compare_texts(one: &[u8], other: &[u8], stores: bool) -> Ordering {
    if stores {
        one.cmp(other)
    } else {
        c_text(one).cmp(c_text(other))
    }
}

fn compare(one: &Item, other: &Item, stores: bool) -> Ordering {
    match (&one.weight, &other.weight) {
        (Weight::Number(low), Weight::Number(high)) => low
            .partial_cmp(high)
            .unwrap_or(Ordering::Equal)
            .then_with(|| one.element.cmp(&other.element)),
        (Weight::Text(Some(low)), Weight::Text(Some(high))) => compare_texts(low, high, stores),
        (Weight::Text(low), Weight::Text(high)) => low.is_some().cmp(&high.is_some()),
        _ => compare_texts(&one.element, &other.element, stores),
    }
}

/// The elements with what they are compared by.
fn weighed(
    db: &mut Db,
    elements: Vec<Vec<u8>>,
    by: Option<&[u8]>,
    alpha: bool,
) -> Result<Vec<Item>, CommandError> {
    let pattern = by.map(Pattern::new);
    // All are looked up before any of them is refused, as Redis does.
    let mut refused = false;
    let mut number = |text: Option<&[u8]>| {
        let number = text.map_or(Some(0.0), |text| match args::parse_i64(text) {
            Some(integer) => Some(integer as f64),
            None => float::parse_weight_f64(text),
        });
        refused |= number.is_none();
        Weight::Number(number.unwrap_or(0.0))
    };
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match &pattern {
            None if alpha => Weight::Element,
            None => number(Some(&element)),
            Some(pattern) if alpha => {
                pattern.with(db, &element, |text| Weight::Text(text.map(<[u8]>::to_vec)))
            }
            Some(pattern) => pattern.with(db, &element, &mut number),
        };
        items.push(Item { element, weight });
    }
    if refused {
        return Err(CommandError::text(
            "ERR One or more scores can't be converted into double",
        ));
    }
    Ok(items)
}

/// The elements in order, only those that are wanted.
fn ordered(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    mut request: Request<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let scripted = ctx.session.scripted;
    let Some(value) = ctx.db.read(key) else {
        return Ok(Vec::new());
    };
    // A set has no order of its own, where one is to be kept.
    if request.unsorted && matches!(value, Value::Set(_)) && (request.store.is_some() || scripted) {
        request.unsorted = false;
        request.alpha = true;
        request.by = None;
    }
    let found = elements(value, &request)?;
    if request.unsorted {
        return Ok(found);
    }
    let ranks = request.ranks(found.len());
    let mut items = weighed(ctx.db, found, request.by, request.alpha)?;
    let stores = request.store.is_some();
    let compare = |one: &Item, other: &Item| {
        let order = compare(one, other, stores);
        if request.descending {
            order.reverse()
        } else {
            order
        }
    };
    if request.by.is_some() && ranks != (0..items.len()) {
        sort_within(&mut items, ranks.clone(), compare);
    } else {
        items.sort_by(compare);
    }
    let wanted = items.into_iter().skip(ranks.start).take(ranks.len());
    Ok(wanted.map(|item| item.element).collect())
}

fn run(ctx: &mut Ctx<'_>, argv: &[&[u8]], may_store: bool) -> Outcome {
    let reads_all = authorize::reads_every_key(ctx.session, argv);
    let request = Request::parse(&argv[2..], may_store, reads_all)?;
    let patterns: Vec<_> = request.get.iter().map(|text| Pattern::new(text)).collect();
    let store = request.store;
    let elements = ordered(ctx, argv[1], request)?;
    let mut room = Room::new();
    let Some(destination) = store else {
        let mut replies = Vec::with_capacity(elements.len());
        for element in elements {
            if patterns.is_empty() {
                replies.push(Reply::Bulk(element));
                continue;
            }
            for pattern in &patterns {
                let reply = pattern.with(ctx.db, &element, |text| match text {
                    Some(text) => room.bulk(text),
                    None => room.hold(Reply::Null),
                });
                replies.push(reply?);
            }
        }
        return Ok(Reply::Array(replies));
    };
    let stored = if patterns.is_empty() {
        elements
    } else {
        let mut stored = Vec::with_capacity(elements.len());
        for element in &elements {
            for pattern in &patterns {
                stored.push(pattern.with(ctx.db, element, |text| {
                    let text = text.unwrap_or_default();
                    room.take(text.len()).map(|()| text.to_vec())
                })?);
            }
        }
        stored
    };
    Ok(put(ctx.db, destination, &stored).into())
}

/// Puts the list at `key`, or nothing where it is empty, and says so; answers its
/// length.
fn put(db: &mut Db, key: &[u8], elements: &[Vec<u8>]) -> usize {
    if db.exists(key) {
        db.effect(&[b"DEL", key]);
    }
    if elements.is_empty() {
        delete(db, key);
        return 0;
    }
    let texts = elements.iter().map(Vec::as_slice);
    let argv: Vec<&[u8]> = [b"RPUSH".as_slice(), key]
        .into_iter()
        .chain(texts)
        .collect();
    db.effect(&argv);
    let limits = db.settings.list;
    let mut list = List::default();
    for element in elements {
        list.push(End::Tail, element, limits);
    }
    db.put(key, list.into_value(), Expire::Clear);
    db.notify(Event::List, "sortstore", key);
    elements.len()
}

fn sort(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx, argv, true)
}

fn sort_ro(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx, argv, false)
}
