//! Connections that one caller has for itself: for commands that wait, or that hold state.

use std::ops::{Deref, DerefMut};

use deadpool::{
    Runtime,
    managed::{self, Metrics, RecycleError, RecycleResult},
};
use redis::{AsyncConnectionConfig, RedisError, aio::MultiplexedConnection};

use super::{Address, DialError, Moves, Opened, Server};
use crate::config::RegionConfig;

/// Connections to one server, lent out one by one.
///
/// The ready-made pool for this crate's connections has one address and one password for life.
pub(crate) type Pool = managed::Pool<Manager>;

/// Makes connections to one server.
pub(crate) struct Manager {
    server: Server,
    moves: Moves,
}

/// A connection that one caller has for itself.
pub(crate) struct Exclusive {
    connection: MultiplexedConnection,
    at: Option<Address>,
}

/// A pool of at most so many connections to a server. Connects when asked.
pub(crate) fn pool(server: Server, config: &RegionConfig, size: usize) -> Result<Pool, managed::BuildError> {
    let moves = server.moves();
    Pool::builder(Manager { server, moves })
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(config.connect_timeout))
        .wait_timeout(Some(config.connect_timeout))
        .recycle_timeout(Some(config.response_timeout))
        .build()
}

impl managed::Manager for Manager {
    type Type = Exclusive;
    type Error = DialError;

    async fn create(&self) -> Result<Exclusive, DialError> {
        // The pool bounds connecting, and a caller its commands.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let Opened { connection, at, .. } = self.server.open(&config).await?;
        Ok(Exclusive { connection, at })
    }

    async fn recycle(&self, lent: &mut Exclusive, _: &Metrics) -> RecycleResult<DialError> {
        if self.moves.is_away_from(lent.at.as_ref()) {
            return Err(RecycleError::message("the primary is another server now"));
        }
        // The caller before may have left a watch.
        let cleaned: Result<(), RedisError> =
            redis::pipe().cmd("UNWATCH").ignore().cmd("PING").ignore().query_async(&mut lent.connection).await;
        cleaned.map_err(|error| RecycleError::Backend(error.into()))
    }
}

impl Deref for Exclusive {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.connection
    }
}

impl DerefMut for Exclusive {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }
}
