//! What a session asks for.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{session::Session, wire::TokenError};
use crate::resilience::OptionRow;

/// How a session reads its own writes on the routed plane. On the active-active plane it is by token, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionKind {
    /// At any node that shows it has them.
    #[default]
    Token,
    /// For some seconds after a write, at the writer; then anywhere. Asks no server where it stands, and promises
    /// nothing about replicas that are further behind than that, nor across processes whose clocks differ by as much. The
    /// tag travels in the token, and with [`SessionBuilder::user`] in the region's Redis.
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

/// What a read of the active-active plane does when the local region has not yet what the session has seen. All of them
/// end after [`SessionBuilder::wait`], with [`ErrorKind::Behind`](crate::ErrorKind::Behind).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenBehind {
    /// It asks the local region again until that has caught up. The shortest where links are quick; a region that is cut
    /// off answers no such read.
    #[default]
    Wait,
    /// It also asks the regions that wrote what is missing. One round trip to them, and the answer of one that has it all.
    AskOrigin,
    /// It also takes the key's cells from the local region and from those that wrote what is missing, and joins them. For
    /// what several regions wrote at once, when no region has all of it yet. Moves the whole key.
    Merge,
}

/// What a session may ask for besides reading its own writes.
///
/// On the routed plane the data are those of one region; on the active-active plane they are a keyspace's, in whatever
/// region the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guarantee {
    /// A read sees what the session's writes before it did. Always asked for.
    ReadYourWrites,
    /// A read sees what the session's reads before it saw. Each read raises the token.
    MonotonicReads,
    /// Writes take effect in the session's order.
    ///
    /// Routed: the writer's own order gives that for as long as it stays; a promotion that loses an earlier write is
    /// reported when a later one finds out: [`Event::HistoryLost`](crate::Event::HistoryLost).
    ///
    /// Active-active: a write waits until its region has the session's earlier ones, and replaces them there, whatever the
    /// regions' clocks say. So once a region shows the later of two writes of one key, it never shows the earlier one
    /// again. Of different keys a third region may show the later write first. Costs one more question to the local
    /// region before each write.
    MonotonicWrites,
    /// A write takes effect behind what the session had read before. Holds, costs and is reported as
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
    /// The hash of the user's id.
    pub(super) user: Option<Arc<str>>,
    pub(super) reads_raise: bool,
    pub(super) orders_writes: bool,
    pub(super) wait: Option<Duration>,
    pub(super) when_behind: WhenBehind,
}

/// How long a tag lasts.
const TAG_FOR: Duration = Duration::from_secs(5);

/// The longest tag: what travels in a token is not believed beyond it.
const LONGEST_TAG: Duration = Duration::from_secs(3600);

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            kind: None,
            tag_for: TAG_FOR,
            user: None,
            reads_raise: false,
            orders_writes: false,
            wait: None,
            when_behind: WhenBehind::default(),
        }
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

    /// Who the user is, for sessions of kind [`SessionKind::Tag`] whose token does not travel: the tag is then kept in
    /// the local region's Redis, too, and the other processes of the region know of the write without a cookie. Default:
    /// nobody.
    ///
    /// Costs a round trip to the local region's primary before each write, and before each read while this process knows
    /// of no tag. Where that primary does not answer, reads go to the writer. The key is `archipelago:tag:` and a hash of
    /// the id; it expires with the tag. Not promised: anything for a user who goes on in another region; there the token
    /// has to travel.
    #[must_use]
    pub fn user(mut self, id: impl AsRef<[u8]>) -> Self {
        let hash = Sha256::digest(id.as_ref());
        let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.user = Some(hex.into());
        self
    }

    /// Asks for one more guarantee.
    #[must_use]
    pub const fn guarantee(mut self, guarantee: Guarantee) -> Self {
        match guarantee {
            Guarantee::ReadYourWrites => {}
            Guarantee::MonotonicReads => self.reads_raise = true,
            Guarantee::MonotonicWrites => self.orders_writes = true,
            Guarantee::WritesFollowReads => (self.reads_raise, self.orders_writes) = (true, true),
        }
        self
    }

    /// For how long a read asks a node again that is behind; never beyond the read's deadline.
    ///
    /// On the routed plane the next node is asked after that; default zero: at once. Worth it where the primary is further
    /// away than replicas are usually behind. On the active-active plane a region that is still behind then is an error,
    /// see [`WhenBehind`]; default 1 s, at most an hour. Too short for the slowest link, and reads behind a change of region fail; too
    /// long, and they hang while a region is cut off.
    #[must_use]
    pub const fn wait(mut self, bound: Duration) -> Self {
        self.wait = Some(bound);
        self
    }

    /// What a read does on the active-active plane when the local region has not yet what the session has seen; default
    /// [`WhenBehind::Wait`].
    #[must_use]
    pub const fn when_behind(mut self, choice: WhenBehind) -> Self {
        self.when_behind = choice;
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
