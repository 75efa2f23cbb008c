//! A circuit breaker per node: opens on what calls report, lets probes through, closes again.

mod streak;
#[cfg(test)]
mod tests;
mod window;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use self::{
    streak::Streak,
    window::{Sort, Window},
};
use super::{BreakerOptions, Moment};

/// Whether a node gets calls, by what earlier calls reported.
///
/// *Closed*: every call is let through. It opens on failures in a row, so that a client with ten calls a second notices
/// too (a failure counts there if the node answered nobody meanwhile), and on the share of failed or of slow calls in a sliding window. *Open*: no call is let through until a delay
/// has passed; the delay doubles up to a cap each time it is in vain. *Half-open*: a few calls at a time go through as
/// probes; enough successes close it, one failure opens it again.
///
/// A call's outcome counts only in the generation that admitted it: whatever a call from before the last change reports
/// changes nothing. Each change of state begins a generation.
///
/// A clone is a second handle on the same breaker. Admitting and recording while closed takes a few atomic operations
/// and no lock; the other states, and changes, take a short lock.
///
/// Not promised: exactness of the rates beyond a tenth of the window. After the pattern in Nygard, *Release It!*, 2007.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

/// What happened to an admitted call, as far as the node's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node answered in good time; the application's own error is an answer too.
    Success,
    /// The node answered late: see [`Latency::is_slow`](super::Latency::is_slow).
    Slow,
    /// No connection, no answer in time, or an answer for which the node is to blame.
    Failure,
    /// Nothing learnt: cancelled, or never sent for a reason of our own. The same as dropping the ticket.
    Ignored,
}

/// The answer to [`Breaker::admit`].
#[derive(Debug)]
pub enum Admission {
    /// Send the call.
    Allowed(Ticket),
    /// Send the call; it decides whether the node is back. Give it up by dropping the ticket.
    Probe(Ticket),
    /// Do not send.
    Rejected {
        /// When to ask again: no call will be let through before, unless the breaker is closed by hand.
        retry_at: Moment,
    },
}

/// The right to send one call, to be given back with [`Breaker::record`] to the breaker that issued it.
///
/// Dropping it instead (a cancelled call) counts as [`Outcome::Ignored`]; a probe's place is free again at once.
#[derive(Debug)]
#[must_use = "a ticket that is not recorded teaches the breaker nothing"]
pub struct Ticket {
    generation: u64,
    admitted: Moment,
    probe: Option<Probe>,
}

/// A place among the half-open probes, free again when dropped.
///
/// Only probes hold the breaker: the tickets of a healthy node cost no reference count.
struct Probe {
    shared: Arc<Shared>,
    generation: u64,
}

/// A change of state that [`Breaker::record`] caused; for logs, metrics and replacing connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The node gets no calls until then.
    Opened {
        /// When the first probe may go out.
        until: Moment,
    },
    /// The node is back.
    Closed,
}

/// The state, for reports; decide with [`Breaker::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// No call goes through before `until`.
    Open {
        /// When the first probe may go out.
        until: Moment,
    },
    /// Probes go through.
    HalfOpen,
}

struct Shared {
    options: BreakerOptions,
    /// The generation while closed, otherwise [`NOT_CLOSED`]. All the hot path looks at.
    closed: AtomicU64,
    /// While open, when that ends; otherwise 0. A hint that spares rejected calls the lock.
    open_until: AtomicU64,
    streak: Streak,
    window: Window,
    state: Mutex<State>,
}

const NOT_CLOSED: u64 = 0;

struct State {
    generation: u64,
    phase: Phase,
    /// Openings since the node was last well for longer than the longest opening: the exponent of the delay.
    openings: u32,
    closed_at: Moment,
}

enum Phase {
    Closed,
    Open { until: Moment },
    HalfOpen { in_flight: u32, successes: u32 },
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(options: &BreakerOptions) -> Self {
        let generation = NOT_CLOSED + 1;
        Self {
            shared: Arc::new(Shared {
                options: options.clone(),
                closed: AtomicU64::new(generation),
                open_until: AtomicU64::new(0),
                streak: Streak::new(options.burst),
                window: Window::new(options.window),
                state: Mutex::new(State { generation, phase: Phase::Closed, openings: 0, closed_at: Moment::START }),
            }),
        }
    }

    /// Whether a call may be sent now.
    #[must_use]
    pub fn admit(&self, now: Moment) -> Admission {
        let generation = self.shared.closed.load(Ordering::Acquire);
        if generation != NOT_CLOSED {
            return Admission::Allowed(Ticket { generation, admitted: now, probe: None });
        }
        let open_until = Moment::from_micros(self.shared.open_until.load(Ordering::Acquire));
        if now < open_until {
            return Admission::Rejected { retry_at: open_until };
        }
        self.admit_probe(now)
    }

