//! The client: connects the regions, hands out typed handles, and drives the links.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_engine::{Key, Kind, RegionId, Resolved};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};

#[cfg(feature = "homes")]
use crate::homes::{Homes, Registry};
use crate::{
    builder::Builder,
    config::names,
    conflicts::{ConflictEvent, Listeners},
    error::{Error, ErrorKind},
    exec::Interpreter,
    handles::{Batch, Handle, Home, constructors},
    homes::{HomeResolver, TrustedProxies},
    inspect::{Report, inspect},
    near::{Ground, Near, NearCaches},
    redis::{RedisRegion, RedisStore},
    routed::{Connection, Event, NodeReport, Plane, RoutedKeyspace, Subscribe},
    routing::config::PolicyName,
    sessions::Session,
    stock::{self, Frozen, StockReport},
    store::Store,
    strength::{ReadStrength, Repairs, Strengths, WriteStrength},
    sync::{self, Islands, SkewReport, Sync},
};

/// A client of all regions, with one of them local. Cheap to clone.
///
/// Writes and reads of the handles go to the local region. In the background the client carries the regions' writes to
/// each other, sharing that work with other processes by leases; [`Builder::without_sync`] leaves it to them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
/// use std::time::Duration;
/// use archipelago::{Client, Embedded};
///
/// let regions = Embedded::builder().region("us").region("eu").build()?;
/// let us = Client::builder().embedded(&regions).local_region("us").build().await?;
/// let eu = Client::builder().embedded(&regions).local_region("eu").build().await?;
/// us.counter("page_views").add(2).await?;
/// eu.counter("page_views").add(3).await?;
/// us.wait_converged(Duration::from_secs(5)).await?;
/// assert_eq!(us.counter("page_views").get().await?, 5);
/// us.shut_down().await;
/// eu.shut_down().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    /// In front of what is made from this client.
    pub(crate) session: Option<Session>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) local: RegionId,
    /// Of the client's own handles.
    pub(crate) default: Home,
    pub(crate) plane: Option<Arc<Plane>>,
    pub(crate) routed: BTreeMap<String, Arc<RoutedKeyspace>>,
    pub(crate) keyspaces: BTreeMap<String, Keyspace>,
    pub(crate) islands: Vec<Islands>,
    pub(crate) listeners: Listeners,
    pub(crate) regions: Vec<Arc<RedisRegion>>,
    pub(crate) missing: Vec<(RegionId, Error)>,
    pub(crate) max_clock_skew: Duration,
    pub(crate) sync: Option<Sync>,
    pub(crate) homes: Option<HomeSettings>,
    pub(crate) near: NearCaches,
}

/// What the configuration says about homes.
#[derive(Debug)]
pub(crate) struct HomeSettings {
    resolver: Arc<HomeResolver>,
    proxies: TrustedProxies,
    #[cfg(feature = "homes")]
    registry: Option<Arc<Registry>>,
}

impl HomeSettings {
    #[cfg_attr(not(feature = "homes"), allow(unused_variables, reason = "homes on servers need it"))]
    pub(crate) fn new(resolver: HomeResolver, proxies: TrustedProxies, plane: Option<&Arc<Plane>>) -> Self {
        let resolver = Arc::new(resolver);
        Self {
            #[cfg(feature = "homes")]
            registry: plane.map(|plane| Arc::new(Registry::new(plane, resolver.clone()))),
            resolver,
            proxies,
        }
    }
}

/// A named group of keys, with handles for all types.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// In the local region.
    pub(crate) store: Arc<dyn Store>,
    /// In every region.
    pub(crate) island: Arc<Islands>,
    pub(crate) session: Option<Session>,
    pub(crate) strengths: Strengths,
    pub(crate) repairs: Arc<Repairs>,
}

impl Client {
    /// A new builder.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The local region.
    #[must_use]
    pub fn local_region(&self) -> &RegionId {
        &self.inner.local
    }

    /// The regions that could not be reached at the start, and why. The client goes on trying.
    #[must_use]
    pub fn missing_regions(&self) -> &[(RegionId, Error)] {
        &self.inner.missing
    }

