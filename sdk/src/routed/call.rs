//! One call: plan, attempt, retry, until an answer or the deadline.

use std::time::Duration;

use redis::{RedisError, RedisResult, Value};

use super::{
    attempt::{Failed, Open},
    failure::History,
    link::{Answer, KeptHandle, Work},
    options::CallOptions,
    plane::Core,
    route::Route,
    seen::{Seen, is_behind},
};
use crate::{
    error::{Error, ErrorKind},
    resilience::{Admission, Attempted, Failure, Moment, Next, decide},
    routing::{Access, Candidates, NodeIndex, Plan, Policy, Profile, RegionIndex, Request, Step},
};

/// How often a call that nobody could take looks again while every region is down: about 200 ms in all.
const PASSES: u32 = 6;

/// Added to each such wait, so that a short backoff does not use them up before a switch is noticed.
const PAUSE: Duration = Duration::from_millis(5);

/// And never longer than this: a switch should not wait for a sleeper.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Why a fence stops writes.
pub(super) const FENCED: &str = "writes stop: no majority of regions confirms who writes";

/// What a call is, as far as sending it goes.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) core: &'c Core,
    pub(super) profile: &'c Profile,
    pub(super) options: &'c CallOptions,
    pub(super) home: Option<RegionIndex>,
    pub(super) work: Work<'c>,
    pub(super) access: Access,
    pub(super) key: Option<&'c [u8]>,
    pub(super) is_idempotent: bool,
    /// The only node that can answer, for a cursor; otherwise the policy picks.
    pub(super) only: Option<NodeIndex>,
    /// What the caller's session has seen.
    pub(super) seen: Option<Seen<'c>>,
}

/// What happened to a call so far.
pub(super) struct Progress {
    pub(super) began: Moment,
    /// The clock as it was when the call last went on. Reading it is a large part of a decision's cost.
    pub(super) now: Moment,
    pub(super) deadline: Moment,
    passes: u32,
    /// How long it has waited for replicas.
    waited: Duration,
    pub(super) attempts: u32,
    pub(super) history: History,
    pub(super) handle: KeptHandle,
}

/// What another node has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spare {
    SameData,
    /// Another region's, which may lack what is asked for: a last resort.
    OtherData,
}

/// How a pass over a plan ended.
enum Pass {
    Ended(RedisResult<(Answer, NodeIndex)>),
    Again(Duration),
}

impl<'c> Call<'c> {
    /// The answer, and the node that gave it.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer, not the request: what was sent may be executed.
    pub(super) async fn run(&self) -> RedisResult<(Answer, NodeIndex)> {
        self.run_on(&mut self.begin()).await
    }

    /// The same, with the handle that the caller's last call left.
    pub(super) async fn run_with(&self, handle: &mut KeptHandle) -> RedisResult<(Answer, NodeIndex)> {
        let mut progress = Progress { handle: std::mem::take(handle), ..self.begin() };
        let ended = self.run_on(&mut progress).await;
        *handle = progress.handle;
        ended
    }

    /// The same, of a call that has begun; its progress tells afterwards what was tried.
    pub(super) async fn run_on(&self, progress: &mut Progress) -> RedisResult<(Answer, NodeIndex)> {
        self.core.budget.deposit();
        if self.seen.is_some_and(|seen| seen.named_tag().is_some()) {
            // On the heap, as everything that is rare.
            Box::pin(self.share_tag(progress)).await;
            progress.now = self.core.clock.now();
        }
        loop {
            if self.core.is_stopped() {
                return Err(self.unavailable("the client was shut down", progress));
            }
            if progress.now >= progress.deadline {
                return Err(self.unavailable("its deadline is over", progress));
            }
            match self.pass(progress).await {
                Pass::Ended(result) => return result,
                Pass::Again(wait) => tokio::time::sleep(wait).await,
            }
            progress.now = self.core.clock.now();
        }
    }

    /// From now on the deadline counts.
    pub(super) fn begin(&self) -> Progress {
        let began = self.core.clock.now();
        let deadline = began.after(self.options.deadline.unwrap_or(self.core.config.deadline));
        Progress {
            began,
            now: began,
            deadline,
            passes: 0,
            waited: Duration::ZERO,
            attempts: 0,
            history: History::default(),
            handle: KeptHandle::default(),
        }
    }

    /// The way of the call, as the policy plans it now.
    pub(super) fn route(&self) -> Result<Route, Error> {
        self.route_at(self.core.clock.now())
    }

    fn route_at(&self, now: Moment) -> Result<Route, Error> {
        self.ask(now, |request, candidates| Route::new(self.plan(request, candidates), self.only, candidates))
    }

