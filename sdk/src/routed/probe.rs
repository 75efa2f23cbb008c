//! The prober: asks each node, on its own schedule, whether it still does what it is for.
//!
//! A primary is asked to take a write and to read it back: one that turned read-only, or ran out of memory, answers PING
//! as ever. A replica is asked for what was written at the primary, which bounds how far behind it is: whatever was
//! written there before the heartbeat it shows, it has. Both ends of that interval are this client's own clock, so that
//! no two machines' clocks are compared.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, RedisError, ServerError, Value};

use super::{
    limit::Excuse,
    link::{Answer, Link, Work},
    node::Node,
    plane::Core,
    role::role_of,
};
use crate::{
    promotion,
    resilience::{Blame, Diagnosis, Moment},
    routing::{NodeIndex, Role},
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
pub(crate) async fn keep_probing(core: Arc<Core>, index: NodeIndex, node: Arc<Node>, schedule: Schedule) {
    let clock = core.clock;
    let prober = Prober { core: &core, index, node: &node, schedule: &schedule };
    let (mut failures, mut successes, mut excuse) = (0, 0, Excuse::default());
    loop {
        // After a failure the next probe goes out at once: each has waited long enough.
        if failures == 0 || !node.is_connected() {
            node.until_up(schedule.interval).await;
        }
        let Some(link) = node.link() else { continue };
        let sent = clock.now();
        // A node at the other end of the world is slow, not dead.
        let patience = schedule.timeout.max(node.latency.mean() * 3);
        let probed = tokio::time::timeout(patience, prober.probe(&mut Link::clone(&link), sent)).await;
        let diagnosis = match probed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Diagnosis::of_call(&error)),
            Err(_) if excuse.covers(clock.now().since(sent).saturating_sub(patience)) => continue,
            Err(_) => Some(Diagnosis::TIMED_OUT),
        };
        let now = clock.now();
        match diagnosis {
            Some(diagnosis) if diagnosis.blame == Blame::Node || diagnosis.replaces_connection => {
                (failures, successes) = (failures + 1, 0);
                if diagnosis.replaces_connection {
                    node.replace(&link, diagnosis.suspects_topology);
                } else if failures >= FAILURES {
                    node.note(node.breaker.open(now));
                } else {
                    node.doubt();
                }
            }
            Some(_) | None => {
                (failures, successes) = (0, successes + 1);
                excuse.renew();
                node.record_answer(now, now.since(sent));
                if successes >= SUCCESSES {
                    node.note(node.breaker.close(now));
                }
            }
        }
    }
}

/// What a probe works with.
struct Prober<'p> {
    core: &'p Core,
    index: NodeIndex,
    node: &'p Node,
    schedule: &'p Schedule,
}

impl Prober<'_> {
    async fn probe(&self, link: &mut Link, now: Moment) -> Result<(), RedisError> {
        if let Link::Embedded(link) = link {
            // It knows how far it is behind. No heartbeat would ever arrive by a clock that stands still.
            self.node.set_behind(now, link.behind().await?);
            self.node.set_takes_writes(true, now);
            return Ok(());
        }
        match self.node.role() {
            Role::Primary => self.probe_primary(link, now).await,
            Role::Replica => self.probe_replica(link, now).await,
        }
    }

    async fn probe_primary(&self, link: &mut Link, now: Moment) -> Result<(), RedisError> {
        let node = self.node;
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&*self.schedule.key).arg(now.as_micros()).arg("PX").arg(LIFETIME_MS);
        pipeline.cmd("GET").arg(&*self.schedule.key);
        pipeline.cmd("GET").arg(promotion::KEY);
        let [set, get, copy] = answers(link, &pipeline).await?;
        self.hear(link, now, copy).await?;
        match set {
            Ok(_) => {
                let is_back = moment(&get?) == Some(now);
                node.set_takes_writes(is_back, now);
                Ok(())
            }
            // Not allowed to write heartbeats: whether it takes writes is seen by its role, and by the writes themselves.
            Err(error) if error.code() == Some("NOPERM") => {
                let is_primary = role_of(link).await? == Some(Role::Primary);
                node.set_takes_writes(is_primary, now);
                if !is_primary {
                    node.disconnect("it is a replica, a primary was expected");
                }
                Ok(())
            }
            Err(error) => {
                node.set_takes_writes(false, now);
                // Full, say: it may still serve reads. Anything else is a failure.
                match Diagnosis::of_call(&error).blame {
                    Blame::Nobody | Blame::Writes if error.code() != Some("READONLY") => Ok(()),
                    Blame::Nobody | Blame::Writes | Blame::Node => Err(error),
                }
            }
        }
    }

    /// Takes in a copy of the topology record, and brings one that is behind up to date.
    async fn hear(&self, link: &mut Link, asked: Moment, copy: Said) -> Result<(), RedisError> {
        // Not allowed to read it is as good as not there.
        let copy = copy.ok().and_then(|copy| redis::from_redis_value::<Option<Vec<u8>>>(copy).ok());
        let Some(copy) = copy else { return Ok(()) };
        if let Some(newer) = self.core.heard(self.index, asked, copy.as_deref()) {
            link.send_one(&promotion::replacement(&newer)).await?;
        }
        Ok(())
    }

    async fn probe_replica(&self, link: &mut Link, now: Moment) -> Result<(), RedisError> {
        let node = self.node;
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(&*self.schedule.key);
        pipeline.cmd("INFO").arg("replication");
        pipeline.cmd("GET").arg(promotion::KEY);
        let [heartbeat, info, copy] = answers(link, &pipeline).await?;
        self.hear(link, now, copy).await?;
        // Where an access list hides one of them, the other alone tells.
        let heartbeat = allowed(heartbeat)?.unwrap_or(Value::Nil);
        let info = allowed(info)?.map(redis::from_redis_value::<String>).transpose().map_err(RedisError::from)?;
        let info = info.unwrap_or_default();
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        if field("role") == Some("master") {
            // The keeper says so and waits until it is a replica again, or is to be a primary.
            node.see_role(Role::Primary, now);
            node.disconnect("it says that it is a primary, a replica was expected");
            self.core.suspect();
            return Ok(());
        }
        node.set_syncing(field("master_sync_in_progress") == Some("1"));
        if let Some(moment) = moment(&heartbeat) {
            node.set_fresh_as_of(moment);
        }
        Ok(())
    }
}

/// What a server answered to one command of a probe.
type Said = Result<Value, RedisError>;

async fn answers<const N: usize>(link: &mut Link, pipeline: &Pipeline) -> Result<[Said; N], RedisError> {
    let mut said = Vec::with_capacity(N);
    if link.is_cluster() {
        // Keys of several slots: a cluster takes no pipeline of them.
        for cmd in pipeline.cmd_iter() {
            let answer = link.send_one(cmd).await;
            match &answer {
                Err(error) if ServerError::try_from(error.clone()).is_err() => return Err(error.clone()),
                Ok(_) | Err(_) => said.push(answer),
            }
        }
    } else {
        let work = Work::Many { pipeline, offset: 0, count: N };
        let Answer::Many(values) = link.send(work).await? else { return Err(misshapen()) };
        said.extend(values.into_iter().map(Value::extract_error));
    }
    said.try_into().map_err(|_| misshapen())
}

/// An answer; `None` where an access list forbids the question.
fn allowed(answer: Said) -> Result<Option<Value>, RedisError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("NOPERM") => Ok(None),
        Err(error) => Err(error),
    }
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
