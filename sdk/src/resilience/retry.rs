//! What follows a failed attempt.

use std::time::Duration;

use super::{Backoff, Budget, Failure, Moment, RetryOptions};

/// A failed attempt and its call, as far as the decision needs them.
#[derive(Clone, Copy, Debug)]
pub struct Attempted {
    /// What the attempt may have done.
    pub failure: Failure,
    /// Whether doing it twice is harmless: by the command table, or because the caller says so.
    pub is_idempotent: bool,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// The time left until the call's deadline.
    pub remaining: Duration,
    /// Whether the plan has another node that takes calls.
    pub has_next_node: bool,
    /// Whether the node's breaker has opened since the attempt began: the call was stranded there.
    pub is_stranded: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Give the error to the caller. After [`Failure::MaybeApplied`] it must say that the call may have been applied.
    ReturnError,
    /// Ask the next node of the plan, at once.
    NextNode,
    /// Ask the same node again after this long.
    SameNodeAfter(Duration),
}

/// Decides what follows a failed attempt.
///
/// Whether it *may* be repeated: the application's own error never; what was certainly not applied always; what may have
/// been applied only if twice is harmless. The plan decides which nodes may take a write; this only asks for the next.
///
/// Where: the next node at once if there is one, otherwise the same node after a jittered wait that fits the deadline.
///
/// At what price: going on to the next node is free, and not counted, when the node certainly did nothing
/// ([`Failure::NotSent`], [`Failure::Refused`]); the plan's length bounds it. It is free, once for each call, when the
/// node was given up meanwhile (`is_stranded`): what is in flight then is all that there will be. Everything else takes
/// a token and counts towards `max_attempts`.
///
/// `random` is uniform over all of `u64`.
#[must_use]
pub fn decide(
    attempted: &Attempted,
    options: &RetryOptions,
    backoff: &Backoff,
    budget: &Budget,
    now: Moment,
    random: u64,
) -> Next {
    let did_nothing = match attempted.failure {
        Failure::Answered => return Next::ReturnError,
        Failure::NotSent | Failure::Refused => true,
        Failure::MaybeApplied if attempted.is_idempotent => false,
        Failure::MaybeApplied => return Next::ReturnError,
    };
    if attempted.remaining.is_zero() {
        return Next::ReturnError;
    }
    if attempted.has_next_node && did_nothing {
        return Next::NextNode;
    }
    if attempted.attempts >= options.max_attempts {
        return Next::ReturnError;
    }
    if attempted.has_next_node {
        let is_free = attempted.is_stranded && attempted.attempts <= 1;
        return if is_free || budget.withdraw_retry(now) { Next::NextNode } else { Next::ReturnError };
    }
    let wait = backoff.delay(attempted.attempts, random);
    if wait < attempted.remaining && budget.withdraw_retry(now) { Next::SameNodeAfter(wait) } else { Next::ReturnError }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::{BackoffOptions, BudgetOptions};

    const FAILURES: [Failure; 4] = [Failure::NotSent, Failure::Refused, Failure::MaybeApplied, Failure::Answered];

    fn attempted(failure: Failure) -> Attempted {
        Attempted {
            failure,
            is_idempotent: true,
            attempts: 1,
            remaining: Duration::from_secs(1),
            has_next_node: true,
            is_stranded: false,
        }
    }

    fn empty() -> Budget {
        let options = BudgetOptions { capacity: 1, reserve_per_second: 0, ..BudgetOptions::default() };
        let budget = Budget::new(&options);
        assert!(budget.withdraw_retry(Moment::START));
        budget
    }

    fn after(attempted: &Attempted, budget: &Budget) -> Next {
        let backoff = Backoff::new(&BackoffOptions::default());
        decide(attempted, &RetryOptions::default(), &backoff, budget, Moment::START, u64::MAX / 2)
    }

    fn full() -> Budget {
        Budget::new(&BudgetOptions::default())
    }

    #[test]
    fn what_may_have_been_applied_is_repeated_only_if_twice_is_harmless() {
        for has_next_node in [false, true] {
            for is_stranded in [false, true] {
                let write =
                    Attempted { is_idempotent: false, has_next_node, is_stranded, ..attempted(Failure::MaybeApplied) };
                assert_eq!(after(&write, &full()), Next::ReturnError, "{write:?}");
                let idempotent = Attempted { is_idempotent: true, ..write };
                assert_ne!(after(&idempotent, &full()), Next::ReturnError, "{idempotent:?}");
            }
        }
    }

    #[test]
    fn what_was_certainly_not_applied_goes_on_for_free_whatever_it_is() {
        for failure in [Failure::NotSent, Failure::Refused] {
            let write = Attempted { is_idempotent: false, attempts: 50, ..attempted(failure) };
            assert_eq!(after(&write, &empty()), Next::NextNode, "{failure:?}");
        }
    }

    #[test]
    fn a_stranded_call_goes_on_for_free_but_once() {
        let stranded = Attempted { is_stranded: true, ..attempted(Failure::MaybeApplied) };
        assert_eq!(after(&stranded, &empty()), Next::NextNode);
        let again = Attempted { attempts: 2, ..stranded };
        assert_eq!(after(&again, &empty()), Next::ReturnError);
        assert_eq!(after(&attempted(Failure::MaybeApplied), &empty()), Next::ReturnError);
    }

    #[test]
    fn the_same_node_is_asked_again_only_for_a_token_and_within_the_deadline() {
        let alone = Attempted { has_next_node: false, ..attempted(Failure::Refused) };
        let budget = full();
        assert!(matches!(after(&alone, &budget), Next::SameNodeAfter(wait) if wait < Duration::from_millis(10)));
        assert_eq!(budget.retries_left(), 999);
        assert_eq!(after(&alone, &empty()), Next::ReturnError);
        let late = Attempted { remaining: Duration::from_millis(1), ..alone };
        assert_eq!(after(&late, &budget), Next::ReturnError);
        assert_eq!(budget.retries_left(), 999, "a retry that is not made costs nothing");
        let often = Attempted { attempts: 4, ..alone };
        assert_eq!(after(&often, &budget), Next::ReturnError);
    }

    #[test]
    fn nothing_follows_an_answer_or_the_deadline() {
        assert_eq!(after(&attempted(Failure::Answered), &full()), Next::ReturnError);
        for failure in FAILURES {
            let late = Attempted { remaining: Duration::ZERO, ..attempted(failure) };
            assert_eq!(after(&late, &full()), Next::ReturnError, "{failure:?}");
        }
    }
}
