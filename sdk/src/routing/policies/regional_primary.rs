//! One writer region for everything: the active one.

use super::{Candidates, Plan, Reason, Request, plan_for};
use crate::routing::Policy;

/// Reads and writes at the primary of the active region.
///
/// A read whose primary fails goes on to that region's replicas, and as a last resort to the other regions' primaries,
/// which may lack the data; a bound on staleness or [`Residency`](crate::routing::Residency) rules these out. A write
/// goes nowhere else: another region becomes the writer only when the selector makes it the active one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionalPrimary;

impl Policy for RegionalPrimary {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        plan_for(request, candidates, candidates.active(), Reason::PrimaryOfActive)
    }
}
