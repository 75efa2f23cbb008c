//! What lies between app servers and regions: latency, cuts, and replies that get lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use archipelago_engine::RegionId;

/// From the vantage of an app server, to a region.
type Path = (RegionId, RegionId);

/// Which paths work, and how long they are.
#[derive(Debug, Default)]
pub(super) struct Network {
    paths: Mutex<Paths>,
}

#[derive(Debug, Default)]
struct Paths {
    latency: BTreeMap<Path, Duration>,
    cut: BTreeSet<Path>,
    deaf: BTreeSet<Path>,
}

impl Network {
    fn paths(&self) -> MutexGuard<'_, Paths> {
        // Every change is one insertion or removal: a panic elsewhere cannot leave it half done.
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the round trip between two places, both ways.
    pub(super) fn set_latency(&self, a: &RegionId, b: &RegionId, round_trip: Duration) {
        let mut paths = self.paths();
        paths.latency.insert((a.clone(), b.clone()), round_trip);
        paths.latency.insert((b.clone(), a.clone()), round_trip);
    }

    pub(super) fn one_way(&self, from: &RegionId, to: &RegionId) -> Duration {
        self.paths().latency.get(&(from.clone(), to.clone())).copied().unwrap_or_default() / 2
    }

    pub(super) fn cut(&self, from: &RegionId, to: &RegionId) {
        self.paths().cut.insert((from.clone(), to.clone()));
    }

    pub(super) fn lose_replies(&self, from: &RegionId, to: &RegionId) {
        self.paths().deaf.insert((from.clone(), to.clone()));
    }

    /// Ends what was cut or lost on one path.
    pub(super) fn mend(&self, from: &RegionId, to: &RegionId) {
        let mut paths = self.paths();
        let path = (from.clone(), to.clone());
        paths.cut.remove(&path);
        paths.deaf.remove(&path);
    }

    pub(super) fn heal(&self) {
        let mut paths = self.paths();
        paths.cut.clear();
        paths.deaf.clear();
    }

    pub(super) fn is_cut(&self, from: &RegionId, to: &RegionId) -> bool {
        self.paths().cut.contains(&(from.clone(), to.clone()))
    }

    pub(super) fn loses_replies(&self, from: &RegionId, to: &RegionId) -> bool {
        self.paths().deaf.contains(&(from.clone(), to.clone()))
    }
}
