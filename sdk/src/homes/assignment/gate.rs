//! A region's gate for one user: whether it takes the user's writes, and what it lets a mover do.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::Epoch;

/// A user's keys and what they hold, in whatever form they travel.
pub type Contents = BTreeMap<Bytes, Bytes>;

/// A region's gate for one user. Kept beside the user's keys, and changed in one step with them.
///
/// A region that has never heard of a user has the default: shut, at epoch zero.
///
/// ```
/// use archipelago::homes::assignment::{Epoch, Gate};
///
/// let mut gate = Gate::default();
/// assert!(gate.check_write().is_err());
/// gate.open(Epoch(1))?;
/// assert!(gate.check_write().is_ok());
/// gate.seal(Epoch(2))?;
/// assert!(gate.check_write().is_err() && gate.open(Epoch(1)).is_err());
/// # Ok::<(), archipelago::homes::assignment::GateRefusal>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    epoch: Epoch,
    state: GateState,
}

/// What a gate lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GateState {
    /// Nothing: the user lives elsewhere.
    #[default]
    Shut,
    /// Writes: the user lives here.
    Open,
    /// Nothing: the user is leaving, and the contents are final.
    Sealed,
    /// Copies from the user's home, in case the user moves here.
    Receiving,
}

/// Which of a mover's two passes a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Round {
    /// While the home is still written to.
    Early,
    /// After it was sealed.
    Final,
}

/// Why a gate does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GateRefusal {
    /// The decision behind it was replaced by a later one.
    #[error("the region has acted on epoch {}", .0.0)]
    Outdated(Epoch),
    /// The gate is in no state for it. A writer reads the record of the user's home again.
    #[error("the region's gate is {0:?} for this user")]
    NotNow(GateState),
}

/// What becomes of the user's keys here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// They stay.
    Keep,
    /// All are deleted, in the same step.
    Clear,
}

