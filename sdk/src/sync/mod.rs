//! Sync: links between all regions of a keyspace, inside application processes or as a daemon.

mod batch;
mod chores;
mod collect;
mod convergence;
mod interruptions;
mod link;
mod pump;
mod rebalance;
mod resync;
mod skew;
mod sweep;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_engine::RegionId;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::collect::uncollected;
pub(crate) use self::convergence::{missing, wait_until};
pub(crate) use self::interruptions::Interruptions;
pub use self::skew::{SkewReport, skew};
use self::{
    collect::Collector,
    link::{Drive, Link},
};
use crate::{
    config::{StockConfig, defaults},
    conflicts::Conflicts,
    store::Store,
};

/// The stores of one keyspace, as seen from this process.
#[derive(Clone, Debug)]
pub(crate) struct Islands {
    pub(crate) keyspace: String,
    pub(crate) stores: BTreeMap<RegionId, Arc<dyn Store>>,
    pub(crate) sweep_grace: Duration,
    pub(crate) stock: StockConfig,
    pub(crate) conflicts: Conflicts,
    pub(crate) interruptions: Interruptions,
    /// Zero: dead cells are not collected by this process.
    pub(crate) collect_every: Duration,
}

/// Links that run until they are shut down.
#[derive(Debug)]
pub(crate) struct Sync {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sync {
    /// Drives every link under a lease. `local`: links from there start at once, the others only when nobody better
    /// placed has taken them. Without it all start at once.
    pub(crate) fn leased(islands: &[Islands], local: Option<&RegionId>, holder: &str) -> Self {
        Self::start(islands, |origin| Drive::Leased {
            holder: holder.to_owned(),
            patience: if local.is_none_or(|local| local == origin) { Duration::ZERO } else { defaults::LEASE },
        })
    }

    /// Drives every link at once, whoever else does.
    pub(crate) fn always(islands: &[Islands]) -> Self {
        Self::start(islands, |_| Drive::Always)
    }

    fn start(islands: &[Islands], drive: impl Fn(&RegionId) -> Drive) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for island in islands {
            let members: Arc<Vec<RegionId>> = Arc::new(island.stores.keys().cloned().collect());
            for (from, origin) in &island.stores {
                for (to, destination) in island.stores.iter().filter(|(to, _)| *to != from) {
                    tracing::trace!(keyspace = %island.keyspace, %from, %to, "link");
                    let link = Link {
                        keyspace: island.keyspace.clone(),
                        origin: origin.clone(),
                        destination: destination.clone(),
                        members: members.clone(),
                        conflicts: island.conflicts.clone(),
                        interruptions: island.interruptions.clone(),
                        drive: drive(from),
                    };
                    tasks.spawn(link.run(stop.clone()));
                }
                let sweeper = sweep::sweep(origin.clone(), island.stores.clone(), island.sweep_grace);
                tasks.spawn(stop.clone().run_until_cancelled_owned(sweeper));
                // A run that ends when nothing is left to carry does not make something to carry.
                if let (Drive::Leased { holder, .. }, every) = (drive(from), island.stock.rebalance)
                    && !every.is_zero()
                    && island.stores.len() > 1
                {
                    let giver = rebalance::rebalance(origin.clone(), island.stores.clone(), every, holder);
                    tasks.spawn(stop.clone().run_until_cancelled_owned(giver));
                }
                if !island.collect_every.is_zero() {
                    let collector = Collector {
                        keyspace: island.keyspace.clone(),
                        store: origin.clone(),
                        stores: island.stores.clone(),
                        every: island.collect_every,
                        drive: drive(from),
                    };
                    tasks.spawn(stop.clone().run_until_cancelled_owned(collector.run()));
                }
            }
        }
        tasks.close();
        Self { stop, tasks }
    }

    /// Stops all links and waits for them; leases are given back.
    pub(crate) async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
