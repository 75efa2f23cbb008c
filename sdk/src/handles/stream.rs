//! The stream: entries of fields, in the order of their ids.

use archipelago_engine::{Append, End, EntryId, Keep, Key, Mutation, Outcome, decode_fields, encode_fields};
use bytes::Bytes;

use super::{Claimed, Handle, array, common_methods, optional, unexpected, unreadable::of_member};
use crate::{
    error::Error,
    store::{Query, Reply},
};

/// An entry of a [`Stream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its id.
    pub id: EntryId,
    /// Its fields, as they were given.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// Entries of fields, in the order of their [ids](EntryId). What regions append at the same time is all kept; no two of
/// them give one id. A delete or trim removes what its region has seen.
///
/// **An entry of another region may arrive late, with an id below some that are here already.** Who reads on from the
/// last id it has seen misses that one. Where every reader must see every entry, read again from some time back, and
/// let handling be idempotent by the id.
///
/// There are no consumer groups: each region would hand an entry to a consumer of its own. Where every entry is for one
/// consumer, let them all [claim](Stream::claim), in whatever region: each entry goes to one, and is gone from the
/// stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// let regions = archipelago::Embedded::builder().region("eu").build()?;
/// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
/// let log = client.stream("log");
/// let first = log.append([("level", "info"), ("text", "up")]).await?;
/// let second = log.append([("level", "warn"), ("text", "hot")]).await?;
/// assert!(first < second);
/// let after = log.after(first, 10).await?;
/// assert_eq!((after[0].id, after[0].fields[1].1.as_ref()), (second, b"hot".as_ref()));
/// # client.shut_down().await; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    pub(crate) handle: Handle,
}

impl Stream {
    /// Appends an entry; answers the id that the local region gives it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came: appended again, it may be there twice. Else see
    /// [`crate::ErrorKind`].
    pub async fn append<F, V>(&self, fields: impl IntoIterator<Item = (F, V)>) -> Result<EntryId, Error>
    where
        F: Into<Bytes>,
        V: Into<Bytes>,
    {
        self.add(fields, None).await
    }

    /// Appends an entry and removes the oldest beyond so many; at most 10,000 of them in one call. Zero removes the new one,
    /// too, as XADD's MAXLEN 0 does.
    ///
    /// # Errors
    /// As [`Stream::append`].
    pub async fn append_capped<F, V>(
        &self,
        fields: impl IntoIterator<Item = (F, V)>,
        newest: u64,
    ) -> Result<EntryId, Error>
    where
        F: Into<Bytes>,
        V: Into<Bytes>,
    {
        self.add(fields, Some(Keep::Newest(newest))).await
    }

    async fn add<F: Into<Bytes>, V: Into<Bytes>>(
        &self,
        fields: impl IntoIterator<Item = (F, V)>,
        keep: Option<Keep>,
    ) -> Result<EntryId, Error> {
        match self.handle.write(appending(fields, keep)).await? {
            Outcome::Appended(Some(id)) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// The entries from one id to another, both included; at most so many.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Serialization`] when somebody has written into the view what is no entry: it names the key
    /// and the entry. Else see [`crate::ErrorKind`].
    pub async fn range(&self, from: EntryId, to: EntryId, limit: u64) -> Result<Vec<StreamEntry>, Error> {
        self.read(from, to, false, limit).await
    }

    /// The last entries, the newest first; at most so many.
    ///
    /// # Errors
    /// As [`Stream::range`].
    pub async fn newest(&self, limit: u64) -> Result<Vec<StreamEntry>, Error> {
        self.read(EntryId::ZERO, EntryId::MAX, true, limit).await
    }

    /// The entries behind an id; at most so many. It misses what arrives late, see [`Stream`].
    ///
    /// # Errors
    /// As [`Stream::range`].
    pub async fn after(&self, id: EntryId, limit: u64) -> Result<Vec<StreamEntry>, Error> {
        match id.next() {
            Some(first) => self.read(first, EntryId::MAX, false, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn read(&self, from: EntryId, to: EntryId, reverse: bool, limit: u64) -> Result<Vec<StreamEntry>, Error> {
        entries_of(&self.handle.key, self.handle.read(between(from, to, reverse, Some(limit))).await?)
    }

    /// Takes the oldest entry off that can be taken, so that no other claim takes it, in any region; `None` when none
    /// is here. [`List::claim_front`](crate::List::claim_front) says what is promised and what is not.
    ///
    /// Entries whose id the application chose (the interpreter's XADD takes such ids) have no home, and are passed
    /// over: two regions may have chosen one id.
    ///
    /// # Errors
    /// As [`List::claim_front`](crate::List::claim_front).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// let regions = archipelago::Embedded::builder().region("eu").build()?;
    /// let client = archipelago::Client::builder().embedded(&regions).local_region("eu").build().await?;
    /// let mails = client.stream("mails");
    /// let id = mails.append([("to", "ada")]).await?;
    /// assert_eq!(mails.claim().await?.map(|mail| mail.value.id), Some(id));
    /// assert_eq!(mails.claim().await?, None);
    /// # client.shut_down().await; Ok(()) }
    /// ```
    pub async fn claim(&self) -> Result<Option<Claimed<StreamEntry>>, Error> {
        let Some(Claimed { value: (id, payload), home }) =
            self.handle.keyspace()?.claim(&self.handle.key, End::Front).await?
        else {
            return Ok(None);
        };
        let member = [id, payload].concat().into();
        let value = entry_of(&member).ok_or_else(|| of_member(&self.handle.key, &member))?;
        Ok(Some(Claimed { value, home }))
    }

    /// Removes entries; says how many were there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::MaybeApplied`] when no answer came; else see [`crate::ErrorKind`].
    pub async fn remove(&self, ids: impl IntoIterator<Item = EntryId>) -> Result<u64, Error> {
        self.handle.remove(ids.into_iter().map(EntryId::to_bytes).collect()).await
    }

    /// Removes the oldest entries but for what is to stay; says how many, at most 10,000.
    ///
    /// # Errors
    /// As [`Stream::remove`].
    pub async fn trim(&self, keep: Keep) -> Result<u64, Error> {
        match self.handle.write(Mutation::Evict(keep)).await? {
            Outcome::Removed(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }

    /// How many entries there are.
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

/// Appends an entry with an id that the region gives.
pub(super) fn appending<F: Into<Bytes>, V: Into<Bytes>>(
    fields: impl IntoIterator<Item = (F, V)>,
    keep: Option<Keep>,
) -> Mutation {
    let fields: Vec<(Bytes, Bytes)> = fields.into_iter().map(|(field, value)| (field.into(), value.into())).collect();
    Mutation::Append(Append { id: None, payload: encode_fields(&fields), existing: false, keep })
}

/// The query for the entries from one id to another, both included.
pub(crate) fn between(from: EntryId, to: EntryId, reverse: bool, limit: Option<u64>) -> Query {
    Query::Between { from: from.to_bytes(), to: to.next().map(EntryId::to_bytes), reverse, limit }
}

/// The entry of a view's member.
pub(crate) fn entry_of(member: &Bytes) -> Option<StreamEntry> {
    let (id, payload) = EntryId::split(member)?;
    Some(StreamEntry { id, fields: decode_fields(&payload)? })
}

/// The entries of what a query answers.
pub(crate) fn entries_of(key: &Key, reply: Reply) -> Result<Vec<StreamEntry>, Error> {
    let entry = |member| {
        let member = optional(member)?.unwrap_or_default();
        entry_of(&member).ok_or_else(|| of_member(key, &member))
    };
    array(reply)?.into_iter().map(entry).collect()
}

common_methods!(Stream);
