//! The map of regions and nodes: immutable, validated, shared in an `Arc`.

use std::{collections::BTreeSet, sync::Arc};

use archipelago_engine::RegionId;
use thiserror::Error;

use super::Location;

/// The most regions of a topology.
pub const MAX_REGIONS: usize = 16;
/// The most nodes of a topology: a plan has room for all of them on the stack.
pub const MAX_NODES: usize = 32;

/// A region's place in [`Topology::regions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u8);

/// A node's place in [`Topology::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u8);

impl RegionIndex {
    /// For indexing.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl NodeIndex {
    /// For indexing.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionInfo {
    /// Its name.
    pub id: RegionId,
    /// Where it stands, if known: how far it is before anything was measured.
    pub location: Option<Location>,
    /// Its share of keys under [`KeyOwner`](super::KeyOwner), and its rank when the active region is chosen. Zero:
    /// never chosen as a writer unless no region with a weight is left.
    pub weight: u32,
}

impl RegionInfo {
    /// A region of weight 1 at no known place.
    #[must_use]
    pub fn new(id: RegionId) -> Self {
        Self { id, location: None, weight: 1 }
    }

    /// The same region with this weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The same region at this place.
    #[must_use]
    pub fn with_location(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }
}

/// What a node does in its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows its region's primary, and may stand in another region.
    Replica,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name, such as `us-east-1/primary` or `us-east-1/replica-1@eu-west-1`.
    pub name: Arc<str>,
    /// Whose data it holds.
    pub region: RegionIndex,
    /// Where it stands. A primary, too, may stand elsewhere: a replica that was promoted does.
    pub stands_in: RegionIndex,
    /// What it does in its region.
    pub role: Role,
}

impl NodeInfo {
    /// The primary of a region, standing in it.
    #[must_use]
    pub fn primary(name: impl Into<Arc<str>>, region: RegionIndex) -> Self {
        Self { name: name.into(), region, stands_in: region, role: Role::Primary }
    }

    /// A replica of a region, standing in this or another one.
    #[must_use]
    pub fn replica(name: impl Into<Arc<str>>, region: RegionIndex, stands_in: RegionIndex) -> Self {
        Self { name: name.into(), region, stands_in, role: Role::Replica }
    }
}

/// Regions and nodes as they are in one epoch, seen from one region.
///
/// Immutable: a change is a new topology with a higher epoch. A region may be without a primary, while nobody knows
/// which node it is, but not with two.
///
/// ```
/// use archipelago::routing::{NodeInfo, RegionIndex, RegionInfo, Topology, TopologyError};
///
/// let us = RegionIndex(0);
/// let regions = || vec![RegionInfo::new("us-east-1".parse().unwrap())];
/// let primary = || NodeInfo::primary("us-east-1/primary", us);
/// let topology = Topology::new(regions(), vec![primary()], us, 1)?;
/// assert_eq!(topology.primary_of(us).map(|node| topology.name_of(node)), Some("us-east-1/primary"));
/// let twice = Topology::new(regions(), vec![primary(), primary()], us, 1);
/// assert_eq!(twice.unwrap_err().to_string(), "node us-east-1/primary is listed twice");
/// # Ok::<(), TopologyError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    regions: Vec<RegionInfo>,
    nodes: Vec<NodeInfo>,
    local: RegionIndex,
    epoch: u64,
    /// For each node: the least round trip from the local region, in microseconds; `u32::MAX` when nobody knows.
    least_micros: Vec<u32>,
}

/// Why regions and nodes are no topology.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// No region at all.
    #[error("a topology needs at least one region")]
    NoRegions,
    /// More regions than [`MAX_REGIONS`].
    #[error("{0} regions are too many: at most {MAX_REGIONS}")]
    TooManyRegions(usize),
    /// No node at all.
    #[error("a topology needs at least one node")]
    NoNodes,
    /// More nodes than [`MAX_NODES`].
    #[error("{0} nodes are too many: at most {MAX_NODES}")]
    TooManyNodes(usize),
    /// Two regions of one name.
    #[error("region {0} is listed twice")]
    DuplicateRegion(RegionId),
    /// Two nodes of one name.
    #[error("node {0} is listed twice")]
    DuplicateNode(Arc<str>),
    /// A node holds the data of, or stands in, a region that is not listed.
    #[error("node {node} names region number {}, but there are only {known}", region.0)]
    UnknownRegion {
        /// The node.
        node: Arc<str>,
        /// The region that is not there.
        region: RegionIndex,
        /// How many regions there are.
        known: usize,
    },
    /// The local region is not listed.
    #[error("the local region is number {}, but there are only {known}", region.0)]
    UnknownLocal {
        /// The region that is not there.
        region: RegionIndex,
        /// How many regions there are.
        known: usize,
    },
    /// Two primaries of one region: writes would go to both.
    #[error("region {region} has two primaries: {first} and {second}")]
    TwoPrimaries {
        /// The region.
        region: RegionId,
        /// One of them.
        first: Arc<str>,
        /// The other.
        second: Arc<str>,
    },
    /// Every region has weight zero, so that none could be chosen as a writer.
    #[error("every region has weight 0: at least one needs more")]
    NoWeight,
}

