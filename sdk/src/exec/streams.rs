//! XADD, XRANGE, XREVRANGE, XLEN, XREAD, XDEL, XTRIM.

use archipelago_engine::{Append, EntryId, Keep, Key, Kind, Mutation, Outcome, encode_fields};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, failed, removed, unexpected},
    parse::{SYNTAX, integer, is},
    reply::ExecReply,
};
use crate::{
    handles::stream::{StreamEntry, between, entries_of},
    store::{Query, Reply},
};

const INVALID_ID: &str = "ERR Invalid stream ID specified as stream command argument";

/// An id; without a sequence it has the one of the side that it bounds.
pub(super) fn id(text: &[u8], sequence: u64) -> Result<EntryId, Failure> {
    let text = std::str::from_utf8(text).map_err(|_| INVALID_ID)?;
    let parsed = if text.contains('-') { text.parse() } else { format!("{text}-{sequence}").parse() };
    parsed.map_err(|_| INVALID_ID.into())
}

/// What the arguments say of trimming: MAXLEN or MINID, with `=` or `~`, and LIMIT, which changes nothing here. Answers
/// the rest of the arguments, too.
fn keep(args: &[Bytes]) -> Result<(Option<Keep>, &[Bytes]), Failure> {
    let [strategy, rest @ ..] = args else { return Ok((None, args)) };
    let by_length = is(strategy, "MAXLEN");
    if !by_length && !is(strategy, "MINID") {
        return Ok((None, args));
    }
    let (is_about, rest) = match rest {
        [sign, rest @ ..] if is(sign, "~") => (true, rest),
        [sign, rest @ ..] if is(sign, "=") => (false, rest),
        rest => (false, rest),
    };
    let [threshold, rest @ ..] = rest else { return Err(SYNTAX.into()) };
    let keep = if by_length {
        let count = u64::try_from(integer(threshold)?).map_err(|_| "ERR The MAXLEN argument must be >= 0.")?;
        Keep::Newest(count)
    } else {
        Keep::From(id(threshold, 0)?)
    };
    match rest {
        [word, limit, rest @ ..] if is(word, "LIMIT") => {
            if integer(limit)? < 0 {
                return Err("ERR The LIMIT argument must be >= 0.".into());
            }
            if !is_about {
                return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
            }
            Ok((Some(keep), rest))
        }
        rest => Ok((Some(keep), rest)),
    }
}

