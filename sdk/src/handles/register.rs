//! The register: one value, the latest write wins.

use std::{fmt, marker::PhantomData, time::Duration};

use archipelago_engine::{Assignment, Mutation, Outcome, Presence, Retention};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, Handle, Json, after, common_methods, optional, unexpected, unreadable::decode};
use crate::{error::Error, store::Query};

/// One value of any serde type; of concurrent writes the latest wins.
///
/// Stored as a plain string: JSON by default, [`super::MessagePack`] by choice. For numbers that several regions change
/// at once use a [`super::Counter`], which loses no increment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let greeting = client.register::<String>("greeting");
/// greeting.set("hello").await?;
/// assert_eq!(greeting.get().await?.as_deref(), Some("hello"));
/// # client.shut_down().await; Ok(()) }
/// ```
pub struct Register<T, C = Json> {
    pub(crate) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for Register<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<T, C> fmt::Debug for Register<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("key", &self.handle.key).finish_non_exhaustive()
    }
}

impl<T, C> Register<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, types: PhantomData }
    }

    /// The same register with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> Register<T, D> {
        Register::new(self.handle)
    }
}

impl<T: DeserializeOwned, C: Codec> Register<T, C> {
    /// The value; `None` when absent.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when the stored bytes are no such value; else see [`crate::ErrorKind`].
    pub async fn get(&self) -> Result<Option<T>, Error> {
        optional(self.handle.read(Query::Value).await?)?
            .map(|bytes| decode::<C, T>(&self.handle.key, &bytes))
            .transpose()
    }

    /// Removes the value and returns what it was.
    ///
    /// # Errors
    /// As [`Register::get`], and [`crate::ErrorKind::MaybeApplied`] when no answer came.
    pub async fn take(&self) -> Result<Option<T>, Error> {
        match self.handle.write(Mutation::Clear { previous: true }).await? {
            Outcome::Cleared { previous, .. } => {
                previous.map(|bytes| decode::<C, T>(&self.handle.key, &bytes)).transpose()
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl<T, C: Codec> Register<T, C> {
    /// Sets the value, and removes any expiry.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn set<V: Serialize + ?Sized>(&self, value: &V) -> Result<(), Error> {
        self.assign(C::encode(value)?, Presence::Any, Retention::Clear).await.map(drop)
    }

    /// Sets the value; it expires after `duration`.
    ///
    /// # Errors
    /// As [`Register::set`].
    pub async fn set_for<V: Serialize + ?Sized>(&self, value: &V, duration: Duration) -> Result<(), Error> {
        self.assign(C::encode(value)?, Presence::Any, Retention::Set(after(duration))).await.map(drop)
    }

    /// Sets the value only if this region sees none; says whether it did.
    ///
    /// Not a lock across regions: two of them may do so at once, and the latest wins.
    ///
    /// # Errors
    /// As [`Register::set`].
    pub async fn set_if_absent<V: Serialize + ?Sized>(&self, value: &V) -> Result<bool, Error> {
        self.assign(C::encode(value)?, Presence::Absent, Retention::Clear).await
    }

    async fn assign(&self, payload: Bytes, presence: Presence, retention: Retention) -> Result<bool, Error> {
        Ok(self.handle.assign(assignment(payload, presence, retention)).await?.assigned > 0)
    }
}

pub(super) fn assignment(payload: Bytes, presence: Presence, retention: Retention) -> Mutation {
    let entries = vec![(Bytes::new(), payload)];
    Mutation::Assign(Assignment { entries, presence, retention, ..Assignment::default() })
}

common_methods!(Register<T, C>);