    /// The same client with a session in front of every handle, batch, keyspace and connection that is made from it: what
    /// a request makes first. See [`sessions`](crate::sessions).
    ///
    /// Its calls may fail with [`ErrorKind::Behind`] and [`ErrorKind::Lost`], too. Nothing waits here.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use archipelago::{Client, Embedded, sessions::Session};
    /// let regions = Embedded::builder().region("us").region("eu").build()?;
    /// let us = Client::builder().embedded(&regions).local_region("us").build().await?;
    /// let eu = Client::builder().embedded(&regions).local_region("eu").build().await?;
    ///
    /// let session = Session::new();
    /// us.with_session(&session).set("cart").add("book").await?;
    /// let cookie = session.token();
    ///
    /// let session = Session::from_token(&cookie)?; // the next request of this user, in another region
    /// assert!(eu.with_session(&session).set("cart").contains("book").await?);
    /// # us.shut_down().await; eu.shut_down().await; Ok(()) }
    /// ```
    #[must_use]
    pub fn with_session(&self, session: &Session) -> Self {
        Self { inner: self.inner.clone(), session: Some(session.clone()) }
    }

    /// A keyspace by name. The client's own handles are those of `default`, or of the first by name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown name; names the known ones.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Error> {
        let known = self.inner.keyspaces.get(name).map(|keyspace| self.in_session(keyspace));
        known.ok_or_else(|| {
            let what = if self.inner.routed.contains_key(name) {
                format!("keyspace {name:?} is routed: use `connection({name:?})`")
            } else {
                unknown_keyspace(name, "active-active", &self.inner.keyspaces)
            };
            Error::new(ErrorKind::Config, what)
        })
    }

    /// A connection to a routed keyspace, for any command; see [`Connection`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown name, and for an active-active keyspace: a plain write there would not be
    /// replicated, and the next merge would overwrite it.
    pub fn connection(&self, keyspace: &str) -> Result<Connection, Error> {
        let connection = self.routed(keyspace).map(Connection::new)?;
        Ok(match &self.session {
            Some(session) => connection.with_session(session),
            None => connection,
        })
    }

    /// A subscription to what is published in a routed keyspace; see [`Subscription`](crate::Subscription).
    ///
    /// An unknown keyspace is an error of [`Subscribe::start`].
    pub fn subscribe(&self, keyspace: &str) -> Subscribe {
        Subscribe::new(self.routed(keyspace))
    }

    /// The near cache of a keyspace of either plane: values held in this process until they change; see
    /// [`near`](crate::near). `near_cache` in the configuration, or [`Builder::near_cache`], bounds it. It connects when the
    /// first value is made.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown name, and for a routed keyspace whose policy has a region for each key (`home-region`,
    /// `key-owner`): no one server could tell what changes.
    pub fn near(&self, keyspace: &str) -> Result<Near, Error> {
        self.inner.near.near(keyspace, || {
            if let Some(routed) = self.inner.routed.get(keyspace) {
                return match routed.routing.policy {
                    PolicyName::RegionalPrimary | PolicyName::Nearest | PolicyName::Pinned => {
                        Ok(Ground::Routed(Connection::new(routed.clone())))
                    }
                    PolicyName::HomeRegion | PolicyName::KeyOwner => Err(Error::new(
                        ErrorKind::Config,
                        format!("keyspaces.{keyspace}.routing.policy: a near cache needs one region for all keys"),
                    )),
                };
            }
            let known = self.inner.keyspaces.get(keyspace);
            let store = known.map(|known| known.store.clone()).ok_or_else(|| {
                Error::new(ErrorKind::Config, unknown_keyspace(keyspace, "active-active", &self.inner.keyspaces))
            })?;
            Ok(match self.inner.regions.iter().find(|region| *region.id() == self.inner.local) {
                Some(region) => {
                    Ground::Region { store: RedisStore::new(region.clone(), keyspace), region: region.clone() }
                }
                None => Ground::Embedded { store },
            })
        })
    }

    fn routed(&self, keyspace: &str) -> Result<Arc<RoutedKeyspace>, Error> {
        self.inner.routed.get(keyspace).cloned().ok_or_else(|| {
            let what = if self.inner.keyspaces.contains_key(keyspace) {
                format!(
                    "keyspace {keyspace:?} is active-active, where plain commands would be lost: use \
                     `keyspace({keyspace:?})` and its register, counter, set, map or sorted_set"
                )
            } else {
                unknown_keyspace(keyspace, "routed", &self.inner.routed)
            };
            Error::new(ErrorKind::Config, what)
        })
    }

    /// Decides where users live, as `[homes]` of the configuration says; `None` without that table.
    ///
    /// It remembers nothing: `Client::homes` keeps to the first answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// use archipelago::{Client, Embedded, homes::HomeRequest};
    ///
    /// let config = "[regions.eu]\nurl = \"redis://eu.invalid\"\n[homes]\ncontinents = { EU = \"eu\" }".parse()?;
    /// let regions = Embedded::builder().region("eu").region("us").build()?;
    /// let client = Client::builder().embedded(&regions).config(config).local_region("us").build().await?;
    /// let resolver = client.home_resolver().expect("there is a table");
    /// assert_eq!(resolver.resolve(&HomeRequest::new().with_pin("us")).region().as_str(), "us");
    /// # client.shut_down().await; Ok(()) }
    /// ```
    #[must_use]
    pub fn home_resolver(&self) -> Option<&HomeResolver> {
        self.inner.homes.as_ref().map(|homes| &*homes.resolver)
    }

    /// Whose word on a client's address is taken, as `[homes.proxies]` of the configuration says; by default nobody's.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        self.inner.homes.as_ref().map(|homes| homes.proxies.clone()).unwrap_or_default()
    }

    /// The homes of users, in a routed keyspace with `policy = "home-region"`; see [`Homes`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a keyspace that is unknown, active-active, or under another policy, for a configuration
    /// without `[homes]`, and for embedded regions, which run no scripts.
    #[cfg(feature = "homes")]
    pub fn homes(&self, keyspace: &str) -> Result<Homes, Error> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Config, what));
        let routed = self.routed(keyspace)?;
        if routed.routing.policy != PolicyName::HomeRegion {
            return refuse(format!("keyspaces.{keyspace}.routing.policy: homes need \"home-region\""));
        }
        if routed.plane.is_embedded() {
            return refuse("homes need servers: embedded regions run no scripts".to_owned());
        }
        match self.inner.homes.as_ref().and_then(|homes| homes.registry.clone()) {
            Some(registry) => Ok(Homes::new(registry, self.residency_of_homes())),
            None => refuse("homes: write a table [homes] into the configuration; an empty one will do".to_owned()),
        }
    }

    /// All keyspaces with homes share a user's home and keys, so that these stay where every one of them allows.
    #[cfg(feature = "homes")]
    fn residency_of_homes(&self) -> Option<Vec<String>> {
        let with_homes = self.inner.routed.values().filter(|routed| routed.routing.policy == PolicyName::HomeRegion);
        let allowed = with_homes.filter_map(|routed| routed.routing.residency.clone());
        allowed.reduce(|some, others| some.into_iter().filter(|region| others.contains(region)).collect())
    }

    /// The region that takes the writes of keyspaces with a regional primary; `None` without routed keyspaces.
    #[must_use]
    pub fn active_region(&self) -> Option<RegionId> {
        let core = &self.inner.plane.as_ref()?.core;
        core.topology.load().region(core.active()).map(|region| region.id.clone())
    }

    /// Lets another region take the writes, if it is healthy. It stays until [`Client::release`].
    ///
    /// This client only: others follow their own view. The regions' data are their own: the next region has what the one
    /// before wrote only where somebody copied it, and an [`Event::MayLack`] says so.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown region, [`ErrorKind::Unavailable`] when it is unhealthy or another one was
    /// forced.
    pub fn switch_to(&self, region: &str) -> Result<(), Error> {
        self.plane()?.core.switch_to(region)
    }

    /// Lets another region take the writes whatever its health, for so long or until [`Client::release`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown region.
    pub fn force_to(&self, region: &str, duration: Duration) -> Result<(), Error> {
        self.plane()?.core.force(region, duration)
    }

    /// Ends what [`Client::switch_to`] or [`Client::force_to`] began: weight, latency and health decide again.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without routed keyspaces.
    pub fn release(&self) -> Result<(), Error> {
        self.plane()?.core.release();
        Ok(())
    }

    /// Every change on the routed plane from now on; empty without routed keyspaces. A listener that does not keep up
    /// loses the oldest and hears [`Event::Missed`].
    pub fn events(&self) -> impl futures_util::Stream<Item = Event> + Send + Unpin + use<> {
        match &self.inner.plane {
            Some(plane) => plane.core.events.listen().left_stream(),
            None => stream::empty().right_stream(),
        }
    }

    /// Every server of the routed plane as this client sees it now, in the order of the regions' names; empty without
    /// routed keyspaces.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeReport> {
        self.inner.plane.as_ref().map(|plane| plane.core.report()).unwrap_or_default()
    }

    fn plane(&self) -> Result<&Arc<Plane>, Error> {
        let missing = || Error::new(ErrorKind::Config, "no routed keyspace is configured");
        self.inner.plane.as_ref().ok_or_else(missing)
    }

    fn handle(&self, kind: Kind, name: impl Into<Bytes>) -> Handle {
        Handle::new(self.home(), kind, name)
    }

    fn home(&self) -> Home {
        self.inner.default.as_ref().map(|keyspace| self.in_session(keyspace)).map_err(Error::clone)
    }

    fn in_session(&self, keyspace: &Keyspace) -> Keyspace {
        Keyspace { session: self.session.clone(), ..keyspace.clone() }
    }

    /// A batch of writes in the default keyspace; see [`Batch`].
    pub fn batch(&self) -> Batch {
        Batch::new(self.home())
    }

    /// Waits until every region holds everything every other region has. For tests: it looks at all regions and all
    /// partitions.
    ///
    /// # Errors
    /// [`ErrorKind::NotConverged`] after `limit`; says what is missing.
    pub async fn wait_converged(&self, limit: Duration) -> Result<(), Error> {
        sync::wait_until(&self.inner.islands, limit).await.map_err(not_converged)
    }

    /// Drives all links from this process until every region holds everything every other region has.
    ///
    /// # Errors
    /// [`ErrorKind::NotConverged`] after `limit`; says what is missing.
    pub async fn sync_until_idle(&self, limit: Duration) -> Result<(), Error> {
        let links = Sync::always(&self.inner.islands);
        let result = sync::wait_until(&self.inner.islands, limit).await;
        links.shut_down().await;
        result.map_err(not_converged)
    }

    /// What keeps the regions from holding the same, in words; empty when they do.
    ///
    /// Looks at all regions and all partitions.
    pub async fn missing(&self) -> Vec<String> {
        sync::missing(&self.inner.islands).await
    }

    /// What keeps the remains of removals from being collected, in words: which region waits for which other to hold more of
    /// whose writes. Empty when nothing waits.
    ///
    /// A region that is away, a pair of regions that is cut, a log entry that could not be decoded and an incarnation that is
    /// not yet settled hold the collection up; nothing but memory depends on it. A wait of a few seconds is usual while there
    /// are writes. Looks at all regions and all partitions.
    pub async fn uncollected(&self) -> Vec<String> {
        sync::uncollected(&self.inner.islands).await
    }

    /// How often a rule decided between concurrent writes, by the region where they met; see
    /// [`SyncState::resolved`](archipelago_engine::SyncState::resolved) for what is counted.
    ///
    /// Looks at all regions and all partitions. Regions that cannot be read are left out.
    pub async fn resolved(&self) -> BTreeMap<(RegionId, Resolved), u64> {
        let mut counts = BTreeMap::new();
        for (region, store) in self.inner.islands.iter().flat_map(|island| &island.stores) {
            let states = join_all((0..store.partitions()).map(|partition| store.sync_state(partition))).await;
            for (resolved, count) in states.into_iter().flatten().flat_map(|state| state.resolved) {
                *counts.entry((region.clone(), resolved)).or_default() += count;
            }
        }
        counts
    }

    /// Every conflict that this client meets from now on: what regions wrote without knowing of each other, which of it
    /// a reader sees, and the rule that decided. For a journal, a dashboard, or a person who looks into what was
    /// overwritten.
    ///
    /// Told is what [`Client::resolved`] counts, where this client does the joining: of the links that it drives, its
    /// strong writes and its read repairs. Processes share the links, so a listener that is to hear of all conflicts
    /// listens where all are driven: [`Builder::sync_daemon`](crate::Builder::sync_daemon), or `archipelago sync
    /// --conflicts`. Each region where two writes meet tells of them.
    ///
    /// **Not told**: what meets in a resync (the first exchange of two regions is one), increments (they all count), the
    /// unions of HyperLogLogs, a write whose value is the same, and a write against a removal: the write stays, and cells do not say whether it
    /// had seen the removal. What changes again before the other region has heard of it is told again. A join whose
    /// answer is lost is not told.
    ///
    /// Without a listener it costs nothing. With one, the regions' joins answer the cells of contested fields, too. A
    /// listener that does not keep up loses the oldest beyond 1,024 and hears [`ConflictEvent::Missed`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// use archipelago::{Client, ConflictEvent, Embedded};
    /// use futures_util::StreamExt;
    /// use std::time::Duration;
    ///
    /// let regions = Embedded::builder().region("us").region("eu").build()?;
    /// let us = Client::builder().embedded(&regions).local_region("us").without_sync().build().await?;
    /// let eu = Client::builder().embedded(&regions).local_region("eu").without_sync().build().await?;
    /// for client in [&us, &eu] {
    ///     client.register::<u32>("price").set(&100).await?; // one after the other: no conflict
    ///     client.sync_until_idle(Duration::from_secs(5)).await?;
    /// }
    ///
    /// let mut conflicts = us.conflicts();
    /// us.register::<u32>("price").set(&120).await?; // at the same time
    /// eu.register::<u32>("price").set(&125).await?;
    /// us.sync_until_idle(Duration::from_secs(5)).await?;
    /// let Some(ConflictEvent::Resolved(conflict)) = conflicts.next().await else { panic!() };
    /// assert_eq!((conflict.name.as_ref(), conflict.rule), (b"price".as_ref(), "latest"));
    /// let shown = conflict.contenders.iter().find(|contender| contender.wins).expect("one wins");
    /// assert_eq!(shown.value, us.register::<u32>("price").get().await?.expect("a price").to_string());
    /// # us.shut_down().await; eu.shut_down().await; Ok(()) }
    /// ```
    pub fn conflicts(&self) -> impl futures_util::Stream<Item = ConflictEvent> + Send + Unpin + use<> {
        self.inner.listeners.listen()
    }

    /// The pairs of regions whose clocks are further apart than `max_clock_skew`. Regions that cannot be read are left
    /// out. A reading is off by at most half a round trip.
    pub async fn clock_skew(&self) -> Vec<SkewReport> {
        let Some(island) = self.inner.islands.first() else { return Vec::new() };
        let began = tokio::time::Instant::now();
        let readings = island.stores.iter().map(|(region, store)| async move {
            let asked = began.elapsed();
            let clock = store.clock().await.ok()?;
            let middle = (asked + began.elapsed()) / 2;
            // As it stood when the first of them was asked.
            let elapsed = u64::try_from(middle.as_micros()).unwrap_or(u64::MAX);
            Some((region.clone(), clock.as_micros().saturating_sub(elapsed)))
        });
        let clocks = join_all(readings).await.into_iter().flatten().collect();
        sync::skew(&clocks, self.inner.max_clock_skew)
    }

    /// Stops the links, gives their leases back, and closes the connections of this process.
    ///
    /// Handles that are still around answer [`ErrorKind::Unavailable`] from then on, on Redis regions.
    pub async fn shut_down(&self) {
        self.inner.near.shut_down().await;
        if let Some(sync) = &self.inner.sync {
            sync.shut_down().await;
        }
        for keyspace in self.inner.keyspaces.values() {
            keyspace.repairs.shut_down().await;
        }
        for region in &self.inner.regions {
            region.shut_down().await;
        }
        if let Some(plane) = &self.inner.plane {
            plane.shut_down().await;
        }
    }
}

