//! The record of a user's home, in the owner region.

use archipelago_engine::RegionId;
use thiserror::Error;

/// The version of the format, the record's first byte.
#[cfg(feature = "homes")]
const VERSION: &str = "1";

/// The highest epoch: what the servers' scripts count exactly.
#[cfg(feature = "homes")]
const LAST_EPOCH: u64 = 1 << 53;

/// Counts the decisions about one user's home. What is told to regions carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The one record of a user's home. Every change is compare-and-set on the epoch that the caller has seen.
///
/// ```
/// use archipelago::homes::assignment::Assignment;
///
/// let (us, eu) = ("us-east-1".parse()?, "eu-west-1".parse()?);
/// let first = Assignment::new(us);
/// let moving = first.begin(first.epoch(), eu)?;
/// assert_eq!((moving.home().as_str(), moving.moving_to().map(|to| to.as_str())), ("us-east-1", Some("eu-west-1")));
/// // Somebody rolls it back, and the mover, which does not know, commits.
/// let back = moving.roll_back(moving.epoch())?;
/// assert!(back.commit(moving.epoch()).is_err());
/// assert_eq!(back.home().as_str(), "us-east-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    home: RegionId,
    moving_to: Option<RegionId>,
    epoch: Epoch,
}

/// Why a record is not changed: it is not as the caller has seen it, or not in a state for it. Read it again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the record is at epoch {}, and {}", now.epoch.0, if now.moving_to.is_some() { "moving" } else { "settled" })]
pub struct Outdated {
    /// The record.
    pub now: Assignment,
}

/// Why a record cannot be read.
#[cfg(feature = "homes")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in crate::homes) enum RecordError {
    #[error("it is of another version: is this client older than the others?")]
    Version,
    #[error("it is malformed")]
    Malformed,
}

impl Assignment {
    /// The first record of a user who lives here.
    #[must_use]
    pub fn new(home: RegionId) -> Self {
        Self { home, moving_to: None, epoch: Epoch(1) }
    }

    /// Where the user lives; while a move is under way, still the old home.
    #[must_use]
    pub fn home(&self) -> &RegionId {
        &self.home
    }

    /// Where the user is about to live.
    #[must_use]
    pub fn moving_to(&self) -> Option<&RegionId> {
        self.moving_to.as_ref()
    }

    /// The epoch of the latest decision.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A move begins.
    ///
    /// # Errors
    /// [`Outdated`]; also when a move is under way, or the user lives there.
    pub fn begin(&self, seen: Epoch, to: RegionId) -> Result<Self, Outdated> {
        self.expect(seen == self.epoch && self.moving_to.is_none() && self.home != to)?;
        Ok(Self { moving_to: Some(to), epoch: self.next(), ..self.clone() })
    }

    /// Another mover goes on with the move: the one before it can do nothing more.
    ///
    /// # Errors
    /// [`Outdated`]; also when no move is under way.
    pub fn take_over(&self, seen: Epoch) -> Result<Self, Outdated> {
        self.expect(seen == self.epoch && self.moving_to.is_some())?;
        Ok(Self { epoch: self.next(), ..self.clone() })
    }

    /// The move is done: the home is the new one. Repeated, for an answer that was lost, it says so again.
    ///
    /// # Errors
    /// [`Outdated`] when the move was taken over or rolled back.
    pub fn commit(&self, seen: Epoch) -> Result<Self, Outdated> {
        self.expect(seen == self.epoch)?;
        let home = self.moving_to.as_ref().unwrap_or(&self.home).clone();
        Ok(Self { home, moving_to: None, epoch: self.epoch })
    }

    /// The move is given up: the home stays, and the mover can do nothing more.
    ///
    /// # Errors
    /// [`Outdated`]; also when no move is under way, for it may have been committed.
    pub fn roll_back(&self, seen: Epoch) -> Result<Self, Outdated> {
        self.expect(seen == self.epoch && self.moving_to.is_some())?;
        Ok(Self { moving_to: None, epoch: self.next(), ..self.clone() })
    }

    /// On the wire: version, epoch, home, and where the user is about to live, separated by blanks: `1 5 us eu`.
    #[cfg(feature = "homes")]
    pub(in crate::homes) fn encode(&self) -> String {
        let moving = self.moving_to.as_ref().map(|to| format!(" {to}")).unwrap_or_default();
        format!("{VERSION} {} {}{moving}", self.epoch.0, self.home)
    }

    #[cfg(feature = "homes")]
    pub(in crate::homes) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed)?;
        let (version, rest) = text.split_once(' ').ok_or(RecordError::Malformed)?;
        if version != VERSION {
            return Err(RecordError::Version);
        }
        let mut parts = rest.splitn(3, ' ');
        let epoch = parts.next().and_then(|epoch| epoch.parse().ok()).filter(|epoch| (1..LAST_EPOCH).contains(epoch));
        let home = parts.next().and_then(|home| home.parse().ok());
        let moving_to = parts.next().map(str::parse).transpose();
        match (epoch, home, moving_to) {
            (Some(epoch), Some(home), Ok(moving_to)) => Ok(Self { home, moving_to, epoch: Epoch(epoch) }),
            (None, _, _) | (_, None, _) | (_, _, Err(_)) => Err(RecordError::Malformed),
        }
    }

    fn next(&self) -> Epoch {
        Epoch(self.epoch.0.saturating_add(1))
    }

    fn expect(&self, holds: bool) -> Result<(), Outdated> {
        if holds { Ok(()) } else { Err(Outdated { now: self.clone() }) }
    }
}

#[cfg(all(test, feature = "homes"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_the_committed_ones() {
        let settled = Assignment::new("us-east-1".parse().unwrap());
        let moving = settled.begin(settled.epoch(), "eu.2".parse().unwrap()).unwrap();
        for (record, golden) in [(settled, "1 1 us-east-1"), (moving, "1 2 us-east-1 eu.2")] {
            assert_eq!(record.encode(), golden);
            assert_eq!(Assignment::decode(golden.as_bytes()), Ok(record));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in
            ["", "1", "1 ", "1 1", "1 0 us", "1 9007199254740992 us", "1 -1 us", "1 1 us eu ap", "1 1 us ", "1 1 u/s"]
        {
            assert_eq!(Assignment::decode(text.as_bytes()), Err(RecordError::Malformed), "{text}");
        }
        assert_eq!(Assignment::decode(b"2 1 us"), Err(RecordError::Version));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Assignment::decode(&bytes);
        }
    }
}
