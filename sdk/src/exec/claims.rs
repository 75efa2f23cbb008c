//! LCLAIM and STREAM.CLAIM: words of this library's own.

use archipelago_engine::{End, Key, Kind};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, failed},
    parse::{SYNTAX, is},
    reply::ExecReply,
    streams::shown,
};
use crate::{
    handles::{stream::entry_of, unreadable::of_member},
    store::Query,
};

pub(super) async fn lclaim(call: Call<'_>) -> Answer {
    let [name, end] = call.args else { return Err(call.wrong_arity()) };
    let end = match end {
        end if is(end, "LEFT") => End::Front,
        end if is(end, "RIGHT") => End::Back,
        _ => return Err(SYNTAX.into()),
    };
    let claimed = claim(call, Kind::List, name, end).await?;
    Ok(claimed.map_or(ExecReply::Nil, |(_, value)| ExecReply::Bytes(value)))
}

pub(super) async fn stream(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    let Some((id, payload)) = claim(call, Kind::Stream, name, End::Front).await? else { return Ok(ExecReply::Nil) };
    let member = [id, payload].concat().into();
    let unreadable = || failed(&of_member(&Key::new(Kind::Stream, name.clone()), &member));
    entry_of(&member).map(shown).ok_or_else(unreadable)
}

/// Position or id, and what was held there.
async fn claim(call: Call<'_>, kind: Kind, name: &Bytes, end: End) -> Result<Option<(Bytes, Bytes)>, Failure> {
    // Says so when the name is in use by another type.
    call.read(kind, name, Query::Count).await?;
    call.claim(kind, name, end).await
}
