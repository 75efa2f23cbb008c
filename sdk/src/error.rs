//! The one error that callers see: what kind, where, and what to do next.

use std::{fmt, time::Duration};

use archipelago_engine::{MutationError, RegionId};

use crate::{store::StoreError, strength::Reach};

/// Why a call failed.
///
/// Ask [`Error::kind`] or the `is_` questions; the text says what happened, where, and what to check.
#[derive(Clone, Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    region: Option<RegionId>,
    attempts: Vec<Attempt>,
    next_try: Option<Duration>,
    reach: Option<Reach>,
}

/// One attempt that failed: of a routed call, or of a read of several regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The node that was asked, or passed over.
    pub node: String,
    /// How long it took.
    pub took: Duration,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {:?}: {}", self.node, self.took, self.what)
    }
}

/// The kinds of failure a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration says what it cannot say, or names what does not exist.
    Config,
    /// The region cannot be reached. Nothing was sent, so a write was certainly not applied and may be repeated.
    Unavailable,
    /// A write was sent and no answer came: it may have been applied. Repeat it only if applying it twice is harmless.
    MaybeApplied,
    /// A write was applied in the local region, and too few others have said in time that they have it: [`Error::reach`]
    /// says who. It is not undone, and links still bring it everywhere. Or the removal of a large key, which goes in steps,
    /// ended before its end: the text says how many members are gone, and repeating it goes on.
    PartlyApplied,
    /// A read was sent and no answer came.
    Timeout,
    /// Fewer regions answered a read than were asked for: [`Error::attempts`] says what became of the others.
    TooFewAnswers,
    /// The operation is not allowed on the value as it is (Redis's own error text). Nothing was changed.
    Refused,
    /// The server answered an error. Nothing was changed.
    Server,
    /// A value could not be converted to or from its stored form.
    Serialization,
    /// A loader of the application's failed: its own words are in the text.
    Load,
    /// The local region has not yet what the session has seen, nor could it be read elsewhere in time. It may be there a
    /// moment later.
    Behind,
    /// No region has what the session has seen: a region lost what it had acknowledged, or the token is none of this
    /// system. Said once: the session does not ask for it again.
    Lost,
    /// The region has no right to so many units of a stock, and could not get it in time. Nothing was taken.
    ///
    /// Others may have rights left: they move on demand and in the background, as far as regions reach each other. So
    /// take fewer, try again later, or ask in a region that has them.
    InsufficientRights {
        /// How many units this region may take.
        local: u64,
        /// How many are left elsewhere, as far as this region knows. Rights of a region that lost data may be among them:
        /// nobody may take those, until an operator reclaims them.
        known_elsewhere: u64,
    },
    /// A wait ended before its condition held.
    NotConverged,
    /// The answer was not what the protocol says: a defect, here or there.
    Protocol,
}

