//! How a write ended, as far as its session is concerned.

use archipelago_engine::{ListEdit, Mutation, Outcome, Standing, StockOutcome};

use crate::{sessions::Writing, store::StoreError};

/// How a write ended, the more telling the later in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Nothing was done, and nothing was said of what is there.
    Nothing,
    /// All of it was done.
    Done,
    /// Some of it was not done, because of what is there.
    Refused,
    /// Nobody knows.
    Open,
}

impl Ending {
    #[deny(clippy::wildcard_enum_match_arm)] // a new failure must be classified, not inherited
    pub(super) fn of(mutation: &Mutation, outcome: &Result<Outcome, StoreError>) -> Self {
        match outcome {
            Ok(outcome) if is_whole(mutation, outcome) => Self::Done,
            // The answer tells of what others wrote: that the lock is taken, the member gone, the value no number.
            Ok(_) | Err(StoreError::Refused(_)) => Self::Refused,
            Err(StoreError::Unavailable(_) | StoreError::Stale(_) | StoreError::Server(_)) => Self::Nothing,
            Err(StoreError::NoAnswer(_) | StoreError::Protocol(_)) => Self::Open,
        }
    }

    /// Tells the session, with where the region stood behind the write.
    pub(super) fn note(self, writing: Writing<'_>, standing: Option<&Standing>) {
        match (self, standing) {
            (Self::Nothing, _) => writing.never_was(),
            (Self::Done, Some(standing)) => writing.landed(standing),
            (Self::Refused, Some(standing)) => writing.was_refused(standing),
            // Dropped, it leaves a doubt.
            (Self::Done | Self::Refused, None) | (Self::Open, _) => {}
        }
    }
}

/// Whether a write did all that it was to do.
fn is_whole(mutation: &Mutation, outcome: &Outcome) -> bool {
    match (mutation, outcome) {
        (Mutation::Assign(assignment), Outcome::Assigned { assigned, .. }) => {
            *assigned == assignment.entries.len() as u64
        }
        (Mutation::Remove { members }, Outcome::Removed(removed)) => *removed == members.len() as u64,
        // What it asked for holds, whether it changed a register or not.
        (Mutation::Add { .. }, _) | (_, Outcome::Observed(_)) => true,
        (_, Outcome::Cleared { existed, .. }) => *existed,
        (_, Outcome::Expiry(applied)) => *applied,
        (_, Outcome::Stock(outcome)) => match outcome {
            StockOutcome::Done { .. } | StockOutcome::Held(_) | StockOutcome::Given { .. } => true,
            StockOutcome::Short { .. } | StockOutcome::Gone | StockOutcome::Reused | StockOutcome::NotTaken { .. } => {
                false
            }
        },
        (_, Outcome::Appended(id)) => id.is_some(),
        (_, Outcome::Claimed(claim)) => claim.is_some(),
        (Mutation::Evict(_), Outcome::Removed(removed)) => *removed > 0,
        (Mutation::List(edit), outcome) => is_whole_edit(edit, outcome),
        (
            _,
            Outcome::Assigned { .. } | Outcome::Removed(_) | Outcome::Sum(_) | Outcome::Length(_) | Outcome::Popped(_),
        ) => false,
    }
}

/// The same of a list: what is absent is the answer of those that found less than they asked for.
fn is_whole_edit(edit: &ListEdit, outcome: &Outcome) -> bool {
    match (edit, outcome) {
        (ListEdit::Pop { count, .. }, Outcome::Popped(values)) => values.len() as u64 == *count,
        (_, Outcome::Length(length)) => length.is_some_and(|length| length > 0),
        (ListEdit::Set { .. }, Outcome::Assigned { .. }) => true,
        (ListEdit::Remove { .. } | ListEdit::Trim { .. }, Outcome::Removed(removed)) => *removed > 0,
        _ => false,
    }
}
