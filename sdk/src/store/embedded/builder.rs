//! How embedded regions are described, and what is refused.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago_engine::{RegionId, Version};

use super::{
    Embedded, World,
    clock::{Clock, micros},
    network::Network,
    no_randomness, refusal,
    region::Region,
    replica::Replica,
};
use crate::{config::defaults, error::Error};

/// Says which regions there are; [`EmbeddedBuilder::build`] checks all of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct EmbeddedBuilder {
    regions: Vec<String>,
    weights: Vec<(String, u32)>,
    replicas: Vec<(String, String, Duration)>,
    latencies: Vec<(String, String, Duration)>,
    partitions: u16,
    log_cap: u64,
    start: Option<SystemTime>,
}

impl EmbeddedBuilder {
    pub(super) const fn new() -> Self {
        Self {
            regions: Vec::new(),
            weights: Vec::new(),
            replicas: Vec::new(),
            latencies: Vec::new(),
            partitions: defaults::PARTITIONS,
            log_cap: defaults::LOG_CAP,
            start: None,
        }
    }

    /// Adds a region.
    pub fn region(mut self, id: impl Into<String>) -> Self {
        self.regions.push(id.into());
        self
    }

    /// How much a region is preferred as the one that writes routed keyspaces, default 1; see
    /// [`RegionConfig::weight`](crate::config::RegionConfig::weight). Of equal ones each client takes the nearest.
    pub fn weight(mut self, region: impl Into<String>, weight: u32) -> Self {
        self.weights.push((region.into(), weight));
        self
    }

    /// Adds a replica of the region `of`, standing in `stands_in`, that shows what was written `lag` ago. For routed
    /// keyspaces; active-active ones have none.
    ///
    /// It refuses writes. While it cannot reach its primary, because that is down or the way between the two regions is
    /// cut, it stays as it is, and what it missed arrives afterwards. It goes down with the region it stands in.
    pub fn replica(mut self, of: impl Into<String>, stands_in: impl Into<String>, lag: Duration) -> Self {
        self.replicas.push((of.into(), stands_in.into(), lag));
        self
    }

    /// Partitions of every keyspace, 1 to 1024; default 16.
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// The round trip between an app server in one region and the other region's store, both ways; default none.
    pub fn latency(mut self, a: impl Into<String>, b: impl Into<String>, round_trip: Duration) -> Self {
        self.latencies.push((a.into(), b.into(), round_trip));
        self
    }

    /// Entries a log keeps for destinations that do not fetch them; default 1,000,000. A low one forces resyncs.
    pub fn log_cap(mut self, entries: u64) -> Self {
        self.log_cap = entries;
        self
    }

    /// A clock that stands at `start` and moves only by [`Embedded::advance`]. Latency is then not slept.
    pub fn manual_clock(mut self, start: SystemTime) -> Self {
        self.start = Some(start);
        self
    }

    /// Brings the regions up.
    ///
    /// # Errors
    /// Of kind [`Config`](crate::ErrorKind::Config): no region, a name that is none or occurs twice, an unknown one, or a number out
    /// of range.
    pub fn build(self) -> Result<Embedded, Error> {
        let mut regions = BTreeMap::new();
        for name in &self.regions {
            let id: RegionId = name.parse().map_err(|error| refusal(format!("{error}")))?;
            let region = Region::new(id.clone()).map_err(no_randomness)?;
            if regions.insert(id, Arc::new(region)).is_some() {
                return Err(refusal(format!("region {name} occurs twice")));
            }
        }
        if regions.is_empty() {
            return Err(refusal("no regions: name at least one"));
        }
        if !(1..=1024).contains(&self.partitions) {
            return Err(refusal(format!("partitions: expected 1 to 1024, found {}", self.partitions)));
        }
        let find = |name: &str| {
            let found = regions.iter().find(|(id, _)| id.as_str() == name);
            found.ok_or_else(|| refusal(format!("unknown region {name:?}")))
        };
        let weights = self.weights.iter().map(|(name, weight)| Ok((find(name)?.0.clone(), *weight)));
        let weights = weights.collect::<Result<_, Error>>()?;
        let mut replicas = Vec::new();
        for (of, stands_in, lag) in &self.replicas {
            let (primary, at) = (find(of)?.1.clone(), find(stands_in)?.0.clone());
            replicas.push(Arc::new(Replica::new(primary, at, *lag).map_err(no_randomness)?));
        }
        let world = World {
            partitions: self.partitions,
            log_cap: self.log_cap,
            clock: self.start.map_or_else(|| Ok(Clock::real()), manual)?,
            network: Network::default(),
            regions,
            weights,
            replicas,
        };
        let embedded = Embedded { world: Arc::new(world) };
        for (a, b, round_trip) in &self.latencies {
            embedded.set_latency(a, b, *round_trip)?;
        }
        Ok(embedded)
    }
}

fn manual(start: SystemTime) -> Result<Clock, Error> {
    let start = Version::from_micros(start.duration_since(UNIX_EPOCH).map_or(0, micros));
    if start <= Version::FLOOR || start >= Version::MAX {
        return Err(refusal("manual_clock: expected a time between 1971 and 2255"));
    }
    Ok(Clock::manual(start))
}
