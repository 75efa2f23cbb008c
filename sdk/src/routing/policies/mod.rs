//! Policies that choose the region whose data a request is for; one file each.

mod home_region;
mod key_owner;
mod nearest;
mod pinned;
mod regional_primary;

pub use self::{
    home_region::HomeRegion, key_owner::KeyOwner, nearest::Nearest, pinned::Pinned, regional_primary::RegionalPrimary,
};
use super::{Access, Candidate, Candidates, Choice, Plan, Rank, Reason, RegionIndex, Request, Role};

/// Tiers of a read: the region's own nodes, then those of the others.
const FIRST: u8 = 0;
const NEXT: u8 = 1;
const LAST: u8 = 2;

/// A plan for the data of one region.
///
/// Writes: its primary and nothing else, for a key has one writer. Reads: its primary, its replicas by distance, and as
/// a last resort the other regions' primaries by distance, which may lack the data.
fn plan_for(request: &Request<'_>, candidates: &Candidates<'_>, region: RegionIndex, reason: Reason) -> Plan {
    Plan::rank(request, candidates, region, |candidate| choice(request, candidates, region, reason, candidate))
}

fn choice(
    request: &Request<'_>,
    candidates: &Candidates<'_>,
    region: RegionIndex,
    reason: Reason,
    candidate: Candidate<'_>,
) -> Choice {
    let is_of_region = candidate.node.region == region;
    match (is_of_region, candidate.node.role, request.access) {
        (true, Role::Primary, _) => Choice::Keep(Rank::new(FIRST, 0), reason),
        (true, Role::Replica, _) => Choice::Keep(Rank::new(NEXT, candidates.distance(candidate)), Reason::Replica),
        (false, Role::Primary, Access::Read) => {
            Choice::Keep(Rank::new(LAST, candidates.distance(candidate)), Reason::LastResort)
        }
        (false, Role::Primary, Access::Write) => Choice::Skip(Reason::NotTheWriter),
        (false, Role::Replica, _) => Choice::Skip(Reason::OtherRegion),
    }
}
