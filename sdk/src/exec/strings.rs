//! GET, SET, SETNX, SETEX, PSETEX, GETSET, GETDEL, MGET, STRLEN, GETRANGE.

use archipelago_engine::{
    Assignment, Expiry, Key, Kind, Mutation, MutationError, Outcome, Presence, Retention, window,
};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, added, unexpected},
    keys::first_alive,
    parse::{SYNTAX, integer, is},
    place::Undone,
    reply::ExecReply,
};
use crate::store::{Query, Read, Reply, Write};

pub(super) async fn get(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::String, name, Query::Value).await?.into())
}

pub(super) async fn getdel(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    previous(call.write(Kind::String, name, Mutation::Clear { previous: true }).await?)
}

/// Nil for a name of another type, as in Redis: so the other types need no look.
pub(super) async fn mget(call: Call<'_>) -> Answer {
    let key = |name: &Bytes| Key::new(Kind::String, name.clone());
    let reads: Vec<Read> = call.args.iter().map(|name| Read { key: key(name), query: Query::Value }).collect();
    Ok(Reply::Array(call.read_all(&reads).await?).into())
}

pub(super) async fn set(call: Call<'_>) -> Answer {
    let [name, value, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let options = Options::parse(&call, options)?;
    set_with(&call, name, value, &options).await
}

async fn set_with(call: &Call<'_>, name: &Bytes, value: &Bytes, options: &Options) -> Answer {
    match call.try_write(Kind::String, name, options.mutation(value)).await {
        Ok(outcome) if options.previous => previous(outcome),
        Ok(outcome) => done(&outcome),
        Err(Undone::Refused(MutationError::WrongType)) => replace(call, name, value, options).await,
        Err(error) => Err(call.write_failed(error)),
    }
}

/// One that is there is left alone, whatever its type.
pub(super) async fn setnx(call: Call<'_>) -> Answer {
    let [name, value] = call.args else { return Err(call.wrong_arity()) };
    let options = Options { presence: Presence::Absent, retention: Retention::Clear, previous: false };
    match call.try_write(Kind::String, name, options.mutation(value)).await {
        Ok(outcome) => added(&outcome),
        Err(Undone::Refused(MutationError::WrongType)) => Ok(ExecReply::Int(0)),
        Err(error) => Err(call.write_failed(error)),
    }
}

/// SETEX and PSETEX.
pub(super) async fn set_for(call: Call<'_>, option: &'static str) -> Answer {
    let [name, lifetime, value] = call.args else { return Err(call.wrong_arity()) };
    let retention = Retention::Set(expiry(&call, option, lifetime)?);
    set_with(&call, name, value, &Options { presence: Presence::Any, retention, previous: false }).await
}

pub(super) async fn getset(call: Call<'_>) -> Answer {
    let [name, value] = call.args else { return Err(call.wrong_arity()) };
    let options = Options { presence: Presence::Any, retention: Retention::Clear, previous: true };
    set_with(&call, name, value, &options).await
}

pub(super) async fn strlen(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    length(&call.read(Kind::String, name, Query::Value).await?)
}

/// The length of a value, none where it is absent.
pub(super) fn length(value: &Reply) -> Answer {
    match value {
        Reply::Nil => Ok(ExecReply::Int(0)),
        Reply::Bytes(value) => Ok(ExecReply::count(value.len() as u64)),
        Reply::Int(_) | Reply::Array(_) => Err(unexpected()),
    }
}

pub(super) async fn getrange(call: Call<'_>) -> Answer {
    let [name, start, end] = call.args else { return Err(call.wrong_arity()) };
    let (start, end) = (integer(start)?, integer(end)?);
    let value = match call.read(Kind::String, name, Query::Value).await? {
        Reply::Nil => Bytes::new(),
        Reply::Bytes(value) => value,
        Reply::Int(_) | Reply::Array(_) => return Err(unexpected()),
    };
    if start < 0 && end < 0 && start > end {
        // Both before the value's begin would be its first byte otherwise, as any other end before it is.
        return Ok(ExecReply::Bytes(Bytes::new()));
    }
    let (skip, take) = window(start, end.max(-(value.len() as i64)), value.len());
    Ok(ExecReply::Bytes(value.slice(skip.min(value.len())..(skip + take).min(value.len()))))
}

/// The name is in use by another type. A SET that may overwrite removes that first.
async fn replace(call: &Call<'_>, name: &Bytes, value: &Bytes, options: &Options) -> Answer {
    /// More often than that another client would have to bring the other type back at the wrong moment.
    const ATTEMPTS: usize = 3;
    if options.previous {
        return Err(MutationError::WrongType.into());
    }
    if options.presence == Presence::Absent {
        return Ok(ExecReply::Nil);
    }
    // The name exists, so XX is met; the string of that name need not.
    let mut options = Options { presence: Presence::Any, ..*options };
    if options.retention == Retention::Keep {
        options.retention = match first_alive(&call.read_kinds(std::slice::from_ref(name), Query::TimeToLive).await?) {
            Some(millis) if millis >= 0 => Retention::Set(Expiry::In(millis)),
            Some(_) | None => Retention::Clear,
        };
    }
    let write = |kind, mutation, exclusive| Write { key: Key::new(kind, name.clone()), mutation, exclusive };
    let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::String);
    let mut writes: Vec<Write> = others.map(|kind| write(kind, Mutation::Clear { previous: false }, false)).collect();
    writes.push(write(Kind::String, options.mutation(value), true));
    for _ in 0..ATTEMPTS {
        let results: Result<Vec<Outcome>, Undone> = call.write_all(&writes).await.into_iter().collect();
        match results {
            Ok(outcomes) => return outcomes.last().map_or_else(|| Err(unexpected()), done),
            Err(Undone::Refused(MutationError::WrongType)) => {}
            Err(error) => return Err(call.write_failed(error)),
        }
    }
    Err(MutationError::WrongType.into())
}

