//! Each user's data in the user's own region.

use super::{Candidates, Plan, Reason, Request, plan_for};
use crate::routing::Policy;

/// Reads and writes at the primary of the request's home region.
///
/// A request without a home, or with one that the topology does not have, is for the active region. A read goes on as
/// under [`RegionalPrimary`](crate::routing::RegionalPrimary). A write goes nowhere else while the home is down: a home
/// is moved on purpose, never by one client's view of its health.
#[derive(Clone, Copy, Debug, Default)]
pub struct HomeRegion;

impl Policy for HomeRegion {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        match request.home.filter(|home| candidates.topology().region(*home).is_some()) {
            Some(home) => plan_for(request, candidates, home, Reason::PrimaryOfHome),
            None => plan_for(request, candidates, candidates.active(), Reason::PrimaryOfActive),
        }
    }
}
