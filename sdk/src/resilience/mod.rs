//! What a routed client does about nodes that fail: pure policies, driven by a clock that is passed in.
//!
//! | policy | decides |
//! |---|---|
//! | [`Breaker`] | whether a node gets calls at all |
//! | [`Latency`] | how long an attempt may take, and when to hedge it |
//! | [`Budget`] | how much extra load retries and hedges may make |
//! | [`Backoff`] | how long to wait before the same node is tried again |
//! | [`Diagnosis`] | what a failed attempt means: was it applied, who is to blame |
//! | [`decide`] | what follows a failed attempt |
//! | [`Selector`] | which region takes the writes |
//!
//! None of them does I/O, sleeps, reads a clock or draws a random number. The hot path of a healthy node takes no lock.
//! [`ResilienceOptions`] holds every default, and [`ResilienceOptions::table`] prints them.
//!
//! ```
//! use std::time::Duration;
//! use archipelago::resilience::{Admission, Breaker, Moment, Outcome, ResilienceOptions};
//!
//! let options = ResilienceOptions::default();
//! let breaker = Breaker::new(&options.breaker);
//! let mut now = Moment::START;
//! // Four failed calls in a row, 100 ms apart, take a node out of rotation.
//! for _ in 0..4 {
//!     now = now.after(Duration::from_millis(100));
//!     let Admission::Allowed(ticket) = breaker.admit(now) else { unreachable!("still closed") };
//!     breaker.record(ticket, now, Outcome::Failure);
//! }
//! assert!(matches!(breaker.admit(now), Admission::Rejected { .. }));
//! // Later one call at a time finds out whether it is back.
//! now = now.after(options.breaker.open);
//! assert!(matches!(breaker.admit(now), Admission::Probe(_)));
//! ```

mod backoff;
mod breaker;
mod budget;
mod failure;
mod latency;
mod moment;
mod options;
mod retry;
mod selector;
#[cfg(test)]
mod simulation;

pub use backoff::Backoff;
pub use breaker::{Admission, Breaker, BreakerState, Outcome, Ticket, Transition};
pub use budget::Budget;
pub(crate) use failure::BEHIND;
pub use failure::{Blame, Diagnosis, Failure};
pub use latency::Latency;
pub use moment::Moment;
pub use options::{
    BackoffOptions, BreakerOptions, BudgetOptions, LatencyOptions, OptionRow, ResilienceOptions, RetryOptions,
    SelectorOptions,
};
pub use retry::{Attempted, Next, RetryPolicy, StandardRetry, decide};
pub use selector::{Reason, Refusal, RegionHealth, Selector, Switch};
