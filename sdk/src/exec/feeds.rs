//! FEED.APPEND, FEED.RANGE, FEED.REVRANGE, FEED.LEN, FEED.REM, FEED.ARRIVED: words of this library's own.

use archipelago_engine::{Append, EntryId, Keep, Key, Kind, Mutation, Outcome, Since, limits};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, failed, removed, unexpected},
    parse::{SYNTAX, integer, is},
    reply::ExecReply,
    streams::{id, span},
};
use crate::{
    handles::{FeedCursor, feed::entries_of, stream::between},
    store::Query,
};

/// As the handle's caps: an append that keeps not even its own entry would be none.
fn keep(word: &[u8], amount: &[u8]) -> Result<Keep, Failure> {
    let amount = || u64::try_from(integer(amount)?).map_err(|_| "ERR value is out of range, must be positive".into());
    match word {
        word if is(word, "MAXLEN") => amount().map(|count| Keep::Newest(count.max(1))),
        word if is(word, "MAXAGE") => amount().map(Keep::Lately),
        _ => Err(SYNTAX.into()),
    }
}

pub(super) async fn append(call: Call<'_>) -> Answer {
    let (name, keep, value) = match call.args {
        [name, value] => (name, None, value),
        [name, word, amount, value] => (name, Some(keep(word, amount)?), value),
        _ => return Err(call.wrong_arity()),
    };
    let append = Append { id: None, payload: value.clone(), existing: false, keep };
    match call.write(Kind::Feed, name, Mutation::Append(append)).await? {
        Outcome::Appended(Some(id)) => Ok(ExecReply::Bytes(id.to_string().into())),
        _ => Err(unexpected()),
    }
}

fn shown(entries: Vec<(EntryId, Bytes)>) -> ExecReply {
    let entry = |(id, value): (EntryId, Bytes)| {
        ExecReply::Array(vec![ExecReply::Bytes(id.to_string().into()), ExecReply::Bytes(value)])
    };
    ExecReply::Array(entries.into_iter().map(entry).collect())
}

/// FEED.RANGE, and FEED.REVRANGE with its bounds the other way round.
pub(super) async fn range(call: Call<'_>, reverse: bool) -> Answer {
    let (name, from, to, limit) = span(call, reverse)?;
    let reply = call.read(Kind::Feed, name, between(from, to, reverse, limit)).await?;
    let entries = entries_of(&Key::new(Kind::Feed, name.clone()), reply);
    entries.map(shown).map_err(|error| failed(&error))
}

pub(super) async fn len(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Feed, name, Query::Count).await?.into())
}

pub(super) async fn rem(call: Call<'_>) -> Answer {
    let [name, ids @ ..] = call.args else { return Err(call.wrong_arity()) };
    let members = ids.iter().map(|text| Ok(id(text, 0)?.to_bytes())).collect::<Result<_, Failure>>()?;
    removed(&call.write(Kind::Feed, name, Mutation::Remove { members }).await?)
}

/// Answers the cursor to read on from, whether reading started over, and the entries; behind them how many no cursor comes
/// to, where that is any.
pub(super) async fn arrived(call: Call<'_>) -> Answer {
    let [name, cursor, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let limit = match options {
        [] => limits::ARRIVALS,
        [word, count] if is(word, "COUNT") => {
            usize::try_from(integer(count)?).map_err(|_| "ERR value is out of range, must be positive")?
        }
        _ => return Err(SYNTAX.into()),
    };
    let since = match cursor.as_ref() {
        b"$" => Since::Now,
        text => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<FeedCursor>().ok())
            .ok_or("ERR not a cursor of a feed: use 0, $ or what FEED.ARRIVED answered")?
            .since(name),
    };
    let arrived = call.arrived(Kind::Feed, name, since, limit).await?;
    let cursor = FeedCursor::at(name, arrived.place).to_string();
    let mut answer =
        vec![ExecReply::Bytes(cursor.into()), ExecReply::Int(i64::from(arrived.restarted)), shown(arrived.entries)];
    answer.extend((arrived.unordered > 0).then(|| ExecReply::count(arrived.unordered)));
    Ok(ExecReply::Array(answer))
}
