//! The list: values in an order that all regions share.

use std::{fmt, marker::PhantomData};

use archipelago_engine::{End, Find, ListEdit, Mutation, Outcome, Side, position};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Claimed, Codec, Handle, Json, array, common_methods, optional, unexpected,
    unreadable::{decode, decode_at},
};
use crate::{error::Error, store::Query};

/// Values in an order. What regions insert at the same time is all kept, in one order everywhere; the elements that one
/// region pushes or inserts one after the other stay together.
///
/// A removal, a pop or a delete takes away what its region has seen. So two regions may pop the same element before
/// they hear of each other: **a pop is at least once**, not exactly once. Where each element must be handled once, take
/// all of them by [`List::claim_front`], in whatever region, and none by a pop.
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

    /// What a range holds.
    async fn values(&self, start: i64, stop: i64) -> Result<Vec<Bytes>, Error> {
        let members = array(self.handle.read(Query::Range { start, stop }).await?)?;
        let value = |member| {
            let split = position::split(&optional(member)?.unwrap_or_default());
            split.map(|(_, value)| value).ok_or_else(|| unexpected(&"no element of a list"))
        };
        members.into_iter().map(value).collect()
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

    /// The index of the first element that holds a value; `None` when none does. Reads the list.
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn index_of<V: Serialize + ?Sized>(&self, value: &V) -> Result<Option<u64>, Error> {
        let first = Find { count: 1, ..Find::default() };
        Ok(self.find(value, first).await?.into_iter().next())
    }

    /// The indexes of elements that hold a value, in the order in which they are looked for (LPOS). Reads the list, as
    /// far as [`Find::most`] asks for when it looks from the front.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// # use archipelago::engine::Find;
    /// let regions = archipelago::Embedded::builder().region("eu").build()?;
    /// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
    /// let list = client.list::<u8>("list");
    /// list.push_back(&[7, 8, 7]).await?;
    /// assert_eq!(list.index_of(&8).await?, Some(1));
    /// assert_eq!(list.find(&7, Find { rank: -1, ..Find::default() }).await?, [2, 0]);
    /// # client.shut_down().await; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error`]; see [`crate::ErrorKind`].
    pub async fn find<V: Serialize + ?Sized>(&self, value: &V, find: Find) -> Result<Vec<u64>, Error> {
        Ok(find.among(&self.values(0, find.last()).await?, &C::encode(value)?))
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
            Outcome::Popped(values) => values.first().map(|value| decode::<C, T>(&self.handle.key, value)).transpose(),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes the first element off that can be taken, so that **no other claim takes it, in any region**; `None` when
    /// none is here, or none is at its home any more: a home that lost its data gives away again what a resync has brought back.
    ///
    /// Each element has a home: the region where it was inserted. That region alone gives it away, in one step, so a
    /// claim of an element that was inserted elsewhere takes a round trip there. Elements whose home cannot be reached
    /// are passed over. The next reads here do not show what was taken.
    ///
    /// An element is found once it has arrived here, or where the keyspace's reads look
    /// ([`ReadStrength`](crate::ReadStrength)); the claim itself is always one write in one region, whatever the
    /// keyspace's strength of writes. It ends by the keyspace's deadline.
    ///
    /// **Promised**: two claims never take one element, as long as its home keeps what it has acknowledged; over
    /// restarts and new incarnations, too. **Not promised**: that of a home which loses acknowledged writes (a lost AOF
    /// tail, a promoted replica that was behind), or whose old server goes on beside a new one; that a pop, a removal
    /// or a delete somewhere else at the same time does not take it as well (claims exclude claims); that an element
    /// which [`List::set`] changes elsewhere at the same time stays away; and an order among those who claim at once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when elements are left and all of their homes are out of reach:
    /// [`Error::attempts`] names the homes, and says how many elements wait there, as far as this region knows. Nothing
    /// was taken. [`crate::ErrorKind::MaybeApplied`] when a home did not answer: one element may be taken, and nobody
    /// has it; it is asked for nowhere else. An element that is no `T` is [`crate::ErrorKind::Serialization`], and
    /// gone. Else see [`crate::ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropped, the element may be taken, and nobody has it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// # use std::time::Duration;
    /// let regions = archipelago::Embedded::builder().region("eu").region("us").build()?;
    /// let eu = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
    /// let us = archipelago::Client::builder().embedded(&regions).local_region("us").build().await?;
    /// eu.list::<String>("jobs").push_back(&["resize", "send"]).await?;
    /// eu.wait_converged(Duration::from_secs(5)).await?;
    /// let job = us.list::<String>("jobs").claim_front().await?.expect("a job");
    /// assert_eq!((job.value.as_str(), job.home.as_str()), ("resize", "eu"));
    /// assert_eq!(eu.list::<String>("jobs").claim_front().await?.map(|job| job.value), Some("send".to_owned()));
    /// # eu.shut_down().await; us.shut_down().await; Ok(()) }
    /// ```
    pub async fn claim_front(&self) -> Result<Option<Claimed<T>>, Error> {
        self.claim(End::Front).await
    }

    /// The same from the back.
    ///
    /// # Errors
    /// As [`List::claim_front`].
    pub async fn claim_back(&self) -> Result<Option<Claimed<T>>, Error> {
        self.claim(End::Back).await
    }

    async fn claim(&self, end: End) -> Result<Option<Claimed<T>>, Error> {
        let claimed = self.handle.keyspace()?.claim(&self.handle.key, end).await?;
        let decoded = claimed.map(|Claimed { value: (_, value), home }| {
            Ok(Claimed { value: decode::<C, T>(&self.handle.key, &value)?, home })
        });
        decoded.transpose()
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
        let values = self.values(start, stop).await?;
        let decoded = values.iter().enumerate().map(|(at, value)| {
            // Where it is counted from the back, and the list is shorter than that, the index is not known.
            let place = || format!("element {} of the {} between {start} and {stop}", at + 1, values.len());
            decode_at::<C, T>(&self.handle.key, place, value)
        });
        decoded.collect()
    }
}

common_methods!(List<T, C>);
