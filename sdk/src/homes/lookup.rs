//! What became of the question where a user is.

use std::fmt;

use super::{Place, SpecialUse};

/// What became of the question where a user is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Lookup {
    /// The caller said where.
    Told(Place),
    /// The database has the address.
    Found(Place),
    /// The database has it not, or with no country, continent or coordinates that mean anything here.
    Unknown,
    /// An IPv6 address, and a database of IPv4 addresses only.
    NotCovered,
    /// The database is damaged at this address.
    Damaged,
    /// There is no database.
    NoDatabase,
    /// No public host has the address.
    Special(SpecialUse),
    /// The text is no address.
    Malformed,
    /// Neither place nor address.
    NoAddress,
}

impl Lookup {
    /// What is known; nothing, unless told or found.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Told(place) | Self::Found(place) => *place,
            Self::Unknown
            | Self::NotCovered
            | Self::Damaged
            | Self::NoDatabase
            | Self::Special(_)
            | Self::Malformed
            | Self::NoAddress => Place::default(),
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(place) => write!(f, "{place} (told)"),
            Self::Found(place) => write!(f, "{place}"),
            Self::Unknown => f.write_str("no place in the database"),
            Self::NotCovered => f.write_str("an IPv6 address, and the database has IPv4 only"),
            Self::Damaged => f.write_str("the database is damaged at this address"),
            Self::NoDatabase => f.write_str("no database"),
            Self::Special(special) => write!(f, "{special} address"),
            Self::Malformed => f.write_str("no address"),
            Self::NoAddress => f.write_str("no address given"),
        }
    }
}
