//! What one direction of a link is like: how far, how wide, how steady.

use std::time::Duration;

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server: commands.
    ToServer,
    /// From the server to the client: answers.
    ToClient,
}

/// What one direction of a link is like. The default passes everything on at once.
///
/// Delays above a day count as a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// How long every segment is under way. A distance, not a bandwidth: what is under way does not hold up what
    /// follows.
    pub latency: Duration,
    /// Up to so much more for each segment, evenly distributed. The order stays, as in any TCP stream: a segment that
    /// would overtake another arrives together with it.
    pub jitter: Duration,
    /// Some segments take much longer.
    pub slow: Option<Slow>,
    /// How many bytes pass in a time.
    pub pace: Pace,
}

/// Some segments take much longer: "1 % of the calls take 400 ms".
///
/// A segment is what the proxy reads at once: one small command, or several sent together. What follows a slow segment
/// on the same connection waits behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// How many of a hundred segments, on average.
    pub percent: f64,
    /// How much longer they take.
    pub delay: Duration,
}

/// How many bytes pass in a time, on each connection. Never more, and a little less under load: a late wake-up is not
/// made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As many as the machine manages.
    #[default]
    Unlimited,
    /// So many in a second, in some hundred portions. Zero counts as one.
    BytesPerSecond(u64),
    /// So many at once, then a pause. Zero bytes count as one.
    Drip {
        /// How many bytes at once.
        bytes: usize,
        /// The time from one portion to the next.
        every: Duration,
    },
}

/// Longer delays would overflow the clock's own range somewhere, and no test waits for them.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Portions in a second of a limited bandwidth: few enough for the timer's resolution of a millisecond.
const PORTIONS: u64 = 100;

impl Shape {
    /// A direction of so much latency, and no other trouble.
    #[must_use]
    pub fn latency(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// How long the next segment is under way.
    pub(super) fn delay(&self, random: &mut fastrand::Rng) -> Duration {
        let jitter = self.jitter.min(LONGEST).mul_f64(random.f64());
        let slow =
            self.slow.filter(|slow| random.f64() * 100.0 < slow.percent).map_or(Duration::ZERO, |slow| slow.delay);
        self.latency.saturating_add(jitter).saturating_add(slow).min(LONGEST)
    }
}

impl Pace {
    /// How many bytes may pass at once.
    pub(super) fn portion(self) -> usize {
        match self {
            Self::Unlimited => usize::MAX,
            Self::BytesPerSecond(rate) => usize::try_from((rate / PORTIONS).max(1)).unwrap_or(usize::MAX),
            Self::Drip { bytes, .. } => bytes.max(1),
        }
    }

    /// How long nothing more may pass after so many bytes.
    pub(super) fn pause(self, sent: usize) -> Duration {
        match self {
            Self::Unlimited => Duration::ZERO,
            Self::BytesPerSecond(rate) => Duration::try_from_secs_f64(sent as f64 / rate.max(1) as f64)
                .map_or(LONGEST, |pause| pause.min(LONGEST)),
            Self::Drip { every, .. } => every.min(LONGEST),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_row_of_delays_within_the_bounds() {
        let ms = Duration::from_millis;
        let shape = Shape {
            latency: ms(10),
            jitter: ms(5),
            slow: Some(Slow { percent: 1.0, delay: ms(400) }),
            ..Shape::default()
        };
        let row = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..10_000).map(|_| shape.delay(&mut random)).collect::<Vec<_>>()
        };
        let delays = row(7);
        assert_eq!(delays, row(7));
        assert_ne!(delays, row(8));
        let (slow, usual): (Vec<Duration>, Vec<Duration>) = delays.iter().partition(|delay| **delay >= ms(400));
        assert!((50..200).contains(&slow.len()), "{} of 10000 are slow", slow.len());
        assert!(usual.iter().all(|delay| (ms(10)..=ms(15)).contains(delay)));
        assert!(usual.iter().any(|delay| *delay < ms(11)) && usual.iter().any(|delay| *delay > ms(14)));
    }

    #[test]
    fn portions_and_pauses_make_the_rate() {
        for rate in [1, 10, 99, 100, 1000, 12_345, 1_000_000_000] {
            let pace = Pace::BytesPerSecond(rate);
            let second = pace.pause(pace.portion()).as_secs_f64() * rate as f64 / pace.portion() as f64;
            assert!((second - 1.0).abs() < 1e-3, "{rate}: {second}");
        }
        assert_eq!(Pace::Drip { bytes: 0, every: Duration::from_millis(3) }.portion(), 1);
        assert_eq!(Pace::Drip { bytes: 0, every: Duration::from_millis(3) }.pause(1), Duration::from_millis(3));
        assert_eq!(Pace::BytesPerSecond(0).pause(1), Duration::from_secs(1));
    }

    #[test]
    fn the_longest_delays_do_not_overflow() {
        let slow = Some(Slow { percent: 100.0, delay: Duration::MAX });
        let shape = Shape { latency: Duration::MAX, jitter: Duration::MAX, slow, ..Shape::default() };
        assert_eq!(shape.delay(&mut fastrand::Rng::with_seed(1)), LONGEST);
        assert_eq!(Pace::Drip { bytes: 1, every: Duration::MAX }.pause(1), LONGEST);
        assert_eq!(Pace::BytesPerSecond(1).pause(usize::MAX), LONGEST);
    }
}
