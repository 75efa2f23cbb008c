//! Collection: dead cells are forgotten once nobody can miss them.
//!
//! A removal leaves dead cells behind: they keep what they removed from coming back, at regions that have not heard of it
//! and from deltas still on their way. A dead cell may go once every member holds all that this region had met when it
//! died: then every member holds the removal, and everybody ignores what it removed, whatever path it comes by.
//!
//! What had been met is not kept with every cell. A [`Mark`] names a moment: a number of the log, and what had been met by
//! then. Every cell that was dead at that number died no later, so the mark's vector stands in for the stamps of all of
//! them. One mark at a time: it waits until the members have said that they hold its vector, takes along what was dead, and
//! the next begins. A field that changes between its mark and the collection waits for a later one; what that can hold
//! back is one cell for each origin.
//!
//! The sum of a closed incarnation stays until that is settled here: the incarnation may come back from a backup in which the
//! run went on, and nothing but the base that was observed tells how much of that sum was removed.

use std::collections::BTreeSet;

use super::{Partition, Stale, SyncState, join::raise};
use crate::{
    delta::Vector,
    key::{Field, Key},
    origin::{Origin, RegionId},
    version::Version,
};

/// A moment in a partition's history. What was dead then may go once every member holds what had been met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The number of a vector entry: later changes have higher ones.
    pub number: u64,
    /// The highest version of each origin met by then, the own entry among them.
    pub seen: Vector,
}

/// What a mark waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The member that has not said that it holds enough; this region itself, if it does not.
    pub member: RegionId,
    /// Of which origin.
    pub origin: Origin,
    /// Up to where it has to be held; [`Version::MAX`] means that it has to be settled, and by this region alone.
    pub needs: Version,
    /// Up to where it is held, as far as is known here.
    pub holds: Version,
    /// Whether the origin is closed. What nobody holds of it any more nobody waits for once it is settled: every other
    /// member has shipped what it holds, knowing that it is closed.
    pub is_closed: bool,
}

/// What one step of a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// How many cells were forgotten.
    pub cells: u64,
    /// Whether the mark has more to take along.
    pub more: bool,
    /// What keeps the mark waiting, or will from now on.
    pub waits: Vec<Wait>,
}

impl SyncState {
    /// Whether an incarnation is known not to be its region's current one. `region` is the one this is the state of.
    #[must_use]
    pub fn is_closed(&self, region: &RegionId, origin: &Origin) -> bool {
        let current = self.opened(region, &origin.region);
        current.is_some_and(|(incarnation, _)| incarnation != origin.incarnation)
    }

    /// What keeps the mark waiting; empty without a mark.
    ///
    /// Beside `members` counts every region that was ever met: a caller's configuration may be older than its joining.
    #[must_use]
    pub fn waits(&self, region: &RegionId, members: &[RegionId]) -> Vec<Wait> {
        let Some(mark) = &self.mark else { return Vec::new() };
        let mut waits = Vec::new();
        for member in self.all_members(region, members) {
            // What has to be settled is settled here. Of the others it is asked no more: whoever ships what it holds of it says
            // how much that is, and no less will do.
            let needed = mark.seen.iter().filter(|(_, needs)| **needs != Version::MAX || member == *region);
            for (origin, needs) in needed {
                let holds = self.holds(region, &member, origin);
                if holds < *needs {
                    let is_closed = self.is_closed(region, origin);
                    let (member, origin) = (member.clone(), origin.clone());
                    waits.push(Wait { member, origin, needs: *needs, holds, is_closed });
                }
            }
        }
        waits
    }

    /// The closed incarnations that the mark waits for and of which nothing more can come: every other member has shipped
    /// what it holds, knowing that the incarnation is closed, and holds what this region does.
    ///
    /// The last is for sessions: nobody who moves on from here has to wait for what is settled. And only those that the
    /// mark waits for, since whoever has not heard of it is told by a walk of every key.
    #[must_use]
    pub fn settled(&self, region: &RegionId, members: &[RegionId]) -> Vec<Origin> {
        let waits = self.waits(region, members);
        let members = self.all_members(region, members);
        let others = || members.iter().filter(|member| *member != region);
        let open = self.applied.iter().filter(|(_, held)| **held != Version::MAX);
        let settled = open.filter(|(origin, held)| {
            waits.iter().any(|wait| wait.is_closed && wait.origin == **origin)
                && !self.aside.contains_key(origin)
                && others().all(|member| {
                    let has_shipped = self.settling.get(origin).is_some_and(|shipped| shipped.contains(member));
                    has_shipped && self.holds(region, member, origin) >= **held
                })
        });
        settled.map(|(origin, _)| origin.clone()).collect()
    }

    /// The closed incarnations that may yet come back.
    #[must_use]
    pub fn unsettled(&self, region: &RegionId) -> BTreeSet<Origin> {
        let held = self.applied.iter().filter(|(_, held)| **held != Version::MAX);
        held.map(|(origin, _)| origin).filter(|origin| self.is_closed(region, origin)).cloned().collect()
    }

    pub(super) fn opening_of(&self, region: &RegionId, of: &RegionId) -> u64 {
        self.opened(region, of).map_or(0, |(_, opening)| opening)
    }

