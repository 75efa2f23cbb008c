//! The list: values in an order that all regions share.

use std::{fmt, marker::PhantomData};

use archipelago_engine::{End, ListEdit, Mutation, Outcome, Side, position};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, Handle, Json, array, common_methods, optional, unexpected};
use crate::{error::Error, store::Query};

/// Values in an order. What regions insert at the same time is all kept, in one order everywhere; the elements that one
/// region pushes or inserts one after the other stay together.
///
/// A removal, a pop or a delete takes away what its region has seen. So two regions may pop the same element before they
/// hear of each other: **a pop is at least once**, not exactly once. Where each element must be handled once, let one
/// region do all popping, or make the handling idempotent.
///
/// Two regions that give one element different values: the later one holds. A value set while another region removes the
/// element brings it back.
///
/// Indexes count from 0, or from the end when negative. Reads by index or at an end cost one native command; an insert
/// beside a value, [`List::remove`] and [`List::trim`] walk the list at the server. Each element carries its position,
/// usually 14 to 24 bytes (see [`position`]).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// # use std::time::Duration;
/// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
/// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
/// let (here, there) = (eu.list::<String>("todo"), us.list::<String>("todo"));
/// here.push_back(&["milk", "bread"]).await?;
/// there.push_back(&["tea", "jam"]).await?;
/// eu.wait_converged(Duration::from_secs(5)).await?;
/// let words = here.range(0, -1).await?.join(" "); // one of the runs first, the same one everywhere: they do not mix
/// assert!(words == "milk bread tea jam" || words == "tea jam milk bread");
/// assert_eq!(there.range(0, -1).await?.join(" "), words);
/// here.push_front(&["bag"]).await?;
/// here.insert_after("bag", "purse").await?;
/// assert_eq!(here.get(1).await?.as_deref(), Some("purse"));
/// assert_eq!(here.pop_front().await?.as_deref(), Some("bag"));
/// # eu.shut_down().await; us.shut_down().await; Ok(()) }
/// ```
pub struct List<T, C = Json> {
    pub(crate) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C> Clone for List<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone())
    }
}

impl<T, C> fmt::Debug for List<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("key", &self.handle.key).finish_non_exhaustive()
    }
}

