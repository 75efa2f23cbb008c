//! What a client knows of its nodes at one moment.

use serde::Serialize;

use super::plane::Core;
use crate::routing::{Availability, Role};

/// One server of the routed plane as a client sees it; see [`Client::nodes`](crate::Client::nodes).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeReport {
    /// Its name, such as `us-east-1/replica-1@eu-west-1`.
    pub name: String,
    /// The region whose data it holds.
    pub region: String,
    /// The region it stands in.
    pub stands_in: String,
    /// `primary` or `replica`.
    pub role: &'static str,
    /// Whether it is the primary of the region that takes the writes of keyspaces with a regional primary.
    pub is_active: bool,
    /// `up`, `half-open` or `down`.
    pub availability: &'static str,
    /// Its measured round trip in milliseconds.
    pub latency_ms: Option<f64>,
    /// How far a replica is behind, in milliseconds; none of a primary, and while nobody knows.
    pub behind_ms: Option<f64>,
    /// Calls sent to it and not yet answered.
    pub in_flight: u32,
}

impl Core {
    pub(crate) fn report(&self) -> Vec<NodeReport> {
        let topology = self.topology.load();
        let now = self.clock.now();
        let active = topology.primary_of(self.active());
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        let region = |index| topology.region(index).map_or_else(|| "?".to_owned(), |region| region.id.to_string());
        let nodes = topology.nodes().iter().zip(&self.nodes);
        let reports = nodes.map(|(info, node)| {
            let state = node.state(now);
            NodeReport {
                name: info.name.to_string(),
                region: region(info.region),
                stands_in: region(info.stands_in),
                role: match info.role {
                    Role::Primary => "primary",
                    Role::Replica => "replica",
                },
                is_active: active.is_some_and(|active| topology.name_of(active) == &*info.name),
                availability: match state.availability {
                    Availability::Up => "up",
                    Availability::Probing => "half-open",
                    Availability::Down => "down",
                },
                latency_ms: state.latency.map(millis),
                behind_ms: state.staleness.filter(|_| info.role == Role::Replica).map(millis),
                in_flight: state.in_flight,
            }
        });
        reports.collect()
    }
}
