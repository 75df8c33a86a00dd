//! GEOSEARCH, GEOSEARCHSTORE and the four forms of GEORADIUS.
//!
//! One parser reads them all, argument by argument in Redis' order, since the
//! order decides which of two errors is told. A search is at most nine ranges of
//! scores, each found in logarithmic time; every point in them is measured.
//!
//! What is stored is logged as members and scores: distances come from the
//! system's sine and cosine, which may differ elsewhere.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::super::partial_sort::sort_within;
use super::super::spec::Outcome;
use super::super::zset::{announce, building, put};
use super::cell::Point;
use super::shape::{Outline, Shape};
use super::{Ctx, args, coordinates, distance_text, point, unit};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::value::{Bound, Collection, ZSet, float};

/// What a command's name fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS and GEORADIUSBYMEMBER: `stores` unless they end in `_RO`.
    Radius {
        by_member: bool,
        stores: bool,
    },
    Search,
    SearchStore,
}

impl Form {
    const fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

pub(super) fn geosearch(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx, argv, Form::Search)
}

pub(super) fn geosearchstore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    run(ctx, argv, Form::SearchStore)
}

pub(super) fn georadius(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (by_member, stores) = (false, true);
    run(ctx, argv, Form::Radius { by_member, stores })
}

pub(super) fn georadius_ro(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (by_member, stores) = (false, false);
    run(ctx, argv, Form::Radius { by_member, stores })
}

pub(super) fn georadiusbymember(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (by_member, stores) = (true, true);
    run(ctx, argv, Form::Radius { by_member, stores })
}

pub(super) fn georadiusbymember_ro(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (by_member, stores) = (true, false);
    run(ctx, argv, Form::Radius { by_member, stores })
}

/// Where the results go.
#[derive(Debug, Clone, Copy)]
struct Store<'a> {
    key: &'a [u8],
    /// Whether the scores are distances.
    distances: bool,
}

/// Where the centre comes from.
#[derive(Debug, Clone, Copy)]
enum Centre {
    /// A member; nowhere, if there is no sorted set.
    Member(Option<Point>),
    Given(Point),
}

/// A request.
#[derive(Debug, Default)]
struct Request<'a> {
    centre: Option<Centre>,
    /// The outline and the metres of its unit.
    outline: Option<(Outline, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    any: bool,
    /// 0 for all.
    count: usize,
    /// `Less` for the nearest first, `Greater` for the farthest.
    order: Option<Ordering>,
    store: Option<Store<'a>>,
}

/// A length of the request, with its own complaint.
fn length(text: &[u8], complaint: &'static str) -> Result<f64, CommandError> {
    args::float(text).map_err(|_| CommandError::text(complaint))
}

fn circle(radius: &[u8], name: &[u8]) -> Result<(Outline, f64), CommandError> {
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::text("ERR radius cannot be negative"));
    }
    Ok((Outline::Circle { radius }, unit(name)?))
}

fn rectangle(width: &[u8], height: &[u8], name: &[u8]) -> Result<(Outline, f64), CommandError> {
    let width = length(width, "ERR need numeric width")?;
    let height = length(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::text("ERR height or width cannot be negative"));
    }
    Ok((Outline::Box { width, height }, unit(name)?))
}

fn member_point(zset: &ZSet, member: &[u8]) -> Result<Point, CommandError> {
    let score = zset.score(member);
    score.map(Point::of_score).ok_or(CommandError::text(
        "ERR could not decode requested zset member",
    ))
}

impl<'a> Request<'a> {
    fn parse(
        form: Form,
        argv: &[&'a [u8]],
        zset: Option<&ZSet>,
    ) -> Result<Request<'a>, CommandError> {
        let mut request = Request::default();
        let mut options = match form {
            Form::Radius {
                by_member: false, ..
            } => {
                request.centre = Some(Centre::Given(point(argv[2], argv[3])?));
                request.outline = Some(circle(argv[4], argv[5])?);
                &argv[6..]
            }
            Form::Radius { .. } => {
                let centre = zset.map(|zset| member_point(zset, argv[2])).transpose()?;
                request.centre = Some(Centre::Member(centre));
                if zset.is_some() {
                    request.outline = Some(circle(argv[3], argv[4])?);
                }
                &argv[5..]
            }
            Form::Search => &argv[2..],
            Form::SearchStore => {
                request.store = Some(Store {
                    key: argv[1],
                    distances: false,
                });
                &argv[3..]
            }
        };
        while let [option, rest @ ..] = options {
            options = request.take(form, option, rest, zset)?;
        }
        request.check(form, argv[0])?;
        Ok(request)
    }

