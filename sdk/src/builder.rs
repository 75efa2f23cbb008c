//! Building a client: which regions, which of them is local, and what it does about links.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use archipelago_engine::RegionId;
use futures_util::future::join_all;

use crate::{
    client::{Client, HomeSettings, Inner, Keyspace},
    config::{Config, KeyspaceConfig, Mode, NearConfig, defaults, is_keyspace_name, names},
    conflicts::{Conflicts, Listeners},
    dial::{CredentialsProvider, Dialer, Provider, dialers},
    error::{Error, ErrorKind},
    homes::HomesConfig,
    near::NearCaches,
    redis::{RedisRegion, RedisStore},
    resilience::RetryPolicy,
    routed::{Map, Plane, RoutedKeyspace, embedded_infos},
    routing::{Profile, RegionInfo, RoutingConfig, Topology, config::PolicyName},
    store::{Store, embedded::Embedded},
    strength::Repairs,
    sync::{Interruptions, Islands, Sync},
};

/// Builds a [`Client`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until build is awaited"]
pub struct Builder {
    config: Option<Config>,
    file: Option<PathBuf>,
    embedded: Option<Embedded>,
    routed: BTreeMap<String, RoutingConfig>,
    near: BTreeMap<String, NearConfig>,
    local: Option<String>,
    credentials: Option<Provider>,
    links: Links,
    local_only: bool,
    any_local: bool,
    retry: Option<Arc<dyn RetryPolicy>>,
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
    ///
    /// They stand in for the configuration's regions, if there is one: of those only weight and location count, where the
    /// names are the same. A test can so run on the file of production. Routed keyspaces know the commands of
    /// [`Interpreter`](crate::exec::Interpreter) there, and
    /// [`EmbeddedBuilder::replica`](crate::store::embedded::EmbeddedBuilder::replica) adds replicas.
    pub fn embedded(mut self, regions: &Embedded) -> Self {
        self.embedded = Some(regions.clone());
        self
    }

    /// Adds a routed keyspace to what is configured, in place of one of that name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use archipelago::{Client, Embedded, routing::RoutingConfig};
    /// use redis::AsyncCommands;
    ///
    /// let regions = Embedded::builder().region("eu").region("us").weight("us", 2).build()?;
    /// let builder = Client::builder().embedded(&regions).local_region("us");
    /// let client = builder.routed("profiles", RoutingConfig::default()).build().await?;
    /// let mut profiles = client.connection("profiles")?;
    /// let _: () = profiles.set("ada", "Lovelace").await?;
    /// assert_eq!(profiles.get::<_, String>("ada").await?, "Lovelace");
    /// # client.shut_down().await; Ok(()) }
    /// ```
    pub fn routed(mut self, keyspace: impl Into<String>, routing: RoutingConfig) -> Self {
        self.routed.insert(keyspace.into(), routing);
        self
    }

    /// Bounds the [near cache](crate::near) of a keyspace, in place of what is configured.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), archipelago::Error> {
    /// use archipelago::{Client, Embedded, config::NearConfig};
    ///
    /// let regions = Embedded::builder().region("eu").build()?;
    /// let small = NearConfig { max_bytes: 1 << 20, ..NearConfig::default() };
    /// let client = Client::builder().embedded(&regions).near_cache("default", small).build().await?;
    /// assert_eq!(client.near("default")?.counter("views").get().await?.as_deref(), Some(&0));
    /// # client.shut_down().await; Ok(()) }
    /// ```
    pub fn near_cache(mut self, keyspace: impl Into<String>, config: NearConfig) -> Self {
        self.near.insert(keyspace.into(), config);
        self
    }

    /// The local region. Without it `ARCHIPELAGO_REGION`, then the configuration's `local`, then the only region.
    pub fn local_region(mut self, name: impl Into<String>) -> Self {
        self.local = Some(name.into());
        self
    }

