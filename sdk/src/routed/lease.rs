//! A lease: a connection that one borrower has to itself, how it is got, and one call on it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool::managed::Object;
use redis::{RedisError, RedisResult};

use super::{
    attempt::{no_answer, refusal_among},
    call::{Call, FENCED, Progress, give_up},
    endpoint::ConnectError,
    failure::History,
    link::{Answer, Link, Work},
    node::{Flight, Node},
    plane::Core,
    pool::{LendError, Lent},
    slots,
    traces::{Mark, Traces},
};
use crate::{
    commands::Blocking,
    dial::{Address, DialError},
    error::{Error, ErrorKind},
    resilience::{Admission, Blame, Diagnosis, Failure, Ticket},
    routing::{Access, NodeIndex},
};

/// Between two looks at who owns the key of a command that waits in a cluster.
const OWNER_LOOK: Duration = Duration::from_secs(1);

/// A connection of one node, until dropped. Then it goes back to the node's pool, or is closed if it is not as it was.
pub(super) struct Lease {
    pub(super) index: NodeIndex,
    pub(super) node: Arc<Node>,
    /// Empty only while it is being dropped.
    lent: Option<Lent>,
    /// In a cluster.
    owned: Option<Owned>,
    traces: Mutex<Traces>,
}

impl Call<'_> {
    /// Borrows at the first node of the plan that has a connection to give, within the deadline.
    ///
    /// What goes wrong here teaches the node's breaker nothing: a server at its `maxclients` refuses a new connection and
    /// serves the old ones as ever. The prober and the calls find out what is really down.
    pub(super) async fn borrow(&self, progress: &mut Progress) -> RedisResult<Lease> {
        loop {
            if self.core.is_stopped() {
                return Err(self.unavailable("the client was shut down", progress));
            }
            let mut route = self.route()?;
            if route.is_nowhere() {
                return Err(self.nowhere(&route, progress));
            }
            while let Some(step) = route.advance() {
                let Some(node) = self.core.node(step.node) else { continue };
                match self.borrow_at(step.node, node, progress).await {
                    Ok(lease) => return Ok(lease),
                    Err(what) => progress.history.note(&node.name, self.since(progress), what),
                }
            }
            match self.look_again(progress) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(self.unavailable("no node lends a connection", progress)),
            }
        }
    }

    async fn borrow_at(&self, index: NodeIndex, node: &Arc<Node>, progress: &Progress) -> Result<Lease, String> {
        if !node.is_open() {
            return Err("passed over: not connected, or its last calls failed".to_owned());
        }
        let limit = progress.deadline.since(self.core.clock.now());
        match lend(node, self.key, limit).await {
            Ok((lent, owned)) => {
                Ok(Lease { index, node: node.clone(), lent: Some(lent), owned, traces: Mutex::default() })
            }
            Err(error) => {
                if let LendError::Connect(ConnectError::WrongRole { what, .. }) = &error
                    && !node.endpoint.is_cluster()
                {
                    // The shared connections lead there, too.
                    node.disconnect(what);
                    self.core.suspect();
                }
                Err(error.to_string())
            }
        }
    }

    fn since(&self, progress: &Progress) -> Duration {
        self.core.clock.now().since(progress.began)
    }
}

/// One call on a lease.
pub(super) struct Turn<'t> {
    pub(super) core: &'t Core,
    pub(super) lease: &'t Lease,
    pub(super) work: Work<'t>,
    pub(super) access: Access,
    /// Whether it may wait at the server, beyond the deadline.
    pub(super) blocking: Option<Blocking>,
    /// How long it may take, apart from that.
    pub(super) limit: Duration,
}

/// How a call ended.
enum End {
    Answered(RedisResult<Answer>),
    /// Its answer may come at any time, so that nobody else can have the connection.
    Late(Duration),
    /// Waiting on is pointless.
    Lost(&'static str),
}

/// What a failure means for the node. This connection may be the only one that broke, but a server that declines a call
/// declines everybody's.
fn of_node(diagnosis: Diagnosis) -> Diagnosis {
    let is_declined = diagnosis.failure == Failure::Refused;
    Diagnosis { replaces_connection: diagnosis.replaces_connection && is_declined, ..diagnosis }
}

impl Turn<'_> {
    /// Sends, and waits for the answer: within the limit, or for as long as the command asks and `lost` is pending.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection once the lease is dropped: its answer is still to come.
    pub(super) async fn take(&self, lost: impl Future<Output = &'static str>) -> RedisResult<Answer> {
        let ticket = self.admit()?;
        let departed = self.core.clock.now();
        let end = self.send(lost).await?;
        // Not counted as load while it was under way: it holds no shared connection up.
        let flight = self.lease.node.resume(ticket, departed);
        self.land(flight, end)
    }