fn done(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Assigned { assigned: 0, .. } => Ok(ExecReply::Nil),
        Outcome::Assigned { .. } => Ok(ExecReply::OK),
        _ => Err(unexpected()),
    }
}

fn previous(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Assigned { previous, .. } | Outcome::Cleared { previous, .. } => {
            Ok(previous.map_or(ExecReply::Nil, ExecReply::Bytes))
        }
        _ => Err(unexpected()),
    }
}

/// What follows the value of a SET.
struct Options {
    presence: Presence,
    retention: Retention,
    previous: bool,
}

/// Which of the options that exclude each other was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime<'a> {
    Unsaid,
    Keep,
    Given(&'static str, &'a Bytes),
}

impl Options {
    fn parse(call: &Call<'_>, mut words: &[Bytes]) -> Result<Self, Failure> {
        let (mut presence, mut lifetime, mut previous) = (Presence::Any, Lifetime::Unsaid, false);
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            let timed = ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|option| is(word, option));
            if is(word, "NX") && presence != Presence::Present {
                presence = Presence::Absent;
            } else if is(word, "XX") && presence != Presence::Absent {
                presence = Presence::Present;
            } else if is(word, "GET") {
                previous = true;
            } else if is(word, "KEEPTTL") && matches!(lifetime, Lifetime::Unsaid | Lifetime::Keep) {
                lifetime = Lifetime::Keep;
            } else if let (Some(option), Some((amount, rest))) = (timed, words.split_first())
                && (lifetime == Lifetime::Unsaid || matches!(lifetime, Lifetime::Given(given, _) if given == option))
            {
                lifetime = Lifetime::Given(option, amount);
                words = rest;
            } else {
                return Err(SYNTAX.into());
            }
        }
        let retention = match lifetime {
            Lifetime::Unsaid => Retention::Clear,
            Lifetime::Keep => Retention::Keep,
            Lifetime::Given(option, amount) => Retention::Set(expiry(call, option, amount)?),
        };
        Ok(Self { presence, retention, previous })
    }

    fn mutation(&self, value: &Bytes) -> Mutation {
        Mutation::Assign(Assignment {
            entries: vec![(Bytes::new(), value.clone())],
            presence: self.presence,
            retention: self.retention,
            previous: self.previous,
            ..Assignment::default()
        })
    }
}

fn expiry(call: &Call<'_>, option: &str, amount: &Bytes) -> Result<Expiry, Failure> {
    let unit = if option.starts_with('E') { 1000 } else { 1 };
    let millis =
        integer(amount)?.checked_mul(unit).filter(|millis| *millis > 0).ok_or_else(|| call.invalid_expire())?;
    Ok(if option.ends_with("AT") { Expiry::At(millis) } else { Expiry::In(millis) })
}
