//! Resync: what the log can no longer tell. The sender walks its keys and ships the changed ones whole, cells of all
//! origins among them; the receiver joins them, and retracts what the sender has seen and no longer holds.
//!
//! It follows a gap, a missing cursor, a new incarnation on either side, and brings back what a region lost and what a
//! dead region wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;

use super::{Cursor, KeyState, Partition, Stale, join::raise};
use crate::{
    cell::Cell,
    cells::Cells,
    delta::{Delta, Vector},
    key::{Field, Key, Kind},
    origin::{Incarnation, Origin, RegionId},
    version::Version,
};

/// What a resync stands on: read at the sender in one step, before the first slice.
#[derive(Clone, Debug, PartialEq)]
pub struct ResyncPlan {
    /// The sender in its current incarnation.
    pub sender: Origin,
    /// The opening number of that incarnation.
    pub opening: u64,
    /// The sender's membership epoch.
    pub epoch: u64,
    /// The log's last entry at that moment: its number is also the sequence that the receiver remembers.
    pub number: u64,
    /// The id of that entry.
    pub id: Version,
    /// What the sender held then, of every origin.
    pub vector: Vector,
    /// Keys whose last change is above this number are shipped. Zero: every key, and what the receiver holds of others
    /// counts as shipped without cells.
    pub above: u64,
    /// The current incarnation of each region, as the sender knows it, and its opening number.
    pub known: BTreeMap<RegionId, (Incarnation, u64)>,
    /// The origins of which the sender has entries set aside: it does not ship all it holds of them.
    pub aside: BTreeSet<Origin>,
}

/// How far a resync has come, kept at the receiver so that another driver can go on.
#[derive(Clone, Debug, PartialEq)]
pub struct ResyncProgress {
    /// What it stands on.
    pub plan: ResyncPlan,
    /// Keys up to this one (see [`super::Slice::last`]) were joined.
    pub after: Bytes,
}

/// Changed keys of a walk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// The keys, whole.
    pub deltas: Vec<Delta>,
    /// The key behind which the walk looked.
    pub after: Bytes,
    /// The last key the walk looked at; `None` at the end, when there was none left.
    pub last: Option<Bytes>,
    /// The highest version of each origin the sender has met.
    pub seen: Vector,
    /// Up to where the sender may have collected cells.
    pub collected: Vector,
    /// How many keys it looked at.
    pub walked: u64,
}

/// Why a step of a resync was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResyncError {
    /// The history broke.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// A slice or an end that belongs to no resync under way here: start over.
    #[error("no such resync is under way")]
    NotUnderWay,
    /// The membership here has this epoch.
    #[error("membership epoch {0}")]
    Epoch(u64),
    /// Another incarnation of the sender is known and has the better claim: the sender opens anew with this floor.
    #[error("the sender's incarnation is closed, opening {0} is known")]
    Superseded(u64),
}

