//! The way of one call: the steps of its plan that are left, and the detours.

use crate::routing::{Candidates, MAX_NODES, NodeIndex, Plan, Reason, Step, Trigger};

/// The steps that are left of a plan, in order.
pub(super) struct Route {
    plan: Plan,
    /// The only node that can answer, instead of the plan's.
    only: Option<Step>,
    at: usize,
    /// Where the policy goes at the first error, ahead of the steps in between.
    on_error: Option<Step>,
    on_miss: Option<Step>,
    on_stale: Option<Step>,
    detour: Option<Step>,
    detoured: Option<NodeIndex>,
    /// A bit for each node that holds the data asked for, rather than another region's as a last resort.
    alike: u32,
}

// One bit for each.
const _: () = assert!(MAX_NODES <= 32);

impl Route {
    pub(super) fn new(plan: Plan, only: Option<NodeIndex>, candidates: &Candidates<'_>) -> Self {
        let after = |trigger| plan.fallback_after(trigger, candidates);
        let (on_error, on_miss, on_stale) = (after(Trigger::Error), after(Trigger::Miss), after(Trigger::Stale));
        let only = only.map(|node| Step { node, reason: Reason::LastResort });
        let region = plan.region();
        let is_alike = |node| candidates.get(node).is_some_and(|candidate| candidate.node.region == region);
        let alike = plan.steps().iter().filter(|step| is_alike(step.node)).fold(0, |set, step| set | bit(step.node));
        Self { plan, only, at: 0, on_error, on_miss, on_stale, detour: None, detoured: None, alike }
    }

    /// The same plan with every step taken.
    pub(super) fn nothing_left(plan: Plan) -> Self {
        let at = plan.steps().len();
        let (only, none) = (None, None);
        let (on_error, on_miss, on_stale, detour) = (none, none, none, none);
        Self { plan, only, at, on_error, on_miss, on_stale, detour, detoured: None, alike: 0 }
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    fn steps(&self) -> &[Step] {
        self.only.as_ref().map_or(self.plan.steps(), std::slice::from_ref)
    }

    /// Whether no node may serve the call at all.
    pub(super) fn is_nowhere(&self) -> bool {
        self.steps().is_empty()
    }

    /// The steps that were not taken yet.
    pub(super) fn left(&self) -> impl Iterator<Item = Step> + '_ {
        let ahead = self.steps().iter().skip(self.at).copied();
        self.detour.into_iter().chain(ahead.filter(|step| Some(step.node) != self.detoured))
    }

    /// Whether a step's node holds the data asked for, and its answer is as good as the first's.
    pub(super) fn is_alike(&self, step: Step) -> bool {
        self.alike & bit(step.node) != 0
    }

    /// Takes the next step if its node holds the data asked for.
    pub(super) fn advance_alike(&mut self) -> Option<Step> {
        let next = self.left().next()?;
        if self.is_alike(next) { self.advance() } else { None }
    }

    /// Takes the next step.
    pub(super) fn advance(&mut self) -> Option<Step> {
        if let Some(step) = self.detour.take() {
            return Some(step);
        }
        loop {
            let step = self.steps().get(self.at).copied()?;
            self.at += 1;
            if Some(step.node) != self.detoured {
                return Some(step);
            }
        }
    }

    /// An attempt failed: the next step is the primary, where the policy says so.
    pub(super) fn failed(&mut self) {
        if let Some(step) = self.on_error.take()
            && self.left().any(|left| left.node == step.node)
        {
            (self.detour, self.detoured) = (Some(step), Some(step.node));
        }
    }

    /// The node that was just asked is asked again.
    pub(super) fn again(&mut self, node: NodeIndex) {
        let step = self.steps().iter().take(self.at).find(|step| step.node == node).copied();
        self.detour = step.or(self.detour);
    }

    /// Who knows better than the node that answered with a miss, or with what is too old.
    pub(super) fn better_than(&self, node: NodeIndex, is_miss: bool, is_stale: bool) -> Option<Step> {
        let of = |applies: bool, step: Option<Step>| step.filter(|step| applies && step.node != node);
        of(is_stale, self.on_stale).or_else(|| of(is_miss, self.on_miss))
    }
}

/// A node's bit; none for a node that no topology can have.
fn bit(node: NodeIndex) -> u32 {
    1_u32.checked_shl(u32::from(node.0)).unwrap_or(0)
}
