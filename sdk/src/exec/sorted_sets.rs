//! ZADD, ZINCRBY, ZREM, ZSCORE, ZCARD. What ranks and ranges is in `ranges`.

use archipelago_engine::{Amount, Assignment, Kind, Mutation, Order, Outcome, Presence, number};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, removed, sum, unexpected},
    parse::{SYNTAX, float, is},
    reply::ExecReply,
};
use crate::store::{Query, Reply};

pub(super) async fn zadd(call: Call<'_>) -> Answer {
    let [name, words @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (options, pairs) = Options::parse(words);
    let (pairs @ [_, ..], []) = pairs.as_chunks::<2>() else { return Err(SYNTAX.into()) };
    options.check()?;
    let entry = |[score, member]: &[Bytes; 2]| Ok((member.clone(), number::show(float(score)?).into()));
    let assignment = Assignment {
        entries: pairs.iter().map(entry).collect::<Result<_, Failure>>()?,
        presence: options.presence(),
        order: options.order(),
        ..Assignment::default()
    };
    match call.write(Kind::SortedSet, name, Mutation::Assign(assignment)).await? {
        Outcome::Assigned { changed, .. } if options.ch => Ok(ExecReply::count(changed)),
        Outcome::Assigned { added, .. } => Ok(ExecReply::count(added)),
        _ => Err(unexpected()),
    }
}

/// ZADD's options, as they were said.
#[derive(Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl Options {
    /// Options end at the first word that is none: from there on there are scores and members.
    fn parse(mut words: &[Bytes]) -> (Self, &[Bytes]) {
        let mut options = Self::default();
        while let Some((word, rest)) = words.split_first() {
            let said = match word {
                _ if is(word, "NX") => &mut options.nx,
                _ if is(word, "XX") => &mut options.xx,
                _ if is(word, "GT") => &mut options.gt,
                _ if is(word, "LT") => &mut options.lt,
                _ if is(word, "CH") => &mut options.ch,
                _ if is(word, "INCR") => &mut options.incr,
                _ => break,
            };
            *said = true;
            words = rest;
        }
        (options, words)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.nx && self.xx {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) {
            return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
        }
        if self.incr {
            return Err("ERR INCR is not supported by ZADD here, use ZINCRBY".into());
        }
        Ok(())
    }

    const fn presence(&self) -> Presence {
        match (self.nx, self.xx) {
            (true, _) => Presence::Absent,
            (false, true) => Presence::Present,
            (false, false) => Presence::Any,
        }
    }

    const fn order(&self) -> Order {
        match (self.gt, self.lt) {
            (true, _) => Order::Greater,
            (false, true) => Order::Less,
            (false, false) => Order::Any,
        }
    }
}

pub(super) async fn zincrby(call: Call<'_>) -> Answer {
    let [name, words @ ..] = call.args else { return Err(call.wrong_arity()) };
    // To Redis this is a ZADD, whose options it would read here, too.
    let (_, [by, member]) = Options::parse(words) else { return Err(SYNTAX.into()) };
    let add = Mutation::Add { member: member.clone(), amount: Amount::Float(float(by)?) };
    sum(call.write(Kind::SortedSet, name, add).await?).map(ExecReply::Bytes)
}

pub(super) async fn zrem(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    removed(&call.write(Kind::SortedSet, name, Mutation::Remove { members: members.to_vec() }).await?)
}

pub(super) async fn zscore(call: Call<'_>) -> Answer {
    let [name, member] = call.args else { return Err(call.wrong_arity()) };
    Ok(shown(call.read(Kind::SortedSet, name, Query::Score(member.clone())).await?))
}

pub(super) async fn zmscore(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    let queries = members.iter().map(|member| Query::Score(member.clone()));
    let scores = call.read_each(Kind::SortedSet, name, queries).await?;
    Ok(ExecReply::Array(scores.into_iter().map(shown).collect()))
}

pub(super) async fn zcard(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::SortedSet, name, Query::Count).await?.into())
}

/// A score in one form for all: servers write 0.1 as `0.1` or as `0.10000000000000001`, by their version.
pub(super) fn shown(score: Reply) -> ExecReply {
    match score {
        Reply::Bytes(text) => {
            ExecReply::Bytes(number::parse_score(&text).map_or(text, |score| number::show(score).into()))
        }
        other => other.into(),
    }
}
