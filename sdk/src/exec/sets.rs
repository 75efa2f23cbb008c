//! SADD, SREM, SMEMBERS, SISMEMBER, SMISMEMBER, SCARD.

use archipelago_engine::{Kind, Mutation};
use bytes::Bytes;

use super::call::{Answer, Call, added, removed};
use crate::store::{Query, Reply};

pub(super) async fn sadd(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    let entries = members.iter().map(|member| (member.clone(), Bytes::new()));
    added(&call.write(Kind::Set, name, Mutation::assign(entries)).await?)
}

pub(super) async fn srem(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    removed(&call.write(Kind::Set, name, Mutation::Remove { members: members.to_vec() }).await?)
}

pub(super) async fn smembers(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Set, name, Query::Members).await?.into())
}

pub(super) async fn sismember(call: Call<'_>) -> Answer {
    let [name, member] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Set, name, Query::Contains(member.clone())).await?.into())
}

pub(super) async fn smismember(call: Call<'_>) -> Answer {
    let [name, members @ ..] = call.args else { return Err(call.wrong_arity()) };
    let queries = members.iter().map(|member| Query::Contains(member.clone()));
    Ok(Reply::Array(call.read_each(Kind::Set, name, queries).await?).into())
}

pub(super) async fn scard(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Set, name, Query::Count).await?.into())
}
