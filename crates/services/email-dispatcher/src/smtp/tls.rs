//! Whom we trust, and what was wrong with a certificate.

use std::{io, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, OtherError, PeerIncompatible,
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::trouble::{CertificateFault, What};

#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("email_dispatcher.tls_roots: '{path}': {reason}; give a PEM file of certificates")]
    File { path: String, reason: String },
    #[error("TLS: {0}")]
    Tls(#[from] Error),
}

/// The system's roots, and those of a file besides.
pub(crate) fn client(more: Option<&Path>) -> Result<Arc<ClientConfig>, RootsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = more {
        let wrong = |reason: String| RootsError::File { path: path.display().to_string(), reason };
        let mut found = 0;
        let certificates = CertificateDer::pem_file_iter(path);
        for certificate in certificates.map_err(|error| wrong(error.to_string()))? {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(wrong("no certificate is in it".into()));
        }
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What a failed handshake tells.
pub(crate) fn classify(error: &io::Error) -> What {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let certificate = match inner {
        Some(Error::InvalidCertificate(certificate)) => certificate,
        Some(error) if is_of_version(error) => return What::TlsVersion,
        _ => return What::TlsFailed,
    };
    What::Certificate(match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateFault::Expired
        }
        CertificateError::NotValidYet => CertificateFault::NotYet(None),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let seconds = i64::try_from(not_before.as_secs()).ok();
            CertificateFault::NotYet(seconds.and_then(|at| Timestamp::from_second(at).ok()))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateFault::Name
        }
        // A signature does not hold where another authority of the same name made it.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateFault::Issuer
        }
        // What `openssl req -x509` makes: an authority that signed itself.
        CertificateError::Other(OtherError(other))
            if other.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            CertificateFault::Issuer
        }
        _ => CertificateFault::Invalid,
    })
}

/// A server of TLS 1.1 or older refuses what it is offered, or answers in its own version.
fn is_of_version(error: &Error) -> bool {
    matches!(
        error,
        Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            )
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn what_failed_in_a_handshake_is_told_apart() {
        let of = |error: Error| classify(&io::Error::other(error));
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(86_400) };
        let tomorrow = Timestamp::from_second(86_400).ok();
        let not_yet = CertificateFault::NotYet(tomorrow);
        assert_eq!(of(Error::InvalidCertificate(early)), What::Certificate(not_yet));
        let old = PeerIncompatible::ServerDoesNotSupportTls12Or13;
        assert_eq!(of(Error::PeerIncompatible(old)), What::TlsVersion);
        let none = PeerIncompatible::NoCipherSuitesInCommon;
        assert_eq!(of(Error::PeerIncompatible(none)), What::TlsFailed);
        let refused = |alert| of(Error::AlertReceived(alert));
        assert_eq!(refused(AlertDescription::ProtocolVersion), What::TlsVersion);
        assert_eq!(refused(AlertDescription::HandshakeFailure), What::TlsFailed);
        assert_eq!(classify(&io::Error::other("cut")), What::TlsFailed);
    }

    #[test]
    fn a_file_of_roots_must_hold_certificates() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roots.pem");
        for content in ["", "no PEM at all"] {
            std::fs::write(&path, content).expect("written");
            let error = client(Some(&path)).expect_err("refused").to_string();
            assert!(error.contains("email_dispatcher.tls_roots"), "{error}");
        }
        let missing = client(Some(Path::new("/no/such/file"))).expect_err("refused").to_string();
        assert!(missing.contains("/no/such/file"), "{missing}");
    }
}
