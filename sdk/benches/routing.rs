//! What one routing decision costs, for each policy bare and under all wrappers.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no API, and stops at what it does not expect")]

use std::{hint::black_box, sync::Arc, time::Duration};

use archipelago::routing::{
    AvoidUnhealthy, Candidates, FallbackToPrimary, HomeRegion, KeyOwner, LocalReplica, MaxStaleness, Nearest, NodeInfo,
    NodeState, Pinned, Policy, Profile, RegionIndex, RegionInfo, RegionalPrimary, Request, Residency, Topology,
    Trigger,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Regions with a primary, a replica at home and one in the next region each.
fn topology(regions: u8) -> Topology {
    let nodes = (0..regions).flat_map(|i| {
        let (region, next) = (RegionIndex(i), RegionIndex((i + 1) % regions));
        [
            NodeInfo::primary(format!("region-{i}/primary"), region),
            NodeInfo::replica(format!("region-{i}/replica-1"), region, region),
            NodeInfo::replica(format!("region-{i}/replica-2@region-{}", next.0), region, next),
        ]
    });
    let infos = (0..regions).map(|i| RegionInfo::new(format!("region-{i}").parse().unwrap()));
    Topology::new(infos.collect(), nodes.collect(), RegionIndex(1), 1).unwrap()
}

fn states(topology: &Topology) -> Vec<NodeState> {
    let state = |i: u32| {
        NodeState::up()
            .with_latency(Duration::from_millis(u64::from(7 * i % 90)))
            .with_staleness(Duration::from_millis(20))
            .with_in_flight(i)
    };
    (0..).map(state).take(topology.nodes().len()).collect()
}

fn bases() -> [(&'static str, Arc<dyn Policy>); 5] {
    [
        ("regional-primary", Arc::new(RegionalPrimary)),
        ("home-region", Arc::new(HomeRegion)),
        ("key-owner", Arc::new(KeyOwner::new())),
        ("nearest", Arc::new(Nearest::new())),
        ("pinned", Arc::new(Pinned::new(RegionIndex(0)))),
    ]
}

fn wrapped(base: Arc<dyn Policy>, regions: u8) -> Profile {
    let local = FallbackToPrimary::new(LocalReplica::new(base), [Trigger::Miss, Trigger::Error]);
    let fresh = MaxStaleness::new(local, Duration::from_secs(1));
    Profile::new(AvoidUnhealthy::new(Residency::new(fresh, (0..regions).map(RegionIndex))))
}

fn decisions(criterion: &mut Criterion) {
    let request = Request::read().with_key(b"session:{user:12345}:cart").with_home(RegionIndex(0)).with_random(7);
    for regions in [2, 8] {
        let topology = topology(regions);
        let states = states(&topology);
        let candidates = Candidates::new(&topology, &states, RegionIndex(0)).unwrap();
        let mut group = criterion.benchmark_group(format!("{regions} regions with 2 replicas each"));
        for (name, base) in bases() {
            group.bench_function(BenchmarkId::new("bare", name), |bencher| {
                bencher.iter(|| black_box(base.plan(black_box(&request), black_box(&candidates))));
            });
            let all = wrapped(base, regions);
            group.bench_function(BenchmarkId::new("all wrappers, in a profile", name), |bencher| {
                bencher.iter(|| black_box(all.plan(black_box(&request), black_box(&candidates))));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
