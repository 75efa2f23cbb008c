//! The snapshot a policy decides on: the map, and how each node is at this moment.

use std::time::Duration;

use thiserror::Error;

use super::{NodeIndex, NodeInfo, RegionIndex, Role, Topology};

/// Whether a node takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// It does.
    Up,
    /// It was down; its breaker is half-open and lets a few calls try.
    Probing,
    /// It does not.
    Down,
}

/// How a node is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Whether it takes calls.
    pub availability: Availability,
    /// A smoothed round trip; `None` before the first measurement.
    pub latency: Option<Duration>,
    /// Calls sent and not yet answered.
    pub in_flight: u32,
    /// How far it is behind its region's primary; `None` when unknown. A primary's is zero, whatever stands here.
    pub staleness: Option<Duration>,
    /// Whether a replica is loading a full copy: until then it answers with old data, or with none.
    pub is_syncing: bool,
}

impl NodeState {
    /// Up, idle, nothing measured yet.
    #[must_use]
    pub const fn up() -> Self {
        Self { availability: Availability::Up, latency: None, in_flight: 0, staleness: None, is_syncing: false }
    }

    /// The same state with this availability.
    #[must_use]
    pub const fn with_availability(mut self, availability: Availability) -> Self {
        self.availability = availability;
        self
    }

    /// The same state with this round trip.
    #[must_use]
    pub const fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// The same state with this many calls in flight.
    #[must_use]
    pub const fn with_in_flight(mut self, in_flight: u32) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// The same state, this far behind.
    #[must_use]
    pub const fn with_staleness(mut self, staleness: Duration) -> Self {
        self.staleness = Some(staleness);
        self
    }

    /// The same state, loading a full copy.
    #[must_use]
    pub const fn syncing(mut self) -> Self {
        self.is_syncing = true;
        self
    }
}

/// A node, and how it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its place.
    pub index: NodeIndex,
    /// What it is.
    pub node: &'a NodeInfo,
    /// How it is.
    pub state: &'a NodeState,
}

impl Candidate<'_> {
    /// Whether it is the primary of this region: what it answers about the region's data is final.
    #[must_use]
    pub fn is_primary_of(&self, region: RegionIndex) -> bool {
        self.node.region == region && self.node.role == Role::Primary
    }
}

/// Everything a policy may know besides the request: a snapshot that does not change under it.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    topology: &'a Topology,
    states: &'a [NodeState],
    active: RegionIndex,
}

/// Why a map and states do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CandidatesError {
    /// There has to be one state for each node.
    #[error("{states} states for {nodes} nodes: each node needs one")]
    Length {
        /// How many nodes there are.
        nodes: usize,
        /// How many states there are.
        states: usize,
    },
    /// The active region is not in the map.
    #[error("the active region is number {}, but there are only {known}", region.0)]
    UnknownActive {
        /// The region that is not there.
        region: RegionIndex,
        /// How many regions there are.
        known: usize,
    },
}

impl<'a> Candidates<'a> {
    /// A snapshot. `active` is the region that [`RegionalPrimary`](super::RegionalPrimary) writes to at present.
    ///
    /// # Errors
    /// [`CandidatesError`] unless there is one state for each node, in the order of [`Topology::nodes`], and the active
    /// region is one of the map's.
    pub fn new(topology: &'a Topology, states: &'a [NodeState], active: RegionIndex) -> Result<Self, CandidatesError> {
        let (nodes, known) = (topology.nodes().len(), topology.regions().len());
        if nodes != states.len() {
            return Err(CandidatesError::Length { nodes, states: states.len() });
        }
        if active.as_usize() >= known {
            return Err(CandidatesError::UnknownActive { region: active, known });
        }
        Ok(Self { topology, states, active })
    }

    /// The map.
    #[must_use]
    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// The region that [`RegionalPrimary`](super::RegionalPrimary) writes to at present.
    #[must_use]
    pub fn active(&self) -> RegionIndex {
        self.active
    }

    /// Every node, in the map's order.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> {
        let pairs = self.topology.nodes().iter().zip(self.states);
        (0..u8::MAX).map(NodeIndex).zip(pairs).map(|(index, (node, state))| Candidate { index, node, state })
    }

    /// One node.
    #[must_use]
    pub fn get(&self, index: NodeIndex) -> Option<Candidate<'a>> {
        let (node, state) = (self.topology.node(index)?, self.states.get(index.as_usize())?);
        Some(Candidate { index, node, state })
    }

    /// Whether a node stands in this client's own region.
    #[must_use]
    pub fn is_local(&self, candidate: Candidate<'_>) -> bool {
        candidate.node.stands_in == self.topology.local()
    }

    /// How far a node is, as a round trip in microseconds: measured; before that the least its region's place allows,
    /// which is nothing in the local region; `u32::MAX` when nobody knows.
    #[must_use]
    pub fn distance(&self, candidate: Candidate<'_>) -> u32 {
        match candidate.state.latency {
            Some(latency) => u32::try_from(latency.as_micros()).unwrap_or(u32::MAX),
            None => self.topology.least_micros(candidate.index),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::routing::RegionInfo;

    fn topology() -> Topology {
        let us = RegionIndex(0);
        let regions = vec![RegionInfo::new("us".parse().unwrap())];
        Topology::new(regions, vec![NodeInfo::primary("us/primary", us)], us, 1).unwrap()
    }

    #[test]
    fn each_node_has_one_state_and_the_active_region_exists() {
        let topology = topology();
        let wrong = Candidates::new(&topology, &[], RegionIndex(0)).unwrap_err();
        assert_eq!(wrong, CandidatesError::Length { nodes: 1, states: 0 });
        let wrong = Candidates::new(&topology, &[NodeState::up()], RegionIndex(1)).unwrap_err();
        assert_eq!(wrong, CandidatesError::UnknownActive { region: RegionIndex(1), known: 1 });
    }

    #[test]
    fn a_measurement_beats_the_map_and_no_latency_overflows() {
        let topology = topology();
        let distance = |state: NodeState| {
            let states = [state];
            let candidates = Candidates::new(&topology, &states, RegionIndex(0)).unwrap();
            candidates.distance(candidates.get(NodeIndex(0)).unwrap())
        };
        assert_eq!(distance(NodeState::up()), 0);
        assert_eq!(distance(NodeState::up().with_latency(Duration::from_millis(3))), 3_000);
        assert_eq!(distance(NodeState::up().with_latency(Duration::MAX)), u32::MAX);
    }

    #[test]
    fn a_state_stays_small() {
        assert!(size_of::<NodeState>() <= 48, "{}", size_of::<NodeState>());
    }
}
