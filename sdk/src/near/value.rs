//! A value that is held in this process.

use std::{any::TypeId, fmt, future::Future, sync::Arc, time::Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::task::coop::consume_budget;
use xxhash_rust::xxh3::Xxh3;

use super::{
    cache::{Cache, Facet, FacetId, Part, Slot, Ticket},
    keyspace::NearKeyspace,
    recent::Recent,
    source::Ask,
    watch::Watch,
};
use crate::{
    error::{Error, ErrorKind},
    store::{Query, Reply},
};

/// How a region's answer becomes a value; `None` when there is none.
pub(super) type Decode<T> = fn(Reply) -> Result<Option<T>, Error>;

/// A value of a keyspace, held in this process while it does not change. Made by [`Near`](super::Near); cheap to clone.
///
/// Keep it: one that is read more than ten times a second remembers what it found, and answers in a third of the time that
/// a look into the cache takes.
///
/// Writes go through the keyspace's usual handles and connections. How fresh it is: see [`near`](super).
pub struct NearValue<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    space: Result<Arc<NearKeyspace>, Error>,
    /// Under which it is held.
    key: Bytes,
    slot: Slot,
    ask: Ask,
    id: FacetId,
    decode: Decode<T>,
    recent: Recent<T>,
}

impl<T> Clone for NearValue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T> fmt::Debug for NearValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearValue").field("key", &self.inner.key).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> NearValue<T> {
    pub(super) fn new(
        space: Result<Arc<NearKeyspace>, Error>,
        key: Bytes,
        ask: Ask,
        (type_id, part): (TypeId, Part),
        decode: Decode<T>,
    ) -> Self {
        let (slot, id) = (Cache::slot(&key), FacetId { type_id, part, is_loaded: false });
        Self { inner: Arc::new(Inner { space, key, slot, ask, id, decode, recent: Recent::default() }) }
    }

    /// What is held here now, without a look at the region: `None` when nothing is, `Some(None)` when it is known that
    /// there is no value. No network, no lock.
    #[must_use]
    pub fn cached(&self) -> Option<Option<Arc<T>>> {
        let Inner { space, slot, recent, .. } = &*self.inner;
        let cache = &space.as_ref().ok()?.cache;
        let (ticket, now) = (cache.ticket(*slot), Instant::now());
        match recent.look(ticket, now).or_else(|| self.look(cache, ticket, now)) {
            Some(value) => {
                cache.hit(*slot);
                Some(value)
            }
            None => {
                cache.counts.misses.add();
                None
            }
        }
    }

    /// The value; `None` when there is none. From here if it is held, else from the region; of callers who ask at the same
    /// time one does. Now and then it lets the runtime do something else first, even when it is held.
    ///
    /// # Errors
    /// As the ordinary read of the keyspace; nothing of an error is held. [`ErrorKind::Config`] when the keyspace is on the
    /// other plane, [`ErrorKind::Unavailable`] after shutdown.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future: who waits for the same read goes on with its own.
    pub async fn get(&self) -> Result<Option<Arc<T>>, Error> {
        match self.cached() {
            Some(value) => {
                // A loop over hits never waits: it would keep the word of a change from being heard.
                consume_budget().await;
                Ok(value)
            }
            // On the heap: the future of a hit stays small.
            None => Box::pin(self.fetch()).await.map(|facet| self.value_of(&facet)),
        }
    }

    /// The value; where the region has none, what `loader` gives, which is held here and nowhere else: until somebody
    /// writes the key, or for the cache's time to live.
    ///
    /// One loader of a key runs at a time. A caller who waits takes its outcome, or its error, only if it began after the
    /// caller asked, or is still held. `None` of a loader is held, too. A loader must not ask for its own key: it would wait
    /// for itself. Nothing bounds its time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// use archipelago::{Client, Embedded};
    /// # async fn from_database() -> Result<Option<u32>, std::io::Error> { Ok(Some(7)) }
    ///
    /// let regions = Embedded::builder().region("eu").build()?;
    /// let client = Client::builder().embedded(&regions).local_region("eu").build().await?;
    /// let price = client.near("default")?.register::<u32>("price");
    /// assert_eq!(price.get_or_load(from_database).await?.as_deref(), Some(&7));
    /// client.register::<u32>("price").set(&8).await?;
    /// assert_eq!(price.get_or_load(from_database).await?.as_deref(), Some(&8));
    /// # client.shut_down().await; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Load`] with the loader's own words; else as [`NearValue::get`]. When the region cannot be asked, the
    /// loader is not run: all processes at once would run theirs.
    ///
    /// # Cancel safety
    /// When the caller whose loader runs is dropped, the next who waits runs its own.
    pub async fn get_or_load<E: fmt::Display, F: Future<Output = Result<Option<T>, E>>>(
        &self,
        loader: impl FnOnce() -> F,
    ) -> Result<Option<Arc<T>>, Error>
    where
        T: Serialize,
    {
        if let Some(value) = self.get().await? {
            return Ok(Some(value));
        }
        let id = FacetId { is_loaded: true, ..self.inner.id };
        let space = self.space()?;
        let seat = (self.inner.key.clone(), id);
        let held = || space.cache.look(&self.inner.key, id, |facet| Ok(facet.clone()));
        let facet = space.turns.take(&seat, held, || self.load(space, id, loader)).await?;
        Ok(self.value_of(&facet))
    }

    /// The value now, and then each time it changes in the local region, for as long as the client lives.
    pub fn watch(&self) -> Watch<T> {
        Watch::new(self.clone())
    }

    /// What the cache holds, remembered for the next look.
    fn look(&self, cache: &Cache, ticket: Ticket, now: Instant) -> Option<Option<Arc<T>>> {
        let Inner { key, id, recent, .. } = &*self.inner;
        let (value, deadline) = cache.look(key, *id, |facet| (self.value_of(facet), facet.deadline))?;
        recent.remember(ticket, deadline.min(now + cache.moment()), value.as_ref());
        Some(value)
    }

    /// From the region, or what is held since.
    async fn fetch(&self) -> Result<Facet, Error> {
        let space = self.space()?;
        let seat = (self.inner.key.clone(), self.inner.id);
        space.turns.take(&seat, || self.held(space).map(Ok), || self.read(space)).await
    }

    fn held(&self, space: &NearKeyspace) -> Option<Facet> {
        space.cache.look(&self.inner.key, self.inner.id, Facet::clone)
    }

    /// As [`NearValue::get`], with what a watcher needs to know.
    pub(super) async fn facet(&self) -> Result<Facet, Error> {
        match self.held(self.space()?) {
            Some(facet) => Ok(facet),
            None => self.fetch().await,
        }
    }

    async fn read(&self, space: &NearKeyspace) -> Result<Facet, Error> {
        let Inner { key, slot, ask, id, decode, .. } = &*self.inner;
        let ticket = space.cache.ticket(*slot);
        let told = space.read(ask).await?;
        let reply = in_order(ask, told.answer.reply);
        let (mark, bytes) = measured(&reply);
        let value = decode(reply)?.map(|value| Arc::new(value) as _);
        let facet = Facet { id: *id, value, mark, deadline: told.deadline, bytes };
        if told.is_kept {
            space.cache.keep(ticket, key, facet.clone());
        }
        Ok(facet)
    }

    async fn load<E: fmt::Display, F: Future<Output = Result<Option<T>, E>>>(
        &self,
        space: &NearKeyspace,
        id: FacetId,
        loader: impl FnOnce() -> F,
    ) -> Result<Facet, Error>
    where
        T: Serialize,
    {
        let ticket = space.cache.ticket(self.inner.slot);
        let is_kept = space.keeps(&self.inner.ask);
        let failed = |error: E| Error::new(ErrorKind::Load, format!("the loader failed: {error}"));
        let value = loader().await.map_err(failed)?;
        let mut stored = Counter(0);
        serde_json::to_writer(&mut stored, &value).map_err(|_| {
            Error::new(
                ErrorKind::Serialization,
                "what the loader gave cannot be written as JSON, by which it is measured",
            )
        })?;
        let deadline = Instant::now() + space.cache.ttl();
        let value = value.map(|value| Arc::new(value) as _);
        let facet = Facet { id, value, mark: 0, deadline, bytes: stored.0 };
        if is_kept {
            space.cache.keep(ticket, &self.inner.key, facet.clone());
        }
        Ok(facet)
    }

    pub(super) fn value_of(&self, facet: &Facet) -> Option<Arc<T>> {
        // It is of this type: that is part of the facet's name.
        facet.value.clone().and_then(|value| value.downcast().ok())
    }

    pub(super) fn space(&self) -> Result<&Arc<NearKeyspace>, Error> {
        self.inner.space.as_ref().map_err(Error::clone)
    }

    pub(super) fn key(&self) -> &Bytes {
        &self.inner.key
    }
}

