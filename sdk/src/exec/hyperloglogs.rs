//! PFADD, PFCOUNT, PFMERGE.

use archipelago_engine::{Kind, Mutation, Outcome, Registers};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, unexpected},
    reply::ExecReply,
};
use crate::store::{Query, Reply};

/// What Redis answers to a string that is none: somebody wrote to the view by hand.
const NOT_ONE: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";

pub(super) async fn pfadd(call: Call<'_>) -> Answer {
    let [name, elements @ ..] = call.args else { return Err(call.wrong_arity()) };
    Ok(ExecReply::Int(i64::from(observe(call, name, elements.to_vec(), None).await?)))
}

/// One name is one native command; several are read one after the other.
pub(super) async fn pfcount(call: Call<'_>) -> Answer {
    match call.args {
        [name] => Ok(call.read(Kind::HyperLogLog, name, Query::Cardinality).await?.into()),
        names => Ok(ExecReply::count(union(call, names).await?.count())),
    }
}

/// Reads the sources, then merges what they held.
pub(super) async fn pfmerge(call: Call<'_>) -> Answer {
    let [name, sources @ ..] = call.args else { return Err(call.wrong_arity()) };
    let sources = union(call, sources).await?;
    observe(call, name, Vec::new(), Some(sources)).await?;
    Ok(ExecReply::OK)
}

async fn observe(
    call: Call<'_>,
    name: &Bytes,
    elements: Vec<Bytes>,
    union: Option<Registers>,
) -> Result<bool, Failure> {
    match call.write(Kind::HyperLogLog, name, Mutation::Observe { elements, union }).await? {
        Outcome::Observed(changed) => Ok(changed),
        _ => Err(unexpected()),
    }
}

async fn union(call: Call<'_>, names: &[Bytes]) -> Result<Registers, Failure> {
    let mut union = Registers::default();
    for name in names {
        match call.read(Kind::HyperLogLog, name, Query::Value).await? {
            Reply::Nil => {}
            Reply::Bytes(bytes) => {
                union.union(&Registers::decode(&bytes).ok_or(NOT_ONE)?);
            }
            Reply::Int(_) | Reply::Array(_) => return Err(unexpected()),
        }
    }
    Ok(union)
}
