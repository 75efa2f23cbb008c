//! The promotion itself, step by step.

use std::{fmt, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    record::Record,
    servers::{Servers, refuse},
};
use crate::{
    config::Config,
    dial::Address,
    error::{Error, ErrorKind},
    routing::{NodeIndex, RegionIndex, Role},
};

/// Between two looks at an offset or a role.
const PAUSE: Duration = Duration::from_millis(5);

/// How much longer than the wait for the replica the old writer's pause may last: for the steps behind it.
const MARGIN: Duration = Duration::from_secs(10);

/// What to promote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromoteOptions {
    /// The region where the new writer stands.
    pub to: String,
    /// The region whose data move; needed only when several have a replica there.
    pub region: Option<String>,
    /// Whether to go on without the old writer, losing what the replica has not got.
    pub force: bool,
    /// How long to wait for the replica; default 5 s. Writes are paused meanwhile.
    pub timeout: Duration,
}

impl PromoteOptions {
    /// A planned promotion to a region.
    #[must_use]
    pub fn to(region: impl Into<String>) -> Self {
        Self { to: region.into(), region: None, force: false, timeout: Duration::from_secs(5) }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promoted {
    /// The region whose data moved.
    pub region: String,
    /// The node that wrote before.
    pub from: String,
    /// The node that writes now.
    pub to: String,
    /// The topology's epoch since.
    pub epoch: u64,
    /// For how long writes were paused; `None` for an unplanned promotion.
    pub paused_ms: Option<u64>,
    /// What the new writer may lack; `None` for a planned promotion, which loses nothing.
    pub behind: Option<Behind>,
    /// The nodes that follow the new writer.
    pub following: Vec<String>,
    /// The nodes that do not, and why. The old writer of an unplanned promotion is among them: [`rejoin`](super::rejoin)
    /// it when it is back.
    pub not_following: Vec<(String, String)>,
}

/// How far behind the new writer was, as far as that can be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Bytes of the replication stream that the old writer had and the new one has not; `None` if it could not be asked.
    pub bytes: Option<u64>,
    /// Seconds since the new writer last heard from the old one.
    pub seconds: Option<u64>,
}

/// A step of a promotion, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Writes are paused at the old writer.
    Paused(String),
    /// The replica is that many bytes behind.
    CatchingUp(u64),
    /// The record is with so many regions besides the one that moves.
    Recorded(usize),
    /// Waiting for the leases of clients that may still write to the old writer.
    Waiting(Duration),
    /// The new writer takes writes.
    Promoted(String),
    /// A node follows the new writer.
    Follows(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(node) => write!(f, "writes are paused at {node}"),
            Self::CatchingUp(bytes) => write!(f, "the replica is {bytes} bytes behind"),
            Self::Recorded(regions) => write!(f, "the topology record is with {regions} other regions"),
            Self::Waiting(lease) => write!(f, "waiting {lease:?} until nobody writes to the old writer any more"),
            Self::Promoted(node) => write!(f, "{node} takes writes"),
            Self::Follows(node) => write!(f, "{node} follows"),
        }
    }
}

/// Lets a replica become the writer of its region's data. Run again, it completes an attempt that was interrupted.
///
/// Planned, it loses nothing and ends at the latest `timeout` and some round trips later, with nothing changed if the
/// replica does not catch up. Unplanned ([`PromoteOptions::force`]), it tells how far behind the replica was.
///
/// The servers have to reach each other at the hosts and ports of the configuration, with `masterauth` set where
/// passwords are needed.
///
/// # Errors
/// [`ErrorKind::Config`] for unknown regions; [`ErrorKind::Refused`] when the promotion would be unsafe or another one is
/// under way; [`ErrorKind::Unavailable`] when a server that is needed cannot be reached. The text says what was undone.
///
/// # Cancel safety
/// Dropped half-way, writes may be paused for up to `timeout` and 10 s, and clients with a fence may wait for the rest:
/// run it again.
pub async fn promote(
    config: &Config,
    options: &PromoteOptions,
    mut watch: impl FnMut(Step),
) -> Result<Promoted, Error> {
    let mut servers = Servers::connect(config).await?;
    let region = choose_region(&servers, options)?;
    let old = servers.writer_of(region).ok_or_else(|| refuse("the region has no writer"))?;
    let new = choose_replica(&mut servers, region, old, options).await?;
    let region_name = name_of(&servers, region);
    let next = if old == new { servers.record.clone() } else { servers.record.moved(&region_name, &servers.name(new)) };
    let (mut paused_ms, mut behind) = (None, None);
    if old != new {
        // Asked before anything changes: a server without a host and a port cannot be followed.
        servers.address(new).await?;
        if options.force {
            behind = Some(how_far_behind(&mut servers, old, new).await?);
            record_unplanned(&mut servers, region, &next, &mut watch).await?;
        } else {
            let began = Instant::now();
            hand_over(&mut servers, region, old, new, &next, options.timeout, &mut watch).await?;
            paused_ms = Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        }
    }
    take_over(&mut servers, new, &next, &mut watch).await?;
    let (following, not_following) = point_others(&mut servers, region, old, new, options.force, &mut watch).await?;
    Ok(Promoted {
        region: region_name,
        from: servers.name(old),
        to: servers.name(new),
        epoch: next.epoch,
        paused_ms,
        behind,
        following,
        not_following,
    })
}