    fn opened(&self, region: &RegionId, of: &RegionId) -> Option<(crate::Incarnation, u64)> {
        if of == region {
            self.record.as_ref().map(|record| (record.incarnation, record.opening))
        } else {
            self.known.get(of).copied()
        }
    }

    fn all_members(&self, region: &RegionId, members: &[RegionId]) -> BTreeSet<RegionId> {
        let met = self.acks.keys().chain(self.known.keys());
        members.iter().chain(met).chain([region]).cloned().collect()
    }

    /// Everything of an origin up to this version is held by a member. Each holds its own current incarnation's.
    fn holds(&self, region: &RegionId, member: &RegionId, origin: &Origin) -> Version {
        let current = self.opened(region, member).map(|(incarnation, _)| incarnation);
        if origin.region == *member && current == Some(origin.incarnation) {
            return Version::MAX;
        }
        let vector = if member == region { Some(&self.applied) } else { self.vectors.get(member) };
        vector.and_then(|vector| vector.get(origin)).copied().unwrap_or_default()
    }
}

impl Partition {
    /// One step of the collection: settles closed incarnations, takes a mark if anything is dead and none is pending, and
    /// once the mark has been passed forgets the dead cells of up to `limit` fields. Keys without any cell left vanish.
    ///
    /// # Errors
    /// [`Stale`] when the history broke.
    pub fn collect(
        &mut self,
        history: &str,
        now: Version,
        members: &[RegionId],
        limit: usize,
    ) -> Result<Collection, Stale> {
        self.check(history)?;
        for origin in self.sync_state().settled(&self.region, members) {
            self.settling.remove(&origin);
            // Whoever still holds something of it has it back from a backup, too late: a walk of every key tells it so.
            self.collected.insert(origin.clone(), Version::MAX);
            self.applied.insert(origin, Version::MAX);
            self.vector_due = true;
        }
        if self.mark.is_none() && !self.dying.is_empty() {
            self.take_mark(now);
        }
        let state = self.sync_state();
        let waits = state.waits(&self.region, members);
        let Some(mut mark) = self.mark.clone() else { return Ok(Collection::default()) };
        if !waits.is_empty() {
            return Ok(Collection { waits, ..Collection::default() });
        }
        raise(&mut self.collected, &mark.seen);
        let unsettled = state.unsettled(&self.region);
        let until = |(number, ..): &&(u64, Key, Field)| *number <= mark.number;
        let taken: Vec<_> = self.dying.iter().take_while(until).take(limit).cloned().collect();
        let mut cells = 0;
        for dying in taken {
            let (_, key, field) = &dying;
            let sums = self.dead_sums(key, field, &mark, &unsettled);
            if sums.is_empty() {
                self.dying.remove(&dying);
                cells += self.forget(key, field, &mark);
            } else {
                mark.seen.extend(sums.into_iter().map(|origin| (origin, Version::MAX)));
            }
        }
        let more = self.dying.first().is_some_and(|(number, ..)| *number <= mark.number);
        self.mark = more.then_some(mark);
        Ok(Collection { cells, more, waits: self.sync_state().waits(&self.region, members) })
    }

    /// Of which of these incarnations a field held a dead sum at the mark.
    fn dead_sums(&self, key: &Key, field: &Field, mark: &Mark, of: &BTreeSet<Origin>) -> Vec<Origin> {
        let stamped = self.keys.get(key).and_then(|state| state.fields.get(field));
        let stamped = stamped.filter(|stamped| stamped.stamp <= mark.number);
        let cells = stamped.into_iter().flat_map(|stamped| stamped.cells.iter());
        let sums = cells.filter(|(origin, cell)| cell.is_dead_sum() && of.contains(origin));
        sums.map(|(origin, _)| origin.clone()).collect()
    }

    fn take_mark(&mut self, now: Version) {
        self.append_vector(now);
        let mut seen = self.seen.clone();
        seen.extend(self.origin().map(|own| (own, self.clock)));
        // What was met without ever being held: resyncs that begin from now on are asked for it.
        let own = self.origin();
        for origin in seen.keys().filter(|origin| Some(*origin) != own.as_ref()) {
            self.applied.entry(origin.clone()).or_insert(Version::ZERO);
        }
        self.mark = Some(Mark { number: self.number, seen });
    }

    /// Forgets a field's dead cells, unless the field changed since the mark: they may have died after it.
    fn forget(&mut self, key: &Key, field: &Field, mark: &Mark) -> u64 {
        let Some(state) = self.keys.get_mut(key) else { return 0 };
        let Some(stamped) = state.fields.get_mut(field) else { return 0 };
        if stamped.stamp > mark.number {
            if stamped.cells.has_dead() {
                self.dying.insert((stamped.stamp, key.clone(), field.clone()));
            }
            return 0;
        }
        let forgotten = stamped.cells.forget_dead();
        if stamped.cells.is_empty() {
            state.fields.remove(field);
        }
        // A key keeps no number but its fields' own, and what is left of it has not changed since.
        state.stamp = state.fields.values().map(|stamped| stamped.stamp).max().unwrap_or_default();
        if state.fields.is_empty() {
            self.keys.remove(key);
        }
        forgotten
    }
}
