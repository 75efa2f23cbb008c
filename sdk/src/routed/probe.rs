//! The prober: asks each node, on its own schedule, whether it still does what it is for.
//!
//! A primary is asked to take a write and to read it back: one that turned read-only, or ran out of memory, answers PING
//! as ever. A replica is asked for what was written at the primary, which bounds how far behind it is: whatever was
//! written there before the heartbeat it shows, it has. Both ends of that interval are this client's own clock, so that
//! no two machines' clocks are compared.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, RedisError, Value};

use super::{
    clock::Clock,
    link::{Answer, Handle, Work},
    node::Node,
};
use crate::{
    resilience::{Blame, Diagnosis, Moment},
    routing::Role,
};

/// Failures in a row that take a node out. Fewer would do so by chance: with one slow answer in a hundred, two in a row
/// come every few minutes.
const FAILURES: u32 = 3;

/// Successes in a row that bring it back.
const SUCCESSES: u32 = 2;

/// How long a heartbeat outlives its client.
const LIFETIME_MS: u64 = 60_000;

/// How a node is probed.
#[derive(Clone)]
pub(crate) struct Schedule {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// This client's own heartbeat key.
    pub(crate) key: Arc<str>,
}

/// Probes for ever.
pub(crate) async fn keep_probing(node: Arc<Node>, schedule: Schedule, clock: Clock) {
    let (mut failures, mut successes) = (0, 0);
    loop {
        // After a failure the next probe goes out at once: each has waited long enough.
        if failures == 0 || !node.is_connected() {
            tokio::time::sleep(schedule.interval).await;
        }
        let Some(link) = node.link() else { continue };
        let sent = clock.now();
        // A node at the other end of the world is slow, not dead.
        let patience = schedule.timeout.max(node.latency.mean() * 3);
        let probed = tokio::time::timeout(patience, probe(&node, &mut link.handle(), &schedule, sent)).await;
        let diagnosis = match probed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Diagnosis::of_call(&error)),
            Err(_) => Some(Diagnosis::TIMED_OUT),
        };
        let now = clock.now();
        match diagnosis {
            Some(diagnosis) if diagnosis.blame == Blame::Node || diagnosis.replaces_connection => {
                (failures, successes) = (failures + 1, 0);
                if diagnosis.replaces_connection {
                    node.disconnect("its connection broke");
                } else if failures >= FAILURES {
                    node.note(node.breaker.open(now));
                }
            }
            Some(_) | None => {
                (failures, successes) = (0, successes + 1);
                node.record_answer(now, now.since(sent));
                if successes >= SUCCESSES {
                    node.note(node.breaker.close(now));
                }
            }
        }
    }
}

async fn probe(node: &Node, link: &mut Handle, schedule: &Schedule, now: Moment) -> Result<(), RedisError> {
    match node.role() {
        Role::Primary => probe_primary(node, link, schedule, now).await,
        Role::Replica => probe_replica(node, link, schedule).await,
    }
}

async fn probe_primary(node: &Node, link: &mut Handle, schedule: &Schedule, now: Moment) -> Result<(), RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&*schedule.key).arg(now.as_micros()).arg("PX").arg(LIFETIME_MS);
    pipeline.cmd("GET").arg(&*schedule.key);
    let [set, get] = answers(link, &pipeline).await?;
    match set.extract_error() {
        Ok(_) => {
            let is_back = moment(&get.extract_error()?) == Some(now);
            node.set_takes_writes(is_back);
            Ok(())
        }
        Err(error) => {
            node.set_takes_writes(false);
            // Full, or not allowed to write heartbeats: it may still serve reads. Anything else is a failure.
            match Diagnosis::of_call(&error).blame {
                Blame::Nobody if error.code() == Some("NOPERM") => {
                    node.set_takes_writes(true);
                    Ok(())
                }
                Blame::Nobody | Blame::Writes if error.code() != Some("READONLY") => Ok(()),
                Blame::Nobody | Blame::Writes | Blame::Node => Err(error),
            }
        }
    }
}

async fn probe_replica(node: &Node, link: &mut Handle, schedule: &Schedule) -> Result<(), RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("GET").arg(&*schedule.key);
    pipeline.cmd("INFO").arg("replication");
    let [heartbeat, info] = answers(link, &pipeline).await?;
    let heartbeat = heartbeat.extract_error()?;
    let info: String = match info.extract_error() {
        Ok(info) => redis::from_redis_value(info).map_err(RedisError::from)?,
        // Where an access list hides INFO, the heartbeat alone tells.
        Err(error) if error.code() == Some("NOPERM") => String::new(),
        Err(error) => return Err(error),
    };
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if field("role") == Some("master") {
        // The keeper says so and waits until it is a replica again.
        node.disconnect("it says that it is a primary, a replica was expected");
        return Ok(());
    }
    node.set_syncing(field("master_sync_in_progress") == Some("1"));
    if let Some(moment) = moment(&heartbeat) {
        node.set_fresh_as_of(moment);
    }
    Ok(())
}

async fn answers<const N: usize>(link: &mut Handle, pipeline: &Pipeline) -> Result<[Value; N], RedisError> {
    let work = Work::Many { pipeline, offset: 0, count: N };
    let Answer::Many(values) = link.send(work).await? else { return Err(misshapen()) };
    values.try_into().map_err(|_| misshapen())
}

fn misshapen() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "a probe's answer has another shape").into()
}

fn moment(value: &Value) -> Option<Moment> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok().map(Moment::from_micros),
        _ => None,
    }
}
