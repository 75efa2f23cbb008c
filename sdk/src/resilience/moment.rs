//! Time as the policies see it: passed in, never read.

use std::time::Duration;

/// A moment: microseconds since the client started.
///
/// Arithmetic saturates: a clock that steps backwards makes an interval zero, never a panic.
///
/// ```
/// use std::time::Duration;
/// use archipelago::resilience::Moment;
///
/// let later = Moment::START.after(Duration::from_millis(5));
/// assert_eq!(later.since(Moment::START), Duration::from_millis(5));
/// assert_eq!(Moment::START.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The client's start.
    pub const START: Self = Self(0);

    /// The moment so many microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// So much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole microseconds, saturating.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
