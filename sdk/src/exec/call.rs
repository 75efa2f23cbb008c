//! One command under way: its arguments, and what every handler does with a store.

use std::{borrow::Cow, pin::Pin};

use archipelago_engine::{Arrived, End, Key, KeyState, Kind, Mutation, MutationError, Outcome, Since};
use bytes::Bytes;

use super::{
    place::{Place, Undone},
    reply::ExecReply,
};
use crate::{
    error::{Error, ErrorKind},
    store::{Excerpt, Query, Read, Reply, Write},
};

/// What a handler comes to.
pub(super) type Answer = Result<ExecReply, Failure>;

/// The same, under way.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// The text of an error reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure(Cow<'static, str>);

impl Failure {
    pub(super) fn into_text(self) -> String {
        self.0.into_owned()
    }
}

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl From<MutationError> for Failure {
    fn from(refusal: MutationError) -> Self {
        Self(Cow::Owned(refusal.to_string()))
    }
}

/// One command under way.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    place: &'a Place,
    name: &'static str,
    /// What follows the command's name.
    pub(super) args: &'a [Bytes],
}

impl<'a> Call<'a> {
    pub(super) const fn new(place: &'a Place, name: &'static str, args: &'a [Bytes]) -> Self {
        Self { place, name, args }
    }

    pub(super) fn wrong_arity(&self) -> Failure {
        wrong_arity(self.name)
    }

    pub(super) fn invalid_expire(&self) -> Failure {
        format!("ERR invalid expire time in '{}' command", self.name).into()
    }

    /// Writes, unless the name is in use by another type.
    pub(super) async fn write(&self, kind: Kind, name: &Bytes, mutation: Mutation) -> Result<Outcome, Failure> {
        self.try_write(kind, name, mutation).await.map_err(|error| self.write_failed(error))
    }

    /// The same, for a handler that goes on after a refusal.
    pub(super) async fn try_write(&self, kind: Kind, name: &Bytes, mutation: Mutation) -> Result<Outcome, Undone> {
        self.place.write(&Write { key: Key::new(kind, name.clone()), mutation, exclusive: true }).await
    }

    /// Takes an element that no other claim takes.
    pub(super) async fn claim(&self, kind: Kind, name: &Bytes, end: End) -> Result<Option<(Bytes, Bytes)>, Failure> {
        let claimed = self.place.claim(&Key::new(kind, name.clone()), end).await;
        claimed.map_err(|error| self.write_failed(error))
    }

    pub(super) async fn write_all(&self, writes: &[Write]) -> Vec<Result<Outcome, Undone>> {
        self.place.write_all(writes).await
    }

    /// Reads, if the name is free or of this type.
    pub(super) async fn read(&self, kind: Kind, name: &Bytes, query: Query) -> Result<Reply, Failure> {
        self.read_each(kind, name, [query]).await?.pop().ok_or_else(unexpected)
    }

    /// The same of several queries, in one pipeline.
    pub(super) async fn read_each(
        &self,
        kind: Kind,
        name: &Bytes,
        queries: impl IntoIterator<Item = Query>,
    ) -> Result<Vec<Reply>, Failure> {
        let mut reads: Vec<Read> =
            queries.into_iter().map(|query| Read { key: Key::new(kind, name.clone()), query }).collect();
        let own = reads.len();
        reads.extend(Kind::ALL.map(|kind| Read { key: Key::new(kind, name.clone()), query: Query::Exists }));
        let mut answers = self.read_all(&reads).await?;
        let exist = answers.split_off(own.min(answers.len()));
        if !answers.iter().all(says_nothing) {
            return Ok(answers);
        }
        let present: Vec<Kind> =
            Kind::ALL.into_iter().zip(exist).filter(|(_, reply)| *reply == Reply::Int(1)).map(|(k, _)| k).collect();
        if present.is_empty() || present.contains(&kind) { Ok(answers) } else { Err(MutationError::WrongType.into()) }
    }

    /// The cells of a key.
    pub(super) async fn cells(&self, kind: Kind, name: &Bytes) -> Result<KeyState, Failure> {
        let excerpt = Excerpt::whole(Key::new(kind, name.clone()));
        self.place.cells(&excerpt).await.map_err(read_failed)
    }

    /// What has arrived, if the name is free or of this type.
    pub(super) async fn arrived(
        &self,
        kind: Kind,
        name: &Bytes,
        since: Since,
        limit: usize,
    ) -> Result<Arrived, Failure> {
        let arrived = self.place.arrived(&Key::new(kind, name.clone()), since, limit).await.map_err(read_failed)?;
        if arrived.entries.is_empty() {
            self.read(kind, name, Query::Exists).await?;
        }
        Ok(arrived)
    }

