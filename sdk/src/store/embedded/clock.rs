//! The clock of all embedded regions: the machine's, or one that a test moves.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago_engine::Version;

/// Microseconds since 1970: those of the machine, or none, and what `advance` added.
#[derive(Debug)]
pub(super) struct Clock {
    real: bool,
    ahead: AtomicU64,
}

impl Clock {
    pub(super) const fn real() -> Self {
        Self { real: true, ahead: AtomicU64::new(0) }
    }

    pub(super) const fn manual(start: Version) -> Self {
        Self { real: false, ahead: AtomicU64::new(start.as_micros()) }
    }

    /// Whether time passes only when a test says so. Then a simulated delay is not slept: nobody would end it.
    pub(super) const fn is_manual(&self) -> bool {
        !self.real
    }

    pub(super) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// The time at a region whose clock is `skew` microseconds off.
    pub(super) fn now(&self, skew: i64) -> Version {
        let machine =
            if self.real { SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() } else { Duration::ZERO };
        let now = micros(machine).saturating_add(self.ahead.load(Ordering::SeqCst));
        // Versions below the floor are never issued: a log entry means an offset by them.
        Version::from_micros(now.saturating_add_signed(skew)).max(Version::FLOOR)
    }
}

/// Whole microseconds, at most the highest version's: a clock that stands still is better than one that wraps.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(Version::MAX.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::manual(Version::from_micros(2_000_000_000_000));
        assert_eq!(clock.now(0), clock.now(0));
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.now(-1000).as_micros(), 2_000_000_004_000);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(0), Version::MAX);
    }
}
