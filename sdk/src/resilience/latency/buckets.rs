//! A fixed log-linear histogram that forgets.

use std::{
    fmt,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::resilience::Moment;

/// Buckets in each power of two: a width of 6 %.
const PER_OCTAVE: u64 = 16;
const OCTAVE_BITS: u32 = 4;
/// Values of `2^26` microseconds (67 s) and more share the last bucket.
const LARGEST: u64 = (1 << 26) - 1;
const BUCKETS: usize = 23 * PER_OCTAVE as usize;
/// What one value adds. Halving leaves something of it eight times.
const UNIT: u32 = 256;
/// Values above which everything is halved early, so that an idle node's past does not outweigh what comes next.
const MOST: u64 = 4_096;

/// Counts of values, halved each half-life. Adding is two atomic additions.
///
/// A halving and additions on other threads may interleave: a value added meanwhile may lose half its weight.
pub(super) struct Buckets {
    counts: [AtomicU32; BUCKETS],
    total: AtomicU64,
    half_life: u64,
    halve_at: AtomicU64,
}

impl Buckets {
    pub(super) fn new(half_life: u64) -> Self {
        let counts = [const { AtomicU32::new(0) }; BUCKETS];
        Self { counts, total: AtomicU64::new(0), half_life, halve_at: AtomicU64::new(half_life) }
    }

    pub(super) fn add(&self, now: Moment, value: u64) {
        self.forget(now);
        if let Some(bucket) = self.counts.get(bucket_of(value)) {
            // The total first: it must not be behind the buckets when a halving takes from both.
            self.total.fetch_add(u64::from(UNIT), Ordering::Relaxed);
            bucket.fetch_add(UNIT, Ordering::Relaxed);
        }
    }

    /// How many values are remembered, the old ones in part.
    pub(super) fn count(&self) -> u64 {
        self.total.load(Ordering::Relaxed) / u64::from(UNIT)
    }

    /// The upper bounds of the buckets that hold these quantiles, ascending; 0 when nothing is remembered.
    pub(super) fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        // Not `total`: it may be ahead of the buckets or behind them.
        let sum: u64 = self.counts.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum();
        let mut bounds = [0; N];
        let mut wanted = quantiles.iter().map(|quantile| (quantile * sum as f64).ceil() as u64).zip(&mut bounds);
        let mut seen = 0;
        let mut next = wanted.next().filter(|_| sum > 0);
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(count.load(Ordering::Relaxed));
            while let Some((_, bound)) = next.take_if(|(rank, _)| seen >= *rank) {
                *bound = upper_bound(index as u64);
                next = wanted.next();
            }
            if next.is_none() {
                break;
            }
        }
        bounds
    }

    fn forget(&self, now: Moment) {
        let due = self.halve_at.load(Ordering::Relaxed);
        let is_due = now.as_micros() >= due;
        if !is_due && self.count() <= MOST {
            return;
        }
        let next = now.as_micros().saturating_add(self.half_life);
        if self.halve_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return; // another thread does it
        }
        // Once for each half-life that passed, however long nobody called.
        let lives = now.as_micros().saturating_sub(due).checked_div(self.half_life).unwrap_or(0).saturating_add(1);
        let shift = u32::try_from(lives).unwrap_or(u32::MAX);
        for count in &self.counts {
            let halve = |count: u32| Some(count.checked_shr(shift).unwrap_or(0));
            if let Ok(before) = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halve) {
                let gone = u64::from(before - before.checked_shr(shift).unwrap_or(0));
                self.total.fetch_sub(gone, Ordering::Relaxed);
            }
        }
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min(LARGEST);
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(OCTAVE_BITS + 1);
    (u64::from(octave) * PER_OCTAVE + (value >> octave)) as usize
}

/// The largest value of a bucket.
const fn upper_bound(index: u64) -> u64 {
    if index < 2 * PER_OCTAVE {
        return index;
    }
    let octave = index / PER_OCTAVE - 1;
    ((index % PER_OCTAVE + PER_OCTAVE + 1) << octave) - 1
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_six_percent_wide() {
        for value in (0..100_000).chain([1 << 20, (1 << 26) - 1]) {
            let bucket = bucket_of(value);
            let upper = upper_bound(bucket as u64);
            assert!(upper >= value && upper - value <= value / 15, "{value}: bucket {bucket} up to {upper}");
        }
        assert_eq!(bucket_of(LARGEST), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let buckets = Buckets::new(1_000_000);
        assert_eq!(buckets.quantiles([0.5, 0.95]), [0, 0]);
        (1..=1_000).for_each(|value| buckets.add(Moment::START, value));
        let [median, high] = buckets.quantiles([0.5, 0.95]);
        assert!((500..=535).contains(&median) && (950..=1_010).contains(&high), "{median} {high}");
        assert_eq!(buckets.quantiles([0.0, 1.0])[1], 1_023);
    }

    #[test]
    fn values_are_forgotten_by_time_however_long_nobody_called() {
        let buckets = Buckets::new(1_000);
        (0..100).for_each(|_| buckets.add(Moment::START, 10));
        buckets.add(Moment::from_micros(1_000), 10);
        assert_eq!(buckets.count(), 51);
        buckets.add(Moment::from_micros(u64::MAX / 2), 7);
        assert_eq!((buckets.count(), buckets.quantiles([1.0])), (1, [7]));
    }

    #[test]
    fn a_busy_past_is_bounded() {
        let buckets = Buckets::new(1_000_000);
        (0..100_000).for_each(|_| buckets.add(Moment::START, 10));
        assert!(buckets.count() <= MOST + 1, "{}", buckets.count());
    }
}