impl Partition {
    /// Begins a resync at the sender. A vector entry closes everything before it: later changes have higher numbers.
    ///
    /// `remembered` is the number of the receiver's last resync from this incarnation; another incarnation's counts as
    /// zero.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn begin_resync(
        &mut self,
        history: &str,
        now: Version,
        remembered: Option<(Incarnation, u64)>,
    ) -> Result<ResyncPlan, Stale> {
        let record = self.check(history)?.clone();
        let sender = Origin::new(self.region.clone(), record.incarnation);
        self.append_vector(now);
        Ok(ResyncPlan {
            opening: record.opening,
            epoch: self.epoch,
            number: self.number,
            id: self.clock,
            vector: self.vector(),
            above: remembered.filter(|(i, _)| *i == record.incarnation).map_or(0, |(_, n)| n),
            sender,
            known: self.known.clone(),
            aside: self.aside.keys().cloned().collect(),
        })
    }

    /// Looks at up to `limit` keys behind `after` and returns those changed above the plan's number, whole.
    ///
    /// # Errors
    /// [`ResyncError`] when the sender's history broke or is not the plan's.
    pub fn walk(&self, history: &str, plan: &ResyncPlan, after: &Bytes, limit: usize) -> Result<Slice, ResyncError> {
        self.check(history)?;
        if self.origin().as_ref() != Some(&plan.sender) {
            return Err(ResyncError::NotUnderWay);
        }
        let looked_at: Vec<_> = self.index_after(after).take(limit).collect();
        let deltas = looked_at.iter().filter(|(_, _, state)| state.stamp > plan.above).map(|(_, key, state)| Delta {
            key: (*key).clone(),
            fields: state.fields.iter().map(|(field, stamped)| (field.clone(), stamped.cells.clone())).collect(),
        });
        let own = self.log.back().map_or(plan.id, |entry| entry.id.max(plan.id));
        let mut seen = self.seen.clone();
        raise(&mut seen, &Vector::from([(plan.sender.clone(), own)]));
        Ok(Slice {
            deltas: deltas.collect(),
            after: after.clone(),
            seen,
            collected: self.collected.clone(),
            walked: looked_at.len() as u64,
            last: looked_at.last().map(|(entry, ..)| entry.clone()),
        })
    }

    /// The keys behind an index entry, in the order of their index entries. Found by range: a sort of all keys for each
    /// slice would make a walk of many keys quadratic.
    fn index_after<'p>(&'p self, after: &'p Bytes) -> impl Iterator<Item = (Bytes, &'p Key, &'p KeyState)> {
        let from = Key::from_index_entry(after);
        let mut kinds = Kind::ALL;
        kinds.sort_by_key(|kind| kind.word());
        let of_kind = move |kind: Kind| {
            let low = match &from {
                Some(key) if key.kind == kind => Bound::Excluded(key.clone()),
                Some(_) | None => Bound::Included(Key::new(kind, Bytes::new())),
            };
            self.keys.range((low, Bound::Unbounded)).take_while(move |(key, _)| key.kind == kind)
        };
        let entries = kinds.into_iter().flat_map(of_kind).map(|(key, state)| (key.index_entry(), key, state));
        entries.filter(move |(entry, ..)| entry > after)
    }

    /// Notes at the receiver that a resync is under way.
    ///
    /// # Errors
    /// [`ResyncError`] when the history broke, the epochs differ, or the sender's incarnation is known to be closed.
    pub fn start_resync(&mut self, history: &str, plan: &ResyncPlan) -> Result<(), ResyncError> {
        self.check(history)?;
        self.check_plan(plan)?;
        // Keys up to `above` are not shipped. Only a receiver that still remembers them may do without: it may have lost
        // them since the plan was made.
        let remembered = self.resynced.get(&plan.sender.region);
        let remembers = remembered.is_some_and(|(i, n)| *i == plan.sender.incarnation && *n >= plan.above);
        if plan.above > 0 && !remembers {
            return Err(ResyncError::NotUnderWay);
        }
        // Settled, and yet it lives: then it is held no further than what it ships now.
        if self.applied.get(&plan.sender) == Some(&Version::MAX) {
            self.applied.remove(&plan.sender);
        }
        let progress = ResyncProgress { plan: plan.clone(), after: Bytes::new() };
        self.resyncs.insert(plan.sender.region.clone(), progress);
        Ok(())
    }

    /// Joins a slice at the receiver: shipped keys whole, and what the sender saw and no longer holds is retracted.
    ///
    /// Slices go in the order of the walk, each after the answer to the one before: a slice left out is not noticed. The
    /// last one, without keys, is joined like the others.
    ///
    /// # Errors
    /// [`ResyncError`]; nothing was changed. [`ResyncError::NotUnderWay`] also when the sender has collected what this
    /// region may have missed: only a walk of every key, begun after that, tells it.
    pub fn apply_slice(&mut self, history: &str, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncError> {
        self.check(history)?;
        self.check_plan(plan)?;
        self.check_under_way(plan)?;
        self.check_collected(plan, slice)?;
        let mut deltas: BTreeMap<Bytes, Delta> =
            slice.deltas.iter().map(|delta| (delta.key.index_entry(), delta.clone())).collect();
        if plan.above == 0 {
            let here = self.index_after(&slice.after);
            let within = here.take_while(|(entry, ..)| slice.last.as_ref().is_none_or(|last| entry <= last));
            for (entry, key, _) in within {
                deltas.entry(entry).or_insert_with(|| Delta::new(key.clone()));
            }
        }
        for (entry, delta) in &deltas {
            let passed = self.passed(entry);
            self.join_cells(delta, |here, field, o| Some(here.covered_in_slice(&delta.key, field, o, &passed)));
            self.give_up_missing(delta, &plan.vector);
            self.note_all_arrivals(&delta.key);
        }
        raise(&mut self.seen, &slice.seen);
        self.vector_due |= !deltas.is_empty();
        if let (Some(progress), Some(last)) = (self.resyncs.get_mut(&plan.sender.region), &slice.last) {
            progress.after = last.clone();
        }
        Ok(())
    }

    /// Ends a resync at the receiver: only what was read before the first slice is stored.
    ///
    /// # Errors
    /// [`ResyncError`]; nothing was changed.
    pub fn complete_resync(&mut self, history: &str, plan: &ResyncPlan) -> Result<(), ResyncError> {
        self.check(history)?;
        self.check_plan(plan)?;
        self.check_under_way(plan)?;
        let region = plan.sender.region.clone();
        let incarnation = plan.sender.incarnation;
        self.resyncs.remove(&region);
        let own = self.origin();
        let mut vector = plan.vector.clone();
        vector.retain(|origin, _| Some(origin) != own.as_ref());
        raise(&mut self.applied, &vector);
        raise(&mut self.seen, &vector);
        if plan.above == 0 {
            // What the sender had collected is gone here, too, without a trace: no change of a key tells the next receiver. A walk
            // of changed keys alone would leave it with what was removed, and with a vector that covers the removal.
            raise(&mut self.collected, &vector);
        }
        let applied = &self.applied;
        for (origin, aside) in &mut self.aside {
            aside.entries.retain(|id, _| applied.get(origin).is_none_or(|held| *id > *held));
        }
        self.aside.retain(|_, aside| !aside.entries.is_empty());
        let reached = Cursor { incarnation, number: plan.number, id: plan.id };
        let cursor = self.cursors.entry(region.clone()).or_insert(reached);
        if cursor.incarnation != incarnation || cursor.number < reached.number {
            *cursor = reached;
        }
        self.resynced.insert(region.clone(), (incarnation, plan.number));
        self.meet(plan);
        self.vectors.insert(region, plan.vector.clone());
        self.count_shipped(plan);
        self.vector_due = true;
        Ok(())
    }

    /// Learns which incarnations are current. A log that is closed is not read any more, and its vectors count no more.
    fn meet(&mut self, plan: &ResyncPlan) {
        let sender = (plan.sender.region.clone(), (plan.sender.incarnation, plan.opening));
        let mut told = plan.known.clone();
        told.extend([sender]);
        told.remove(&self.region);
        for (region, (incarnation, opening)) in told {
            let here = self.known.get(&region).copied();
            if here.is_some_and(|(_, known)| known >= opening) {
                continue;
            }
            self.known.insert(region.clone(), (incarnation, opening));
            if here.is_none_or(|(known, _)| known != incarnation) {
                if self.cursors.get(&region).is_some_and(|cursor| cursor.incarnation != incarnation) {
                    self.cursors.remove(&region);
                }
                self.vectors.remove(&region);
                // A region that lost data may have given some away before, to a member that was asked already.
                self.settling.clear();
            }
        }
    }

    /// Notes of which closed incarnations the sender has now shipped all it holds, knowing that they are closed: it takes
    /// no more of them but by a resync, like this one.
    fn count_shipped(&mut self, plan: &ResyncPlan) {
        let state = self.sync_state();
        for origin in self.applied.keys().filter(|origin| state.is_closed(&self.region, origin)) {
            if plan.knows_closed(origin, state.opening_of(&self.region, &origin.region)) {
                self.settling.entry(origin.clone()).or_default().insert(plan.sender.region.clone());
            }
        }
    }

    /// Either this region holds all that the sender may have collected, and has it dead or gone itself. Or it is shipped
    /// every key, and what it holds and the sender collected is below the plan's vector.
    fn check_collected(&self, plan: &ResyncPlan, slice: &Slice) -> Result<(), ResyncError> {
        let within = |held: &dyn Fn(&Origin) -> Version| slice.collected.iter().all(|(o, version)| *version <= held(o));
        let is_whole = plan.above == 0 && within(&|o| plan.vector.get(o).copied().unwrap_or_default());
        if is_whole || within(&|o| self.applied_of(o)) { Ok(()) } else { Err(ResyncError::NotUnderWay) }
    }

    /// What is held of one key alone: a walk of every key that has passed it brought all that its sender held of it. What
    /// another resync brings of it, read at a peer that had not heard of a removal, must not come back behind its back.
    fn passed(&self, entry: &Bytes) -> Vector {
        let mut passed = Vector::new();
        for progress in self.resyncs.values().filter(|p| p.plan.above == 0 && *entry <= p.after) {
            raise(&mut passed, &progress.plan.vector);
        }
        passed
    }

    fn check_plan(&self, plan: &ResyncPlan) -> Result<(), ResyncError> {
        if plan.epoch != self.epoch {
            return Err(ResyncError::Epoch(self.epoch));
        }
        match self.known.get(&plan.sender.region) {
            Some((incarnation, opening)) if *incarnation != plan.sender.incarnation && *opening >= plan.opening => {
                // Equal numbers (a backup restored twice on a clock set back) settle nothing: a new opening has to be higher.
                Err(ResyncError::Superseded((*opening).max(plan.opening.saturating_add(1))))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_under_way(&self, plan: &ResyncPlan) -> Result<(), ResyncError> {
        let here = self.resyncs.get(&plan.sender.region);
        if here.is_some_and(|progress| progress.plan == *plan) { Ok(()) } else { Err(ResyncError::NotUnderWay) }
    }

    /// Up to where assignments and totals of an origin are ignored in a slice. `passed` is what is held of the key alone.
    ///
    /// Where nothing ever goes, nothing can come back: there a settled incarnation is taken when a backup brings it. The
    /// region that was restored goes on counting it, and nobody would ever agree with it.
    fn covered_in_slice(&self, key: &Key, field: &Field, origin: &Origin, passed: &Vector) -> Version {
        let held = self.applied_of(origin).max(passed.get(origin).copied().unwrap_or_default());
        let is_settled = held == Version::MAX && self.origin().as_ref() != Some(origin);
        if is_settled && only_grows(key.kind, field) { Version::ZERO } else { held }
    }

    /// In a shipped key, what the sender's vector covers and the sender does not hold goes here, too.
    fn give_up_missing(&mut self, shipped: &Delta, vector: &Vector) {
        // What a stock counts is only added to: nobody removes it, so nothing removed is missing.
        if shipped.key.kind == Kind::Stock {
            return;
        }
        let stamp = self.number + 1;
        let Some(state) = self.keys.get(&shipped.key) else {
            return;
        };
        let fields: Vec<_> = state.fields.keys().cloned().collect();
        let none = Cells::default();
        for field in fields {
            let theirs = shipped.fields.get(&field).unwrap_or(&none);
            let grows = only_grows(shipped.key.kind, &field);
            let covered = |origin: &Origin| {
                let known = vector.get(origin).copied().filter(|known| !grows || *known != Version::MAX);
                known.unwrap_or_default()
            };
            self.change(&shipped.key, &field, stamp, |ours| give_up_covered(ours, theirs, covered));
        }
    }
}

fn give_up_covered(ours: &mut Cells, theirs: &Cells, covered: impl Fn(&Origin) -> Version) -> bool {
    let none = Cell::default();
    ours.iter_mut().fold(false, |changed, (origin, cell)| {
        cell.give_up(theirs.get(origin).unwrap_or(&none), covered(origin)) || changed
    })
}

/// Whether nothing of a field ever goes. A stock is only added to. The value of a HyperLogLog takes what it overwrites
/// along, or hides it by a later epoch that stays; its expiry is as that of any other key.
fn only_grows(kind: Kind, field: &Field) -> bool {
    kind == Kind::Stock || (kind == Kind::HyperLogLog && *field == Field::VALUE)
}

impl ResyncPlan {
    /// Whether the sender knew that an incarnation is closed, by an opening no lower than `opening`, and had nothing of it
    /// set aside.
    fn knows_closed(&self, origin: &Origin, opening: u64) -> bool {
        let known = if origin.region == self.sender.region {
            Some((self.sender.incarnation, self.opening))
        } else {
            self.known.get(&origin.region).copied()
        };
        known.is_some_and(|(current, known)| current != origin.incarnation && known >= opening)
            && !self.aside.contains(origin)
    }
}

impl Key {
    /// How a key is written in the index of keys: the word of its kind, a colon, and its name.
    #[must_use]
    pub fn index_entry(&self) -> Bytes {
        [self.kind.word().as_bytes(), b":", self.name.as_ref()].concat().into()
    }

    /// Reads what [`Key::index_entry`] writes.
    #[must_use]
    pub fn from_index_entry(entry: &Bytes) -> Option<Self> {
        let colon = entry.iter().position(|b| *b == b':')?;
        let kind = std::str::from_utf8(entry.get(..colon)?).ok()?;
        let kind = crate::key::Kind::ALL.into_iter().find(|k| k.word() == kind)?;
        Some(Self::new(kind, entry.slice(colon + 1..)))
    }
}
