//! What a session has seen, in front of its calls: where they may go, and what is asked along with them.
//!
//! Behind a write, the primary is asked where its history stands. Never inside a transaction: there the offset does not
//! contain the transaction's writes yet. In front of a read a replica is asked the same, inside a transaction: the
//! answer is about exactly the data that are read.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};

use super::{
    call::Call,
    link::{Answer, Link, Work},
    plane::Core,
};
use crate::{
    resilience::{BEHIND, Diagnosis, Failure},
    routing::{Access, Candidates, NodeIndex, Plan, Policy, Profile, Reason, RegionIndex, Request, Role},
    sessions::{Before, DataSet, Demand, Found, Position, Session, SessionKind, WriteWatch},
};

/// What a call's session has seen.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    session: &'s Session,
    keyspace: SessionKind,
    /// Whether a replica can be asked along with the call.
    is_checkable: bool,
}

impl<'s> Seen<'s> {
    pub(super) fn new(session: &'s Session, keyspace: SessionKind) -> Self {
        Self { session, keyspace, is_checkable: true }
    }

    /// For a call that is sent as it is, whatever the node has: only the primary will do, if anything was seen.
    pub(super) fn unchecked(self) -> Self {
        Self { is_checkable: false, ..self }
    }

    /// The session and the name of its user, if the region keeps the user's tag.
    pub(super) fn named_tag(self) -> Option<(&'s Session, &'s str)> {
        let name = self.session.user()?;
        (self.session.kind(self.keyspace) == SessionKind::Tag).then_some((self.session, name))
    }

    /// How long a read may wait for replicas.
    pub(super) fn wait(self) -> Duration {
        self.session.wait()
    }

    /// Leaves out the nodes that cannot have what was seen.
    pub(super) fn narrow(
        self,
        mut plan: Plan,
        request: &Request<'_>,
        candidates: &Candidates<'_>,
        profile: &Profile,
    ) -> Plan {
        let region = plan.region();
        let Some(set) = candidates.topology().region(region).map(|region| DataSet::of(&region.id)) else { return plan };
        let demand = match self.session.demand(set) {
            Demand::Cover if !self.is_checkable => Demand::Primary,
            demand => demand,
        };
        match demand {
            Demand::Nothing => {}
            Demand::Cover => plan.skip(|step| {
                let holds = candidates.get(step.node).map(|candidate| candidate.node.region);
                (holds != Some(region)).then_some(Reason::OtherRegionForSession)
            }),
            Demand::Primary => plan = profile.plan(&request.needing_primary(), candidates),
        }
        plan
    }
}

/// Regions whose history was said to be lost, each with the history that is there instead.
#[derive(Debug, Default)]
pub(super) struct LostHistories(Mutex<BTreeMap<RegionIndex, u64>>);

impl LostHistories {
    /// Whether it was not said yet.
    fn is_news(&self, region: RegionIndex, position: &Position) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(region, position.mark.id) != Some(position.mark.id)
    }
}

