//! How a keyspace's requests are routed, as a configuration file says it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    AvoidUnhealthy, FallbackToPrimary, HomeRegion, KeyOwner, LocalReplica, MaxStaleness, Nearest, Pinned, Policy,
    RegionIndex, RegionalPrimary, Residency, Topology, Trigger,
};
use crate::resilience::OptionRow;

/// Every default of routing in one place.
pub mod defaults {
    use std::time::Duration;

    use super::{PolicyName, Trigger};

    /// One writer region for everything: the simplest to reason about.
    pub const POLICY: PolicyName = PolicyName::RegionalPrimary;
    /// Off: a read sees what a write before it wrote. A local replica is faster and behind, and only the application
    /// knows whether it can live with that.
    pub const LOCAL_REPLICA: bool = false;
    /// A failed read at a replica goes to the primary, not to the next replica. A miss does not: each key that exists
    /// nowhere would cost a second read.
    pub const FALLBACK_TO_PRIMARY: [Trigger; 1] = [Trigger::Error];
    /// On: no call waits for a node that is known to be down.
    pub const AVOID_UNHEALTHY: bool = true;
    /// Nodes this much slower than the nearest count as equally near: about what a zone costs, not a region.
    pub const LATENCY_WINDOW: Duration = Duration::from_millis(15);
    /// The widest latency window; nothing on Earth is farther.
    pub const LATENCY_WINDOW_LIMIT: Duration = Duration::from_secs(10);
}

/// How one keyspace's requests are routed.
///
/// ```
/// use archipelago::routing::{NodeInfo, RegionIndex, RegionInfo, RoutingConfig, Topology};
///
/// let config: RoutingConfig = toml::from_str(r#"
///     policy = "home-region"
///     local_replica = true
///     fallback_to_primary = ["miss", "error"]
///     max_staleness_ms = 1000
///     residency = ["eu-west-1"]
/// "#)?;
/// let eu = RegionIndex(0);
/// let regions = vec![RegionInfo::new("eu-west-1".parse()?)];
/// let topology = Topology::new(regions, vec![NodeInfo::primary("eu-west-1/primary", eu)], eu, 1)?;
/// let policy = config.build(&topology)?;
///
/// let mistaken: RoutingConfig = toml::from_str("residency = ['mars']")?;
/// let error = mistaken.build(&topology).unwrap_err();
/// assert_eq!(error.to_string(), "residency: unknown region \"mars\", known: eu-west-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingConfig {
    /// Which region a request is for; default `regional-primary`.
    pub policy: PolicyName,
    /// The region of policy `pinned`; no default.
    pub pinned: Option<String>,
    /// Whether reads prefer a node in the client's own region; default false. Such reads are as far behind as
    /// replication is: set `max_staleness_ms`, too.
    pub local_replica: bool,
    /// After which answers of a replica the primary is asked: `miss`, `error`, `stale`; default `["error"]`.
    pub fallback_to_primary: Vec<Trigger>,
    /// Milliseconds that a replica may be behind to serve reads; default none. Zero all but confines reads to
    /// primaries.
    pub max_staleness_ms: Option<u64>,
    /// The regions where data may be; default all. Nothing outside ever serves, also when nothing is left inside.
    pub residency: Option<Vec<String>>,
    /// Whether nodes that are down are skipped while others are left; default true. Without it a call finds out by
    /// itself, at the price of a timeout.
    pub avoid_unhealthy: bool,
    /// Milliseconds over the lowest latency within which nodes count as equally near under policy `nearest`; default
    /// 15, at most 10,000. Zero takes the nearest always; a wide window spreads reads and slows them down.
    pub latency_window_ms: Option<u64>,
}

/// Which region a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyName {
    /// [`RegionalPrimary`].
    RegionalPrimary,
    /// [`HomeRegion`].
    HomeRegion,
    /// [`KeyOwner`].
    KeyOwner,
    /// [`Nearest`].
    Nearest,
    /// [`Pinned`].
    Pinned,
}

