//! The store: a session is looked for here, then at its home.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc, time::Duration};

use archipelago_engine::{Expiry, Presence};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    address::{Address, HomeTag},
    id::SessionId,
    record::{Record, Sight},
};
use crate::{
    client::Client,
    error::{Error, ErrorKind},
    handles::{Codec, Json, after},
    store::Store,
};

/// Sessions of web applications, in one active-active keyspace; see [the module](super). Cheap to clone.
///
/// The data of a session are any serde value: JSON by default, [`MessagePack`](crate::MessagePack) by choice.
///
/// Every call is at local latency where the session has arrived: one round trip to read it, two to change it. Where it has
/// not, the home is asked too.
pub struct SessionStore<C = Json> {
    regions: Arc<Regions>,
    deadline: Duration,
    codec: PhantomData<fn() -> C>,
}

/// The keyspace's regions.
struct Regions {
    here: HomeTag,
    stores: BTreeMap<HomeTag, Arc<dyn Store>>,
    local: Arc<dyn Store>,
    /// One for each question to a home that may be under way.
    lookups: Semaphore,
}

/// A session that is valid, and where it was found.
struct Found<'a> {
    record: Record<'a>,
    data: Bytes,
}

/// What a revocation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revocation {
    /// The session, and ended it.
    Done,
    /// One that was revoked before.
    Repeated,
    /// None.
    NoSession,
}

impl<C> Clone for SessionStore<C> {
    fn clone(&self) -> Self {
        Self { regions: self.regions.clone(), deadline: self.deadline, codec: PhantomData }
    }
}

impl<C> fmt::Debug for SessionStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions: Vec<_> = self.regions.stores.values().map(|store| store.region()).collect();
        f.debug_struct("SessionStore").field("regions", &regions).finish_non_exhaustive()
    }
}

impl SessionStore {
    /// How many look-ups at other regions are under way at the same time, at most.
    pub const LOOKUPS: usize = 256;

    /// How long another region is waited for, unless [`SessionStore::with_deadline`] says otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(1);