    /// Takes one option with what belongs to it; answers what follows.
    fn take<'r>(
        &mut self,
        form: Form,
        option: &[u8],
        rest: &'r [&'a [u8]],
        zset: Option<&ZSet>,
    ) -> Result<&'r [&'a [u8]], CommandError> {
        let named = |name: &str| args::is(option, name);
        let may_store = matches!(form, Form::Radius { stores: true, .. });
        let searches = form.is_search();
        let is_given = matches!(self.centre, Some(Centre::Given(_)));
        let is_member = matches!(self.centre, Some(Centre::Member(_)));
        let is_circle = matches!(self.outline, Some((Outline::Circle { .. }, _)));
        let is_box = matches!(self.outline, Some((Outline::Box { .. }, _)));
        let taken = match rest {
            _ if named("WITHDIST") => {
                self.with_distance = true;
                0
            }
            _ if named("WITHHASH") => {
                self.with_hash = true;
                0
            }
            _ if named("WITHCOORD") => {
                self.with_coordinates = true;
                0
            }
            _ if named("ANY") => {
                self.any = true;
                0
            }
            _ if named("ASC") => {
                self.order = Some(Ordering::Less);
                0
            }
            _ if named("DESC") => {
                self.order = Some(Ordering::Greater);
                0
            }
            [count, ..] if named("COUNT") => {
                self.count = usize::try_from(args::int(count)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::text("ERR COUNT must be > 0"))?;
                1
            }
            [key, ..] if may_store && (named("STORE") || named("STOREDIST")) => {
                self.store = Some(Store {
                    key,
                    distances: named("STOREDIST"),
                });
                1
            }
            [member, ..] if searches && named("FROMMEMBER") && !is_given => {
                let centre = zset.map(|zset| member_point(zset, member)).transpose()?;
                self.centre = Some(Centre::Member(centre));
                1
            }
            [longitude, latitude, ..] if searches && named("FROMLONLAT") && !is_member => {
                self.centre = Some(Centre::Given(point(longitude, latitude)?));
                2
            }
            [radius, unit, ..] if searches && named("BYRADIUS") && !is_box => {
                self.outline = Some(circle(radius, unit)?);
                2
            }
            [width, height, unit, ..] if searches && named("BYBOX") && !is_circle => {
                self.outline = Some(rectangle(width, height, unit)?);
                3
            }
            _ if form == Form::SearchStore && named("STOREDIST") => {
                if let Some(store) = &mut self.store {
                    store.distances = true;
                }
                0
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(&rest[taken..])
    }

    /// What the options may not be together.
    fn check(&self, form: Form, name: &[u8]) -> Result<(), CommandError> {
        let searches = form.is_search();
        let wants = |what: &str| {
            let text = format!("ERR exactly one of {what} can be specified for ");
            Err(CommandError::Bytes([text.as_bytes(), name].concat()))
        };
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            return Err(CommandError::text(if form == Form::SearchStore {
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and \
                 WITHCOORD options"
            }));
        }
        if searches && self.centre.is_none() {
            return wants("FROMMEMBER or FROMLONLAT");
        }
        if searches && self.outline.is_none() {
            return wants("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(CommandError::text(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// What to search for, if there is anything to search.
    fn shape(&self) -> Option<Shape> {
        let (outline, unit) = self.outline?;
        let centre = match self.centre? {
            Centre::Member(point) => point?,
            Centre::Given(point) => point,
        };
        Some(Shape {
            centre,
            outline,
            unit,
        })
    }

    /// How many points end the search; all are looked at where the nearest of
    /// them are wanted.
    fn enough(&self) -> usize {
        if self.any { self.count } else { usize::MAX }
    }

    /// Puts the points in order, and leaves those that are wanted.
    fn choose(&self, found: &mut Vec<Found<'_>>) {
        let wanted = match self.count {
            0 => found.len(),
            count => count.min(found.len()),
        };
        // A number of points without an order means the nearest.
        let by_default = (self.count > 0 && !self.any).then_some(Ordering::Less);
        if let Some(order) = self.order.or(by_default) {
            let compare = |one: &Found<'_>, other: &Found<'_>| {
                let (one, other) = (one.distance, other.distance);
                let nearer = one.partial_cmp(&other).unwrap_or(one.total_cmp(&other));
                if order == Ordering::Less {
                    nearer
                } else {
                    nearer.reverse()
                }
            };
            if wanted == found.len() {
                found.sort_by(compare);
            } else {
                sort_within(found, 0..wanted, compare);
            }
        }
        found.truncate(wanted);
    }

    fn reply(&self, found: &Found<'_>, unit: f64) -> Reply {
        let member = Reply::bulk(found.member);
        if !(self.with_distance || self.with_hash || self.with_coordinates) {
            return member;
        }
        let mut items = vec![member];
        if self.with_distance {
            items.push(distance_text(found.distance / unit));
        }
        if self.with_hash {
            items.push(Reply::Int(found.score as i64));
        }
        if self.with_coordinates {
            items.push(coordinates(found.point));
        }
        Reply::Array(items)
    }
}

/// A member within the shape.
struct Found<'d> {
    member: &'d [u8],
    score: f64,
    point: Point,
    /// Metres from the centre.
    distance: f64,
}

/// The points within `shape`, cell by cell, until there are `enough`.
fn search<'d>(engine: &Engine, zset: &'d ZSet, shape: &Shape, enough: usize) -> Vec<Found<'d>> {
    let ranges: SmallVec<[(usize, usize); 9]> = shape
        .cells()
        .map(|cell| {
            let (from, to) = cell.scores();
            zset.score_range(Bound::Included(from), Bound::Excluded(to))
        })
        .collect();
    announce(engine, ranges.iter().map(|(_, count)| count).sum());
    let members = ranges
        .into_iter()
        .flat_map(|(first, count)| zset.iter_range(first, count, false));
    let within = members.filter_map(|(member, score)| {
        let point = Point::of_score(score);
        let distance = shape.holds(point)?;
        Some(Found {
            member,
            score,
            point,
            distance,
        })
    });
    within.take(enough).collect()
}

