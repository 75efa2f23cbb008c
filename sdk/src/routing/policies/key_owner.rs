//! Keys spread over the regions, each with one owner.

use super::{Candidates, Choice, LAST, Plan, Rank, Reason, RegionIndex, Request, Role, choice, plan_for};
use crate::routing::{
    MAX_REGIONS, Policy, RegionInfo,
    rendezvous::{KeyHash, Score, hash_tag},
};

/// Reads and writes at the primary of the region that owns the key, by weighted
/// [rendezvous](crate::routing::rendezvous) hashing over the regions' names and weights.
///
/// Every client with the same regions and weights finds the same owner. A region that is added takes its share of keys
/// and moves no others; keys with one hash tag `{..}` have one owner. A request without a key is for the active region.
/// A region of weight zero owns nothing.
///
/// A read goes on as under [`RegionalPrimary`](crate::routing::RegionalPrimary). A write stays with the owner, unless
/// [`KeyOwner::with_failover`] is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOwner {
    fails_over: bool,
}

impl KeyOwner {
    /// Spreads keys, each with one writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets reads and writes go on to the key's next regions, in the key's own order, when its owner fails. For caches
    /// only: two clients that see the owner's health differently then write to two regions, and nothing brings the
    /// values together. Regions of weight zero come last.
    #[must_use]
    pub fn with_failover(mut self) -> Self {
        self.fails_over = true;
        self
    }
}

impl Policy for KeyOwner {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        let Some(key) = request.key else {
            return plan_for(request, candidates, candidates.active(), Reason::PrimaryOfActive);
        };
        let key = KeyHash::of(hash_tag(key));
        let owner = owner(key, candidates.topology().regions()).unwrap_or(candidates.active());
        if !self.fails_over {
            return plan_for(request, candidates, owner, Reason::PrimaryOfOwner);
        }
        let scores = Scores::of(key, candidates.topology().regions());
        Plan::rank(request, candidates, owner, |candidate| {
            let region = candidate.node.region;
            match candidate.node.role {
                Role::Primary if region != owner => {
                    Choice::Keep(Rank::new(LAST, scores.better_than(region)), Reason::NextOwner)
                }
                Role::Primary | Role::Replica => choice(request, candidates, owner, Reason::PrimaryOfOwner, candidate),
            }
        })
    }
}

/// The region that owns a key.
fn owner(key: KeyHash, regions: &[RegionInfo]) -> Option<RegionIndex> {
    let mut scored =
        (0..).map(RegionIndex).zip(regions.iter().map(|region| key.score(region.id.as_str(), region.weight)));
    let (mut best, mut highest) = scored.next()?;
    // A loop: `max_by` moves the scores about in a way that stalls the processor, and took twice as long.
    for (index, score) in scored {
        if score > highest {
            (best, highest) = (index, score);
        }
    }
    Some(best)
}

/// Each region's score for one key.
struct Scores<'t>([Option<Score<'t>>; MAX_REGIONS]);

impl<'t> Scores<'t> {
    fn of(key: KeyHash, regions: &'t [RegionInfo]) -> Self {
        let mut scores = [None; MAX_REGIONS];
        for (slot, region) in scores.iter_mut().zip(regions) {
            *slot = Some(key.score(region.id.as_str(), region.weight));
        }
        Self(scores)
    }

    /// How many regions come before this one.
    fn better_than(&self, region: RegionIndex) -> u32 {
        let score = self.0.get(region.as_usize()).copied().flatten();
        self.0.iter().map(|other| u32::from(*other > score)).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::routing::{NodeInfo, NodeState, Topology};

    #[test]
    fn a_cache_fails_over_in_the_keys_own_order() {
        let regions = [("a", 1), ("b", 0), ("c", 3), ("d", 2)];
        let infos = regions.map(|(name, weight)| RegionInfo::new(name.parse().unwrap()).with_weight(weight)).to_vec();
        let nodes = (0..4).map(|i| NodeInfo::primary(format!("{i}"), RegionIndex(i))).collect();
        let topology = Topology::new(infos, nodes, RegionIndex(0), 1).unwrap();
        let states = [NodeState::up(); 4];
        let candidates = Candidates::new(&topology, &states, RegionIndex(0)).unwrap();
        for key in 0..200_u32 {
            let key = key.to_be_bytes();
            let mut by_score = regions.map(|(name, weight)| KeyHash::of(&key).score(name, weight));
            by_score.sort();
            let expected: Vec<_> = by_score.iter().rev().map(|score| score.name()).collect();
            let plan = KeyOwner::new().with_failover().plan(&Request::write().with_key(&key), &candidates);
            let order = plan.steps().iter().map(|step| regions.get(step.node.as_usize()).unwrap().0);
            assert_eq!(order.collect::<Vec<_>>(), expected);
            assert_eq!(expected.last(), Some(&"b"), "weight zero comes last");
            assert!(plan.may_continue(true) && !plan.may_continue(false));
        }
    }
}
