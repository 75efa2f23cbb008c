//! STOCK.RESTOCK, STOCK.TAKE, STOCK.RETURN, STOCK.RESERVE, STOCK.CONFIRM, STOCK.RELEASE, STOCK.TRANSFER, STOCK.LEFT,
//! STOCK.RIGHTS: words of this library's own.

use std::str::FromStr;

use archipelago_engine::{Kind, Mutation, MutationError, Outcome, StockChange, StockOutcome};
use bytes::Bytes;

use super::{
    call::{Answer, Call, Failure, unexpected},
    parse::{SYNTAX, integer, is},
    reply::ExecReply,
};
use crate::store::{Query, Reply};

pub(super) async fn restock(call: Call<'_>) -> Answer {
    let [name, id, units] = call.args else { return Err(call.wrong_arity()) };
    left_after(change(call, name, StockChange::Restock { id: parsed(id)?, units: count(units)? }).await?)
}

pub(super) async fn give_back(call: Call<'_>) -> Answer {
    let [name, id, units] = call.args else { return Err(call.wrong_arity()) };
    left_after(change(call, name, StockChange::GiveBack { id: parsed(id)?, units: count(units)? }).await?)
}

pub(super) async fn take(call: Call<'_>) -> Answer {
    let [name, id, units, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let take = StockChange::Take { id: parsed(id)?, units: count(units)?, partial: upto(options)?, hold: None };
    done(change(call, name, take).await?)
}

pub(super) async fn reserve(call: Call<'_>) -> Answer {
    let [name, id, units, millis] = call.args else { return Err(call.wrong_arity()) };
    let hold = u64::try_from(integer(millis)?).map_err(|_| call.invalid_expire())?;
    let take = StockChange::Take { id: parsed(id)?, units: count(units)?, partial: false, hold: Some(hold) };
    match change(call, name, take).await? {
        StockOutcome::Held(reservation) => Ok(ExecReply::Bytes(reservation.to_string().into())),
        other => Err(refusal(&other)),
    }
}

pub(super) async fn confirm(call: Call<'_>) -> Answer {
    let [name, token] = call.args else { return Err(call.wrong_arity()) };
    ended(change(call, name, StockChange::Confirm(parsed(token)?)).await?)
}

pub(super) async fn release(call: Call<'_>) -> Answer {
    let [name, token] = call.args else { return Err(call.wrong_arity()) };
    ended(change(call, name, StockChange::Release(parsed(token)?)).await?)
}

pub(super) async fn transfer(call: Call<'_>) -> Answer {
    let [name, to, units, options @ ..] = call.args else { return Err(call.wrong_arity()) };
    let to = parsed(to)?;
    match change(call, name, StockChange::Transfer { to, units: count(units)?, partial: upto(options)? }).await? {
        StockOutcome::Given { units, .. } => Ok(ExecReply::count(units)),
        other => Err(refusal(&other)),
    }
}

pub(super) async fn left(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    match call.read(Kind::Stock, name, Query::Value).await? {
        Reply::Nil => Ok(ExecReply::Int(0)),
        Reply::Bytes(left) => Ok(ExecReply::Int(integer(&left)?)),
        Reply::Int(_) | Reply::Array(_) => Err(unexpected()),
    }
}

pub(super) async fn rights(call: Call<'_>) -> Answer {
    let [name] = call.args else { return Err(call.wrong_arity()) };
    done(change(call, name, StockChange::Tidy).await?)
}

async fn change(call: Call<'_>, name: &Bytes, change: StockChange) -> Result<StockOutcome, Failure> {
    match call.write(Kind::Stock, name, Mutation::Stock(change)).await? {
        Outcome::Stock(outcome) => Ok(outcome),
        _ => Err(unexpected()),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(text).map_err(|_| Failure::from(SYNTAX))?;
    text.parse().map_err(|error| format!("ERR {error}").into())
}

fn count(text: &[u8]) -> Result<u64, Failure> {
    u64::try_from(integer(text)?).map_err(|_| MutationError::Units.into())
}

fn upto(options: &[Bytes]) -> Result<bool, Failure> {
    match options {
        [] => Ok(false),
        [option] if is(option, "upto") => Ok(true),
        _ => Err(SYNTAX.into()),
    }
}

fn done(outcome: StockOutcome) -> Answer {
    match outcome {
        StockOutcome::Done { units, .. } => Ok(ExecReply::count(units)),
        other => Err(refusal(&other)),
    }
}

fn left_after(outcome: StockOutcome) -> Answer {
    match outcome {
        StockOutcome::Done { left, .. } => Ok(ExecReply::count(left)),
        other => Err(refusal(&other)),
    }
}

fn ended(outcome: StockOutcome) -> Answer {
    match outcome {
        StockOutcome::Done { .. } => Ok(ExecReply::OK),
        other => Err(refusal(&other)),
    }
}

fn refusal(outcome: &StockOutcome) -> Failure {
    match outcome {
        StockOutcome::Short { local, elsewhere } => {
            format!("NORIGHTS this region has a right to {local}, others have {elsewhere} as far as it knows").into()
        }
        StockOutcome::Gone => {
            "ERR the reservation is not held here: it ran out, has ended, or is another region's".into()
        }
        StockOutcome::Reused => "ERR the id stands for a call that asked for something else".into(),
        StockOutcome::NotTaken { taken } => format!("ERR only {taken} units are known to be taken").into(),
        StockOutcome::Done { .. } | StockOutcome::Held(_) | StockOutcome::Given { .. } => unexpected(),
    }
}
