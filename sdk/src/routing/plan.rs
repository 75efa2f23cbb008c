//! What a policy answers: every node once, kept in order or skipped, each with a reason.

use std::{fmt, time::Duration};

use super::{
    Access, Candidate, Candidates, Explanation, MAX_NODES, NodeIndex, Reason, RegionIndex, Request, Role, Step,
    steps::Steps,
    wrappers::{Trigger, Triggers},
};

/// The nodes for one request: steps to try, in order, and skipped ones, each with its reason.
///
/// It lives on the stack and names every node of its topology exactly once. It is built by [`Plan::rank`] and changed
/// by wrappers with [`Plan::prefer`], [`Plan::defer`] and [`Plan::skip`].
///
/// What may be done with it: a read tries the first step and, when that fails, the next ones. A write goes on only
/// while it was certainly not applied ([`Plan::may_continue`]). After a miss, an error or a stale answer of a replica
/// [`Plan::fallback_after`] names the primary to ask, where the policy says so.
#[derive(Clone, Copy)]
pub struct Plan {
    steps: Steps,
    skipped: Steps,
    access: Access,
    region: RegionIndex,
    bound: Option<Duration>,
    fallback: Triggers,
    emptied_by: Option<Reason>,
}

/// A policy's opinion of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A step at this rank.
    Keep(Rank, Reason),
    /// No step.
    Skip(Reason),
}

/// Where a step stands in a plan: lower tiers first, within a tier lower distances. Equal ranks keep the map's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    tier: u8,
    distance: u32,
}

impl Rank {
    /// A rank. [`Candidates::distance`] is a usual distance; any number will do.
    #[must_use]
    pub const fn new(tier: u8, distance: u32) -> Self {
        Self { tier, distance }
    }
}

impl Plan {
    /// A plan from an opinion of each node. `region` is the one whose data the request is for.
    ///
    /// What a request demands is seen to here, so that no policy can forget it, and such nodes are not asked about: a
    /// write goes to primaries only; a replica in full sync serves nothing; a read that needs the primary gets that of
    /// `region` only; a bound on staleness keeps out replicas that are further behind or nobody knows how far, and
    /// every node with another region's data.
    #[must_use]
    pub fn rank<'c>(
        request: &Request<'_>,
        candidates: &Candidates<'c>,
        region: RegionIndex,
        mut choose: impl FnMut(Candidate<'c>) -> Choice,
    ) -> Self {
        let mut ranked = [Ranked::default(); MAX_NODES];
        let mut reasons = [Reason::LastResort; MAX_NODES];
        let mut slots = ranked.iter_mut();
        let mut skipped = Steps::EMPTY;
        for (candidate, kept_because) in candidates.iter().zip(&mut reasons) {
            let node = candidate.index;
            match unmet(request, region, candidate).map_or_else(|| choose(candidate), Choice::Skip) {
                Choice::Keep(rank, reason) => {
                    *kept_because = reason;
                    if let Some(slot) = slots.next() {
                        *slot = Ranked::new(rank, node);
                    }
                }
                Choice::Skip(reason) => skipped.push(Step { node, reason }),
            }
        }
        let kept = MAX_NODES - slots.len();
        let ranked = ranked.get_mut(..kept).unwrap_or_default();
        // No two are equal, so the sort that never allocates is as good as a stable one.
        ranked.sort_unstable();
        let mut steps = Steps::EMPTY;
        for node in ranked.iter().map(|ranked| ranked.node()) {
            let reason = reasons.get(node.as_usize()).copied().unwrap_or(Reason::LastResort);
            steps.push(Step { node, reason });
        }
        Self {
            steps,
            skipped,
            access: request.access,
            region,
            bound: request.max_staleness,
            fallback: Triggers::default(),
            emptied_by: (kept == 0).then_some(Reason::NoPrimary),
        }
    }

