//! Reads next door.

use crate::routing::{Access, Candidates, Plan, Policy, Reason, Request};

/// Reads prefer a node in this client's own region that holds the data asked for, wherever that data's primary is.
///
/// Such reads may be as far behind as replication is: bound that with [`MaxStaleness`](crate::routing::MaxStaleness).
/// Writes, and reads that need the primary, are as without it.
#[derive(Clone, Copy, Debug)]
pub struct LocalReplica<P> {
    inner: P,
}

impl<P: Policy> LocalReplica<P> {
    /// Lets this policy's reads prefer local nodes.
    #[must_use]
    pub fn new(inner: P) -> Self {
        Self { inner }
    }
}

impl<P: Policy> Policy for LocalReplica<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let mut plan = self.inner.plan(request, candidates);
        if request.access == Access::Write {
            return plan;
        }
        let (region, first) = (plan.region(), plan.first());
        plan.prefer(|step| {
            let candidate = candidates.get(step.node)?;
            let is_wanted = candidate.node.region == region && candidates.is_local(candidate);
            // A step that comes first anyway does so for the inner policy's reason.
            is_wanted.then_some(if first == Some(step) { step.reason } else { Reason::LocalReplica })
        });
        plan
    }
}
