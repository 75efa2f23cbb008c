//! Why a server is not there, or does not do what it should.

use std::io;

use redis::RedisError;

use crate::testing::poll;

/// Why a server is not there, or does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The machine has no such program.
    #[error("{program} is missing: put it into the path, or set {variable} to where it is")]
    MissingProgram {
        /// Its usual name.
        program: &'static str,
        /// The environment variable that names another.
        variable: &'static str,
    },
    /// The program ended, or did not answer.
    #[error("{program} does not start; its log ends:\n{log}")]
    DoesNotStart {
        /// The program, with its path.
        program: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not happen within [`poll::PATIENCE`].
    #[error("{what}: not within {:?}", poll::PATIENCE)]
    NotInTime {
        /// What was waited for.
        what: String,
    },
    /// The system refused something: a file, a port, a signal.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's own words.
        #[source]
        error: io::Error,
    },
    /// A command that set-up needs failed.
    #[error("a command of the set-up failed: {0}")]
    Command(#[from] RedisError),
    /// No certificates could be made.
    #[error("no certificates: {0}")]
    Certificates(String),
}

/// Names what the system refused.
pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |error| ServerError::System { what, error }
}

/// The error of a wait without end.
pub(super) fn late(what: impl Into<String>) -> ServerError {
    ServerError::NotInTime { what: what.into() }
}
