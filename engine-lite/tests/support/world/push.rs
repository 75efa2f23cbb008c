//! Pushes: keys read in one region arrive in another, now, much later, or twice.

use archipelago_engine::{Delta, Key, Origin, Partition, Push, PushReply};

use super::{Held, World, region};

/// A push on its way.
pub(super) struct Late {
    to: usize,
    push: Push,
    operations: Held,
}

impl World {
    /// Reads some keys whole in one region for another; some pushes wait.
    pub(super) fn push(&mut self) {
        let (from, to) = self.two();
        if self.cut[from][to] {
            return;
        }
        let is_ghost = self.ghosts[from].is_some() && self.rng.one_in(2);
        if !is_ghost {
            self.ensure_open(from);
        }
        let now = self.now(from);
        let site = if is_ghost { self.ghosts[from].as_ref().unwrap() } else { &self.sites[from] };
        let Ok(standing) = site.partition.standing(&site.history, now) else { return };
        let keys: Vec<Key> = site.partition.keys().map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let key = self.rng.pick(&keys).clone();
        let fields = &site.partition.key(&key).unwrap().fields;
        let fields = fields.iter().map(|(field, stamped)| (field.clone(), stamped.cells.clone())).collect();
        let push = standing.push(vec![Delta { key: key.clone(), fields }]);
        let late = Late { to, push, operations: self.model.on_key(&key, &site.held) };
        if self.rng.one_in(3) {
            self.late.push(late);
        } else {
            self.land_push(&late);
        }
    }

    /// One of the pushes that waited arrives; it may arrive again.
    pub(super) fn deliver_push(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let index = self.rng.below(self.late.len());
        let late = self.late.swap_remove(index);
        self.land_push(&late);
        if self.rng.one_in(3) {
            self.late.push(late);
        }
    }

    fn land_push(&mut self, late: &Late) {
        self.ensure_open(late.to);
        let site = &mut self.sites[late.to];
        // Half of an operation is in no set of operations: what an incarnation wrote that is closed or unheard of is left
        // out, and what it hid is not. The torn world, whose views are not compared, takes these, too.
        if !self.torn && !late.push.seen.keys().all(|origin| is_taken_whole(&site.partition, origin)) {
            return;
        }
        let before = site.partition.sync_state();
        let reply = site.partition.push(&site.history, &late.push).unwrap();
        let after = site.partition.sync_state();
        assert_eq!(before.applied, after.applied, "a push claims what the log has not brought");
        assert_eq!(before.cursors, after.cursors, "a push moved a position");
        match reply {
            PushReply::Joined { left_out: 0 } => {
                self.pushed += 1;
                site.held.extend(&late.operations);
            }
            PushReply::Joined { .. } => site.held.extend(&late.operations),
            PushReply::Unheard | PushReply::Closed => {}
            PushReply::Epoch(_) => panic!("all regions are of one epoch"),
        }
        self.check(late.to);
    }
}

fn is_taken_whole(at: &Partition, origin: &Origin) -> bool {
    let state = at.sync_state();
    let current = if origin.region == *at.region() {
        state.record.map(|record| record.incarnation)
    } else {
        state.known.get(&origin.region).map(|(incarnation, _)| *incarnation)
    };
    let is_own = at.origin().as_ref() == Some(origin);
    current == Some(origin.incarnation) && (is_own || state.applied.contains_key(origin))
}
