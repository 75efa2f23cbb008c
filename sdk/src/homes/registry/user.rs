//! A user as the servers know them: a hash tag, and the keys that carry it.

use std::{fmt, fmt::Write, sync::Arc};

use crate::{
    error::{Error, ErrorKind},
    routing::rendezvous::hash_tag,
};

/// The longest id of a user, in bytes.
pub(super) const LONGEST: usize = 256;

/// What the library's own keys begin with.
const OWN: &str = "archipelago:";

/// A user's id, written as a hash tag: printable ASCII but `{`, `}` and `%` as it is, every other byte as `%XX`. So two ids
/// never have one tag, and a tag ends where it should.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct User(Arc<str>);

impl User {
    /// # Errors
    /// [`ErrorKind::Refused`] for an id that is empty or too long.
    pub(super) fn new(id: &[u8]) -> Result<Self, Error> {
        if !(1..=LONGEST).contains(&id.len()) {
            let text = format!("a user's id has 1 to {LONGEST} bytes, this one {}", id.len());
            return Err(Error::new(ErrorKind::Refused, text));
        }
        let mut tag = String::with_capacity(id.len());
        for byte in id {
            if byte.is_ascii_graphic() && !b"{}%".contains(byte) {
                tag.push(char::from(*byte));
            } else {
                // Writing to a string never fails.
                let _ = write!(tag, "%{byte:02X}");
            }
        }
        Ok(Self(tag.into()))
    }

    pub(super) fn tag(&self) -> &str {
        &self.0
    }

    /// Whether a key is one of the user's own.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        hash_tag(key) == self.0.as_bytes() && !key.starts_with(OWN.as_bytes())
    }

    /// A key of the user's, by this name.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.0)
    }

    /// Where a region keeps the user's gate.
    pub(super) fn gate(&self) -> String {
        format!("{OWN}gate:{{{}}}", self.0)
    }

    /// Where a region keeps which keys the user has there.
    pub(super) fn held(&self) -> String {
        format!("{OWN}held:{{{}}}", self.0)
    }

    /// Where the owner region keeps the record.
    pub(super) fn record(&self) -> String {
        format!("{OWN}home:{{{}}}", self.0)
    }
}

/// Who it is has no place in a log.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_of_any_bytes_is_a_tag_of_its_own() {
        let ids: [&[u8]; 7] = [b"user:7", b"a}b", b"a%7Db", b"{a}", b"\xff\x00", b" ", "ö".as_bytes()];
        let mut tags = BTreeSet::new();
        for id in ids {
            let user = User::new(id).unwrap();
            assert!(user.has(user.key("cart").as_bytes()), "{}", user.tag());
            assert!(!user.has(user.gate().as_bytes()) && !user.has(b"cart"));
            assert!(tags.insert(user.tag().to_owned()), "{}", user.tag());
        }
        assert!(tags.contains("user:7") && tags.contains("%FF%00"), "{tags:?}");
        assert!(User::new(b"").is_err() && User::new(&[b'a'; LONGEST + 1]).is_err());
        assert!(User::new(&[0xff; LONGEST]).is_ok());
    }

    #[test]
    fn another_users_key_is_not_the_users() {
        let user = User::new(b"user:7").unwrap();
        assert!(user.has(b"cart:{user:7}:items") && user.has(b"{user:7}"));
        for key in [&b"{user:8}:cart"[..], b"user:7:cart", b"{{user:7}}", b"{user:7", b"archipelago:held:{user:7}"] {
            assert!(!user.has(key));
        }
    }
}