fn not_converged(what: Vec<String>) -> Error {
    Error::new(ErrorKind::NotConverged, what.join("; "))
}

impl Keyspace {
    /// The same keyspace with a session in front of its handles and batches; see [`sessions`](crate::sessions).
    #[must_use]
    pub fn with_session(&self, session: &Session) -> Self {
        Self { session: Some(session.clone()), ..self.clone() }
    }

    /// The same keyspace with reads of this strength; see [`strength`](crate::strength).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// # use archipelago::{Client, Embedded, ReadStrength};
    /// let regions = Embedded::builder().region("us").region("eu").build()?;
    /// let us = Client::builder().embedded(&regions).local_region("us").without_sync().build().await?;
    /// let eu = Client::builder().embedded(&regions).local_region("eu").without_sync().build().await?;
    /// us.counter("views").add(2).await?;
    /// eu.counter("views").add(3).await?;
    /// assert_eq!(us.counter("views").get().await?, 2);
    /// let merged = us.keyspace("default")?.with_read(ReadStrength::Merged(2));
    /// assert_eq!(merged.counter("views").get().await?, 5);
    /// # us.shut_down().await; eu.shut_down().await; Ok(()) }
    /// ```
    #[must_use]
    pub fn with_read(&self, read: ReadStrength) -> Self {
        self.with_strengths(|strengths| strengths.read = read)
    }

