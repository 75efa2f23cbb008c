//! A pipeline as one thing to route.

use redis::{Cmd, Pipeline};

use super::{
    access::Access, arguments::Arguments, command::Command, command::of_cmd, placement::Placement, refusal::Refusal,
};

/// A pipeline, looked up command by command.
///
/// A pipeline goes to one node as a whole, so what one of its commands needs all of them get.
///
/// ```
/// use archipelago::commands::{self, Access, Placement};
///
/// let mut pipeline = redis::pipe();
/// pipeline.sadd("tags", "new").ignore().expire("tags", 60);
/// let batch = commands::of_pipeline(&pipeline);
/// assert_eq!((batch.access(), batch.placement()), (Access::Write, Placement::Keyed));
/// assert!(batch.is_idempotent());
/// assert_eq!(batch.keys().count(), 2);
///
/// pipeline.cmd("BLPOP").arg("queue").arg(0);
/// assert!(commands::of_pipeline(&pipeline).refusal().is_some_and(|(position, _)| position == 2));
/// ```
#[derive(Clone, Copy)]
pub struct Batch<'p> {
    pipeline: &'p Pipeline,
    access: Access,
    placement: Placement,
    refusal: Option<(usize, Refusal)>,
}

/// Looks up every command of a pipeline.
#[must_use]
pub fn of_pipeline(pipeline: &Pipeline) -> Batch<'_> {
    let mut batch = Batch { pipeline, access: Access::Read, placement: Placement::Anywhere, refusal: None };
    for (position, cmd) in pipeline.cmd_iter().enumerate() {
        let command = of_cmd(cmd);
        batch.access = batch.access.max(command.access());
        batch.placement = batch.placement.with(command.placement());
        batch.refusal = batch.refusal.or_else(|| refusal_in_pipeline(&command).map(|refusal| (position, refusal)));
    }
    batch
}

fn refusal_in_pipeline<'a>(command: &Command<impl Arguments<'a>>) -> Option<Refusal> {
    let needs_to_be_alone = command.blocking().is_some()
        || match command.placement() {
            Placement::Cursor | Placement::EveryPrimary => true,
            // Loading a script for the commands behind it, on the node that runs them, is what a pipeline does it for.
            Placement::EveryNode => command.name() != Some("SCRIPT LOAD"),
            Placement::Keyed | Placement::Anywhere | Placement::Writer => false,
        };
    command.refusal().or_else(|| needs_to_be_alone.then_some(Refusal::InPipeline))
}

/// More comparisons of keys than this and a batch counts as not idempotent: the check is quadratic, and pipelines are as
/// long as callers like.
const COMPARISONS: usize = 4096;

impl<'p> Batch<'p> {
    /// Write if any command is.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Which node it is for: [`Placement::Keyed`] if any command has a key.
    ///
    /// A pipeline of nothing but SCRIPT LOAD is for [`Placement::EveryNode`].
    #[must_use]
    pub const fn placement(&self) -> Placement {
        self.placement
    }

    /// The first command that cannot be part of it, counted from 0, and why.
    #[must_use]
    pub const fn refusal(&self) -> Option<(usize, Refusal)> {
        self.refusal
    }

    /// Whether it runs as one MULTI/EXEC. All its keys then have to be in one slot, on one primary; else they need only one
    /// node, or may be sent there in parts.
    #[must_use]
    pub fn needs_one_slot(&self) -> bool {
        self.pipeline.is_transaction()
    }

    /// Whether all of it may be sent again when no answer came.
    ///
    /// It takes more than idempotent commands. In `GET a, SET a 1` the repetition would read what the first run wrote, and
    /// in `EXPIRE a 60, SADD a x` it would let a key expire that the first run left to stay. So no command that depends on
    /// what it finds may come before a write to one of its keys, and a write without a key must be alone. When in doubt
    /// this answers no. Not promised for a pipeline that uses one key as two types, where the first run answers WRONGTYPE.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        let mut comparisons = COMPARISONS;
        let is_single = self.pipeline.len() <= 1;
        self.pipeline.cmd_iter().enumerate().all(|(position, cmd)| {
            let command = of_cmd(cmd);
            command.is_idempotent()
                && (is_single
                    || self.access == Access::Read
                    || self.stands_repetition(&command, position, &mut comparisons))
        })
    }

    /// All keys of all commands, in their order; a key named twice comes twice.
    pub fn keys(&self) -> impl Iterator<Item = &'p [u8]> + use<'p> {
        self.pipeline.cmd_iter().flat_map(|cmd| of_cmd(cmd).keys())
    }

    /// Whether a command finds in a second run what it found in the first: nothing behind it writes to its keys.
    fn stands_repetition<'a>(
        &self,
        command: &Command<impl Arguments<'a>>,
        position: usize,
        comparisons: &mut usize,
    ) -> bool {
        let effect = command.effect();
        let is_keyless_write = effect.access() == Access::Write && command.keys().next().is_none();
        !is_keyless_write
            && (!effect.depends_on_state()
                || self
                    .pipeline
                    .cmd_iter()
                    .skip(position.saturating_add(1))
                    .all(|later| writes_none_of(later, command, comparisons)))
    }
}

fn writes_none_of<'a>(later: &Cmd, command: &Command<impl Arguments<'a>>, comparisons: &mut usize) -> bool {
    let later = of_cmd(later);
    later.access() == Access::Read
        || command.keys().all(|key| {
            later.keys().all(|other| {
                let is_within_budget = comparisons.checked_sub(1).map(|left| *comparisons = left).is_some();
                is_within_budget && key != other
            })
        })
}

impl std::fmt::Debug for Batch<'_> {
    /// Shows no argument: arguments may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.pipeline.len())
            .field("access", &self.access)
            .field("placement", &self.placement)
            .field("refusal", &self.refusal)
            .finish()
    }
}
