//! Pushes: cells go straight from one region to another, past the log.
//!
//! A strong write pushes what it changed, a merged read what the local region turned out to lack. A push may be late, come
//! twice or never: it moves no position, and the log brings the same cells again.

use super::{Conflict, Partition, Stale, Standing, join::raise};
use crate::{
    delta::{Delta, Vector},
    origin::Origin,
    version::Version,
};

/// Cells that were read in one region, on their way to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// The region they were read from, in its incarnation of that moment.
    pub sender: Origin,
    /// Its membership epoch.
    pub epoch: u64,
    /// What it had seen of every origin. A removal leaves no version of its own in a cell, so the cells alone would say
    /// too little of what a reader of them has seen.
    pub seen: Vector,
    /// The cells, one delta for each key.
    pub deltas: Vec<Delta>,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushReply {
    /// Joined: what it says is held here, now or before.
    Joined {
        /// Cells that were left out: nothing of their origin's log was ever joined here, so nobody could tell whether
        /// they were removed since. What they say is not held here.
        left_out: u64,
    },
    /// Nothing was done: nothing of the sender's incarnation was ever joined here.
    Unheard,
    /// Nothing was done: the sender's incarnation is known to be closed.
    Closed,
    /// Nothing was done: the membership here has this epoch.
    Epoch(u64),
}

impl Standing {
    /// A push of cells that were read here at this moment.
    #[must_use]
    pub fn push(&self, deltas: Vec<Delta>) -> Push {
        let mut seen = self.seen.clone();
        raise(&mut seen, &self.applied);
        raise(&mut seen, &Vector::from([(self.origin.clone(), self.last)]));
        // What is settled was met by nobody.
        seen.retain(|_, version| *version != Version::MAX);
        Push { sender: self.origin.clone(), epoch: self.epoch, seen, deltas }
    }
}

impl Partition {
    /// Joins cells that came past the log.
    ///
    /// `applied` and the positions stay where they are: what comes by the log has to come in order. `seen` rises.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn push(&mut self, history: &str, push: &Push) -> Result<PushReply, Stale> {
        self.push_into(history, push, None)
    }

    /// The same, and which concurrent writes met: those that [`SyncState::resolved`](super::SyncState::resolved)
    /// counts.
    ///
    /// # Errors
    /// As [`Partition::push`].
    pub fn push_and_tell(&mut self, history: &str, push: &Push) -> Result<(PushReply, Vec<Conflict>), Stale> {
        let mut told = Vec::new();
        let reply = self.push_into(history, push, Some(&mut told))?;
        Ok((reply, told))
    }

    fn push_into(
        &mut self,
        history: &str,
        push: &Push,
        mut told: Option<&mut Vec<Conflict>>,
    ) -> Result<PushReply, Stale> {
        self.check(history)?;
        if push.epoch != self.epoch {
            return Ok(PushReply::Epoch(self.epoch));
        }
        // Without this a region that lost everything would take back, piece by piece, what others have removed since.
        if self.applied.get(&push.sender).is_none_or(|held| held.is_zero()) {
            return Ok(PushReply::Unheard);
        }
        if self.is_closed(&push.sender) {
            return Ok(PushReply::Closed);
        }
        let mut left_out = 0;
        for delta in &push.deltas {
            let (without, changed) = self.join_cells(delta, |partition, _, origin| partition.covered_for_push(origin));
            left_out += without;
            self.note_joined(&delta.key, &changed, &mut told);
        }
        raise(&mut self.seen, &push.seen);
        Ok(PushReply::Joined { left_out })
    }

    /// Up to where assignments and totals of an origin are ignored in a push; `None`: its cells are ignored altogether.
    fn covered_for_push(&self, origin: &Origin) -> Option<Version> {
        let is_own = self.origin().as_ref() == Some(origin);
        let known = if is_own { Some(Version::MAX) } else { self.applied.get(origin).copied() };
        // Zero is noted of what was met and never held.
        let known = known.filter(|known| !known.is_zero());
        // What a closed incarnation wrote and lost comes from a resync or not at all.
        known.map(|known| if self.is_closed(origin) { Version::MAX } else { known })
    }

    /// Whether another incarnation of the origin's region is known to be the current one.
    fn is_closed(&self, origin: &Origin) -> bool {
        let current = if origin.region == self.region {
            self.record.as_ref().map(|record| record.incarnation)
        } else {
            self.known.get(&origin.region).map(|(incarnation, _)| *incarnation)
        };
        current.is_some_and(|current| current != origin.incarnation)
    }
}