/// Why a routing configuration makes no policy. The text begins with the key to look at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoutingError {
    /// A region that the topology does not have.
    #[error("{key}: unknown region {name:?}, known: {known}")]
    UnknownRegion {
        /// The key that names it.
        key: &'static str,
        /// Its name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Policy `pinned` without a region.
    #[error("pinned: policy \"pinned\" needs the name of a region, known: {known}")]
    PinnedMissing {
        /// The names there are.
        known: String,
    },
    /// A key that the policy does not use, so that whoever wrote it would be mistaken about what happens.
    #[error("{key}: only policy {policy:?} uses it")]
    Unused {
        /// The key.
        key: &'static str,
        /// The policy that would use it.
        policy: &'static str,
    },
    /// An empty residency, under which nothing could ever be served.
    #[error("residency: names no region; leave it out to allow all")]
    ResidencyEmpty,
    /// A latency window that is too wide to be meant.
    #[error("latency_window_ms: expected 0 to {}, found {found}", defaults::LATENCY_WINDOW_LIMIT.as_millis())]
    LatencyWindow {
        /// The value.
        found: u64,
    },
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self {
            policy: defaults::POLICY,
            pinned: None,
            local_replica: defaults::LOCAL_REPLICA,
            fallback_to_primary: defaults::FALLBACK_TO_PRIMARY.to_vec(),
            max_staleness_ms: None,
            residency: None,
            avoid_unhealthy: defaults::AVOID_UNHEALTHY,
            latency_window_ms: None,
        }
    }
}

impl RoutingConfig {
    /// Every option: its key, its default and what it does, from the code's own defaults. A default of `-` is none.
    #[must_use]
    pub fn table() -> Vec<OptionRow> {
        let Self {
            policy,
            pinned,
            local_replica,
            fallback_to_primary,
            max_staleness_ms,
            residency,
            avoid_unhealthy,
            latency_window_ms: _, // none here means the default of the policy that uses it
        } = Self::default();
        let row = |key: &str, default: String, meaning| OptionRow { key: key.to_owned(), default, meaning };
        vec![
            row("policy", shown(Some(policy)), "Which region a request is for: see the policies."),
            row("pinned", shown(pinned), "The region of policy `pinned`."),
            row("local_replica", shown(Some(local_replica)), "Whether reads prefer a node in the client's own region."),
            row(
                "fallback_to_primary",
                shown(Some(fallback_to_primary)),
                "After which answers of a replica the primary is asked: `miss`, `error`, `stale`.",
            ),
            row("max_staleness_ms", shown(max_staleness_ms), "How far behind a replica may be to serve reads."),
            row("residency", shown(residency), "The regions where data may be; without it all."),
            row(
                "avoid_unhealthy",
                shown(Some(avoid_unhealthy)),
                "Whether nodes that are down are skipped while others are left.",
            ),
            row(
                "latency_window_ms",
                defaults::LATENCY_WINDOW.as_millis().to_string(),
                "Within which policy `nearest` takes nodes for equally near.",
            ),
        ]
    }

    /// The policy that this describes, for topologies that list their regions as this one does.
    ///
    /// # Errors
    /// [`RoutingError`], naming the key.
    pub fn build(&self, topology: &Topology) -> Result<Arc<dyn Policy>, RoutingError> {
        let mut policy = self.base(topology)?;
        // From the inside out: each wrapper sees what those before it left. Health comes last, for a node that is down
        // is kept only when nothing else is left, and what is left is known only then.
        if self.local_replica {
            policy = Arc::new(LocalReplica::new(policy));
        }
        if !self.fallback_to_primary.is_empty() {
            policy = Arc::new(FallbackToPrimary::new(policy, self.fallback_to_primary.iter().copied()));
        }
        if let Some(bound) = self.max_staleness_ms {
            policy = Arc::new(MaxStaleness::new(policy, Duration::from_millis(bound)));
        }
        if let Some(regions) = self.residency(topology)? {
            policy = Arc::new(Residency::new(policy, regions));
        }
        if self.avoid_unhealthy {
            policy = Arc::new(AvoidUnhealthy::new(policy));
        }
        Ok(policy)
    }

    fn base(&self, topology: &Topology) -> Result<Arc<dyn Policy>, RoutingError> {
        if self.pinned.is_some() && self.policy != PolicyName::Pinned {
            return Err(RoutingError::Unused { key: "pinned", policy: "pinned" });
        }
        if self.latency_window_ms.is_some() && self.policy != PolicyName::Nearest {
            return Err(RoutingError::Unused { key: "latency_window_ms", policy: "nearest" });
        }
        Ok(match self.policy {
            PolicyName::RegionalPrimary => Arc::new(RegionalPrimary),
            PolicyName::HomeRegion => Arc::new(HomeRegion),
            PolicyName::KeyOwner => Arc::new(KeyOwner::new()),
            PolicyName::Nearest => Arc::new(Nearest::new().with_window(self.latency_window()?)),
            PolicyName::Pinned => {
                let missing = || RoutingError::PinnedMissing { known: known(topology) };
                let name = self.pinned.as_deref().ok_or_else(missing)?;
                Arc::new(Pinned::new(find(topology, "pinned", name)?))
            }
        })
    }

