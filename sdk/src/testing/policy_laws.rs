//! What every routing policy owes, as a check over worlds.

use std::{sync::Arc, time::Duration};

use crate::routing::{
    Access, Availability, Candidate, Candidates, NodeIndex, NodeInfo, NodeState, Plan, Policy, Reason, RegionIndex,
    RegionInfo, Request, Role, Topology,
};

/// A map, a state for each of its nodes, and the active region.
#[derive(Clone, Debug)]
pub struct World {
    /// The map.
    pub topology: Arc<Topology>,
    /// How each node is.
    pub states: Vec<NodeState>,
    /// The region that writes go to.
    pub active: RegionIndex,
}

/// Checks what every policy owes, for many requests in each of these worlds:
///
/// - every node stands in the plan exactly once, kept or skipped;
/// - equal inputs give equal plans;
/// - a write's steps are primaries;
/// - no step is a replica in full sync;
/// - a read that needs the primary has no other steps;
/// - no step is further behind than the request allows, or nobody knows how far;
/// - there are steps while a usable node is left, unless [`Residency`](crate::routing::Residency) rules it out, or the
///   region asked for has no primary; and an empty plan, and no other, says why.
///
/// [`worlds`] are a good start.
///
/// # Panics
/// On the first promise broken, with the policy, the request and the plan.
pub fn check_policy(policy: &dyn Policy, worlds: &[World]) {
    for world in worlds {
        let candidates = match Candidates::new(&world.topology, &world.states, world.active) {
            Ok(candidates) => candidates,
            #[allow(clippy::panic, reason = "this function's way to complain")]
            Err(error) => panic!("not a world: {error}: {world:?}"),
        };
        for request in requests(&candidates) {
            let plan = policy.plan(&request, &candidates);
            assert_eq!(plan, policy.plan(&request, &candidates), "{policy:?} is not deterministic: {request:?}");
            if let Some(broken) = broken_promise(&request, &candidates, &plan) {
                #[allow(clippy::panic, reason = "this function's way to complain")]
                {
                    panic!("{policy:?} {broken}: {request:?} in {world:?} gave {plan:?}");
                }
            }
        }
    }
}

/// The first promise that a plan breaks.
fn broken_promise(request: &Request<'_>, candidates: &Candidates<'_>, plan: &Plan) -> Option<&'static str> {
    let mut named: Vec<NodeIndex> = plan.steps().iter().chain(plan.skipped()).map(|step| step.node).collect();
    named.sort_unstable();
    if !named.iter().copied().eq(candidates.iter().map(|candidate| candidate.index)) {
        return Some("does not name every node exactly once");
    }
    if plan.is_empty() != plan.emptied_by().is_some() {
        return Some("says why it is empty when it is not, or does not say it");
    }
    if plan.is_empty() && !may_be_empty(request, candidates, plan) {
        return Some("gave up with usable nodes left");
    }
    plan.steps().iter().find_map(|step| broken_by(request, plan, candidates.get(step.node)?))
}

/// The first promise that one step breaks.
fn broken_by(request: &Request<'_>, plan: &Plan, step: Candidate<'_>) -> Option<&'static str> {
    let is_replica = step.node.role == Role::Replica;
    if is_replica && request.access == Access::Write {
        return Some("writes to a replica");
    }
    if is_replica && step.state.is_syncing {
        return Some("uses a replica in full sync");
    }
    if request.access == Access::Write {
        return None;
    }
    if request.needs_primary && (is_replica || step.node.region != plan.region()) {
        return Some("reads elsewhere than at the primary");
    }
    let is_fresh = |bound: Duration| match step.node.role {
        Role::Primary => step.node.region == plan.region(),
        Role::Replica => step.state.staleness.is_some_and(|staleness| staleness <= bound),
    };
    request.max_staleness.is_some_and(|bound| !is_fresh(bound)).then_some("reads data that is too old")
}

fn may_be_empty(request: &Request<'_>, candidates: &Candidates<'_>, plan: &Plan) -> bool {
    let is_usable = |candidate: Candidate<'_>| {
        let is_primary = candidate.node.role == Role::Primary;
        let may_serve = is_primary || (request.access == Access::Read && !request.needs_primary);
        may_serve && candidate.state.availability == Availability::Up && (is_primary || !candidate.state.is_syncing)
    };
    plan.emptied_by() == Some(Reason::OutsideResidency)
        || candidates.topology().primary_of(plan.region()).is_none()
        || !candidates.iter().any(is_usable)
}

