//! The collector: forgets the dead cells of a region once nobody can miss them, and asks those it waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use archipelago_engine::{Origin, RegionId, Version, Wait};

use super::{Islands, link::Drive, resync::resync};
use crate::{
    config::defaults,
    store::{Store, StoreError},
};

/// Fields in one step: more would block the server.
const FIELDS: usize = 500;

/// Between two steps in one partition, for everybody else.
const PAUSE: Duration = Duration::from_millis(20);

/// The rounds of one partition after which a wait is worth a warning.
const LONG: u32 = 16;

/// What a region's collector works on.
pub(super) struct Collector {
    pub(super) keyspace: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) stores: BTreeMap<RegionId, Arc<dyn Store>>,
    pub(super) every: Duration,
    pub(super) drive: Drive,
}

impl Collector {
    /// Collects for ever, one process at a time where links are driven under leases. Several at once would be safe.
    pub(super) async fn run(self) {
        let members: Vec<RegionId> = self.stores.keys().cloned().collect();
        let mut waited = BTreeMap::new();
        loop {
            tokio::time::sleep(self.every).await;
            for partition in 0..self.store.partitions() {
                if let Err(error) = self.round(partition, &members, &mut waited).await {
                    let region = self.store.region();
                    tracing::debug!(keyspace = %self.keyspace, %region, partition, %error, "collection interrupted");
                    break;
                }
            }
        }
    }

