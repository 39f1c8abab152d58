//! Certificates made for one test: good ones, and each kind of bad one.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A private authority. What it signs is trusted by whoever trusts `pem`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pems: (String, String),
}

impl Authority {
    #[expect(clippy::new_without_default, reason = "it makes keys, which no default should")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Carillon test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The authority's own certificate, for a file of trusted roots.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Right in every way for a host of this name or address.
    pub fn good(&self, host: &str) -> Identity {
        self.signed(server(host))
    }

    pub fn expired(&self, host: &str) -> Identity {
        let mut params = server(host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.signed(params)
    }

    fn signed(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity::of(&certificate, &key)
    }
}

impl Identity {
    /// Signed by nobody but itself.
    pub fn self_signed(host: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = server(host).self_signed(&key).expect("signed");
        Self::of(&certificate, &key)
    }

    /// Signed by itself, and an authority besides, as `openssl req -x509` makes them.
    pub fn self_signed_authority(host: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = server(host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        Self::of(&certificate, &key)
    }

    /// The certificate, and its key.
    pub fn pems(&self) -> (&str, &str) {
        (&self.pems.0, &self.pems.1)
    }

    fn of(certificate: &Certificate, key: &KeyPair) -> Self {
        let pems = (certificate.pem(), key.serialize_pem());
        let certificate = certificate.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key in PKCS#8");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("certificate and key belong together");
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), pems }
    }
}

fn server(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host's name");
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
