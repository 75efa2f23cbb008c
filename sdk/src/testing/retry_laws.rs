//! What every retry policy owes, as a check over failed attempts.

use std::time::Duration;

use crate::resilience::{Attempted, Budget, BudgetOptions, Failure, Moment, Next, RetryPolicy};

/// Attempts after which every policy must have given up.
const MANY: u32 = 1_000;

/// Checks what every retry policy owes, for every kind of failed attempt that it may be asked about:
///
/// - equal inputs give equal answers;
/// - it sends nobody to a next node that is not there, and waits for nothing behind the deadline;
/// - what may have been applied, or is asked of the same node again, is repeated for a token only: with an empty budget
///   not at all, but for the first attempt of a call whose node was given up meanwhile;
/// - it gives up: a call that always fails with the node's work possibly done ends.
///
/// # Panics
/// On the first promise broken, with the policy and the attempt.
pub fn check_retry_policy(policy: &dyn RetryPolicy) {
    for attempted in attempts() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            let ask = |budget: &Budget| policy.next(&attempted, budget, Moment::START, random);
            let (next, again) = (ask(&full()), ask(&full()));
            assert_eq!(next, again, "{policy:?} is not deterministic: {attempted:?}");
            match next {
                Next::NextNode => assert!(attempted.has_next_node, "{policy:?} goes nowhere: {attempted:?}"),
                Next::SameNodeAfter(wait) => {
                    assert!(wait < attempted.remaining, "{policy:?} waits past the deadline: {attempted:?}");
                }
                Next::ReturnError => {}
            }
            let may_be_free = match ask(&empty()) {
                Next::ReturnError => true,
                Next::SameNodeAfter(_) => false,
                Next::NextNode => match attempted.failure {
                    Failure::NotSent | Failure::Refused => true,
                    Failure::MaybeApplied | Failure::Answered => attempted.is_stranded && attempted.attempts <= 1,
                },
            };
            assert!(may_be_free, "{policy:?} repeats without a token: {attempted:?}");
            if attempted.attempts >= MANY && attempted.failure == Failure::MaybeApplied {
                assert_eq!(next, Next::ReturnError, "{policy:?} never gives up: {attempted:?}");
            }
        }
    }
}

/// Every kind of failed attempt of which a repetition is safe.
fn attempts() -> impl Iterator<Item = Attempted> {
    let failures = [(Failure::NotSent, false), (Failure::Refused, false), (Failure::MaybeApplied, true)];
    let remaining = [1, 50, 1_000_000].map(Duration::from_millis);
    failures.into_iter().flat_map(move |(failure, is_idempotent)| {
        remaining.into_iter().flat_map(move |remaining| {
            [1, 2, 3, 10, MANY].into_iter().flat_map(move |attempts| {
                [(false, false), (false, true), (true, false), (true, true)].map(|(has_next_node, is_stranded)| {
                    Attempted { failure, is_idempotent, attempts, remaining, has_next_node, is_stranded }
                })
            })
        })
    })
}

fn full() -> Budget {
    Budget::new(&BudgetOptions::default())
}

fn empty() -> Budget {
    let options = BudgetOptions { capacity: 1, reserve_per_second: 0, ..BudgetOptions::default() };
    let budget = Budget::new(&options);
    let _ = budget.withdraw_retry(Moment::START);
    budget
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::{BackoffOptions, RetryOptions, StandardRetry};

    #[test]
    fn the_shipped_policy_keeps_every_promise() {
        check_retry_policy(&StandardRetry::new(&RetryOptions::default(), &BackoffOptions::default()));
    }

    /// Breaks one promise.
    #[derive(Debug)]
    struct Broken(fn(&Attempted, &Budget, u64) -> Next);

    impl RetryPolicy for Broken {
        fn next(&self, attempted: &Attempted, budget: &Budget, _: Moment, random: u64) -> Next {
            (self.0)(attempted, budget, random)
        }
    }

    #[test]
    fn every_broken_promise_is_caught() {
        let broken: [fn(&Attempted, &Budget, u64) -> Next; 4] = [
            |_, _, _| Next::NextNode,
            |attempted, budget, _| {
                let pays = budget.withdraw_retry(Moment::START);
                if pays { Next::SameNodeAfter(attempted.remaining) } else { Next::ReturnError }
            },
            |attempted, _, _| if attempted.has_next_node { Next::NextNode } else { Next::ReturnError },
            |attempted, budget, _| {
                let goes_on = attempted.has_next_node && budget.withdraw_retry(Moment::START);
                if goes_on { Next::NextNode } else { Next::ReturnError }
            },
        ];
        for policy in broken {
            let caught = std::panic::catch_unwind(|| check_retry_policy(&Broken(policy)));
            assert!(caught.is_err());
        }
    }
}
