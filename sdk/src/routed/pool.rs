//! The pool of a node: connections that are lent to one borrower at a time.

use std::{fmt, pin::pin, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, QueueMode, RecycleResult, Timeouts},
};

use super::{
    endpoint::{ConnectError, Endpoint, verify},
    link::Link,
    node::Expected,
};
use crate::error::{Error, ErrorKind};

/// A lent connection. Dropped, it goes back.
pub(super) type Lent = Object<Maker>;

/// Makes a node's connections, and looks at each before it is lent again.
pub(super) struct Maker {
    endpoint: Endpoint,
    role: Expected,
}

impl managed::Manager for Maker {
    type Type = Link;
    type Error = ConnectError;

    async fn create(&self) -> Result<Link, ConnectError> {
        let (link, _) = self.endpoint.connect(self.role.get()).await?;
        Ok(link)
    }

    /// A server that was a primary when the connection was made may be a replica by now.
    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<ConnectError> {
        Ok(verify(link, self.role.get()).await?)
    }
}

/// Up to so many connections, each made when it is first needed.
pub(super) struct Pool {
    inner: managed::Pool<Maker>,
}

/// Why none was lent.
#[derive(Debug, thiserror::Error)]
pub(super) enum LendError {
    /// Others hold all there may be.
    #[error("all {0} exclusive connections are in use")]
    Exhausted(usize),
    /// The node has none to give.
    #[error("no exclusive connection: {0}")]
    Connect(#[from] ConnectError),
    /// The client was shut down.
    #[error("the client was shut down")]
    Closed,
}

impl Pool {
    /// # Errors
    /// None that can happen: the builder's one is for timeouts without a runtime.
    pub(super) fn new(endpoint: Endpoint, role: Expected, size: usize) -> Result<Self, Error> {
        let config = managed::PoolConfig {
            max_size: size.max(1),
            timeouts: Timeouts::new(),
            // The one used last is the least likely to have been closed by the server for idling.
            queue_mode: QueueMode::Lifo,
        };
        let builder = managed::Pool::builder(Maker { endpoint, role }).config(config).runtime(Runtime::Tokio1);
        let inner = builder.build().map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
        Ok(Self { inner })
    }

    /// Lends a connection whose role has just been verified, within `limit`. An idle one that does not answer within
    /// `patience` is replaced.
    pub(super) async fn lend(&self, limit: Duration, patience: Duration) -> Result<Lent, LendError> {
        let timeouts = Timeouts { wait: None, create: None, recycle: Some(patience) };
        let mut lending = pin!(self.inner.timeout_get(&timeouts));
        tokio::select! {
            biased;
            lent = &mut lending => lent.map_err(|error| match error {
                PoolError::Backend(error) => LendError::Connect(error),
                PoolError::Closed => LendError::Closed,
                PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                    LendError::Connect(ConnectError::Late(limit))
                }
            }),
            () = tokio::time::sleep(limit) => Err(self.late(limit)),
        }
    }

    /// Whether a borrower who ran out of time stood in line, or waited for the server.
    fn late(&self, limit: Duration) -> LendError {
        let status = self.inner.status();
        if status.size >= status.max_size && status.waiting > 0 {
            LendError::Exhausted(status.max_size)
        } else {
            LendError::Connect(ConnectError::Late(limit))
        }
    }

    /// Closes the idle ones: something is wrong with the node.
    pub(super) fn purge(&self) {
        drop(self.inner.retain(|_, _| false));
    }

    /// Closes the idle ones now and the others when they come back; lends no more.
    pub(super) fn close(&self) {
        self.inner.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.inner.status()).finish_non_exhaustive()
    }
}
