//! The way of one call: the steps of its plan that are left, and the detours.

use crate::routing::{Candidates, NodeIndex, Plan, Reason, Step, Trigger};

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
}

impl Route {
    pub(super) fn new(plan: Plan, only: Option<NodeIndex>, candidates: &Candidates<'_>) -> Self {
        let after = |trigger| plan.fallback_after(trigger, candidates);
        let (on_error, on_miss, on_stale) = (after(Trigger::Error), after(Trigger::Miss), after(Trigger::Stale));
        let only = only.map(|node| Step { node, reason: Reason::LastResort });
        Self { plan, only, at: 0, on_error, on_miss, on_stale, detour: None, detoured: None }
    }

    /// The same plan with every step taken.
    pub(super) fn nothing_left(plan: Plan) -> Self {
        let at = plan.steps().len();
        Self { plan, only: None, at, on_error: None, on_miss: None, on_stale: None, detour: None, detoured: None }
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
