//! One region, whatever happens.

use super::{Candidates, Plan, Reason, Request, plan_for};
use crate::routing::{Policy, RegionIndex};

/// Reads and writes at the primary of one region, whichever is active.
///
/// A read goes on as under [`RegionalPrimary`](crate::routing::RegionalPrimary). A region that the topology does not
/// have serves no writes, and reads as a last resort only.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    region: RegionIndex,
}

impl Pinned {
    /// Pins everything to this region.
    #[must_use]
    pub fn new(region: RegionIndex) -> Self {
        Self { region }
    }
}

impl Policy for Pinned {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        plan_for(request, candidates, self.region, Reason::PrimaryOfPinned)
    }
}
