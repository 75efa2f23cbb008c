//! The client: connects the regions, hands out typed handles, and drives the links.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use archipelago_engine::{Key, Kind, RegionId};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    config::{Config, KeyspaceConfig, names},
    error::{Error, ErrorKind},
    exec::Interpreter,
    handles::{Batch, Counter, Handle, Map, Register, Set, SortedSet},
    inspect::{Report, inspect},
    redis::{RedisRegion, RedisStore},
    store::{Store, embedded::Embedded},
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    local: RegionId,
    default: Keyspace,
    keyspaces: BTreeMap<String, Keyspace>,
    islands: Vec<Islands>,
    regions: Vec<Arc<RedisRegion>>,
    missing: Vec<(RegionId, Error)>,
    max_clock_skew: Duration,
    sync: Option<Sync>,
}

/// A named group of keys, with handles for all types.
#[derive(Clone, Debug)]
pub struct Keyspace {
    store: Arc<dyn Store>,
}

/// Builds a [`Client`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until build is awaited"]
pub struct Builder {
    config: Option<Config>,
    file: Option<PathBuf>,
    embedded: Option<Embedded>,
    local: Option<String>,
    links: Links,
    local_only: bool,
    any_local: bool,
}

/// What this process does about links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Links {
    /// Those from the local region at once, the others when nobody else drives them.
    #[default]
    Share,
    /// All that are free, at once.
    Drive,
    /// None.
    Leave,
}

impl Builder {
    /// Reads the configuration from a file. Without this, [`Builder::config`] or [`Builder::embedded`],
    /// `ARCHIPELAGO_CONFIG` names the file.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Uses this configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Uses embedded regions: no server needed.
    pub fn embedded(mut self, regions: &Embedded) -> Self {
        self.embedded = Some(regions.clone());
        self
    }

    /// The local region. Without it `ARCHIPELAGO_REGION`, then the configuration's `local`, then the only region.
    pub fn local_region(mut self, name: impl Into<String>) -> Self {
        self.local = Some(name.into());
        self
    }

    /// Leaves the links to other processes, such as `archipelago sync`.
    pub const fn without_sync(mut self) -> Self {
        self.links = Links::Leave;
        self
    }

    /// Takes every link that is free at once, for a process whose purpose is to drive them. It needs no local region:
    /// without one, the first by name stands in.
    pub const fn sync_daemon(mut self) -> Self {
        self.links = Links::Drive;
        self.any_local = true;
        self
    }

    /// Connects to the local region alone, and drives no links.
    pub const fn local_only(mut self) -> Self {
        self.local_only = true;
        self.links = Links::Leave;
        self
    }

    /// Connects. One reachable region is enough; [`Client::missing_regions`] says which were not.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the configuration is wrong, names unknown regions, or does not fit a server (an older
    /// version than 6.2, a keyspace created with other settings); [`ErrorKind::Unavailable`] when no region can be
    /// reached.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connections.
    pub async fn build(self) -> Result<Client, Error> {
        match self.embedded.clone() {
            Some(embedded) => self.build_embedded(&embedded),
            None => self.build_redis().await,
        }
    }

    fn build_embedded(self, embedded: &Embedded) -> Result<Client, Error> {
        let known: BTreeMap<String, ()> = embedded.regions().map(|region| (region.to_string(), ())).collect();
        let local = self.choose_local(None, &known)?;
        let keyspaces = match &self.config {
            Some(config) => config.keyspaces.clone(),
            None => BTreeMap::from([("default".to_owned(), KeyspaceConfig::default())]),
        };
        let islands = keyspaces.iter().map(|(name, config)| {
            let stores = embedded.regions().filter(|region| !self.local_only || **region == local).map(|region| {
                let store = embedded.store(&local, region, name)?;
                Ok((region.clone(), store))
            });
            let stores = stores.collect::<Result<_, Error>>()?;
            Ok(Islands { keyspace: name.clone(), stores, sweep_grace: config.sweep_grace })
        });
        let islands = islands.collect::<Result<Vec<_>, Error>>()?;
        self.finish(local, &keyspaces, islands, Vec::new(), Vec::new())
    }

