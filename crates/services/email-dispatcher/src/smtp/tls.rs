//! Whom we trust, and what was wrong with a certificate.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, Error, OtherError, RootCertStore,
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
    let Some(Error::InvalidCertificate(certificate)) = inner else {
        return What::TlsFailed;
    };
    What::Certificate(match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateFault::Expired
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

#[cfg(test)]
mod tests {
    use super::*;

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
