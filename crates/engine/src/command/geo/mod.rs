//! Points on the earth, kept as scores of a sorted set.
//!
//! A geo set is a sorted set and nothing else: a score holds a point to about
//! half a metre, and ZREM, ZSCORE and the rest work as on any other.

mod cell;
mod search;
mod shape;

use super::spec::{Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use super::zset::{Conditions, add_scored};
use super::{Ctx, args};
use crate::error::CommandError;
use crate::reply::Reply;
use crate::value::ZSet;
use cell::{LATITUDES, LONGITUDES, Point};

type Handler = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

const fn read(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .reads(ONE_KEY, Acl::GEO)
        .since("3.2.0")
}

const fn write(name: &'static str, arity: i32, keys: Keys, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .writes(keys, Acl::GEO)
        .denyoom()
        .since("3.2.0")
}

/// Searches that may store what they find answer with it otherwise.
const MAY_STORE: Flags = Flags::MOVABLEKEYS.and(Flags::YIELDS);

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("geoadd", -5, ONE_KEY, geoadd).adds_members(3),
    read("geodist", -4, geodist),
    read("geohash", -2, geohash),
    read("geopos", -2, geopos),
    read("geosearch", -7, search::geosearch).since("6.2.0"),
    write("geosearchstore", -8, TWO_KEYS, search::geosearchstore).since("6.2.0"),
    write(
        "georadius",
        -6,
        Keys::OneAndStored { from: 6 },
        search::georadius,
    )
    .flags(MAY_STORE),
    read("georadius_ro", -6, search::georadius_ro).since("3.2.10"),
    write(
        "georadiusbymember",
        -5,
        Keys::OneAndStored { from: 5 },
        search::georadiusbymember,
    )
    .flags(MAY_STORE),
    read("georadiusbymember_ro", -5, search::georadiusbymember_ro).since("3.2.10"),
];

/// Longitude and latitude, in this order.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let (longitude, latitude) = (args::float(longitude)?, args::float(latitude)?);
    let within = |degrees: f64, (min, max): (f64, f64)| (min..=max).contains(&degrees);
    if !within(longitude, LONGITUDES) || !within(latitude, LATITUDES) {
        return Err(CommandError::from(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(Point {
        longitude,
        latitude,
    })
}

/// Metres of a unit.
fn unit(name: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    UNITS
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, metres)| metres)
        .ok_or(CommandError::text(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        ))
}

/// A distance as replies carry it: text with four digits after the point.
fn distance_text(distance: f64) -> Reply {
    if distance.is_nan() {
        let text = if distance.is_sign_negative() {
            "-nan"
        } else {
            "nan"
        };
        return Reply::bulk(text);
    }
    Reply::Bulk(format!("{distance:.4}").into_bytes())
}

/// A coordinate as replies carry it: up to 17 digits after the point.
fn coordinate(degrees: f64) -> Reply {
    let mut text = format!("{degrees:.17}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    Reply::Decimal(text.into_bytes())
}

fn coordinates(point: Point) -> Reply {
    Reply::Array(vec![
        coordinate(point.longitude),
        coordinate(point.latitude),
    ])
}

fn geoadd(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut conditions = Conditions::default();
    let options = argv[2..]
        .iter()
        .take_while(|text| match text {
            text if args::is(text, "NX") => {
                conditions.nx = true;
                true
            }
            text if args::is(text, "XX") => {
                conditions.xx = true;
                true
            }
            text if args::is(text, "CH") => {
                conditions.ch = true;
                true
            }
            _ => false,
        })
        .count();
    let (triples, []) = argv[2 + options..].as_chunks::<3>() else {
        return Err(CommandError::Syntax);
    };
    if triples.is_empty() || (conditions.nx && conditions.xx) {
        return Err(CommandError::Syntax);
    }
    let members = triples
        .iter()
        .map(|[longitude, latitude, member]| Ok((point(longitude, latitude)?.score(), *member)))
        .collect::<Result<_, CommandError>>()?;
    add_scored(ctx, argv[1], conditions, members)
}

fn geodist(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let unit = match argv[4..] {
        [] => 1.0,
        [name] => unit(name)?,
        _ => return Err(CommandError::Syntax),
    };
    let Some(zset) = ctx.db.get::<ZSet>(argv[1])? else {
        return Ok(Reply::Null);
    };
    let points = zset.score(argv[2]).zip(zset.score(argv[3]));
    Ok(points.map_or(Reply::Null, |(one, other)| {
        let distance = shape::distance(Point::of_score(one), Point::of_score(other));
        distance_text(distance / unit)
    }))
}

/// Answers `show` of each member's point; `missing` where there is none.
fn each(
    ctx: &mut Ctx<'_>,
    argv: &[&[u8]],
    missing: &Reply,
    show: impl Fn(Point) -> Reply,
) -> Outcome {
    let zset = ctx.db.get::<ZSet>(argv[1])?;
    let show = |member: &&[u8]| {
        let score = zset.and_then(|zset| zset.score(member));
        score.map_or(missing.clone(), |score| show(Point::of_score(score)))
    };
    Ok(Reply::Array(argv[2..].iter().map(show).collect()))
}

fn geohash(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    each(ctx, argv, &Reply::Null, |point| {
        Reply::bulk(point.geohash())
    })
}

fn geopos(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    each(ctx, argv, &Reply::NullArray, coordinates)
}
