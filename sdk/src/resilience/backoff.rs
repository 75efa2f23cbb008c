//! How long to wait before the same node is tried again: capped exponential, full jitter.

use std::time::Duration;

use super::{BackoffOptions, moment::micros};

/// Waits that double up to a cap, each drawn between zero and that bound.
///
/// "Full jitter" (Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015): clients that failed together
/// do not come back together.
///
/// ```
/// use std::time::Duration;
/// use archipelago::resilience::{Backoff, ResilienceOptions};
///
/// let backoff = Backoff::new(&ResilienceOptions::default().backoff);
/// assert_eq!(backoff.delay(1, 0), Duration::ZERO);
/// assert!(backoff.delay(1, u64::MAX) <= Duration::from_millis(10));
/// assert!(backoff.delay(1_000, u64::MAX) <= Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    base: u64,
    cap: u64,
}

impl Backoff {
    /// A backoff with these bounds.
    #[must_use]
    pub fn new(options: &BackoffOptions) -> Self {
        Self { base: micros(options.base), cap: micros(options.cap) }
    }

    /// The wait after so many failed attempts, 1 or more. `random` is uniform over all of `u64`.
    #[must_use]
    pub fn delay(&self, attempts: u32, random: u64) -> Duration {
        let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
        let bound = self.base.saturating_mul(doubled).min(self.cap);
        // The high half of the product is uniform in 0..bound.
        Duration::from_micros(((u128::from(random) * u128::from(bound)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::simulation::Rng;

    #[test]
    fn waits_are_spread_over_all_of_the_bound_and_the_bound_doubles() {
        let backoff = Backoff::new(&BackoffOptions::default());
        let mut rng = Rng::new(7);
        for (attempts, bound) in [(1, 10), (2, 20), (3, 40), (7, 640), (8, 1_000), (64, 1_000), (u32::MAX, 1_000)] {
            let waits: Vec<_> = (0..1_000).map(|_| backoff.delay(attempts, rng.next())).collect();
            let bound = Duration::from_millis(bound);
            assert!(waits.iter().all(|wait| *wait < bound), "attempt {attempts}");
            let mean = waits.iter().sum::<Duration>() / 1_000;
            assert!(mean > bound * 45 / 100 && mean < bound * 55 / 100, "attempt {attempts}: {mean:?}");
        }
    }
}
