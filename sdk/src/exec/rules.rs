//! Types that Redis has not, under words of their own: flags, first-write registers, max and min registers, siblings,
//! best scores.

use archipelago_engine::{Field, Kind, Mutation, Outcome, number};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, removed, unexpected},
    parse::{float, is},
    reply::ExecReply,
    sorted_sets::shown,
};
use crate::store::{Query, Reply};

/// FIRST.GET, MAX.GET, EWFLAG.GET and their kin: the value, or nil.
pub(super) async fn get(call: Call<'_>, kind: Kind) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(kind, name, Query::Value).await?.into())
}

/// FIRST.SET: 1 if the value was set, 0 if there is one.
pub(super) async fn set_first(call: Call<'_>) -> Answer {
    let [name, value] = call.args else { return Err(call.wrong_arity()) };
    let (assigned, _) = assign(call, Kind::First, name, Mutation::set(value.clone())).await?;
    Ok(ExecReply::count(assigned))
}

/// SIBLINGS.SET: in place of every sibling seen here.
pub(super) async fn set_siblings(call: Call<'_>) -> Answer {
    let [name, value] = call.args else { return Err(call.wrong_arity()) };
    assign(call, Kind::Siblings, name, Mutation::set(value.clone())).await?;
    Ok(ExecReply::Status("OK"))
}

/// SIBLINGS.GET: all of them, the earliest first.
pub(super) async fn siblings(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    // The view says whether it is there, and of which type; the cells, what was written concurrently.
    if call.read(Kind::Siblings, name, Query::Value).await? == Reply::Nil {
        return Ok(ExecReply::Array(Vec::new()));
    }
    let state = call.cells(Kind::Siblings, name).await?;
    let payloads = state.fields.get(&Field::VALUE).map(|stamped| stamped.cells.siblings()).unwrap_or_default();
    Ok(ExecReply::Array(payloads.into_iter().cloned().map(ExecReply::Bytes).collect()))
}

/// EWFLAG.SET, DWFLAG.SET: on or off.
pub(super) async fn set_flag(call: Call<'_>, kind: Kind) -> Answer {
    let [name, word] = call.args else { return Err(call.wrong_arity()) };
    let value = match word {
        _ if is(word, "on") || &**word == b"1" => "1",
        _ if is(word, "off") || &**word == b"0" => "0",
        _ => return Err("ERR a flag is on or off".into()),
    };
    assign(call, kind, name, Mutation::set(value)).await?;
    Ok(ExecReply::Status("OK"))
}

/// MAX.SET, MIN.SET: 1 if the number is the extreme so far, else 0.
pub(super) async fn set_extreme(call: Call<'_>, kind: Kind) -> Answer {
    let [name, value] = call.args else { return Err(call.wrong_arity()) };
    let (_, changed) = assign(call, kind, name, Mutation::set(number::show(float(value)?))).await?;
    Ok(ExecReply::count(changed))
}

/// BESTMAX.ADD, BESTMIN.ADD: how many scores are their member's best so far.
pub(super) async fn submit(call: Call<'_>, kind: Kind) -> Answer {
    let [name, words @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (pairs @ [_, ..], []) = words.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    let entry = |[score, member]: &[Bytes; 2]| Ok((member.clone(), number::show(float(score)?).into()));
    let entries = pairs.iter().map(entry).collect::<Result<Vec<_>, Failure>>()?;
    let (_, changed) = assign(call, kind, name, Mutation::assign(entries)).await?;
    Ok(ExecReply::count(changed))
}

/// BESTMAX.TOP, BESTMIN.TOP: members and scores, best first.
pub(super) async fn top(call: Call<'_>, kind: Kind) -> Answer {
    let [name, count] = call.args else { return Err(call.wrong_arity()) };
    let count = super::parse::integer(count)?;
    if count < 1 {
        return Err("ERR value is out of range, must be positive".into());
    }
    let reverse = kind == Kind::HighScores;
    match call.read(kind, name, Query::RangeByRank { start: 0, stop: count - 1, reverse }).await? {
        Reply::Array(flat) => Ok(ExecReply::Array(flat.into_iter().enumerate().map(score_or_member).collect())),
        _ => Err(unexpected()),
    }
}

/// Scores in one form, whatever the server's.
fn score_or_member((at, reply): (usize, Reply)) -> ExecReply {
    if at % 2 == 1 { shown(reply) } else { reply.into() }
}

/// BESTMAX.SCORE, BESTMIN.SCORE.
pub(super) async fn score(call: Call<'_>, kind: Kind) -> Answer {
    let [name, member] = call.args else { return Err(call.wrong_arity()) };
    Ok(shown(call.read(kind, name, Query::Score(member.clone())).await?))
}

/// BESTMAX.RANK, BESTMIN.RANK: 0 is the best.
pub(super) async fn rank(call: Call<'_>, kind: Kind) -> Answer {
    let [name, member] = call.args else { return Err(call.wrong_arity()) };
    let reverse = kind == Kind::HighScores;
    Ok(call.read(kind, name, Query::Rank { member: member.clone(), reverse }).await?.into())
}

/// BESTMAX.REM, BESTMIN.REM.
pub(super) async fn remove(call: Call<'_>, kind: Kind) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    removed(&call.write(kind, name, Mutation::Remove { members: members.to_vec() }).await?)
}

/// BESTMAX.CARD, BESTMIN.CARD.
pub(super) async fn count(call: Call<'_>, kind: Kind) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(kind, name, Query::Count).await?.into())
}

/// How many members were assigned, and of how many a reader sees something else now.
async fn assign(call: Call<'_>, kind: Kind, name: &Bytes, mutation: Mutation) -> Result<(u64, u64), Failure> {
    match call.write(kind, name, mutation).await? {
        Outcome::Assigned { assigned, changed, .. } => Ok((assigned, changed)),
        _ => Err(unexpected()),
    }
}
