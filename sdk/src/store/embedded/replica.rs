//! A replica of an embedded region: what was written at its primary, so much later.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use archipelago_engine::{Key, Mutation, RegionId, Version};

use super::{
    clock::{Clock, micros},
    lineage::Lineage,
    region::{Data, Region, Slot},
};

/// What a primary tells its replicas.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A write, and the time it was done at: done again at that time on the same data, it does the same.
    Write { slot: Slot, at: Version, key: Key, mutation: Mutation },
    /// Other data altogether: a backup was restored, or everything was deleted.
    Data(Arc<Data>),
}

/// One replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) of: Arc<Region>,
    pub(super) stands_in: RegionId,
    /// Its own process and data.
    pub(super) copy: Arc<Region>,
    stream: Mutex<Stream>,
}

/// What comes from the primary. Times are microseconds of the regions' clock.
#[derive(Debug)]
struct Stream {
    lag: u64,
    /// Sent and not arrived yet. As long as the primary's writes while the way is cut.
    under_way: VecDeque<Sent>,
    /// Everything that was sent up to then has arrived.
    as_of: u64,
}

/// What one command, or one transaction, has changed.
#[derive(Clone, Debug)]
struct Sent {
    at: u64,
    changes: Arc<[Change]>,
    /// Where the primary's history stood afterwards.
    lineage: Lineage,
}

impl Replica {
    pub(super) fn new(of: Arc<Region>, stands_in: RegionId, lag: Duration) -> Result<Self, getrandom::Error> {
        let copy = Arc::new(Region::new(of.id.clone())?);
        copy.state().lineage = of.state().lineage.clone();
        let stream = Stream { lag: micros(lag), under_way: VecDeque::new(), as_of: 0 };
        Ok(Self { of, stands_in, copy, stream: Mutex::new(stream) })
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_lag(&self, lag: Duration) {
        self.stream().lag = micros(lag);
    }

    /// Takes what the primary sends. All of it arrives at the same moment, so that a transaction is seen whole.
    pub(super) fn send(&self, clock: &Clock, changes: Arc<[Change]>, lineage: Lineage) {
        let mut stream = self.stream();
        // Read under the lock: a moment that has arrived must not be sent afterwards.
        let at = clock.now(0).as_micros();
        stream.under_way.push_back(Sent { at, changes, lineage });
    }

    /// Applies what has arrived by now.
    pub(super) fn receive(&self, clock: &Clock) {
        let mut stream = self.stream();
        let horizon = clock.now(0).as_micros().saturating_sub(stream.lag);
        stream.as_of = stream.as_of.max(horizon);
        let arrived = stream.under_way.partition_point(|sent| sent.at <= stream.as_of);
        for sent in stream.under_way.drain(..arrived) {
            self.apply(sent);
        }
    }

    fn apply(&self, sent: Sent) {
        let mut state = self.copy.state();
        for change in &*sent.changes {
            match change {
                Change::Write { slot, at, key, mutation } => {
                    // What the primary did cannot be refused here: the data are the same.
                    let _ = state.step(slot, *at, |partition, history| partition.mutate(history, *at, key, mutation));
                    state.drop_log(slot);
                    self.copy.listeners.changed(&slot.0, [key]);
                }
                Change::Data(data) => {
                    state.data = Data::clone(data);
                    self.copy.listeners.all_changed();
                }
            }
        }
        state.lineage = sent.lineage;
    }

    /// How far behind its primary it is at most.
    pub(super) fn behind(&self, clock: &Clock) -> Duration {
        let stream = self.stream();
        Duration::from_micros(clock.now(0).as_micros().saturating_sub(stream.as_of))
    }
}