pub(super) async fn xadd(call: Call<'_>) -> Answer {
    let [name, rest @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (mut existing, mut trimming, mut rest) = (false, None, rest);
    loop {
        match rest {
            [word, behind @ ..] if is(word, "NOMKSTREAM") => (existing, rest) = (true, behind),
            _ => match keep(rest)? {
                (Some(keep), behind) => (trimming, rest) = (Some(keep), behind),
                (None, _) => break,
            },
        }
    }
    let [given, fields @ ..] = rest else { return Err(call.wrong_arity()) };
    let id = if is(given, "*") { None } else { Some(id(given, 0)?) };
    let (pairs, []) = fields.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    if pairs.is_empty() {
        return Err(call.wrong_arity());
    }
    let fields: Vec<_> = pairs.iter().map(|[field, value]| (field.clone(), value.clone())).collect();
    let append = Append { id, payload: encode_fields(&fields), existing, keep: trimming };
    match call.write(Kind::Stream, name, Mutation::Append(append)).await? {
        Outcome::Appended(id) => Ok(id.map_or(ExecReply::Nil, |id| ExecReply::Bytes(id.to_string().into()))),
        _ => Err(unexpected()),
    }
}

/// One end of a range: `-`, `+`, an id, or `(` and an id that is left out.
fn bound(text: &[u8], is_start: bool) -> Result<EntryId, Failure> {
    let sequence = if is_start { 0 } else { u64::MAX };
    match text {
        b"-" => Ok(EntryId::ZERO),
        b"+" => Ok(EntryId::MAX),
        [b'(', inner @ ..] if is_start => {
            id(inner, 0)?.next().ok_or_else(|| "ERR invalid start ID for the interval".into())
        }
        [b'(', inner @ ..] => {
            let id = id(inner, u64::MAX)?;
            let millis = id.millis.checked_sub(1).map(|millis| EntryId { millis, sequence: u64::MAX });
            let before = id.sequence.checked_sub(1).map(|sequence| EntryId { sequence, ..id }).or(millis);
            before.ok_or_else(|| "ERR invalid end ID for the interval".into())
        }
        text => id(text, sequence),
    }
}

pub(super) fn shown(entry: StreamEntry) -> ExecReply {
    let fields = entry.fields.into_iter().flat_map(|(field, value)| [field, value]).map(ExecReply::Bytes);
    ExecReply::Array(vec![ExecReply::Bytes(entry.id.to_string().into()), ExecReply::Array(fields.collect())])
}

fn all_shown(entries: Vec<StreamEntry>) -> ExecReply {
    ExecReply::Array(entries.into_iter().map(shown).collect())
}

async fn entries(call: Call<'_>, name: &Bytes, query: Query) -> Result<Vec<StreamEntry>, Failure> {
    let reply = call.read(Kind::Stream, name, query).await?;
    entries_of(&Key::new(Kind::Stream, name.clone()), reply).map_err(|error| failed(&error))
}

/// What a command for a range names: the key, the first id and the last, and how many at most.
pub(super) fn span(call: Call<'_>, reverse: bool) -> Result<(&Bytes, EntryId, EntryId, Option<u64>), Failure> {
    let [name, first, second, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (start, end) = if reverse { (second, first) } else { (first, second) };
    let (from, to) = (bound(start, true)?, bound(end, false)?);
    let limit = match options {
        [] => None,
        [word, count] if is(word, "COUNT") => Some(u64::try_from(integer(count)?).unwrap_or_default()),
        _ => return Err(SYNTAX.into()),
    };
    Ok((name, from, to, limit))
}

/// XRANGE, and XREVRANGE with its bounds the other way round.
pub(super) async fn xrange(call: Call<'_>, reverse: bool) -> Answer {
    let (name, from, to, limit) = span(call, reverse)?;
    // Redis answers nothing, not an empty range, where a stream is and no entry of it was asked for.
    if limit == Some(0) && call.read(Kind::Stream, name, Query::Count).await? != Reply::Int(0) {
        return Ok(ExecReply::Nil);
    }
    Ok(all_shown(entries(call, name, between(from, to, reverse, limit)).await?))
}

pub(super) async fn xlen(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    Ok(call.read(Kind::Stream, name, Query::Count).await?.into())
}

pub(super) async fn xread(call: Call<'_>) -> Answer {
    let (mut limit, mut rest) = (None, call.args);
    let streams = loop {
        match rest {
            [word, streams @ ..] if is(word, "STREAMS") => break streams,
            [word, ..] if is(word, "BLOCK") => {
                return Err("ERR BLOCK is not supported by XREAD here, ask again after a while".into());
            }
            [word, count, behind @ ..] if is(word, "COUNT") => {
                limit = u64::try_from(integer(count)?).ok().filter(|count| *count > 0);
                rest = behind;
            }
            _ => return Err(SYNTAX.into()),
        }
    };
    if streams.is_empty() || streams.len() % 2 != 0 {
        let why = "for each stream key an ID or '$' must be specified.";
        return Err(format!("ERR Unbalanced 'xread' list of streams: {why}").into());
    }
    let (names, ids) = streams.split_at(streams.len() / 2);
    let mut found = Vec::new();
    for (name, after) in names.iter().zip(ids) {
        // Behind the last entry is nothing, as long as nobody waits.
        let first = if is(after, "$") { None } else { id(after, 0)?.next() };
        let Some(first) = first else { continue };
        let entries = entries(call, name, between(first, EntryId::MAX, false, limit)).await?;
        if !entries.is_empty() {
            found.push(ExecReply::Array(vec![ExecReply::Bytes(name.clone()), all_shown(entries)]));
        }
    }
    Ok(if found.is_empty() { ExecReply::Nil } else { ExecReply::Array(found) })
}

pub(super) async fn xdel(call: Call<'_>) -> Answer {
    let [name, ids @ ..] = call.args else { return Err(call.wrong_arity()) };
    let members = ids.iter().map(|text| Ok(id(text, 0)?.to_bytes())).collect::<Result<_, Failure>>()?;
    removed(&call.write(Kind::Stream, name, Mutation::Remove { members }).await?)
}

pub(super) async fn xtrim(call: Call<'_>) -> Answer {
    let [name, rest @ ..] = call.args else { return Err(call.wrong_arity()) };
    let (Some(keep), []) = keep(rest)? else { return Err(SYNTAX.into()) };
    removed(&call.write(Kind::Stream, name, Mutation::Evict(keep)).await?)
}
