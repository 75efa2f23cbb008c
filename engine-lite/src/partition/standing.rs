//! Where a partition stands: what its region holds of every origin, for readers who have seen something elsewhere.

use std::collections::BTreeMap;

use super::{Partition, Stale, join::raise};
use crate::{
    delta::Vector,
    origin::{Incarnation, Origin, RegionId},
    version::Version,
};

/// Where a partition stands at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The region in its current incarnation.
    pub origin: Origin,
    /// The id of its own last log entry. Not its clock, which runs ahead with what was joined and which no link would
    /// ever bring anybody.
    pub last: Version,
    /// Everything of these origins up to these versions is held.
    pub applied: Vector,
    /// The highest version of each origin met by any path. Some of what lies above `applied` may be missing.
    pub seen: Vector,
    /// The current incarnation of each peer, as far as it is known here.
    pub peers: BTreeMap<RegionId, Incarnation>,
    /// The membership epoch.
    pub epoch: u64,
    /// What the region's clock says.
    pub now: Version,
}

impl Standing {
    /// Everything of an origin up to this version is held.
    #[must_use]
    pub fn held(&self, origin: &Origin) -> Version {
        if *origin == self.origin { self.last } else { self.applied.get(origin).copied().unwrap_or_default() }
    }

    /// The highest version of each origin that a reader here may have met: whoever holds all of it misses nothing that
    /// this reader saw. A cell that came by a push or in the middle of a resync is ahead of `applied`, so that alone
    /// would not do.
    ///
    /// Of a closed incarnation only `applied` counts: what it lost was perhaps met in retractions, and nobody will ever
    /// hold that.
    #[must_use]
    pub fn visible(&self) -> Vector {
        let mut visible = self.applied.clone();
        let is_open = |origin: &Origin| self.current(&origin.region).is_none_or(|open| open == origin.incarnation);
        let seen = self.seen.iter().filter(|(origin, _)| is_open(origin));
        raise(&mut visible, &seen.map(|(origin, version)| (origin.clone(), *version)).collect());
        visible.insert(self.origin.clone(), self.last);
        visible.retain(|_, version| !version.is_zero());
        visible
    }

    /// The current incarnation of a region, this one's own included.
    #[must_use]
    pub fn current(&self, region: &RegionId) -> Option<Incarnation> {
        if *region == self.origin.region { Some(self.origin.incarnation) } else { self.peers.get(region).copied() }
    }
}

impl Partition {
    /// Where it stands.
    ///
    /// # Errors
    /// [`Stale`] when the history broke: what is held may have gone back.
    pub fn standing(&self, history: &str, now: Version) -> Result<Standing, Stale> {
        let incarnation = self.check(history)?.incarnation;
        // What every member has is trimmed: then they say how far it went.
        let acknowledged = self.acks.values().filter(|cursor| cursor.incarnation == incarnation);
        let last = self.log.back().map(|entry| entry.id).or_else(|| acknowledged.map(|cursor| cursor.id).max());
        Ok(Standing {
            origin: Origin::new(self.region.clone(), incarnation),
            last: last.unwrap_or_default(),
            applied: self.applied.clone(),
            seen: self.seen.clone(),
            peers: self.known.iter().map(|(region, (incarnation, _))| (region.clone(), *incarnation)).collect(),
            epoch: self.epoch,
            now,
        })
    }
}
