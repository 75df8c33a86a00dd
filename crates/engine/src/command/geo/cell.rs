//! Cells of the earth: pairs of coordinates as interleaved bits, and back.
//!
//! A score is the number of the cell of 26 halvings an axis in which a point
//! lies, and a prefix of it is a larger cell: all points of a cell stand next
//! to each other in a sorted set. Scores that no GEOADD made decode as they do
//! in Redis, to whatever their low bits say.

/// Halvings of each axis that a score holds: 52 bits, which a double keeps.
pub(super) const STEPS: u32 = 26;

/// Degrees of longitude that a point may have.
pub(super) const LONGITUDES: (f64, f64) = (-180.0, 180.0);
/// Degrees of latitude that a point may have: those of the square map.
pub(super) const LATITUDES: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// Degrees of latitude of a geohash as others write it.
const ALL_LATITUDES: (f64, f64) = (-90.0, 90.0);

/// The bits of the latitude; the longitude has those between.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// A point, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl Point {
    /// The point of a score: the middle of its cell.
    pub(super) fn of_score(score: f64) -> Point {
        let area = Cell {
            bits: to_bits(score),
            steps: STEPS,
        }
        .area();
        let middle = |(low, high): (f64, f64), (min, max): (f64, f64)| {
            let middle = f64::midpoint(low, high);
            if middle > max {
                max
            } else if middle < min {
                min
            } else {
                middle
            }
        };
        Point {
            longitude: middle(area.longitudes, LONGITUDES),
            latitude: middle(area.latitudes, LATITUDES),
        }
    }

    /// The score that keeps this point.
    pub(super) fn score(self) -> f64 {
        Cell::at(self, STEPS).bits as f64
    }

    /// Eleven letters of the geohash that the rest of the world uses, which
    /// halves all latitudes; its last letter is always `0`.
    pub(super) fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::within(self, STEPS, ALL_LATITUDES).bits;
        std::array::from_fn(|at| {
            let shift = (2 * STEPS as usize).checked_sub((at + 1) * 5);
            let letter = shift.map_or(0, |shift| bits >> shift & 31);
            LETTERS.get(letter as usize).copied().unwrap_or(b'0')
        })
    }
}

/// A double as the bits of a cell, by the conversion of the CPUs that Redis
/// runs on: what is out of range is defined, if odd.
fn to_bits(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |value: f64| {
        if (-HALF..HALF).contains(&value) {
            value as i64 as u64
        } else {
            1 << 63
        }
    };
    if score < HALF {
        signed(score)
    } else {
        signed(score - HALF) ^ (1 << 63)
    }
}

/// Degrees that a cell covers: from, to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) longitudes: (f64, f64),
    pub(super) latitudes: (f64, f64),
}

/// A cell: the bits of both axes, interleaved, and how many an axis has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    bits: u64,
    steps: u32,
}

impl Cell {
    /// The cell of `steps` halvings in which a point lies.
    pub(super) fn at(point: Point, steps: u32) -> Cell {
        Cell::within(point, steps, LATITUDES)
    }

    fn within(point: Point, steps: u32, latitudes: (f64, f64)) -> Cell {
        let place = |degrees: f64, (min, max): (f64, f64)| {
            let share = (degrees - min) / (max - min);
            (share * (1_u64 << steps) as f64) as u32
        };
        Cell {
            bits: spread(place(point.latitude, latitudes))
                | spread(place(point.longitude, LONGITUDES)) << 1,
            steps,
        }
    }

    /// What it covers.
    pub(super) fn area(self) -> Area {
        let share = |place: u32, (min, max): (f64, f64)| {
            min + f64::from(place) / (1_u64 << self.steps) as f64 * (max - min)
        };
        let span = |bits: u64, range: (f64, f64)| {
            let place = gather(bits);
            (share(place, range), share(place.wrapping_add(1), range))
        };
        Area {
            longitudes: span(self.bits >> 1, LONGITUDES),
            latitudes: span(self.bits, LATITUDES),
        }
    }

    /// The scores of its points: from, up to but without.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * STEPS - 2 * self.steps;
        (
            (self.bits << shift) as f64,
            ((self.bits + 1) << shift) as f64,
        )
    }

    /// The cell that lies so many cells further east and north, around the map
    /// at its edges.
    pub(super) fn moved(self, east: i8, north: i8) -> Cell {
        Cell {
            bits: self.step(EVEN << 1, east) | self.step(EVEN, north),
            steps: self.steps,
        }
    }

    /// The bits of one axis, a step further: carries run over the other's.
    fn step(self, axis: u64, by: i8) -> u64 {
        let unused = 64 - 2 * self.steps;
        let between = !axis >> unused;
        let place = self.bits & axis;
        let moved = match by {
            0 => return place,
            1.. => place.wrapping_add(between + 1),
            _ => (place | between).wrapping_sub(between + 1),
        };
        moved & (axis >> unused)
    }
}

/// Puts a zero before each bit.
fn spread(place: u32) -> u64 {
    let mut bits = u64::from(place);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, EVEN),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// The even bits, moved together.
fn gather(bits: u64) -> u32 {
    let mut place = bits & EVEN;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0xffff_ffff),
    ] {
        place = (place | place >> shift) & mask;
    }
    place as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_spread_and_gathered() {
        for place in [0, 1, 2, 0xffff, 0x1234_5678, u32::MAX] {
            assert_eq!(gather(spread(place)), place);
            assert_eq!(spread(place) & !EVEN, 0);
        }
    }

    #[test]
    fn scores_are_those_of_redis() {
        let palermo = Point {
            longitude: 13.361_389,
            latitude: 38.115_556,
        };
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        let kept = Point::of_score(palermo.score());
        assert_eq!(format!("{:.17}", kept.longitude), "13.36138933897018433");
        assert_eq!(format!("{:.17}", kept.latitude), "38.11555639549629859");
        assert_eq!(&kept.geohash(), b"sqc8b49rny0");
    }

    #[test]
    fn a_step_there_and_back_ends_where_it_began() {
        for steps in 1..=STEPS {
            for bits in [0, 1, 0x5a5a_5a5a_5a5a_5a5a, u64::MAX] {
                let bits = bits & (u64::MAX >> (64 - 2 * steps));
                let cell = Cell { bits, steps };
                for (east, north) in [(1, 0), (0, 1), (1, 1), (-1, 1)] {
                    assert_ne!(cell.moved(east, north), cell);
                    assert_eq!(cell.moved(east, north).moved(-east, -north), cell);
                }
            }
        }
    }

    #[test]
    fn any_score_decodes_to_a_point_on_the_map() {
        for score in [
            0.0,
            -1.0,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9_223_372_036_854_775_808.0,
            18_446_744_073_709_551_615.0,
            4_503_599_627_370_496.0,
        ] {
            let point = Point::of_score(score);
            assert!(point.longitude.abs() <= 180.0, "{score}");
            assert!(point.latitude.abs() <= LATITUDES.1, "{score}");
        }
    }
}
