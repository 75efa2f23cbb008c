//! LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LRANGE, LLEN, LINDEX, LINSERT, LSET, LREM, LTRIM.

use archipelago_engine::{End, Kind, ListEdit, Mutation, Outcome, Side, position};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, removed, unexpected},
    parse::{SYNTAX, integer, is},
    reply::ExecReply,
};
use crate::store::{Query, Reply};

const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";

async fn edit(call: Call<'_>, name: &Bytes, edit: ListEdit) -> Result<Outcome, Failure> {
    call.write(Kind::List, name, Mutation::List(edit)).await
}

/// What the range of a list holds.
pub(super) async fn values(call: Call<'_>, name: &Bytes, start: i64, stop: i64) -> Result<Vec<Bytes>, Failure> {
    let Reply::Array(members) = call.read(Kind::List, name, Query::Range { start, stop }).await? else {
        return Err(unexpected());
    };
    let value = |member| match member {
        Reply::Bytes(bytes) => position::split(&bytes).map(|(_, value)| value).ok_or_else(unexpected),
        Reply::Nil | Reply::Int(_) | Reply::Array(_) => Err(unexpected()),
    };
    members.into_iter().map(value).collect()
}

/// LPUSH and RPUSH, and with an X only onto a list that is there.
pub(super) async fn push(call: Call<'_>, end: End, existing: bool) -> Answer {
    let [name, values @ ..] = call.args else { return Err(call.wrong_arity()) };
    length(&edit(call, name, ListEdit::Push { end, values: values.to_vec(), existing }).await?)
}

/// An element that was not found is -1.
fn length(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Length(length) => Ok(length.map_or(ExecReply::Int(-1), ExecReply::count)),
        _ => Err(unexpected()),
    }
}

pub(super) async fn pop(call: Call<'_>, end: End) -> Answer {
    let (name, count) = match call.args {
        [name] => (name, None),
        [name, count] => {
            let count = integer(count).ok().and_then(|count| u64::try_from(count).ok());
            (name, Some(count.ok_or(NOT_POSITIVE)?))
        }
        _ => return Err(call.wrong_arity()),
    };
    let Outcome::Popped(values) = edit(call, name, ListEdit::Pop { end, count: count.unwrap_or(1) }).await? else {
        return Err(unexpected());
    };
    let mut values = values.into_iter().map(ExecReply::Bytes);
    Ok(match count {
        None => values.next().unwrap_or(ExecReply::Nil),
        // Nothing was asked of a list that is there, or there is none.
        Some(0) if call.read(Kind::List, name, Query::Count).await? != Reply::Int(0) => ExecReply::Array(Vec::new()),
        Some(_) if values.len() == 0 => ExecReply::Nil,
        Some(_) => ExecReply::Array(values.collect()),
    })
}

pub(super) async fn lrange(call: Call<'_>) -> Answer {
    let [name, start, stop] = call.args else { return Err(call.wrong_arity()) };
    let values = values(call, name, integer(start)?, integer(stop)?).await?;
    Ok(ExecReply::Array(values.into_iter().map(ExecReply::Bytes).collect()))
}

pub(super) async fn llen(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::List, name, Query::Count).await?.into())
}

pub(super) async fn lindex(call: Call<'_>) -> Answer {
    let [name, index] = call.args else { return Err(call.wrong_arity()) };
    let index = integer(index)?;
    let value = values(call, name, index, index).await?.into_iter().next();
    Ok(value.map_or(ExecReply::Nil, ExecReply::Bytes))
}

pub(super) async fn linsert(call: Call<'_>) -> Answer {
    let [name, side, pivot, value] = call.args else { return Err(call.wrong_arity()) };
    let side = match side {
        side if is(side, "BEFORE") => Side::Before,
        side if is(side, "AFTER") => Side::After,
        _ => return Err(SYNTAX.into()),
    };
    length(&edit(call, name, ListEdit::Insert { side, pivot: pivot.clone(), value: value.clone() }).await?)
}

pub(super) async fn lset(call: Call<'_>) -> Answer {
    let [name, index, value] = call.args else { return Err(call.wrong_arity()) };
    edit(call, name, ListEdit::Set { index: integer(index)?, value: value.clone() }).await?;
    Ok(ExecReply::OK)
}

pub(super) async fn lrem(call: Call<'_>) -> Answer {
    let [name, count, value] = call.args else { return Err(call.wrong_arity()) };
    removed(&edit(call, name, ListEdit::Remove { value: value.clone(), count: integer(count)? }).await?)
}

pub(super) async fn ltrim(call: Call<'_>) -> Answer {
    let [name, start, stop] = call.args else { return Err(call.wrong_arity()) };
    edit(call, name, ListEdit::Trim { start: integer(start)?, stop: integer(stop)? }).await?;
    Ok(ExecReply::OK)
}