impl Call<'_> {
    /// Sends to a node, with what the session has to ask there.
    pub(super) async fn send(&self, link: &mut Link, index: NodeIndex) -> RedisResult<Answer> {
        let Some((seen, at)) = self.seen.zip(self.at(index)) else { return link.send(self.work).await };
        match (self.access, at.role) {
            (Access::Write, _) => self.write(seen, at, link).await,
            // A cursor goes on where it began.
            (Access::Read, _) if self.only.is_some() => link.send(self.work).await,
            (Access::Read, Role::Primary) => self.read_at_primary(seen, at, link).await,
            (Access::Read, Role::Replica) => self.read_at_replica(seen, at, link).await,
        }
    }

    /// Watches a write of the session's that is sent as it is.
    pub(super) fn watch(&self, index: NodeIndex) -> Option<WriteWatch<'_>> {
        let (seen, at) = self.seen.as_ref().zip(self.at(index)).filter(|_| self.access == Access::Write)?;
        Some(seen.session.write(at.set, seen.session.kind(seen.keyspace)))
    }

    fn at(&self, index: NodeIndex) -> Option<At> {
        let topology = self.core.topology.load();
        let node = topology.node(index)?;
        let set = DataSet::of(&topology.region(node.region)?.id);
        Some(At { set, region: node.region, role: node.role })
    }

    async fn write(&self, seen: Seen<'_>, at: At, link: &mut Link) -> RedisResult<Answer> {
        let kind = seen.session.kind(seen.keyspace);
        let watch = seen.session.write(at.set, kind);
        if kind == SessionKind::Tag || !link.tells_position() {
            return link.send(self.work).await;
        }
        let (answer, position) = ask_behind(self.work, link).await?;
        // A server that turned into a replica refuses writes, and another may have taken those of before.
        if let Some(position) = position.filter(|position| position.is_primary) {
            let found = watch.landed(&position);
            self.core.report_lost(at.region, found, &position);
        }
        answer
    }

    async fn read_at_primary(&self, seen: Seen<'_>, at: At, link: &mut Link) -> RedisResult<Answer> {
        let session = seen.session;
        let before = session.before(at.set);
        let is_asked = session.reads_raise() || before.place.is_some();
        if !is_asked || !link.tells_position() {
            if session.reads_raise() {
                session.doubt(at.set);
            }
            return link.send(self.work).await;
        }
        let (answer, position) = ask_behind(self.work, link).await?;
        match position {
            Some(position) if position.is_primary => {
                let is_news = before.place.as_ref().is_some_and(|place| !place.is_settled_by(&position));
                if is_news || session.reads_raise() {
                    self.core.report_lost(at.region, session.settle(&before, &position), &position);
                }
                answer
            }
            // It is a replica by now.
            Some(position) => take(session, &before, &position, answer),
            None => {
                if session.reads_raise() {
                    session.doubt(at.set);
                }
                answer
            }
        }
    }

    async fn read_at_replica(&self, seen: Seen<'_>, at: At, link: &mut Link) -> RedisResult<Answer> {
        let session = seen.session;
        let before = session.before(at.set);
        if before.place.is_none() && !session.reads_raise() {
            return link.send(self.work).await;
        }
        if !link.tells_position() {
            return Err(behind());
        }
        let (answer, position) = ask_within(self.work, link).await?;
        take(session, &before, &position, answer)
    }
}

/// A node, as far as a session is concerned.
#[derive(Clone, Copy)]
struct At {
    set: DataSet,
    region: RegionIndex,
    role: Role,
}

impl Core {
    /// What a session has seen is not in a primary's history.
    fn report_lost(&self, region: RegionIndex, found: Found, position: &Position) {
        if found == Found::Lost && self.lost_histories.is_news(region, position) {
            let topology = self.topology.load();
            if let Some(region) = topology.region(region) {
                self.events.publish(super::Event::HistoryLost { region: region.id.clone() });
            }
        }
    }
}

/// The answer of a server in this position, if it has what was seen.
fn take(session: &Session, before: &Before, position: &Position, answer: RedisResult<Answer>) -> RedisResult<Answer> {
    if before.place.as_ref().is_some_and(|place| !place.is_covered_by(position)) {
        return Err(behind());
    }
    if session.reads_raise() {
        session.settle(before, position);
    }
    answer
}

/// An error of our own with a code, so that what follows from it stands among all others: see `Diagnosis`.
fn behind() -> RedisError {
    redis::make_extension_error(BEHIND.to_owned(), Some("it has not all that this session has seen".to_owned()))
}

/// What to say of a failed attempt. The code of an error of our own is for us alone.
pub(super) fn in_words(error: &RedisError) -> String {
    error.detail().filter(|_| is_behind(error)).map_or_else(|| error.to_string(), str::to_owned)
}