    /// The same keyspace with writes of this strength; see [`strength`](crate::strength).
    #[must_use]
    pub fn with_write(&self, write: WriteStrength) -> Self {
        self.with_strengths(|strengths| strengths.write = write)
    }

    /// The same keyspace with another home region, for reads of strength [`ReadStrength::Home`].
    #[must_use]
    pub fn with_home(&self, home: &RegionId) -> Self {
        self.with_strengths(|strengths| strengths.home = Some(home.clone()))
    }

    /// The same keyspace with another deadline for reads and writes that ask for more than the local region. More than an
    /// hour is taken for an hour.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        self.with_strengths(|strengths| strengths.deadline = deadline.min(Duration::from_secs(3600)))
    }

    fn with_strengths(&self, change: impl FnOnce(&mut Strengths)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.strengths);
        changed
    }

    fn handle(&self, kind: Kind, name: impl Into<Bytes>) -> Handle {
        Handle::new(Ok(self.clone()), kind, name)
    }

    /// A batch of writes; see [`Batch`].
    pub fn batch(&self) -> Batch {
        Batch::new(Ok(self.clone()))
    }

    /// What the local region knows of a stock, for operators.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn stock_report(&self, name: impl Into<Bytes>) -> Result<StockReport, Error> {
        stock::report(self, name.into()).await
    }

    /// What [`Keyspace::reclaim_stock`] would let the local region sell again.
    ///
    /// # Errors
    /// As [`Keyspace::reclaim_stock`].
    pub async fn frozen_stock(&self) -> Result<Frozen, Error> {
        stock::frozen(self).await
    }

    /// Lets the local region sell what it had a right to before it lost data: of every stock. Answers what it was.
    ///
    /// Only rights of its own incarnations that have ended are reclaimed, so that no other region can reclaim them too.
    ///
    /// # What it can cost
    /// What such an incarnation sold, and no region has heard of, is sold a second time. So is what it still sells: an old
    /// server that is cut off from everybody, with clients of its own. Make sure that there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when another region knows more of an ended incarnation than this one: let the links carry it
    /// here first. [`ErrorKind::Unavailable`] when another region cannot be asked, unless `alone`. Nothing was reclaimed.
    pub async fn reclaim_stock(&self, alone: bool) -> Result<Frozen, Error> {
        stock::reclaim(self, alone).await
    }

    /// An interpreter of Redis-style commands on this keyspace, with its strengths. No session sees what it does.
    #[must_use]
    pub fn interpreter(&self) -> Interpreter {
        Interpreter::of_keyspace(Self { session: None, ..self.clone() })
    }

    /// Everything known of one key in the local region, for operators.
    ///
    /// # Errors
    /// [`Error`]; see [`ErrorKind`].
    pub async fn inspect(&self, kind: Kind, name: impl Into<Bytes>) -> Result<Report, Error> {
        inspect(self.store.as_ref(), Key::new(kind, name)).await
    }

    /// The store itself, below the typed handles: for tools and tests.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

constructors!(Client);
constructors!(Keyspace);

fn unknown_keyspace<K>(name: &str, plane: &str, known: &BTreeMap<String, K>) -> String {
    if known.is_empty() {
        format!("unknown keyspace {name:?}: the configuration has no {plane} keyspace")
    } else {
        format!("unknown keyspace {name:?}, known {plane} ones: {}", names(known))
    }
}
