//! A decision costs no allocation, whatever the policy and its wrappers.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::{hint::black_box, time::Duration};

use allocation_counter::measure;
use archipelago::{
    routing::{
        AvoidUnhealthy, Candidates, FallbackToPrimary, HomeRegion, KeyOwner, LocalReplica, MaxStaleness, Nearest,
        Pinned, Policy, Profile, RegionIndex, RegionalPrimary, Request, Residency, Trigger,
    },
    testing::worlds,
};

/// The allocations of one plan in each of some worlds.
fn allocations(policy: &dyn Policy) -> u64 {
    let worlds = worlds();
    let request = Request::read().with_key(b"cart:{user:1}").with_home(RegionIndex(1)).with_random(7);
    let plan_all = || {
        for world in &worlds {
            let candidates = Candidates::new(&world.topology, &world.states, world.active).unwrap();
            black_box(policy.plan(black_box(&request), &candidates));
        }
    };
    // A thread's first use of a profile sets up its slot.
    plan_all();
    measure(plan_all).count_total
}

fn stack(base: impl Policy + 'static) -> Profile {
    let local = FallbackToPrimary::new(LocalReplica::new(base), [Trigger::Miss, Trigger::Error]);
    let resident = Residency::new(MaxStaleness::new(local, Duration::from_secs(1)), [RegionIndex(0), RegionIndex(1)]);
    Profile::new(AvoidUnhealthy::new(resident))
}

#[test]
fn no_decision_allocates() {
    for policy in [
        stack(RegionalPrimary),
        stack(HomeRegion),
        stack(KeyOwner::new()),
        stack(Nearest::new()),
        stack(Pinned::new(RegionIndex(1))),
    ] {
        assert_eq!(allocations(&policy), 0, "{policy:?}");
    }
}

#[test]
fn an_allocation_would_be_seen() {
    #[derive(Debug)]
    struct Wasteful;
    impl Policy for Wasteful {
        fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> archipelago::routing::Plan {
            drop(black_box(request.key.map(<[u8]>::to_vec)));
            RegionalPrimary.plan(request, candidates)
        }
    }
    assert!(allocations(&Wasteful) > 0);
}