/// Reads and writes with and without key, home, bound, and the need for the primary.
fn requests(candidates: &Candidates<'_>) -> Vec<Request<'static>> {
    let last = u8::try_from(candidates.topology().regions().len()).unwrap_or(u8::MAX);
    let mut all = vec![Request::read(), Request::write()];
    let also = |all: &mut Vec<Request<'static>>, change: &dyn Fn(Request<'static>) -> Request<'static>| {
        all.extend(all.clone().into_iter().map(change));
    };
    also(&mut all, &|request| request.with_key(b"cart:{user:1}"));
    also(&mut all, &Request::needing_primary);
    also(&mut all, &|request| request.with_max_staleness(Duration::from_secs(1)));
    also(&mut all, &|request| request.with_random(0x9e37_79b9_7f4a_7c15));
    // The last home is one that the map does not have.
    let homes = (0..=last).map(RegionIndex);
    let with_homes: Vec<_> = homes.flat_map(|home| all.iter().map(move |request| request.with_home(home))).collect();
    all.extend(with_homes);
    all
}

/// Small worlds of two regions, seen from the second: one has a replica there, the other one at home; every combination
/// of availability, with replicas fresh, behind, of unknown staleness and in full sync; and one without the first
/// region's primary.
///
/// # Panics
/// Never: the names and numbers are fixed.
#[must_use]
pub fn worlds() -> Vec<World> {
    let all = [Availability::Up, Availability::Probing, Availability::Down];
    let mut worlds = Vec::new();
    for topology in [topology(true), topology(false)].into_iter().flatten().map(Arc::new) {
        let nodes = topology.nodes().len();
        for combination in 0..3_usize.pow(u32::try_from(nodes).unwrap_or(0)) {
            for replica in replicas() {
                let states = (0..nodes).zip(topology.nodes()).map(|(place, node)| {
                    let digit = combination / 3_usize.pow(u32::try_from(place).unwrap_or(0)) % 3;
                    let state = if node.role == Role::Primary { NodeState::up() } else { replica };
                    state.with_availability(all.get(digit).copied().unwrap_or(Availability::Up))
                });
                let states = states.collect();
                worlds.push(World { topology: Arc::clone(&topology), states, active: RegionIndex(0) });
            }
        }
    }
    worlds
}

/// How a replica may be.
fn replicas() -> [NodeState; 4] {
    let behind = |millis| NodeState::up().with_staleness(Duration::from_millis(millis)).with_in_flight(3);
    [NodeState::up(), behind(10).with_latency(Duration::from_millis(2)), behind(3_000), behind(10).syncing()]
}

