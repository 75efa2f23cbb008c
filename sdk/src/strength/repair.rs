//! Read repair: what a merged read found elsewhere is pushed to the local region, behind the answer.

use std::sync::{Arc, Mutex, PoisonError};

use archipelago_engine::{Cell, Delta, KeyState, Push, Standing, Version};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    conflicts::Conflicts,
    store::{Excerpt, Store},
};

/// Keys a second, and at once.
const RATE: f64 = 100.0;

/// Repairs of one keyspace: bounded, and over when the client is shut down.
#[derive(Debug)]
pub(crate) struct Repairs {
    conflicts: Conflicts,
    bucket: Mutex<Bucket>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * RATE).min(RATE);
        self.at = now;
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

impl Repairs {
    pub(crate) fn new(conflicts: Conflicts) -> Self {
        let bucket = Mutex::new(Bucket { left: RATE, at: Instant::now() });
        Self { conflicts, bucket, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Pushes to the local region what it lacks of these regions' cells. What is over the limit is left to the links.
    pub(crate) fn repair(&self, local: &Arc<dyn Store>, partition: u16, found: &Found<'_>) {
        let pushes = found.pushes();
        if pushes.is_empty() || self.stop.is_cancelled() {
            return;
        }
        if !self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return;
        }
        let (local, conflicts) = (local.clone(), self.conflicts.clone());
        let repair = async move {
            for push in pushes {
                if let Err(error) = conflicts.push(local.as_ref(), partition, &push).await {
                    tracing::debug!(region = %local.region(), %error, "a read repair was not done");
                }
            }
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(repair));
    }

    /// Cancelled when the client is shut down.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Stops what is under way and waits for it.
    pub(crate) async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Repairs {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a merged read found.
pub(crate) struct Found<'a> {
    pub(crate) excerpt: &'a Excerpt,
    /// Each region's cells, and where it stood.
    pub(crate) regions: &'a [(KeyState, Standing)],
    /// Which of them is local.
    pub(crate) local: &'a (KeyState, Standing),
}

impl Found<'_> {
    fn pushes(&self) -> Vec<Push> {
        let others = self.regions.iter().filter(|(_, standing)| standing.origin.region != self.local.1.origin.region);
        let lacking = others.filter_map(|(state, standing)| {
            let delta = self.lacking(state)?;
            Some(standing.push(vec![delta]))
        });
        lacking.collect()
    }

    /// The fields of another region's cells that would change something here.
    fn lacking(&self, theirs: &KeyState) -> Option<Delta> {
        let mut delta = self.excerpt.delta(theirs);
        delta.fields.retain(|field, cells| {
            let here = self.local.0.fields.get(field).map(|stamped| &stamped.cells);
            cells.iter().any(|(origin, cell)| {
                let ours = here.and_then(|cells| cells.get(origin));
                let news = news(cell, self.local.1.held(origin), ours.is_some());
                ours.cloned().unwrap_or_default().join(&news).changed
            })
        });
        (!delta.fields.is_empty()).then_some(delta)
    }
}

/// What a region has not, of a cell whose origin it holds up to `held`. Without a cell of its own it has collected it: the
/// remains of it that another region still has are no news.
fn news(cell: &Cell, held: Version, has_cell: bool) -> Cell {
    let mut news = cell.clone();
    news.assign = news.assign.filter(|assign| assign.version > held);
    news.total = news.total.filter(|total| total.version > held);
    if !has_cell {
        news.base = news.base.filter(|base| base.version > held);
        news.retracted = if news.retracted > held { news.retracted } else { Version::ZERO };
    }
    news
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn repairs_are_bounded() {
        let start = Instant::now();
        let mut bucket = Bucket { left: 2.0, at: start };
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        let later = start + Duration::from_millis(15);
        assert!(bucket.take(later) && !bucket.take(later));
        let much_later = start + Duration::from_secs(3600);
        let taken = (0..1000).filter(|_| bucket.take(much_later)).count();
        assert_eq!(taken, 100);
    }
}
