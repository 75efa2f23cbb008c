//! A session: what one user has seen, shared by all who act for them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    builder::{SessionBuilder, SessionKind},
    position::Position,
    token::{DataSet, Found, Place, Token},
    wire::TokenError,
};

/// One user's session: its reads see its own writes, through [`Client::with_session`](crate::Client::with_session),
/// [`Keyspace::with_session`](crate::Keyspace::with_session) and
/// [`Connection::with_session`](crate::Connection::with_session).
///
/// Cheap to clone; clones share what was seen. See the [module](super) for how, and for what is promised.
///
/// ```
/// use archipelago::sessions::{Session, TokenError};
///
/// let session = Session::from_token(&Session::new().token())?;
/// assert_eq!(session.token(), Session::new().token());
/// assert_eq!(session.merge("forged"), Err(TokenError::Damaged));
/// # Ok::<(), TokenError>(())
/// ```
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) options: SessionBuilder,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) token: Token,
    tagged_until: Option<Instant>,
    /// How many doubts were ever raised: an answer ends only those from before it was asked for.
    pub(super) doubts: u64,
}

/// What the reads of a data set need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing was seen.
    Nothing,
    /// A node that shows it has what was seen.
    Cover,
    /// The primary: what was seen is not known.
    Primary,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        SessionBuilder::default().build()
    }

    /// A session that has seen what this token says.
    ///
    /// # Errors
    /// [`TokenError`] when it is no token.
    pub fn from_token(token: &str) -> Result<Self, TokenError> {
        SessionBuilder::default().from_token(token)
    }

    /// A session that asks for more.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    pub(super) fn with(options: SessionBuilder) -> Self {
        Self { shared: Arc::new(Shared { options, state: Mutex::default() }) }
    }

    /// What it has seen so far: letters, digits, `-` and `_`, for a cookie or a header. On either plane below 64
    /// characters after writes in one region, below 300 for three regions. Take it when the request ends: it grows with
    /// every write.
    #[must_use]
    pub fn token(&self) -> String {
        let state = self.state();
        let mut token = state.token.clone();
        if let Some(until) = state.tagged_until {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, and a second more, for the other clock does not count in the same seconds.
            let seconds = if left.is_zero() { 0 } else { unix(SystemTime::now()).saturating_add(whole(left)) };
            token.tagged_until = u32::try_from(seconds).unwrap_or(u32::MAX);
        }
        drop(state);
        token.encode()
    }

    /// Takes in what another session has seen: another request of the same user, or what another user showed them.
    ///
    /// # Errors
    /// [`TokenError`] when it is no token; nothing changes then.
    pub fn merge(&self, token: &str) -> Result<(), TokenError> {
        let mut token = Token::decode(token)?;
        let seconds = u64::from(std::mem::take(&mut token.tagged_until));
        let left = Duration::from_secs(seconds.saturating_sub(unix(SystemTime::now())));
        let mut state = self.state();
        state.token.merge(&token);
        // A forged one must not last for ever.
        state.tag(left.min(self.shared.options.tag_for));
        Ok(())
    }

    /// What it has seen so far, to tell later whether there was more.
    #[cfg(feature = "axum")]
    pub(super) fn seen(&self) -> impl PartialEq + use<> {
        let state = self.state();
        (state.token.clone(), state.tagged_until)
    }

    /// The kind it has in a keyspace.
    pub(crate) fn kind(&self, keyspace: SessionKind) -> SessionKind {
        self.shared.options.kind.unwrap_or(keyspace)
    }

    /// The name under which regions keep its tag, if it has one.
    pub(crate) fn user(&self) -> Option<&str> {
        self.shared.options.user.as_deref()
    }

    /// How long its tags last.
    pub(crate) fn tag_for(&self) -> Duration {
        self.shared.options.tag_for
    }

    /// Whether reads go to the writer, for the session wrote a moment ago.
    pub(crate) fn is_tagged(&self) -> bool {
        self.state().tagged_until.is_some_and(|until| Instant::now() < until)
    }

    /// Reads go to the writer for so long, at most as long as its tags last.
    pub(crate) fn tag(&self, left: Duration) {
        self.state().tag(left.min(self.shared.options.tag_for));
    }

    /// Whether reads raise the token.
    pub(crate) fn reads_raise(&self) -> bool {
        self.shared.options.reads_raise
    }

    /// How long a read may wait for a replica.
    pub(crate) fn wait(&self) -> Duration {
        self.shared.options.wait.unwrap_or_default()
    }

    pub(crate) fn demand(&self, set: DataSet) -> Demand {
        self.demand_at(Instant::now(), set)
    }

    pub(super) fn demand_at(&self, now: Instant, set: DataSet) -> Demand {
        let state = self.state();
        let is_tagged = state.tagged_until.is_some_and(|until| now < until);
        match state.token.place(set) {
            _ if is_tagged || state.token.is_doubtful => Demand::Primary,
            Some(place) if place.is_doubtful => Demand::Primary,
            Some(_) => Demand::Cover,
            None => Demand::Nothing,
        }
    }

    /// What was seen of a data set until now: ask for it before a call, and hand it back with what the call found.
    pub(crate) fn before(&self, set: DataSet) -> Before {
        let state = self.state();
        Before { set, place: state.token.place(set).cloned(), doubts: state.doubts }
    }

    /// A server that has what was seen `before` answered, in this position; or the primary did.
    pub(crate) fn settle(&self, before: &Before, position: &Position) -> Found {
        let mut state = self.state();
        if state.doubts == before.doubts {
            state.token.trust(before.set);
        }
        state.token.settle(before.set, before.place.as_ref(), position)
    }

    /// Something was seen or written, and nobody knows where.
    pub(crate) fn doubt(&self, set: DataSet) {
        let mut state = self.state();
        state.doubts += 1;
        state.token.doubt(set);
    }

    /// A write begins. Unless it is said to have landed, it leaves a doubt: it may have been applied.
    pub(crate) fn write(&self, set: DataSet, kind: SessionKind) -> WriteWatch<'_> {
        WriteWatch { session: self, before: self.before(set), kind, has_landed: false }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tag(&mut self, left: Duration) {
        if !left.is_zero() {
            self.tagged_until = self.tagged_until.max(Some(Instant::now() + left));
        }
    }
}

/// What was seen of a data set before a call.
#[derive(Debug)]
pub(crate) struct Before {
    set: DataSet,
    pub(crate) place: Option<Place>,
    doubts: u64,
}

/// A write under way.
pub(crate) struct WriteWatch<'s> {
    session: &'s Session,
    before: Before,
    kind: SessionKind,
    has_landed: bool,
}

impl WriteWatch<'_> {
    /// It ended, well or badly, before the primary was in this position.
    pub(crate) fn landed(mut self, position: &Position) -> Found {
        self.has_landed = true;
        self.session.settle(&self.before, position)
    }
}

impl Drop for WriteWatch<'_> {
    fn drop(&mut self) {
        match self.kind {
            SessionKind::Token if self.has_landed => {}
            SessionKind::Token => self.session.doubt(self.before.set),
            SessionKind::Tag => self.session.state().tag(self.session.shared.options.tag_for),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("options", &self.shared.options).field("token", &self.token()).finish()
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn whole(left: Duration) -> u64 {
    left.as_secs().saturating_add(1)
}
