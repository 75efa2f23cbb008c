//! A list of nodes on the stack.

use super::{MAX_NODES, NodeIndex, Reason};

/// A node of a plan, and why it stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeIndex,
    /// Why it is kept here, or skipped.
    pub reason: Reason,
}

/// Room for every node of a topology, without an allocation.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    entries: [Step; MAX_NODES],
    len: u8,
}

impl Steps {
    pub(super) const EMPTY: Self =
        Self { entries: [Step { node: NodeIndex(u8::MAX), reason: Reason::LastResort }; MAX_NODES], len: 0 };

    /// Adds a step at the end. A topology has no more nodes than there is room for.
    pub(super) fn push(&mut self, step: Step) {
        if let Some(free) = self.entries.get_mut(usize::from(self.len)) {
            *free = step;
            self.len += 1;
        }
    }

    /// Takes out the steps that get a reason, with that reason; both lists stay in order.
    pub(super) fn take_if(&mut self, mut reason: impl FnMut(Step) -> Option<Reason>) -> Self {
        let (mut taken, mut kept) = (Self::EMPTY, 0);
        for at in 0..usize::from(self.len) {
            let Some(step) = self.entries.get(at).copied() else { break };
            if let Some(reason) = reason(step) {
                taken.push(Step { node: step.node, reason });
            } else if let Some(slot) = self.entries.get_mut(kept) {
                *slot = step;
                kept += 1;
            }
        }
        self.len -= taken.len;
        taken
    }

    /// Keeps the steps for which that is wanted, in order.
    pub(super) fn retain(&mut self, mut is_wanted: impl FnMut(Step) -> bool) {
        let mut kept = 0;
        for at in 0..usize::from(self.len) {
            let Some(step) = self.entries.get(at).copied() else { break };
            if is_wanted(step)
                && let Some(slot) = self.entries.get_mut(kept)
            {
                *slot = step;
                kept += 1;
            }
        }
        self.len = kept as u8;
    }

    /// Moves the steps that get a reason to the front, in order, with that reason.
    pub(super) fn prefer(&mut self, mut reason: impl FnMut(Step) -> Option<Reason>) {
        let mut front = 0;
        for at in 0..usize::from(self.len) {
            let Some(step) = self.entries.get(at).copied() else { break };
            let Some(reason) = reason(step) else { continue };
            // In place, for they are few and mostly near the front already.
            if let Some(passed) = self.entries.get_mut(front..=at) {
                passed.rotate_right(1);
            }
            if let Some(slot) = self.entries.get_mut(front) {
                *slot = Step { node: step.node, reason };
            }
            front += 1;
        }
    }

    pub(super) fn append(&mut self, steps: &Self) {
        steps.as_slice().iter().for_each(|step| self.push(*step));
    }

    pub(super) fn as_slice(&self) -> &[Step] {
        self.entries.get(..usize::from(self.len)).unwrap_or_default()
    }
}
