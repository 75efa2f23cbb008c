//! One region, as far as homes go: its gates, the users' keys, and the records it owns.

use archipelago_engine::RegionId;
use bytes::Bytes;
use redis::{RedisError, Value, aio::ConnectionLike};
use tokio::time::Instant;

use super::{commands::Commands, scripts::SCRIPTS, user::User};
use crate::{
    error::{Error, ErrorKind},
    homes::assignment::{Assignment, Contents, Epoch, GateState, Round},
    redis::Script,
    routed::{CallOptions, Connection, own},
};

/// The most that a user may have when moving: the seal answers it in one step, which holds up the server's other callers.
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The most keys of one user.
pub(super) const MOST_KEYS: usize = 1000;

/// One region.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) id: RegionId,
    /// Under a policy that sends everything to the primary of the home that the call names.
    connection: Connection,
}

/// What a region answers instead of doing it.
#[derive(Debug)]
pub(super) enum NotDone {
    /// The gate is in no state for it, or has acted on a later epoch.
    Gate(GateState),
    /// The user has more than is moved at once.
    TooLarge,
    /// The server's error, or no answer.
    Failed(RedisError),
}

/// How a script that is repeated ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    /// As if it had run once.
    Alike,
    /// Otherwise.
    Differently,
}

impl Region {
    pub(super) fn new(id: RegionId, connection: &Connection) -> Self {
        Self { id, connection: connection.clone() }
    }

    /// The record of a user's home; `None` when there is none.
    pub(super) async fn record(&self, user: &User, deadline: Instant) -> Result<Option<Assignment>, Error> {
        let answer = self.call(&SCRIPTS.record, &[user.record().as_bytes()], &[], Repeated::Alike, deadline).await;
        // A script counts as a write; this one changes nothing.
        let read = |error: Error| if error.is_maybe_applied() { error.of_kind(ErrorKind::Timeout) } else { error };
        Ok(recorded(answer.map_err(|error| read(own(error)))?)?.1)
    }

    /// Changes the record from what it was to what it shall be; says whether that was done, and what it is now.
    ///
    /// # Errors
    /// [`ErrorKind::MaybeApplied`] when no answer came: who it was that changed it cannot be seen from the record.
    pub(super) async fn swap(
        &self,
        user: &User,
        was: Option<&Assignment>,
        new: &Assignment,
        deadline: Instant,
    ) -> Result<(bool, Option<Assignment>), Error> {
        let (was, new) = (was.map(Assignment::encode).unwrap_or_default(), new.encode());
        let args = [was.as_bytes(), new.as_bytes()];
        let answer =
            self.call(&SCRIPTS.record, &[user.record().as_bytes()], &args, Repeated::Differently, deadline).await;
        recorded(answer.map_err(own)?)
    }

    pub(super) async fn prepare(&self, user: &User, epoch: Epoch, deadline: Instant) -> Result<(), NotDone> {
        self.tell(&SCRIPTS.prepare, user, epoch, deadline).await
    }

    pub(super) async fn open(&self, user: &User, epoch: Epoch, deadline: Instant) -> Result<(), NotDone> {
        self.tell(&SCRIPTS.open, user, epoch, deadline).await
    }

    pub(super) async fn clear(&self, user: &User, epoch: Epoch, deadline: Instant) -> Result<(), NotDone> {
        self.tell(&SCRIPTS.clear, user, epoch, deadline).await
    }

    async fn tell(&self, script: &Script, user: &User, epoch: Epoch, deadline: Instant) -> Result<(), NotDone> {
        let args = [&*decimal(epoch)];
        self.at_gate(script, user, &[], &args, Repeated::Alike, deadline).await.map(drop)
    }

    /// What the user has here, as it is.
    pub(super) async fn read(&self, user: &User, deadline: Instant) -> Result<Contents, NotDone> {
        let most = MOST_BYTES.to_string();
        let args = [most.as_bytes()];
        contents(self.at_gate(&SCRIPTS.read, user, &[], &args, Repeated::Alike, deadline).await?)
    }

    /// Stops writes, and answers what the user has here from then on.
    pub(super) async fn seal(&self, user: &User, epoch: Epoch, deadline: Instant) -> Result<Contents, NotDone> {
        let most = MOST_BYTES.to_string();
        let args = [&*decimal(epoch), most.as_bytes()];
        contents(self.at_gate(&SCRIPTS.seal, user, &[], &args, Repeated::Alike, deadline).await?)
    }

    /// Stores a key's copy, or that the key is gone.
    pub(super) async fn copy(
        &self,
        user: &User,
        epoch: Epoch,
        (round, key, value): (Round, &[u8], Option<&[u8]>),
        deadline: Instant,
    ) -> Result<(), NotDone> {
        let round: &[u8] = match round {
            Round::Early => b"1",
            Round::Final => b"2",
        };
        let epoch = decimal(epoch);
        let args: Vec<&[u8]> = [&*epoch, round].into_iter().chain(value).collect();
        self.at_gate(&SCRIPTS.copy, user, &[key], &args, Repeated::Alike, deadline).await.map(drop)
    }