impl Topology {
    /// A topology of these regions and nodes, seen from a region.
    ///
    /// # Errors
    /// [`TopologyError`], naming what is wrong.
    pub fn new(
        regions: Vec<RegionInfo>,
        nodes: Vec<NodeInfo>,
        local: RegionIndex,
        epoch: u64,
    ) -> Result<Self, TopologyError> {
        check_regions(&regions, local)?;
        check_nodes(&regions, &nodes)?;
        let least_micros = nodes.iter().map(|node| least_micros(&regions, local, node.stands_in)).collect();
        Ok(Self { regions, nodes, local, epoch, least_micros })
    }

    /// The regions, in the order of [`RegionIndex`].
    #[must_use]
    pub fn regions(&self) -> &[RegionInfo] {
        &self.regions
    }

    /// The nodes, in the order of [`NodeIndex`].
    #[must_use]
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The region this client runs in.
    #[must_use]
    pub fn local(&self) -> RegionIndex {
        self.local
    }

    /// The number of this version of the map; a later one is greater.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A region.
    #[must_use]
    pub fn region(&self, index: RegionIndex) -> Option<&RegionInfo> {
        self.regions.get(index.as_usize())
    }

    /// A node.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> Option<&NodeInfo> {
        self.nodes.get(index.as_usize())
    }

    /// The region of this name.
    #[must_use]
    pub fn region_named(&self, name: &str) -> Option<RegionIndex> {
        position(self.regions.iter().map(|region| region.id.as_str()), name).map(RegionIndex)
    }

    /// The node of this name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<NodeIndex> {
        position(self.nodes.iter().map(|node| &*node.name), name).map(NodeIndex)
    }

    /// A node's name; `?` for a node of another topology.
    #[must_use]
    pub fn name_of(&self, node: NodeIndex) -> &str {
        self.node(node).map_or("?", |node| &node.name)
    }

    /// A region's primary, if it has one.
    #[must_use]
    pub fn primary_of(&self, region: RegionIndex) -> Option<NodeIndex> {
        let is_it = |node: &NodeInfo| node.region == region && node.role == Role::Primary;
        self.nodes.iter().position(is_it).and_then(|at| u8::try_from(at).ok()).map(NodeIndex)
    }

    /// The least round trip to a node that the distance allows, in microseconds; `u32::MAX` when nobody knows.
    pub(super) fn least_micros(&self, node: NodeIndex) -> u32 {
        self.least_micros.get(node.as_usize()).copied().unwrap_or(u32::MAX)
    }
}

fn position<'a>(mut names: impl Iterator<Item = &'a str>, name: &str) -> Option<u8> {
    names.position(|known| known == name).and_then(|at| u8::try_from(at).ok())
}

