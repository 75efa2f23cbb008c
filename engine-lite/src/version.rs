//! Versions: the hybrid logical timestamps that order every change of a cell.

use std::fmt;

/// A hybrid logical timestamp in microseconds since 1970, given by the region that executes a write.
///
/// A region never issues one version twice within an incarnation: each is `max(server clock, last + 1)`.
/// `Version::ZERO` means "never" and is below every issued version.
///
/// ```
/// use archipelago_engine::Version;
/// assert!(Version::ZERO < Version::from_micros(1_700_000_000_000_000));
/// assert_eq!(Version::from_micros(7).next(), Version::from_micros(8));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Below every issued version: "never happened".
    pub const ZERO: Self = Self(0);

    /// Above every issued version. Versions are stored in seven bytes and as doubles in Lua, so 2^53 - 1
    /// (the year 2255) is the ceiling of both.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Versions below this (about twelve days after 1970) are never issued: in a log entry such a number
    /// stands for an offset from the entry's own version, see [`crate::codec`].
    pub const FLOOR: Self = Self(1 << 40);

    /// The version at `micros` microseconds since 1970, at most [`Version::MAX`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down: the unit of expiry.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// The next higher version; [`Version::MAX`] stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The version `steps` higher, at most [`Version::MAX`].
    #[must_use]
    pub const fn plus(self, steps: u64) -> Self {
        Self::from_micros(self.0.saturating_add(steps))
    }

    /// Whether this is [`Version::ZERO`].
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
