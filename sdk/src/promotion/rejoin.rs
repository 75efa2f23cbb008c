//! The return of an old writer: what it took meanwhile is kept before it follows.

use std::{collections::BTreeMap, io::Write, time::Duration};

use redis::Pipeline;
use serde::Serialize;

use super::servers::{Servers, refuse};
use crate::{
    config::Config,
    dial::Address,
    error::{Error, ErrorKind},
    routed::{Answer, Link, Work},
    routing::{NodeIndex, Role},
};

/// Keys in one round trip.
const BATCH: usize = 200;

/// How long one round trip may take: DUMP of large keys.
const ANSWER: Duration = Duration::from_secs(60);

/// Heartbeats differ by nature.
const OWN_KEYS: &[u8] = b"archipelago:";

/// Which old writer follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejoinOptions {
    /// The node, as in `us/primary`.
    pub node: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejoined {
    /// The node that follows now.
    pub node: String,
    /// The node it follows.
    pub writer: String,
    /// Whether it had taken writes that the writer lacks.
    pub had_diverged: bool,
    /// Keys that were compared.
    pub compared: u64,
    /// Keys that were kept, because the writer has another value or none.
    pub kept: u64,
}

/// A key of the old writer that differs from the new one's: one line of JSON each.
///
/// `dump` is what `DUMP` answers, in hexadecimal; `RESTORE key ttl dump` brings it back, under another name for a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The key, bytes that are no UTF-8 replaced.
    pub key: String,
    /// The key's bytes in hexadecimal.
    pub key_hex: String,
    /// Its type.
    pub kind: String,
    /// Milliseconds it still lives; -1 without expiry.
    pub ttl_ms: i64,
    /// Whether the writer has a value, too.
    pub at_writer: bool,
    /// Its serialised value.
    pub dump: String,
}

/// Keeps what an old writer took after it was cut off, then lets it follow the present one.
///
/// Compares every key by its `DUMP` and writes those that the present writer has otherwise, or not at all, to `keep`.
/// Equal values that are encoded differently are kept, too: more than is needed, never less. Deletions are not seen. If
/// the server's history says that it took nothing, nothing is compared.
///
/// # Errors
/// [`ErrorKind::Config`] for an unknown node; [`ErrorKind::Refused`] when the node is the writer, or none was ever
/// promoted; [`ErrorKind::Unavailable`] when a server cannot be reached, with nothing changed.
///
/// # Cancel safety
/// Dropped before its end the node does not follow; run it again.
pub async fn rejoin(
    config: &Config,
    options: &RejoinOptions,
    keep: &mut (impl Write + Send),
    mut watch: impl FnMut(u64),
) -> Result<Rejoined, Error> {
    let mut servers = Servers::connect(config).await?;
    let topology = &servers.map.topology;
    let node = topology.node_named(&options.node).ok_or_else(|| {
        let known: Vec<_> = topology.nodes().iter().map(|node| &*node.name).collect();
        Error::new(ErrorKind::Config, format!("unknown node {:?}, known: {}", options.node, known.join(", ")))
    })?;
    let region = topology.node(node).map(|node| node.region).ok_or_else(|| refuse("no such node"))?;
    let writer = servers.writer_of(region).ok_or_else(|| refuse("the region has no writer"))?;
    if writer == node {
        return Err(refuse(format!("{} is the writer: nothing to rejoin", options.node)));
    }
    if servers.role(writer) != Some(Role::Primary) {
        return Err(refuse(format!("{} is no primary: promote first", servers.name(writer))));
    }
    let had_diverged = has_diverged(&mut servers, node, writer).await?;
    let mut found = (0, 0);
    if had_diverged {
        // Nobody should write there, and what would be written behind the comparison would be lost.
        let _: String = servers.ask(node, redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("WRITE")).await?;
        let compared = compare(servers.link(node)?, servers.link(writer)?, keep, &mut watch).await;
        if compared.is_err() {
            let _: Result<String, Error> = servers.ask(node, redis::cmd("CLIENT").arg("UNPAUSE")).await;
        }
        found = compared?;
    }
    let Address { host, port } = servers.address(writer).await?;
    let _: String = servers.ask(node, redis::cmd("REPLICAOF").arg(&host).arg(port)).await?;
    let _: Result<String, Error> = servers.ask(node, redis::cmd("CLIENT").arg("UNPAUSE")).await;
    let (compared, kept) = found;
    Ok(Rejoined { node: options.node.clone(), writer: servers.name(writer), had_diverged, compared, kept })
}

