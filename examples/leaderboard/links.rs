//! How far behind each link is: how many deltas wait at its origin, and for how long the oldest has waited.

use std::time::Duration;

use archipelago::{
    engine::{SyncState, Version},
    store::{Store, StoreError},
};
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::regions::{Region, World};

/// How long a region may take to say where it stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// The directed flow from one region to another, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub from: usize,
    pub to: usize,
}

/// What is to be seen of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkState {
    pub cut: bool,
    /// Log entries of the origin that the destination has not joined; `None` while the origin does not say.
    pub queued: Option<u64>,
    /// For how long the oldest of them has waited, in milliseconds.
    pub waiting: u64,
}

/// Where each region stood when it was last heard of.
#[derive(Debug, Default)]
pub struct Positions {
    known: Vec<Option<Vec<SyncState>>>,
}

/// Every link, in the order of all reports.
pub fn all(regions: usize) -> impl Iterator<Item = Link> {
    let pairs = (0..regions).flat_map(move |from| (0..regions).map(move |to| Link { from, to }));
    pairs.filter(|link| link.from != link.to)
}

impl Positions {
    /// Looks at every region, and says how each link is.
    pub async fn look(&mut self, world: &World) -> Vec<LinkState> {
        let fresh = join_all(world.regions.iter().map(position)).await;
        self.known.resize(world.regions.len(), None);
        for (known, fresh) in self.known.iter_mut().zip(&fresh) {
            // Whoever is silent stands where it stood: what waits for it goes on waiting.
            *known = fresh.clone().or_else(|| known.take());
        }
        join_all(all(world.regions.len()).map(|link| self.state(world, &fresh, link))).await
    }

    async fn state(&self, world: &World, fresh: &[Option<Vec<SyncState>>], link: Link) -> LinkState {
        let (Some(origin), Some(destination)) = (world.regions.get(link.from), world.regions.get(link.to)) else {
            return LinkState::default();
        };
        let cut = world.is_cut(&origin.name, &destination.name);
        let there = fresh.get(link.from).and_then(Option::as_ref);
        let here = self.known.get(link.to).and_then(Option::as_ref);
        let (Some(there), Some(here)) = (there, here) else { return LinkState { cut, queued: None, waiting: 0 } };
        let behind: Vec<Behind> = (0..).zip(there.iter().zip(here)).filter_map(|at| Behind::of(origin, at)).collect();
        let queued = behind.iter().map(|behind| behind.entries).sum();
        let waiting = timeout(PATIENCE, waiting(origin.store.as_ref(), &behind)).await;
        let waiting = waiting.ok().and_then(Result::ok).unwrap_or_default();
        LinkState { cut, queued: Some(queued), waiting: u64::try_from(waiting.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Where a region stands in each partition, as it says itself.
async fn position(region: &Region) -> Option<Vec<SyncState>> {
    let partitions = (0..region.store.partitions()).map(|partition| region.store.sync_state(partition));
    let states = timeout(PATIENCE, join_all(partitions)).await.ok()?;
    states.into_iter().collect::<Result<_, StoreError>>().ok()
}

/// A partition of which the destination lacks entries.
#[derive(Debug)]
struct Behind {
    partition: u16,
    entries: u64,
    /// Behind this one the others wait.
    joined: Version,
}

impl Behind {
    fn of(origin: &Region, (partition, (there, here)): (u16, (&SyncState, &SyncState))) -> Option<Self> {
        let record = there.record.as_ref()?;
        let cursor = here.cursors.get(origin.client.local_region());
        let cursor = cursor.filter(|cursor| cursor.incarnation == record.incarnation);
        let (number, joined) = cursor.map_or((0, Version::ZERO), |cursor| (cursor.number, cursor.id));
        let entries = there.number.saturating_sub(number);
        (entries > 0).then_some(Self { partition, entries, joined })
    }
}

/// How long the oldest entry has waited, by the origin's clock: an entry's id is the time of its write.
async fn waiting(origin: &dyn Store, behind: &[Behind]) -> Result<Duration, StoreError> {
    if behind.is_empty() {
        return Ok(Duration::ZERO);
    }
    let firsts = behind.iter().map(|behind| origin.log_after(behind.partition, behind.joined, 1));
    let mut oldest: Option<Version> = None;
    for slice in join_all(firsts).await {
        let first = slice?.entries.first().map(|entry| entry.id);
        oldest = [oldest, first].into_iter().flatten().min();
    }
    let Some(oldest) = oldest else { return Ok(Duration::ZERO) };
    let now = origin.clock().await?;
    Ok(Duration::from_micros(now.as_micros().saturating_sub(oldest.as_micros())))
}
