//! Configuration: plain structs, their defaults, the file format, and one validation.

mod keyspace;
mod near;
mod region;
mod routed;
mod sentinel;
mod stock;
mod text;
mod tls;

use std::{collections::BTreeMap, path::Path, time::Duration};

use archipelago_engine::RegionId;
use serde::Deserialize;

use self::text::{address_of, place_of, without_values};
pub(crate) use self::text::{is_keyspace_name, is_tls, names, without_credentials};
pub use self::{
    keyspace::{HistoryCheck, KeyspaceConfig, Mode},
    near::NearConfig,
    region::RegionConfig,
    routed::{Failover, Fenced, RoutedConfig},
    sentinel::SentinelConfig,
    stock::StockConfig,
    tls::TlsConfig,
};
use crate::{
    error::{Error, ErrorKind},
    homes::HomesConfig,
    resilience::ResilienceOptions,
    routing::RegionInfo,
};

/// Every default in one place.
pub mod defaults {
    use std::time::Duration;

    /// Partitions of a keyspace; fixed when the keyspace is created.
    pub const PARTITIONS: u16 = 16;
    /// Weight of a region among those that may write.
    pub const WEIGHT: u32 = 1;
    /// Without any answer for so long, a region that is down is left by writes.
    pub const PATIENCE: Duration = Duration::from_millis(500);
    /// Within which every routed call ends, and every read and write of several regions.
    pub const DEADLINE: Duration = Duration::from_secs(1);
    /// How long a majority's confirmation lets a fenced client write.
    pub const FENCE_LEASE: Duration = Duration::from_secs(2);
    /// Between two probes of a node.
    pub const PROBE_INTERVAL: Duration = Duration::from_millis(200);
    /// How long a probe may take. Longer than a slow answer: three late ones in a row take a node out.
    pub const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
    /// Shared connections to a node; each carries any number of concurrent calls. While the server works on what one
    /// sent, the client fills the other: with one they wait for each other, which cost a busy client up to a fifth.
    pub const CONNECTIONS: usize = 2;
    /// Connections to a node that are lent to one borrower at a time.
    pub const EXCLUSIVE_CONNECTIONS: usize = 16;
    /// How long to wait for a connection, handshake included.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long to wait for an answer. Shorter turns slow answers into "maybe applied"; longer holds callers up.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// How many entries a log keeps for destinations that do not fetch them; behind that they get a resync.
    pub const LOG_CAP: u64 = 1_000_000;
    /// How far a region's clock may be pulled ahead by a peer's, and from where skew is reported.
    pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);
    /// How long after its expiry a key's cells are cleared.
    pub const SWEEP_GRACE: Duration = Duration::from_secs(60);
    /// What a keyspace's near cache may take in this process.
    pub const NEAR_BYTES: u64 = 64 << 20;
    /// How long a value of a near cache is believed without being asked for again.
    pub const NEAR_TTL: Duration = Duration::from_secs(10);
    /// Between two looks whether rights to stock should move to where units are taken.
    pub const REBALANCE: Duration = Duration::from_secs(5);
    /// How long a region waits between two rounds in which it forgets what removals left behind.
    pub const COLLECT_EVERY: Duration = Duration::from_secs(5);
    /// How long a link's lease lasts without renewal: about how long a takeover takes.
    pub const LEASE: Duration = Duration::from_secs(5);
    /// Cells in one join. Larger batches block the server longer and are slower.
    pub const BATCH_CELLS: usize = 200;
    /// Joins in flight on one partition of a link.
    pub const JOINS_IN_FLIGHT: usize = 16;
}