pub(super) fn is_behind(error: &RedisError) -> bool {
    error.code() == Some(BEHIND)
}

fn info() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    info
}

/// Sends, and asks right behind where the server's history stands: `None` when it does not say.
async fn ask_behind(work: Work<'_>, link: &mut Link) -> RedisResult<(RedisResult<Answer>, Option<Position>)> {
    let (mut pipeline, offset, count) = match work {
        Work::One(cmd) => (of_one(cmd), 0, 1),
        Work::Many { pipeline, offset, count } => (spelt_out(pipeline), offset, count),
    };
    pipeline.add_command(info());
    let wanted = pipeline.len().saturating_sub(offset);
    let mut values = link.send_many(&pipeline, offset, wanted).await?;
    let position = values.pop().and_then(|value| position(&value));
    values.truncate(count);
    Ok((answer(work, values), position))
}

/// Sends inside a transaction that asks first where the server's history stands.
async fn ask_within(work: Work<'_>, link: &mut Link) -> RedisResult<(RedisResult<Answer>, Position)> {
    let mut pipeline = of_one(&redis::cmd("MULTI"));
    pipeline.add_command(info());
    match work {
        Work::One(cmd) => pipeline.add_command(cmd.clone()),
        Work::Many { pipeline: asked, .. } => {
            asked.cmd_iter().fold(&mut pipeline, |all, cmd| all.add_command(cmd.clone()))
        }
    };
    pipeline.add_command(redis::cmd("EXEC"));
    let mut values = link.send_many(&pipeline, 0, pipeline.len()).await?;
    let done = values.pop().unwrap_or(Value::Nil);
    let refused = values.into_iter().find_map(|queued| queued.extract_error().err());
    let mut values = match (refused, done) {
        (Some(error), _) => return Err(declined(error)),
        (None, Value::ServerError(error)) => return Err(declined(error.into())),
        (None, Value::Array(values)) if !values.is_empty() => values,
        (None, _) => return Err(behind()),
    };
    let position = position(&values.remove(0)).ok_or_else(behind)?;
    let values = match work {
        Work::One(_) => values,
        Work::Many { pipeline, .. } if pipeline.is_transaction() => vec![Value::Array(values)],
        Work::Many { offset, count, .. } => values.into_iter().skip(offset).take(count).collect(),
    };
    Ok((answer(work, values), position))
}

/// What a replica declines to everybody is its own affair; what it declines to this transaction, the primary may do.
fn declined(error: RedisError) -> RedisError {
    if Diagnosis::of_call(&error).failure == Failure::Answered { behind() } else { error }
}

/// The answers in the shape that the caller asked for.
fn answer(work: Work<'_>, values: Vec<Value>) -> RedisResult<Answer> {
    match work {
        Work::Many { .. } => Ok(Answer::Many(values)),
        Work::One(_) => match values.into_iter().next() {
            Some(Value::ServerError(error)) => Err(error.into()),
            Some(value) => Ok(Answer::One(value)),
            None => Err((redis::ErrorKind::UnexpectedReturnType, "no answer to a command").into()),
        },
    }
}

fn position(value: &Value) -> Option<Position> {
    match value {
        Value::BulkString(info) => Position::parse(info),
        Value::VerbatimString { text, .. } => Position::parse(text.as_bytes()),
        _ => None,
    }
}

fn of_one(cmd: &Cmd) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.add_command(cmd.clone());
    pipeline
}

/// The same commands, a transaction's MULTI and EXEC among them: what is added then is behind it, not inside.
fn spelt_out(pipeline: &Pipeline) -> Pipeline {
    let mut plain = redis::pipe();
    let around = |name| pipeline.is_transaction().then(|| redis::cmd(name));
    let commands = around("MULTI").into_iter().chain(pipeline.cmd_iter().cloned()).chain(around("EXEC"));
    commands.for_each(|cmd| {
        plain.add_command(cmd);
    });
    plain
}