    async fn build_redis(mut self) -> Result<Client, Error> {
        let config = match (self.config.take(), self.file.take(), std::env::var_os("ARCHIPELAGO_CONFIG")) {
            (Some(config), ..) => config,
            (None, Some(file), _) => Config::from_file(file)?,
            (None, None, Some(file)) => Config::from_file(PathBuf::from(file))?,
            (None, None, None) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "no configuration: give a file (--config, ARCHIPELAGO_CONFIG) or embedded regions",
                ));
            }
        };
        let local = self.choose_local(config.local.as_deref(), &config.regions)?;
        let mut regions = Vec::new();
        for (name, region) in &config.regions {
            if !self.local_only || *name == local.as_str() {
                regions.push(RedisRegion::start(parse_region(name)?, region.clone(), &config.keyspaces)?);
            }
        }
        let mut missing = Vec::new();
        for (region, ready) in regions.iter().zip(join_all(regions.iter().map(|region| region.ready())).await) {
            match ready {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Config => return Err(error),
                Err(error) => missing.push((region.id().clone(), error)),
            }
        }
        if missing.len() == regions.len() {
            let why: Vec<String> = missing.iter().map(|(_, error)| error.message().to_owned()).collect();
            return Err(Error::new(ErrorKind::Unavailable, format!("no region can be reached: {}", why.join("; "))));
        }
        for (region, error) in &missing {
            tracing::warn!(%region, %error, "started without a region");
        }
        let islands = config
            .keyspaces
            .iter()
            .map(|(name, keyspace)| {
                let store = |region: &Arc<RedisRegion>| -> (RegionId, Arc<dyn Store>) {
                    (region.id().clone(), Arc::new(RedisStore::new(region.clone(), name)))
                };
                let stores = regions.iter().map(store).collect();
                Islands { keyspace: name.clone(), stores, sweep_grace: keyspace.sweep_grace }
            })
            .collect();
        self.finish(local, &config.keyspaces, islands, regions, missing)
    }

    fn choose_local<V>(&self, config: Option<&str>, known: &BTreeMap<String, V>) -> Result<RegionId, Error> {
        let variable = std::env::var("ARCHIPELAGO_REGION").ok().filter(|name| !name.is_empty());
        let any = known.len() == 1 || self.any_local;
        let first = || if any { known.keys().next().map(String::as_str) } else { None };
        let named = self.local.as_deref().or(variable.as_deref()).or(config).or_else(first);
        let name = named.ok_or_else(|| {
            let hint =
                "which region is local? Say so by --region, ARCHIPELAGO_REGION, `local = \"...\"` or the builder";
            Error::new(ErrorKind::Config, format!("{hint}; known: {}", names(known)))
        })?;
        if known.contains_key(name) {
            parse_region(name)
        } else {
            Err(Error::new(ErrorKind::Config, format!("unknown region {name:?}, known: {}", names(known))))
        }
    }

    fn finish(
        self,
        local: RegionId,
        configs: &BTreeMap<String, KeyspaceConfig>,
        islands: Vec<Islands>,
        regions: Vec<Arc<RedisRegion>>,
        missing: Vec<(RegionId, Error)>,
    ) -> Result<Client, Error> {
        let mut keyspaces = BTreeMap::new();
        for island in &islands {
            if let Some(store) = island.stores.get(&local) {
                keyspaces.insert(island.keyspace.clone(), Keyspace { store: store.clone() });
            }
        }
        let default = keyspaces.get("default").or_else(|| keyspaces.values().next()).cloned();
        let default = default.ok_or_else(|| Error::new(ErrorKind::Config, "no keyspace is configured"))?;
        let holder = holder()?;
        let sync = match self.links {
            Links::Share => Some(Sync::leased(&islands, Some(&local), &holder)),
            Links::Drive => Some(Sync::leased(&islands, None, &holder)),
            Links::Leave => None,
        };
        let max_clock_skew = configs.values().map(|config| config.max_clock_skew).min().unwrap_or_default();
        let inner = Inner { local, default, keyspaces, islands, regions, missing, max_clock_skew, sync };
        Ok(Client { inner: Arc::new(inner) })
    }
}

