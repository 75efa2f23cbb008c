//! Embedded regions: the engine behind the [`Store`] trait, several regions in one process, no server needed.
//!
//! They are what examples, users' unit tests and simulations run on: the same algebra and the same sync protocol as on
//! Redis, with latency, cuts, crashes and lost data on command.

mod builder;
mod calls;
mod clock;
mod lineage;
mod listeners;
mod network;
mod node;
mod reads;
mod region;
mod replica;
mod stepwise;
mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use archipelago_engine::{RegionId, Version};

pub use self::{builder::EmbeddedBuilder, region::Backup};
pub(crate) use self::{calls::Connection, lineage::Lineage, listeners::Listener, node::EmbeddedNode, reads::answer};
use self::{
    calls::EmbeddedStore,
    clock::Clock,
    network::Network,
    region::{Data, Region, fresh_history},
    replica::{Change, Replica},
};
use super::Store;
use crate::{
    config::{defaults, is_keyspace_name},
    error::{Error, ErrorKind},
};

/// Several regions in this process. A clone is another handle of the same regions.
///
/// Everything is in memory and gone with the last handle. Faults are deterministic: they begin and end when a test
/// says so. Not simulated: reordering within one call, loss at random, and memory limits.
///
/// ```
/// use archipelago::{Embedded, store::{Query, Read, Reply, Write}};
/// use archipelago::engine::{Key, Kind, Mutation, RegionId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let embedded = Embedded::builder().region("us-east-1").region("eu-west-1").build()?;
/// let (us, eu): (RegionId, RegionId) = ("us-east-1".parse()?, "eu-west-1".parse()?);
/// let key = Key::new(Kind::String, "greeting");
///
/// let store = embedded.store(&us, &us, "default")?;
/// store.write(&Write { key: key.clone(), mutation: Mutation::set("hello"), exclusive: false }).await?;
/// let read = Read { key, query: Query::Value };
/// assert_eq!(store.read(&read).await?, Reply::Bytes("hello".into()));
///
/// // Another region has its own data, until a sync driver brings the delta.
/// let remote = embedded.store(&us, &eu, "default")?;
/// assert_eq!(remote.read(&read).await?, Reply::Nil);
///
/// embedded.partition("us-east-1", "eu-west-1")?;
/// assert!(remote.read(&read).await.is_err());
/// embedded.heal();
/// assert!(remote.read(&read).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Embedded {
    world: Arc<World>,
}

/// What all handles and stores share.
#[derive(Debug)]
struct World {
    partitions: u16,
    log_cap: u64,
    clock: Clock,
    network: Network,
    regions: BTreeMap<RegionId, Arc<Region>>,
    weights: BTreeMap<RegionId, u32>,
    replicas: Vec<Arc<Replica>>,
}

impl World {
    /// One way of a call.
    async fn travel(&self, from: &RegionId, to: &RegionId) {
        let delay = self.network.one_way(from, to);
        if delay.is_zero() || self.clock.is_manual() {
            // A real connection gives way to other tasks at every call. Without this a loop of calls would not.
            tokio::task::coop::consume_budget().await;
        } else {
            tokio::time::sleep(delay).await;
        }
    }

    /// Brings a replica up to date, as far as its lag and the way to its primary allow.
    fn catch_up(&self, replica: &Replica) {
        let (of, at) = (&replica.of.id, &replica.stands_in);
        let is_cut = self.network.is_cut(of, at) || self.network.is_cut(at, of);
        if !is_cut && replica.of.state().up && replica.copy.state().up {
            replica.receive(&self.clock);
        }
    }

    /// Who listens hears that nothing is as it was: time jumped, data were replaced, or connections broke.
    fn unsettle(&self) {
        self.regions.values().for_each(|region| region.listeners.all_changed());
        self.replicas.iter().for_each(|replica| replica.copy.listeners.all_changed());
    }

    /// Before anything changes about who reaches whom: what has arrived by now has arrived.
    fn settle(&self) {
        self.replicas.iter().for_each(|replica| self.catch_up(replica));
    }

    /// Tells a region's replicas what changed there. The caller serves alone: what is counted first is sent first.
    fn publish(&self, region: &Arc<Region>, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut state = region.state();
        state.lineage = state.lineage.after(changes.len());
        let (lineage, changes) = (state.lineage.clone(), Arc::<[Change]>::from(changes));
        drop(state);
        let own = self.replicas.iter().filter(|replica| Arc::ptr_eq(&replica.of, region));
        own.for_each(|replica| replica.send(&self.clock, changes.clone(), lineage.clone()));
    }

    /// The processes that run in a region: its primary, and replicas of others.
    fn processes<'w>(&'w self, region: &'w Arc<Region>) -> impl Iterator<Item = &'w Arc<Region>> {
        let guests = self.replicas.iter().filter(|replica| replica.stands_in == region.id);
        std::iter::once(region).chain(guests.map(|replica| &replica.copy))
    }
}