    /// Asks the same of every type of every name, in one pipeline: for each name, in the order of the types.
    pub(super) async fn read_kinds(&self, names: &[Bytes], query: Query) -> Result<Vec<Vec<Reply>>, Failure> {
        let reads: Vec<Read> = names
            .iter()
            .flat_map(|name| Kind::ALL.map(|kind| Key::new(kind, name.clone())))
            .map(|key| Read { key, query: query.clone() })
            .collect();
        let replies = self.read_all(&reads).await?;
        Ok(replies.chunks(Kind::ALL.len()).map(<[Reply]>::to_vec).collect())
    }

    /// Writes the same to every type of every name, in one pipeline: for each name, whether it did anything to any.
    ///
    /// Looking first which types there are would cost a round trip, and miss what came in between.
    pub(super) async fn write_kinds(&self, names: &[Bytes], mutation: &Mutation) -> Result<Vec<bool>, Failure> {
        let writes: Vec<Write> = names
            .iter()
            .flat_map(|name| Kind::ALL.map(|kind| Key::new(kind, name.clone())))
            .map(|key| Write { key, mutation: mutation.clone(), exclusive: false })
            .collect();
        let done: Result<Vec<Outcome>, Undone> = self.write_all(&writes).await.into_iter().collect();
        let done = done.map_err(|error| self.write_failed(error))?;
        let effective =
            |outcome: &Outcome| matches!(outcome, Outcome::Cleared { existed: true, .. } | Outcome::Expiry(true));
        Ok(done.chunks(Kind::ALL.len()).map(|kinds| kinds.iter().any(effective)).collect())
    }

    pub(super) async fn read_all(&self, reads: &[Read]) -> Result<Vec<Reply>, Failure> {
        self.place.read_all(reads).await.map_err(read_failed)
    }

    pub(super) fn write_failed(&self, undone: Undone) -> Failure {
        match undone {
            Undone::Refused(MutationError::InvalidExpire) => self.invalid_expire(),
            Undone::Refused(refusal) => refusal.into(),
            Undone::Failed(error) => failed(&error),
        }
    }
}

fn read_failed(undone: Undone) -> Failure {
    match undone {
        Undone::Refused(refusal) => refusal.into(),
        Undone::Failed(error) => failed(&error),
    }
}

pub(super) fn wrong_arity(name: &str) -> Failure {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// What is no reply of the command: the first word is for programs, the rest says where and what it means.
pub(super) fn failed(error: &Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::Unavailable => "UNAVAILABLE",
        ErrorKind::MaybeApplied => "MAYBEAPPLIED",
        ErrorKind::PartlyApplied => "PARTLYAPPLIED",
        ErrorKind::Timeout => "TIMEOUT",
        ErrorKind::TooFewAnswers => "TOOFEWANSWERS",
        // What the server says goes out as it says it.
        ErrorKind::Server if begins_with_code(error.message()) => return error.message().to_owned().into(),
        ErrorKind::Config
        | ErrorKind::Refused
        | ErrorKind::Server
        | ErrorKind::Serialization
        | ErrorKind::Load
        | ErrorKind::Behind
        | ErrorKind::Lost
        | ErrorKind::InsufficientRights { .. }
        | ErrorKind::NotConverged
        | ErrorKind::Protocol => "ERR",
    };
    format!("{code} {error}").into()
}

fn begins_with_code(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(code, _)| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// A store answered what its contract does not know.
pub(super) fn unexpected() -> Failure {
    "ERR unexpected answer of the store".into()
}

/// Whether a reply is also what an absent key gives.
fn says_nothing(reply: &Reply) -> bool {
    match reply {
        Reply::Nil | Reply::Int(0) => true,
        Reply::Int(_) | Reply::Bytes(_) => false,
        Reply::Array(items) => items.iter().all(|item| *item == Reply::Nil),
    }
}

/// How many members an assignment added, for SADD and HSET.
pub(super) fn added(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Assigned { added, .. } => Ok(ExecReply::count(*added)),
        _ => Err(unexpected()),
    }
}

/// How many members a removal removed.
pub(super) fn removed(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Removed(removed) => Ok(ExecReply::count(*removed)),
        _ => Err(unexpected()),
    }
}

/// The value an addition left.
pub(super) fn sum(outcome: Outcome) -> Result<Bytes, Failure> {
    match outcome {
        Outcome::Sum(text) => Ok(text),
        _ => Err(unexpected()),
    }
}
