//! A link: one shared connection to a node, whatever kind of server stands behind it.

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
    Shared { connection: MultiplexedConnection, _driver: Option<Driver> },
    /// A Redis Cluster, all of whose slots are the region's data. The crate follows its redirections.
    Cluster(ClusterConnection),
    /// A node of an embedded region.
    Embedded(EmbeddedLink),
}

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
