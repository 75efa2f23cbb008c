//! Joins: a batch of a peer's log arrives.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Aside, Conflict, Cursor, Partition, Stale, is_inexact};
use crate::{
    cells::Cells,
    delta::{Delta, Vector},
    key::{Field, Key},
    origin::{Incarnation, Origin},
    version::Version,
};

/// A piece of one incarnation's log, its same-cell deltas joined together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Whose log.
    pub origin: Origin,
    /// The number of the entry before the first one: the batch holds all that follows, up to `to`.
    pub from: u64,
    /// The number of the last entry.
    pub to: u64,
    /// The id of the last entry.
    pub id: Version,
    /// The last version that the last entry took.
    pub applied: Version,
    /// The membership epoch of the sender.
    pub epoch: u64,
    /// The cells, one delta for each key.
    pub deltas: Vec<Delta>,
    /// The last vector the batch carried, if any.
    pub vector: Option<Vector>,
    /// Entries that could not be decoded, with their ids.
    pub aside: Vec<SetAside>,
}

/// An entry that could not be decoded: kept, counted, and never passed by `applied`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its id.
    pub id: Version,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinReply {
    /// Applied; the position is now here.
    Applied(Cursor),
    /// All of it was known already; the position stays here.
    Known(Cursor),
    /// Nothing was done: something is missing before the batch. `None`: nothing was ever joined from there.
    Gap(Option<Cursor>),
    /// Nothing was done: the membership here has this epoch.
    Epoch(u64),
}

impl Batch {
    /// The highest version of each origin in any register: what `seen` learns.
    #[must_use]
    pub fn seen(&self) -> Vector {
        let mut seen = Vector::new();
        seen.insert(self.origin.clone(), self.applied);
        for delta in &self.deltas {
            raise(&mut seen, &delta.seen());
        }
        seen
    }
}

