use std::net::{Ipv4Addr, SocketAddr};

use axum::routing::post;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1alpha::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;

/// A front that serves what a test needs, and where.
async fn front(http: Router, listed: &[&str]) -> (SocketAddr, Stop) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let listed = listed.iter().map(|name| (*name).to_owned()).collect();
    let stop = Stop::new();
    let front = Front { routes: Routes::default(), http, listed };
    front.serve(listener, &Health::default(), &stop).expect("it serves");
    (address, stop)
}

#[tokio::test]
async fn clients_of_the_older_reflection_are_told_what_is_answered_here() {
    let (address, stop) = front(Router::new(), &["carillon.billing.v1.AccountService"]).await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.expect("it answers");
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await;
    let answer = answers.expect("answered").into_inner().message().await.expect("a message");
    let Some(MessageResponse::ListServicesResponse(list)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("a list is answered by a list");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    let expected = [
        "carillon.billing.v1.AccountService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(names, expected);
    stop.now();
}

/// By HTTP/1, for tonic's own client would give up at the same moment.
async fn answer_within(address: SocketAddr, limit: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "POST /slow.v1.Slow/Call HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-type: application/grpc\r\ngrpc-timeout: {limit}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

/// tonic has a limit of its own around ours, and its CANCELLED must never win.
#[tokio::test]
async fn what_takes_longer_than_its_caller_waits_has_exceeded_its_deadline() {
    let never = post(std::future::pending::<()>);
    let (address, stop) = front(Router::new().route("/slow.v1.Slow/Call", never), &[]).await;
    for limit in ["1n", "900u", "1m", "1m", "1m", "7m", "30m"] {
        let answer = answer_within(address, limit).await;
        assert!(answer.contains("grpc-status: 4\r\n"), "{limit}: {answer}");
        assert!(answer.contains("grpc-message: grpc-timeout:"), "{answer}");
    }
    stop.now();
}
