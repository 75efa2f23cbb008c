//! Clears in steps: what a key of many fields is removed by.
//!
//! A clear of a million fields in one script blocks the region that writes it for many seconds, is one log entry of a
//! million cells, and blocks every region that joins it as long. So a clear that would go over more than
//! [`limits::CLEARED_AT_ONCE`] fields is refused with [`MutationError::TooManyFields`](crate::MutationError), nothing
//! changed, and the caller removes what it finds in the key by mutations of this kind, a few hundred members each. Each
//! is an ordinary observed remove: atomic, one log entry, joined as any other. Whoever breaks off leaves a key with fewer
//! members, and the next to try goes on from there.
//!
//! The alternative was one version for the whole key: a vector `cleared[origin]`, equal to `applied`, that hides every
//! assignment and total up to it. It fails for sums. A run that goes on past the clear needs a base, the sum as it stood
//! at the clear, and a link that folds two increments into one delta brings a total from behind the clear, with nothing
//! left of the one that was cleared. And a receiver would have to look at a million cells in one script all the same.

use bytes::Bytes;

use crate::mutation::{MutationError, limits};

/// A step of a clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClearStep {
    /// The members that go.
    pub members: Vec<Bytes>,
    /// Only while the key is past its expiry by so many milliseconds: one that was extended, or written anew, stays.
    pub grace: Option<u64>,
    /// Whether the expiry goes along: last, so that a key past its expiry shows nothing of what still stands.
    pub is_last: bool,
}

impl ClearStep {
    /// Checks a step against the [`limits`].
    pub(crate) fn check_limits(&self) -> Result<(), MutationError> {
        let fits = self.members.len() <= limits::MEMBERS && self.members.iter().all(|m| m.len() <= limits::MEMBER);
        if fits { Ok(()) } else { Err(MutationError::TooLarge) }
    }
}