    /// Sessions in a keyspace. The client has to know all regions: not one of
    /// [`Builder::local_only`](crate::Builder::local_only), which would take a session that is elsewhere for none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a keyspace that is unknown or routed, and for two regions whose names have the same 16
    /// bits of hash (one pair of 65,536): call one of them otherwise.
    pub fn new(client: &Client, keyspace: &str) -> Result<Self, Error> {
        let local = client.keyspace(keyspace)?.store;
        let island = client.inner.islands.iter().find(|island| island.keyspace == keyspace);
        let mut stores: BTreeMap<HomeTag, Arc<dyn Store>> = BTreeMap::new();
        for (region, store) in island.into_iter().flat_map(|island| &island.stores) {
            if let Some(other) = stores.insert(HomeTag::of(region), store.clone()) {
                let text = format!("sessions cannot tell {region} from {}: call one of them otherwise", other.region());
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        let here = HomeTag::of(local.region());
        let regions = Regions { here, stores, local, lookups: Semaphore::new(Self::LOOKUPS) };
        Ok(Self { regions: Arc::new(regions), deadline: Self::DEADLINE, codec: PhantomData })
    }
}

impl<C> SessionStore<C> {
    /// How long another region is waited for: longer than a round trip there, shorter than a visitor's patience.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same sessions with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> SessionStore<D> {
        SessionStore { regions: self.regions, deadline: self.deadline, codec: PhantomData }
    }

    /// Lets a session live for `ttl` from now on; says whether there is one.
    ///
    /// Of two renewals at the same time the longer holds.
    ///
    /// # Errors
    /// As [`SessionStore::load`], and [`ErrorKind::MaybeApplied`] when no answer came: repeat it.
    pub async fn renew(&self, id: &SessionId, ttl: Duration) -> Result<bool, Error> {
        match self.find(&id.address()).await? {
            Some(found) => self.in_time(found.record, found.record.renew(after(ttl))).await,
            None => Ok(false),
        }
    }

    /// Ends a session for good: a logout. Says whether it is known to have been one; again and again is harmless.
    ///
    /// When it returns, the revocation is recorded in a region that has the session, and this region knows. Others learn
    /// it by the links, the home at once if it can be reached; it is waited for until the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where the session has not arrived yet and its home cannot be reached,
    /// [`ErrorKind::MaybeApplied`] when no answer came: in both cases repeat it.
    ///
    /// # Cancel safety
    /// Dropped half-way the revocation may be recorded and this region not know yet: repeat it.
    pub async fn revoke(&self, id: &SessionId) -> Result<bool, Error> {
        Ok(self.end(&id.address()).await? != Revocation::NoSession)
    }

    /// Ends a session for good, and returns when most regions know, of two both: for a stolen account. They may take up to the
    /// deadline.
    ///
    /// # Errors
    /// As [`SessionStore::revoke`], and [`ErrorKind::Unavailable`] when fewer regions answered: the revocation is recorded
    /// and will get there; repeat it to know.
    pub async fn revoke_at_majority(&self, id: &SessionId) -> Result<bool, Error> {
        let address = id.address();
        if self.end(&address).await? == Revocation::NoSession {
            return Ok(false);
        }
        let records = self.regions.stores.values().map(|store| Record { store, address: &address });
        let told = join_all(records.map(|record| self.in_time(record, record.mark()))).await;
        let (all, reached) = (told.len(), told.iter().filter(|answer| answer.is_ok()).count());
        if reached > all / 2 {
            return Ok(true);
        }
        let text = format!("the session is revoked, but only {reached} of {all} regions said that they know");
        Err(Error::new(ErrorKind::Unavailable, text))
    }

    /// Gives a session a new id, with the same data and time to live, and ends the old one; `None` when there is no such
    /// session.
    ///
    /// For every login: whoever planted the id before it (session fixation) has nothing afterwards. This region becomes
    /// the home.
    ///
    /// # Errors
    /// As [`SessionStore::create`], [`SessionStore::load`] and [`SessionStore::revoke`]. The old id may then be valid, and
    /// nobody has the new one: treat the login as failed.
    pub async fn rotate(&self, id: &SessionId) -> Result<Option<SessionId>, Error> {
        let address = id.address();
        let Some(Found { record, data }) = self.find(&address).await? else { return Ok(None) };
        let Some(expiry) = self.asked(record, record.time_left()).await? else { return Ok(None) };
        // First the new one: the other way round a failure between the two would log the visitor out.
        let new = self.insert(&data, expiry).await?;
        if self.end(&address).await? == Revocation::Done {
            return Ok(Some(new));
        }
        // Somebody else ended it meanwhile: a logout, or another rotation, and there must not be two.
        self.end(&new.address()).await?;
        Ok(None)
    }

    /// A new session of this region.
    async fn insert(&self, data: &Bytes, expiry: Expiry) -> Result<SessionId, Error> {
        let draw = || SessionId::random(self.regions.here);
        self.insert_drawn(data, expiry, draw, SessionId::address).await
    }

    /// A new session under the first drawn id that is free. More than one drawing means that the system's random bits
    /// are none.
    pub(super) async fn insert_drawn<I>(
        &self,
        data: &Bytes,
        expiry: Expiry,
        mut draw: impl FnMut() -> Result<I, Error>,
        address: impl Fn(&I) -> Address,
    ) -> Result<I, Error> {
        for _ in 0..3 {
            let id = draw()?;
            let address = address(&id);
            if self.here(&address).create(data.clone(), expiry).await? {
                return Ok(id);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the system's random bits repeat: no session id is free"))
    }

    /// Replaces the data of a session; says whether there is one.
    pub(super) async fn replace(&self, address: &Address, data: Bytes, expiry: Expiry) -> Result<bool, Error> {
        let Some(found) = self.find(address).await? else { return Ok(false) };
        let record = found.record;
        let saved = self.in_time(record, record.save(data.clone(), Presence::Present, expiry)).await?;
        if saved && !self.is_here(record) {
            // Here, too, though the session has not arrived: else it would first show what was before this save.
            self.here(address).save(data, Presence::Any, expiry).await?;
        }
        Ok(saved)
    }

    /// The data of a session.
    pub(super) async fn data(&self, address: &Address) -> Result<Option<Bytes>, Error> {
        Ok(self.find(address).await?.map(|found| found.data))
    }

    /// Ends a session, here and at its home.
    #[cfg(feature = "tower-sessions")]
    pub(super) async fn revoke_at(&self, address: &Address) -> Result<(), Error> {
        self.end(address).await.map(drop)
    }

    /// The region that new sessions name as their home.
    #[cfg(feature = "tower-sessions")]
    pub(super) fn home(&self) -> HomeTag {
        self.regions.here
    }

    fn here<'a>(&'a self, address: &'a Address) -> Record<'a> {
        Record { store: &self.regions.local, address }
    }

    fn is_here(&self, record: Record<'_>) -> bool {
        Arc::ptr_eq(record.store, &self.regions.local)
    }

    /// At its home, if that is another region and one that is known.
    fn elsewhere<'a>(&'a self, address: &'a Address) -> Option<Record<'a>> {
        let store = self.regions.stores.get(&address.home).filter(|_| address.home != self.regions.here)?;
        Some(Record { store, address })
    }

    /// The session where it is: here, or else at its home.
    async fn find<'a>(&'a self, address: &'a Address) -> Result<Option<Found<'a>>, Error> {
        let here = self.here(address);
        match here.look().await? {
            Sight::Live(data) => return Ok(Some(Found { record: here, data })),
            // Not asked further: the home may not have heard of it.
            Sight::Revoked => return Ok(None),
            Sight::Absent => {}
        }
        let Some(home) = self.elsewhere(address) else { return Ok(None) };
        match self.asked(home, home.look()).await? {
            Sight::Live(data) => Ok(Some(Found { record: home, data })),
            Sight::Revoked | Sight::Absent => Ok(None),
        }
    }

    /// A question that changes nothing: without an answer nobody knows whether there is such a session.
    async fn asked<T>(&self, record: Record<'_>, question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.is_here(record) {
            return question.await;
        }
        let home = record.store.region();
        let place = format!("the session has not arrived here, and its home {home} cannot be asked");
        let lacks = |why: &str| Error::new(ErrorKind::Unavailable, why).within(&place);
        let answer = timeout(self.deadline, async {
            // Only a semaphore that was closed gives none, and nobody closes this one.
            let _permit = self.regions.lookups.acquire().await;
            question.await
        });
        answer.await.map_err(|_| lacks("no answer in time"))?.map_err(|error| lacks(error.message()))
    }

    /// A write, waited for no longer than the deadline where it goes to another region.
    async fn in_time<T>(&self, record: Record<'_>, write: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.is_here(record) {
            return write.await;
        }
        let late = |_| Error::new(ErrorKind::MaybeApplied, format!("{}: no answer in time", record.store.region()));
        timeout(self.deadline, write).await.map_err(late)?
    }

    async fn end(&self, address: &Address) -> Result<Revocation, Error> {
        let records: Vec<_> = [Some(self.here(address)), self.elsewhere(address)].into_iter().flatten().collect();
        // Where `live` was seen it is gone for good, and that spreads.
        let retracted = join_all(records.iter().map(|record| self.in_time(*record, record.retract()))).await;
        if !retracted.iter().any(|answer| matches!(answer, Ok(true))) {
            let sights = join_all(records.iter().map(|record| self.asked(*record, record.look()))).await;
            if sights.iter().any(|sight| matches!(sight, Ok(Sight::Revoked))) {
                return Ok(Revocation::Repeated);
            }
            return retracted.into_iter().collect::<Result<Vec<_>, _>>().map(|_| Revocation::NoSession);
        }
        // Only then the mark, or a forged id could be marked.
        // A home that did not answer is not waited for a second time.
        let answered =
            records.iter().zip(&retracted).filter(|(record, answer)| self.is_here(**record) || answer.is_ok());
        let marked = join_all(answered.map(|(record, _)| self.in_time(*record, record.mark()))).await;
        // The home learns it from the links at the latest, but here it must be known before this returns.
        marked.into_iter().next().unwrap_or(Ok(())).map(|()| Revocation::Done)
    }
}

impl<C: Codec> SessionStore<C> {
    /// Creates a session that lives for `ttl` unless it is renewed. This region is its home.
    ///
    /// # Errors
    /// [`ErrorKind::MaybeApplied`] when no answer came: repeat it, nobody has the id. [`ErrorKind::Refused`] for data over
    /// 8 MiB or a `ttl` past the year 2255; else see [`ErrorKind`].
    pub async fn create<T: Serialize + ?Sized>(&self, data: &T, ttl: Duration) -> Result<SessionId, Error> {
        self.insert(&C::encode(data)?, after(ttl)).await
    }

