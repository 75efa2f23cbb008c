//! What acts on a name whatever its type: DEL, EXISTS, TYPE, EXPIRE, PERSIST, TTL; and PING.

use archipelago_engine::{Expiry, Kind, Mutation, limits};

use super::{
    call::{Answer, Call, Failure},
    parse::{integer, is},
    reply::ExecReply,
};
use crate::store::{Query, Reply};

pub(super) async fn del(call: Call<'_>) -> Answer {
    let existed = call.write_kinds(call.args, &Mutation::Clear { previous: false }).await?;
    Ok(ExecReply::count(existed.into_iter().map(u64::from).sum()))
}

/// Counts a repeated name each time.
pub(super) async fn exists(call: Call<'_>) -> Answer {
    let names = call.read_kinds(call.args, Query::Exists).await?;
    Ok(ExecReply::count(names.iter().map(|kinds| u64::from(kinds.contains(&Reply::Int(1)))).sum()))
}

/// TYPE: of two types under one name, the first.
pub(super) async fn kind(call: Call<'_>) -> Answer {
    let names = call.read_kinds(call.args, Query::Exists).await?;
    let mut kinds = Kind::ALL.into_iter().zip(names.into_iter().flatten());
    Ok(ExecReply::Status(kinds.find(|(_, reply)| *reply == Reply::Int(1)).map_or("none", |(kind, _)| type_word(kind))))
}

/// What TYPE says. Redis has no type of its own for HyperLogLogs.
fn type_word(kind: Kind) -> &'static str {
    if kind == Kind::HyperLogLog { Kind::String.word() } else { kind.word() }
}

/// How a command of the EXPIRE family says when.
#[derive(Clone, Copy)]
pub(super) enum When {
    InSeconds,
    InMillis,
    AtSecond,
    AtMilli,
}

impl When {
    /// The expiry; `None` where 64 bits of milliseconds do not reach.
    fn expiry(self, amount: i64) -> Option<Expiry> {
        let unit = match self {
            Self::InSeconds | Self::AtSecond => 1000,
            Self::InMillis | Self::AtMilli => 1,
        };
        // However long ago, it is over: so far back as a write can say is enough.
        let millis = amount.checked_mul(unit)?.max(-limits::EXPIRE_AT);
        Some(match self {
            Self::InSeconds | Self::InMillis => Expiry::In(millis),
            Self::AtSecond | Self::AtMilli => Expiry::At(millis),
        })
    }
}

pub(super) async fn expire(call: Call<'_>, when: When) -> Answer {
    let [name, amount, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let conditions = ["NX", "XX", "GT", "LT"];
    if let Some(option) = options.iter().find(|option| !conditions.iter().any(|known| is(option, known))) {
        return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)).into());
    }
    if !options.is_empty() {
        return Err("ERR NX, XX, GT and LT are not supported by the EXPIRE commands here".into());
    }
    let expiry = when.expiry(integer(amount)?).ok_or_else(|| call.invalid_expire())?;
    change_expiry(call, name, expiry).await
}

pub(super) async fn persist(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    change_expiry(call, name, Expiry::Never).await
}

async fn change_expiry(call: Call<'_>, name: &bytes::Bytes, expiry: Expiry) -> Answer {
    let changed = call.write_kinds(std::slice::from_ref(name), &Mutation::Expire(expiry)).await?;
    Ok(ExecReply::Int(i64::from(changed.contains(&true))))
}

/// In seconds, rounded as Redis does.
pub(super) async fn ttl(call: Call<'_>) -> Answer {
    let millis = time_to_live(call).await?;
    Ok(ExecReply::Int(if millis < 0 { millis } else { millis.saturating_add(500) / 1000 }))
}

pub(super) async fn pttl(call: Call<'_>) -> Answer {
    time_to_live(call).await.map(ExecReply::Int)
}

async fn time_to_live(call: Call<'_>) -> Result<i64, Failure> {
    let names = call.read_kinds(call.args, Query::TimeToLive).await?;
    Ok(first_alive(&names).unwrap_or(-2))
}

/// The milliseconds left of the first type that exists under a name.
pub(super) fn first_alive(names: &[Vec<Reply>]) -> Option<i64> {
    names.iter().flatten().find_map(|reply| match reply {
        Reply::Int(-2) => None,
        Reply::Int(millis) => Some(*millis),
        Reply::Nil | Reply::Bytes(_) | Reply::Array(_) => None,
    })
}

pub(super) async fn ping(call: Call<'_>) -> Answer {
    match call.args {
        [] => Ok(ExecReply::Status("PONG")),
        [message] => Ok(ExecReply::Bytes(message.clone())),
        _ => Err(call.wrong_arity()),
    }
}
