//! A certificate authority of a test's own, and a server's certificate by it.

use std::fmt;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::ServerError;

/// A certificate authority of a test's own, and a server's certificate by it, for `localhost` and `127.0.0.1`.
///
/// One may serve several servers: then one authority is all that clients have to know. `Debug` hides the private key.
///
/// ```
/// # use archipelago::testing::servers::Certificates;
/// let certificates = Certificates::generate().unwrap();
/// assert!(certificates.authority().starts_with("-----BEGIN CERTIFICATE-----"));
/// assert!(!format!("{certificates:?}").contains("PRIVATE"));
/// ```
#[derive(Clone)]
pub struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// New keys and certificates.
    ///
    /// # Errors
    /// When the machine gives no random bits.
    pub fn generate() -> Result<Self, ServerError> {
        generate().map_err(|error| ServerError::Certificates(error.to_string()))
    }

    /// The authority's certificate, in PEM: what a client has to trust.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The server's certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The server's private key, in PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn generate() -> Result<Certificates, rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "a test's own authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok(Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}