fn check_regions(regions: &[RegionInfo], local: RegionIndex) -> Result<(), TopologyError> {
    let known = regions.len();
    if known == 0 {
        return Err(TopologyError::NoRegions);
    }
    if known > MAX_REGIONS {
        return Err(TopologyError::TooManyRegions(known));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = regions.iter().find(|region| !names.insert(region.id.as_str())) {
        return Err(TopologyError::DuplicateRegion(twice.id.clone()));
    }
    if regions.iter().all(|region| region.weight == 0) {
        return Err(TopologyError::NoWeight);
    }
    if local.as_usize() >= known {
        return Err(TopologyError::UnknownLocal { region: local, known });
    }
    Ok(())
}

fn check_nodes(regions: &[RegionInfo], nodes: &[NodeInfo]) -> Result<(), TopologyError> {
    if nodes.is_empty() {
        return Err(TopologyError::NoNodes);
    }
    if nodes.len() > MAX_NODES {
        return Err(TopologyError::TooManyNodes(nodes.len()));
    }
    let mut names = BTreeSet::new();
    let mut primaries: Vec<Option<&NodeInfo>> = vec![None; regions.len()];
    for node in nodes {
        if !names.insert(&*node.name) {
            return Err(TopologyError::DuplicateNode(Arc::clone(&node.name)));
        }
        let unknown =
            |region| TopologyError::UnknownRegion { node: Arc::clone(&node.name), region, known: regions.len() };
        let region = regions.get(node.region.as_usize()).ok_or_else(|| unknown(node.region))?;
        let primary = primaries.get_mut(node.region.as_usize()).ok_or_else(|| unknown(node.region))?;
        regions.get(node.stands_in.as_usize()).ok_or_else(|| unknown(node.stands_in))?;
        if node.role == Role::Primary
            && let Some(first) = primary.replace(node)
        {
            let [first, second] = [first, node].map(|node| Arc::clone(&node.name));
            return Err(TopologyError::TwoPrimaries { region: region.id.clone(), first, second });
        }
    }
    Ok(())
}

fn least_micros(regions: &[RegionInfo], local: RegionIndex, there: RegionIndex) -> u32 {
    if local == there {
        return 0;
    }
    let place = |region: RegionIndex| regions.get(region.as_usize()).and_then(|region| region.location);
    match (place(local), place(there)) {
        (Some(here), Some(there)) => u32::try_from(here.least_round_trip(there).as_micros()).unwrap_or(u32::MAX),
        (None, _) | (_, None) => u32::MAX,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const US: RegionIndex = RegionIndex(0);
    const EU: RegionIndex = RegionIndex(1);

    fn region(name: &str) -> RegionInfo {
        RegionInfo::new(name.parse().unwrap())
    }

    fn regions() -> Vec<RegionInfo> {
        vec![region("us"), region("eu")]
    }

    fn refusal(regions: Vec<RegionInfo>, nodes: Vec<NodeInfo>, local: RegionIndex) -> TopologyError {
        Topology::new(regions, nodes, local, 1).unwrap_err()
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let primary = || NodeInfo::primary("us/primary", US);
        assert_eq!(refusal(vec![], vec![primary()], US), TopologyError::NoRegions);
        assert_eq!(refusal(regions(), vec![], US), TopologyError::NoNodes);
        assert_eq!(
            refusal(regions(), vec![primary()], RegionIndex(2)),
            TopologyError::UnknownLocal { region: RegionIndex(2), known: 2 }
        );
        let twice = refusal(vec![region("us"), region("us")], vec![primary()], US);
        assert_eq!(twice, TopologyError::DuplicateRegion("us".parse().unwrap()));
        let twice = refusal(regions(), vec![primary(), NodeInfo::replica("us/primary", US, EU)], US);
        assert_eq!(twice, TopologyError::DuplicateNode("us/primary".into()));
        let two = refusal(regions(), vec![primary(), NodeInfo::primary("us/other", US)], US);
        assert_eq!(two.to_string(), "region us has two primaries: us/primary and us/other");
        for stray in [NodeInfo::replica("stray", RegionIndex(7), US), NodeInfo::replica("stray", US, RegionIndex(7))] {
            let error = refusal(regions(), vec![primary(), stray], US);
            assert_eq!(error.to_string(), "node stray names region number 7, but there are only 2");
        }
        let none = regions().into_iter().map(|region| region.with_weight(0)).collect();
        assert_eq!(refusal(none, vec![primary()], US), TopologyError::NoWeight);
    }

    #[test]
    fn sizes_are_bounded() {
        let many = |n: usize| (0..n).map(|i| region(&format!("r{i}"))).collect::<Vec<_>>();
        let replicas = |n: usize| (0..n).map(|i| NodeInfo::replica(format!("n{i}"), US, US)).collect::<Vec<_>>();
        assert!(Topology::new(many(MAX_REGIONS), replicas(MAX_NODES), US, 1).is_ok());
        assert_eq!(refusal(many(MAX_REGIONS + 1), replicas(1), US), TopologyError::TooManyRegions(MAX_REGIONS + 1));
        assert_eq!(refusal(many(1), replicas(MAX_NODES + 1), US), TopologyError::TooManyNodes(MAX_NODES + 1));
    }

    #[test]
    fn one_region_without_weight_or_primary_is_fine() {
        let regions = vec![region("us").with_weight(0), region("eu")];
        let topology = Topology::new(regions, vec![NodeInfo::primary("eu/primary", EU)], US, 7).unwrap();
        assert_eq!((topology.primary_of(US), topology.primary_of(EU)), (None, Some(NodeIndex(0))));
        assert_eq!((topology.region_named("eu"), topology.node_named("eu/primary")), (Some(EU), Some(NodeIndex(0))));
        assert_eq!((topology.epoch(), topology.name_of(NodeIndex(9))), (7, "?"));
    }

    #[test]
    fn distance_is_known_at_home_and_between_places() {
        let at = |lat, lon| Location::new(lat, lon).unwrap();
        let regions = vec![
            region("us").with_location(at(39.0, -77.5)),
            region("eu").with_location(at(53.3, -6.3)),
            region("nowhere"),
        ];
        let nodes = (0..3).map(|i| NodeInfo::primary(format!("{i}"), RegionIndex(i))).collect();
        let topology = Topology::new(regions, nodes, US, 1).unwrap();
        assert_eq!(topology.least_micros(NodeIndex(0)), 0);
        assert!((50_000..60_000).contains(&topology.least_micros(NodeIndex(1))));
        assert_eq!(topology.least_micros(NodeIndex(2)), u32::MAX);
    }
}
