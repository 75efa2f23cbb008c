//! Moves one user: says what to send next, and hears the answers.

use archipelago_engine::RegionId;
use bytes::Bytes;

use super::{Assignment, Contents, Epoch, Round};

/// What a [`Mover`] wants done. All of it may be done again when an answer is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`Gate::prepare`](super::Gate::prepare) at the new home.
    Prepare,
    /// The contents at the old home, as they are.
    Read,
    /// [`Gate::check_copy`](super::Gate::check_copy) at the new home, and in the same step this value for this key,
    /// or no such key.
    Copy(Round, Bytes, Option<Bytes>),
    /// [`Gate::seal`](super::Gate::seal) at the old home, and its contents in the same step.
    Seal,
    /// [`Assignment::commit`] at the owner.
    Commit,
    /// [`Gate::open`](super::Gate::open) at the new home.
    Open,
    /// [`Gate::clear`](super::Gate::clear) at the old home.
    Clear,
}

/// The answer to an [`Action`]. Answers may be late or repeated: one that is not waited for is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Action::Prepare`].
    Prepared,
    /// To [`Action::Read`].
    Read(Contents),
    /// To [`Action::Copy`], with its round and key.
    Copied(Round, Bytes),
    /// To [`Action::Seal`].
    Sealed(Contents),
    /// To [`Action::Commit`].
    Committed,
    /// To [`Action::Open`].
    Opened,
    /// To [`Action::Clear`].
    Cleared,
    /// To any of them: a region or the record refused. Somebody else goes on, or has gone back.
    Refused,
}

/// Moves one user at one epoch.
///
/// Send all [`Mover::actions`], again whenever an answer is missing; hand every answer to [`Mover::hear`]; until
/// [`Mover::is_over`]. It may be dropped at any moment: see [the protocol](super).
///
/// ```
/// use archipelago::homes::assignment::{Action, Assignment, Contents, Mover, Reply};
///
/// let moving = Assignment::new("us".parse()?);
/// let moving = moving.begin(moving.epoch(), "eu".parse()?)?;
/// let mut mover = Mover::new(&moving).expect("a move is under way");
/// let cart = Contents::from([("cart".into(), "3 apples".into())]);
/// for reply in [Reply::Prepared, Reply::Read(Contents::new()), Reply::Sealed(cart)] {
///     mover.hear(reply);
/// }
/// // What the early copies lacked.
/// let copies: Vec<_> = mover.actions().collect();
/// assert!(matches!(&copies[..], [Action::Copy(_, key, Some(value))] if key == "cart" && value == "3 apples"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mover {
    from: RegionId,
    to: RegionId,
    epoch: Epoch,
    phase: Phase,
    /// What the new home has acknowledged of the early copies.
    held: Contents,
}

#[derive(Clone, Debug)]
enum Phase {
    Preparing,
    Reading,
    Copying(Round, Pending),
    Sealing,
    Committing,
    Opening,
    Clearing,
    Over,
}

/// Copies that are not acknowledged yet.
type Pending = std::collections::BTreeMap<Bytes, Option<Bytes>>;

impl Mover {
    /// For the move that this record says is under way, whoever began it: a record that was just
    /// [begun](Assignment::begin) or [taken over](Assignment::take_over), by this process and no other.
    #[must_use]
    pub fn new(assignment: &Assignment) -> Option<Self> {
        let to = assignment.moving_to()?.clone();
        let (from, epoch) = (assignment.home().clone(), assignment.epoch());
        Some(Self { from, to, epoch, phase: Phase::Preparing, held: Contents::new() })
    }

    /// The old home.
    #[must_use]
    pub fn from(&self) -> &RegionId {
        &self.from
    }

    /// The new home.
    #[must_use]
    pub fn to(&self) -> &RegionId {
        &self.to
    }

    /// The epoch that every message carries.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nothing is left to do: the user has moved, or this mover was refused.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// What is to be done now; several copies may be under way at once.
    pub fn actions(&self) -> impl Iterator<Item = Action> + '_ {
        let (single, copies) = match &self.phase {
            Phase::Preparing => (Some(Action::Prepare), None),
            Phase::Reading => (Some(Action::Read), None),
            Phase::Copying(round, pending) => (None, Some((*round, pending))),
            Phase::Sealing => (Some(Action::Seal), None),
            Phase::Committing => (Some(Action::Commit), None),
            Phase::Opening => (Some(Action::Open), None),
            Phase::Clearing => (Some(Action::Clear), None),
            Phase::Over => (None, None),
        };
        let copies = copies.into_iter().flat_map(|(round, pending)| {
            pending.iter().map(move |(key, value)| Action::Copy(round, key.clone(), value.clone()))
        });
        single.into_iter().chain(copies)
    }

    /// Hears an answer.
    pub fn hear(&mut self, reply: Reply) {
        if reply == Reply::Refused {
            self.phase = Phase::Over;
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        self.phase = match (phase, reply) {
            (Phase::Preparing, Reply::Prepared) => Phase::Reading,
            (Phase::Reading, Reply::Read(contents)) => {
                let all = contents.into_iter().map(|(key, value)| (key, Some(value))).collect();
                copying(Round::Early, all)
            }
            (Phase::Copying(round, mut pending), Reply::Copied(of, key)) if of == round => {
                if let Some(Some(value)) = pending.remove(&key) {
                    self.held.insert(key, value);
                }
                copying(round, pending)
            }
            (Phase::Sealing, Reply::Sealed(contents)) => copying(Round::Final, self.missing(contents)),
            (Phase::Committing, Reply::Committed) => Phase::Opening,
            (Phase::Opening, Reply::Opened) => Phase::Clearing,
            (Phase::Clearing, Reply::Cleared) => Phase::Over,
            // Late, or said again.
            (phase, _) => phase,
        };
    }

    /// What the new home lacks of the final contents, and what it has too much.
    fn missing(&self, contents: Contents) -> Pending {
        let gone = self.held.keys().filter(|key| !contents.contains_key(*key)).map(|key| (key.clone(), None));
        let mut missing: Pending = gone.collect();
        missing.extend(
            contents.into_iter().filter(|(key, value)| self.held.get(key) != Some(value)).map(|(k, v)| (k, Some(v))),
        );
        missing
    }
}

/// Copies under way, or what comes after the last of a round.
fn copying(round: Round, pending: Pending) -> Phase {
    match (pending.is_empty(), round) {
        (false, _) => Phase::Copying(round, pending),
        (true, Round::Early) => Phase::Sealing,
        (true, Round::Final) => Phase::Committing,
    }
}
