//! One keyspace: on which plane it lives, and how it behaves there.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{NearConfig, StockConfig, defaults, millis, names};
use crate::{
    error::{Error, ErrorKind},
    routing::RoutingConfig,
    sessions::SessionKind,
    strength::{ReadStrength, Strengths, WriteStrength},
};

/// One keyspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceConfig {
    /// On which plane it lives.
    pub mode: Mode,
    /// Partitions, 1 to 1024; default 16. Fixed when the keyspace is created; a client that says otherwise is refused.
    #[serde(default = "default_partitions", deserialize_with = "partitions")]
    pub partitions: u16,
    /// How the region's history is checked; default `exact`.
    #[serde(default)]
    pub history_check: HistoryCheck,
    /// Entries a log keeps for destinations that do not fetch them; default 1,000,000. It bounds memory while a region
    /// is away: behind it the region gets a resync.
    #[serde(default = "default_log_cap")]
    pub log_cap: u64,
    /// Milliseconds a clock may be pulled ahead by a peer's, and from where skew is reported; default 60,000.
    #[serde(default = "default_max_clock_skew", rename = "max_clock_skew_ms", deserialize_with = "millis")]
    pub max_clock_skew: Duration,
    /// Milliseconds between a key's expiry and the clearing of its cells; default 60,000. An extension that arrives
    /// within it revives the key.
    #[serde(default = "default_sweep_grace", rename = "sweep_grace_ms", deserialize_with = "millis")]
    pub sweep_grace: Duration,
    /// How strong reads are, in mode `active-active`: `local` (default), `home`, `merged:K` or `majority`; see
    /// [`strength`](crate::strength).
    #[serde(default)]
    pub read: ReadStrength,
    /// How strong writes are, in mode `active-active`: `local` (default), `replicated:N`, `regions:K`, `majority` or `all`.
    #[serde(default)]
    pub write: WriteStrength,
    /// The region that reads of strength `home` go to; default none.
    #[serde(default)]
    pub home: Option<String>,
    /// Milliseconds within which reads and writes that ask for more than the local region end, 1 to 3,600,000; default 1000.
    /// Shorter than a round trip to the farthest region that is needed, they always fail; longer, they wait longer for one
    /// that is down.
    #[serde(default = "default_deadline", rename = "deadline_ms", deserialize_with = "millis")]
    pub deadline: Duration,
    /// How rights to stock move between regions, in mode `active-active`.
    #[serde(default)]
    pub stock: StockConfig,
    /// Milliseconds between two rounds in which a region forgets what removals left behind; default 5,000, and 0 switches
    /// it off in this process. Only what every region is known to hold goes, so a region that is away holds it up, and
    /// memory grows with what is removed meanwhile. Shorter rounds cost one cheap read for each partition. Off in every
    /// process, removed members, fields and overwritten values of other regions keep their cells for ever.
    #[serde(default = "default_collect_every", rename = "collect_every_ms", deserialize_with = "millis")]
    pub collect_every: Duration,
    /// Which nodes serve what, in mode `routed`.
    #[serde(default)]
    pub routing: Option<RoutingConfig>,
    /// How sessions read their own writes, in mode `routed`: `token` (default) or `tag`.
    #[serde(default)]
    pub session: Option<SessionKind>,
    /// The near cache, for whoever asks for one with [`Client::near`](crate::Client::near).
    #[serde(default)]
    pub near_cache: NearConfig,
}

/// On which plane a keyspace lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every region writes locally; values are merged.
    ActiveActive,
    /// One region writes each key; any command of Redis.
    Routed,
}

/// When the scripts check that the server's history is the one on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryCheck {
    /// In every script (about 1.5 µs each). Nothing acknowledged is lost by an unnoticed promotion.
    #[default]
    Exact,
    /// By a heartbeat four times a second. What was acknowledged between two heartbeats around a promotion may be
    /// lost, in peers too.
    Heartbeat,
}