impl<T, C> List<T, C> {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle, types: PhantomData }
    }

    /// The same list with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> List<T, D> {
        List::new(self.handle)
    }

    /// How many elements there are.
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

    /// Removes all elements but those from `start` to `stop`, both included; says how many.
    ///
    /// Atomic where at most 1,000 go. More go in steps of 500, the outermost first, by the ends as they stand at each step.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn trim(&self, start: i64, stop: i64) -> Result<u64, Error> {
        self.removal(ListEdit::Trim { start, stop }).await
    }

    async fn removal(&self, edit: ListEdit) -> Result<u64, Error> {
        match self.handle.write(Mutation::List(edit)).await? {
            Outcome::Removed(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }
}

impl<T, C: Codec> List<T, C> {
    /// Puts values at the front, one by one, so that the last of them is the first element; says how long the list is
    /// now. At most 10,000 at once, and 16 MiB.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came: sent again, it may be there twice. Else see
    /// [`crate::ErrorKind`].
    pub async fn push_front<V: Serialize>(&self, values: &[V]) -> Result<u64, Error> {
        self.push(End::Front, values).await
    }

    /// Puts values at the back; says how long the list is now. At most 10,000 at once, and 16 MiB.
    ///
    /// # Errors
    /// As [`List::push_front`].
    pub async fn push_back<V: Serialize>(&self, values: &[V]) -> Result<u64, Error> {
        self.push(End::Back, values).await
    }

    async fn push<V: Serialize>(&self, end: End, values: &[V]) -> Result<u64, Error> {
        if values.is_empty() {
            return self.len().await;
        }
        let values = values.iter().map(C::encode).collect::<Result<_, _>>()?;
        let push = ListEdit::Push { end, values, existing: false };
        Ok(self.growth(push).await?.unwrap_or_default())
    }

    /// How long the list is after a write; `None` when the element to insert beside was not there.
    async fn growth(&self, edit: ListEdit) -> Result<Option<u64>, Error> {
        match self.handle.write(Mutation::List(edit)).await? {
            Outcome::Length(length) => Ok(length.filter(|length| *length > 0)),
            other => Err(unexpected(&other)),
        }
    }

    /// Puts a value before the first element that holds `pivot`; says whether there is one.
    ///
    /// # Errors
    /// As [`List::push_front`].
    pub async fn insert_before<V, W>(&self, pivot: &V, value: &W) -> Result<bool, Error>
    where
        V: Serialize + ?Sized,
        W: Serialize + ?Sized,
    {
        self.insert(Side::Before, C::encode(pivot)?, C::encode(value)?).await
    }

    /// Puts a value behind the first element that holds `pivot`; says whether there is one.
    ///
    /// # Errors
    /// As [`List::push_front`].
    pub async fn insert_after<V, W>(&self, pivot: &V, value: &W) -> Result<bool, Error>
    where
        V: Serialize + ?Sized,
        W: Serialize + ?Sized,
    {
        self.insert(Side::After, C::encode(pivot)?, C::encode(value)?).await
    }

    async fn insert(&self, side: Side, pivot: Bytes, value: Bytes) -> Result<bool, Error> {
        Ok(self.growth(ListEdit::Insert { side, pivot, value }).await?.is_some())
    }

    /// Gives the element at an index another value.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] when there is no such element, [`crate::ErrorKind::MaybeApplied`] when no answer
    /// came; else see [`crate::ErrorKind`].
    pub async fn set<V: Serialize + ?Sized>(&self, index: i64, value: &V) -> Result<(), Error> {
        self.handle.write(Mutation::List(ListEdit::Set { index, value: C::encode(value)? })).await.map(drop)
    }

    /// Removes all elements that hold a value; says how many. Atomic where at most 1,000 do; more go in steps of 500.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn remove<V: Serialize + ?Sized>(&self, value: &V) -> Result<u64, Error> {
        self.removal(ListEdit::Remove { value: C::encode(value)?, count: 0 }).await
    }
}

impl<T: DeserializeOwned, C: Codec> List<T, C> {
    /// Takes the first element off; `None` when there is none. Another region may take the same one at the same time.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came: the element may be gone. An element that is no `T` is
    /// [`crate::ErrorKind::Serialization`], and gone. Else see [`crate::ErrorKind`].
    pub async fn pop_front(&self) -> Result<Option<T>, Error> {
        self.pop(End::Front).await
    }

    /// Takes the last element off; `None` when there is none. Another region may take the same one at the same time.
    ///
    /// # Errors
    /// As [`List::pop_front`].
    pub async fn pop_back(&self) -> Result<Option<T>, Error> {
        self.pop(End::Back).await
    }

    async fn pop(&self, end: End) -> Result<Option<T>, Error> {
        match self.handle.write(Mutation::List(ListEdit::Pop { end, count: 1 })).await? {
            Outcome::Popped(values) => values.first().map(|value| C::decode(value)).transpose(),
            other => Err(unexpected(&other)),
        }
    }

    /// The element at an index; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when it is no `T`; else see [`crate::ErrorKind`].
    pub async fn get(&self, index: i64) -> Result<Option<T>, Error> {
        Ok(self.range(index, index).await?.into_iter().next())
    }

    /// The elements from `start` to `stop`, both included, in order.
    ///
    /// # Errors
    /// As [`List::get`].
    pub async fn range(&self, start: i64, stop: i64) -> Result<Vec<T>, Error> {
        let members = array(self.handle.read(Query::Range { start, stop }).await?)?;
        let value = |member| {
            let member = optional(member)?.unwrap_or_default();
            let (_, value) = position::split(&member).ok_or_else(|| unexpected(&member))?;
            C::decode(&value)
        };
        members.into_iter().map(value).collect()
    }
}

common_methods!(List<T, C>);
