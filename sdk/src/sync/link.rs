//! A link: the directed flow from an origin region to a destination region, under a lease.

use std::{sync::Arc, time::Duration};

use archipelago_engine::RegionId;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{chores::Chores, interruptions::Interruptions, pump::Pump};
use crate::{
    config::defaults,
    conflicts::Conflicts,
    store::{Store, StoreError},
};

/// How long one wait for entries may last: the pace at which a link that hears nothing looks around.
const WAIT: Duration = Duration::from_millis(500);

/// How long the wait for entries leaves the pumps to read what it found.
const READ: Duration = Duration::from_millis(5);

/// Between attempts of a link that failed: from the first pause to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// As many failures in a row are worth a warning: some three seconds of them.
const TOLD_AFTER: u32 = 8;

/// Who may drive a link.
#[derive(Clone, Debug)]
pub(super) enum Drive {
    /// Whoever holds the lease. `patience`: how long a free lease is left to a better placed process.
    Leased { holder: String, patience: Duration },
    /// This process, whoever else does: safe, only wasteful.
    Always,
}

/// One link of one keyspace.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) keyspace: String,
    pub(super) origin: Arc<dyn Store>,
    pub(super) destination: Arc<dyn Store>,
    pub(super) members: Arc<Vec<RegionId>>,
    pub(super) conflicts: Conflicts,
    pub(super) interruptions: Interruptions,
    pub(super) drive: Drive,
}

impl Link {
    /// Drives the link until `stop`, through failures of either region.
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = format!("link:{}", self.origin.region());
        let (mut pause, mut failures) = (PAUSES.0, 0_u32);
        if let Drive::Leased { patience, .. } = &self.drive {
            let _ = stop.run_until_cancelled(tokio::time::sleep(*patience)).await;
        }
        while !stop.is_cancelled() {
            let began = Instant::now();
            let turn = stop.run_until_cancelled(self.turn(&name)).await;
            let idle = match turn {
                None => break,
                Some(Ok(())) => defaults::LEASE / 2,
                Some(Err(error)) => {
                    let (origin, destination) = (self.origin.region(), self.destination.region());
                    self.interruptions.note(origin, destination, &error, Instant::now());
                    let ran = began.elapsed() > PAUSES.1;
                    failures = if ran { 1 } else { failures.saturating_add(1) };
                    if failures == TOLD_AFTER {
                        tracing::warn!(keyspace = %self.keyspace, %origin, %destination, %error, "link interrupted again and again");
                    } else {
                        tracing::debug!(keyspace = %self.keyspace, %origin, %destination, %error, "link interrupted");
                    }
                    pause = if ran { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
                    pause
                }
            };
            let _ = stop.run_until_cancelled(tokio::time::sleep(idle)).await;
        }
        if let Drive::Leased { holder, .. } = &self.drive {
            // A clean end frees the lease at once; otherwise it runs out.
            let release = self.destination.release_lease(&name, holder);
            let _ = tokio::time::timeout(Duration::from_secs(1), release).await;
        }
    }

    /// One turn: while the lease is ours. `Ok` when somebody else has it.
    async fn turn(&self, name: &str) -> Result<(), StoreError> {
        match &self.drive {
            Drive::Always => self.pump().await,
            Drive::Leased { holder, .. } => {
                if !self.destination.take_lease(name, holder, defaults::LEASE).await? {
                    return Ok(());
                }
                tokio::select! {
                    result = self.pump() => result,
                    result = self.renew(name, holder) => result,
                }
            }
        }
    }

    async fn renew(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        loop {
            tokio::time::sleep(defaults::LEASE / 3).await;
            if !self.destination.take_lease(name, holder, defaults::LEASE).await? {
                return Ok(());
            }
        }
    }

    /// Pumps every partition, and wakes those whose log has news.
    async fn pump(&self) -> Result<(), StoreError> {
        let has_read = Arc::new(Notify::new());
        let pumps: Vec<Pump> = (0..self.origin.partitions())
            .map(|partition| Pump {
                origin: self.origin.clone(),
                destination: self.destination.clone(),
                partition,
                chores: Chores::new(self.origin.clone(), self.destination.clone(), partition, self.members.clone()),
                conflicts: self.conflicts.clone(),
                news: Arc::new(Notify::new()),
                read_to: Arc::default(),
                has_read: has_read.clone(),
            })
            .collect();
        let mut running: FuturesUnordered<_> = pumps.iter().map(Pump::run).collect();
        let listen = async {
            loop {
                let positions: Vec<_> = pumps
                    .iter()
                    .map(|pump| {
                        let read_to = *pump.read_to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        (pump.partition, read_to)
                    })
                    .collect();
                let news = self.origin.wait_for_entries(&positions, WAIT).await?;
                for pump in &pumps {
                    if news.contains(&pump.partition) {
                        pump.news.notify_one();
                    }
                }
                if !news.is_empty() {
                    // Lets a pump read before the next wait, which would see the same entries again.
                    let _ = tokio::time::timeout(READ, has_read.notified()).await;
                }
            }
        };
        tokio::select! {
            Some(result) = running.next() => result,
            result = listen => result,
        }
    }
}