    /// What the policy plans, without the nodes that cannot have what the session has seen.
    pub(super) fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let plan = self.profile.plan(request, candidates);
        match self.seen {
            Some(seen) if self.access == Access::Read => seen.narrow(plan, request, candidates, self.profile),
            Some(_) | None => plan,
        }
    }

    /// Asks the policy with the plane as it is.
    pub(super) fn ask<T>(
        &self,
        now: Moment,
        question: impl FnOnce(&Request<'_>, &Candidates<'_>) -> T,
    ) -> Result<T, Error> {
        let mut request = match self.access {
            Access::Read => Request::read(),
            Access::Write => Request::write(),
        };
        request.key = self.key;
        request.home = self.home;
        request.max_staleness = self.options.max_staleness;
        request.needs_primary = self.options.at_primary;
        request.random = fastrand::u64(..);
        let topology = self.core.topology.load();
        let states = self.core.states(now);
        let candidates = Candidates::new(&topology, &states, self.core.active())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
        Ok(question(&request, &candidates))
    }

    /// Goes down one plan.
    async fn pass(&self, progress: &mut Progress) -> Pass {
        let mut route = match self.route_at(progress.now) {
            Ok(route) => route,
            Err(error) => return Pass::Ended(Err(error.into())),
        };
        if route.is_nowhere() {
            return Pass::Ended(Err(self.nowhere(&route, progress)));
        }
        if self.access == Access::Write && !self.core.may_write(progress.now) {
            return self.again_or_unavailable(FENCED, progress);
        }
        while let Some(open) = self.next_open(&mut route, progress) {
            let asked = open.index;
            match self.attempt(open, &mut route, progress).await {
                Ok((answer, index)) => {
                    let settled = match self.better_than(&answer, index, &route) {
                        None => (answer, index),
                        Some(step) => Box::pin(self.settle(answer, index, step, &route, progress)).await,
                    };
                    return Pass::Ended(Ok(settled));
                }
                Err(failed) if is_behind(&failed.error) => {
                    progress.attempts = progress.attempts.saturating_sub(1);
                    if let Some(pause) = self.pause(progress) {
                        tokio::time::sleep(pause).await;
                        progress.now = self.core.clock.now();
                        route.again(asked);
                    }
                }
                Err(failed) => {
                    route.failed();
                    match self.after(&failed, &route, progress) {
                        Next::NextNode => {}
                        Next::SameNodeAfter(wait) => return Pass::Again(wait),
                        Next::ReturnError => return Pass::Ended(Err(self.give_up(failed, progress))),
                    }
                }
            }
        }
        self.again_or_unavailable("no node takes this call", progress)
    }

    fn again_or_unavailable(&self, message: &str, progress: &mut Progress) -> Pass {
        match self.look_again(progress) {
            Some(wait) => Pass::Again(wait),
            None => Pass::Ended(Err(self.unavailable(message, progress))),
        }
    }

    /// The next step whose node takes calls; notes those that do not.
    fn next_open(&self, route: &mut Route, progress: &mut Progress) -> Option<Open<'c>> {
        std::iter::from_fn(|| route.advance()).find_map(|step| self.open(step, progress))
    }

    /// The same, among nodes with the same data: a hedge must not bring the answer of another region, which may lack
    /// them, only because this one is a little slow.
    pub(super) fn next_alike(&self, route: &mut Route, progress: &mut Progress) -> Option<Open<'c>> {
        std::iter::from_fn(|| route.advance_alike()).find_map(|step| self.open(step, progress))
    }

    fn open(&self, step: Step, progress: &mut Progress) -> Option<Open<'c>> {
        let node = self.core.node(step.node)?;
        let now = progress.now;
        let Some(link) = node.link_for(&progress.handle) else {
            progress.history.note(&node.name, now.since(progress.began), format!("not connected: {}", node.why_down()));
            return None;
        };
        match node.breaker.admit(now) {
            Admission::Allowed(ticket) | Admission::Probe(ticket) => {
                Some(Open { index: step.node, node, flight: node.depart(ticket, now), link })
            }
            Admission::Rejected { .. } => {
                progress.history.note(&node.name, now.since(progress.began), "passed over: its last calls failed");
                None
            }
        }
    }

    /// Whether another node of the route takes calls now.
    fn has_open(&self, route: &Route) -> bool {
        self.spare(route).is_some()
    }

    /// What kind of node of the route would take the call next.
    pub(super) fn spare(&self, route: &Route) -> Option<Spare> {
        let is_open = |step: &Step| self.core.node(step.node).is_some_and(|node| node.is_open());
        let next = route.left().find(is_open)?;
        Some(if route.is_alike(next) { Spare::SameData } else { Spare::OtherData })
    }

    fn after(&self, failed: &Failed, route: &Route, progress: &Progress) -> Next {
        let now = progress.now;
        let attempted = Attempted {
            failure: failed.diagnosis.failure,
            is_idempotent: self.is_idempotent,
            attempts: progress.attempts,
            remaining: progress.deadline.since(now),
            has_next_node: self.has_open(route),
            is_stranded: failed.is_stranded,
        };
        decide(&*self.core.retry, &attempted, &self.core.budget, now, fastrand::u64(..))
    }

    /// Where a miss, or an answer that is too old, is asked again: where the truth is, if the policy says so.
    fn better_than(&self, answer: &Answer, index: NodeIndex, route: &Route) -> Option<Step> {
        let is_stale = route.plan().max_staleness().is_some_and(|bound| self.staleness(index) > Some(bound));
        route.better_than(index, is_miss(answer), is_stale)
    }

    async fn settle(
        &self,
        answer: Answer,
        index: NodeIndex,
        step: Step,
        route: &Route,
        progress: &mut Progress,
    ) -> (Answer, NodeIndex) {
        let Some(open) = self.open(step, progress) else { return (answer, index) };
        // The copy's answer is better than none.
        self.attempt(open, &mut Route::nothing_left(*route.plan()), progress).await.unwrap_or((answer, index))
    }

    fn staleness(&self, index: NodeIndex) -> Option<Duration> {
        self.core.node(index)?.state(self.core.clock.now()).staleness
    }

    /// How long to wait before a replica that is behind is asked again, if it is worth it.
    fn pause(&self, progress: &mut Progress) -> Option<Duration> {
        let wait = self.seen?.wait();
        let left = wait.saturating_sub(progress.waited);
        // Twice as long each time: a replica is a millisecond behind, or it may be anything.
        let pause = progress.waited.clamp(PAUSE / 5, PAUSE * 4).min(left);
        progress.waited += pause;
        let is_in_time = pause < progress.deadline.since(progress.now);
        (is_in_time && !pause.is_zero()).then_some(pause)
    }

    /// Waits for a node to come back or a region to take over, if there is time.
    pub(super) fn look_again(&self, progress: &mut Progress) -> Option<Duration> {
        progress.passes += 1;
        let wait = self.core.backoff.delay(progress.passes, fastrand::u64(..)).min(LONGEST_PAUSE) + PAUSE;
        let now = self.core.clock.now();
        // Somebody will take it: the region has just been lost, or another one takes over. With every region down, waiting
        // for the deadline would only hold callers up.
        let has_hope = progress.passes < PASSES || self.core.next_try(now).is_none();
        let is_worthwhile = has_hope && !self.core.is_stopped();
        (is_worthwhile && wait < progress.deadline.since(now)).then_some(wait)
    }

    /// The policy allows no node: for ever, or as long as copies are behind.
    pub(super) fn nowhere(&self, route: &Route, progress: &mut Progress) -> RedisError {
        let why = route.plan().emptied_by().map_or_else(|| "no reason given".to_owned(), |why| why.to_string());
        self.unavailable(&format!("the policy allows no node: {why}"), progress)
    }

    pub(super) fn unavailable(&self, message: &str, progress: &mut Progress) -> RedisError {
        let next_try = self.core.next_try(self.core.clock.now());
        std::mem::take(&mut progress.history).into_error(ErrorKind::Unavailable, message, next_try).into()
    }

    fn give_up(&self, failed: Failed, progress: &mut Progress) -> RedisError {
        give_up(self.core, self.access, failed.error, failed.diagnosis.failure, std::mem::take(&mut progress.history))
    }
}

/// The error of a call that is not tried again.
pub(super) fn give_up(
    core: &Core,
    access: Access,
    error: RedisError,
    failure: Failure,
    history: History,
) -> RedisError {
    let (kind, message) = match failure {
        // The application's own error, as the server gave it.
        Failure::Answered => return error,
        Failure::MaybeApplied if access == Access::Write => (ErrorKind::MaybeApplied, "no answer came"),
        Failure::MaybeApplied => (ErrorKind::Timeout, "no answer came"),
        Failure::NotSent | Failure::Refused => (ErrorKind::Unavailable, "every node declined"),
    };
    history.into_error(kind, message, core.next_try(core.clock.now())).into()
}

fn is_miss(answer: &Answer) -> bool {
    match answer {
        Answer::One(Value::Nil) => true,
        Answer::One(_) => false,
        Answer::Many(values) => values.iter().any(|value| matches!(value, Value::Nil)),
    }
}
