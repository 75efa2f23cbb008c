//! How much extra load retries and hedges may make.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{BudgetOptions, Moment};

/// A token bucket: each call pays in a fraction of a token, each retry and each hedge takes one out.
///
/// The rule:
///
/// - A retry takes a token. Over any time the retries are at most the capacity, plus `retry_share` of the calls, plus
///   `reserve_per_second`: a region that answers badly gets little more load than before. The reserve keeps a retry
///   possible for a client of ten calls a second.
/// - A hedge takes a token, and one of a second bucket that `hedge_share` of the calls fills: hedges are at most 5 % of
///   the calls by default, plus ten. When half of the tokens are gone, hedges stop and leave the rest to retries.
/// - Some failovers are free, see [`decide`](super::decide): to another node, when the first one certainly did no work
///   or has been given up meanwhile. When a region dies under 5,000 calls a second every call in flight needs one; the
///   load is only moved, and denying it would turn a dead region into failed calls.
///
/// It starts full: a client that starts during an outage must be able to fail over. The shape is gRPC's retry throttling
/// (proposal A6) and MongoDB's. All operations are a few atomics.
#[derive(Debug)]
pub struct Budget {
    options: BudgetOptions,
    tokens: Bucket,
    hedges: Bucket,
    refilled_at: AtomicU64,
}

/// Thousandths of a token.
const TOKEN: u64 = 1_000;

impl Budget {
    /// A full budget.
    #[must_use]
    pub fn new(options: &BudgetOptions) -> Self {
        Self {
            tokens: Bucket::full(options.capacity),
            hedges: Bucket::full(options.hedge_capacity),
            refilled_at: AtomicU64::new(0),
            options: options.clone(),
        }
    }

    /// Pays in for a call. Once for each call, not for its retries and hedges.
    pub fn deposit(&self) {
        self.tokens.put(share(self.options.retry_share));
        self.hedges.put(share(self.options.hedge_share));
    }

    /// Whether a retry may be made; takes its token if so.
    #[must_use]
    pub fn withdraw_retry(&self, now: Moment) -> bool {
        self.refill(now);
        self.tokens.take()
    }

    /// Whether a hedge may be made; takes its tokens if so.
    #[must_use]
    pub fn withdraw_hedge(&self) -> bool {
        let is_scarce = self.tokens.load() < u64::from(self.options.capacity) * TOKEN / 2;
        !is_scarce && self.hedges.take() && self.tokens.take()
    }

    /// Whole retries that are possible now; for metrics.
    #[must_use]
    pub fn retries_left(&self) -> u64 {
        self.tokens.load() / TOKEN
    }

    /// Pays in the reserve for the time that has passed. Only those who need a token look at the clock.
    fn refill(&self, now: Moment) {
        let at = self.refilled_at.load(Ordering::Relaxed);
        let elapsed = u128::from(now.as_micros().saturating_sub(at));
        let owed = elapsed * u128::from(self.options.reserve_per_second) * u128::from(TOKEN) / 1_000_000;
        if owed == 0 {
            return; // too early; the time goes on counting
        }
        if self.refilled_at.compare_exchange(at, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.tokens.put(u64::try_from(owed).unwrap_or(u64::MAX));
        }
    }
}

fn share(share: f64) -> u64 {
    (share * TOKEN as f64).round() as u64
}

#[derive(Debug)]
struct Bucket {
    capacity: u64,
    level: AtomicU64,
}

impl Bucket {
    fn full(capacity: u32) -> Self {
        let capacity = u64::from(capacity) * TOKEN;
        Self { capacity, level: AtomicU64::new(capacity) }
    }

    fn load(&self) -> u64 {
        self.level.load(Ordering::Relaxed)
    }

    /// Costs one load when full, as it is nearly always.
    fn put(&self, amount: u64) {
        let step = |level: u64| (level < self.capacity).then(|| level.saturating_add(amount).min(self.capacity));
        let _unchanged_when_full = self.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    fn take(&self) -> bool {
        self.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| level.checked_sub(TOKEN)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_idle_client_can_always_retry_a_little() {
        let budget = Budget::new(&BudgetOptions::default());
        let mut now = Moment::START;
        while budget.withdraw_retry(now) {}
        for _ in 0..100 {
            now = Moment::from_micros(now.as_micros() + 100_000);
            assert!(budget.withdraw_retry(now), "ten calls a second, each retried once");
            assert!(!budget.withdraw_retry(now), "and no second retry");
        }
    }

    #[test]
    fn scarce_tokens_go_to_retries() {
        let budget = Budget::new(&BudgetOptions { capacity: 4, reserve_per_second: 0, ..BudgetOptions::default() });
        assert!(budget.withdraw_hedge() && budget.withdraw_hedge() && budget.withdraw_hedge());
        assert!(!budget.withdraw_hedge(), "less than half is left");
        assert!(budget.withdraw_retry(Moment::START) && !budget.withdraw_retry(Moment::START));
    }

    #[test]
    fn hedges_are_one_in_twenty_calls_when_all_want_one() {
        let budget = Budget::new(&BudgetOptions { retry_share: 1.0, ..BudgetOptions::default() });
        let wanted = (0..10_000).filter(|_| {
            budget.deposit();
            budget.withdraw_hedge()
        });
        let hedges = wanted.count();
        assert!((500..=510).contains(&hedges), "{hedges}");
    }

    #[test]
    fn threads_take_no_token_twice() {
        let options = BudgetOptions { capacity: 1_000, reserve_per_second: 0, ..BudgetOptions::default() };
        let budget = Budget::new(&options);
        let taken = || (0..1_000).filter(|_| budget.withdraw_retry(Moment::START)).count();
        let sum: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(taken)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
        });
        assert_eq!(sum, 1_000);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Call,
        Retry,
        Hedge,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Call),
            Just(Step::Retry),
            Just(Step::Retry),
            Just(Step::Hedge),
            (0_u64..50_000).prop_map(Step::Wait)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_extra_load_is_bounded_whatever_happens(steps in prop::collection::vec(step(), 0..2_000)) {
            let options = BudgetOptions { capacity: 20, ..BudgetOptions::default() };
            let budget = Budget::new(&options);
            let (mut now, mut calls, mut retries, mut hedges) = (0_u64, 0_u32, 0_u32, 0_u32);
            for step in steps {
                match step {
                    Step::Call => { budget.deposit(); calls += 1; }
                    Step::Retry => retries += u32::from(budget.withdraw_retry(Moment::from_micros(now))),
                    Step::Hedge => hedges += u32::from(budget.withdraw_hedge()),
                    Step::Wait(micros) => now += micros,
                }
                let (calls, seconds) = (f64::from(calls), now as f64 / 1e6);
                prop_assert!(f64::from(hedges) <= 10.0 + 0.05 * calls + 1e-9);
                prop_assert!(f64::from(retries + hedges) <= 20.0 + 0.1 * calls + 10.0 * seconds + 1e-9);
            }
        }
    }
}
