//! The pools of a node: connections that are lent to one borrower at a time.

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, QueueMode, RecycleResult, Timeouts},
};

use super::{
    endpoint::{ConnectError, connect_to, verify_again},
    link::Link,
    node::Expected,
};
use crate::dial::{Address, DialError, Server};

/// A lent connection. Dropped, it goes back.
pub(super) type Lent = Object<Maker>;

/// Makes a node's connections, and looks at each before it is lent again.
pub(super) struct Maker {
    server: Server,
    role: Expected,
}

impl managed::Manager for Maker {
    type Type = Link;
    type Error = ConnectError;

    async fn create(&self) -> Result<Link, ConnectError> {
        Ok(connect_to(&self.server, self.role.get()).await?.link)
    }

    /// A server that was a primary when the connection was made may be a replica by now.
    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<ConnectError> {
        Ok(verify_again(link, self.role.get()).await?)
    }
}

/// A pool for each server of a node: one, unless it is a cluster.
#[derive(Debug)]
pub(super) struct Pools {
    role: Expected,
    size: usize,
    /// By the server's address, where it has one of its own.
    pools: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    pools: BTreeMap<Option<Address>, Arc<Pool>>,
    is_closed: bool,
}

/// Servers of a cluster that are remembered at a time: as many as have slots, and some that had.
const LARGEST: usize = 1024;

impl Pools {
    pub(super) fn new(role: Expected, size: usize) -> Self {
        Self { role, size, pools: Mutex::default() }
    }

    /// The pool of a server.
    pub(super) fn of(&self, server: &Server, address: Option<Address>) -> Result<Arc<Pool>, LendError> {
        let mut known = self.known();
        if known.is_closed {
            return Err(LendError::Closed);
        }
        if let Some(pool) = known.pools.get(&address) {
            return Ok(pool.clone());
        }
        if known.pools.len() >= LARGEST {
            known.pools.clear(); // lent connections are closed when they come back
        }
        let server = address.clone().map_or_else(|| server.clone(), |address| server.elsewhere(address));
        let pool = Arc::new(Pool::new(server, self.role.clone(), self.size)?);
        known.pools.insert(address, pool.clone());
        Ok(pool)
    }

    /// Closes the idle connections: something is wrong with the node.
    pub(super) fn purge(&self) {
        self.known().pools.values().for_each(|pool| drop(pool.inner.retain(|_, _| false)));
    }

    /// Closes the idle connections now and the others when they come back; lends no more.
    pub(super) fn close(&self) {
        let mut known = self.known();
        known.is_closed = true;
        known.pools.values().for_each(|pool| pool.inner.close());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// A cluster has a server for each slot, and none for no key.
    #[error("a cluster lends a connection for a key; this call has none")]
    NoKey,
    /// The cluster names no server.
    #[error("the cluster does not say which server owns the key")]
    NoOwner,
    /// The client was shut down.
    #[error("the client was shut down")]
    Closed,
}

impl Pool {
    fn new(server: Server, role: Expected, size: usize) -> Result<Self, LendError> {
        let config = managed::PoolConfig {
            max_size: size.max(1),
            timeouts: Timeouts::new(),
            // The one used last is the least likely to have been closed by the server for idling.
            queue_mode: QueueMode::Lifo,
        };
        let builder = managed::Pool::builder(Maker { server, role }).config(config).runtime(Runtime::Tokio1);
        // It fails for timeouts without a runtime, which there is.
        let inner = builder.build();
        inner.map(|inner| Self { inner }).map_err(|_| LendError::Closed)
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
                    LendError::Connect(DialError::Late(limit).into())
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
            LendError::Connect(DialError::Late(limit).into())
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.inner.status()).finish_non_exhaustive()
    }
}
