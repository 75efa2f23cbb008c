//! Homes that stay: who decides where a user lives, and how a user moves without losing a write.
//!
//! Pure: records, gates and a mover that say what to send and what to answer. `Homes` (feature `homes`) puts connections
//! around them; a region's gate is there a script, which a test holds to [`Gate`].
//!
//! # Who decides
//!
//! Where a [resolver](super::HomeResolver) is asked twice it may answer twice: users travel, rules change. So the first
//! answer is written down, once, as the [`Assignment`] in the user's **owner region**: the rendezvous owner of the
//! user's id ([`owner_of`]), which everybody computes alike. It is one record on one server, changed by
//! compare-and-set, so a user has one home at every moment, whatever happens elsewhere. While the owner region is away
//! no home is assigned or moved; those that are known stay in use.
//!
//! Every change of the record that could contradict an earlier one takes the next **epoch**. What a region is told
//! carries the epoch, and a region's [`Gate`] for the user remembers the highest it has acted on and refuses lower
//! ones: a message that was on its way for an hour does nothing.
//!
//! # How a user moves, from A to B
//!
//! | | at the owner | at A | at B | writes |
//! |---|---|---|---|---|
//! | 1 | begin: moving A to B, epoch e | open | | at A |
//! | 2 | | open | prepare: empty, receiving e | at A |
//! | 3 | | open; contents read | copy, round early | at A |
//! | 4 | | seal at e; contents read in the same step | | wait |
//! | 5 | | sealed | copy of what differs, round final | wait |
//! | 6 | **commit**: home B, epoch e | sealed | | wait |
//! | 7 | | | open at e | at B |
//! | 8 | | clear at e: contents deleted | open | at B |
//!
//! Step 3 makes the wait short, and nothing depends on it. The home is A up to the commit and B from then on; in
//! between no gate is open, so writers wait for a few round trips and ask again.
//!
//! - **No write is lost.** A write that A acknowledged came before the seal, so it is in what the seal read; the commit
//!   comes after B has acknowledged all of that.
//! - **Never two homes.** B opens after the commit, which comes after the seal. A opens again only at a higher epoch,
//!   which only a rollback or another move gives, and after a rollback the commit at e is refused.
//! - **Everything may be repeated, late or lost.** Each step is idempotent at its epoch. A repeated `prepare` does not
//!   empty twice; an early copy that arrives after the final one of its key is ignored.
//! - **Interrupted at any point**, anyone may finish: [`Assignment::take_over`] takes the next epoch and begins again
//!   with step 2, [`Assignment::roll_back`] takes the next epoch and leaves the home at A. After the commit no mover is
//!   needed: whoever finds the home's gate shut opens it with the settled record's epoch, which is also how A opens after a
//!   rollback, and how a first home opens. What is left at the other side is cleared by whoever finds it.
//!
//! Not promised: a move of data that does not fit one answer (the seal reads the user's keys in one step; sessions are
//! small); anything when a region loses what it acknowledged, gates included; reads at A after the seal are as of the
//! seal.
//!
//! The simulation beside this page runs it against lost, repeated and late messages, movers that die and movers that
//! wake up again, and proves that it would find the mistakes that the rules above exclude.

mod gate;
mod mover;
mod record;
#[cfg(test)]
mod simulation;

pub use self::{
    gate::{Contents, Effect, Gate, GateRefusal, GateState, Round},
    mover::{Action, Mover, Reply},
    record::{Assignment, Epoch, Outdated},
};
use crate::routing::{RegionIndex, RegionInfo, rendezvous::KeyHash};

/// The region that keeps a user's assignment: the weighted [rendezvous](crate::routing::rendezvous) owner of the
/// user's id; `None` without regions.
///
/// Every process computes the same from the same names and weights. A region that joins takes over its share of the
/// records, and one whose weight changes as well: carry those over before it is used.
///
/// ```
/// use archipelago::{homes::assignment::owner_of, routing::RegionInfo};
///
/// let regions = [RegionInfo::new("us-east-1".parse()?), RegionInfo::new("eu-west-1".parse()?)];
/// assert_eq!(owner_of(b"user:3", &regions).map(|owner| regions[owner.as_usize()].id.as_str()), Some("eu-west-1"));
/// assert_eq!(owner_of(b"user:3", &[]), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn owner_of(user: &[u8], regions: &[RegionInfo]) -> Option<RegionIndex> {
    let key = KeyHash::of(user);
    let scored = (0_u8..).zip(regions).map(|(index, region)| (key.score(region.id.as_str(), region.weight), index));
    scored.max_by_key(|(score, _)| *score).map(|(_, index)| RegionIndex(index))
}
