//! What `rediss://` addresses need beyond the public authorities.

use std::path::PathBuf;

use serde::Deserialize;

/// What `rediss://` addresses need beyond the public authorities; needs the feature `tls`.
///
/// Every certificate is verified, also against the address's host name. There is no way to switch that off: an address
/// with the client library's `#insecure` is refused. A test's own authority goes into `ca`.
///
/// The files are PEM, looked for from the process's working directory. They are read when the client starts, which
/// fails if they cannot be used, and anew at every connection, so that they can be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The authorities to trust instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, followed by those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate`.
    pub key: Option<PathBuf>,
}

impl TlsConfig {
    /// Checks what the types cannot. The message begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if cfg!(not(feature = "tls")) {
            return Err("tls: this build cannot do TLS: it needs the feature `tls`".into());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("tls: `certificate` and `key` belong together".into());
        }
        Ok(())
    }

    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let paths = [("tls.ca", &mut self.ca), ("tls.certificate", &mut self.certificate), ("tls.key", &mut self.key)];
        paths.into_iter().filter_map(|(key, path)| Some((key, path.as_mut()?)))
    }
}
