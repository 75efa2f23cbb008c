//! From configuration to nodes: who they are, and where.

use std::collections::BTreeMap;

use archipelago_engine::RegionId;

use super::{embedded::EmbeddedServer, endpoint::Endpoint};
use crate::{
    config::Config,
    dial::{Dialer, Server},
    error::{Error, ErrorKind},
    routing::{NodeInfo, RegionIndex, RegionInfo, Role, Topology},
    store::embedded::Embedded,
};

/// The nodes as configured, and how to reach each.
pub(crate) struct Map {
    pub(crate) topology: Topology,
    /// For each node: where it is, and how many connections it gets, shared and exclusive.
    pub(crate) endpoints: Vec<(Endpoint, (usize, usize))>,
    pub(super) is_embedded: bool,
}

impl Map {
    /// The map that a configuration describes, seen from a region.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the regions are no topology.
    pub(crate) fn of(config: &Config, local: &str, dialers: &BTreeMap<String, Dialer>) -> Result<Self, Error> {
        let refuse = |what: String| Error::new(ErrorKind::Config, what);
        let places: BTreeMap<&str, RegionIndex> =
            config.regions.keys().map(String::as_str).zip((0..=u8::MAX).map(RegionIndex)).collect();
        let place = |name: &str| places.get(name).copied().unwrap_or(RegionIndex(u8::MAX));
        let (mut nodes, mut endpoints) = (Vec::new(), Vec::new());
        for (name, region) in &config.regions {
            let Some(dialer) = dialers.get(name) else { return Err(refuse(format!("regions.{name}: no dialer"))) };
            let primary = Server::primary_of(region, dialer);
            let watched = primary.as_ref().map(Server::replicas).unwrap_or_default();
            let cluster = || Endpoint::Cluster { nodes: region.cluster.clone().into(), dialer: dialer.clone() };
            nodes.push(NodeInfo::primary(format!("{name}/primary"), place(name)));
            let counts = (region.connections, region.exclusive_connections);
            endpoints.push((primary.map_or_else(cluster, Endpoint::Server), counts));
            let named = region.replicas.iter().flat_map(|(at, urls)| urls.iter().map(move |url| (at, url)));
            let replicas = named.map(|(at, url)| (at, Server::at(url, dialer.clone())));
            // Numbered within the place where they stand: the names are in the topology record, and a replica that is
            // added elsewhere must not rename them.
            let mut numbers = BTreeMap::new();
            for (at, server) in replicas.chain(watched.into_iter().map(|server| (name, server))) {
                let number = numbers.entry(at).and_modify(|number| *number += 1).or_insert(1);
                let node = format!("{name}/replica-{number}@{at}");
                nodes.push(NodeInfo::replica(node, place(name), place(at)));
                endpoints.push((Endpoint::Server(server), counts));
            }
        }
        let topology = Topology::new(config.region_infos()?, nodes, place(local), 0);
        let topology = topology.map_err(|error| refuse(format!("regions: {error}")))?;
        Ok(Self { topology, endpoints, is_embedded: false })
    }

    /// The same over embedded regions. The configuration lends regions of the same name their weight and location.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the regions are no topology.
    pub(crate) fn of_embedded(config: &Config, embedded: &Embedded, local: &RegionId) -> Result<Self, Error> {
        let places: BTreeMap<&RegionId, RegionIndex> = embedded.regions().zip((0..=u8::MAX).map(RegionIndex)).collect();
        let place = |id: &RegionId| places.get(id).copied().unwrap_or(RegionIndex(u8::MAX));
        let (mut nodes, mut endpoints) = (Vec::new(), Vec::new());
        for node in embedded.nodes(local) {
            let (name, of) = (node.name().clone(), place(node.region()));
            nodes.push(match node.is_replica() {
                true => NodeInfo::replica(name, of, place(node.stands_in())),
                false => NodeInfo::primary(name, of),
            });
            endpoints.push((Endpoint::Embedded(EmbeddedServer::new(node)), (1, 1)));
        }
        let topology = Topology::new(embedded_infos(config, embedded), nodes, place(local), 0);
        let topology = topology.map_err(|error| Error::new(ErrorKind::Config, format!("regions: {error}")))?;
        Ok(Self { topology, endpoints, is_embedded: true })
    }
}

/// Embedded regions as policies see them, in their order.
pub(crate) fn embedded_infos(config: &Config, embedded: &Embedded) -> Vec<RegionInfo> {
    let info = |id: &RegionId| match config.regions.get(id.as_str()) {
        Some(region) => region.info(id.clone()),
        None => RegionInfo::new(id.clone()).with_weight(embedded.weight(id)),
    };
    embedded.regions().map(info).collect()
}

/// The same topology with other writers: who wrote before is a replica now. Nodes that are not known are left out.
pub(super) fn with_writers(topology: &Topology, epoch: u64, writers: &BTreeMap<String, String>) -> Option<Topology> {
    let mut nodes = topology.nodes().to_vec();
    for (region, writer) in writers {
        let known = topology.region_named(region).zip(topology.node_named(writer));
        let Some((region, writer)) =
            known.filter(|(region, writer)| topology.node(*writer).is_some_and(|node| node.region == *region))
        else {
            continue;
        };
        for (index, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.region == region) {
            node.role = if index == writer.as_usize() { Role::Primary } else { Role::Replica };
        }
    }
    Topology::new(topology.regions().to_vec(), nodes, topology.local(), epoch).ok()
}