    /// Replaces the data of a session, which lives for `ttl` from now on; says whether there is one.
    ///
    /// # Errors
    /// As [`SessionStore::load`], and [`ErrorKind::MaybeApplied`] when no answer came: repeat it.
    pub async fn save<T: Serialize + ?Sized>(&self, id: &SessionId, data: &T, ttl: Duration) -> Result<bool, Error> {
        self.replace(&id.address(), C::encode(data)?, after(ttl)).await
    }

    /// The data of a session; `None` when there is certainly none: it expired, was revoked, or never was.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where the session has not arrived yet and its home cannot be asked in time: nobody
    /// knows whether there is one. [`ErrorKind::Serialization`] when the data are no `T`; else see [`ErrorKind`].
    pub async fn load<T: DeserializeOwned>(&self, id: &SessionId) -> Result<Option<T>, Error> {
        self.data(&id.address()).await?.map(|data| C::decode(&data)).transpose()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::Embedded;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn sessions() -> SessionStore {
        let regions = Embedded::builder().region("eu").build().unwrap();
        let client = Client::builder().embedded(&regions).local_region("eu").without_sync().build().await.unwrap();
        SessionStore::new(&client, "default").unwrap()
    }

    #[tokio::test]
    async fn an_id_that_is_taken_is_drawn_again() {
        let sessions = sessions().await;
        let taken = sessions.create("ada", HOUR).await.unwrap();
        let fresh = SessionId::random(sessions.regions.here).unwrap();
        let mut draws = [taken, fresh].into_iter();
        let data = Json::encode("bob").unwrap();
        let draw = || Ok(draws.next().unwrap());
        let id = sessions.insert_drawn(&data, after(HOUR), draw, SessionId::address).await.unwrap();
        assert_eq!(id, fresh);
        assert_eq!(sessions.load::<String>(&taken).await.unwrap().as_deref(), Some("ada"));
        assert_eq!(sessions.load::<String>(&fresh).await.unwrap().as_deref(), Some("bob"));
    }

    #[tokio::test]
    async fn randomness_that_repeats_is_an_error_and_overwrites_nothing() {
        let sessions = sessions().await;
        let taken = sessions.create("ada", HOUR).await.unwrap();
        let data = Json::encode("bob").unwrap();
        let error = sessions.insert_drawn(&data, after(HOUR), || Ok(taken), SessionId::address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(sessions.load::<String>(&taken).await.unwrap().as_deref(), Some("ada"));
    }
}
