//! How long a node takes: what an attempt may take, when to hedge it, and what counts as slow.

mod buckets;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use self::buckets::Buckets;
use super::{LatencyOptions, Moment, moment::micros};

/// Answers below which the assumed latency still speaks.
const COLD: u64 = 10;
/// How often the quantiles are taken anew, in microseconds. A scan costs a few hundred nanoseconds, a call must not.
const REFRESH_MICROS: u64 = 50_000;

/// The latencies of one node's answers, remembered with a half-life.
///
/// Feed it answers only: each call's and each health probe's, never the time after which an attempt was given up. That
/// says nothing about how long the node would have taken, and recording it would make a dead node's callers more and
/// more patient. The probes matter: with their longer timeout they are the only way to learn that a node is slower than
/// attempts are patient.
///
/// Quantiles come from log-linear buckets of 6 % width and are refreshed every 50 ms. Recording takes three atomic
/// additions, asking takes one load.
#[derive(Debug)]
pub struct Latency {
    options: LatencyOptions,
    buckets: Buckets,
    mean: Mean,
    attempt_timeout: AtomicU64,
    hedge_delay: AtomicU64,
    refresh_at: AtomicU64,
}

impl Latency {
    /// Nothing seen yet: the assumed latency speaks.
    #[must_use]
    pub fn new(options: &LatencyOptions) -> Self {
        let latency = Self {
            options: options.clone(),
            buckets: Buckets::new(micros(options.half_life)),
            mean: Mean::new(options.half_life / 4),
            attempt_timeout: AtomicU64::new(0),
            hedge_delay: AtomicU64::new(0),
            refresh_at: AtomicU64::new(0),
        };
        latency.refresh();
        latency
    }

    /// An answer took this long.
    pub fn record(&self, now: Moment, latency: Duration) {
        let latency = micros(latency);
        self.buckets.add(now, latency);
        self.mean.add(now, latency);
        let due = self.refresh_at.load(Ordering::Relaxed);
        let next = now.as_micros().saturating_add(REFRESH_MICROS);
        let is_cold = self.buckets.count() <= COLD;
        // One thread refreshes.
        let mine = || self.refresh_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_cold || now.as_micros() >= due && mine() {
            self.refresh();
        }
    }

    /// How long an attempt may take if another node can be asked instead.
    ///
    /// A multiple of the 95th percentile between a floor and a cap, but at least twice the median: a node at the other
    /// end of the world is slow, not dead. The 99th percentile would not do: with one slow call in a hundred it jumps
    /// between the usual latency and the slow one.
    ///
    /// Not for a call that cannot be repeated: cut short it is only maybe applied, and that costs the caller more than
    /// waiting. Such a call gets its whole deadline.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_micros(self.attempt_timeout.load(Ordering::Relaxed))
    }

    /// How long an attempt may take if the node that can be asked instead is a last resort: at least the cap.
    ///
    /// Its answer is worse than a late one, so that being a little slow is no reason to go there.
    #[must_use]
    pub fn patient_timeout(&self) -> Duration {
        self.attempt_timeout().max(self.options.timeout_cap)
    }

    /// How long to wait for an answer before a hedge goes out: the 95th percentile, at least a floor.
    #[must_use]
    pub fn hedge_delay(&self) -> Duration {
        Duration::from_micros(self.hedge_delay.load(Ordering::Relaxed))
    }

    /// The mean, with recent answers counting most; the assumed latency before the first. To choose the nearest node by.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.mean.get().unwrap_or(self.options.initial)
    }

    /// The mean, if there was an answer.
    #[must_use]
    pub fn measured(&self) -> Option<Duration> {
        self.mean.get()
    }

    /// Whether an answer that took this long is [`Outcome::Slow`](super::Outcome::Slow): longer than an attempt may take.
    ///
    /// Relative on purpose: a fixed bound would take a distant node out of rotation for being distant.
    #[must_use]
    pub fn is_slow(&self, latency: Duration) -> bool {
        latency > self.attempt_timeout()
    }

    fn refresh(&self) {
        let [mut median, mut high] = self.buckets.quantiles([0.5, 0.95]);
        if self.buckets.count() < COLD {
            let initial = micros(self.options.initial);
            // One answer may lower what is assumed as little as it may prove it wrong.
            median = if median == 0 { initial } else { median };
            high = high.max(initial);
        }
        let (floor, cap) = (micros(self.options.timeout_floor), micros(self.options.timeout_cap));
        let wanted = (high as f64 * self.options.timeout_factor) as u64;
        let timeout = wanted.max(floor).min(cap).max(median.saturating_mul(2));
        self.attempt_timeout.store(timeout, Ordering::Relaxed);
        self.hedge_delay.store(high.max(micros(self.options.hedge_floor)), Ordering::Relaxed);
    }
}

