//! Durable writes: on a connection of their own, with one WAIT for all that was written on it before.
//!
//! WAIT holds up its connection until replicas have answered: on a shared one everybody's reads would stand behind it. And
//! it speaks only of writes of its own connection. So a task sends what has gathered while the last WAIT was under way, and
//! one WAIT behind it: any number of callers share its round trip.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use archipelago_engine::Outcome;
use redis::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    call::{CallError, checked, parse},
    region::RedisRegion,
    store::RedisStore,
    wire::Wire,
};
use crate::store::{ReplicatedWrites, Replication, StoreError, Write};

/// Callers that may wait for their turn; the next one is refused at once.
const QUEUE: usize = 4096;

/// Callers that share one WAIT.
const ROUND: usize = 256;

/// Writes of one caller.
struct Job {
    keyspace: String,
    writes: Vec<Write>,
    replicas: u16,
    until: Instant,
    reply: oneshot::Sender<ReplicatedWrites>,
}

/// The way to the task that sends durable writes.
pub(super) struct Durable {
    /// With one connection, which nobody else uses.
    pub(super) region: Arc<RedisRegion>,
    jobs: mpsc::Sender<Job>,
}

impl Durable {
    /// The way, and the task.
    pub(super) fn new(region: Arc<RedisRegion>) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (jobs, received) = mpsc::channel(QUEUE);
        let task = carry_out(Arc::downgrade(&region), received);
        (Self { region, jobs }, task)
    }

    pub(super) async fn write(
        &self,
        keyspace: &str,
        writes: &[Write],
        replicas: u16,
        wait: Duration,
    ) -> ReplicatedWrites {
        let (reply, answer) = oneshot::channel();
        let (keyspace, until) = (keyspace.to_owned(), Instant::now() + wait);
        let job = Job { keyspace, writes: writes.to_vec(), replicas, until, reply };
        if self.jobs.try_send(job).is_err() {
            let what = "too many durable writes are waiting, or the client was shut down";
            return failed(writes.len(), &StoreError::Unavailable(what.to_owned()));
        }
        let gone = || StoreError::NoAnswer("the client was shut down meanwhile".to_owned());
        answer.await.unwrap_or_else(|_| failed(writes.len(), &gone()))
    }
}

fn failed(count: usize, error: &StoreError) -> ReplicatedWrites {
    ReplicatedWrites { outcomes: vec![Err(error.clone()); count], replication: Err(error.clone()) }
}

/// Ends with the region, or with the last who could ask.
async fn carry_out(region: Weak<RedisRegion>, mut jobs: mpsc::Receiver<Job>) {
    let mut round = Vec::with_capacity(ROUND);
    while jobs.recv_many(&mut round, ROUND).await > 0 {
        let Some(region) = region.upgrade() else { return };
        Round::new(std::mem::take(&mut round)).run(&region).await;
    }
}

/// Callers whose writes go out together.
struct Round {
    jobs: Vec<Job>,
    outcomes: Vec<Vec<Result<Outcome, StoreError>>>,
}

impl Round {
    /// Without those whose time is over: nothing was sent for them.
    fn new(jobs: Vec<Job>) -> Self {
        let now = Instant::now();
        let (jobs, late): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.until > now);
        for job in late {
            let what = StoreError::Unavailable("its turn did not come in time: nothing was sent".to_owned());
            let _ = job.reply.send(failed(job.writes.len(), &what));
        }
        Self { jobs, outcomes: Vec::new() }
    }

    async fn run(mut self, region: &Arc<RedisRegion>) {
        let wire = match region.wire().await {
            Ok(wire) => wire,
            Err(error) => return self.answer(|_| Err(error.clone())),
        };
        self.write(region).await;
        // Written on another connection than the one that would wait, they would count as replicated at once.
        let is_same = region.wire_now().is_some_and(|now| now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &wire)));
        if !is_same {
            let lost = StoreError::NoAnswer("the connection was lost before replicas were asked".to_owned());
            return self.answer(|_| Err(lost.clone()));
        }
        let mut confirmed: BTreeMap<u16, Result<Replication, StoreError>> = BTreeMap::new();
        // The fewest first: who asked for more must not hold up the others.
        let mut asked: Vec<u16> = self.jobs.iter().map(|job| job.replicas).collect();
        asked.sort_unstable();
        asked.dedup();
        for replicas in asked {
            let until = self.jobs.iter().filter(|job| job.replicas == replicas).map(|job| job.until).max();
            let patience = region.config.response_timeout;
            let done = wait(&wire, replicas, until.unwrap_or_else(Instant::now), patience).await;
            confirmed.insert(replicas, done);
        }
        let nobody = || Err(StoreError::Protocol("no WAIT for this number".to_owned()));
        self.answer(|job| confirmed.get(&job.replicas).cloned().unwrap_or_else(nobody));
    }

    /// The writes of each keyspace in one pipeline.
    async fn write(&mut self, region: &Arc<RedisRegion>) {
        let mut writes: BTreeMap<&str, Vec<Write>> = BTreeMap::new();
        for job in &self.jobs {
            writes.entry(&job.keyspace).or_default().extend(job.writes.iter().cloned());
        }
        let mut outcomes = BTreeMap::new();
        for (keyspace, writes) in writes {
            let store = RedisStore::new(region.clone(), keyspace);
            let done = store.write_pipelined(&writes).await;
            outcomes.insert(keyspace.to_owned(), done.into_iter());
        }
        let of_job = |job: &Job| {
            let outcomes = outcomes.get_mut(&job.keyspace);
            outcomes.map(|outcomes| outcomes.take(job.writes.len()).collect()).unwrap_or_default()
        };
        self.outcomes = self.jobs.iter().map(of_job).collect();
    }

    fn answer(self, replication: impl Fn(&Job) -> Result<Replication, StoreError>) {
        let mut outcomes = self.outcomes.into_iter();
        for job in self.jobs {
            let replication = replication(&job);
            let unsent = || match &replication {
                Err(error) => vec![Err(error.clone()); job.writes.len()],
                Ok(_) => Vec::new(),
            };
            let outcomes = outcomes.next().unwrap_or_else(unsent);
            let _ = job.reply.send(ReplicatedWrites { outcomes, replication });
        }
    }
}

