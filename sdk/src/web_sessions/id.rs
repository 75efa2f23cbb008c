//! The id of a session: what goes into the cookie.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::address::{Address, HomeTag};
use crate::error::{Error, ErrorKind};

/// The id of a session: 128 random bits of the operating system, and 16 that name the home region.
///
/// Whoever has it is the visitor. Send it over TLS only, in a cookie that is `HttpOnly`, `Secure` and `SameSite`. It is
/// not shown by `Debug` (which shows a digest: the name of the session's keys), there is no `Display`, and it is in no
/// error: only [`SessionId::to_text`] tells it.
///
/// ```
/// use archipelago::web_sessions::SessionId;
///
/// let text = "1a3c5000102030405060708090a0b0c0d0e0f";
/// let id: SessionId = text.parse()?;
/// assert_eq!(id.to_text(), text);
/// assert!(!format!("{id:?}").contains("0405"));
/// # Ok::<(), archipelago::web_sessions::SessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId {
    home: HomeTag,
    secret: u128,
}

/// A text that is no session id. It does not repeat the text, which may be an id that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a session id")]
pub struct SessionIdError;

/// What ids of this form begin with.
const VERSION: &str = "1";
const HOME_DIGITS: usize = 4;
const SECRET_DIGITS: usize = 32;

impl SessionId {
    /// How long the text of an id is, in bytes.
    pub const LEN: usize = VERSION.len() + HOME_DIGITS + SECRET_DIGITS;

    /// A new id.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the system gives no random bits.
    pub(super) fn random(home: HomeTag) -> Result<Self, Error> {
        Ok(Self { home, secret: random()? })
    }

    /// The id as text: `1`, four hexadecimal digits for the home, 32 for the secret. It fits into cookies and addresses as
    /// it is.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{VERSION}{:04x}{:032x}", self.home.0, self.secret)
    }

    pub(super) fn address(&self) -> Address {
        let [a, b] = self.home.0.to_be_bytes();
        let mut bytes = vec![a, b];
        bytes.extend(self.secret.to_be_bytes());
        Address::new(self.home, "id", &bytes)
    }
}

/// 128 bits from the operating system.
pub(super) fn random() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    let missing = |error| Error::new(ErrorKind::Unavailable, format!("no randomness from the system: {error}"));
    getrandom::fill(&mut bytes).map_err(missing)?;
    Ok(u128::from_be_bytes(bytes))
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    /// Takes what [`SessionId::to_text`] gives and nothing else: one id has one text.
    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let digits = text.strip_prefix(VERSION).ok_or(SessionIdError)?;
        // `from_str_radix` would also take a sign and capitals.
        let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != Self::LEN || !digits.bytes().all(plain) {
            return Err(SessionIdError);
        }
        let (home, secret) = digits.split_at_checked(HOME_DIGITS).ok_or(SessionIdError)?;
        let home = u16::from_str_radix(home, 16).map_err(|_| SessionIdError)?;
        let secret = u128::from_str_radix(secret, 16).map_err(|_| SessionIdError)?;
        Ok(Self { home: HomeTag(home), secret })
    }
}

impl fmt::Debug for SessionId {
    /// The name of its keys, by which an operator finds them: a digest, in which nothing of the id is left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.address().name.escape_ascii())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(home: u16, secret: u128) -> SessionId {
        SessionId { home: HomeTag(home), secret }
    }

    // What is in visitors' cookies stays valid: these may not change.
    #[test]
    fn texts_names_and_tags_are_golden() {
        let id = id(0xa3c5, 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        assert_eq!(id.to_text(), "1a3c5000102030405060708090a0b0c0d0e0f");
        assert_eq!(format!("{id:?}"), "SessionId(session:e7fc589a3f267e8c00364b2cd74fc07c)");
        assert_eq!(HomeTag::of(&"eu-west-1".parse().unwrap()), HomeTag(48_759));
        assert_eq!(HomeTag::of(&"us-east-1".parse().unwrap()), HomeTag(45_886));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let good = id(0xa3c5, u128::MAX).to_text();
        assert!(good.parse::<SessionId>().is_ok());
        let signed = format!("1a3c5+{}", "f".repeat(31));
        let long = "1".repeat(1 << 20);
        let capitals = good.to_uppercase();
        let later = format!("2{}", good.strip_prefix('1').unwrap());
        let bad = ["", "1", &signed, &long, &capitals, &later, &good[..36], &format!("{good}0"), &format!(" {good}")];
        for text in bad {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError));
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_text(home: u16, secret: u128) {
            let id = id(home, secret);
            let text = id.to_text();
            prop_assert_eq!(text.len(), SessionId::LEN);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(text.parse::<SessionId>(), Ok(id));
        }

        #[test]
        fn one_id_has_one_text(text in "1[0-9a-fA-F+]{36}|\\PC{0,40}|1.{36}") {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_text(), text);
            }
        }

        #[test]
        fn the_secret_is_not_shown(home: u16, secret: u128) {
            let text = id(home, secret).to_text();
            let shown = format!("{:?}", id(home, secret));
            // Four digits may be there by chance, eight not.
            let told = text.as_bytes().windows(8).any(|part| shown.as_bytes().windows(8).any(|seen| seen == part));
            prop_assert!(!told);
        }

        #[test]
        fn every_bit_counts_for_the_name(home: u16, secret: u128, bit in 0..144_u32) {
            let other = match bit.checked_sub(128) {
                None => id(home, secret ^ (1 << bit)),
                Some(bit) => id(home ^ (1 << bit), secret),
            };
            prop_assert_ne!(other.address().session(), id(home, secret).address().session());
        }
    }
}