/// The whole configuration.
///
/// ```
/// let config: archipelago::Config = r#"
///     [regions.us-east-1]
///     url = "redis://127.0.0.1:7001"
///
///     [regions.eu-west-1]
///     url = "redis://127.0.0.1:7002"
///
///     [keyspaces.default]
///     mode = "active-active"
/// "#.parse()?;
/// assert_eq!(config.regions.len(), 2);
/// assert_eq!(config.keyspaces["default"].partitions, 16);
/// # Ok::<(), archipelago::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The local region, unless the builder, `--region` or `ARCHIPELAGO_REGION` names another.
    #[serde(default)]
    pub local: Option<String>,
    /// The regions, by name.
    #[serde(default)]
    pub regions: BTreeMap<String, RegionConfig>,
    /// The keyspaces, by name. Without any there is one, `default`, in mode `active-active`.
    #[serde(default)]
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
    /// What the routed plane does when regions die.
    #[serde(default)]
    pub routed: RoutedConfig,
    /// Breakers, timeouts, retries and hedges of the routed plane.
    #[serde(default)]
    pub resilience: ResilienceOptions,
    /// Where users live; default none, and then nothing that needs homes works. An empty table will do.
    #[serde(default)]
    pub homes: Option<HomesConfig>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the file cannot be read or says what it cannot say; names the file, and the line and
    /// key where there is one.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(ErrorKind::Config, format!("cannot read {}: {error}", path.display())))?;
        text.parse().map_err(|error: Error| error.within(path.display().to_string()))
    }

    /// Checks what the types cannot, fills in environment variables and the default keyspace.
    fn validate(mut self) -> Result<Self, Error> {
        let refusal = |what: String| Error::new(ErrorKind::Config, what);
        let refuse = |what: String| Err(refusal(what));
        if self.regions.is_empty() {
            return refuse("no regions: expected at least one [regions.NAME] with a url".into());
        }
        for (name, region) in &mut self.regions {
            if let Err(error) = name.parse::<RegionId>() {
                return refuse(format!("regions.{name}: {error}"));
            }
            region.complete().map_err(|what| refusal(format!("regions.{name}.{what}")))?;
        }
        self.check_servers().map_err(refusal)?;
        if let Some(local) = &self.local
            && !self.regions.contains_key(local)
        {
            return refuse(format!("local: unknown region {local:?}, known: {}", names(&self.regions)));
        }
        if self.keyspaces.is_empty() {
            self.keyspaces.insert("default".into(), KeyspaceConfig::default());
        }
        for (name, keyspace) in &self.keyspaces {
            if !is_keyspace_name(name) {
                return refuse(format!("keyspaces.{name}: a keyspace name has 1 to 64 of A-Z a-z 0-9 - _ ."));
            }
            let checked = keyspace.check().and_then(|()| keyspace.check_regions(&self.regions));
            checked.map_err(|what| refusal(format!("keyspaces.{name}.{what}")))?;
        }
        self.check_planes().map_err(refusal)?;
        self.routed.check().map_err(|what| refusal(format!("routed.{what}")))?;
        self.resilience.validate().map_err(|error| error.within("resilience"))?;
        if let Some(homes) = &self.homes {
            homes.validate(&self.region_infos()?).map_err(|error| refusal(format!("homes.{error}")))?;
        }
        Ok(self)
    }

    /// The regions as policies see them, in the order of their names.
    pub(crate) fn region_infos(&self) -> Result<Vec<RegionInfo>, Error> {
        let infos = self.regions.iter().map(|(name, region)| {
            let id = name.parse().map_err(|error| format!("regions.{name}: {error}"));
            Ok(region.info(id.map_err(|what| Error::new(ErrorKind::Config, what))?))
        });
        infos.collect()
    }

    /// Each address belongs to one node: a server listed twice would be its own peer, or its own replica.
    fn check_servers(&self) -> Result<(), String> {
        let mut servers: BTreeMap<String, &String> = BTreeMap::new();
        for (name, region) in &self.regions {
            if let Some(stands_in) = region.replicas.keys().find(|stands_in| !self.regions.contains_key(*stands_in)) {
                let known = names(&self.regions);
                return Err(format!("regions.{name}.replicas: unknown region {stands_in:?}, known: {known}"));
            }
            let primaries = [&region.url].into_iter().filter(|url| !url.is_empty()).chain(&region.cluster);
            let addresses = primaries.chain(region.replicas.values().flatten()).map(|url| address_of(url));
            // Sentinels may watch several primaries.
            let watched = region.sentinel.iter().flat_map(|sentinel| {
                sentinel.nodes.iter().map(|url| format!("{} of {}", sentinel.master, address_of(url)))
            });
            for server in addresses.chain(watched) {
                match servers.insert(server.clone(), name) {
                    None => {}
                    Some(other) if other == name => return Err(format!("regions.{name} names {server} twice")),
                    Some(other) => {
                        return Err(format!(
                            "regions.{other} and regions.{name} both name {server}: each region needs servers of its own"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Local writes need each region's own single primary.
    fn check_planes(&self) -> Result<(), String> {
        let Some((keyspace, _)) = self.keyspaces.iter().find(|(_, keyspace)| keyspace.mode == Mode::ActiveActive)
        else {
            return Ok(());
        };
        match self.regions.iter().find(|(_, region)| !region.cluster.is_empty()) {
            Some((region, _)) => Err(format!(
                "regions.{region}: keyspace {keyspace} is active-active, which needs a `url` or a `sentinel` here; a \
                 cluster serves routed keyspaces only"
            )),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Config {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| place_of(text, span.start)).unwrap_or_default();
            // Only the message: the error's own display quotes the source line, and that may hold a password.
            Error::new(ErrorKind::Config, format!("{place}{}", without_values(error.message())))
        })?;
        config.validate()
    }
}

fn millis<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<Config>().map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_named_by_line_and_key() {
        let message = refusal("[regions.eu]\nurl = \"redis://h:1\"\nconections = 2\n");
        assert!(message.contains("line 3") && message.contains("conections"), "{message}");
        let message = refusal("[regions.eu]\nurl = 5\n");
        assert!(message.contains("line 2") && message.contains("string"), "{message}");
        let message = refusal("[regions.eu]\nurl = \"http://x\"\n");
        assert!(message.contains("regions.eu.url") && message.contains("redis://"), "{message}");
        let message = refusal("local = \"mars\"\n[regions.eu]\nurl = \"redis://h:1\"\n");
        assert!(message.contains("mars") && message.contains("eu"), "{message}");
        for partitions in ["0", "1025", "-1", "999999999"] {
            let keyspace = format!("[keyspaces.k]\nmode = \"active-active\"\npartitions = {partitions}\n");
            let message = refusal(&format!("[regions.eu]\nurl = \"redis://h:1\"\n{keyspace}"));
            assert!(message.contains(&format!("partitions: expected 1 to 1024, found {partitions}")), "{message}");
        }
        assert!(refusal("").contains("no regions"));
    }

    #[test]
    fn certificates_are_verified_or_there_is_no_tls() {
        let insecure = refusal("[regions.eu]\nurl = \"rediss://h:1/#insecure\"\n");
        let files = "[regions.eu]\nurl = \"rediss://h:1\"\ntls = { certificate = \"c.pem\" }\n";
        let plain = refusal("[regions.eu]\nurl = \"redis://h:1\"\ntls = { ca = \"ca.pem\" }\n");
        if cfg!(feature = "tls") {
            assert!(insecure.contains("always verified"), "{insecure}");
            assert!(refusal(files).contains("belong together"));
            assert!(plain.contains("rediss://"), "{plain}");
        } else {
            assert!(insecure.contains("feature `tls`"), "{insecure}");
            assert!(plain.contains("feature `tls`"), "{plain}");
        }
    }

    #[test]
    fn a_primary_is_named_in_one_way() {
        let sentinel = |table: &str| format!("[regions.eu]\nsentinel = {{ {table} }}\n");
        let config: Config = sentinel("master = \"m\", nodes = [\"redis://h:1\"]").parse().unwrap();
        assert_eq!(config.regions["eu"].sentinel.as_ref().unwrap().replicas, 0);
        let both = sentinel("master = \"m\", nodes = [\"redis://h:1\"]") + "url = \"redis://h:2\"\n";
        assert!(refusal(&both).contains("only one of"));
        assert!(refusal("[regions.eu]\nweight = 1\n").contains("where is the server"));
        assert!(refusal(&sentinel("master = \"m\", nodes = []")).contains("sentinel.nodes"));
        assert!(refusal(&sentinel("master = \"\", nodes = [\"redis://h:1\"]")).contains("sentinel.master"));
        let twice = refusal(&sentinel("master = \"m\", nodes = [\"redis://h:1\", \"redis://u:p@h:1\"]"));
        assert!(twice.contains("named twice"), "{twice}");
        let table = "sentinel = { master = \"m\", nodes = [\"redis://h:1\"] }\n";
        let same = refusal(&format!("[regions.a]\n{table}[regions.b]\n{table}"));
        assert!(same.contains("regions.a and regions.b"), "{same}");
    }

    #[test]
    fn a_password_is_said_once() {
        let message = refusal("[regions.eu]\nurl = \"redis://h:1\"\npassword = \"hunter2\"\npassword_file = \"f\"\n");
        assert!(message.contains("password_file") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn secrets_appear_in_no_message_and_no_debug() {
        let message = refusal("[regions.eu]\nurl = \"http://user:hunter2@h\"\n");
        assert!(!message.contains("hunter2"), "{message}");
        let message = refusal("[regions]\neu = \"redis://user:hunter2@h:1\"\n");
        assert!(!message.contains("hunter2") && message.contains("line 2, regions.eu"), "{message}");
        let message = refusal("[regions.eu]\nurl = \"redis://user:hunter2@h:1\" x\n");
        assert!(!message.contains("hunter2"), "{message}");
        let region = RegionConfig::new("redis://user:hunter2@h:1/0?password=hunter2");
        assert!(!format!("{region:?}").contains("hunter2"), "{region:?}");
        let text = "[regions.eu]\npassword = \"hunter2\"\n\
                    sentinel = { master = \"m\", nodes = [\"redis://watcher:hunter2@h:1\"] }";
        let config: Config = text.parse().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn two_regions_are_two_servers() {
        let message = refusal("[regions.a]\nurl = \"redis://h:1\"\n[regions.b]\nurl = \"redis://u:p@h:1\"\n");
        assert!(message.contains("regions.a and regions.b"), "{message}");
    }

    #[test]
    fn a_mistake_about_homes_is_named_by_its_key() {
        let region = "[regions.eu]\nurl = \"redis://h:1\"\n";
        let config: Config = format!("{region}[homes]\n").parse().unwrap();
        assert_eq!(config.homes, Some(crate::homes::HomesConfig::default()));
        assert!(region.parse::<Config>().unwrap().homes.is_none());
        for (text, parts) in [
            ("[homes]\ndefault = \"mars\"", &["homes.default", "mars", "known: eu"][..]),
            ("[homes.countries]\nDE = \"mars\"", &["homes.countries.DE", "mars"]),
            ("[[homes.residency]]\ncountries = [\"DE\"]\nregions = []", &["homes.residency[0].regions: empty"]),
            ("[homes]\ncountries = { Germany = \"eu\" }", &["line 5", "homes.countries"]),
            ("[homes]\nnearst = true", &["line 5", "homes.nearst"]),
            ("[homes]\nproxies = { hops = 0 }", &["line 5", "homes.proxies"]),
            ("[homes]\ncache = { ttl_secs = 0 }", &["homes.cache.ttl_secs: expected 1 to 86400"]),
        ] {
            let message = refusal(&format!("{region}\n{text}\n"));
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
    }

    #[test]
    fn environment_variables_fill_in() {
        use super::text::substitute;
        let lookup = |name: &str| (name == "PW").then(|| "s3".to_owned());
        assert_eq!(substitute("redis://:${PW}@h", lookup), Ok("redis://:s3@h".to_owned()));
        assert!(substitute("${NO}", lookup).is_err_and(|e| e.contains("NO")));
        assert!(substitute("${PW", lookup).is_err());
    }
}
