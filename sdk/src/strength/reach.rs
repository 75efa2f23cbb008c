//! Who has a write: counted while regions answer, and told when too few did.

use std::fmt;

use archipelago_engine::PushReply;

use crate::store::StoreError;

/// How far a write came that too few have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Regions that have it, the one that executed it first.
    pub has: Vec<String>,
    /// Regions or replicas that may have it: it was sent, and no answer came.
    pub may_have: Vec<Missed>,
    /// Regions or replicas that have it not, as far as they said.
    pub lacks: Vec<Missed>,
}

/// Who did not say that it has a write, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// A region, or the address of a replica.
    pub place: String,
    /// What came instead.
    pub why: String,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, self.why)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is in {}", self.has.join(", "))?;
        let parts = [("may be in", &self.may_have), ("is not in", &self.lacks)];
        for (what, missed) in parts.into_iter().filter(|(_, missed)| !missed.is_empty()) {
            let missed: Vec<String> = missed.iter().map(Missed::to_string).collect();
            write!(f, "; it {what} {}", missed.join(", "))?;
        }
        Ok(())
    }
}

/// What one region has said so far about what was pushed there.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    may_have: bool,
    why: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { may_have: false, why: "no answer in time".to_owned() }
    }

    /// It is on its way: until an answer comes, it may be there.
    pub(crate) const fn sent(&mut self) {
        self.may_have = true;
    }

    /// Takes in an answer; says whether the region has what was pushed.
    #[deny(clippy::wildcard_enum_match_arm)] // a new answer must be classified, not inherited
    pub(crate) fn heard(&mut self, before: &Self, answer: Result<PushReply, StoreError>) -> bool {
        self.may_have = before.may_have;
        self.why = match answer {
            Ok(PushReply::Joined { left_out: 0 }) => return true,
            // Part of it is there. Whether it shows depends on what the rest would have hidden.
            Ok(PushReply::Joined { .. }) => {
                self.may_have = true;
                "it does not know all of the regions that the write is about".to_owned()
            }
            Ok(PushReply::Unheard) => "it has not completed a resync with the region that wrote".to_owned(),
            Ok(PushReply::Closed) => "it knows a later incarnation of the region that wrote".to_owned(),
            Ok(PushReply::Epoch(epoch)) => format!("its membership epoch is {epoch}"),
            // Nothing was sent, or nothing was done.
            Err(
                error @ (StoreError::Unavailable(_)
                | StoreError::Stale(_)
                | StoreError::Server(_)
                | StoreError::Refused(_)),
            ) => error.to_string(),
            Err(error @ (StoreError::NoAnswer(_) | StoreError::Partly(_) | StoreError::Protocol(_))) => {
                self.may_have = true;
                error.to_string()
            }
        };
        false
    }

    /// The last word, for the caller.
    pub(crate) fn note(self, place: String, reach: &mut Reach) {
        let list = if self.may_have { &mut reach.may_have } else { &mut reach.lacks };
        list.push(Missed { place, why: self.why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_there_is_told_from_what_is_not() {
        let before = Progress::new();
        let mut progress = before.clone();
        assert!(progress.heard(&before, Ok(PushReply::Joined { left_out: 0 })));
        assert!(!progress.heard(&before, Err(StoreError::Unavailable("down".to_owned()))) && !progress.may_have);
        assert!(!progress.heard(&before, Err(StoreError::NoAnswer("late".to_owned()))) && progress.may_have);
        let after = progress.clone();
        assert!(!progress.heard(&after, Err(StoreError::Unavailable("down".to_owned()))));
        assert!(progress.may_have, "the one before may have arrived");
    }
}