    fn admit_probe(&self, now: Moment) -> Admission {
        let shared = &self.shared;
        let mut state = shared.lock();
        if let Phase::Open { until } = state.phase
            && now >= until
        {
            state.begin(Phase::HalfOpen { in_flight: 0, successes: 0 });
            shared.open_until.store(0, Ordering::Release);
        }
        let generation = state.generation;
        match &mut state.phase {
            // Closed by another thread meanwhile.
            Phase::Closed => Admission::Allowed(Ticket { generation, admitted: now, probe: None }),
            Phase::Open { until } => Admission::Rejected { retry_at: *until },
            Phase::HalfOpen { in_flight, .. } if *in_flight < shared.options.probes => {
                *in_flight += 1;
                let probe = Probe { shared: Arc::clone(shared), generation };
                Admission::Probe(Ticket { generation, admitted: now, probe: Some(probe) })
            }
            // The probes are out; any of them may end at any time.
            Phase::HalfOpen { .. } => Admission::Rejected { retry_at: now },
        }
    }

    /// Takes a ticket back with what became of its call. Says when that changed the breaker's state.
    pub fn record(&self, ticket: Ticket, now: Moment, outcome: Outcome) -> Option<Transition> {
        match ticket.probe {
            Some(probe) => probe.record(now, outcome),
            None => self.shared.record(ticket.generation, ticket.admitted, now, outcome),
        }
    }

    /// Closes the breaker: somebody knows that the node is well, by a probe of their own or by decree.
    ///
    /// Forgets the failures so far and the delays; what calls in flight report is not counted. Without effect when closed.
    pub fn close(&self, now: Moment) -> Option<Transition> {
        let mut state = self.shared.lock();
        match state.phase {
            Phase::Closed => None,
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                state.openings = 0;
                Some(self.shared.close(&mut state, now))
            }
        }
    }

    /// Opens the breaker: somebody knows that the node is gone.
    ///
    /// Without effect when it is not closed: a probe is on its way, and the delay must not be drawn out.
    pub fn open(&self, now: Moment) -> Option<Transition> {
        let mut state = self.shared.lock();
        match state.phase {
            Phase::Closed => Some(self.shared.open(&mut state, now)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.shared.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } => BreakerState::Open { until },
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether calls go through without being probes. As cheap as [`Breaker::admit`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) != NOT_CLOSED
    }
}

impl Shared {
    /// Counts the outcome of a call that was admitted while closed.
    fn record(&self, generation: u64, admitted: Moment, now: Moment, outcome: Outcome) -> Option<Transition> {
        if generation != self.closed.load(Ordering::Acquire) {
            return None;
        }
        let is_over = match outcome {
            Outcome::Ignored => return None,
            Outcome::Success => {
                self.streak.end(now);
                self.window.add(now, Sort::Success);
                return None;
            }
            Outcome::Slow => {
                // It neither ends a streak nor lengthens it: a node on its way down answers late first.
                self.window.add(now, Sort::Slow);
                self.window.is_over(now, Sort::Slow, self.options.slow_rate, self.options.minimum_calls)
            }
            Outcome::Failure => {
                self.window.add(now, Sort::Failure);
                let are_many = self.window.are_many(now, Sort::Failure, self.options.minimum_calls);
                self.streak.lengthen(generation, admitted, now, are_many) >= self.options.consecutive_failures
                    || self.window.is_over(now, Sort::Failure, self.options.failure_rate, self.options.minimum_calls)
            }
        };
        if !is_over {
            return None;
        }
        let mut state = self.lock();
        // Another thread may have been first.
        (state.generation == generation).then(|| self.open(&mut state, now))
    }

    fn open(&self, state: &mut State, now: Moment) -> Transition {
        if matches!(state.phase, Phase::Closed) && now.since(state.closed_at) > self.options.open_max {
            state.openings = 0;
        }
        let until = now.after(self.delay(state.openings));
        state.openings = state.openings.saturating_add(1);
        state.begin(Phase::Open { until });
        // In this order: whoever sees that it is not closed sees until when.
        self.open_until.store(until.as_micros(), Ordering::Release);
        self.closed.store(NOT_CLOSED, Ordering::Release);
        Transition::Opened { until }
    }

    fn close(&self, state: &mut State, now: Moment) -> Transition {
        state.begin(Phase::Closed);
        state.closed_at = now;
        self.window.clear();
        self.open_until.store(0, Ordering::Release);
        self.closed.store(state.generation, Ordering::Release);
        Transition::Closed
    }

    fn delay(&self, openings: u32) -> Duration {
        let doubled = 1_u32.checked_shl(openings).unwrap_or(u32::MAX);
        self.options.open.saturating_mul(doubled).min(self.options.open_max)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; if something did, the state is still one that was assigned whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, phase: Phase) {
        self.generation = self.generation.wrapping_add(1).max(NOT_CLOSED + 1);
        self.phase = phase;
    }
}

impl Probe {
    /// Counts a probe's outcome. Its place is given back when `self` goes, after the lock.
    fn record(self, now: Moment, outcome: Outcome) -> Option<Transition> {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.generation != self.generation {
            return None;
        }
        let Phase::HalfOpen { successes, .. } = &mut state.phase else { return None };
        match outcome {
            Outcome::Ignored => None,
            Outcome::Success => {
                *successes += 1;
                let is_enough = *successes >= shared.options.probe_successes;
                is_enough.then(|| shared.close(&mut state, now))
            }
            // A node that was taken out for being slow has to show that it no longer is.
            Outcome::Slow | Outcome::Failure => Some(shared.open(&mut state, now)),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.generation == self.generation
            && let Phase::HalfOpen { in_flight, .. } = &mut state.phase
        {
            *in_flight = in_flight.saturating_sub(1);
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}
