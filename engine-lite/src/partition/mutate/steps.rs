//! Clears of many fields: refused in one step, done in several.

use super::Write;
use crate::{
    cells::Deadline,
    key::Field,
    list::{ListEdit, window},
    mutation::{Expiry, Mutation, MutationError, Outcome, limits},
    steps::ClearStep,
};

impl Write<'_> {
    /// Refuses what would clear, or cut off, too much for one step. What has died and waits to be collected counts, too:
    /// a clear has to look at it.
    pub(super) fn check_size(&self, mutation: &Mutation) -> Result<(), MutationError> {
        if self.state.fields.len() <= limits::CLEARED_AT_ONCE {
            return Ok(());
        }
        let is_too_much = match mutation {
            Mutation::ClearStep(_) => false,
            Mutation::Clear { .. } => true,
            Mutation::Sweep { grace } => self.is_past_by(*grace),
            Mutation::Expire(expiry) => self.is_past_by(0) || self.is_removal(*expiry),
            Mutation::List(edit) => self.is_past_by(0) || self.cuts_too_much(edit),
            Mutation::Assign(_)
            | Mutation::Add { .. }
            | Mutation::Resolve { .. }
            | Mutation::Remove { .. }
            | Mutation::Observe { .. }
            | Mutation::Append(_)
            | Mutation::Evict(_)
            | Mutation::Claim { .. }
            | Mutation::Stock(_) => self.is_past_by(0),
        };
        if is_too_much { Err(MutationError::TooManyFields) } else { Ok(()) }
    }

    /// Whether the deadline was so many milliseconds ago.
    pub(super) fn is_past_by(&self, grace: u64) -> bool {
        match self.state.deadline() {
            Some(Deadline::At(millis)) => self.now.as_millis() >= millis.saturating_add(grace),
            Some(Deadline::Never) | None => false,
        }
    }

    /// Whether a change of expiry leaves nothing.
    fn is_removal(&self, expiry: Expiry) -> bool {
        let is_past = self.deadline_of(expiry).is_ok_and(|deadline| deadline.is_past(self.now));
        is_past && self.state.has_data(self.kind)
    }

    fn cuts_too_much(&self, edit: &ListEdit) -> bool {
        let elements = self.state.members().filter_map(|(_, cells)| cells.text());
        let cut = match edit {
            ListEdit::Trim { start, stop } => {
                let length = elements.count();
                length.saturating_sub(window(*start, *stop, length).1)
            }
            ListEdit::Remove { value, count } => {
                let held = elements.filter(|element| element == value).count();
                if *count == 0 { held } else { held.min(usize::try_from(count.unsigned_abs()).unwrap_or(held)) }
            }
            ListEdit::Push { .. } | ListEdit::Insert { .. } | ListEdit::Set { .. } | ListEdit::Pop { .. } => 0,
        };
        cut > limits::CLEARED_AT_ONCE
    }

    pub(super) fn clear_step(&mut self, step: &ClearStep) -> Outcome {
        if step.grace.is_some_and(|grace| !self.is_past_by(grace)) {
            return Outcome::Stepped(None);
        }
        let is_over = self.is_over();
        let mut removed = 0;
        for member in &step.members {
            let is_live = self.state.member(member).is_some_and(|cells| cells.is_live());
            removed += u64::from(is_live && !is_over);
            self.retract_field(Field::Member(member.clone()));
        }
        if step.is_last {
            self.retract_field(Field::Expiry);
        } else if removed > 0 {
            self.retract_expiry_of_nothing();
        }
        Outcome::Stepped(Some(removed))
    }
}
