//! How a token travels. Pure: headers in, headers out.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

/// The most bytes of a line of cookies that are looked at; servers have limits like it.
const MAX_LINE: usize = 16 * 1024;

/// The most tokens of one request. A browser sends two of one name when they were set for two paths.
const MAX_TOKENS: usize = 4;

/// A name that no cookie can have. It takes letters, digits and ``!#$%&'*+-.^_`|~``: RFC 6265, 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie's name has one or more letters, digits or !#$%&'*+-.^_`|~ and no others")]
pub struct CookieNameError;

/// In what a token travels.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    Cookie { name: String, is_secure: bool },
    Header(HeaderName),
}

impl Carrier {
    pub(super) fn cookie(name: &str) -> Result<Self, CookieNameError> {
        // What names of headers are made of, names of cookies are made of.
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| CookieNameError)?;
        Ok(Self::Cookie { name: name.to_owned(), is_secure: true })
    }

    /// The tokens of a request, as they came.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Vec<&'h [u8]> {
        match self {
            Self::Cookie { name, .. } => {
                let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
                lines.flat_map(|line| values_of(name, line)).take(MAX_TOKENS).collect()
            }
            Self::Header(name) => headers.get_all(name).iter().map(HeaderValue::as_bytes).take(MAX_TOKENS).collect(),
        }
    }

    pub(super) fn write(&self, token: &str, headers: &mut HeaderMap) {
        let (name, text) = match self {
            Self::Cookie { name, is_secure } => {
                let secure = if *is_secure { "; Secure" } else { "" };
                (&SET_COOKIE, format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"))
            }
            Self::Header(name) => (name, token.to_owned()),
        };
        // Names and tokens have nothing that a header cannot have.
        let Ok(value) = HeaderValue::from_str(&text) else { return };
        match self {
            // Others' cookies stay.
            Self::Cookie { .. } => drop(headers.append(name, value)),
            Self::Header(_) => drop(headers.insert(name, value)),
        }
    }
}

/// The values of the cookies of this name. Byte by byte: what others put into theirs must not hide ours.
fn values_of<'l>(name: &str, line: &'l [u8]) -> impl Iterator<Item = &'l [u8]> {
    let seen = line.get(..line.len().min(MAX_LINE)).unwrap_or_default();
    seen.split(|byte| *byte == b';').filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        Some(quoted.unwrap_or(value))
    })
}