fn name_of(servers: &Servers, region: RegionIndex) -> String {
    servers.map.topology.region(region).map(|region| region.id.to_string()).unwrap_or_default()
}

fn choose_region(servers: &Servers, options: &PromoteOptions) -> Result<RegionIndex, Error> {
    let topology = &servers.map.topology;
    let known = || topology.regions().iter().map(|region| region.id.as_str()).collect::<Vec<_>>().join(", ");
    let named = |name: &str| {
        let unknown = || Error::new(ErrorKind::Config, format!("unknown region {name:?}, known: {}", known()));
        topology.region_named(name).ok_or_else(unknown)
    };
    let to = named(&options.to)?;
    if let Some(region) = &options.region {
        return named(region);
    }
    // A region's data can move to where one of its nodes stands; its own place counts once they have moved away.
    let is_away = |region| region != to || servers.record.writers.contains_key(&options.to);
    let stands_there = topology.nodes().iter().filter(|node| node.stands_in == to && is_away(node.region));
    let mut regions: Vec<_> = stands_there.map(|node| node.region).collect();
    let has_more =
        topology.nodes().iter().any(|node| node.region == to && node.role == Role::Replica && node.stands_in == to);
    regions.extend(has_more.then_some(to));
    regions.sort_unstable();
    regions.dedup();
    match regions.as_slice() {
        [] => Err(refuse(format!("no other region has a replica in {}: nothing can be promoted there", options.to))),
        [region] => Ok(*region),
        several => {
            let names: Vec<_> = several.iter().map(|region| name_of(servers, *region)).collect();
            Err(refuse(format!("which region's data shall move? Say one of: {}", names.join(", "))))
        }
    }
}

/// The replica there that has most; the writer itself if it stands there already.
async fn choose_replica(
    servers: &mut Servers,
    region: RegionIndex,
    old: NodeIndex,
    options: &PromoteOptions,
) -> Result<NodeIndex, Error> {
    let topology = &servers.map.topology;
    let to = topology.region_named(&options.to);
    let stands_there =
        |index: NodeIndex| topology.node(index).is_some_and(|node| node.region == region && Some(node.stands_in) == to);
    let there: Vec<_> = servers.all().filter(|index| stands_there(*index)).collect();
    if there.contains(&old) {
        return Ok(old);
    }
    let mut best = None;
    let mut troubles = Vec::new();
    for index in there {
        match servers.replication(index).await {
            Ok(info) => best = best.max(Some((info.number("slave_repl_offset"), index))),
            Err(error) => troubles.push(error.message().to_owned()),
        }
    }
    best.map(|(_, index)| index).ok_or_else(|| {
        let why = if troubles.is_empty() { "none is configured".to_owned() } else { troubles.join("; ") };
        Error::new(ErrorKind::Unavailable, format!("no replica in {} can be promoted: {why}", options.to))
    })
}

async fn how_far_behind(servers: &mut Servers, old: NodeIndex, new: NodeIndex) -> Result<Behind, Error> {
    let replica = servers.replication(new).await?;
    let had = match servers.replication(old).await {
        Ok(primary) => Some(primary.number("master_repl_offset")),
        Err(_) => None,
    };
    let seconds = ["master_link_down_since_seconds", "master_last_io_seconds_ago"];
    Ok(Behind {
        bytes: had.map(|had| had.saturating_sub(replica.number("slave_repl_offset"))),
        seconds: seconds.iter().find_map(|field| replica.get(field).parse().ok()),
    })
}

/// The record first, then a lease's wait: whoever still writes to the old writer has stopped.
async fn record_unplanned(
    servers: &mut Servers,
    region: RegionIndex,
    next: &Record,
    watch: &mut impl FnMut(Step),
) -> Result<(), Error> {
    let taken = servers.replace_others(region, next).await?;
    watch(Step::Recorded(taken));
    let Some(lease) = servers.lease else { return Ok(()) };
    if taken < servers.majority() {
        let text = format!(
            "{taken} of {} regions took the topology record, {} are needed: clients that are cut off with the old \
             writer could go on writing to it",
            servers.map.topology.regions().len(),
            servers.majority()
        );
        return Err(refuse(text));
    }
    watch(Step::Waiting(lease));
    tokio::time::sleep(lease).await;
    Ok(())
}

