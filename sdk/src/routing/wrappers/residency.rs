//! Where data may be.

use crate::routing::{Candidates, NodeInfo, Plan, Policy, Reason, RegionIndex, Request};

/// Reads and writes stay within a set of regions, always: also when that leaves no node at all.
///
/// A node serves when it stands in one of them and the data it holds is one of theirs. An empty plan then says
/// [`Reason::OutsideResidency`]; a caller must not route around it.
///
/// Not promised: that Redis itself keeps the data there. A replica outside still receives what its primary inside
/// takes; place replicas accordingly.
#[derive(Clone, Copy, Debug)]
pub struct Residency<P> {
    inner: P,
    /// A bit for each region.
    allowed: u16,
}

impl<P: Policy> Residency<P> {
    /// Confines this policy to these regions.
    #[must_use]
    pub fn new(inner: P, allowed: impl IntoIterator<Item = RegionIndex>) -> Self {
        Self { inner, allowed: allowed.into_iter().fold(0, |set, region| set | bit(region)) }
    }

    fn allows(&self, node: &NodeInfo) -> bool {
        [node.region, node.stands_in].into_iter().all(|region| self.allowed & bit(region) != 0)
    }
}

/// A region's bit; none for a region that no topology can have.
fn bit(region: RegionIndex) -> u16 {
    1_u16.checked_shl(u32::from(region.0)).unwrap_or(0)
}

impl<P: Policy> Policy for Residency<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let mut plan = self.inner.plan(request, candidates);
        plan.skip(|step| {
            // A node nobody knows stands nowhere that is allowed.
            let is_inside = candidates.topology().node(step.node).is_some_and(|node| self.allows(node));
            (!is_inside).then_some(Reason::OutsideResidency)
        });
        plan
    }
}