/// An exponentially weighted mean whose weights follow time, not the number of calls.
///
/// A fixed weight per call would make it jumpy on a busy client and stale on an idle one.
#[derive(Debug)]
struct Mean {
    half_life_ms: f64,
    /// The mean (`f32` of microseconds, upper half) and when it was taken (milliseconds, lower half).
    word: AtomicU64,
}

impl Mean {
    const UNSET: u64 = u64::MAX; // as a mean: not a number

    fn new(half_life: Duration) -> Self {
        Self { half_life_ms: half_life.as_secs_f64() * 1e3, word: AtomicU64::new(Self::UNSET) }
    }

    fn add(&self, now: Moment, latency: u64) {
        let now = (now.as_micros() / 1_000) as u32; // wraps after 49 days, and so do the differences
        let step = |word: u64| {
            if word == Self::UNSET {
                return Some(pack(latency as f64, now));
            }
            let (mean, taken) = unpack(word);
            let elapsed = now.wrapping_sub(taken);
            // Answers within one millisecond count once. The upper half is a thread that lags behind.
            if elapsed == 0 || elapsed > u32::MAX / 2 {
                return None;
            }
            let keep = (-f64::from(elapsed) / self.half_life_ms).exp2();
            Some(pack(mean * keep + latency as f64 * (1.0 - keep), now))
        };
        let _none_within_a_millisecond = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    fn get(&self) -> Option<Duration> {
        let word = self.word.load(Ordering::Relaxed);
        (word != Self::UNSET).then(|| Duration::from_micros(unpack(word).0 as u64))
    }
}

const fn pack(mean: f64, taken: u32) -> u64 {
    ((mean as f32).to_bits() as u64) << 32 | taken as u64
}

const fn unpack(word: u64) -> (f64, u32) {
    (f32::from_bits((word >> 32) as u32) as f64, word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::simulation::Rng;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A node seen for `seconds` at `rate` answers a second, with these latencies.
    fn seen(rate: u64, seconds: u64, mut latency: impl FnMut(u64) -> Duration) -> (Latency, Moment) {
        let seen = Latency::new(&LatencyOptions::default());
        let mut now = Moment::START;
        for i in 0..rate * seconds {
            now = Moment::from_micros(i * 1_000_000 / rate);
            seen.record(now, latency(i));
        }
        (seen, now)
    }

    #[test]
    fn before_the_first_answer_an_attempt_is_neither_hasty_nor_longer_than_the_cap() {
        let latency = Latency::new(&LatencyOptions::default());
        assert_eq!(latency.attempt_timeout(), ms(240));
        assert_eq!(latency.hedge_delay(), ms(60));
        assert_eq!(latency.mean(), ms(60));
    }

    #[test]
    fn a_near_node_gets_the_floor_and_a_far_one_twice_its_median() {
        let (near, _) = seen(1_000, 5, |_| Duration::from_micros(300));
        assert_eq!((near.attempt_timeout(), near.patient_timeout()), (ms(100), ms(250)));
        assert_eq!(near.hedge_delay(), ms(10));
        let (far, _) = seen(100, 5, |_| ms(300));
        assert_eq!(far.patient_timeout(), far.attempt_timeout());
        assert!(far.attempt_timeout() > ms(560) && far.attempt_timeout() < ms(640), "{far:?}");
        assert!(!far.is_slow(ms(310)));
    }

    #[test]
    fn one_slow_answer_in_a_hundred_changes_no_timeout() {
        let mut rng = Rng::new(3);
        for rate in [10, 5_000] {
            let (latency, _) = seen(rate, 10, |i| if i % 100 == 99 { ms(400) } else { ms(rng.below(40)) });
            let timeout = latency.attempt_timeout();
            assert!(timeout >= ms(100) && timeout <= ms(190), "at {rate}: {timeout:?}");
            assert!(latency.is_slow(ms(400)));
        }
    }

    #[test]
    fn a_node_that_becomes_slower_for_good_is_learnt_from_its_probes_alone() {
        let (latency, mut now) = seen(5_000, 30, |_| ms(20));
        for _ in 0..120 {
            now = now.after(ms(1_000));
            latency.record(now, ms(300));
        }
        assert!(latency.attempt_timeout() > ms(500), "{:?}", latency.attempt_timeout());
        assert!(latency.mean() > ms(290), "{:?}", latency.mean());
    }

    #[test]
    fn the_mean_follows_time_and_not_the_number_of_calls() {
        for rate in [10, 5_000] {
            // Half of a step is seen after a half-life, whatever the rate.
            let (latency, _) = seen(rate, 60, |i| if i < rate * 60 - rate * 5 / 4 { ms(20) } else { ms(40) });
            let mean = latency.mean();
            assert!(mean > ms(29) && mean < ms(31), "at {rate}: {mean:?}");
        }
    }

    #[test]
    fn threads_record_without_losing_count() {
        let latency = Latency::new(&LatencyOptions::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|i| latency.record(Moment::from_micros(i), ms(20))));
            }
        });
        assert_eq!(latency.buckets.count(), 4_000);
    }
}