fn run(ctx: &mut Ctx<'_>, argv: &[&[u8]], form: Form) -> Outcome {
    let source = if form == Form::SearchStore { 2 } else { 1 };
    let (engine, limits) = (ctx.engine, ctx.db.settings.zset);
    let zset = ctx.db.get::<ZSet>(argv[source])?;
    let request = Request::parse(form, argv, zset)?;
    let mut found = Vec::new();
    let mut unit = 1.0;
    if let (Some(zset), Some(shape)) = (zset, request.shape()) {
        found = search(engine, zset, &shape, request.enough());
        request.choose(&mut found);
        unit = shape.unit;
    }
    let Some(Store { key, distances }) = request.store else {
        let replies = found.iter().map(|found| request.reply(found, unit));
        return Ok(Reply::Array(replies.collect()));
    };
    let short = |found: &Found<'_>| found.member.len() <= limits.max_value;
    let compact = found.len() <= limits.max_entries && found.iter().all(short);
    let limits = building(limits, compact);
    let mut result = ZSet::default();
    for found in &found {
        let score = if distances {
            found.distance / unit
        } else {
            found.score
        };
        // Only a distance can be no number, and a score cannot.
        let score = if score.is_nan() { 0.0 } else { score };
        result.insert(found.member, score, limits);
    }
    say(ctx, key, &result);
    let event = if form == Form::SearchStore {
        "geosearchstore"
    } else {
        "georadiusstore"
    };
    Ok(put(ctx.db, key, result, event))
}

/// Says that `result` replaces what is at `key`.
fn say(ctx: &mut Ctx<'_>, key: &[u8], result: &ZSet) {
    if ctx.db.exists(key) {
        ctx.db.effect(&[b"DEL", key]);
    }
    let mut scores = Vec::new();
    let mut ends = Vec::with_capacity(Collection::len(result));
    for (_, score) in result {
        float::format_g17(score, &mut scores);
        ends.push(scores.len());
    }
    let mut argv: Vec<&[u8]> = vec![b"ZADD", key];
    let mut start = 0;
    for (end, (member, _)) in ends.into_iter().zip(result) {
        argv.push(scores.get(start..end).unwrap_or_default());
        argv.push(member);
        start = end;
    }
    if argv.len() > 2 {
        ctx.db.effect(&argv);
    }
}
