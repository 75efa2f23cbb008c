//! How a routed call failed, in the library's own error and inside the crate's.

use std::{io, time::Duration};

use redis::RedisError;

use crate::error::{Attempt, Error, ErrorKind};

/// What was tried, for the error. Allocates only once something failed.
#[derive(Debug, Default)]
pub(crate) struct History {
    attempts: Vec<Attempt>,
}

/// Attempts named in an error: the rest is counted by nobody.
const LONGEST: usize = 32;

impl History {
    pub(crate) fn note(&mut self, node: &str, took: Duration, what: impl Into<String>) {
        let what = what.into();
        // The same again tells nothing new.
        let is_known = self.attempts.iter().any(|attempt| attempt.node == node && attempt.what == what);
        if self.attempts.len() < LONGEST && !is_known {
            self.attempts.push(Attempt { node: node.to_owned(), took, what });
        }
    }

    pub(crate) fn into_attempts(self) -> Vec<Attempt> {
        self.attempts
    }

    pub(crate) fn into_error(self, kind: ErrorKind, message: impl Into<String>, next_try: Option<Duration>) -> Error {
        Error::new(kind, message).with_attempts(self.attempts).with_next_try(next_try)
    }
}

/// The error as the crate's: it travels through everything that speaks `RedisError`.
///
/// The crate derives "retry" from the kind of an I/O error, and both `Other` and `TimedOut` say "retry at once". What may
/// have been applied, or will be refused again, has to say "never".
impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            // Nothing was changed, and later it may work.
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::TooFewAnswers | ErrorKind::Behind => {
                io::ErrorKind::Other
            }
            ErrorKind::MaybeApplied
            | ErrorKind::PartlyApplied
            | ErrorKind::Config
            | ErrorKind::Refused
            | ErrorKind::Server
            | ErrorKind::Serialization
            | ErrorKind::Load
            | ErrorKind::Lost
            | ErrorKind::NotConverged
            | ErrorKind::Protocol => io::ErrorKind::Unsupported,
        };
        io::Error::new(kind, error).into()
    }
}

impl Error {
    /// The library's own error inside the crate's, if it is one: what a call on a [`Connection`](super::Connection)
    /// failed with, unless the server itself answered the error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use archipelago::{Client, Config, Error, ErrorKind};
    /// # let text = "[regions.us]\nurl = \"redis://127.0.0.1:1\"\n[keyspaces.profiles]\nmode = \"routed\"";
    /// let config: Config = text.parse()?;
    /// let client = Client::builder().config(config).build().await;
    /// # assert_eq!(client.unwrap_err().kind(), ErrorKind::Unavailable);
    /// let server: redis::RedisError = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
    /// assert!(Error::of(&server).is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn of(error: &RedisError) -> Option<&Self> {
        let source = std::error::Error::source(error)?;
        // The crate keeps its cause behind an `Arc`, which is what `source` gives.
        let cause = match source.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>() {
            Some(cause) => cause.downcast_ref::<io::Error>(),
            None => source.downcast_ref::<io::Error>(),
        };
        cause?.get_ref()?.downcast_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use redis::RetryMethod;

    use super::*;

    #[test]
    fn the_own_error_is_found_again_and_says_retry_only_where_that_is_harmless() {
        let maybe: RedisError = Error::new(ErrorKind::MaybeApplied, "no answer").into();
        assert_eq!(Error::of(&maybe).unwrap().kind(), ErrorKind::MaybeApplied);
        assert!(matches!(maybe.retry_method(), RetryMethod::NoRetry), "{:?}", maybe.retry_method());
        assert!(!maybe.is_timeout());
        let down: RedisError = Error::new(ErrorKind::Unavailable, "down").into();
        assert_eq!(Error::of(&down).unwrap().kind(), ErrorKind::Unavailable);
        assert!(matches!(down.retry_method(), RetryMethod::RetryImmediately), "{:?}", down.retry_method());
    }
}