impl Default for KeyspaceConfig {
    fn default() -> Self {
        Self {
            mode: Mode::ActiveActive,
            partitions: defaults::PARTITIONS,
            history_check: HistoryCheck::Exact,
            log_cap: defaults::LOG_CAP,
            max_clock_skew: defaults::MAX_CLOCK_SKEW,
            sweep_grace: defaults::SWEEP_GRACE,
            read: ReadStrength::Local,
            write: WriteStrength::Local,
            home: None,
            deadline: defaults::DEADLINE,
            stock: StockConfig::default(),
            collect_every: defaults::COLLECT_EVERY,
            routing: None,
            session: None,
            near_cache: NearConfig::default(),
        }
    }
}

impl KeyspaceConfig {
    /// A routed keyspace.
    #[must_use]
    pub fn routed(routing: RoutingConfig) -> Self {
        Self { mode: Mode::Routed, routing: Some(routing), ..Self::default() }
    }

    /// What it asks for, of so many regions.
    pub(crate) fn strengths(&self, members: usize) -> Result<Strengths, Error> {
        let home = self.home.as_ref().map(|home| home.parse()).transpose();
        let home = home.map_err(|error| Error::new(ErrorKind::Config, format!("home: {error}")))?;
        Ok(Strengths { read: self.read, write: self.write, home, deadline: self.deadline, members })
    }

    /// Checks against the regions there are. The message begins with the key.
    pub(super) fn check_regions<V>(&self, regions: &BTreeMap<String, V>) -> Result<(), String> {
        if let Some(home) = self.home.as_ref().filter(|home| !regions.contains_key(*home)) {
            return Err(format!("home: unknown region {home:?}, known: {}", names(regions)));
        }
        if self.read == ReadStrength::Home && self.home.is_none() {
            return Err("read: \"home\" needs a home, as in home = \"eu-west-1\"".into());
        }
        let strengths = [
            ("read", self.read.to_string(), self.read.quorum(regions.len())),
            ("write", self.write.to_string(), self.write.quorum(regions.len())),
        ];
        match strengths.into_iter().find(|(.., quorum)| quorum.is_some_and(|quorum| quorum > regions.len())) {
            Some((key, text, _)) => Err(format!("{key}: {text:?} of {} regions", regions.len())),
            None => Ok(()),
        }
    }

    /// Checks what the types cannot. The message begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=1024).contains(&self.partitions) {
            return Err(format!("partitions: expected 1 to 1024, found {}", self.partitions));
        }
        if self.log_cap < 1000 {
            return Err(format!("log_cap: expected at least 1000, found {}", self.log_cap));
        }
        let is_plain = self.read == ReadStrength::Local && self.write == WriteStrength::Local && self.home.is_none();
        if self.mode == Mode::Routed && !is_plain {
            return Err(
                "read, write, home: only for mode = \"active-active\"; one region writes a routed keyspace".into()
            );
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&self.deadline) {
            return Err(format!("deadline_ms: expected 1 to 3600000, found {}", self.deadline.as_millis()));
        }
        self.near_cache.check().map_err(|what| format!("near_cache.{what}"))?;
        if self.mode == Mode::ActiveActive && self.routing.is_some() {
            return Err("routing: only for mode = \"routed\"; every region of an active-active keyspace writes".into());
        }
        self.stock.check().map_err(|what| format!("stock.{what}"))?;
        if self.mode == Mode::ActiveActive && self.session.is_some() {
            return Err("session: only for mode = \"routed\"".into());
        }
        Ok(())
    }
}

/// What is beyond the type's own range is told what it may be, as what is beyond ours.
fn partitions<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let found = i64::deserialize(deserializer)?;
    u16::try_from(found).map_err(|_| serde::de::Error::custom(format!("partitions: expected 1 to 1024, found {found}")))
}

const fn default_partitions() -> u16 {
    defaults::PARTITIONS
}
const fn default_log_cap() -> u64 {
    defaults::LOG_CAP
}
const fn default_max_clock_skew() -> Duration {
    defaults::MAX_CLOCK_SKEW
}
const fn default_deadline() -> Duration {
    defaults::DEADLINE
}
const fn default_sweep_grace() -> Duration {
    defaults::SWEEP_GRACE
}
const fn default_collect_every() -> Duration {
    defaults::COLLECT_EVERY
}
