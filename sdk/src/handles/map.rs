//! The map: named fields, each a register or a counter of its own.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use archipelago_engine::{Mutation, Outcome};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Codec, Handle, Json, common_methods,
    counter::{addition, integer_from},
    integer, optional, pairs, unexpected,
    unreadable::decode_at,
};
use crate::{error::Error, store::Query, text::shown};

/// Named fields. Each merges on its own, as a register or as a counter, so that regions that change different fields
/// do not disturb each other.
///
/// `T` is the type of the register fields; counter fields are integers.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let user = client.map::<String>("user:1");
/// user.set("name", "Ada").await?;
/// assert_eq!(user.get("name").await?.as_deref(), Some("Ada"));
/// assert_eq!(user.add("visits", 1).await?, 1);
/// # client.shut_down().await; Ok(()) }
/// ```
pub struct Map<T, C = Json> {
    pub(crate) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for Map<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<T, C> fmt::Debug for Map<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("key", &self.handle.key).finish_non_exhaustive()
    }
}

impl<T, C> Map<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, types: PhantomData }
    }

    /// The same map with another codec for its register fields.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> Map<T, D> {
        Map::new(self.handle)
    }

    /// Adds to a counter field and returns the value this region now sees.
    ///
    /// # Errors
    /// As [`super::Counter::add`].
    pub async fn add(&self, field: impl Into<Bytes>, amount: i64) -> Result<i64, Error> {
        match self.handle.write(addition(field.into(), amount)).await? {
            Outcome::Sum(value) => integer_from(&value),
            other => Err(unexpected(&other)),
        }
    }

    /// A counter field's value; 0 when absent.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when the field is no integer; else see [`crate::ErrorKind`].
    pub async fn count(&self, field: impl Into<Bytes>) -> Result<i64, Error> {
        optional(self.handle.read(Query::Field(field.into())).await?)?.map_or(Ok(0), |value| integer_from(&value))
    }

    /// Removes a field; says whether it was there.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn remove(&self, field: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(self.handle.remove(vec![field.into()]).await? == 1)
    }

    /// Whether a field is there.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn contains(&self, field: impl Into<Bytes>) -> Result<bool, Error> {
        Ok(integer(&self.handle.read(Query::HasField(field.into())).await?)? == 1)
    }

    /// How many fields there are.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn len(&self) -> Result<u64, Error> {
        self.handle.count().await
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

impl<T, C: Codec> Map<T, C> {
    /// Sets a register field.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn set<V: Serialize + ?Sized>(&self, field: impl Into<Bytes>, value: &V) -> Result<(), Error> {
        let entry = (field.into(), C::encode(value)?);
        self.handle.write(Mutation::assign([entry])).await.map(drop)
    }
}

impl<T: DeserializeOwned, C: Codec> Map<T, C> {
    /// A register field's value; `None` when absent.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when the stored bytes are no such value; else see [`crate::ErrorKind`].
    pub async fn get(&self, field: impl Into<Bytes>) -> Result<Option<T>, Error> {
        let field = field.into();
        let value = optional(self.handle.read(Query::Field(field.clone())).await?)?;
        value.map(|bytes| self.decode(&field, &bytes)).transpose()
    }

    /// All fields, as registers (counter fields read as numbers where `T` allows).
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn entries(&self) -> Result<BTreeMap<Bytes, T>, Error> {
        let fields = pairs(self.handle.read(Query::All).await?)?;
        let decoded = fields.into_iter().map(|(field, value)| {
            let value = self.decode(&field, &value)?;
            Ok((field, value))
        });
        decoded.collect()
    }

    fn decode(&self, field: &Bytes, value: &Bytes) -> Result<T, Error> {
        decode_at::<C, T>(&self.handle.key, || format!("field {}", shown(field)), value)
    }
}

common_methods!(Map<T, C>);
