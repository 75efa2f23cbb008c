//! The first-write register: one value, the first write wins.

use std::{fmt, marker::PhantomData};

use archipelago_engine::Mutation;
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, Handle, Json, common_methods, optional, unreadable::decode};
use crate::{error::Error, store::Query};

/// One value of any serde type; of concurrent writes the earliest wins, and a write where a value stands does nothing.
///
/// **The winner is provisional until every region has synced**: two regions may each take a first write, and the later one
/// gives way when they hear of each other. So it is no lock and claims no unique name. [`FirstRegister::delete`] makes
/// room for a new first write.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let opener = eu.first_register::<String>("opener");
/// assert!(opener.set("ada").await?);
/// assert!(!opener.set("bob").await?);
/// assert!(us.first_register::<String>("opener").set("cyd").await?); // us has not heard of ada yet
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(us.first_register::<String>("opener").get().await?.as_deref(), Some("ada"));
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
pub struct FirstRegister<T, C = Json> {
    pub(crate) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for FirstRegister<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<T, C> fmt::Debug for FirstRegister<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstRegister").field("key", &self.handle.key).finish_non_exhaustive()
    }
}

impl<T, C> FirstRegister<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, types: PhantomData }
    }

    /// The same register with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> FirstRegister<T, D> {
        FirstRegister::new(self.handle)
    }
}

impl<T: DeserializeOwned, C: Codec> FirstRegister<T, C> {
    /// The value; `None` when absent.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when the stored bytes are no such value; else see [`crate::ErrorKind`].
    pub async fn get(&self) -> Result<Option<T>, Error> {
        optional(self.handle.read(Query::Value).await?)?
            .map(|bytes| decode::<C, T>(&self.handle.key, &bytes))
            .transpose()
    }
}

impl<T, C: Codec> FirstRegister<T, C> {
    /// Sets the value if this region sees none; says whether it did. See above for what that is worth.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came: repeating it does no harm. Else see [`crate::ErrorKind`].
    pub async fn set<V: Serialize + ?Sized>(&self, value: &V) -> Result<bool, Error> {
        Ok(self.handle.assign(Mutation::set(C::encode(value)?)).await?.assigned > 0)
    }
}

common_methods!(FirstRegister<T, C>);
