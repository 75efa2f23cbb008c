//! What one caller asks of its calls.

use std::time::Duration;

/// What a caller asks of its calls; see [`Connection::with_options`](super::Connection::with_options).
///
/// ```
/// use std::time::Duration;
/// use archipelago::CallOptions;
///
/// let options = CallOptions::default().deadline(Duration::from_millis(200)).home("eu-west-1");
/// assert!(format!("{options:?}").contains("eu-west-1"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) deadline: Option<Duration>,
    pub(crate) home: Option<String>,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) is_idempotent: bool,
    pub(crate) at_primary: bool,
    pub(crate) no_hedge: bool,
}

impl CallOptions {
    /// Every call ends within this time. Default: `routed.deadline_ms` of the configuration. With zero nothing is sent.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The region that is home to the user these calls are for; policy `home-region` sends them there.
    ///
    /// An unknown name is [`ErrorKind::Config`](crate::ErrorKind::Config) at the first call.
    #[must_use]
    pub fn home(mut self, region: impl Into<String>) -> Self {
        self.home = Some(region.into());
        self
    }

    /// Reads are content with a replica at most this far behind, and with no other.
    #[must_use]
    pub const fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }

    /// The caller knows that doing these calls twice is harmless: they may be repeated after they may have been applied.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// Reads go to primaries only: they see every write that was acknowledged there.
    #[must_use]
    pub const fn at_primary(mut self) -> Self {
        self.at_primary = true;
        self
    }

    /// Reads are never sent to a second node while the first may still answer.
    #[must_use]
    pub const fn without_hedging(mut self) -> Self {
        self.no_hedge = true;
        self
    }
}
