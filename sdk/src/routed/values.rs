//! Typed values, for those who want no commands.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisError, Value};
use serde::{Serialize, de::DeserializeOwned};

use super::connection::Connection;
use crate::{
    error::{Error, ErrorKind},
    handles::{Codec, Json},
};

/// What a load gave, encoded, or why it gave nothing: for everybody who waited for it.
pub(super) type Loaded = Result<Bytes, Error>;

/// Typed values as JSON, which any language reads. `null` stands for "known not to exist".
impl Connection {
    /// The value of a key; `None` when there is none, and when it is known that there is none (`null`).
    ///
    /// ```no_run
    /// # async fn example(connection: archipelago::Connection) -> Result<(), archipelago::Error> {
    /// connection.set_value("user:7:name", "Ada").await?;
    /// assert_eq!(connection.get_value::<String>("user:7:name").await?.as_deref(), Some("Ada"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the stored bytes are no such value; else see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future.
    pub async fn get_value<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>, Error> {
        match self.stored(key.as_ref()).await? {
            Some(bytes) => Json::decode(&bytes),
            None => Ok(None),
        }
    }

    /// Sets the value of a key, and removes any expiry.
    ///
    /// # Errors
    /// [`ErrorKind::Serialization`] when the value cannot be written, [`ErrorKind::MaybeApplied`] when no answer came;
    /// else see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer, not the request: the value may be set.
    pub async fn set_value<T: Serialize + ?Sized>(&self, key: impl AsRef<[u8]>, value: &T) -> Result<(), Error> {
        let bytes = Json::encode(value)?;
        self.answer(redis::cmd("SET").arg(key.as_ref()).arg(&*bytes)).await
    }

    /// Sets the value of a key; it expires after `ttl`, counted in whole milliseconds, at least one.
    ///
    /// # Errors
    /// As [`Connection::set_value`].
    ///
    /// # Cancel safety
    /// As [`Connection::set_value`].
    pub async fn set_value_for<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &T,
        ttl: Duration,
    ) -> Result<(), Error> {
        let bytes = Json::encode(value)?;
        self.answer(redis::cmd("SET").arg(key.as_ref()).arg(&*bytes).arg("PX").arg(millis(ttl))).await
    }

    /// The value of a key, from a loader where there is none yet; what it gives is kept for `ttl`.
    ///
    /// Callers in this process who ask for one key of one keyspace at the same time share one load, and its error. A
    /// loader that gives `None` is believed for as long: `null` is stored. A value that somebody set while the loader ran
    /// is not overwritten. A loader must not ask for its own key: it would wait for itself.
    ///
    /// What is read first may come from a copy, as the policy has it; before anything is loaded, the primary is asked. A
    /// value that could be loaded but not stored is given to the caller all the same, and the log says so.
    ///
    /// Not promised:
    /// - that processes share a load: each has its own;
    /// - that what is stored is the newest: after a deletion a slow loader may store what it read before. Give such keys
    ///   a short `ttl`, or set the new value instead of deleting the old;
    /// - any bound on the loader's time: only the calls to the servers have a deadline.
    ///
    /// ```no_run
    /// # async fn example(connection: archipelago::Connection) -> Result<(), archipelago::Error> {
    /// use std::time::Duration;
    /// # async fn from_database(id: u64) -> Result<Option<String>, std::io::Error> { Ok(Some(format!("user {id}"))) }
    /// let name = connection.get_or_load("user:7:name", Duration::from_secs(60), || from_database(7)).await?;
    /// assert_eq!(name.as_deref(), Some("user 7"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Load`] with the loader's own words when it failed, for all who waited: nothing is stored.
    /// [`ErrorKind::Serialization`] when what is stored is no such value. When the servers cannot be asked, the loader is
    /// not run: all processes at once would run theirs.
    ///
    /// # Cancel safety
    /// When the caller whose loader runs is dropped, the next who waits runs its own.
    pub async fn get_or_load<T, E, F>(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        loader: impl FnOnce() -> F,
    ) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        E: std::fmt::Display,
        F: Future<Output = Result<Option<T>, E>>,
    {
        let key = key.as_ref();
        let bytes = match self.stored(key).await? {
            Some(bytes) => bytes,
            None => self.keyspace.loads.join(key, || self.load(key, ttl, loader)).await?,
        };
        Json::decode(&bytes)
    }

    async fn load<T, E, F>(&self, key: &[u8], ttl: Duration, loader: impl FnOnce() -> F) -> Loaded
    where
        T: Serialize,
        E: std::fmt::Display,
        F: Future<Output = Result<Option<T>, E>>,
    {
        // A load that ended between this caller's look and its turn has left its value there.
        let options = (*self.options).clone().at_primary();
        if let Some(bytes) = self.with_options(options).stored(key).await? {
            return Ok(bytes);
        }
        let value =
            loader().await.map_err(|error| Error::new(ErrorKind::Load, format!("the loader failed: {error}")))?;
        let bytes = Json::encode(&value)?;
        let mut store = redis::cmd("SET");
        store.arg(key).arg(&*bytes).arg("NX").arg("PX").arg(millis(ttl));
        if let Err(error) = self.answer::<Value>(&store).await {
            tracing::warn!(%error, "what was loaded could not be stored");
        }
        Ok(bytes)
    }

    async fn stored(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let bytes: Option<Vec<u8>> = self.answer(redis::cmd("GET").arg(key)).await?;
        Ok(bytes.map(Bytes::from))
    }

    async fn answer<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Error> {
        cmd.query_async(&mut self.clone()).await.map_err(own)
    }
}

/// The crate's error as ours: the one inside, or the server's.
pub(crate) fn own(error: RedisError) -> Error {
    match (Error::of(&error), error.code()) {
        (Some(own), _) => own.clone(),
        (None, Some("WRONGTYPE")) => Error::new(ErrorKind::Refused, error.to_string()),
        (None, _) => Error::new(ErrorKind::Server, error.to_string()),
    }
}

/// Servers refuse a lifetime of zero, and one beyond what a clock of theirs can hold.
fn millis(ttl: Duration) -> u64 {
    const LONGEST: u64 = 1 << 53;
    u64::try_from(ttl.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST)
}