    /// Runs commands of a user who lives here; their answers.
    pub(super) async fn run(
        &self,
        user: &User,
        commands: &Commands<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>, NotDone> {
        let repeated = if commands.is_idempotent { Repeated::Alike } else { Repeated::Differently };
        let most = MOST_KEYS.to_string();
        let words = commands.words.iter().map(AsRef::as_ref);
        let args: Vec<&[u8]> = std::iter::once(most.as_bytes()).chain(words).collect();
        match self.at_gate(&SCRIPTS.run, user, &commands.written, &args, repeated, deadline).await? {
            Value::Array(answers) if answers.len() == commands.count => Ok(answers),
            other => Err(NotDone::Failed(unexpected(&other).into())),
        }
    }

    async fn at_gate(
        &self,
        script: &Script,
        user: &User,
        keys: &[&[u8]],
        args: &[&[u8]],
        repeated: Repeated,
        deadline: Instant,
    ) -> Result<Value, NotDone> {
        let (gate, held) = (user.gate(), user.held());
        let keys: Vec<&[u8]> = [gate.as_bytes(), held.as_bytes()].into_iter().chain(keys.iter().copied()).collect();
        self.call(script, &keys, args, repeated, deadline).await.map_err(NotDone::of)
    }

    /// By its digest; with its source where the server does not know it, which then knows it.
    async fn call(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
        repeated: Repeated,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        let by_digest = self.send("EVALSHA", script.sha(), keys, args, repeated, deadline).await;
        match by_digest {
            // In one command: SCRIPT LOAD could get to another server of a cluster than the call behind it.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.send("EVAL", script.source(), keys, args, repeated, deadline).await
            }
            answer => answer,
        }
    }

    async fn send(
        &self,
        name: &str,
        script: &str,
        keys: &[&[u8]],
        args: &[&[u8]],
        repeated: Repeated,
        deadline: Instant,
    ) -> Result<Value, RedisError> {
        let left = left(deadline);
        if left.is_zero() {
            // Sent without time for an answer, it might be done, and nobody would know.
            return Err(Error::new(ErrorKind::Unavailable, "no time was left").into());
        }
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
        let options = CallOptions::default().home(self.id.as_str()).deadline(left);
        let options = if repeated == Repeated::Alike { options.idempotent() } else { options };
        self.connection.with_options(options).req_packed_command(&cmd).await
    }
}

/// How long there is until then.
pub(super) fn left(deadline: Instant) -> std::time::Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl NotDone {
    fn of(error: RedisError) -> Self {
        match (error.code(), error.detail()) {
            (Some("HOMEGATE"), Some(detail)) => match gate_of(detail) {
                Some(state) => Self::Gate(state),
                None => Self::Failed(Error::new(ErrorKind::Protocol, "a region's gate cannot be read").into()),
            },
            (Some("HOMELARGE"), _) => Self::TooLarge,
            (Some("HOMEFULL"), detail) => {
                let text = detail.unwrap_or("a user has too many keys");
                Self::Failed(Error::new(ErrorKind::Refused, text).into())
            }
            (_, _) => Self::Failed(error),
        }
    }
}

/// As the scripts write it, with the epoch: `5 sealed`.
fn gate_of(text: &str) -> Option<GateState> {
    match text.split(' ').nth(1)? {
        "shut" => Some(GateState::Shut),
        "open" => Some(GateState::Open),
        "sealed" => Some(GateState::Sealed),
        "receiving" => Some(GateState::Receiving),
        _ => None,
    }
}

fn decimal(epoch: Epoch) -> Vec<u8> {
    epoch.0.to_string().into_bytes()
}

fn recorded(answer: Value) -> Result<(bool, Option<Assignment>), Error> {
    let (changed, record): (bool, Vec<u8>) = redis::from_redis_value(answer)
        .map_err(|_| Error::new(ErrorKind::Protocol, "no record, but something else"))?;
    let record = (!record.is_empty()).then(|| Assignment::decode(&record)).transpose();
    let malformed = |error| Error::new(ErrorKind::Protocol, format!("the record of a user's home: {error}"));
    Ok((changed, record.map_err(malformed)?))
}

fn contents(answer: Value) -> Result<Contents, NotDone> {
    let pairs: Vec<(Bytes, Bytes)> = redis::from_redis_value(answer)
        .map_err(|_| NotDone::Failed(Error::new(ErrorKind::Protocol, "no contents").into()))?;
    Ok(pairs.into_iter().collect())
}

fn unexpected(answer: &Value) -> Error {
    let found = match answer {
        Value::Array(answers) => format!("{} answers", answers.len()),
        _ => "no answers".to_owned(),
    };
    Error::new(ErrorKind::Protocol, format!("the region gave {found}"))
}
