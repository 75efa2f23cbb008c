//! How to start a server.

use std::fmt;

use super::Certificates;

/// How to start a server. The default keeps nothing on disk, and anyone may connect without TLS. `Debug` shows
/// no values of `more`: there may be passwords among them.
#[derive(Clone, Default)]
pub struct Options {
    /// An append-only file, written through at every write: a killed server comes back with all it acknowledged.
    pub durable: bool,
    /// The port on 127.0.0.1 of the server whose replica to be.
    pub replica_of: Option<u16>,
    /// Who may connect; nobody else may. Replicas use it too.
    pub login: Option<Login>,
    /// Talks TLS, and nothing else on its port. Clients need the certificate of the authority; none of their own.
    pub tls: Option<Certificates>,
    /// More lines of `redis.conf`, as name and value: `("maxmemory-policy", "allkeys-lru")`. The value is taken as it is;
    /// one with blanks needs its own quotes.
    pub more: Vec<(String, String)>,
}

impl Options {
    /// A server that keeps all it acknowledged.
    #[must_use]
    pub fn durable() -> Self {
        Self { durable: true, ..Self::default() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { durable, replica_of, login, tls, more } = self;
        let more: Vec<&str> = more.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("durable", durable)
            .field("replica_of", replica_of)
            .field("login", login)
            .field("tls", tls)
            .field("more", &more)
            .finish()
    }
}

/// An ACL user with all rights, and its password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Login {
    /// A user with a password. The user `default` is what a client without a user name means.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// As the part of a URL before the host, with the `@`.
    pub(super) fn in_url(&self) -> String {
        format!("{}:{}@", percent_encoded(&self.user), percent_encoded(&self.password))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_hidden_from_debug_and_fits_into_a_url() {
        let login = Login::new("app", "p@ss:w/ö");
        assert_eq!(login.in_url(), "app:p%40ss%3Aw%2F%C3%B6@");
        assert!(!format!("{login:?}").contains("p@ss"));
        let more = vec![("requirepass".to_owned(), "p@ss".to_owned())];
        let shown = format!("{:?}", Options { login: Some(login), more, ..Options::default() });
        assert!(shown.contains("requirepass") && !shown.contains("p@ss"), "{shown}");
    }
}