    async fn send(&self, lost: impl Future<Output = &'static str>) -> RedisResult<End> {
        let mut link = self.lease.link()?;
        let mark = Mark::of(self.work);
        self.lease.traces().sending(mark);
        let limit = self.patience();
        let timer = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            answer = link.send(self.work) => {
                self.lease.traces().answered(mark, &answer);
                End::Answered(answer)
            }
            why = lost, if self.blocking.is_some() => End::Lost(why),
            () = timer => End::Late(limit.unwrap_or_default()),
        };
        Ok(end)
    }

    /// Tells the node how it went.
    fn land(&self, flight: Flight<'_>, end: End) -> RedisResult<Answer> {
        let now = self.core.clock.now();
        let took = now.since(flight.departed());
        let (error, diagnosis) = match end {
            End::Answered(Ok(answer)) => match refusal_among(&answer, false) {
                None if self.blocking.is_some() => {
                    flight.waited(now);
                    return Ok(answer);
                }
                None => {
                    flight.answered(now);
                    return Ok(answer);
                }
                Some(found) => found,
            },
            End::Answered(Err(error)) => {
                let diagnosis = Diagnosis::of_call(&error);
                (error, diagnosis)
            }
            End::Late(limit) => (no_answer(limit), Diagnosis::TIMED_OUT),
            End::Lost(why) => {
                // Whoever found that out has told the node.
                return Err(self.failed(why.to_owned(), took, None));
            }
        };
        if diagnosis.replaces_connection {
            self.lease.traces().spoil();
        }
        if diagnosis.suspects_topology {
            self.core.suspect();
        }
        if self.blocking.is_some() && diagnosis.blame == Blame::Nobody {
            flight.waited(now);
        } else {
            flight.failed(now, of_node(diagnosis), None);
        }
        Err(self.failed(error.to_string(), took, Some((error, diagnosis.failure))))
    }

    fn failed(&self, what: String, took: Duration, error: Option<(RedisError, Failure)>) -> RedisError {
        let mut history = History::default();
        history.note(&self.lease.node.name, took, what);
        let unanswered = || (no_answer(took), Failure::MaybeApplied);
        let (error, failure) = error.unwrap_or_else(unanswered);
        give_up(self.core, self.access, error, failure, history)
    }

    fn admit(&self) -> RedisResult<Ticket> {
        if self.core.is_stopped() {
            return Err(Error::new(ErrorKind::Unavailable, "the client was shut down").into());
        }
        if self.access == Access::Write && !self.core.may_write(self.core.clock.now()) {
            return Err(Error::new(ErrorKind::Unavailable, FENCED).into());
        }
        let passed_over = || {
            let mut history = History::default();
            history.note(&self.lease.node.name, Duration::ZERO, "passed over: its last calls failed");
            history.into_error(ErrorKind::Unavailable, "the node of this connection takes no calls", None).into()
        };
        match self.lease.node.breaker.admit(self.core.clock.now()) {
            Admission::Allowed(ticket) => Ok(ticket),
            // A command that waits would hold the only place of those that find out whether the node is back.
            Admission::Probe(ticket) if self.blocking.is_none() => Ok(ticket),
            Admission::Probe(_) | Admission::Rejected { .. } => Err(passed_over()),
        }
    }

    /// `None`: for ever, as the caller asked.
    fn patience(&self) -> Option<Duration> {
        match self.blocking {
            None | Some(Blocking::Malformed) => Some(self.limit),
            Some(Blocking::AtMost(wait)) => Some(self.limit.saturating_add(wait)),
            Some(Blocking::Forever) => None,
        }
    }
}

/// What a connection to a server of a cluster was lent for: a key, and the server that owned it then.
#[derive(Clone)]
struct Owned {
    key: Vec<u8>,
    owner: Address,
}

/// Lends at the node's server, or at the one of its cluster that owns the key.
async fn lend(node: &Node, key: Option<&[u8]>, limit: Duration) -> Result<(Lent, Option<Owned>), LendError> {
    let servers = node.endpoint.servers();
    let server = servers.first().ok_or(LendError::NoOwner)?;
    let patience = node.latency.attempt_timeout();
    if !node.endpoint.is_cluster() {
        return Ok((node.pools.of(server, None)?.lend(limit, patience).await?, None));
    }
    let key = key.ok_or(LendError::NoKey)?;
    let lending = async {
        let owner = owner_at(node, key).await?.ok_or(LendError::NoOwner)?;
        let pool = node.pools.of(server, Some(owner.clone()))?;
        Ok((pool.lend(limit, patience).await?, Some(Owned { key: key.to_vec(), owner })))
    };
    tokio::time::timeout(limit, lending).await.map_err(|_| ConnectError::from(DialError::Late(limit)))?
}

async fn owner_at(node: &Node, key: &[u8]) -> Result<Option<Address>, ConnectError> {
    let Some(link) = node.link() else { return Ok(None) };
    Ok(slots::owner(&mut Link::clone(&link), key).await.map_err(DialError::Redis)?)
}

impl Lease {
    /// Returns once another server of the cluster owns the key.
    pub(super) async fn moved(&self) {
        let Some(Owned { key, owner }) = &self.owned else { return std::future::pending().await };
        loop {
            tokio::time::sleep(OWNER_LOOK).await;
            if let Ok(Some(now)) = owner_at(&self.node, key).await
                && now != *owner
            {
                return;
            }
        }
    }

    fn link(&self) -> Result<Link, RedisError> {
        let gone = || Error::new(ErrorKind::Unavailable, "the connection was given back").into();
        self.lent.as_deref().cloned().ok_or_else(gone)
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        if !self.traces().is_clean() {
            drop(Object::take(lent));
        }
    }
}
