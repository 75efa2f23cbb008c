//! Writes of lists: what the script takes and answers.

use archipelago_engine::{End, ListEdit, Outcome, Side};
use redis::{Cmd, Value};

use super::{super::call::parse, writes::assigned};
use crate::store::StoreError;

const fn word(end: End) -> &'static str {
    match end {
        End::Front => "front",
        End::Back => "back",
    }
}

/// The operation's own arguments, from the sixth on.
pub(super) fn arguments(cmd: &mut Cmd, edit: &ListEdit) {
    match edit {
        ListEdit::Push { end, values, existing } => {
            cmd.arg("push").arg(word(*end)).arg(u8::from(*existing));
            for value in values {
                cmd.arg(value.as_ref());
            }
        }
        ListEdit::Insert { side, pivot, value } => {
            let side = match side {
                Side::Before => "before",
                Side::After => "after",
            };
            cmd.arg("insert").arg(side).arg(pivot.as_ref()).arg(value.as_ref());
        }
        ListEdit::Set { index, value } => {
            cmd.arg("set").arg(*index).arg(value.as_ref());
        }
        ListEdit::Pop { end, count } => {
            cmd.arg("pop").arg(word(*end)).arg(*count);
        }
        ListEdit::Remove { value, count } => {
            cmd.arg("remove").arg(value.as_ref()).arg(*count);
        }
        ListEdit::Trim { start, stop } => {
            cmd.arg("trim").arg(*start).arg(*stop);
        }
    }
}

pub(super) fn outcome(edit: &ListEdit, answer: Value) -> Result<Outcome, StoreError> {
    Ok(match edit {
        ListEdit::Push { .. } | ListEdit::Insert { .. } => {
            Outcome::Length(u64::try_from(parse::integer(&answer)?).ok())
        }
        ListEdit::Set { .. } => assigned(answer)?,
        ListEdit::Pop { .. } => {
            let values = parse::array(answer)?.into_iter().map(|value| Ok(parse::bytes(value)?.unwrap_or_default()));
            Outcome::Popped(values.collect::<Result<_, StoreError>>()?)
        }
        ListEdit::Remove { .. } | ListEdit::Trim { .. } => Outcome::Removed(parse::unsigned(&answer)?),
    })
}