impl ErrorKind {
    /// Whether a read may succeed by itself a moment later.
    pub(crate) const fn may_pass(self) -> bool {
        match self {
            Self::Unavailable
            | Self::Timeout
            | Self::MaybeApplied
            | Self::PartlyApplied
            | Self::TooFewAnswers
            | Self::Server
            | Self::Behind
            | Self::Lost
            | Self::NotConverged
            | Self::Protocol => true,
            Self::Config | Self::Refused | Self::Serialization | Self::Load | Self::InsufficientRights { .. } => false,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                region: None,
                attempts: Vec::new(),
                next_try: None,
                reach: None,
            }),
        }
    }

    /// The same error, with the place it came from in front.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.inner.message = format!("{place}: {}", self.inner.message);
        self
    }

    /// The same error for a caller to whom it means something else.
    #[cfg(feature = "homes")]
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.inner.attempts = attempts;
        self
    }

    pub(crate) fn with_next_try(mut self, next_try: Option<Duration>) -> Self {
        self.inner.next_try = next_try;
        self
    }

    pub(crate) fn with_reach(mut self, reach: Reach) -> Self {
        self.inner.reach = Some(reach);
        self
    }

    pub(crate) fn at(mut self, region: &RegionId) -> Self {
        self.inner.region = Some(region.clone());
        self
    }

    /// What a store's failure means for a write.
    pub(crate) fn of_write(error: StoreError, region: &RegionId) -> Self {
        let (kind, message) = classify(error);
        // What was sent without an answer may have been applied.
        let kind = if kind == ErrorKind::Timeout { ErrorKind::MaybeApplied } else { kind };
        Self::new(kind, message).at(region)
    }

    /// What a store's failure means for a read: nothing can have been applied.
    pub(crate) fn of_read(error: StoreError, region: &RegionId) -> Self {
        let (kind, message) = classify(error);
        Self::new(kind, message).at(region)
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Where it happened, if in a region.
    #[must_use]
    pub fn region(&self) -> Option<&RegionId> {
        self.inner.region.as_ref()
    }

    /// What a routed call tried, in order, and the regions that did not answer a read of several; empty for other calls.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.inner.attempts
    }

    /// Who has a write of which [`ErrorKind::PartlyApplied`] says that too few have it.
    #[must_use]
    pub fn reach(&self) -> Option<&Reach> {
        self.inner.reach.as_ref()
    }

    /// How soon the regions are looked at again, when none was healthy.
    #[must_use]
    pub fn next_try(&self) -> Option<Duration> {
        self.inner.next_try
    }

    /// Whether a write may have been applied although it failed.
    #[must_use]
    pub fn is_maybe_applied(&self) -> bool {
        self.inner.kind == ErrorKind::MaybeApplied
    }

    /// Whether nothing was done: no server could be reached, or each declined.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.inner.kind == ErrorKind::Unavailable
    }

    /// The message alone: for refusals and server errors, the text Redis gives.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }
}

#[deny(clippy::wildcard_enum_match_arm)] // a new failure must be classified, not inherited
fn classify(error: StoreError) -> (ErrorKind, String) {
    match error {
        // Nothing was sent.
        StoreError::Unavailable(what) => (ErrorKind::Unavailable, what),
        // Sent, or possibly sent: the caller decides by read or write.
        StoreError::NoAnswer(what) => (ErrorKind::Timeout, what),
        StoreError::Refused(MutationError::TooLarge) => (ErrorKind::Refused, MutationError::TooLarge.to_string()),
        StoreError::Refused(refusal) => (ErrorKind::Refused, refusal.to_string()),
        // The script refuses before it changes anything.
        StoreError::Stale(what) => (
            ErrorKind::Unavailable,
            format!("the region's history keeps changing ({what}); is another primary being promoted?"),
        ),
        StoreError::Partly(what) => (ErrorKind::PartlyApplied, what),
        // Also of a physical key that somebody else has written to.
        StoreError::Server(what) if what.starts_with("WRONGTYPE") => (ErrorKind::Refused, what),
        StoreError::Server(what) => (ErrorKind::Server, what),
        StoreError::Protocol(what) => (ErrorKind::Protocol, what),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.inner.kind {
            ErrorKind::MaybeApplied => " (the write may have been applied; repeat it only if twice is harmless)",
            ErrorKind::Unavailable => " (nothing was done)",
            // Of what goes in steps the text says how to go on.
            ErrorKind::PartlyApplied if self.inner.reach.is_some() => {
                " (it is not undone; repeat it only if twice is harmless)"
            }
            ErrorKind::PartlyApplied
            | ErrorKind::Config
            | ErrorKind::Timeout
            | ErrorKind::TooFewAnswers
            | ErrorKind::Refused
            | ErrorKind::Server
            | ErrorKind::Serialization
            | ErrorKind::Load
            | ErrorKind::Behind
            | ErrorKind::Lost
            | ErrorKind::InsufficientRights { .. }
            | ErrorKind::NotConverged
            | ErrorKind::Protocol => "",
        };
        if let Some(region) = &self.inner.region {
            write!(f, "{region}: ")?;
        }
        write!(f, "{}{hint}", self.inner.message)?;
        if let Some(reach) = &self.inner.reach {
            write!(f, "; {reach}")?;
        }
        for attempt in &self.inner.attempts {
            write!(f, "; {attempt}")?;
        }
        match self.inner.next_try {
            Some(next) => write!(f, "; next try in {next:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
