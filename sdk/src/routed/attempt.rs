//! One attempt of a call: sent once, or raced against a hedge.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use redis::{RedisError, RedisResult, Value};

use super::{
    call::{Call, Progress, Spare},
    limit::Limit,
    link::{Answer, KeptHandle, Link},
    node::{Flight, Node},
    route::Route,
    seen::in_words,
};
use crate::{
    resilience::{Diagnosis, Failure, Moment},
    routing::{Access, NodeIndex},
};

/// A node that takes a call now.
pub(super) struct Open<'n> {
    pub(super) index: NodeIndex,
    pub(super) node: &'n Arc<Node>,
    pub(super) flight: Flight<'n>,
    pub(super) link: Arc<Link>,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) error: RedisError,
    pub(super) diagnosis: Diagnosis,
    /// Whether the node was given up meanwhile.
    pub(super) is_stranded: bool,
}

/// How one sending ended: an answer, an error, or nothing in time.
type End = Option<RedisResult<Answer>>;

impl<'c> Call<'c> {
    /// Sends once; a read that takes longer than usual is sent to the next node, too, and the first answer counts.
    pub(super) async fn attempt(
        &self,
        open: Open<'c>,
        route: &mut Route,
        progress: &mut Progress,
    ) -> Result<(Answer, NodeIndex), Failed> {
        let mut handle = open.link.handle(&mut progress.handle);
        let ended = self.attempt_through(&mut handle, open, route, progress).await;
        progress.handle.keep(handle);
        ended
    }

    async fn attempt_through(
        &self,
        handle: &mut Link,
        open: Open<'c>,
        route: &mut Route,
        progress: &mut Progress,
    ) -> Result<(Answer, NodeIndex), Failed> {
        progress.attempts += 1;
        let Open { index, node, flight, link } = open;
        let departed = flight.departed();
        let spare = self.spare(route);
        let patience = self.patience(node, departed, spare, progress);
        let may_hedge = spare == Some(Spare::SameData) && self.access == Access::Read && !self.options.no_hedge;
        let hedge_after = if may_hedge { node.latency.hedge_delay().min(patience) } else { patience };

        let mut sending = pin!(self.send(handle, index));
        // The one timer of the attempt: the connection has none of its own.
        let timer = pin!(tokio::time::sleep_until(self.core.clock.instant(departed.after(hedge_after))));
        let mut limit = Limit::new(timer);
        let mut end = poll_fn(|cx| limit.poll(sending.as_mut(), cx)).await;
        if end.is_none() && hedge_after < patience {
            progress.now = self.core.clock.now();
            limit.reset(self.core.clock.instant(departed.after(patience)));
            let hedge = if self.core.budget.withdraw_hedge() { self.next_alike(route, progress) } else { None };
            let Some(hedge) = hedge else {
                end = poll_fn(|cx| limit.poll(sending.as_mut(), cx)).await;
                return self.land(flight, &link, end, patience, progress).map(|answer| (answer, index));
            };
            // On the heap, as everything that is rare: a call's future would otherwise be too large for the allocator's
            // fast lists.
            let racing = Box::pin(self.race(sending, limit, hedge, route, progress));
            let (hedge_index, raced) = racing.await;
            match (raced.first, raced.second) {
                (first, Some(Ok(answer))) => {
                    match first {
                        Some(end) => drop(self.land(flight, &link, end, patience, progress)),
                        None => self.judge_later(node, flight, link, patience),
                    }
                    return Ok((answer, hedge_index));
                }
                // The application's own error is an answer, too: no reason to wait on, nor to blame who is under way.
                (None, Some(Err(second))) => {
                    self.judge_later(node, flight, link, patience);
                    return Err(second);
                }
                // Both failed: what the hedge met is the newer news.
                (Some(first @ (None | Some(Err(_)))), Some(Err(second))) => {
                    let failed = self.land(flight, &link, first, patience, progress);
                    return failed.and(Err(second));
                }
                (first, Some(Err(_)) | None) => end = first.flatten(),
            }
        }
        self.land(flight, &link, end, patience, progress).map(|answer| (answer, index))
    }

    /// How long an attempt may take. What may not be repeated has nothing better to do than to wait, and what could go
    /// on to other data only waits longer.
    fn patience(&self, node: &Node, departed: Moment, spare: Option<Spare>, progress: &Progress) -> Duration {
        let remaining = progress.deadline.since(departed);
        match spare.filter(|_| self.is_idempotent) {
            Some(Spare::SameData) => node.latency.attempt_timeout().min(remaining),
            Some(Spare::OtherData) => node.latency.patient_timeout().min(remaining),
            None => remaining,
        }
    }