impl Embedded {
    /// Begins to say which regions there are.
    pub const fn builder() -> EmbeddedBuilder {
        EmbeddedBuilder::new()
    }

    /// The regions, in order of their names.
    pub fn regions(&self) -> impl Iterator<Item = &RegionId> {
        self.world.regions.keys()
    }

    /// How many partitions every keyspace has.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.world.partitions
    }

    /// A keyspace of the region `target`, as an app server in the region `vantage` sees it.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region or a name that no keyspace can have.
    pub fn store(&self, vantage: &RegionId, target: &RegionId, keyspace: &str) -> Result<Arc<dyn Store>, Error> {
        let vantage = self.region(vantage.as_str())?.id.clone();
        let region = Arc::clone(self.region(target.as_str())?);
        if !is_keyspace_name(keyspace) {
            return Err(refusal(format!("{keyspace:?}: a keyspace name has 1 to 64 of A-Z a-z 0-9 - _ .")));
        }
        Ok(Arc::new(EmbeddedStore::new(Arc::clone(&self.world), vantage, region, keyspace)))
    }

    /// How much a region is preferred as the one that writes routed keyspaces.
    pub(crate) fn weight(&self, region: &RegionId) -> u32 {
        self.world.weights.get(region).copied().unwrap_or(defaults::WEIGHT)
    }

    /// Lets somebody hear of every key that changes in a region.
    pub(crate) fn listen(&self, region: &RegionId, listener: Weak<dyn Listener>) -> Result<(), Error> {
        self.region(region.as_str())?.listeners.add(listener);
        Ok(())
    }

    /// Every server: each region's primary, then its replicas by the region they stand in, as an app server in the region
    /// `vantage` sees them.
    pub(crate) fn nodes(&self, vantage: &RegionId) -> Vec<EmbeddedNode> {
        let mut nodes = Vec::new();
        for region in self.world.regions.values() {
            nodes.push(EmbeddedNode::primary(self.world.clone(), vantage.clone(), region.clone()));
            let mut replicas: Vec<_> =
                self.world.replicas.iter().filter(|replica| replica.of.id == region.id).collect();
            replicas.sort_by(|a, b| a.stands_in.cmp(&b.stands_in));
            for (replica, number) in replicas.into_iter().zip(1..) {
                nodes.push(EmbeddedNode::replica(self.world.clone(), vantage.clone(), replica.clone(), number));
            }
        }
        nodes
    }

    /// Sets how far the replicas of `of` that stand in `stands_in` are behind, from now on. A replica never goes back: under
    /// a longer lag it stays as it is until that has passed.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] when there is no such replica.
    pub fn set_lag(&self, of: &str, stands_in: &str, lag: Duration) -> Result<(), Error> {
        self.world.settle();
        let is_meant =
            |replica: &&Arc<Replica>| replica.of.id.as_str() == of && replica.stands_in.as_str() == stands_in;
        let meant: Vec<_> = self.world.replicas.iter().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(refusal(format!("no replica of {of:?} stands in {stands_in:?}")));
        }
        meant.iter().for_each(|replica| replica.set_lag(lag));
        Ok(())
    }

    /// Moves every region's clock forward, a manual one or the machine's as the regions see it.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(by);
        self.world.unsettle();
    }

    /// What a region's clock says.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn now(&self, region: &str) -> Result<Version, Error> {
        let skew = self.region(region)?.state().skew;
        Ok(self.world.clock.now(skew))
    }

    /// Sets how many microseconds a region's clock is ahead (or behind, when negative) of the others'.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn set_clock_skew(&self, region: &str, micros: i64) -> Result<(), Error> {
        self.region(region)?.state().skew = micros;
        self.world.unsettle();
        Ok(())
    }

    /// Says whether a region keeps its rights to stock over a restart, as one with
    /// [`lossless_restart`](crate::config::RegionConfig::lossless_restart) does. At first no region does.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn set_lossless_restart(&self, region: &str, is_lossless: bool) -> Result<(), Error> {
        self.region(region)?.state().is_lossless = is_lossless;
        Ok(())
    }

    /// Sets the round trip between two regions, both ways; between a region and itself too.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region, or for more than a store waits for an answer
    /// ([`defaults::RESPONSE_TIMEOUT`]).
    pub fn set_latency(&self, a: &str, b: &str, round_trip: Duration) -> Result<(), Error> {
        if round_trip > defaults::RESPONSE_TIMEOUT {
            return Err(refusal(format!(
                "latency {a} to {b}: at most {:?}; cut the path, or lose its replies",
                defaults::RESPONSE_TIMEOUT
            )));
        }
        let (a, b) = (self.region(a)?, self.region(b)?);
        self.world.network.set_latency(&a.id, &b.id, round_trip);
        Ok(())
    }

    /// Cuts one way: app servers in `from` cannot reach the region `to` any more. What is under way gets no answer.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn cut(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.region(from)?, self.region(to)?);
        self.world.settle();
        self.world.network.cut(&from.id, &to.id);
        to.news.notify_waiters();
        self.world.unsettle();
        Ok(())
    }

    /// Cuts both ways between two regions. Each still serves its own app servers.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn partition(&self, a: &str, b: &str) -> Result<(), Error> {
        self.cut(a, b)?;
        self.cut(b, a)
    }

    /// Cuts a region off from all others, both ways.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn isolate(&self, region: &str) -> Result<(), Error> {
        self.region(region)?;
        let others: Vec<_> = self.regions().filter(|id| id.as_str() != region).cloned().collect();
        others.iter().try_for_each(|other| self.partition(region, other.as_str()))
    }

    /// From now on, what app servers in `from` ask of the region `to` is done, but they hear nothing of it.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn lose_replies(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.region(from)?, self.region(to)?);
        self.world.network.lose_replies(&from.id, &to.id);
        Ok(())
    }

    /// Ends the cut and the loss of replies from `from` to `to`, one way; nothing happens where there is none.
    /// [`Embedded::heal`] ends all of them.
    ///
    /// ```
    /// # fn main() -> Result<(), archipelago::Error> {
    /// let regions = archipelago::Embedded::builder().region("us").region("eu").build()?;
    /// regions.partition("us", "eu")?;
    /// regions.mend("us", "eu")?;
    /// assert!(!regions.is_cut("us", "eu")? && regions.is_cut("eu", "us")?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn mend(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.region(from)?, self.region(to)?);
        self.world.settle();
        self.world.network.mend(&from.id, &to.id);
        Ok(())
    }

    /// Whether app servers in `from` are cut off from the region `to`. The other way is a question of its own.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn is_cut(&self, from: &str, to: &str) -> Result<bool, Error> {
        let (from, to) = (self.region(from)?, self.region(to)?);
        Ok(self.world.network.is_cut(&from.id, &to.id))
    }

    /// Ends every cut and every loss of replies. Crashed regions stay down.
    pub fn heal(&self) {
        self.world.settle();
        self.world.network.heal();
        self.world.unsettle();
    }

    /// Takes a region down, with the replicas that stand in it; calls under way get no answer. Its data stays, as that of a
    /// server with a complete append-only file.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn crash(&self, region: &str) -> Result<(), Error> {
        let region = self.region(region)?;
        self.world.settle();
        for process in self.world.processes(region) {
            process.state().up = false;
        }
        region.news.notify_waiters();
        self.world.unsettle();
        Ok(())
    }

    /// Brings a region up with its data and a new history, and the replicas that stand in it. To restart with less data,
    /// [`Embedded::restore`] first.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn restart(&self, region: &str) -> Result<(), Error> {
        let history = fresh_history().map_err(no_randomness)?;
        let region = self.region(region)?;
        self.world.settle();
        for process in self.world.processes(region) {
            let mut state = process.state();
            let ended = state.history.clone();
            state.ended_whole.insert(ended);
            state.start(history.clone());
            state.up = true;
        }
        region.state().lineage.go_on_as(&history);
        region.news.notify_waiters();
        self.world.unsettle();
        Ok(())
    }

    /// Copies all of a region's data: views, cells, logs, cursors, leases.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn backup(&self, region: &str) -> Result<Backup, Error> {
        let region = self.region(region)?;
        let data = region.state().data.clone();
        Ok(Backup { region: region.id.clone(), data })
    }

    /// Puts a region's data back to a backup. The history changes, as that of a server started on other files; calls under
    /// way get no answer.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region or a backup of another one.
    pub fn restore(&self, region: &str, backup: &Backup) -> Result<(), Error> {
        let history = fresh_history().map_err(no_randomness)?;
        let region = self.region(region)?;
        if region.id != backup.region {
            return Err(refusal(format!("a backup of {} cannot be restored in {}", backup.region, region.id)));
        }
        let _alone = region.serving();
        let mut state = region.state();
        state.lineage = Lineage::new(&history);
        state.ended_whole.clear();
        state.start(history);
        state.data = backup.data.clone();
        drop(state);
        self.world.publish(region, vec![Change::Data(Arc::new(backup.data.clone()))]);
        region.news.notify_waiters();
        self.world.unsettle();
        Ok(())
    }

    /// FLUSHALL: the data is gone, the history stays, and only the missing records show it.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Config`] for an unknown region.
    pub fn wipe(&self, region: &str) -> Result<(), Error> {
        let region = self.region(region)?;
        let _alone = region.serving();
        region.state().data = Data::default();
        self.world.publish(region, vec![Change::Data(Arc::default())]);
        region.news.notify_waiters();
        self.world.unsettle();
        Ok(())
    }

    fn region(&self, name: &str) -> Result<&Arc<Region>, Error> {
        let found = self.world.regions.iter().find(|(id, _)| id.as_str() == name).map(|(_, region)| region);
        found.ok_or_else(|| {
            let known: Vec<_> = self.regions().map(RegionId::as_str).collect();
            refusal(format!("unknown region {name:?}, known: {}", known.join(", ")))
        })
    }
}

fn refusal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn no_randomness(error: getrandom::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the system gives no random bits: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests;
