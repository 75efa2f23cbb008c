//! Places on Earth and how far they are apart.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A place on Earth, in degrees. Always finite and in range.
///
/// ```
/// use archipelago::routing::Location;
///
/// let (dublin, ashburn) = (Location::new(53.35, -6.26)?, Location::new(39.04, -77.49)?);
/// assert!((5_400.0..5_500.0).contains(&dublin.distance_km(ashburn)));
/// assert!(Location::new(91.0, 0.0).is_err());
/// # Ok::<(), archipelago::routing::LocationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Coordinates")]
pub struct Location {
    lat: f64,
    lon: f64,
}

/// Coordinates as somebody wrote them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Coordinates {
    lat: f64,
    lon: f64,
}

/// Why coordinates are no place on Earth.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum LocationError {
    /// Not a number from -90 to 90.
    #[error("latitude {0} is out of range: expected -90 to 90 degrees")]
    Latitude(f64),
    /// Not a number from -180 to 180.
    #[error("longitude {0} is out of range: expected -180 to 180 degrees")]
    Longitude(f64),
}

/// The mean radius of Earth.
const RADIUS_KM: f64 = 6371.0088;
/// Light in fibre goes about 200 km in a millisecond; a round trip goes the distance twice.
const ROUND_TRIP_KM_PER_SECOND: f64 = 100_000.0;

impl Location {
    /// A place, in degrees north and east.
    ///
    /// # Errors
    /// [`LocationError`] when a coordinate is not finite or not on Earth.
    pub fn new(lat: f64, lon: f64) -> Result<Self, LocationError> {
        // A range holds no NaN and no infinity.
        if !(-90.0..=90.0).contains(&lat) {
            return Err(LocationError::Latitude(lat));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return Err(LocationError::Longitude(lon));
        }
        Ok(Self { lat, lon })
    }

    /// Degrees north.
    #[must_use]
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    #[must_use]
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// The great-circle distance in kilometres, on a sphere: within half a percent of the true one.
    ///
    /// Haversine (R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68, 1984): unlike the law of cosines it
    /// keeps its precision at small distances.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let h = half(self.lat, other.lat)
            + self.lat.to_radians().cos() * other.lat.to_radians().cos() * half(self.lon, other.lon);
        // Rounding may carry the sum of two opposite places past 1, and the arcsine of that is no number.
        2.0 * RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
    }

    /// The least round trip that the distance allows: what to expect before anything was measured.
    #[must_use]
    pub fn least_round_trip(self, other: Self) -> Duration {
        Duration::from_secs_f64(self.distance_km(other) / ROUND_TRIP_KM_PER_SECOND)
    }
}

impl TryFrom<Coordinates> for Location {
    type Error = LocationError;

    fn try_from(Coordinates { lat, lon }: Coordinates) -> Result<Self, LocationError> {
        Self::new(lat, lon)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Location {
        Location::new(lat, lon).unwrap()
    }

    #[test]
    fn places_off_the_map_are_refused() {
        for (lat, lon) in [(90.1, 0.0), (-91.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0)] {
            assert!(matches!(Location::new(lat, lon), Err(LocationError::Latitude(_))), "{lat}");
        }
        for lon in [180.1, -181.0, f64::NAN, f64::NEG_INFINITY] {
            assert!(matches!(Location::new(0.0, lon), Err(LocationError::Longitude(_))), "{lon}");
        }
        let read: Result<Location, _> = toml::from_str("lat = 53.35\nlon = 206.0");
        assert!(read.unwrap_err().to_string().contains("longitude 206 is out of range"));
    }

    #[test]
    fn distances_are_the_known_ones() {
        // Berlin to Tokyo, and across the date line.
        assert!((at(52.52, 13.405).distance_km(at(35.6762, 139.6503)) - 8_918.0).abs() < 10.0);
        assert!((at(0.0, 179.5).distance_km(at(0.0, -179.5)) - 111.2).abs() < 0.1);
        // Half the way around, where rounding could leave the arcsine's domain.
        assert!((at(37.3, 12.1).distance_km(at(-37.3, -167.9)) - 20_015.0).abs() < 1.0);
        assert!(at(1.0, 2.0).distance_km(at(1.0, 2.0)).abs() < f64::EPSILON);
    }

    #[test]
    fn light_needs_a_millisecond_for_a_hundred_kilometres_and_back() {
        let there = at(0.0, 0.0).least_round_trip(at(0.0, 90.0));
        assert!((there.as_secs_f64() - 0.100).abs() < 0.001, "{there:?}");
    }
}