impl Gate {
    /// What it lets through.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.state
    }

    /// The highest epoch that it has acted on.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a write may be executed.
    ///
    /// # Errors
    /// [`GateRefusal::NotNow`] unless the user lives here.
    pub fn check_write(&self) -> Result<(), GateRefusal> {
        match self.state {
            GateState::Open => Ok(()),
            GateState::Shut | GateState::Sealed | GateState::Receiving => Err(GateRefusal::NotNow(self.state)),
        }
    }

    /// Gets ready for copies.
    ///
    /// # Errors
    /// [`GateRefusal`]
    pub fn prepare(&mut self, epoch: Epoch) -> Result<Effect, GateRefusal> {
        self.refuse_older(epoch)?;
        match (self.state, self.epoch == epoch) {
            // Said twice, it must not delete what was copied in between.
            (GateState::Receiving, true) => Ok(Effect::Keep),
            (GateState::Shut | GateState::Receiving, false) => {
                *self = Self { epoch, state: GateState::Receiving };
                Ok(Effect::Clear)
            }
            // Left by a user who moved away and whose keys were not cleared yet.
            (GateState::Sealed, false) => {
                *self = Self { epoch, state: GateState::Receiving };
                Ok(Effect::Clear)
            }
            (GateState::Shut | GateState::Sealed | GateState::Open, _) => Err(GateRefusal::NotNow(self.state)),
        }
    }

    /// Whether a copy of a key is to be stored, given the round of the copy that is there; `false`: the one that is
    /// there is as good, and the mover is told that it arrived.
    ///
    /// # Errors
    /// [`GateRefusal`]
    pub fn check_copy(&self, epoch: Epoch, round: Round, held: Option<Round>) -> Result<bool, GateRefusal> {
        self.refuse_older(epoch)?;
        match self.state {
            GateState::Receiving if self.epoch == epoch => Ok(held.is_none_or(|held| round > held)),
            GateState::Shut | GateState::Open | GateState::Sealed | GateState::Receiving => {
                Err(GateRefusal::NotNow(self.state))
            }
        }
    }

    /// Stops writes for good at this epoch. The contents are read in the same step.
    ///
    /// # Errors
    /// [`GateRefusal`]
    pub fn seal(&mut self, epoch: Epoch) -> Result<(), GateRefusal> {
        self.refuse_older(epoch)?;
        match (self.state, self.epoch == epoch) {
            (GateState::Sealed, true) => Ok(()),
            // Receiving: the copies were committed, and nobody has opened yet. Shut: a first home that nobody opened.
            (GateState::Open | GateState::Sealed | GateState::Receiving, false) => {
                *self = Self { epoch, state: GateState::Sealed };
                Ok(())
            }
            (GateState::Shut, false) if self.epoch == Epoch::default() => {
                *self = Self { epoch, state: GateState::Sealed };
                Ok(())
            }
            (GateState::Shut | GateState::Open | GateState::Receiving, _) => Err(GateRefusal::NotNow(self.state)),
        }
    }

    /// Lets writes in: said to the home that a settled record names, with the record's epoch, by anybody.
    ///
    /// # Errors
    /// [`GateRefusal`]
    pub fn open(&mut self, epoch: Epoch) -> Result<(), GateRefusal> {
        self.refuse_older(epoch)?;
        let may = match self.state {
            GateState::Open => true,
            // Rolled back. At its own epoch the seal stands: the user may have moved.
            GateState::Sealed => epoch > self.epoch,
            // Committed, for the record names this region. Perhaps at an earlier epoch: a move away from here may have
            // begun before anybody opened, and been rolled back. No move to here has: the user lives here already.
            GateState::Receiving => true,
            // A first home.
            GateState::Shut => self.epoch == Epoch::default(),
        };
        if !may {
            return Err(GateRefusal::NotNow(self.state));
        }
        *self = Self { epoch, state: GateState::Open };
        Ok(())
    }

    /// Lets go of the user's keys: said to a region that a settled record does not name, with the record's epoch.
    ///
    /// # Errors
    /// [`GateRefusal`]
    pub fn clear(&mut self, epoch: Epoch) -> Result<Effect, GateRefusal> {
        self.refuse_older(epoch)?;
        match self.state {
            // The user lives here, as far as the region knows: there is a seal to come, or a mistake.
            GateState::Open => Err(GateRefusal::NotNow(self.state)),
            GateState::Shut | GateState::Sealed | GateState::Receiving => {
                *self = Self { epoch, state: GateState::Shut };
                Ok(Effect::Clear)
            }
        }
    }

    fn refuse_older(&self, epoch: Epoch) -> Result<(), GateRefusal> {
        if epoch < self.epoch { Err(GateRefusal::Outdated(self.epoch)) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// Found by the simulation, as a user who was locked out for good: the new home opened at the commit's epoch only.
    #[test]
    fn a_home_that_nobody_opened_before_the_next_move_was_given_up_opens_still() {
        let mut gate = Gate::default();
        assert_eq!(gate.prepare(Epoch(2)), Ok(Effect::Clear));
        // Committed at 2; begun again at 3, from here, and rolled back at 4.
        gate.open(Epoch(4)).unwrap();
        assert_eq!((gate.state(), gate.epoch()), (GateState::Open, Epoch(4)));
    }

    #[test]
    fn a_seal_holds_at_its_epoch() {
        let mut gate = Gate::default();
        gate.open(Epoch(1)).unwrap();
        gate.seal(Epoch(2)).unwrap();
        gate.seal(Epoch(2)).unwrap();
        assert_eq!(gate.open(Epoch(2)), Err(GateRefusal::NotNow(GateState::Sealed)));
        assert_eq!(gate.seal(Epoch(1)), Err(GateRefusal::Outdated(Epoch(2))));
        gate.open(Epoch(3)).unwrap();
        assert_eq!(gate.clear(Epoch(3)), Err(GateRefusal::NotNow(GateState::Open)));
    }

    #[test]
    fn a_copy_needs_the_epoch_of_its_move_and_never_goes_back_a_round() {
        let mut gate = Gate::default();
        assert_eq!(gate.prepare(Epoch(5)), Ok(Effect::Clear));
        assert_eq!(gate.prepare(Epoch(5)), Ok(Effect::Keep));
        for (held, early, last) in
            [(None, true, true), (Some(Round::Early), false, true), (Some(Round::Final), false, false)]
        {
            assert_eq!(gate.check_copy(Epoch(5), Round::Early, held), Ok(early));
            assert_eq!(gate.check_copy(Epoch(5), Round::Final, held), Ok(last));
        }
        assert!(gate.check_copy(Epoch(4), Round::Final, None).is_err());
        assert!(gate.check_copy(Epoch(6), Round::Final, None).is_err());
        assert_eq!(gate.clear(Epoch(6)), Ok(Effect::Clear));
        assert!(gate.check_copy(Epoch(6), Round::Final, None).is_err());
    }
}
