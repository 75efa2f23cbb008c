//! Replies, and how they are shown to programs and to people.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{store::Reply, text::quoted};

/// What a command answers: Redis's kinds of reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecReply {
    /// Nothing there.
    Nil,
    /// A number.
    Int(i64),
    /// A value.
    Bytes(Bytes),
    /// A word of the protocol: `OK`, `PONG`, the name of a type.
    Status(&'static str),
    /// Several.
    Array(Vec<Self>),
    /// An error; the first word says which kind, as in Redis.
    Error(String),
}

impl ExecReply {
    pub(super) const OK: Self = Self::Status("OK");

    pub(super) fn count(n: u64) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Whether it is an error.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// One line of JSON: nil is null, values are strings, an error is `{"error": "..."}`.
    ///
    /// Bytes that are no UTF-8 become U+FFFD: where they matter, use the reply itself.
    ///
    /// ```
    /// use archipelago::exec::ExecReply;
    /// let reply = ExecReply::Array(vec![ExecReply::Bytes("a".into()), ExecReply::Nil, ExecReply::Int(3)]);
    /// assert_eq!(reply.to_json(), r#"["a",null,3]"#);
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        self.value().to_string()
    }

    fn value(&self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Int(n) => json!(n),
            Self::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
            Self::Status(word) => json!(word),
            Self::Array(items) => items.iter().map(Self::value).collect(),
            Self::Error(text) => json!({ "error": text }),
        }
    }

    /// One line as redis-cli shows it.
    ///
    /// ```
    /// use archipelago::exec::ExecReply;
    /// let reply = ExecReply::Array(vec![ExecReply::Bytes("a\n".into()), ExecReply::Int(3)]);
    /// assert_eq!(reply.to_line(), r#"1) "a\n" 2) (integer) 3"#);
    /// ```
    #[must_use]
    pub fn to_line(&self) -> String {
        match self {
            Self::Nil => "(nil)".into(),
            Self::Int(n) => format!("(integer) {n}"),
            Self::Bytes(bytes) => quoted(bytes),
            Self::Status(word) => (*word).into(),
            Self::Array(items) if items.is_empty() => "(empty array)".into(),
            Self::Array(items) => {
                let numbered = items.iter().enumerate().map(|(i, item)| format!("{}) {}", i + 1, item.to_line()));
                numbered.collect::<Vec<_>>().join(" ")
            }
            Self::Error(text) => format!("(error) {text}"),
        }
    }
}

impl From<Reply> for ExecReply {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Nil => Self::Nil,
            Reply::Int(n) => Self::Int(n),
            Reply::Bytes(bytes) => Self::Bytes(bytes),
            Reply::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::exec::split_line;

    #[test]
    fn replies_are_shown_as_redis_cli_and_as_json() {
        let bytes = |b: &'static [u8]| ExecReply::Bytes(Bytes::from_static(b));
        for (reply, line, json) in [
            (ExecReply::Nil, "(nil)", "null"),
            (ExecReply::Int(-3), "(integer) -3", "-3"),
            (ExecReply::OK, "OK", "\"OK\""),
            (bytes(b"a\"\xff\x01\\"), r#""a\"\xff\x01\\""#, "\"a\\\"\u{fffd}\\u0001\\\\\""),
            (ExecReply::Array(vec![]), "(empty array)", "[]"),
            (ExecReply::Array(vec![bytes(b"a"), ExecReply::Nil]), r#"1) "a" 2) (nil)"#, r#"["a",null]"#),
            (ExecReply::Error("ERR no".into()), "(error) ERR no", r#"{"error":"ERR no"}"#),
        ] {
            assert_eq!(reply.to_line(), line);
            assert_eq!(reply.to_json(), json);
        }
    }

    #[test]
    fn a_shown_value_can_be_typed_back_in() {
        let all: Vec<u8> = (0..=255).collect();
        let words = split_line(quoted(&all)).unwrap();
        assert_eq!(words, [Bytes::from(all)]);
    }
}