/// Servers answer members and fields in any order, and in another one after a restart.
fn in_order(ask: &Ask, reply: Reply) -> Reply {
    let Ask::View(read) = ask else { return reply };
    match (&read.query, reply) {
        (Query::Members, Reply::Array(mut members)) => {
            members.sort_by(|a, b| bytes_of(a).cmp(bytes_of(b)));
            Reply::Array(members)
        }
        (Query::All, Reply::Array(flat)) => {
            let mut pairs: Vec<_> = flat.chunks(2).collect();
            pairs.sort_by(|a, b| a.first().map(bytes_of).cmp(&b.first().map(bytes_of)));
            Reply::Array(pairs.concat())
        }
        (_, reply) => reply,
    }
}

fn bytes_of(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bytes(bytes) => bytes,
        Reply::Nil | Reply::Int(_) | Reply::Array(_) => &[],
    }
}

/// A hash of an answer, and its size.
fn measured(reply: &Reply) -> (u128, usize) {
    fn add(hash: &mut Xxh3, reply: &Reply) -> usize {
        match reply {
            Reply::Nil => {
                hash.update(b"n");
                0
            }
            Reply::Int(n) => {
                hash.update(b"i");
                hash.update(&n.to_le_bytes());
                8
            }
            Reply::Bytes(bytes) => {
                hash.update(b"b");
                hash.update(&bytes.len().to_le_bytes());
                hash.update(bytes);
                bytes.len()
            }
            Reply::Array(items) => {
                hash.update(b"a");
                hash.update(&items.len().to_le_bytes());
                // Each is a handle beside its bytes.
                items.iter().map(|item| add(hash, item) + size_of::<Reply>()).sum()
            }
        }
    }
    let mut hash = Xxh3::new();
    let size = add(&mut hash, reply);
    (hash.digest128(), size)
}

/// Counts what is written.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
