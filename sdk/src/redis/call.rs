//! What comes back from Redis, sorted by what it means for the caller.

use archipelago_engine::MutationError;
use redis::{ErrorKind, RedisError, Value};

use crate::store::StoreError;

/// How a call failed.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// The script found another history than the one it was told: nothing was done.
    Stale,
    /// The server does not know the script: nothing was done.
    NoScript,
    /// The server answered an error: nothing was done. `fatal`: the connection is of no more use.
    Server {
        /// The error's text.
        text: String,
        /// Whether to reconnect: another primary may be in charge.
        fatal: bool,
    },
    /// The connection broke or the answer is late: what was sent may have been done.
    NoAnswer {
        /// What the client library says.
        text: String,
        /// Whether the connection is gone, rather than slow.
        broken: bool,
    },
}

impl CallError {
    pub(super) fn of(error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            let text = match error.detail() {
                Some(detail) => format!("{code} {detail}"),
                None => code.to_owned(),
            };
            return Self::of_server(code, text);
        }
        let text = error.to_string();
        if error.is_timeout() {
            return Self::NoAnswer { text: "no answer in time".to_owned(), broken: false };
        }
        // One error for requests sent and never sent: a dead multiplexed connection cannot tell them apart. An answer that
        // cannot be parsed leaves the connection out of step. What the crate refused before sending is a defect of ours,
        // and calling that "maybe applied" errs on the safe side.
        Self::NoAnswer { text, broken: error.is_io_error() || error.is_unrecoverable_error() || is_out_of_step(error) }
    }

    fn of_server(code: &str, text: String) -> Self {
        match code {
            "STALE" => Self::Stale,
            "NOSCRIPT" => Self::NoScript,
            // The node is not the primary any more, or is still loading: find out again who is.
            "READONLY" | "MASTERDOWN" | "LOADING" | "MOVED" | "CLUSTERDOWN" => {
                Self::Server { text: as_of_a_command(text), fatal: true }
            }
            // Raised inside a script. Before its first write these refuse it, whichever version wraps them how.
            _ if is_raised(&text) && ["READONLY", "MASTERDOWN"].iter().any(|code| text.contains(code)) => {
                Self::Server { text, fatal: true }
            }
            "OOM" | "MISCONF" | "NOREPLICAS" | "NOPERM" | "BUSY" => {
                Self::Server { text: as_of_a_command(text), fatal: false }
            }
            // Redis does not roll scripts back: what came before the failing command stands.
            _ if is_raised(&text) => Self::NoAnswer { text, broken: false },
            _ => Self::Server { text, fatal: false },
        }
    }

    pub(super) fn into_store(self) -> StoreError {
        match self {
            Self::Stale => StoreError::Stale("the script refused".to_owned()),
            Self::NoScript => StoreError::Server("NOSCRIPT the server forgot its scripts".to_owned()),
            Self::Server { text, .. } => match MutationError::ALL.into_iter().find(|e| e.to_string() == text) {
                Some(refusal) => StoreError::Refused(refusal),
                None => StoreError::Server(text),
            },
            Self::NoAnswer { text, .. } => StoreError::NoAnswer(text),
        }
    }
}

/// Whether a command inside a script failed, rather than the script having answered an error.
fn is_raised(text: &str) -> bool {
    text.contains("user_script") || text.contains("Error running script")
}

/// What the command alone would have been told: Redis 7 and Valkey say behind it which line of which script it was.
fn as_of_a_command(mut text: String) -> String {
    if let Some(at) = text.rfind(" script: ")
        && text.get(at..).is_some_and(is_raised)
    {
        text.truncate(at);
    }
    text
}

fn is_out_of_step(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType)
}

/// An answer, or the error inside it.
pub(super) fn checked(value: Value) -> Result<Value, CallError> {
    value.extract_error().map_err(|error| CallError::of(&error))
}

/// Reading answers.
pub(super) mod parse {
    use bytes::Bytes;
    use redis::Value;

    use crate::store::StoreError;

    pub(in crate::redis) fn unexpected(value: &Value) -> StoreError {
        // The kind only: an answer may hold a user's data.
        let kind = match value {
            Value::Nil => "nil",
            Value::Int(_) => "an integer",
            Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
            Value::Array(_) => "an array",
            _ => "another type",
        };
        StoreError::Protocol(kind.to_owned())
    }

    pub(in crate::redis) fn bytes(value: Value) -> Result<Option<Bytes>, StoreError> {
        match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::SimpleString(text) => Ok(Some(text.into())),
            Value::Okay => Ok(Some(Bytes::from_static(b"OK"))),
            Value::Int(n) => Ok(Some(n.to_string().into())),
            other => Err(unexpected(&other)),
        }
    }

    pub(in crate::redis) fn text(value: Value) -> Result<Option<String>, StoreError> {
        let Some(bytes) = bytes(value)? else { return Ok(None) };
        String::from_utf8(bytes.into()).map(Some).map_err(|_| StoreError::Protocol("not text".to_owned()))
    }

    pub(in crate::redis) fn integer(value: &Value) -> Result<i64, StoreError> {
        match value {
            Value::Int(n) => Ok(*n),
            Value::BulkString(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| StoreError::Protocol("not an integer".to_owned())),
            other => Err(unexpected(other)),
        }
    }

    pub(in crate::redis) fn unsigned(value: &Value) -> Result<u64, StoreError> {
        u64::try_from(integer(value)?).map_err(|_| StoreError::Protocol("a negative number".to_owned()))
    }

    pub(in crate::redis) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
        match value {
            Value::Array(values) | Value::Set(values) => Ok(values),
            Value::Nil => Ok(Vec::new()),
            Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// An array of exactly so many elements.
    pub(in crate::redis) fn tuple<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
        let values = array(value)?;
        let found = values.len();
        values.try_into().map_err(|_| StoreError::Protocol(format!("{found} elements instead of {N}")))
    }
}
