//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use archipelago_engine::{Amount, Kind, Mutation};
use bytes::Bytes;

use super::{
    call::{Answer, Call, sum, unexpected},
    parse::{float, integer},
    reply::ExecReply,
};
use crate::store::Query;

/// INCR and DECR.
pub(super) async fn step(call: Call<'_>, by: i64) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    add_integer(call, Kind::String, name, &Bytes::new(), by).await
}

pub(super) async fn incrby(call: Call<'_>) -> Answer {
    let [name, by] = call.args else { return Err(call.wrong_arity()) };
    add_integer(call, Kind::String, name, &Bytes::new(), integer(by)?).await
}

pub(super) async fn decrby(call: Call<'_>) -> Answer {
    let [name, by] = call.args else { return Err(call.wrong_arity()) };
    let by = integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add_integer(call, Kind::String, name, &Bytes::new(), by).await
}

pub(super) async fn incrbyfloat(call: Call<'_>) -> Answer {
    let [name, by] = call.args else { return Err(call.wrong_arity()) };
    match float(by) {
        Ok(by) => add_float(call, Kind::String, name, &Bytes::new(), by).await,
        // Redis looks at the type before it reads the number; a read of the value does that here.
        Err(failure) => call.read(Kind::String, name, Query::Value).await.and(Err(failure)),
    }
}

/// Adds to a string or to a hash's field.
pub(super) async fn add_integer(call: Call<'_>, kind: Kind, name: &Bytes, member: &Bytes, by: i64) -> Answer {
    let add = Mutation::Add { member: member.clone(), amount: Amount::Integer(by) };
    let text = sum(call.write(kind, name, add).await?)?;
    integer(&text).map(ExecReply::Int).map_err(|_| unexpected())
}

/// The same, of a fraction: the answer is text.
pub(super) async fn add_float(call: Call<'_>, kind: Kind, name: &Bytes, member: &Bytes, by: f64) -> Answer {
    let add = Mutation::Add { member: member.clone(), amount: Amount::Float(by) };
    sum(call.write(kind, name, add).await?).map(ExecReply::Bytes)
}
