//! User and password: configured, read from a file, or provided by code.

use std::{error::Error, fmt, future::Future, path::Path, sync::Arc};

use archipelago_engine::RegionId;
use async_trait::async_trait;

use super::file;

/// A user and a password for one connection. What is not set stays as configured. `Debug` hides the password.
///
/// ```
/// use archipelago::Credentials;
///
/// let credentials = Credentials::new("app", "s3cret");
/// assert!(!format!("{credentials:?}").contains("s3cret"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

impl Credentials {
    /// A user with a password. `Credentials::default()` leaves both as configured.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: Some(password.into()) }
    }

    /// A password, or a token, for the configured user.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: Some(password.into()) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Gives user and password for each connection: for tokens that live shorter than the client.
///
/// Closures implement it; implement it for a type that keeps state. The library asks once for every connection it makes
/// to a region's servers, also at the same time for several, and never for Sentinels. It closes no connection whose
/// token has expired: servers do that, if they care, and the next connection asks again.
///
/// The answer counts towards `connect_timeout_ms`, so cache what takes long to get. An error is a failed attempt to
/// connect, which is repeated; its text appears in events and logs, so it may hold no secret.
///
/// ```
/// use archipelago::{Client, Credentials, engine::RegionId};
///
/// let builder = Client::builder().credentials(|region: RegionId| async move {
///     let token = format!("token for {region}"); // fetched from the cloud's identity service
///     Ok(Credentials::new("app", token))
/// });
/// assert!(!format!("{builder:?}").contains("token"));
/// ```
#[async_trait]
pub trait CredentialsProvider: Send + Sync {
    /// User and password for a connection to a server of this region.
    ///
    /// # Errors
    /// Whatever keeps it from knowing.
    ///
    /// # Cancel safety
    /// Must be safe to drop: the time to connect may be up.
    async fn credentials(&self, region: &RegionId) -> Result<Credentials, Box<dyn Error + Send + Sync>>;
}

#[async_trait]
impl<F, A> CredentialsProvider for F
where
    F: Fn(RegionId) -> A + Send + Sync,
    A: Future<Output = Result<Credentials, Box<dyn Error + Send + Sync>>> + Send,
{
    async fn credentials(&self, region: &RegionId) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        self(region.clone()).await
    }
}

/// A provider as it is handed around.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn CredentialsProvider>);

impl fmt::Debug for Provider {
    /// Nothing of it: it may derive `Debug` over its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").finish_non_exhaustive()
    }
}

/// The longest password a file may hold, in KiB. Tokens of cloud services have some 2.
const LONGEST: u64 = 16;

/// The password in a file.
pub(super) async fn read_password(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, LONGEST).await.map_err(|what| format!("password_file {what}"))?;
    let refuse = |what: &str| format!("password_file {}: {what}", path.display());
    match std::str::from_utf8(&bytes).map(str::trim) {
        // An empty password would log in as nobody; a file that is just being replaced may be empty.
        Ok("") => Err(refuse("empty")),
        Ok(password) => Ok(password.to_owned()),
        Err(_) => Err(refuse("not text")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_file_is_trimmed_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        assert!(read_password(&path).await.unwrap_err().contains("No such file"));
        for (content, expected) in [
            (b" s3 cret\r\n".to_vec(), Ok("s3 cret")),
            (vec![b'x'; 16 * 1024], Ok(&*"x".repeat(16 * 1024))),
            (vec![b'x'; 16 * 1024 + 1], Err("longer")),
            (b"\n".to_vec(), Err("empty")),
            (b"s3cret\xff".to_vec(), Err("not text")),
        ] {
            std::fs::write(&path, content).unwrap();
            match (read_password(&path).await, expected) {
                (Ok(password), expected) => assert_eq!(Ok(&*password), expected),
                (Err(text), expected) => {
                    assert!(text.contains(expected.unwrap_err()) && !text.contains("s3cret"), "{text}");
                }
            }
        }
    }
}