/// Pauses the old writer until the replica has everything, and records the move. Undoes the pause on failure.
async fn hand_over(
    servers: &mut Servers,
    region: RegionIndex,
    old: NodeIndex,
    new: NodeIndex,
    next: &Record,
    timeout: Duration,
    watch: &mut impl FnMut(Step),
) -> Result<(), Error> {
    if let Some(trouble) = servers.trouble(old) {
        let name = servers.name(old);
        let text = format!("{name} cannot be reached ({trouble}); `--force` goes on without it and may lose writes");
        return Err(Error::new(ErrorKind::Unavailable, text));
    }
    if servers.role(old) != Some(Role::Primary) {
        return Err(refuse(format!("{} is no primary: is a promotion by hand under way?", servers.name(old))));
    }
    let info = servers.replication(new).await?;
    if info.get("master_link_status") != "up" {
        return Err(refuse(format!("{} is not in touch with its primary", servers.name(new))));
    }
    let millis = u64::try_from((timeout + MARGIN).as_millis()).unwrap_or(u64::MAX);
    let _: String = servers.ask(old, redis::cmd("CLIENT").arg("PAUSE").arg(millis).arg("WRITE")).await?;
    watch(Step::Paused(servers.name(old)));
    let handed = async {
        caught_up(servers, old, new, timeout, watch).await?;
        let taken = servers.replace_others(region, next).await?;
        watch(Step::Recorded(taken));
        // The new writer's own copy is the last of the majority: nothing can keep it from taking it.
        if servers.lease.is_some() && taken + 1 < servers.majority() {
            return Err(refuse(format!(
                "only {taken} other regions took the topology record, {} are needed",
                servers.majority() - 1
            )));
        }
        Ok(())
    };
    let handed = handed.await;
    if let Err(error) = handed {
        let undone: Result<String, Error> = servers.ask(old, redis::cmd("CLIENT").arg("UNPAUSE")).await;
        // A copy that took the record keeps fenced clients waiting for a primary that will not be: take it back.
        let back = Record { epoch: next.epoch + 1, ..servers.record.clone() };
        let _ = servers.replace_others(region, &back).await;
        let state = if undone.is_ok() { "nothing was changed" } else { "writes stay paused for some seconds" };
        return Err(error.within(format!("{state}, {} still writes", servers.name(old))));
    }
    Ok(())
}

async fn caught_up(
    servers: &mut Servers,
    old: NodeIndex,
    new: NodeIndex,
    timeout: Duration,
    watch: &mut impl FnMut(Step),
) -> Result<(), Error> {
    // Writes are paused, so this is the end; what the offset grows by later are the servers' own PINGs.
    let end = servers.replication(old).await?.number("master_repl_offset");
    let began = Instant::now();
    loop {
        let at = servers.replication(new).await?.number("slave_repl_offset");
        if at >= end {
            return Ok(());
        }
        watch(Step::CatchingUp(end - at));
        if began.elapsed() >= timeout {
            let text = format!("{} is still {} bytes behind after {timeout:?}", servers.name(new), end - at);
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn take_over(
    servers: &mut Servers,
    new: NodeIndex,
    next: &Record,
    watch: &mut impl FnMut(Step),
) -> Result<(), Error> {
    let _: String = servers.ask(new, redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await?;
    let info = servers.replication(new).await?;
    if info.get("role") != "master" {
        let text = format!("{} did not become a primary, it is a {}", servers.name(new), info.get("role"));
        return Err(Error::new(ErrorKind::Server, text));
    }
    if next.epoch > 0 {
        servers.replace_at(new, next).await?;
    }
    watch(Step::Promoted(servers.name(new)));
    Ok(())
}

type Followers = (Vec<String>, Vec<(String, String)>);

async fn point_others(
    servers: &mut Servers,
    region: RegionIndex,
    old: NodeIndex,
    new: NodeIndex,
    is_forced: bool,
    watch: &mut impl FnMut(Step),
) -> Result<Followers, Error> {
    let Address { host, port } = servers.address(new).await?;
    let is_of_region = |index: NodeIndex| servers.map.topology.node(index).is_some_and(|node| node.region == region);
    let others: Vec<_> = servers.all().filter(|index| *index != new && is_of_region(*index)).collect();
    let (mut following, mut not_following) = (Vec::new(), Vec::new());
    for index in others {
        let name = servers.name(index);
        // It may have taken writes that nobody else has; following throws them away.
        if is_forced && index == old || old == new && servers.role(index) == Some(Role::Primary) {
            not_following.push((name, "it may hold writes that the new writer lacks: rejoin it".to_owned()));
            continue;
        }
        let pointed: Result<String, Error> = servers.ask(index, redis::cmd("REPLICAOF").arg(&host).arg(port)).await;
        match pointed {
            Ok(_) => {
                watch(Step::Follows(name.clone()));
                following.push(name);
            }
            Err(error) => not_following.push((name, error.message().to_owned())),
        }
        if index == old {
            // Whoever waited is refused now, at once: the server is no primary any more.
            let _: Result<String, Error> = servers.ask(index, redis::cmd("CLIENT").arg("UNPAUSE")).await;
        }
    }
    Ok((following, not_following))
}
