//! Every node, connected for an operator's command.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, Value};

use super::{
    copies::{replacement, was_replaced},
    record::{KEY, Record},
};
use crate::{
    config::Config,
    dial::{Address, dialers},
    error::{Error, ErrorKind},
    routed::{Link, Map, Seen},
    routing::{NodeIndex, RegionIndex, Role},
};

/// How long one command may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Every node of the plane, connected where it can be.
pub(super) struct Servers {
    pub(super) map: Map,
    pub(super) lease: Option<Duration>,
    /// The newest record of any reachable node.
    pub(super) record: Record,
    nodes: Vec<Result<Connected, String>>,
}

struct Connected {
    link: Link,
    role: Option<Role>,
}

/// Fields of `INFO replication`.
pub(super) struct Replication(BTreeMap<String, String>);

impl Replication {
    pub(super) fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    pub(super) fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap_or(0)
    }
}

impl Servers {
    /// Connects to every node and reads every copy.
    pub(super) async fn connect(config: &Config) -> Result<Self, Error> {
        let local = config.regions.keys().next().map(String::as_str).unwrap_or_default();
        let map = Map::of(config, local, &dialers(config, None).await?)?;
        let connecting = map.endpoints.iter().map(|(endpoint, _)| async move {
            match endpoint.look().await {
                Ok(Seen { link, role }) => Ok(Connected { link, role }),
                Err(error) => Err(error.to_string()),
            }
        });
        let nodes = join_all(connecting).await;
        let lease = config.routed.is_fenced(config.regions.len()).then_some(config.routed.lease);
        let mut servers = Self { map, lease, record: Record::default(), nodes };
        for index in servers.all() {
            if let Ok(Some(bytes)) = servers.ask::<Option<Vec<u8>>>(index, redis::cmd("GET").arg(KEY)).await {
                let record = Record::decode(&bytes)
                    .map_err(|error| refuse(format!("the topology record of {}: {error}", servers.name(index))))?;
                if record.epoch > servers.record.epoch {
                    servers.record = record;
                }
            }
        }
        Ok(servers)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..=u8::MAX).take(self.nodes.len()).map(NodeIndex)
    }

    pub(super) fn name(&self, index: NodeIndex) -> String {
        self.map.topology.name_of(index).to_owned()
    }

    /// The role it says it has; `None` when it cannot be reached or asked.
    pub(super) fn role(&self, index: NodeIndex) -> Option<Role> {
        self.nodes.get(index.as_usize())?.as_ref().ok()?.role
    }

    /// Why it cannot be reached, if so.
    pub(super) fn trouble(&self, index: NodeIndex) -> Option<String> {
        self.nodes.get(index.as_usize())?.as_ref().err().cloned()
    }

    /// Who writes for a region: by the record, else as configured.
    ///
    /// A record that names a server which is still a replica is left from an attempt that was given up; then whoever is
    /// a primary is the writer.
    pub(super) fn writer_of(&self, region: RegionIndex) -> Option<NodeIndex> {
        let topology = &self.map.topology;
        let name = topology.region(region)?.id.as_str();
        let moved = self.record.writers.get(name).and_then(|node| topology.node_named(node));
        let writer = moved.or_else(|| topology.primary_of(region))?;
        if self.role(writer) != Some(Role::Replica) {
            return Some(writer);
        }
        let is_primary = |index: &NodeIndex| {
            let is_of_region = topology.node(*index).is_some_and(|node| node.region == region);
            is_of_region && self.role(*index) == Some(Role::Primary)
        };
        self.all().find(is_primary).or_else(|| topology.primary_of(region))
    }

    /// Sends one command to a node.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, index: NodeIndex, cmd: &Cmd) -> Result<T, Error> {
        let name = self.name(index);
        let failed = |what: String| Error::new(ErrorKind::Unavailable, format!("{name}: {what}"));
        let node = self.nodes.get_mut(index.as_usize()).ok_or_else(|| failed("no such node".into()))?;
        let connected = node.as_mut().map_err(|error| failed(error.clone()))?;
        let answer = tokio::time::timeout(ANSWER, connected.link.send_one(cmd)).await;
        let value = answer
            .map_err(|_| failed(format!("no answer within {ANSWER:?}")))?
            .map_err(|error| failed(error.to_string()))?;
        redis::from_redis_value(value).map_err(|error| failed(error.to_string()))
    }

    pub(super) async fn replication(&mut self, index: NodeIndex) -> Result<Replication, Error> {
        let text: String = self.ask(index, redis::cmd("INFO").arg("replication")).await?;
        let fields = text.lines().filter_map(|line| line.trim().split_once(':'));
        Ok(Replication(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// The link to a node, for work that is more than a command.
    pub(super) fn link(&self, index: NodeIndex) -> Result<Link, Error> {
        let name = self.name(index);
        let failed = |what: String| Error::new(ErrorKind::Unavailable, format!("{name}: {what}"));
        match self.nodes.get(index.as_usize()) {
            Some(Ok(connected)) => Ok(connected.link.clone()),
            Some(Err(error)) => Err(failed(error.clone())),
            None => Err(failed("no such node".into())),
        }
    }

    /// Host and port of a node, as other servers are told to reach it.
    pub(super) async fn address(&self, index: NodeIndex) -> Result<Address, Error> {
        let unfit = || refuse(format!("{}: only a server with a host and a port can be followed", self.name(index)));
        let server = self.map.endpoints.get(index.as_usize()).and_then(|(endpoint, _)| endpoint.server());
        let server = server.filter(|server| server.sentinel().is_none()).ok_or_else(|| {
            refuse(format!("{}: Sentinels or a cluster choose the writer there, ask them", self.name(index)))
        })?;
        let info = server.info().await.map_err(|_| unfit())?;
        Address::of(&info).ok_or_else(unfit)
    }

    /// Writes the record to every region's copy but that of `moving`; how many took it.
    pub(super) async fn replace_others(&mut self, moving: RegionIndex, record: &Record) -> Result<usize, Error> {
        let regions = (0..=u8::MAX).map(RegionIndex).zip(self.map.topology.regions());
        let others: Vec<_> =
            regions.filter(|(region, _)| *region != moving).filter_map(|(region, _)| self.writer_of(region)).collect();
        let mut taken = 0;
        for index in others {
            match self.ask::<Value>(index, &replacement(record)).await {
                Ok(answer) if was_replaced(&answer) => taken += 1,
                Ok(_) => {
                    let text =
                        format!("{} has a newer topology record: another promotion is under way", self.name(index));
                    return Err(refuse(text));
                }
                Err(error) => tracing::warn!(%error, "a copy of the topology record was not reached"),
            }
        }
        Ok(taken)
    }

    /// Writes the record to one node.
    pub(super) async fn replace_at(&mut self, index: NodeIndex, record: &Record) -> Result<(), Error> {
        let answer: Value = self.ask(index, &replacement(record)).await?;
        if was_replaced(&answer) {
            return Ok(());
        }
        Err(refuse(format!("{} has a newer topology record: another promotion is under way", self.name(index))))
    }

    /// How many regions are a majority.
    pub(super) fn majority(&self) -> usize {
        self.map.topology.regions().len() / 2 + 1
    }
}

pub(super) fn refuse(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Refused, what)
}
