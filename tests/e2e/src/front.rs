//! The one address of a stack of services: requests go by their path to the service that owns it,
//! to its replicas in turn.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::ServiceExt as _;

/// Beginnings of paths, and who answers them; the first that fits counts.
const OWNERS: [(&str, &str); 6] = [
    ("/carillon.billing.", "billing"),
    ("/carillon.audience.", "segment-evaluator"),
    ("/carillon.schedule.", "scheduler"),
    ("/callbacks/sms/", "sms-dispatcher"),
    ("/carillon.", "campaign-api"),
    ("/", "campaign-api"),
];

struct Front {
    services: HashMap<String, Vec<Channel>>,
    turn: AtomicUsize,
}

/// Listens for as long as the runtime lives; answers the address.
pub(crate) async fn serve(services: HashMap<String, Vec<SocketAddr>>) -> SocketAddr {
    let channel = |at: SocketAddr| {
        let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
        endpoint.tcp_nodelay(true).connect_lazy()
    };
    let services = services
        .into_iter()
        .map(|(name, at)| (name, at.into_iter().map(channel).collect()))
        .collect();
    let front = Arc::new(Front { services, turn: AtomicUsize::new(0) });
    let routes = Routes::from(Router::new().fallback(hand_on).with_state(front));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(
        Server::builder().accept_http1(true).add_routes(routes).serve_with_incoming(incoming),
    );
    address
}

async fn hand_on(State(front): State<Arc<Front>>, request: Request) -> Response {
    let path = request.uri().path();
    let owner = OWNERS.iter().find(|(prefix, _)| path.starts_with(prefix));
    let replicas = owner.and_then(|(_, service)| front.services.get(*service));
    let Some(replicas) = replicas.filter(|replicas| !replicas.is_empty()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let turn = front.turn.fetch_add(1, Ordering::Relaxed);
    let channel = replicas[turn % replicas.len()].clone();
    match channel.oneshot(request.map(Body::new)).await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(error) => {
            let status = tonic::Status::unavailable(error.to_string());
            status.into_http::<axum::body::Body>()
        }
    }
}