    /// Waits for the first good answer of two. The first is left as it was when the second was good before it.
    async fn race(
        &self,
        mut first: Pin<&mut impl Future<Output = RedisResult<Answer>>>,
        mut first_limit: Limit<'_>,
        hedge: Open<'c>,
        route: &Route,
        progress: &mut Progress,
    ) -> (NodeIndex, Raced) {
        progress.attempts += 1;
        let Open { index, node, flight, link } = hedge;
        let patience = self.patience(node, flight.departed(), self.spare(route), progress);
        let until = flight.departed().after(patience);
        let mut handle = link.handle(&mut KeptHandle::default());
        let mut second = pin!(self.send(&mut handle, index));
        let timer = pin!(tokio::time::sleep_until(self.core.clock.instant(until)));
        let mut limit = Limit::new(timer);
        let (mut first_end, mut second_end) = (None, None);
        poll_fn(|cx| {
            if first_end.is_none()
                && let Poll::Ready(end) = first_limit.poll(first.as_mut(), cx)
            {
                first_end = Some(end);
            }
            if second_end.is_none()
                && let Poll::Ready(end) = limit.poll(second.as_mut(), cx)
            {
                second_end = Some(end);
            }
            let are_over = first_end.is_some() && second_end.is_some();
            let is_answered = [&first_end, &second_end].into_iter().flatten().any(|end| self.is_answer(end));
            if are_over || is_answered { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let second = second_end.map(|end| self.land(flight, &link, end, patience, progress));
        (index, Raced { first: first_end, second })
    }

    /// Whether this is the answer that any node would give: data, or the application's own error.
    fn is_answer(&self, end: &End) -> bool {
        match end {
            Some(Ok(answer)) => refusal_among(answer, self.is_idempotent).is_none(),
            Some(Err(error)) => Diagnosis::of_call(error).failure == Failure::Answered,
            None => false,
        }
    }

    /// Tells the node how it went.
    fn land(
        &self,
        flight: Flight<'_>,
        link: &Arc<Link>,
        end: End,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<Answer, Failed> {
        let now = self.core.clock.now();
        progress.now = now;
        let (error, diagnosis) = match end {
            Some(Ok(answer)) => match refusal_among(&answer, self.is_idempotent) {
                None => {
                    flight.answered(now);
                    return Ok(answer);
                }
                Some(found) => found,
            },
            Some(Err(error)) => {
                let diagnosis = Diagnosis::of_call(&error);
                (error, diagnosis)
            }
            None => (no_answer(patience), Diagnosis::TIMED_OUT),
        };
        let node = flight.node;
        if diagnosis.failure != Failure::Answered {
            progress.history.note(&node.name, now.since(flight.departed()), in_words(&error));
        }
        if diagnosis.suspects_topology {
            self.core.suspect();
        }
        flight.failed(now, diagnosis, Some(link));
        Err(Failed { error, diagnosis, is_stranded: !node.breaker.is_closed() || !node.is_connected() })
    }

    /// Finds out whether an overtaken node would have answered in time, without holding the caller up.
    ///
    /// Forgetting the overtaken call would hide a paused node for as long as hedges win. A PING behind it on the same
    /// connection is answered after it, so the two share a verdict.
    fn judge_later(&self, node: &Arc<Node>, flight: Flight<'_>, link: Arc<Link>, patience: Duration) {
        let Some((ticket, departed)) = flight.overtaken() else { return };
        if link.is_cluster() {
            return; // many connections: nothing is "behind" anything
        }
        let (node, clock) = (node.clone(), self.core.clock);
        self.core.spawn(async move {
            let ping = redis::cmd("PING");
            let until = clock.instant(departed.after(patience));
            let answered = tokio::time::timeout_at(until, Link::clone(&link).send_one(&ping)).await;
            // The original flight is over as far as load goes; this one carries its ticket home.
            let flight = node.resume(ticket, departed);
            let now = clock.now();
            match answered {
                Ok(Ok(_)) => flight.answered(now),
                Ok(Err(error)) => flight.failed(now, Diagnosis::of_call(&error), Some(&link)),
                Err(_) => flight.failed(now, Diagnosis::TIMED_OUT, Some(&link)),
            }
        });
    }
}

/// How a race ended: `None` for who was still under way.
struct Raced {
    first: Option<End>,
    second: Option<Result<Answer, Failed>>,
}

pub(super) fn no_answer(patience: Duration) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")).into()
}

/// A pipeline carries its errors among its answers. If the node declined all of it, nothing was done; if it declined a
/// part, the caller sees which, unless all of it may be repeated.
pub(super) fn refusal_among(answer: &Answer, is_idempotent: bool) -> Option<(RedisError, Diagnosis)> {
    let Answer::Many(values) = answer else { return None };
    let mut declined = 0;
    let mut found = None;
    for value in values {
        let Value::ServerError(error) = value else { continue };
        let error = RedisError::from(error.clone());
        let diagnosis = Diagnosis::of_call(&error);
        if diagnosis.failure == Failure::Refused {
            declined += 1;
            found = Some((error, diagnosis));
        }
    }
    let (error, diagnosis) = found?;
    if declined == values.len() {
        return Some((error, diagnosis));
    }
    is_idempotent.then_some((error, Diagnosis { failure: Failure::MaybeApplied, ..diagnosis }))
}
