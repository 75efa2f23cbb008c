//! The connection of one user: commands run at the home, through its gate.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use tokio::time::Instant;

use super::{
    Registry, Residency,
    commands::Commands,
    is_away,
    moving::Pauses,
    region::{NotDone, Region},
    user::User,
};
use crate::{
    commands::{of_cmd, of_pipeline},
    error::{Error, ErrorKind},
    homes::assignment::GateState,
    routed::own,
};

/// A connection for the commands of one user, from [`Homes::connection`](super::Homes::connection): each runs where the user
/// lives at that moment.
///
/// Implements [`redis::aio::ConnectionLike`], so that `redis::AsyncCommands`, `redis::cmd` and `redis::pipe` work on it. A
/// clone is another handle for the same user. Every key has to be the user's, by its hash tag: [`HomeConnection::key`].
///
/// A command takes one round trip to the primary of the home region, in one script that looks at the region's gate first.
/// Where the gate is shut, the owner region is asked, and the command goes where the user lives now; during the hand-off of
/// a migration, a few round trips, it waits. Reads go the same way as writes, so they see every write before them. A pipeline
/// is one step, with or without `.atomic()`: nobody else is served meanwhile, so keep it short. The script costs the server
/// 5 to 10 µs more than the command alone.
///
/// Reads that may be a little behind are cheaper at the home's replicas, past the gate: with
/// [`CallOptions::home`](crate::CallOptions::home) on a plain [`Connection`](crate::Connection) of the keyspace. They may
/// then also miss that the user has moved.
///
/// What a server does not run in a script is refused: commands that wait, scripts, and what changes a connection. Integers
/// in answers are exact to ±2^53.
///
/// # Errors
/// Every call ends by the deadline, `routed.deadline_ms` unless [`HomeConnection::with_deadline`] says otherwise. As
/// [`ErrorKind::Refused`] when the user has no home yet; [`ErrorKind::Config`] when they live outside the residency; [`ErrorKind::Unavailable`] when the home, or the owner region where
/// it has to be asked, cannot be reached, or a migration did not end in time: nothing was done;
/// [`ErrorKind::MaybeApplied`] when no answer came to a write that may not be repeated. [`Error::of`] finds it inside the
/// crate's error.
///
/// # Cancel safety
/// Dropping a call's future gives up the answer, not the request.
#[derive(Clone)]
pub struct HomeConnection {
    registry: Arc<Registry>,
    user: User,
    residency: Residency,
    deadline: Duration,
}

impl HomeConnection {
    pub(super) fn new(registry: Arc<Registry>, user: User, residency: Residency) -> Self {
        let deadline = registry.deadline;
        Self { registry, user, residency, deadline }
    }

    /// The same connection, whose calls end within this time.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A key of the user's, by this name: `{user:7}:cart` for `cart`.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        self.user.key(name)
    }

    async fn run(&self, commands: &Commands<'_>) -> RedisResult<Vec<Value>> {
        let deadline = Instant::now() + self.deadline;
        let mut pauses = Pauses::new(deadline);
        loop {
            let record = match self.registry.known.get(&self.user) {
                Some(record) => record,
                None => self.registry.home(&self.user, deadline).await.map_err(not_run)?,
            };
            if let Err(outside) = self.residency.check(record.home()) {
                return Err(outside.within("the user has to be moved, by `migrate_home`").into());
            }
            let region = self.registry.region(record.home().as_str())?;
            match region.run(&self.user, commands, deadline).await {
                Ok(answers) => return Ok(answers),
                Err(NotDone::Gate(state)) => self.follow(region, state, &mut pauses).await.map_err(not_run)?,
                Err(NotDone::Failed(error)) => self.moved_away(region, error, deadline).await?,
                Err(NotDone::TooLarge) => return Err(Error::new(ErrorKind::Protocol, "nothing was to be moved").into()),
            }
        }
    }

    /// The gate is shut: waits until the user lives somewhere, and sees to it that they can live there.
    async fn follow(&self, asked: &Region, state: GateState, pauses: &mut Pauses) -> Result<(), Error> {
        let deadline = pauses.deadline;
        let record = self.registry.settled(&self.user, pauses).await?;
        if *record.home() == asked.id {
            // The first command at this home, or the first after a move that nobody finished.
            return match asked.open(&self.user, record.epoch(), deadline).await {
                Ok(()) => Ok(()),
                // It has moved on since the record was read.
                Err(NotDone::Gate(..) | NotDone::TooLarge) => pauses.pause("the user is moving").await,
                Err(NotDone::Failed(error)) => Err(own(error)),
            };
        }
        if state != GateState::Shut {
            // What a mover left behind; whoever comes by next tries again.
            let _ = asked.clear(&self.user, record.epoch(), deadline).await;
        }
        Ok(())
    }

    /// The home cannot be reached: that is the end, unless the user moved away from it.
    async fn moved_away(&self, from: &Region, error: RedisError, deadline: Instant) -> RedisResult<()> {
        let is_unavailable = Error::of(&error).is_some_and(Error::is_unavailable);
        if !is_unavailable {
            return Err(error);
        }
        match self.registry.record(&self.user, deadline).await {
            Ok(Some(record)) if *record.home() != from.id => Ok(()),
            Ok(_) => Err(error),
            Err(other) if is_away(&other) => Err(error),
            Err(other) => Err(other.into()),
        }
    }

    async fn one(&self, cmd: &Cmd) -> RedisResult<Value> {
        let commands = Commands::of(&self.user, [cmd], of_cmd(cmd).is_idempotent())?;
        match self.run(&commands).await?.pop() {
            Some(Value::ServerError(error)) => Err(error.into()),
            Some(answer) => Ok(answer),
            None => Err(Error::new(ErrorKind::Protocol, "no answer to the command").into()),
        }
    }

    async fn many(&self, pipeline: &Pipeline, offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let batch = of_pipeline(pipeline);
        let commands = Commands::of(&self.user, pipeline.cmd_iter(), batch.is_idempotent())?;
        let answers = self.run(&commands).await?;
        if pipeline.is_transaction() {
            return Ok(vec![Value::Array(answers)]);
        }
        Ok(answers.into_iter().skip(offset).take(count).collect())
    }
}

/// On the way to the home something got no answer: not the command.
fn not_run(error: Error) -> Error {
    if is_away(&error) { error.of_kind(ErrorKind::Unavailable) } else { error }
}

impl ConnectionLike for HomeConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.one(cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.many(pipeline, offset, count))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// Without the user: who it is has no place in a log.
impl fmt::Debug for HomeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeConnection").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