    /// Asks for user and password at every connection, instead of the configuration: for tokens that are short-lived.
    /// See [`CredentialsProvider`]; what it leaves open stays as configured.
    pub fn credentials(mut self, provider: impl CredentialsProvider + 'static) -> Self {
        self.credentials = Some(Provider(Arc::new(provider)));
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

    /// What follows a failed attempt of a routed call, instead of [`StandardRetry`](crate::resilience::StandardRetry).
    /// Whether a repetition is safe stays the client's own decision.
    pub fn retry_policy(mut self, policy: impl RetryPolicy + 'static) -> Self {
        self.retry = Some(Arc::new(policy));
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
            // Boxed, so that a caller's own future does not grow beyond what the compiler lays out by default.
            Some(embedded) => Box::pin(self.build_embedded(&embedded)).await,
            None => Box::pin(self.build_redis()).await,
        }
    }

    /// The configuration that was given, if any was.
    fn take_config(&mut self) -> Result<Option<Config>, Error> {
        match (self.config.take(), self.file.take()) {
            (Some(config), _) => Ok(Some(config)),
            (None, Some(file)) => Config::from_file(file).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Adds the keyspaces that were named in code.
    fn add_routed(&mut self, config: &mut Config) -> Result<(), Error> {
        for (name, routing) in std::mem::take(&mut self.routed) {
            if !is_keyspace_name(&name) {
                let text = format!("routed: {name:?}: a keyspace name has 1 to 64 of A-Z a-z 0-9 - _ .");
                return Err(Error::new(ErrorKind::Config, text));
            }
            config.keyspaces.insert(name, KeyspaceConfig::routed(routing));
        }
        Ok(())
    }

    /// How the keyspaces' near caches are bounded, with those that were named in code.
    fn set_near(&mut self, config: &Config) -> Result<(), Error> {
        for (name, near) in &self.near {
            let known = config.keyspaces.contains_key(name).then_some(()).ok_or("no such keyspace".to_owned());
            known
                .and_then(|()| near.check())
                .map_err(|what| Error::new(ErrorKind::Config, format!("near_cache of {name:?}: {what}")))?;
        }
        for (name, keyspace) in &config.keyspaces {
            self.near.entry(name.clone()).or_insert_with(|| keyspace.near_cache.clone());
        }
        Ok(())
    }

    async fn build_embedded(mut self, embedded: &Embedded) -> Result<Client, Error> {
        let known: BTreeMap<String, ()> = embedded.regions().map(|region| (region.to_string(), ())).collect();
        let mut config = self.take_config()?.unwrap_or_else(|| Config {
            keyspaces: BTreeMap::from([("default".to_owned(), KeyspaceConfig::default())]),
            ..Config::default()
        });
        self.add_routed(&mut config)?;
        self.set_near(&config)?;
        let local = self.choose_local(config.local.as_deref(), &known)?;
        let (keyspaces, routed) = (of_mode(&config, Mode::ActiveActive), of_mode(&config, Mode::Routed));
        let plane =
            start_plane(&config, &routed, self.retry.clone(), || Map::of_embedded(&config, embedded, &local)).await?;
        let listeners = Listeners::default();
        let islands = keyspaces.iter().map(|(name, config)| {
            let stores = embedded.regions().filter(|region| !self.local_only || **region == local).map(|region| {
                let store = embedded.store(&local, region, name)?;
                Ok((region.clone(), store))
            });
            let stores = stores.collect::<Result<_, Error>>()?;
            let (sweep_grace, collect_every) = (config.sweep_grace, config.collect_every);
            let conflicts = Conflicts::new(name, &listeners);
            let (stock, interruptions) = (config.stock, Interruptions::default());
            Ok(Islands { keyspace: name.clone(), stores, sweep_grace, collect_every, stock, conflicts, interruptions })
        });
        let islands = islands.collect::<Result<Vec<_>, Error>>()?;
        let regions = || Ok(embedded_infos(&config, embedded));
        let homes = home_settings(config.homes.as_ref(), regions, plane.plane.as_ref()).await?;
        self.finish(local, &keyspaces, known.len(), (islands, listeners), Vec::new(), Vec::new(), plane, homes)
    }

    async fn build_redis(mut self) -> Result<Client, Error> {
        let mut config = match (self.take_config()?, std::env::var_os("ARCHIPELAGO_CONFIG")) {
            (Some(config), _) => config,
            (None, Some(file)) => Config::from_file(PathBuf::from(file))?,
            (None, None) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "no configuration: give the builder one, or embedded regions, or name a file in ARCHIPELAGO_CONFIG",
                ));
            }
        };
        self.add_routed(&mut config)?;
        self.set_near(&config)?;
        let local = self.choose_local(config.local.as_deref(), &config.regions)?;
        let (active_active, routed) = (of_mode(&config, Mode::ActiveActive), of_mode(&config, Mode::Routed));
        let dialers = dialers(&config, self.credentials.as_ref()).await?;
        let (regions, plane) = tokio::join!(
            self.start_regions(&config, &active_active, &local, &dialers),
            start_plane(&config, &routed, self.retry.clone(), || Map::of(&config, local.as_str(), &dialers)),
        );
        let (regions, missing) = regions?;
        let listeners = Listeners::default();
        let islands = active_active.iter().map(|(name, keyspace)| {
            let store = |region: &Arc<RedisRegion>| -> (RegionId, Arc<dyn Store>) {
                (region.id().clone(), Arc::new(RedisStore::new(region.clone(), name)))
            };
            let stores = regions.iter().map(store).collect();
            let (sweep_grace, collect_every) = (keyspace.sweep_grace, keyspace.collect_every);
            let conflicts = Conflicts::new(name, &listeners);
            let (stock, interruptions) = (keyspace.stock, Interruptions::default());
            Islands { keyspace: name.clone(), stores, sweep_grace, collect_every, stock, conflicts, interruptions }
        });
        let islands = islands.collect();
        let plane = plane?;
        let homes = home_settings(config.homes.as_ref(), || config.region_infos(), plane.plane.as_ref()).await?;
        self.finish(local, &active_active, config.regions.len(), (islands, listeners), regions, missing, plane, homes)
    }

    /// The regions of the active-active keyspaces, and those that could not be reached. Without such a keyspace none.
    async fn start_regions(
        &self,
        config: &Config,
        keyspaces: &BTreeMap<String, KeyspaceConfig>,
        local: &RegionId,
        dialers: &BTreeMap<String, Dialer>,
    ) -> Result<(Vec<Arc<RedisRegion>>, Vec<(RegionId, Error)>), Error> {
        let mut regions = Vec::new();
        for (name, dialer) in dialers {
            let Some(region) = config.regions.get(name) else { continue };
            if !keyspaces.is_empty() && (!self.local_only || *name == local.as_str()) {
                regions.push(RedisRegion::start(region.clone(), dialer, keyspaces)?);
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
        if !regions.is_empty() && missing.len() == regions.len() {
            let why: Vec<String> = missing.iter().map(|(_, error)| error.message().to_owned()).collect();
            let asked = if self.local_only { "the region cannot be reached" } else { "no region can be reached" };
            return Err(Error::new(ErrorKind::Unavailable, format!("{asked}: {}", why.join("; "))));
        }
        for (region, error) in &missing {
            tracing::warn!(%region, %error, "started without a region");
        }
        Ok((regions, missing))
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

    #[allow(clippy::too_many_arguments, reason = "the parts of a client, each from a place of its own")]
    fn finish(
        self,
        local: RegionId,
        configs: &BTreeMap<String, KeyspaceConfig>,
        members: usize,
        (islands, listeners): (Vec<Islands>, Listeners),
        regions: Vec<Arc<RedisRegion>>,
        missing: Vec<(RegionId, Error)>,
        routed: Routed,
        homes: Option<HomeSettings>,
    ) -> Result<Client, Error> {
        let mut keyspaces = BTreeMap::new();
        for island in &islands {
            if let Some(store) = island.stores.get(&local) {
                let Some(config) = configs.get(&island.keyspace) else { continue };
                let keyspace = Keyspace {
                    store: store.clone(),
                    island: Arc::new(island.clone()),
                    session: None,
                    strengths: config.strengths(members)?,
                    repairs: Arc::new(Repairs::new(island.conflicts.clone())),
                };
                keyspaces.insert(island.keyspace.clone(), keyspace);
            }
        }
        let default = keyspaces.get("default").or_else(|| keyspaces.values().next()).cloned();
        let default = default.ok_or_else(|| {
            let known = names(&routed.keyspaces);
            Error::new(
                ErrorKind::Config,
                format!("no active-active keyspace; use `connection(..)` for one of: {known}"),
            )
        });
        let holder = holder()?;
        let sync = match self.links {
            Links::Share => Some(Sync::leased(&islands, Some(&local), &holder)),
            Links::Drive => Some(Sync::leased(&islands, None, &holder)),
            Links::Leave => None,
        };
        let max_clock_skew = configs.values().map(|config| config.max_clock_skew).min().unwrap_or_default();
        let near = NearCaches::new(self.near, self.embedded);
        let Routed { plane, keyspaces: routed } = routed;
        let inner = Inner {
            local,
            default,
            plane,
            routed,
            keyspaces,
            islands,
            listeners,
            regions,
            missing,
            max_clock_skew,
            sync,
            homes,
            near,
        };
        Ok(Client { inner: Arc::new(inner), session: None })
    }
}

/// The routed plane and its keyspaces; without such a keyspace nothing.
#[derive(Default)]
struct Routed {
    plane: Option<Arc<Plane>>,
    keyspaces: BTreeMap<String, Arc<RoutedKeyspace>>,
}

/// The keyspaces of one plane.
fn of_mode(config: &Config, mode: Mode) -> BTreeMap<String, KeyspaceConfig> {
    let chosen = config.keyspaces.iter().filter(|(_, keyspace)| keyspace.mode == mode);
    chosen.map(|(name, keyspace)| (name.clone(), keyspace.clone())).collect()
}

async fn start_plane(
    config: &Config,
    keyspaces: &BTreeMap<String, KeyspaceConfig>,
    retry: Option<Arc<dyn RetryPolicy>>,
    map: impl FnOnce() -> Result<Map, Error>,
) -> Result<Routed, Error> {
    if keyspaces.is_empty() {
        return Ok(Routed::default());
    }
    let plane = Arc::new(Plane::start(config, map()?, retry)?);
    let built = keyspaces.iter().map(|(name, keyspace)| {
        let routing = keyspace.routing.clone().unwrap_or_default();
        check_weights(&routing, &plane.core.topology.load())
            .map_err(|what| Error::new(ErrorKind::Config, format!("keyspaces.{name}: {what}")))?;
        let policy = routing
            .build(&plane.core.topology.load())
            .map_err(|error| Error::new(ErrorKind::Config, format!("keyspaces.{name}.routing.{error}")))?;
        let session = keyspace.session.unwrap_or_default();
        let keyspace = RoutedKeyspace::new(plane.clone(), Profile::new(policy), session, routing);
        Ok((name.clone(), Arc::new(keyspace)))
    });
    let keyspaces = built.collect::<Result<_, Error>>()?;
    let patience = config.regions.values().map(|region| region.connect_timeout).max();
    let patience = patience.unwrap_or(defaults::CONNECT_TIMEOUT);
    plane.ready(patience).await?;
    Ok(Routed { plane: Some(plane), keyspaces })
}

/// What the configuration says about homes, over these regions.
async fn home_settings(
    config: Option<&HomesConfig>,
    regions: impl FnOnce() -> Result<Vec<RegionInfo>, Error>,
    plane: Option<&Arc<Plane>>,
) -> Result<Option<HomeSettings>, Error> {
    let Some(config) = config else { return Ok(None) };
    let regions = regions()?;
    #[cfg(feature = "homes")]
    let resolver = config.open(&regions).await;
    #[cfg(not(feature = "homes"))]
    let resolver = config.build(&regions);
    let resolver = resolver.map_err(|error| Error::new(ErrorKind::Config, format!("homes.{error}")))?;
    Ok(Some(HomeSettings::new(resolver, config.proxies.clone(), plane)))
}

/// One region has to be the heaviest where that decides who writes: among equals each client would take its nearest, and
/// two clients write to two regions that know nothing of each other.
fn check_weights(routing: &RoutingConfig, topology: &Topology) -> Result<(), String> {
    match routing.policy {
        PolicyName::RegionalPrimary | PolicyName::Nearest => {}
        PolicyName::HomeRegion | PolicyName::KeyOwner | PolicyName::Pinned => return Ok(()),
    }
    let most = topology.regions().iter().map(|region| region.weight).max().unwrap_or_default();
    let heaviest = topology.regions().iter().filter(|region| region.weight == most);
    let heaviest: Vec<_> = heaviest.map(|region| region.id.as_str()).collect();
    match heaviest.as_slice() {
        [] | [_] => Ok(()),
        equals => Err(format!(
            "which region writes? {} have the same weight: give one of them more, as in `weight = 2`",
            equals.join(" and ")
        )),
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
