//! What a session asks for.

use std::time::Duration;

use serde::Deserialize;

use super::{session::Session, wire::TokenError};
use crate::resilience::OptionRow;

/// How a session reads its own writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionKind {
    /// At any node that shows it has them.
    #[default]
    Token,
    /// For some seconds after a write, at the writer; then anywhere. Asks no server where it stands, and promises
    /// nothing about replicas that are further behind than that, nor across processes whose clocks differ by as much.
    Tag,
}

impl SessionKind {
    /// The option: its key, its default and what it does.
    #[must_use]
    pub fn table() -> Vec<OptionRow> {
        let default = match Self::default() {
            Self::Token => "\"token\"",
            Self::Tag => "\"tag\"",
        };
        let meaning = "How sessions read their own writes: by `token` at any node, by `tag` for 5 s at the writer.";
        vec![OptionRow { key: "session".to_owned(), default: default.to_owned(), meaning }]
    }
}

/// What a session may ask for besides reading its own writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guarantee {
    /// A read sees what the session's writes before it did. Always asked for.
    ReadYourWrites,
    /// A read sees what the session's reads before it saw. Each read raises the token.
    MonotonicReads,
    /// Writes take effect in the session's order. The writer's own order gives that for as long as it stays; a
    /// promotion that loses an earlier write is reported when a later one finds out:
    /// [`Event::HistoryLost`](crate::Event::HistoryLost).
    MonotonicWrites,
    /// A write takes effect behind what the session had read before. Holds and is reported as
    /// [`Self::MonotonicWrites`]; each read raises the token.
    WritesFollowReads,
}

/// Builds a [`Session`].
///
/// ```
/// use archipelago::sessions::{Guarantee, Session};
/// use std::time::Duration;
///
/// let session = Session::builder().guarantee(Guarantee::MonotonicReads).wait(Duration::from_millis(50)).build();
/// assert!(session.token().len() < 64);
/// ```
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    pub(super) kind: Option<SessionKind>,
    pub(super) tag_for: Duration,
    pub(super) reads_raise: bool,
    pub(super) wait: Duration,
}

/// How long a tag lasts.
const TAG_FOR: Duration = Duration::from_secs(5);

/// The longest tag: what travels in a token is not believed beyond it.
const LONGEST_TAG: Duration = Duration::from_secs(3600);

impl Default for SessionBuilder {
    fn default() -> Self {
        Self { kind: None, tag_for: TAG_FOR, reads_raise: false, wait: Duration::ZERO }
    }
}

impl SessionBuilder {
    /// How it reads its own writes; default: as the keyspace says (`keyspaces.NAME.session`), else by token.
    #[must_use]
    pub const fn kind(mut self, kind: SessionKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// For so long after a write a session of kind [`SessionKind::Tag`] reads at the writer; default 5 s, at most an
    /// hour.
    #[must_use]
    pub fn tag_for(mut self, duration: Duration) -> Self {
        self.tag_for = duration.min(LONGEST_TAG);
        self
    }

    /// Asks for one more guarantee.
    #[must_use]
    pub const fn guarantee(mut self, guarantee: Guarantee) -> Self {
        match guarantee {
            Guarantee::ReadYourWrites | Guarantee::MonotonicWrites => {}
            Guarantee::MonotonicReads | Guarantee::WritesFollowReads => self.reads_raise = true,
        }
        self
    }

    /// A read that finds a replica behind asks it again for up to this long, before it goes on to the next node.
    /// Default zero: it goes on at once. Worth it where the primary is further away than replicas are usually behind.
    /// Each read waits so long at most, and never beyond its deadline.
    #[must_use]
    pub const fn wait(mut self, bound: Duration) -> Self {
        self.wait = bound;
        self
    }

    /// A session that has seen nothing yet.
    #[must_use]
    pub fn build(self) -> Session {
        Session::with(self)
    }

    /// A session that has seen what this token says.
    ///
    /// # Errors
    /// [`TokenError`] when it is no token.
    pub fn from_token(self, token: &str) -> Result<Session, TokenError> {
        let session = self.build();
        session.merge(token)?;
        Ok(session)
    }
}
