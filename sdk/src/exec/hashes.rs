//! HSET, HSETNX, HGET, HMGET, HGETALL, HKEYS, HVALS, HSTRLEN, HDEL, HLEN, HEXISTS, HINCRBY, HINCRBYFLOAT.

use archipelago_engine::{Assignment, Kind, Mutation, Presence};

use super::{
    call::{Answer, Call, added, removed, unexpected},
    numbers::{add_float, add_integer},
    parse::{float, integer},
    strings::length,
};
use crate::store::{Query, Reply};

pub(super) async fn hset(call: Call<'_>) -> Answer {
    let [name, pairs @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (pairs, []) = pairs.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    let entries = pairs.iter().map(|[field, value]| (field.clone(), value.clone()));
    added(&call.write(Kind::Hash, name, Mutation::assign(entries)).await?)
}

pub(super) async fn hsetnx(call: Call<'_>) -> Answer {
    let [name, field, value] = call.args else { return Err(call.wrong_arity()) };
    let entries = vec![(field.clone(), value.clone())];
    let assignment = Assignment { entries, presence: Presence::Absent, ..Assignment::default() };
    added(&call.write(Kind::Hash, name, Mutation::Assign(assignment)).await?)
}

/// HKEYS and HVALS: every second of what HGETALL answers.
pub(super) async fn halves(call: Call<'_>, first: usize) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    match call.read(Kind::Hash, name, Query::All).await? {
        Reply::Array(all) => Ok(Reply::Array(all.into_iter().skip(first).step_by(2).collect()).into()),
        Reply::Nil | Reply::Int(_) | Reply::Bytes(_) => Err(unexpected()),
    }
}

pub(super) async fn hstrlen(call: Call<'_>) -> Answer {
    let [name, field] = call.args else { return Err(call.wrong_arity()) };
    length(&call.read(Kind::Hash, name, Query::Field(field.clone())).await?)
}

pub(super) async fn hget(call: Call<'_>) -> Answer {
    let [name, field] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Hash, name, Query::Field(field.clone())).await?.into())
}

pub(super) async fn hmget(call: Call<'_>) -> Answer {
    let [name, fields @ ..] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Hash, name, Query::Fields(fields.to_vec())).await?.into())
}

pub(super) async fn hgetall(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Hash, name, Query::All).await?.into())
}

pub(super) async fn hdel(call: Call<'_>) -> Answer {
    let [name, fields @ ..] = call.args else { return Err(call.wrong_arity()) };
    removed(&call.write(Kind::Hash, name, Mutation::Remove { members: fields.to_vec() }).await?)
}

pub(super) async fn hlen(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Hash, name, Query::Count).await?.into())
}

pub(super) async fn hexists(call: Call<'_>) -> Answer {
    let [name, field] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Hash, name, Query::HasField(field.clone())).await?.into())
}

pub(super) async fn hincrby(call: Call<'_>) -> Answer {
    let [name, field, by] = call.args else { return Err(call.wrong_arity()) };
    add_integer(call, Kind::Hash, name, field, integer(by)?).await
}

pub(super) async fn hincrbyfloat(call: Call<'_>) -> Answer {
    let [name, field, by] = call.args else { return Err(call.wrong_arity()) };
    let by = float(by)?;
    if by.is_infinite() {
        return Err("ERR value is NaN or Infinity".into());
    }
    add_float(call, Kind::Hash, name, field, by).await
}
