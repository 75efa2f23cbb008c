//! A link: one shared connection to a node, whatever kind of server stands behind it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use redis::{Cmd, Pipeline, RedisResult, Value, aio::MultiplexedConnection, cluster_async::ClusterConnection};

use super::embedded::EmbeddedLink;
use crate::dial::Driver;

/// One shared connection. A clone is another handle on it.
///
/// It has no timer of its own: an attempt has one, which also tells when to hedge. A second one cost a tenth of the
/// throughput.
#[derive(Clone)]
pub(crate) enum Link {
    /// One server. Whoever may still wait for an answer holds the driver.
    Shared { connection: MultiplexedConnection, number: LinkNumber, _driver: Option<Driver> },
    /// A Redis Cluster, all of whose slots are the region's data. The crate follows its redirections.
    Cluster(ClusterConnection),
    /// A node of an embedded region.
    Embedded(EmbeddedLink),
}

/// Which connection it is: no two have the same number, also when one takes the place of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkNumber(u64);

/// The handle that a caller keeps from one call to the next.
///
/// A new handle counts up, and down again, half a dozen counters that all callers share: with callers on two processors
/// that was a tenth of a call's cost. It keeps no connection open, for it does not hold the driver.
#[derive(Default)]
pub(crate) struct KeptHandle(Option<(LinkNumber, MultiplexedConnection)>);

/// What a caller sends, as the crate hands it over.
#[derive(Clone, Copy)]
pub(crate) enum Work<'w> {
    /// One command.
    One(&'w Cmd),
    /// A pipeline, or a transaction: `count` answers are wanted, after `offset` others.
    Many { pipeline: &'w Pipeline, offset: usize, count: usize },
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    One(Value),
    Many(Vec<Value>),
}

impl Link {
    pub(crate) fn shared(connection: MultiplexedConnection, driver: Option<Driver>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = LinkNumber(NEXT.fetch_add(1, Ordering::Relaxed));
        Self::Shared { connection, number, _driver: driver }
    }

    /// A handle of a caller's own, the one that was kept if it leads to this connection. Whoever uses it keeps the link
    /// alive meanwhile.
    pub(crate) fn handle(&self, kept: &mut KeptHandle) -> Self {
        match (self, kept.0.take()) {
            (Self::Shared { number, .. }, Some((of, connection))) if of == *number => {
                Self::Shared { connection, number: of, _driver: None }
            }
            (Self::Shared { connection, number, .. }, _) => {
                Self::Shared { connection: connection.clone(), number: *number, _driver: None }
            }
            (Self::Cluster(_) | Self::Embedded(_), _) => self.clone(),
        }
    }

    /// Sends, and waits for the answer without bound: the caller has the timer.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer, not the request: what was sent may be executed.
    pub(crate) async fn send(&mut self, work: Work<'_>) -> RedisResult<Answer> {
        match work {
            Work::One(cmd) => self.send_one(cmd).await.map(Answer::One),
            Work::Many { pipeline, offset, count } => self.send_many(pipeline, offset, count).await.map(Answer::Many),
        }
    }

    /// Sends a pipeline. Errors that the server answers are among the answers.
    pub(crate) async fn send_many(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        match self {
            Self::Shared { connection, .. } => connection.send_packed_commands(pipeline, offset, count).await,
            Self::Cluster(connection) => {
                redis::aio::ConnectionLike::req_packed_commands(connection, pipeline, offset, count).await
            }
            Self::Embedded(link) => link.send_many(pipeline, offset, count).await,
        }
    }

    /// Sends one command. An error that the server answers is an error.
    pub(crate) async fn send_one(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let value = match self {
            Self::Shared { connection, .. } => connection.send_packed_command(cmd).await?,
            Self::Cluster(connection) => redis::aio::ConnectionLike::req_packed_command(connection, cmd).await?,
            Self::Embedded(link) => link.send_one(cmd).await?,
        };
        match value {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    /// Whether what one server says about its history is about what was sent here just before.
    pub(crate) const fn tells_position(&self) -> bool {
        match self {
            Self::Shared { .. } | Self::Embedded(_) => true,
            Self::Cluster(_) => false,
        }
    }

    /// Whether a whole cluster is behind it: commands about one server make no sense there.
    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl KeptHandle {
    /// Whether it leads to this connection.
    pub(crate) fn is_of(&self, link: &Link) -> bool {
        matches!((&self.0, link), (Some((of, _)), Link::Shared { number, .. }) if of == number)
    }

    /// For the next call.
    pub(crate) fn keep(&mut self, handle: Link) {
        if let Link::Shared { connection, number, .. } = handle {
            self.0 = Some((number, connection));
        }
    }
}

impl fmt::Debug for KeptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptHandle").field(&self.0.as_ref().map(|(number, _)| number)).finish()
    }
}
