//! RabbitMQ behind TLS, as a deployment has it: the proxy here ends TLS and passes on what is
//! inside.

use std::{sync::Arc, time::Duration};

use carillon_broker::{Broker, PublishError, amqp::AmqpBroker};
use carillon_testkit::{Rabbit, is_distributed};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{job, publish_until_confirmed};

/// The authority's certificate in PEM, and what serves as localhost under it.
fn certificates() -> (String, ServerConfig) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.pem(), config)
}

/// Answers its port.
async fn proxy(config: ServerConfig, to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let Ok((outside, _)) = listener.accept().await else { return };
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(outside).await else { return };
                let Ok(mut inside) = TcpStream::connect(to).await else { return };
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_behind_tls_is_reached_where_its_authority_is_trusted() {
    if !is_distributed() {
        return;
    }
    let rabbit = Rabbit::create().await;
    let inside = rabbit.url();
    let (authority, config) = certificates();
    let to = format!("{}:{}", inside.host_str().unwrap(), inside.port().unwrap_or(5672));
    let port = proxy(config, to).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();

    let user = format!("{}:{}", inside.username(), inside.password().unwrap_or_default());
    let outside = format!("amqps://{user}@localhost:{port}{}", inside.path());
    let trusting = format!("{outside}?cacertfile={}", file.display());
    let broker = AmqpBroker::connect(&trusting, "test").unwrap();
    publish_until_confirmed(&broker, "sealed").await;
    assert_eq!(super::consume_all(&broker, 1).await.len(), 1);

    let doubting = AmqpBroker::connect(&outside, "test").unwrap();
    for _ in 0..2 {
        let refused = doubting.publish(job("not there")).await;
        assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!doubting.is_connected());
}
