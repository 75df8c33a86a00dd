//! LLEN, LINDEX, LRANGE, LPOS.

use super::super::spec::Outcome;
use super::{Ctx, announce, args};
use crate::error::CommandError;
use crate::reply::{Bulks, Reply};
use crate::value::{Collection, Element, End, List};

/// Bytes that a range is given before it is known to need them.
const AHEAD: usize = 64 << 10;

pub(super) fn llen(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let list = ctx.db.get::<List>(argv[1])?;
    Ok(list.map_or(0, Collection::len).into())
}

pub(super) fn lindex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let Some(list) = ctx.db.get::<List>(argv[1])? else {
        return Ok(Reply::Null);
    };
    let index = args::index(args::int(argv[2])?, list.len());
    let element = usize::try_from(index)
        .ok()
        .and_then(|index| list.get(index));
    Ok(element.map(Element::to_vec).into())
}

pub(super) fn lrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (start, stop) = (args::int(argv[2])?, args::int(argv[3])?);
    let engine = ctx.engine;
    let Some(list) = ctx.db.get::<List>(argv[1])? else {
        return Ok(Reply::Bulks(Bulks::default()));
    };
    let range = args::range(start, stop, list.len());
    announce(engine, range.len());
    let elements = gather(list, range.start, range.len(), End::Tail);
    Ok(Reply::Bulks(elements))
}

/// A copy of up to `count` elements from this index on, towards the given end.
pub(super) fn gather(list: &List, index: usize, count: usize, towards: End) -> Bulks {
    let share = list.share(count);
    let room = if count == list.len() {
        share
    } else {
        share.min(AHEAD)
    };
    let mut bulks = Bulks::with_capacity(count, room);
    list.walk(index, count, towards)
        .for_each(|element| match element {
            Element::Text(text) => bulks.push(text),
            Element::Integer(integer) => bulks.push_integer(integer),
        });
    bulks
}

/// Which matches LPOS answers.
struct Search {
    from: End,
    /// Matches to pass over.
    skip: usize,
    /// Matches to answer; `None` for one, not in an array.
    count: Option<usize>,
    /// Elements to compare.
    most: usize,
}

impl Search {
    fn parse(options: &[&[u8]]) -> Result<Search, CommandError> {
        let mut search = Search {
            from: End::Head,
            skip: 0,
            count: None,
            most: usize::MAX,
        };
        let mut options = options;
        while let [name, value, rest @ ..] = options {
            options = rest;
            // Zero is no limit.
            let limit = |error| match args::int_or(value, error)? {
                0 => Ok(usize::MAX),
                limit => usize::try_from(limit).map_err(|_| CommandError::text(error)),
            };
            if args::is(name, "RANK") {
                let rank = args::int(value)?;
                if rank == 0 {
                    return Err(CommandError::text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
                search.from = if rank > 0 { End::Head } else { End::Tail };
                // The least integer is its own negative in Redis, and every
                // match is beyond that.
                let rank = rank.checked_abs().unwrap_or(1);
                search.skip = rank as usize - 1;
            } else if args::is(name, "COUNT") {
                search.count = Some(limit("ERR COUNT can't be negative")?);
            } else if args::is(name, "MAXLEN") {
                search.most = limit("ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.is_empty() {
            Ok(search)
        } else {
            Err(CommandError::Syntax)
        }
    }
}

pub(super) fn lpos(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let search = Search::parse(&argv[3..])?;
    let engine = ctx.engine;
    let mut found = Vec::new();
    if let Some(list) = ctx.db.get::<List>(argv[1])? {
        let length = list.len();
        announce(engine, search.most.min(length));
        let wanted = search.count.unwrap_or(1);
        let mut skip = search.skip;
        list.find(argv[2], search.from, search.most, |distance| {
            if skip > 0 {
                skip -= 1;
                return true;
            }
            let index = match search.from {
                End::Head => distance,
                End::Tail => length - 1 - distance,
            };
            found.push(index.into());
            found.len() < wanted
        });
    }
    Ok(match search.count {
        Some(_) => Reply::Array(found),
        None => found.pop().unwrap_or(Reply::Null),
    })
}
