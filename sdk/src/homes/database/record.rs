//! One record of a database, decoded leniently: layouts differ, and a field of another shape is one that is not there.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    homes::{Country, Place},
    routing::Location,
};

/// One record, in any of the layouts.
///
/// | layout | country | continent | coordinates |
/// |---|---|---|---|
/// | MaxMind, DB-IP | `country.iso_code` | `continent.code` | `location.latitude`, `location.longitude` |
/// | ip-location-db | `country_code` | | `latitude`, `longitude` |
/// | IPinfo | `country_code` or `country` | `continent_code` or `continent` | `lat`, `lng` as text |
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record<'d> {
    #[serde(borrow)]
    country: Field<'d>,
    country_code: Field<'d>,
    continent: Field<'d>,
    continent_code: Field<'d>,
    location: Field<'d>,
    latitude: Field<'d>,
    longitude: Field<'d>,
    lat: Field<'d>,
    lng: Field<'d>,
}

/// What a field holds, as far as it matters here.
#[derive(Debug, Default)]
enum Field<'d> {
    /// Nothing of use.
    #[default]
    Other,
    Text(&'d str),
    Number(f64),
    /// A map with a code, or with coordinates.
    Map {
        code: Option<&'d str>,
        latitude: Option<f64>,
        longitude: Option<f64>,
    },
}

impl<'d> Record<'d> {
    pub(super) fn place(&self) -> Place {
        let code = |field: &Field<'d>| field.code().and_then(|code| code.parse::<Country>().ok());
        let country = code(&self.country_code).or_else(|| code(&self.country));
        let continent = |field: &Field<'d>| field.code().and_then(|code| code.parse().ok());
        let named = continent(&self.continent_code).or_else(|| continent(&self.continent));
        Place { country, continent: named.or(country.map(Country::continent)), location: self.location() }
    }

    fn location(&self) -> Option<Location> {
        let flat = |long: &Field<'d>, short: &Field<'d>| long.number().or_else(|| short.number());
        let (lat, lon) = match &self.location {
            Field::Map { latitude: Some(lat), longitude: Some(lon), .. } => (*lat, *lon),
            Field::Map { .. } | Field::Text(_) | Field::Number(_) | Field::Other => {
                (flat(&self.latitude, &self.lat)?, flat(&self.longitude, &self.lng)?)
            }
        };
        Location::new(lat, lon).ok()
    }
}

impl<'d> Field<'d> {
    /// Itself, or within.
    fn code(&self) -> Option<&'d str> {
        match self {
            Self::Map { code, .. } => *code,
            Self::Text(_) | Self::Number(_) | Self::Other => self.text(),
        }
    }

    fn text(&self) -> Option<&'d str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Map { .. } | Self::Number(_) | Self::Other => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Map { .. } | Self::Other => None,
        }
    }
}

impl<'de: 'd, 'd> Deserialize<'de> for Field<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

/// Takes whatever comes, and keeps what may be of use.
struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(text))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(i32::try_from(number).map_or(Field::Other, |number| Field::Number(number.into())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(i32::try_from(number).map_or(Field::Other, |number| Field::Number(number.into())))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        let (mut code, mut latitude, mut longitude) = (None, None, None);
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "iso_code" | "code" => code = map.next_value::<Field<'de>>()?.text(),
                "latitude" => latitude = map.next_value::<Field<'de>>()?.number(),
                "longitude" => longitude = map.next_value::<Field<'de>>()?.number(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Field::Map { code, latitude, longitude })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}