    async fn round(
        &self,
        partition: u16,
        members: &[RegionId],
        waited: &mut BTreeMap<u16, Waited>,
    ) -> Result<(), StoreError> {
        if let Drive::Leased { holder, .. } = &self.drive
            && !self.store.take_lease("collect", holder, self.every + defaults::LEASE).await?
        {
            return Ok(());
        }
        loop {
            let done = self.store.collect(partition, members, FIELDS).await?;
            if !done.waits.is_empty() {
                let rounds = waited.entry(partition).or_default().count(&done.waits);
                if rounds == LONG {
                    self.warn(partition, &done.waits);
                }
                // Less and less often: whoever is away cannot answer, and those who are not have been asked.
                if rounds.is_power_of_two()
                    && let Err(error) = self.ask(partition, &done.waits).await
                {
                    // The next partition may wait for somebody else.
                    let region = self.store.region();
                    tracing::debug!(keyspace = %self.keyspace, %region, partition, %error, "not everybody can be asked");
                }
                return Ok(());
            }
            waited.remove(&partition);
            if !done.more {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for what would end the waits. A peer that holds enough has perhaps not said so, since nothing was written that
    /// would make it speak. And what a closed incarnation left behind has to be shipped by everybody.
    ///
    /// Answers the first failure, but asks everybody: one that is away must not keep the others from what they can do.
    async fn ask(&self, partition: u16, waits: &[Wait]) -> Result<(), StoreError> {
        let is_closing = waits.iter().any(|wait| wait.is_closed);
        let mut asked = Ok(());
        for peer in self.stores.values().filter(|peer| peer.region() != self.store.region()) {
            asked = asked.and(self.ask_to_speak(partition, waits, peer).await);
            if is_closing {
                // First what is known here, so that the peer knows what is closed when it ships.
                let there = resync(&self.store, peer, partition).await;
                let back = resync(peer, &self.store, partition).await;
                asked = asked.and(there.and(back).map(drop));
            }
        }
        asked
    }

    /// Asks a peer that holds what is waited for to say so.
    async fn ask_to_speak(&self, partition: u16, waits: &[Wait], peer: &Arc<dyn Store>) -> Result<(), StoreError> {
        let waits: Vec<_> = waits.iter().filter(|wait| wait.member == *peer.region()).collect();
        if waits.is_empty() {
            return Ok(());
        }
        let there = peer.sync_state(partition).await?;
        let own = there.record.map(|record| Origin::new(peer.region().clone(), record.incarnation));
        let held = |origin: &Origin| there.applied.get(origin).copied().unwrap_or_default();
        if waits.iter().any(|wait| own.as_ref() == Some(&wait.origin) || held(&wait.origin) >= wait.needs) {
            peer.republish_vector(partition).await?;
        }
        Ok(())
    }

    fn warn(&self, partition: u16, waits: &[Wait]) {
        let (keyspace, region) = (&self.keyspace, self.store.region());
        let members: BTreeSet<_> = waits.iter().map(|wait| wait.member.as_str()).collect();
        tracing::warn!(%keyspace, %region, partition, ?members, "dead cells wait to be collected until these regions hold more");
    }
}

/// How long a partition has waited for the same.
#[derive(Debug, Default)]
struct Waited {
    rounds: u32,
    waits: BTreeSet<(RegionId, Origin, Version)>,
}

impl Waited {
    /// Counts a round, and begins anew where something else is waited for: behind ten hours for a region that was away, the
    /// next to be asked would wait as long.
    fn count(&mut self, waits: &[Wait]) -> u32 {
        let waits = waits.iter().map(|wait| (wait.member.clone(), wait.origin.clone(), wait.needs)).collect();
        if waits != self.waits {
            *self = Self { rounds: 0, waits };
        }
        self.rounds = self.rounds.saturating_add(1);
        self.rounds
    }
}

/// What keeps dead cells from being collected, in words; empty where nothing waits.
pub(crate) async fn uncollected(islands: &[Islands]) -> Vec<String> {
    let mut out = Vec::new();
    for island in islands {
        let members: Vec<RegionId> = island.stores.keys().cloned().collect();
        for (region, store) in &island.stores {
            let mut waits: BTreeMap<String, u16> = BTreeMap::new();
            for partition in 0..store.partitions() {
                match store.sync_state(partition).await {
                    Ok(state) => {
                        let here: BTreeSet<_> = state.waits(region, &members).iter().map(in_words).collect();
                        for wait in here {
                            *waits.entry(wait).or_default() += 1;
                        }
                    }
                    Err(error) => {
                        out.push(format!("keyspace {}: region {region}: {error}", island.keyspace));
                        break;
                    }
                }
            }
            for (wait, partitions) in waits {
                let keyspace = &island.keyspace;
                out.push(format!(
                    "keyspace {keyspace}: {region} keeps dead cells in {partitions} partitions until {wait}"
                ));
            }
        }
    }
    out
}

/// What ends a wait.
fn in_words(wait: &Wait) -> String {
    let Wait { member, origin: Origin { region: of, .. }, needs, is_closed, .. } = wait;
    if *needs == Version::MAX {
        return format!("every other region has shipped it a closed incarnation of {of}");
    }
    let what = if *is_closed { "a closed incarnation of " } else { "" };
    format!("{member} holds more of {what}{of}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use std::time::SystemTime;

    use archipelago_engine::{Key, Kind, Mutation};
    use bytes::Bytes;

    use super::*;
    use crate::{
        Embedded,
        conflicts::{Conflicts, Listeners},
        store::Write,
        sync::Interruptions,
    };

    async fn count(store: &Arc<dyn Store>, key: &Key) -> usize {
        store.inspect(key).await.unwrap().state.map_or(0, |state| state.fields.len())
    }

    #[test]
    fn whoever_else_is_waited_for_is_asked_at_once() {
        let wait = |micros| Wait {
            member: "a".parse().unwrap(),
            origin: "b/0000000000000001".parse().unwrap(),
            needs: Version::from_micros(micros),
            holds: Version::ZERO,
            is_closed: true,
        };
        let mut waited = Waited::default();
        for round in 1..=8192 {
            assert_eq!(waited.count(&[wait(7)]), round);
        }
        assert_eq!((waited.count(&[wait(8)]), waited.count(&[wait(8)])), (1, 2));
        assert_eq!(waited.count(&[wait(8), wait(9)]), 1);
    }

    #[tokio::test]
    async fn a_region_that_is_away_holds_the_collection_until_it_is_back() {
        let regions = Embedded::builder().region("a").region("b").partitions(1).manual_clock(SystemTime::now()).build();
        let regions = regions.unwrap();
        let [a, b] = ["a", "b"].map(|name| name.parse::<RegionId>().unwrap());
        let stores: BTreeMap<_, _> =
            [&a, &b].map(|region| (region.clone(), regions.store(&a, region, "default").unwrap())).into();
        let (here, there) = (stores[&a].clone(), stores[&b].clone());
        let key = Key::new(Kind::Set, "s");
        let write = |mutation| Write { key: key.clone(), mutation, exclusive: false };
        here.write(&write(Mutation::assign([("m".into(), Bytes::new())]))).await.unwrap();
        resync(&here, &there, 0).await.unwrap();
        resync(&there, &here, 0).await.unwrap();
        here.write(&write(Mutation::Remove { members: vec!["m".into()] })).await.unwrap();

        let collector = Collector {
            keyspace: "default".to_owned(),
            store: here.clone(),
            stores: stores.clone(),
            every: Duration::from_secs(5),
            drive: Drive::Always,
        };
        let members = [a.clone(), b.clone()];
        let mut waited = BTreeMap::new();
        for _ in 0..20 {
            // b has not heard of the removal: asking it changes nothing.
            collector.round(0, &members, &mut waited).await.unwrap();
        }
        assert_eq!((count(&here, &key).await, waited[&0].rounds), (1, 20));
        let island = Islands {
            keyspace: "default".to_owned(),
            stores: stores.clone(),
            sweep_grace: Duration::ZERO,
            collect_every: Duration::from_secs(5),
            stock: crate::config::StockConfig::default(),
            conflicts: Conflicts::new("default", &Listeners::default()),
            interruptions: Interruptions::default(),
        };
        let named = uncollected(&[island]).await;
        assert_eq!(named, ["keyspace default: a keeps dead cells in 1 partitions until b holds more of a"]);

        resync(&here, &there, 0).await.unwrap();
        waited.clear();
        collector.round(0, &members, &mut waited).await.unwrap();
        resync(&there, &here, 0).await.unwrap();
        collector.round(0, &members, &mut waited).await.unwrap();
        assert_eq!(count(&here, &key).await, 0, "b has said that it holds the removal");
        assert!(waited.is_empty());
    }
}
