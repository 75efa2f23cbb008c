//! Routing: which nodes may serve a request, in which order, and why.
//!
//! A [`Policy`] is pure: a [`Request`] and a snapshot of [`Candidates`] in, a [`Plan`] out. It does no I/O, reads no
//! clock, and allocates nothing. A plan lists every node: kept as a step, in order, or skipped; each with a [`Reason`].
//!
//! Policies pick the region whose data a request is for: [`RegionalPrimary`], [`HomeRegion`], [`KeyOwner`],
//! [`Nearest`], [`Pinned`]. Wrappers change the plan of any policy: [`LocalReplica`], [`FallbackToPrimary`],
//! [`MaxStaleness`], [`Residency`], [`AvoidUnhealthy`]. Wrap from the inside out in that order, as
//! [`RoutingConfig::build`] does: what comes later has the last word. [`AvoidUnhealthy`] has to see what the others
//! left, or it skips a primary that is down in favour of a replica that another wrapper then skips.
//!
//! ```
//! use std::time::Duration;
//! use archipelago::routing::{
//!     AvoidUnhealthy, Candidates, LocalReplica, MaxStaleness, NodeInfo, NodeState, Policy, RegionIndex, RegionInfo,
//!     RegionalPrimary, Request, Topology,
//! };
//!
//! let (us, eu) = (RegionIndex(0), RegionIndex(1));
//! let topology = Topology::new(
//!     vec![RegionInfo::new("us-east-1".parse()?), RegionInfo::new("eu-west-1".parse()?)],
//!     vec![
//!         NodeInfo::primary("us-east-1/primary", us),
//!         NodeInfo::replica("us-east-1/replica-1@eu-west-1", us, eu),
//!         NodeInfo::primary("eu-west-1/primary", eu),
//!     ],
//!     eu, // this client's own region
//!     1,
//! )?;
//! let second = Duration::from_secs(1);
//! let policy = AvoidUnhealthy::new(MaxStaleness::new(LocalReplica::new(RegionalPrimary), second));
//!
//! // The replica next to this client is a tenth of a second behind: reads go there, writes do not.
//! let mut states = [NodeState::up(), NodeState::up().with_staleness(second / 10), NodeState::up()];
//! let candidates = Candidates::new(&topology, &states, us)?;
//! let read = policy.plan(&Request::read().with_key(b"user:1"), &candidates);
//! assert_eq!(topology.name_of(read.first().unwrap().node), "us-east-1/replica-1@eu-west-1");
//! let write = policy.plan(&Request::write().with_key(b"user:1"), &candidates);
//! assert_eq!(topology.name_of(write.first().unwrap().node), "us-east-1/primary");
//!
//! // Now it falls behind.
//! states[1] = NodeState::up().with_staleness(second * 3);
//! let candidates = Candidates::new(&topology, &states, us)?;
//! let read = policy.plan(&Request::read().with_key(b"user:1"), &candidates);
//! assert_eq!(topology.name_of(read.first().unwrap().node), "us-east-1/primary");
//! assert!(read.explain(&candidates).to_string().contains("replica is 3 s behind, at most 1 s allowed"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod candidates;
pub mod config;
mod explain;
mod location;
mod plan;
mod policies;
mod profile;
mod reason;
pub mod rendezvous;
mod request;
mod steps;
mod topology;
mod wrappers;

use std::{fmt::Debug, sync::Arc};

pub use self::{
    candidates::{Availability, Candidate, Candidates, CandidatesError, NodeState},
    config::{RoutingConfig, RoutingError},
    explain::{ExplainedNode, Explanation, Verdict},
    location::{Location, LocationError},
    plan::{Choice, Plan, Rank},
    policies::{HomeRegion, KeyOwner, Nearest, Pinned, RegionalPrimary},
    profile::Profile,
    reason::Reason,
    request::{Access, Request},
    steps::Step,
    topology::{MAX_NODES, MAX_REGIONS, NodeIndex, NodeInfo, RegionIndex, RegionInfo, Role, Topology, TopologyError},
    wrappers::{AvoidUnhealthy, FallbackToPrimary, LocalReplica, MaxStaleness, Residency, Trigger},
};

/// Decides which nodes may serve a request, in which order.
///
/// Implemented by the policies and wrappers here, and by users. The connection calls it once for each request, on the
/// caller's task: it must not block, do I/O, read a clock, take a lock or allocate. The same request and candidates
/// give the same plan; what looks random draws from [`Request::random`].
///
/// Build plans with [`Plan::rank`], change them with [`Plan::prefer`], [`Plan::defer`] and [`Plan::skip`]: they name
/// every node exactly once by construction. What a policy owes beyond that is checked by `check_policy` in
/// `archipelago::testing` (feature `testing`).
///
/// A policy that holds a [`RegionIndex`] belongs to topologies that list their regions alike. When regions come or go,
/// build it anew and [`Profile::swap`] it in.
///
/// ```
/// use archipelago::routing::{Candidates, Choice, Plan, Policy, Rank, Reason, Request, Role};
///
/// /// Every read and write at the primary with the lowest latency, whatever the region.
/// #[derive(Debug)]
/// struct FastestPrimary;
///
/// impl Policy for FastestPrimary {
///     fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
///         Plan::rank(request, candidates, candidates.active(), |candidate| match candidate.node.role {
///             Role::Primary => Choice::Keep(Rank::new(0, candidates.distance(candidate)), Reason::Nearest),
///             Role::Replica => Choice::Skip(Reason::NotThePrimary),
///         })
///     }
/// }
/// archipelago::testing::check_policy(&FastestPrimary, &archipelago::testing::worlds());
/// ```
pub trait Policy: Debug + Send + Sync {
    /// The nodes for this request, best first.
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan;
}

/// So that wrappers nest at run time, as a configuration file says.
impl<P: Policy + ?Sized> Policy for Arc<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        (**self).plan(request, candidates)
    }
}

/// So that wrappers nest at run time, as a configuration file says.
impl<P: Policy + ?Sized> Policy for Box<P> {
    fn plan(&self, request: &Request<'_>, candidates: &Candidates<'_>) -> Plan {
        (**self).plan(request, candidates)
    }
}