fn topology(with_first_primary: bool) -> Option<Topology> {
    let (us, eu) = (RegionIndex(0), RegionIndex(1));
    let regions = ["us-east-1", "eu-west-1"].into_iter().filter_map(|name| name.parse().ok()).map(RegionInfo::new);
    let mut nodes = vec![
        NodeInfo::replica("us-east-1/replica-1@eu-west-1", us, eu),
        NodeInfo::primary("eu-west-1/primary", eu),
        NodeInfo::replica("eu-west-1/replica-1", eu, eu),
    ];
    if with_first_primary {
        nodes.push(NodeInfo::primary("us-east-1/primary", us));
    }
    Topology::new(regions.collect(), nodes, eu, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::{
        AvoidUnhealthy, FallbackToPrimary, HomeRegion, KeyOwner, LocalReplica, MaxStaleness, Nearest, Pinned, Profile,
        RegionalPrimary, Residency, Trigger,
    };

    fn bases() -> Vec<Arc<dyn Policy>> {
        vec![
            Arc::new(RegionalPrimary),
            Arc::new(HomeRegion),
            Arc::new(KeyOwner::new()),
            Arc::new(KeyOwner::new().with_failover()),
            Arc::new(Nearest::new()),
            Arc::new(Nearest::new().with_window(Duration::ZERO)),
            Arc::new(Pinned::new(RegionIndex(1))),
        ]
    }

    #[test]
    fn every_policy_keeps_the_promises_bare_and_wrapped() {
        let (worlds, second) = (worlds(), Duration::from_secs(1));
        assert!(worlds.len() > 400, "{}", worlds.len());
        for base in bases() {
            let all = [Trigger::Miss, Trigger::Error, Trigger::Stale];
            let local = FallbackToPrimary::new(LocalReplica::new(Arc::clone(&base)), all);
            check_policy(&base, &worlds);
            check_policy(&local, &worlds);
            check_policy(&AvoidUnhealthy::new(Arc::clone(&base)), &worlds);
            check_policy(&AvoidUnhealthy::new(MaxStaleness::new(local.clone(), second)), &worlds);
            check_policy(&AvoidUnhealthy::new(Residency::new(local.clone(), [RegionIndex(1)])), &worlds);
            check_policy(&Profile::new(AvoidUnhealthy::new(Residency::new(local, []))), &worlds);
        }
    }

    /// A policy that tampers with the plan of another.
    struct Tampering(fn(&Request<'_>, &Candidates<'_>, Plan) -> Plan);

    impl std::fmt::Debug for Tampering {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Tampering")
        }
    }

    impl Policy for Tampering {
        fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
            self.0(request, candidates, RegionalPrimary.plan(request, candidates))
        }
    }

    fn check(tampering: fn(&Request<'_>, &Candidates<'_>, Plan) -> Plan) {
        check_policy(&Tampering(tampering), &worlds());
    }

    /// All nodes, those that fit first.
    fn all_first(candidates: &Candidates<'_>, plan: Plan, fits: impl Fn(Candidate<'_>) -> bool) -> Plan {
        let (steps, skipped): (Vec<_>, Vec<_>) = candidates.iter().partition(|candidate| fits(*candidate));
        let indices = |list: Vec<Candidate<'_>>| list.iter().map(|candidate| candidate.index).collect::<Vec<_>>();
        plan.forged(&indices(steps), &indices(skipped))
    }

    #[test]
    fn a_policy_that_changes_nothing_passes() {
        check(|_, _, plan| plan);
    }

    #[test]
    #[should_panic(expected = "does not name every node exactly once")]
    fn a_node_named_twice_is_rejected() {
        check(|_, _, plan| {
            let mut steps: Vec<_> = plan.steps().iter().map(|step| step.node).collect();
            steps.extend(steps.first().copied());
            let skipped: Vec<_> = plan.skipped().iter().map(|step| step.node).collect();
            plan.forged(&steps, &skipped)
        });
    }

    #[test]
    #[should_panic(expected = "does not name every node exactly once")]
    fn a_node_forgotten_is_rejected() {
        check(|_, _, plan| {
            let steps: Vec<_> = plan.steps().iter().map(|step| step.node).collect();
            plan.forged(&steps, &[])
        });
    }

    #[test]
    #[should_panic(expected = "is not deterministic")]
    fn chance_of_its_own_is_rejected() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        check(|_, _, mut plan| {
            let is_odd = CALLS.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            let first = plan.first();
            plan.defer(|step| (is_odd && Some(step) == first).then_some(Reason::HalfOpen));
            plan
        });
    }

    #[test]
    #[should_panic(expected = "writes to a replica")]
    fn a_write_to_a_replica_is_rejected() {
        check(|request, candidates, plan| match request.access {
            Access::Write if !plan.is_empty() => all_first(candidates, plan, |_| true),
            Access::Write | Access::Read => plan,
        });
    }

    #[test]
    #[should_panic(expected = "uses a replica in full sync")]
    fn a_syncing_replica_is_rejected() {
        check(|request, candidates, plan| match request.access {
            Access::Read if !request.needs_primary && request.max_staleness.is_none() => {
                all_first(candidates, plan, |_| true)
            }
            Access::Write | Access::Read => plan,
        });
    }

    #[test]
    #[should_panic(expected = "reads elsewhere than at the primary")]
    fn a_read_that_needs_the_primary_stays_there() {
        check(|request, candidates, plan| match request.needs_primary {
            true if request.access == Access::Read && !plan.is_empty() => {
                all_first(candidates, plan, |candidate| !candidate.state.is_syncing)
            }
            true | false => plan,
        });
    }

    #[test]
    #[should_panic(expected = "reads data that is too old")]
    fn stale_data_is_rejected() {
        check(|request, candidates, plan| match request.max_staleness {
            Some(_) if request.access == Access::Read && !request.needs_primary && !plan.is_empty() => {
                all_first(candidates, plan, |candidate| !candidate.state.is_syncing)
            }
            Some(_) | None => plan,
        });
    }

    #[test]
    #[should_panic(expected = "gave up with usable nodes left")]
    fn giving_up_is_rejected() {
        check(|_, _, mut plan| {
            plan.skip(|_| Some(Reason::NodeDown));
            plan
        });
    }

    #[test]
    #[should_panic(expected = "says why it is empty when it is not")]
    fn an_empty_plan_has_to_say_why() {
        check(|_, candidates, plan| all_first(candidates, plan, |_| false));
    }

    /// The wrong way around: the primary, down, is skipped in favour of a replica that is then too far behind.
    #[test]
    #[should_panic(expected = "gave up with usable nodes left")]
    fn health_inside_a_bound_on_staleness_is_rejected() {
        let policy = MaxStaleness::new(AvoidUnhealthy::new(RegionalPrimary), Duration::from_secs(1));
        check_policy(&policy, &worlds());
    }
}
