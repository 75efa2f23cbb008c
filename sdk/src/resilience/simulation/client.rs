//! The client: reads that go to the first node of two that takes them, joined from the policies as the real one is.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use super::{
    Rng,
    world::{Ending, World},
};
use crate::resilience::{
    Admission, Attempted, Blame, Breaker, Budget, Diagnosis, Latency, Moment, Next, Outcome, ResilienceOptions,
    StandardRetry, Ticket, Transition, decide,
};

/// A mistake in the way the client joins the policies, to show that the promises notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Timeouts are not held against the node.
    ForgivesTimeouts,
    /// An attempt that is given up is recorded as if it had been answered.
    LearnsFromTimeouts,
    /// A call that was in flight when its node was given up has to pay for its failover.
    StrandedPay,
    /// The budget is not asked.
    IgnoresBudget,
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) world: World,
    pub(super) options: ResilienceOptions,
    pub(super) bug: Bug,
    /// Calls a second.
    pub(super) rate: u64,
    /// Whether each call waits for the one before.
    pub(super) is_sequential: bool,
    pub(super) length: Duration,
}

/// A finished call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) begun: Moment,
    /// What it took beyond the attempt that was answered.
    pub(super) excess: Duration,
    pub(super) is_answered: bool,
}

/// What a run left behind.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) done: Vec<Done>,
    pub(super) opened: Vec<(usize, Moment)>,
    pub(super) closed: Vec<(usize, Moment)>,
    /// When the first node got calls that are not probes.
    pub(super) allowed_on_first: Vec<Moment>,
    pub(super) attempts: u64,
}

struct Node {
    breaker: Breaker,
    latency: Latency,
}

struct Call {
    begun: Moment,
    sent: Moment,
    node: usize,
    attempts: u32,
    ticket: Option<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Retry(u64),
    End(u64),
}

struct Client<'s> {
    setup: &'s Setup,
    nodes: [Node; 2],
    budget: Budget,
    retry: StandardRetry,
    rng: Rng,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    calls: BTreeMap<u64, Call>,
    endings: BTreeMap<u64, Result<(), Diagnosis>>,
    next_id: u64,
    next_arrival: Moment,
    report: Report,
}

const DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn run(setup: &Setup) -> Report {
    let options = &setup.options;
    let node = || Node { breaker: Breaker::new(&options.breaker), latency: Latency::new(&options.latency) };
    let mut client = Client {
        nodes: [node(), node()],
        budget: Budget::new(&options.budget),
        retry: StandardRetry::new(&options.retry, &options.backoff),
        rng: Rng::new(setup.seed),
        events: BinaryHeap::new(),
        calls: BTreeMap::new(),
        endings: BTreeMap::new(),
        next_id: 0,
        next_arrival: Moment::START,
        report: Report::default(),
        setup,
    };
    client.schedule(Moment::START, Event::Arrive);
    while let Some(Reverse((now, _, event))) = client.events.pop() {
        client.handle(now, event);
    }
    client.report
}