/// Waits until so many replicas have all that was written on this connection; names those that have not.
async fn wait(wire: &Wire, replicas: u16, until: Instant, patience: Duration) -> Result<Replication, StoreError> {
    let mut written = None;
    loop {
        // In pieces that end before the connection's own response timeout, which would take a long WAIT for a dead server.
        let left = until.saturating_duration_since(Instant::now());
        let (info, confirmed) = wait_once(wire, replicas, left.min(patience / 2)).await?;
        let written = written.get_or_insert(info);
        if confirmed >= u64::from(replicas) {
            return Ok(Replication { confirmed, behind: Vec::new() });
        }
        if Instant::now() >= until {
            return Ok(Replication { confirmed, behind: behind(wire, written).await });
        }
    }
}

/// What the primary says of its replication, and then how many replicas have all of it.
async fn wait_once(wire: &Wire, replicas: u16, limit: Duration) -> Result<(String, u64), StoreError> {
    // Zero would be for ever.
    let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO").arg("replication").cmd("WAIT").arg(replicas).arg(millis);
    let answers = wire.pipeline(&pipeline).await.map_err(CallError::into_store)?;
    let [info, count] = <[Value; 2]>::try_from(answers)
        .map_err(|_| StoreError::Protocol("a pipeline of two answered something else".to_owned()))?;
    // Without the right to ask, nobody is named.
    let info = checked(info).ok().and_then(|info| parse::text(info).ok().flatten()).unwrap_or_default();
    Ok((info, parse::unsigned(&checked(count).map_err(CallError::into_store)?)?))
}

/// The replicas that have not yet what was written when the primary said `written` of itself.
async fn behind(wire: &Wire, written: &str) -> Vec<String> {
    let mut cmd = redis::cmd("INFO");
    cmd.arg("replication");
    let Ok(now) = wire.call(&cmd).await else { return Vec::new() };
    let now = parse::text(now).ok().flatten().unwrap_or_default();
    let needed = written.lines().find_map(|line| line.strip_prefix("master_repl_offset:")?.trim().parse().ok());
    replicas_behind(&now, needed.unwrap_or(u64::MAX))
}

/// `slave0:ip=10.0.0.2,port=6379,state=online,offset=1234,lag=0`.
fn replicas_behind(info: &str, needed: u64) -> Vec<String> {
    let replica = |line: &str| {
        let (name, fields) = line.trim().split_once(':')?;
        name.strip_prefix("slave")?.parse::<u32>().ok()?;
        let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let has = field("offset")?.parse::<u64>().ok()?;
        (has < needed).then(|| format!("{}:{}", field("ip").unwrap_or_default(), field("port").unwrap_or_default()))
    };
    info.lines().filter_map(replica).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_are_behind_are_named() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=10.0.0.2,port=6379,state=online,offset=90,lag=0\r\n\
                    slave1:ip=10.0.0.3,port=6380,state=online,offset=100,lag=1\r\n\
                    slave_of_nobody:offset=1\r\nmaster_repl_offset:100\r\n";
        assert_eq!(replicas_behind(info, 100), ["10.0.0.2:6379"]);
        assert!(replicas_behind("", 100).is_empty());
    }
}