    fn latency_window(&self) -> Result<Duration, RoutingError> {
        match self.latency_window_ms {
            None => Ok(defaults::LATENCY_WINDOW),
            Some(found) if Duration::from_millis(found) > defaults::LATENCY_WINDOW_LIMIT => {
                Err(RoutingError::LatencyWindow { found })
            }
            Some(millis) => Ok(Duration::from_millis(millis)),
        }
    }

    fn residency(&self, topology: &Topology) -> Result<Option<Vec<RegionIndex>>, RoutingError> {
        match &self.residency {
            None => Ok(None),
            Some(names) if names.is_empty() => Err(RoutingError::ResidencyEmpty),
            Some(names) => {
                names.iter().map(|name| find(topology, "residency", name)).collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

fn find(topology: &Topology, key: &'static str, name: &str) -> Result<RegionIndex, RoutingError> {
    let unknown = || RoutingError::UnknownRegion { key, name: name.to_owned(), known: known(topology) };
    topology.region_named(name).ok_or_else(unknown)
}

/// A value as a configuration file would write it, on one line; `-` without one.
fn shown<T: Serialize>(value: Option<T>) -> String {
    // JSON and TOML write words, numbers and lists of them alike.
    value.and_then(|value| serde_json::to_string(&value).ok()).unwrap_or_else(|| "-".to_owned())
}

/// The names of the regions, for messages.
fn known(topology: &Topology) -> String {
    topology.regions().iter().map(|region| region.id.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::routing::{NodeInfo, RegionInfo};

    fn topology() -> Topology {
        let regions = ["us", "eu"].map(|name| RegionInfo::new(name.parse().unwrap())).to_vec();
        Topology::new(regions, vec![NodeInfo::primary("us/primary", RegionIndex(0))], RegionIndex(0), 1).unwrap()
    }

    fn built(text: &str) -> String {
        match toml::from_str::<RoutingConfig>(text).unwrap().build(&topology()) {
            Ok(policy) => format!("{policy:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nothing_said_is_the_documented_default() {
        let nothing: RoutingConfig = toml::from_str("").unwrap();
        assert_eq!(nothing, RoutingConfig::default());
        assert_eq!(
            built(""),
            "AvoidUnhealthy { inner: FallbackToPrimary { inner: RegionalPrimary, triggers: Triggers(2) } }"
        );
    }

    #[test]
    fn the_table_read_as_a_file_is_the_defaults() {
        let rows = RoutingConfig::table().into_iter().filter(|row| row.default != "-");
        let text: String = rows.map(|row| format!("{} = {}\n", row.key, row.default)).collect();
        let read: RoutingConfig = toml::from_str(&text).unwrap();
        let window = u64::try_from(defaults::LATENCY_WINDOW.as_millis()).ok();
        assert_eq!(read, RoutingConfig { latency_window_ms: window, ..RoutingConfig::default() }, "{text}");
    }

    #[test]
    fn wrappers_nest_in_the_documented_order() {
        let all = built(
            "policy = 'nearest'\nlatency_window_ms = 5\nlocal_replica = true\nmax_staleness_ms = 9\nresidency = ['eu']",
        );
        let order = ["AvoidUnhealthy", "Residency", "MaxStaleness", "FallbackToPrimary", "LocalReplica", "Nearest"];
        let places: Vec<_> = order.iter().map(|name| all.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{all}");
        assert!(all.contains("allowed: 2") && all.contains("window_micros: 5000"), "{all}");
        assert_eq!(built("avoid_unhealthy = false\nfallback_to_primary = []"), "RegionalPrimary");
    }

    #[test]
    fn a_mistake_is_named_by_its_key() {
        for (text, message) in [
            ("policy = 'pinned'\npinned = 'mars'", "pinned: unknown region \"mars\", known: us, eu"),
            ("policy = 'pinned'", "pinned: policy \"pinned\" needs the name of a region, known: us, eu"),
            ("pinned = 'us'", "pinned: only policy \"pinned\" uses it"),
            ("latency_window_ms = 1", "latency_window_ms: only policy \"nearest\" uses it"),
            ("policy = 'nearest'\nlatency_window_ms = 10001", "latency_window_ms: expected 0 to 10000, found 10001"),
            ("residency = []", "residency: names no region; leave it out to allow all"),
            ("residency = ['us', 'mars']", "residency: unknown region \"mars\", known: us, eu"),
        ] {
            assert_eq!(built(text), message, "{text}");
        }
        for text in
            ["polcy = 'nearest'", "policy = 'closest'", "fallback_to_primary = ['luck']", "max_staleness_ms = -1"]
        {
            assert!(toml::from_str::<RoutingConfig>(text).is_err(), "{text}");
        }
    }
}