    /// The nodes to try, best first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.steps.as_slice()
    }

    /// The nodes not to try.
    #[must_use]
    pub fn skipped(&self) -> &[Step] {
        self.skipped.as_slice()
    }

    /// The node to try first.
    #[must_use]
    pub fn first(&self) -> Option<Step> {
        self.steps().first().copied()
    }

    /// Whether no node may serve the request; [`Plan::emptied_by`] says why.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps().is_empty()
    }

    /// Why no node may serve the request: the reason for which the last one was skipped. `None` when there are steps.
    #[must_use]
    pub fn emptied_by(&self) -> Option<Reason> {
        self.emptied_by
    }

    /// Whether it is for a read or a write.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// The region whose data the request is for.
    #[must_use]
    pub fn region(&self) -> RegionIndex {
        self.region
    }

    /// How far behind an answer may be: the smallest bound of the request and the policies.
    #[must_use]
    pub fn max_staleness(&self) -> Option<Duration> {
        self.bound
    }

    /// Whether the next step may be tried after a failed one. A read may always; a write only when it was certainly not
    /// applied, or it could be applied twice, in two places.
    #[must_use]
    pub fn may_continue(&self, certainly_not_applied: bool) -> bool {
        match self.access {
            Access::Read => true,
            Access::Write => certainly_not_applied,
        }
    }

    /// The primary to ask when another step's answer was a miss, an error or stale, if a
    /// [`FallbackToPrimary`](super::FallbackToPrimary) says so. `None` when it does not, when the primary comes first
    /// anyway, or when it is not among the steps: then nobody knows better.
    #[must_use]
    pub fn fallback_after(&self, trigger: Trigger, candidates: &Candidates<'_>) -> Option<Step> {
        if !self.fallback.contains(trigger) {
            return None;
        }
        self.steps().iter().skip(1).find(|step| is_authority(self.region, **step, candidates)).copied()
    }

    /// Moves the steps that get a reason to the front, in their order, with that reason.
    pub fn prefer(&mut self, reason: impl FnMut(Step) -> Option<Reason>) {
        self.steps.prefer(reason);
    }

    /// Moves the steps that get a reason to the end, in their order, with that reason.
    pub fn defer(&mut self, reason: impl FnMut(Step) -> Option<Reason>) {
        let moved = self.steps.take_if(reason);
        self.steps.append(&moved);
    }

    /// Skips the steps that get a reason. Whatever was skipped stays so: no wrapper can bring back a node that another
    /// has ruled out.
    pub fn skip(&mut self, mut reason: impl FnMut(Step) -> Option<Reason>) {
        let (skipped, mut last) = (&mut self.skipped, None);
        self.steps.retain(|step| {
            let Some(reason) = reason(step) else { return true };
            skipped.push(Step { node: step.node, reason });
            last = Some(reason);
            false
        });
        if self.is_empty() {
            self.emptied_by = last.or(self.emptied_by);
        }
    }

    /// Every node, kept or skipped, with its reason and the numbers behind it, for people and for programs.
    #[must_use]
    pub fn explain(&self, candidates: &Candidates<'_>) -> Explanation {
        Explanation::new(self, candidates)
    }

    /// Lowers the bound on staleness.
    pub(super) fn lower_bound(&mut self, bound: Duration) {
        self.bound = Some(self.bound.map_or(bound, |known| known.min(bound)));
    }

    /// Adds what the primary is asked after.
    pub(super) fn fall_back_on(&mut self, triggers: Triggers) {
        self.fallback = self.fallback.with(triggers);
    }

    /// A plan that no policy can build, to prove that the checks reject it.
    #[cfg(test)]
    pub(crate) fn forged(mut self, steps: &[NodeIndex], skipped: &[NodeIndex]) -> Self {
        let list = |nodes: &[NodeIndex]| {
            let mut list = Steps::EMPTY;
            nodes.iter().for_each(|node| list.push(Step { node: *node, reason: Reason::LastResort }));
            list
        };
        (self.steps, self.skipped) = (list(steps), list(skipped));
        self
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        let facts = |plan: &Self| (plan.access, plan.region, plan.bound, plan.fallback, plan.emptied_by);
        self.steps() == other.steps() && self.skipped() == other.skipped() && facts(self) == facts(other)
    }
}

impl Eq for Plan {}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("access", &self.access)
            .field("region", &self.region)
            .field("steps", &self.steps())
            .field("skipped", &self.skipped())
            .field("max_staleness", &self.bound)
            .field("fallback", &self.fallback)
            .field("emptied_by", &self.emptied_by)
            .finish()
    }
}

/// What the request demands and this node cannot give.
pub(super) fn unmet(request: &Request<'_>, region: RegionIndex, candidate: Candidate<'_>) -> Option<Reason> {
    let is_replica = candidate.node.role == Role::Replica;
    if is_replica && request.access == Access::Write {
        return Some(Reason::ReplicaTakesNoWrites);
    }
    if is_replica && candidate.state.is_syncing {
        return Some(Reason::Syncing);
    }
    match request.access {
        Access::Write => None,
        Access::Read if request.needs_primary && !candidate.is_primary_of(region) => Some(Reason::NotThePrimary),
        Access::Read => request.max_staleness.and_then(|bound| too_stale(bound, region, candidate)),
    }
}

/// Why a node's data may be too old for a read of this region's data.
pub(super) fn too_stale(bound: Duration, region: RegionIndex, candidate: Candidate<'_>) -> Option<Reason> {
    if candidate.node.region != region {
        // Its own primary's data may be fresh and yet know nothing of the region that was asked for.
        return Some(Reason::OtherRegionForBound);
    }
    match (candidate.node.role, candidate.state.staleness) {
        (Role::Primary, _) => None,
        (Role::Replica, None) => Some(Reason::StalenessUnknown),
        (Role::Replica, Some(staleness)) => (staleness > bound).then_some(Reason::TooStale),
    }
}

/// Whether a step is the primary of this region.
pub(super) fn is_authority(region: RegionIndex, step: Step, candidates: &Candidates<'_>) -> bool {
    candidates.get(step.node).is_some_and(|candidate| candidate.is_primary_of(region))
}

/// A node at its rank, in one number, for a quick sort: tier, distance, node.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked(u64);

impl Ranked {
    fn new(rank: Rank, node: NodeIndex) -> Self {
        Self(u64::from(rank.tier) << 40 | u64::from(rank.distance) << 8 | u64::from(node.0))
    }

    fn node(self) -> NodeIndex {
        let [.., node] = self.0.to_be_bytes();
        NodeIndex(node)
    }
}