impl Partition {
    /// Joins a batch behind the position its origin has here.
    ///
    /// Two drivers at once, a paused driver and a restarted region are all safe without fencing: what is known is
    /// skipped, and a batch with something missing before it changes nothing.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn join(&mut self, history: &str, now: Version, max_skew: u64, batch: &Batch) -> Result<JoinReply, Stale> {
        self.join_into(history, now, max_skew, batch, None)
    }

    /// The same, and which concurrent writes met: those that [`SyncState::resolved`](super::SyncState::resolved)
    /// counts.
    ///
    /// # Errors
    /// As [`Partition::join`].
    pub fn join_and_tell(
        &mut self,
        history: &str,
        now: Version,
        max_skew: u64,
        batch: &Batch,
    ) -> Result<(JoinReply, Vec<Conflict>), Stale> {
        let mut told = Vec::new();
        let reply = self.join_into(history, now, max_skew, batch, Some(&mut told))?;
        Ok((reply, told))
    }

    fn join_into(
        &mut self,
        history: &str,
        now: Version,
        max_skew: u64,
        batch: &Batch,
        mut told: Option<&mut Vec<Conflict>>,
    ) -> Result<JoinReply, Stale> {
        self.check(history)?;
        if batch.epoch != self.epoch {
            return Ok(JoinReply::Epoch(self.epoch));
        }
        let region = &batch.origin.region;
        let stored = self.cursors.get(region).copied();
        let Some(cursor) = stored.filter(|c| c.incarnation == batch.origin.incarnation && c.number >= batch.from)
        else {
            return Ok(JoinReply::Gap(stored));
        };
        if cursor.number >= batch.to {
            return Ok(JoinReply::Known(cursor));
        }
        for delta in &batch.deltas {
            let changed = self.join_delta(delta);
            self.note_joined(&delta.key, &changed, &mut told);
        }
        raise(&mut self.seen, &batch.seen());
        self.raise_clock(batch.applied, now, max_skew);
        if let Some(vector) = &batch.vector {
            self.vectors.insert(region.clone(), vector.clone());
        }
        // What a resync already brought is not missing: kept here, it would hold `applied` back for nothing.
        let held = self.applied_of(&batch.origin);
        for entry in batch.aside.iter().filter(|entry| entry.id > held) {
            let aside = self.aside.entry(batch.origin.clone());
            let aside = aside.or_insert_with(|| Aside { behind: held, entries: BTreeMap::new() });
            aside.entries.insert(entry.id, entry.bytes.clone());
        }
        // No further than before an entry was set aside: its cells are not held.
        let reached = self.aside.get(&batch.origin).map_or(batch.applied, |aside| batch.applied.min(aside.behind));
        raise(&mut self.applied, &Vector::from([(batch.origin.clone(), reached)]));
        self.vector_due |= !batch.deltas.is_empty();
        let cursor = Cursor { incarnation: batch.origin.incarnation, number: batch.to, id: batch.id };
        self.cursors.insert(region.clone(), cursor);
        Ok(JoinReply::Applied(cursor))
    }

    /// Entries that were set aside, for another try after an upgrade.
    #[must_use]
    pub fn aside(&self, origin: &Origin) -> Vec<SetAside> {
        let entries = self.aside.get(origin).into_iter().flat_map(|aside| &aside.entries);
        entries.map(|(id, bytes)| SetAside { id: *id, bytes: bytes.clone() }).collect()
    }

    /// Joins cells that an entry set aside turned out to hold, and forgets the entry.
    ///
    /// `applied` does not move here: it follows with the next batch.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn recover(&mut self, history: &str, origin: &Origin, id: Version, delta: Option<&Delta>) -> Result<(), Stale> {
        self.check(history)?;
        if let Some(delta) = delta {
            let changed = self.join_delta(delta);
            self.note_joined(&delta.key, &changed, &mut None);
        }
        if let Some(aside) = self.aside.get_mut(origin) {
            aside.entries.remove(&id);
            if aside.entries.is_empty() {
                self.aside.remove(origin);
            }
        }
        Ok(())
    }

    /// Joins one key's cells; from any path, what `applied` covers of an assignment or total is ignored.
    pub(super) fn join_delta<'d>(&mut self, delta: &'d Delta) -> Vec<&'d Field> {
        self.join_cells(delta, |partition, _, origin| Some(partition.applied_of(origin))).1
    }

    /// Joins one key's cells but for assignments and totals up to what is `covered` of their origin; says how many cells
    /// were left out, for which that is `None`.
    ///
    /// Unless it stands here at the very same version: then nothing can come back that was removed, and if lost state
    /// gave that version two contents, every region has to end on the same one.
    ///
    /// Answers how many cells were left out, and which fields changed.
    pub(super) fn join_cells<'d>(
        &mut self,
        delta: &'d Delta,
        covered: impl Fn(&Self, &Field, &Origin) -> Option<Version>,
    ) -> (u64, Vec<&'d Field>) {
        let stamp = self.number + 1;
        let (mut left_out, mut changed) = (0, Vec::new());
        for (field, cells) in &delta.fields {
            let mut has_moved = false;
            for (origin, cell) in cells.iter() {
                let Some(known) = covered(self, field, origin) else {
                    left_out += 1;
                    continue;
                };
                let here = self.keys.get(&delta.key).and_then(|state| state.cells(field)?.get(origin));
                let assigned = here.and_then(|cell| cell.assign.as_ref()).map(|assign| assign.version);
                let summed = here.and_then(|cell| cell.total).map(|total| total.version);
                let mut cell = cell.clone();
                cell.assign = cell.assign.filter(|a| a.version > known || assigned == Some(a.version));
                cell.total = cell.total.filter(|t| t.version > known || summed == Some(t.version));
                let mut conflict = false;
                self.change(&delta.key, field, stamp, |ours| {
                    let joined = ours.join(origin, &cell);
                    conflict = joined.conflict;
                    has_moved |= joined.changed;
                    joined.changed
                });
                self.conflicts += u64::from(conflict);
            }
            if has_moved {
                changed.push(field);
            }
        }
        (left_out, changed)
    }

    /// Counts where a rule decided, and lets entries arrive.
    pub(super) fn note_joined(&mut self, key: &Key, changed: &[&Field], told: &mut Option<&mut Vec<Conflict>>) {
        for field in changed {
            self.count_resolved(key, field, told);
        }
        self.note_arrivals(key, changed.iter().copied());
    }

    /// Changes one field's cells; stamps it and its key if they moved.
    pub(super) fn change(&mut self, key: &Key, field: &Field, stamp: u64, f: impl FnOnce(&mut Cells) -> bool) {
        let known = self.keys.contains_key(key);
        let state = self.keys.entry(key.clone()).or_default();
        let stamped = state.fields.entry(field.clone()).or_default();
        if f(&mut stamped.cells) {
            stamped.stamp = stamp;
            state.stamp = stamp;
            if stamped.cells.has_dead() {
                self.dying.insert((stamp, key.clone(), field.clone()));
            }
            self.inexact += u64::from(is_inexact(&stamped.cells));
        } else if stamped.cells.is_empty() {
            state.fields.remove(field);
            if !known {
                self.keys.remove(key);
            }
        }
    }

    /// A clock follows what it has seen, but never further than `max_skew` microseconds ahead of the server's own.
    pub(super) fn raise_clock(&mut self, seen: Version, now: Version, max_skew: u64) {
        self.clock = self.clock.max(seen.min(now.plus(max_skew)));
    }
}

/// Raises each entry of a vector to at least the other's.
pub(super) fn raise(vector: &mut Vector, other: &Vector) {
    for (origin, version) in other {
        let entry = vector.entry(origin.clone()).or_insert(Version::ZERO);
        *entry = (*entry).max(*version);
    }
}

/// The cursor of a log that was never read: before its first entry.
impl Cursor {
    /// Before the first entry of an incarnation's log.
    #[must_use]
    pub const fn start(incarnation: Incarnation) -> Self {
        Self { incarnation, number: 0, id: Version::ZERO }
    }
}
