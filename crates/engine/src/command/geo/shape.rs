//! Where to search, and which cells hold all of it.
//!
//! Distances are great circles on a sphere. A search looks at the cell around
//! its centre and at the eight around that; the size of the cells is chosen so
//! that these hold the whole shape, and those that it does not reach are left
//! out. Which cells these are, and their order, decides the order of a reply
//! that is not sorted: both are Redis'.

use super::cell::{Cell, Point, STEPS};

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the equator on the square map, in metres.
const MAP_MAX_M: f64 = 20_037_726.37;
const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// Metres between two latitudes.
fn latitude_distance(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (other * RADIANS - one * RADIANS).abs()
}

/// Metres between two points.
pub(super) fn distance(one: Point, other: Point) -> f64 {
    let across = ((other.longitude * RADIANS - one.longitude * RADIANS) / 2.0).sin();
    if across == 0.0 {
        return latitude_distance(one.latitude, other.latitude);
    }
    let (from, to) = (one.latitude * RADIANS, other.latitude * RADIANS);
    let along = ((to - from) / 2.0).sin();
    let haversine = along * along + from.cos() * to.cos() * across * across;
    2.0 * EARTH_RADIUS_M * haversine.sqrt().asin()
}

/// The outline of a search, in the unit of the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outline {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// A search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) centre: Point,
    pub(super) outline: Outline,
    /// Metres of the unit.
    pub(super) unit: f64,
}

impl Shape {
    /// How far a point is from the centre; `None` outside.
    pub(super) fn holds(&self, point: Point) -> Option<f64> {
        let outside = match self.outline {
            Outline::Circle { radius } => {
                let distance = distance(self.centre, point);
                // A distance that is no number counts as within, as in Redis.
                let outside = distance > radius * self.unit;
                return (!outside).then_some(distance);
            }
            Outline::Box { width, height } => {
                let beside = Point {
                    longitude: self.centre.longitude,
                    ..point
                };
                latitude_distance(point.latitude, self.centre.latitude) > height * self.unit / 2.0
                    || distance(point, beside) > width * self.unit / 2.0
            }
        };
        (!outside).then(|| distance(self.centre, point))
    }

    /// Degrees that hold the shape: longitudes, latitudes.
    fn bounds(&self) -> ((f64, f64), (f64, f64)) {
        let (width, height) = match self.outline {
            Outline::Circle { radius } => (radius, radius),
            Outline::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let Point {
            longitude,
            latitude,
        } = self.centre;
        let up = height / EARTH_RADIUS_M / RADIANS;
        // Meridians are closest together at the side that is nearer to a pole.
        let narrow = if latitude < 0.0 {
            latitude - up
        } else {
            latitude + up
        };
        let aside = width / EARTH_RADIUS_M / (narrow * RADIANS).cos() / RADIANS;
        (
            (longitude - aside, longitude + aside),
            (latitude - up, latitude + up),
        )
    }

    /// Halvings an axis of cells that are likely to hold the shape in nine.
    fn steps(&self) -> u32 {
        let mut reach = self.reach();
        if reach == 0.0 {
            return STEPS;
        }
        let mut steps = 1_i32;
        while reach < MAP_MAX_M {
            reach *= 2.0;
            steps += 1;
        }
        steps -= 2;
        let latitude = self.centre.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS as i32) as u32
    }

    /// Metres from the centre to the farthest point.
    fn reach(&self) -> f64 {
        let reach = match self.outline {
            Outline::Circle { radius } => radius,
            Outline::Box { width, height } => {
                (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt()
            }
        };
        reach * self.unit
    }

    /// The cells to search, in order.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cell> {
        const AROUND: [(i8, i8); 9] = [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ];
        let (longitudes, latitudes) = self.bounds();
        let mut steps = self.steps();
        let mut middle = Cell::at(self.centre, steps);
        if steps > 1 && !self.fits_around(middle) {
            steps -= 1;
            middle = Cell::at(self.centre, steps);
        }
        let area = middle.area();
        let reached = move |(east, north): (i8, i8)| {
            // At the coarsest steps a cell borders on itself.
            steps < 2
                || !((north < 0 && area.latitudes.0 < latitudes.0)
                    || (north > 0 && area.latitudes.1 > latitudes.1)
                    || (east < 0 && area.longitudes.0 < longitudes.0)
                    || (east > 0 && area.longitudes.1 > longitudes.1))
        };
        let mut last = None;
        AROUND
            .into_iter()
            .filter(move |direction| reached(*direction))
            .map(move |(east, north)| middle.moved(east, north))
            .enumerate()
            .filter(move |(at, cell)| {
                let again = last == Some(*cell);
                // The middle is not compared with what comes after it.
                if *at > 0 && !again {
                    last = Some(*cell);
                }
                !again
            })
            .map(|(_, cell)| cell)
    }

    /// Whether the cells around `middle` reach as far as the shape does.
    fn fits_around(&self, middle: Cell) -> bool {
        let (longitudes, latitudes) = self.bounds();
        let short = middle.moved(0, 1).area().latitudes.1 < latitudes.1
            || middle.moved(0, -1).area().latitudes.0 > latitudes.0
            || middle.moved(1, 0).area().longitudes.1 < longitudes.1
            || middle.moved(-1, 0).area().longitudes.0 > longitudes.0;
        !short
    }
}
