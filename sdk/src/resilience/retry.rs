//! What follows a failed attempt.

use std::{fmt, time::Duration};

use super::{Backoff, BackoffOptions, Budget, Failure, Moment, RetryOptions};

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

/// Decides what follows a failed attempt, where that may be anything but an error.
///
/// Implemented by [`StandardRetry`], and by users: `Builder::retry_policy`. It is asked only when a repetition is safe
/// and there is time left: never after an answer, and after [`Failure::MaybeApplied`] only for idempotent calls. What it
/// owes beyond that is checked by `check_retry_policy` in `archipelago::testing` (feature `testing`).
///
/// ```
/// use archipelago::resilience::{Attempted, Budget, Moment, Next, RetryPolicy};
///
/// /// Every other node once, none twice.
/// #[derive(Debug)]
/// struct EachNodeOnce;
///
/// impl RetryPolicy for EachNodeOnce {
///     fn next(&self, attempted: &Attempted, budget: &Budget, now: Moment, _: u64) -> Next {
///         let may_go_on = attempted.has_next_node && attempted.attempts < 16;
///         if may_go_on && budget.withdraw_retry(now) { Next::NextNode } else { Next::ReturnError }
///     }
/// }
/// archipelago::testing::check_retry_policy(&EachNodeOnce);
/// ```
pub trait RetryPolicy: fmt::Debug + Send + Sync {
    /// What to do next. `random` is uniform over all of `u64`; there is no other source of chance, and no clock but
    /// `now`.
    fn next(&self, attempted: &Attempted, budget: &Budget, now: Moment, random: u64) -> Next;
}

/// The retry policy of the routed plane.
///
/// Where: the next node at once if there is one, otherwise the same node after a jittered wait that fits the deadline.
///
/// At what price: going on to the next node is free, and not counted, when the node certainly did nothing
/// ([`Failure::NotSent`], [`Failure::Refused`]); the plan's length bounds it. It is free, once for each call, when the
/// node was given up meanwhile (`is_stranded`): what is in flight then is all that there will be. Everything else takes
/// a token and counts towards `max_attempts`.
#[derive(Clone, Debug)]
pub struct StandardRetry {
    max_attempts: u32,
    backoff: Backoff,
}

impl StandardRetry {
    /// The policy with these options.
    #[must_use]
    pub fn new(options: &RetryOptions, backoff: &BackoffOptions) -> Self {
        Self { max_attempts: options.max_attempts, backoff: Backoff::new(backoff) }
    }
}

impl RetryPolicy for StandardRetry {
    fn next(&self, attempted: &Attempted, budget: &Budget, now: Moment, random: u64) -> Next {
        let did_nothing = matches!(attempted.failure, Failure::NotSent | Failure::Refused);
        if attempted.has_next_node && did_nothing {
            return Next::NextNode;
        }
        if attempted.attempts >= self.max_attempts {
            return Next::ReturnError;
        }
        if attempted.has_next_node {
            let is_free = attempted.is_stranded && attempted.attempts <= 1;
            return if is_free || budget.withdraw_retry(now) { Next::NextNode } else { Next::ReturnError };
        }
        let wait = self.backoff.delay(attempted.attempts, random);
        let is_worthwhile = wait < attempted.remaining && budget.withdraw_retry(now);
        if is_worthwhile { Next::SameNodeAfter(wait) } else { Next::ReturnError }
    }
}

/// What follows a failed attempt: the policy's word, within what is safe.
///
/// Whether a call *may* be repeated is no policy's business: the application's own error never; what was certainly not
/// applied always; what may have been applied only if twice is harmless. The plan decides which nodes may take a write.
#[must_use]
pub fn decide(policy: &dyn RetryPolicy, attempted: &Attempted, budget: &Budget, now: Moment, random: u64) -> Next {
    let may_repeat = match attempted.failure {
        Failure::Answered => false,
        Failure::NotSent | Failure::Refused => true,
        Failure::MaybeApplied => attempted.is_idempotent,
    };
    if !may_repeat || attempted.remaining.is_zero() {
        return Next::ReturnError;
    }
    match policy.next(attempted, budget, now, random) {
        Next::NextNode if !attempted.has_next_node => Next::ReturnError,
        Next::SameNodeAfter(wait) if wait >= attempted.remaining => Next::ReturnError,
        next @ (Next::NextNode | Next::SameNodeAfter(_) | Next::ReturnError) => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::BudgetOptions;

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
        let policy = StandardRetry::new(&RetryOptions::default(), &BackoffOptions::default());
        decide(&policy, attempted, budget, Moment::START, u64::MAX / 2)
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

    /// Repeats everything for ever, at once.
    #[derive(Debug)]
    struct Reckless;

    impl RetryPolicy for Reckless {
        fn next(&self, attempted: &Attempted, _: &Budget, _: Moment, _: u64) -> Next {
            if attempted.attempts.is_multiple_of(2) { Next::NextNode } else { Next::SameNodeAfter(Duration::MAX) }
        }
    }

    #[test]
    fn no_policy_repeats_what_must_not_be_repeated() {
        for (failure, is_idempotent) in [(Failure::Answered, true), (Failure::MaybeApplied, false)] {
            for attempts in [1, 2] {
                let call = Attempted { is_idempotent, attempts, ..attempted(failure) };
                assert_eq!(decide(&Reckless, &call, &full(), Moment::START, 0), Next::ReturnError, "{call:?}");
            }
        }
        let late = Attempted { attempts: 1, ..attempted(Failure::Refused) };
        assert_eq!(decide(&Reckless, &late, &full(), Moment::START, 0), Next::ReturnError, "past the deadline");
        let last = Attempted { attempts: 2, has_next_node: false, ..late };
        assert_eq!(decide(&Reckless, &last, &full(), Moment::START, 0), Next::ReturnError, "there is no next node");
    }
}
