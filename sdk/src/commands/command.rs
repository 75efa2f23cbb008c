//! One command, and the answers about it.

use std::fmt;

use redis::Cmd;

use super::{
    access::Access,
    arguments::{Arguments, words},
    blocking::Blocking,
    effect::Effect,
    keys::{Keys, keys},
    lookup::row_of,
    placement::Placement,
    refusal::Refusal,
    table::{Row, UNKNOWN},
};

/// A command with its arguments, looked up in the table.
///
/// Looking it up costs tens of nanoseconds; each question then walks the arguments at most as far as it needs, and most
/// look at none. Nothing allocates. Ask [`Command::refusal`] before anything else: the other answers about a refused
/// command serve an exclusive connection.
///
/// ```
/// use archipelago::commands::{Access, Command};
///
/// let words = [b"sort".as_slice(), b"list", b"STORE", b"sorted"];
/// let command = Command::new(words.iter().copied());
/// assert_eq!(command.name(), Some("SORT"));
/// assert_eq!(command.access(), Access::Write);
/// assert!(command.keys().eq([b"list".as_slice(), b"sorted"]));
/// ```
#[derive(Clone)]
pub struct Command<A> {
    row: &'static Row,
    arguments: A,
}

/// Looks up a command of the redis crate.
///
/// A cursor set by `Cmd::cursor_arg` cannot be read from a `Cmd`; it makes no difference to any answer here.
pub fn of_cmd(cmd: &Cmd) -> Command<impl Arguments<'_>> {
    Command::new(words(cmd))
}

impl<'a, A: Arguments<'a>> Command<A> {
    /// Looks up a command, given all its words, the name first. The case of the name does not matter.
    ///
    /// A command that the table does not know is taken for a write that must not be repeated, with its first argument as
    /// its key: most modules do so, and the redis crate's cluster client assumes it, too.
    pub fn new(arguments: A) -> Self {
        let mut head = arguments.clone();
        let row = head.next().and_then(|name| row_of(name, head.next())).unwrap_or(&UNKNOWN);
        Self { row, arguments }
    }

    /// Its name in capitals, with the subcommand if it has one: `GET`, `XINFO STREAM`. `None` when the table does not know
    /// it. A subcommand the table does not know answers the name of its container alone.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        (!self.row.name.is_empty()).then_some(self.row.name)
    }

    /// Whether it may change data.
    #[must_use]
    pub fn access(&self) -> Access {
        self.effect().access()
    }

    /// Whether it may be sent again when no answer came, by [the rule](super#when-a-command-is-idempotent).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.effect().is_idempotent()
    }

    /// Which node it is for.
    #[must_use]
    pub fn placement(&self) -> Placement {
        match self.row.placement {
            Placement::Keyed if self.keys().next().is_none() => match self.access() {
                Access::Read => Placement::Anywhere,
                Access::Write => Placement::Writer,
            },
            placement => placement,
        }
    }

    /// Whether it may wait at the server, and for how long. `None` when it does not.
    #[must_use]
    pub fn blocking(&self) -> Option<Blocking> {
        self.row.wait.and_then(|wait| wait.timeout(&self.arguments))
    }

    /// Why a shared, routed connection cannot take it. `None` when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.row.refusal
    }

    /// Its keys, in the order of its arguments. The shard channel of SPUBLISH counts as one: it has a slot as a key has.
    pub fn keys(&self) -> Keys<A> {
        keys(self.row.keys, self.arguments.clone())
    }

    pub(super) fn effect(&self) -> Effect {
        self.row.rule.effect(self.row.keys, &self.arguments)
    }
}

impl<A> fmt::Debug for Command<A> {
    /// Names the command only: arguments may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("name", &self.row.name).finish_non_exhaustive()
    }
}