fn parse_region(name: &str) -> Result<RegionId, Error> {
    name.parse().map_err(|error| Error::new(ErrorKind::Config, format!("{error}")))
}

/// A name for this process among those that share the links.
fn holder() -> Result<String, Error> {
    let bits = getrandom::u64()
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("no randomness from the system: {error}")))?;
    Ok(format!("{bits:016x}"))
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

    /// A keyspace by name. The client's own handles are those of `default`, or of the first by name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown name; names the known ones.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, Error> {
        self.inner.keyspaces.get(name).cloned().ok_or_else(|| {
            let known = names(&self.inner.keyspaces);
            Error::new(ErrorKind::Config, format!("unknown keyspace {name:?}, known: {known}"))
        })
    }

    /// A register in the default keyspace; see [`Register`].
    #[must_use]
    pub fn register<T>(&self, name: impl Into<Bytes>) -> Register<T> {
        self.inner.default.register(name)
    }

    /// A counter in the default keyspace; see [`Counter`].
    #[must_use]
    pub fn counter(&self, name: impl Into<Bytes>) -> Counter {
        self.inner.default.counter(name)
    }

    /// A set in the default keyspace; see [`Set`].
    #[must_use]
    pub fn set(&self, name: impl Into<Bytes>) -> Set {
        self.inner.default.set(name)
    }

    /// A map in the default keyspace; see [`Map`].
    #[must_use]
    pub fn map<T>(&self, name: impl Into<Bytes>) -> Map<T> {
        self.inner.default.map(name)
    }

    /// A sorted set in the default keyspace; see [`SortedSet`].
    #[must_use]
    pub fn sorted_set(&self, name: impl Into<Bytes>) -> SortedSet {
        self.inner.default.sorted_set(name)
    }

    /// A batch of writes in the default keyspace; see [`Batch`].
    pub fn batch(&self) -> Batch {
        self.inner.default.batch()
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
        if let Some(sync) = &self.inner.sync {
            sync.shut_down().await;
        }
        for region in &self.inner.regions {
            region.shut_down().await;
        }
    }
}

fn not_converged(what: Vec<String>) -> Error {
    Error::new(ErrorKind::NotConverged, what.join("; "))
}

impl Keyspace {
    fn handle(&self, kind: Kind, name: impl Into<Bytes>) -> Handle {
        Handle::new(self.store.clone(), kind, name)
    }

    /// A register; see [`Register`].
    #[must_use]
    pub fn register<T>(&self, name: impl Into<Bytes>) -> Register<T> {
        Register::new(self.handle(Kind::String, name))
    }

    /// A counter; see [`Counter`].
    #[must_use]
    pub fn counter(&self, name: impl Into<Bytes>) -> Counter {
        Counter { handle: self.handle(Kind::String, name) }
    }

    /// A set; see [`Set`].
    #[must_use]
    pub fn set(&self, name: impl Into<Bytes>) -> Set {
        Set { handle: self.handle(Kind::Set, name) }
    }

    /// A map; see [`Map`].
    #[must_use]
    pub fn map<T>(&self, name: impl Into<Bytes>) -> Map<T> {
        Map::new(self.handle(Kind::Hash, name))
    }

    /// A sorted set; see [`SortedSet`].
    #[must_use]
    pub fn sorted_set(&self, name: impl Into<Bytes>) -> SortedSet {
        SortedSet { handle: self.handle(Kind::SortedSet, name) }
    }

    /// A batch of writes; see [`Batch`].
    pub fn batch(&self) -> Batch {
        Batch::new(self.store.clone())
    }

    /// An interpreter of Redis-style commands on this keyspace in the local region.
    #[must_use]
    pub fn interpreter(&self) -> Interpreter {
        Interpreter::new(self.store.clone())
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