/// Whether it has taken what the writer lacks, by the servers' own account of their histories.
async fn has_diverged(servers: &mut Servers, node: NodeIndex, writer: NodeIndex) -> Result<bool, Error> {
    if servers.role(node) != Some(Role::Primary) {
        return Ok(false);
    }
    let (old, new) = (servers.replication(node).await?, servers.replication(writer).await?);
    let shares_history = !old.get("master_replid").is_empty() && old.get("master_replid") == new.get("master_replid2");
    let end = new.get("second_repl_offset").parse::<u64>().unwrap_or(0);
    Ok(!(shares_history && old.number("master_repl_offset") < end))
}

async fn compare(
    mut node: Link,
    mut writer: Link,
    keep: &mut (impl Write + Send),
    watch: &mut impl FnMut(u64),
) -> Result<(u64, u64), Error> {
    let (mut cursor, mut compared, mut kept) = (0_u64, 0, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(BATCH);
        let answer = bounded(node.send_one(&scan)).await?;
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer).map_err(misshapen)?;
        let keys: Vec<_> = keys.into_iter().filter(|key| !key.starts_with(OWN_KEYS)).collect();
        let (mine, theirs) = (dumps(&mut node, &keys).await?, dumps(&mut writer, &keys).await?);
        for (key, dump) in &mine {
            if theirs.get(key) == Some(dump) {
                continue;
            }
            let line = describe(&mut node, key, dump, theirs.contains_key(key)).await?;
            let written = serde_json::to_writer(&mut *keep, &line).map_err(std::io::Error::from);
            written.and_then(|()| keep.write_all(b"\n")).map_err(|error| refuse(format!("cannot keep: {error}")))?;
            kept += 1;
        }
        compared += mine.len() as u64;
        watch(compared);
        cursor = next;
        if cursor == 0 {
            keep.flush().map_err(|error| refuse(format!("cannot keep: {error}")))?;
            return Ok((compared, kept));
        }
    }
}

/// The serialised values of those keys that exist.
async fn dumps(link: &mut Link, keys: &[Vec<u8>]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut pipeline = Pipeline::new();
    for key in keys {
        pipeline.cmd("DUMP").arg(key);
    }
    let answers = bounded(link.send(Work::Many { pipeline: &pipeline, offset: 0, count: keys.len() })).await?;
    let Answer::Many(values) = answers else { return Err(misshapen("a pipeline")) };
    let mut found = BTreeMap::new();
    for (key, value) in keys.iter().zip(values) {
        let dump: Option<Vec<u8>> = redis::from_redis_value(value).map_err(misshapen)?;
        found.extend(dump.map(|dump| (key.clone(), dump)));
    }
    Ok(found)
}

async fn describe(link: &mut Link, key: &[u8], dump: &[u8], at_writer: bool) -> Result<Kept, Error> {
    let kind = bounded(link.send_one(redis::cmd("TYPE").arg(key))).await?;
    let ttl = bounded(link.send_one(redis::cmd("PTTL").arg(key))).await?;
    Ok(Kept {
        key: String::from_utf8_lossy(key).into_owned(),
        key_hex: hex(key),
        kind: redis::from_redis_value(kind).map_err(misshapen)?,
        ttl_ms: redis::from_redis_value(ttl).map_err(misshapen)?,
        at_writer,
        dump: hex(dump),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn bounded<T>(asking: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Error> {
    let unavailable = |what: String| Error::new(ErrorKind::Unavailable, what);
    let answer = tokio::time::timeout(ANSWER, asking).await;
    answer
        .map_err(|_| unavailable(format!("no answer within {ANSWER:?}")))?
        .map_err(|error| unavailable(error.to_string()))
}

fn misshapen(what: impl ToString) -> Error {
    Error::new(ErrorKind::Protocol, format!("an answer has another shape: {}", what.to_string()))
}
