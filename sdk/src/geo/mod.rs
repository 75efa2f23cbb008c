//! Places in sorted sets, as Redis keeps them: a position is a score of 52 bits, a search finds members by distance.
//!
//! What [`Geo`](crate::Geo) reads and writes. Positions are exact to 0.6 m, distances are those on a sphere of Redis's
//! radius, up to 0.5 % off the true ones.

mod distance;
mod hash;
mod search;

use std::{fmt, str::FromStr};

use bytes::Bytes;
use thiserror::Error;

pub(crate) use self::{
    distance::metres,
    hash::{geohash, position_of, score_of},
    search::{Found, find},
};

/// A position that a sorted set can hold, in degrees. Always finite and in range.
///
/// ```
/// use archipelago::geo::Position;
/// let palermo = Position::new(13.361389, 38.115556)?;
/// assert_eq!(palermo.latitude(), 38.115556);
/// assert!(Position::new(0.0, 86.0).is_err());
/// # Ok::<(), archipelago::geo::PositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    longitude: f64,
    latitude: f64,
}

/// A position that Redis cannot hold: the poles are left out.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("invalid longitude,latitude pair {longitude:.6},{latitude:.6}: up to 180 and 85.05112878 degrees")]
pub struct PositionError {
    /// Degrees east, as given.
    pub longitude: f64,
    /// Degrees north, as given.
    pub latitude: f64,
}

impl Position {
    const MAX_LONGITUDE: f64 = 180.0;
    const MAX_LATITUDE: f64 = 85.051_128_78;

    /// A position, in degrees east and north: the order of Redis's commands.
    ///
    /// # Errors
    /// [`PositionError`] beyond ±180 and ±85.05112878 degrees.
    pub fn new(longitude: f64, latitude: f64) -> Result<Self, PositionError> {
        // A comparison with NaN is false.
        if longitude.abs() <= Self::MAX_LONGITUDE && latitude.abs() <= Self::MAX_LATITUDE {
            Ok(Self { longitude, latitude })
        } else {
            Err(PositionError { longitude, latitude })
        }
    }

    /// Degrees east.
    #[must_use]
    pub const fn longitude(self) -> f64 {
        self.longitude
    }

    /// Degrees north.
    #[must_use]
    pub const fn latitude(self) -> f64 {
        self.latitude
    }
}

/// A unit of length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Metres.
    #[default]
    Metres,
    /// Kilometres.
    Kilometres,
    /// Miles of 1609.34 m.
    Miles,
    /// Feet of 0.3048 m.
    Feet,
}

impl Unit {
    /// How many metres one is, by Redis's numbers.
    #[must_use]
    pub const fn metres(self) -> f64 {
        match self {
            Self::Metres => 1.0,
            Self::Kilometres => 1000.0,
            Self::Miles => 1609.34,
            Self::Feet => 0.3048,
        }
    }

    /// The word in commands.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Metres => "m",
            Self::Kilometres => "km",
            Self::Miles => "mi",
            Self::Feet => "ft",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(text: &str) -> Result<Self, UnknownUnit> {
        let all = [Self::Metres, Self::Kilometres, Self::Miles, Self::Feet];
        all.into_iter().find(|unit| unit.word().eq_ignore_ascii_case(text)).ok_or(UnknownUnit)
    }
}

/// A word that is no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unsupported unit provided. please use M, KM, FT, MI")]
pub struct UnknownUnit;

/// A search: from where, how far, in which order and how many.
///
/// ```
/// use archipelago::geo::{Position, Search, Unit};
/// let near = Search::around(Position::new(2.35, 48.86)?).within_radius(5.0, Unit::Kilometres).nearest(10);
/// # Ok::<(), archipelago::geo::PositionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub(crate) center: Center,
    pub(crate) area: Area,
    pub(crate) unit: Unit,
    pub(crate) order: Option<Order>,
    pub(crate) count: Option<u64>,
    pub(crate) any: bool,
}

/// From where a search looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Center {
    /// From where this member is.
    Member(Bytes),
    /// From here.
    Position(Position),
}

impl From<Position> for Center {
    fn from(position: Position) -> Self {
        Self::Position(position)
    }
}

/// How far a search looks, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Area {
    Radius(f64),
    Box { width: f64, height: f64 },
}

/// In which order a search answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NearestFirst,
    FarthestFirst,
}

impl Search {
    /// A search around a position, or a member: everything within 0 m of it, nearest first.
    #[must_use]
    pub fn around(center: impl Into<Center>) -> Self {
        let (area, order) = (Area::Radius(0.0), Some(Order::NearestFirst));
        Self { center: center.into(), area, unit: Unit::Metres, order, count: None, any: false }
    }

    /// A search around a member.
    #[must_use]
    pub fn around_member(member: impl Into<Bytes>) -> Self {
        Self::around(Center::Member(member.into()))
    }

    /// Within this distance. A negative one, or one that is no number, finds nothing.
    #[must_use]
    pub const fn within_radius(mut self, radius: f64, unit: Unit) -> Self {
        (self.area, self.unit) = (Area::Radius(at_least_zero(radius)), unit);
        self
    }

    /// Within a box of this size, the position in its middle.
    #[must_use]
    pub const fn within_box(mut self, width: f64, height: f64, unit: Unit) -> Self {
        (self.area, self.unit) = (Area::Box { width: at_least_zero(width), height: at_least_zero(height) }, unit);
        self
    }

    /// The `count` nearest at most, nearest first. Zero counts as one.
    #[must_use]
    pub fn nearest(mut self, count: u32) -> Self {
        (self.order, self.count) = (Some(Order::NearestFirst), Some(u64::from(count.max(1))));
        self
    }

    /// The `count` farthest at most, farthest first. Zero counts as one.
    #[must_use]
    pub fn farthest(mut self, count: u32) -> Self {
        (self.order, self.count) = (Some(Order::FarthestFirst), Some(u64::from(count.max(1))));
        self
    }
}

const fn at_least_zero(length: f64) -> f64 {
    if length > 0.0 { length } else { 0.0 }
}

/// A coordinate as Redis shows it: seventeen places, without the zeros at their end.
pub(crate) fn shown(degrees: f64) -> String {
    let text = format!("{degrees:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}
