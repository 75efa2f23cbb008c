//! The record of a user's home, in the owner region.

use archipelago_engine::RegionId;
use thiserror::Error;

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

    fn next(&self) -> Epoch {
        Epoch(self.epoch.0.saturating_add(1))
    }

    fn expect(&self, holds: bool) -> Result<(), Outdated> {
        if holds { Ok(()) } else { Err(Outdated { now: self.clone() }) }
    }
}
