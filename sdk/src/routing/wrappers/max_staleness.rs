//! How old an answer may be.

use std::time::Duration;

use crate::routing::{Access, Candidates, Plan, Policy, Request, plan::too_stale};

/// Reads skip replicas that are further behind than a bound, or of which nobody knows how far.
///
/// The primary of the region asked for is never too old. Other regions' primaries always are: how far they are behind
/// that region is unknown. A smaller bound of the request holds with or without this wrapper, a larger one does not
/// widen it. Lag is measured now and then, so an answer may exceed the bound by the time between two measurements; a
/// session that needs certainty asks for the primary.
#[derive(Clone, Copy, Debug)]
pub struct MaxStaleness<P> {
    inner: P,
    bound: Duration,
}

impl<P: Policy> MaxStaleness<P> {
    /// Bounds this policy's reads. Zero lets only the primary and replicas without any measured lag serve.
    #[must_use]
    pub fn new(inner: P, bound: Duration) -> Self {
        Self { inner, bound }
    }
}

impl<P: Policy> Policy for MaxStaleness<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let mut plan = self.inner.plan(request, candidates);
        if request.access == Access::Write {
            return plan;
        }
        let region = plan.region();
        plan.lower_bound(self.bound);
        plan.skip(|step| too_stale(self.bound, region, candidates.get(step.node)?));
        plan
    }
}
