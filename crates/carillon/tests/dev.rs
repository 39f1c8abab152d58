//! `carillon dev` answers everything at its one address: gRPC, pages, health and metrics.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use carillon::dev::{Config, start};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// The status line and the whole answer.
async fn get(server: &str, path: &str) -> (String, String) {
    let (address, path) = (server.trim_start_matches("http://").to_owned(), path.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    });
    let answer = asked.await.expect("asked");
    (answer.lines().next().unwrap_or_default().to_owned(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_answers_grpc_pages_health_and_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), 0, Config::default()).await.expect("it starts");
    assert_eq!(get(&server.url, "/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(get(&server.url, "/nothing").await.0, "HTTP/1.1 404 Not Found");
    let (status, metrics) = get(&server.url, "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for service in carillon_broker::topology::SERVICES {
        let line = format!("carillon_outbox_rows{{service=\"{service}\"}}");
        assert!(metrics.contains(&line), "{service}:\n{metrics}");
    }
    let endpoint = Endpoint::from_shared(server.url.clone()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("it answers"));
    for name in ["", "carillon.billing.v1.AccountService", "carillon.campaign.v1.CampaignService"] {
        let answer = health.check(HealthCheckRequest { service: name.into() }).await;
        let status = answer.expect("a known name").into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{name}");
    }
    server.stop().await.expect("it stops");
}
