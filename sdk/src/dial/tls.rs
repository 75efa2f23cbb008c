//! TLS: the certificates of a region, and the provider of cryptography.

use redis::ConnectionInfo;

use crate::config::TlsConfig;

/// The TLS of one region's connections.
pub(super) struct Tls {
    files: Option<TlsConfig>,
}

#[cfg(feature = "tls")]
impl Tls {
    pub(super) fn new(files: Option<TlsConfig>) -> Self {
        Self { files }
    }

    /// Whether the files can be used. The message begins with the key.
    pub(super) async fn check(&self) -> Result<(), String> {
        let Some(certificates) = self.certificates().await? else { return Ok(()) };
        let nobody = "rediss://localhost";
        redis::Client::build_with_tls(nobody, certificates).map(drop).map_err(|error| format!("tls: {error}"))
    }

    /// What connections are secured by; `None` for the public authorities. Read anew: certificates are replaced.
    pub(super) async fn certificates(&self) -> Result<Option<redis::TlsCertificates>, String> {
        let Some(TlsConfig { ca, certificate, key }) = &self.files else { return Ok(None) };
        let root_cert = match ca {
            Some(path) => Some(read("tls.ca", path, "CERTIFICATE").await?),
            None => None,
        };
        let client_tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(redis::ClientTlsConfig {
                client_cert: read("tls.certificate", certificate, "CERTIFICATE").await?,
                client_key: read("tls.key", key, "PRIVATE KEY").await?,
            }),
            (Some(_) | None, Some(_) | None) => None,
        };
        Ok(Some(redis::TlsCertificates { client_tls, root_cert }))
    }

    /// Puts the certificates to a connection over TLS, and leaves any other as it is.
    pub(super) async fn secure(&self, info: ConnectionInfo) -> Result<ConnectionInfo, String> {
        if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        install_provider();
        let Some(certificates) = self.certificates().await? else { return Ok(info) };
        let client = redis::Client::build_with_tls(info, certificates).map_err(|error| format!("tls: {error}"))?;
        Ok(client.get_connection_info().clone())
    }
}

/// rustls panics when it has to choose between several providers of cryptography, or has none. An application's own
/// choice stands.
#[cfg(feature = "tls")]
fn install_provider() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A file in PEM that holds such a block. The crate takes a file without any certificate for "trust nobody".
#[cfg(feature = "tls")]
async fn read(key: &str, path: &std::path::Path, block: &str) -> Result<Vec<u8>, String> {
    /// All public authorities together have 200 KiB.
    const LONGEST: u64 = 1024;
    let bytes = super::file::read(path, LONGEST).await.map_err(|what| format!("{key} {what}"))?;
    let end = format!("{block}-----");
    if !bytes.windows(end.len()).any(|window| window == end.as_bytes()) {
        return Err(format!("{key} {}: no {block} in PEM", path.display()));
    }
    Ok(bytes)
}

/// Without the feature there is no such address: the configuration refuses it.
#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(files: Option<TlsConfig>) -> Self {
        Self { files }
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        match &self.files {
            Some(_) => Err("tls: this build cannot do TLS: it needs the feature `tls`".into()),
            None => Ok(()),
        }
    }

    pub(super) async fn secure(&self, info: ConnectionInfo) -> Result<ConnectionInfo, String> {
        match info.addr() {
            redis::ConnectionAddr::TcpTls { .. } => Err("this build cannot do TLS: it needs the feature `tls`".into()),
            _ => Ok(info),
        }
    }
}