impl Client<'_> {
    fn schedule(&mut self, at: Moment, event: Event) {
        self.next_id += 1;
        self.events.push(Reverse((at, self.next_id, event)));
    }

    fn handle(&mut self, now: Moment, event: Event) {
        match event {
            Event::Arrive => self.arrive(now),
            Event::Retry(id) => self.attempt(id, now),
            Event::End(id) => self.end(id, now),
        }
    }

    fn arrive(&mut self, now: Moment) {
        self.next_arrival = self.next_arrival.after(Duration::from_micros(1_000_000 / self.setup.rate));
        if !self.setup.is_sequential {
            self.arrive_next(now);
        }
        self.next_id += 1;
        let id = self.next_id;
        self.budget.deposit();
        self.calls.insert(id, Call { begun: now, sent: now, node: 0, attempts: 0, ticket: None });
        self.attempt(id, now);
    }

    fn arrive_next(&mut self, now: Moment) {
        if self.next_arrival < Moment::START.after(self.setup.length) {
            self.schedule(self.next_arrival.max(now), Event::Arrive);
        }
    }

    /// Sends to the first node, from the call's on, that takes it; to the last one in any case.
    fn attempt(&mut self, id: u64, now: Moment) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        while call.node < self.nodes.len() {
            match self.nodes[call.node].breaker.admit(now) {
                Admission::Allowed(ticket) => {
                    if call.node == 0 {
                        self.report.allowed_on_first.push(now);
                    }
                    call.ticket = Some(ticket);
                    break;
                }
                Admission::Probe(ticket) => {
                    call.ticket = Some(ticket);
                    break;
                }
                Admission::Rejected { .. } => call.node += 1,
            }
        }
        // All are open: the last one is as good as any.
        call.node = call.node.min(self.nodes.len() - 1);
        call.sent = now;
        call.attempts += 1;
        self.report.attempts += 1;
        let remaining = DEADLINE.saturating_sub(now.since(call.begun));
        let has_next = call.node + 1 < self.nodes.len();
        let patience = self.nodes[call.node].latency.attempt_timeout();
        let timeout = now.after(if has_next { patience.min(remaining) } else { remaining });
        let ending: Ending = self.setup.world.send(call.node, now, &mut self.rng);
        let (at, ending) = match ending {
            Some((at, ending)) if at <= timeout => (at, ending),
            Some(_) | None => (timeout, Err(Diagnosis::TIMED_OUT)),
        };
        self.endings.insert(id, ending);
        self.schedule(at, Event::End(id));
    }

    fn end(&mut self, id: u64, now: Moment) {
        let (Some(ending), Some(mut call)) = (self.endings.remove(&id), self.calls.remove(&id)) else { return };
        self.learn(&mut call, now, ending);
        match ending {
            Ok(()) => self.finish(&call, now, true),
            Err(diagnosis) => self.follow(id, call, now, diagnosis),
        }
    }

    fn learn(&mut self, call: &mut Call, now: Moment, ending: Result<(), Diagnosis>) {
        let node = &self.nodes[call.node];
        let took = now.since(call.sent);
        let outcome = match ending {
            Ok(()) if node.latency.is_slow(took) => Outcome::Slow,
            Ok(()) => Outcome::Success,
            Err(Diagnosis::TIMED_OUT) if self.setup.bug == Bug::ForgivesTimeouts => Outcome::Ignored,
            Err(diagnosis) if diagnosis.blame == Blame::Node => Outcome::Failure,
            Err(_) => Outcome::Success,
        };
        if ending.is_ok() || self.setup.bug == Bug::LearnsFromTimeouts {
            node.latency.record(now, took);
        }
        let transition = call.ticket.take().and_then(|ticket| node.breaker.record(ticket, now, outcome));
        match transition {
            Some(Transition::Opened { .. }) => self.report.opened.push((call.node, now)),
            Some(Transition::Closed) => self.report.closed.push((call.node, now)),
            None => {}
        }
    }

    fn follow(&mut self, id: u64, mut call: Call, now: Moment, diagnosis: Diagnosis) {
        let options = &self.setup.options;
        let attempted = Attempted {
            failure: diagnosis.failure,
            is_idempotent: true,
            attempts: call.attempts,
            remaining: DEADLINE.saturating_sub(now.since(call.begun)),
            has_next_node: call.node + 1 < self.nodes.len(),
            is_stranded: !self.nodes[call.node].breaker.is_closed() && self.setup.bug != Bug::StrandedPay,
        };
        let unlimited = Budget::new(&options.budget);
        let budget = if self.setup.bug == Bug::IgnoresBudget { &unlimited } else { &self.budget };
        match decide(&self.retry, &attempted, budget, now, self.rng.next()) {
            Next::ReturnError => self.finish(&call, now, false),
            Next::NextNode => {
                call.node += 1;
                self.calls.insert(id, call);
                self.attempt(id, now);
            }
            Next::SameNodeAfter(wait) => {
                self.calls.insert(id, call);
                self.schedule(now.after(wait), Event::Retry(id));
            }
        }
    }

    fn finish(&mut self, call: &Call, now: Moment, is_answered: bool) {
        let excess = call.sent.since(call.begun);
        self.report.done.push(Done { begun: call.begun, excess, is_answered });
        if self.setup.is_sequential {
            self.arrive_next(now);
        }
    }
}
