//! What is known of where somebody is.

use std::fmt;

use super::{Continent, Country};
use crate::routing::Location;

/// What is known of where somebody is; any part may be unknown.
///
/// ```
/// use archipelago::{homes::{Continent, Place}, routing::Location};
///
/// let berlin = Place::in_country("DE".parse()?).with_location(Location::new(52.5, 13.4)?);
/// assert_eq!(berlin.continent, Some(Continent::Europe));
/// assert_eq!(berlin.to_string(), "DE, EU, 52.50 13.40");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// The country.
    pub country: Option<Country>,
    /// The continent.
    pub continent: Option<Continent>,
    /// The coordinates. Those of an IP address are often the middle of a country, and rarely within 50 km.
    pub location: Option<Location>,
}

impl Place {
    /// Somewhere in a country, and so on its continent.
    #[must_use]
    pub const fn in_country(country: Country) -> Self {
        Self { country: Some(country), continent: Some(country.continent()), location: None }
    }

    /// At these coordinates, in a country that nobody knows.
    #[must_use]
    pub const fn at(location: Location) -> Self {
        Self { country: None, continent: None, location: Some(location) }
    }

    /// The same place with these coordinates.
    #[must_use]
    pub const fn with_location(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.country {
            Some(country) => country.fmt(f)?,
            None => f.write_str("unknown country")?,
        }
        if let Some(continent) = self.continent {
            write!(f, ", {continent}")?;
        }
        match self.location {
            Some(location) => write!(f, ", {:.2} {:.2}", location.lat(), location.lon()),
            None => Ok(()),
        }
    }
}
