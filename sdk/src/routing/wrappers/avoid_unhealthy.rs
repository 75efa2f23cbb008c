//! No calls to dead nodes while there are living ones.

use crate::routing::{Availability, Candidates, Plan, Policy, Reason, Request, Step};

/// Nodes that are down are skipped while others are left; half-open ones come after healthy ones with the same data.
///
/// Half-open nodes of the region asked for still come before other regions' nodes: an answer from the right data, maybe
/// slow, is better than one from the wrong data.
///
/// When all that is left is down it is kept, in order: a breaker may be wrong, and a call that tries costs less than
/// one that is refused for nothing. So the outermost wrapper should be this one, which sees what all others left.
///
/// It moves no write to another region: a write whose only step is down keeps it.
#[derive(Clone, Copy, Debug)]
pub struct AvoidUnhealthy<P> {
    inner: P,
}

impl<P: Policy> AvoidUnhealthy<P> {
    /// Lets this policy avoid nodes that are down.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self { inner }
    }
}

impl<P: Policy> Policy for AvoidUnhealthy<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let mut plan = self.inner.plan(request, candidates);
        let of = |step: Step| candidates.get(step.node).map(|candidate| candidate.state.availability);
        let (mut probing, mut down) = (0, 0);
        for step in plan.steps() {
            match of(*step) {
                Some(Availability::Up) | None => {}
                Some(Availability::Probing) => probing += 1,
                Some(Availability::Down) => down += 1,
            }
        }
        if down == plan.steps().len() {
            plan.defer(|_| Some(Reason::DownButLeft));
            return plan;
        }
        if down > 0 {
            plan.skip(|step| (of(step) == Some(Availability::Down)).then(|| why_down(step, candidates)));
        }
        if probing > 0 && probing < plan.steps().len() {
            let region = plan.region();
            plan.defer(|step| (of(step) == Some(Availability::Probing)).then_some(Reason::HalfOpen));
            plan.defer(|step| (candidates.get(step.node)?.node.region != region).then_some(step.reason));
        }
        plan
    }
}

/// Whether a node is down alone or with its whole region.
fn why_down(step: Step, candidates: &Candidates<'_>) -> Reason {
    let Some(down) = candidates.get(step.node) else { return Reason::NodeDown };
    let lives = candidates
        .iter()
        .any(|other| other.node.region == down.node.region && other.state.availability != Availability::Down);
    if lives { Reason::NodeDown } else { Reason::RegionDown }
}
