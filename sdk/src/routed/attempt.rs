//! One attempt of a call: sent once, or raced against a hedge.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use redis::{RedisError, RedisResult, Value};
use tokio::time::Sleep;

use super::{
    call::{Call, Progress},
    link::{Answer, Link},
    node::{Flight, Node},
    route::Route,
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
    pub(super) link: Link,
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
        progress.attempts += 1;
        let Open { index, node, flight, mut link } = open;
        let departed = flight.departed();
        let patience = self.patience(node, departed, route, progress);
        let may_hedge = self.access == Access::Read && !self.options.no_hedge && self.has_open(route);
        let hedge_after = if may_hedge { node.latency.hedge_delay().min(patience) } else { patience };

        let witness = may_hedge.then(|| link.clone());
        let mut sending = pin!(self.send(&mut link, index));
        // The one timer of the attempt: the connection has none of its own.
        let mut timer = pin!(tokio::time::sleep_until(self.core.clock.instant(departed.after(hedge_after))));
        let mut end = poll_fn(|cx| poll_end(sending.as_mut(), timer.as_mut(), cx)).await;
        if end.is_none() && hedge_after < patience {
            timer.as_mut().reset(self.core.clock.instant(departed.after(patience)));
            let hedge = if self.core.budget.withdraw_hedge() { self.next_open(route, progress) } else { None };
            let Some(hedge) = hedge else {
                end = poll_fn(|cx| poll_end(sending.as_mut(), timer.as_mut(), cx)).await;
                return self.land(flight, end, patience, progress).map(|answer| (answer, index));
            };
            let (hedge_index, raced) = self.race(sending, timer, hedge, route, progress).await;
            match (raced.first, raced.second) {
                (first, Some(Ok(answer))) => {
                    match (first, witness) {
                        (Some(end), _) => drop(self.land(flight, end, patience, progress)),
                        (None, Some(link)) => self.judge_later(node, flight, link, patience),
                        (None, None) => {}
                    }
                    return Ok((answer, hedge_index));
                }
                // Both failed: what the hedge met is the newer news.
                (Some(first @ (None | Some(Err(_)))), Some(Err(second))) => {
                    let failed = self.land(flight, first, patience, progress);
                    return failed.and(Err(second));
                }
                (first, Some(Err(_)) | None) => end = first.flatten(),
            }
        }
        self.land(flight, end, patience, progress).map(|answer| (answer, index))
    }

    /// How long an attempt may take. What may not be repeated has nothing better to do than to wait.
    fn patience(&self, node: &Node, departed: Moment, route: &Route, progress: &Progress) -> Duration {
        let remaining = progress.deadline.since(departed);
        let has_spare = self.is_idempotent && self.has_open(route);
        if has_spare { node.latency.attempt_timeout().min(remaining) } else { remaining }
    }

    /// Waits for the first good answer of two. The first is left as it was when the second was good before it.
    async fn race(
        &self,
        mut first: Pin<&mut impl Future<Output = RedisResult<Answer>>>,
        mut first_timer: Pin<&mut Sleep>,
        hedge: Open<'c>,
        route: &Route,
        progress: &mut Progress,
    ) -> (NodeIndex, Raced) {
        progress.attempts += 1;
        let Open { index, node, flight, mut link } = hedge;
        let patience = self.patience(node, flight.departed(), route, progress);
        let until = flight.departed().after(patience);
        let mut second = pin!(self.send(&mut link, index));
        let mut timer = pin!(tokio::time::sleep_until(self.core.clock.instant(until)));
        let (mut first_end, mut second_end) = (None, None);
        poll_fn(|cx| {
            if first_end.is_none()
                && let Poll::Ready(end) = poll_end(first.as_mut(), first_timer.as_mut(), cx)
            {
                first_end = Some(end);
            }
            if second_end.is_none()
                && let Poll::Ready(end) = poll_end(second.as_mut(), timer.as_mut(), cx)
            {
                second_end = Some(end);
            }
            let are_over = first_end.is_some() && second_end.is_some();
            if are_over || is_answer(&first_end) || is_answer(&second_end) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let second = second_end.map(|end| self.land(flight, end, patience, progress));
        (index, Raced { first: first_end, second })
    }

    /// Tells the node how it went.
    fn land(
        &self,
        flight: Flight<'_>,
        end: End,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<Answer, Failed> {
        let now = self.core.clock.now();
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
            progress.history.note(&node.name, now.since(flight.departed()), error.to_string());
        }
        if diagnosis.suspects_topology {
            self.core.suspect();
        }
        flight.failed(now, diagnosis);
        Err(Failed { error, diagnosis, is_stranded: !node.breaker.is_closed() || !node.is_connected() })
    }

    /// Finds out whether an overtaken node would have answered in time, without holding the caller up.
    ///
    /// Forgetting the overtaken call would hide a paused node for as long as hedges win. A PING behind it on the same
    /// connection is answered after it, so the two share a verdict.
    fn judge_later(&self, node: &Arc<Node>, flight: Flight<'_>, mut link: Link, patience: Duration) {
        let Some((ticket, departed)) = flight.overtaken() else { return };
        if link.is_cluster() {
            return; // many connections: nothing is "behind" anything
        }
        let (node, clock) = (node.clone(), self.core.clock);
        self.core.spawn(async move {
            let ping = redis::cmd("PING");
            let until = clock.instant(departed.after(patience));
            let answered = tokio::time::timeout_at(until, link.send_one(&ping)).await;
            // The original flight is over as far as load goes; this one carries its ticket home.
            let flight = node.resume(ticket, departed);
            let now = clock.now();
            match answered {
                Ok(Ok(_)) => flight.answered(now),
                Ok(Err(error)) => flight.failed(now, Diagnosis::of_call(&error)),
                Err(_) => flight.failed(now, Diagnosis::TIMED_OUT),
            }
        });
    }
}

/// How a race ended: `None` for who was still under way.
struct Raced {
    first: Option<End>,
    second: Option<Result<Answer, Failed>>,
}

/// Whether this is the answer that any node would give: data, or the application's own error.
fn is_answer(end: &Option<End>) -> bool {
    match end {
        Some(Some(Ok(_))) => true,
        Some(Some(Err(error))) => Diagnosis::of_call(error).failure == Failure::Answered,
        Some(None) | None => false,
    }
}

fn poll_end(
    sending: Pin<&mut impl Future<Output = RedisResult<Answer>>>,
    timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    match sending.poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => timer.poll(cx).map(|()| None),
    }
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
