//! The transport under a gRPC client: a connection, or a service of the same process. Clients
//! cannot tell which, so services talk only through contracts in both ways to run.

mod deadline;

use std::{convert::Infallible, time::Duration};

use http::{HeaderValue, Request, Response};
use tonic::{
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tower::{BoxError, Service, ServiceExt as _, util::BoxCloneSyncService};

use crate::telemetry;

pub use deadline::DeadlineLayer;

pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, TransportError>;

/// How long a call may take where its caller sets no limit.
const DEADLINE: &str = "30S";
const CONNECT: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The call did not reach the service, or its answer did not come back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(BoxError);

/// Calls services of this process, without a socket.
pub fn in_process(routes: Routes) -> Transport {
    let routes = routes.prepare();
    BoxCloneSyncService::new(
        routes
            .map_request(|request: Request<Body>| request)
            .map_err(|never: Infallible| match never {}),
    )
}

/// Calls a service at `http://HOST:PORT`. The connection is made by the first call, and again after
/// a loss; nobody needs to be there yet.
pub fn connect(url: &str) -> Result<Transport, String> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| format!("'{url}' is not a URL; write http://HOST:PORT"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(format!("'{url}' is not of the form http://HOST:PORT"));
    }
    Ok(remote(endpoint.connect_lazy()))
}

/// Calls a service over a connection: hands on the trace, and tells how long the answer is awaited.
pub fn remote(channel: Channel) -> Transport {
    BoxCloneSyncService::new(
        channel.map_request(prepared).map_err(|error| TransportError(error.into())),
    )
}

fn prepared(mut request: Request<Body>) -> Request<Body> {
    let headers = request.headers_mut();
    headers.entry("grpc-timeout").or_insert(HeaderValue::from_static(DEADLINE));
    if let Ok(parent) = HeaderValue::from_str(&telemetry::traceparent())
        && !parent.is_empty()
    {
        headers.insert("traceparent", parent);
    }
    request
}

/// Asserts at compile time that generated clients accept the transport.
const _: fn(Transport) = |transport| {
    fn accepts<T: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>>>(_: T) {}
    accepts(transport);
};

/// One set of routes out of several services'.
pub fn merge(all: impl IntoIterator<Item = Routes>) -> Routes {
    let merged = all.into_iter().fold(Routes::default().into_axum_router(), |merged, routes| {
        merged.merge(routes.into_axum_router().reset_fallback())
    });
    Routes::from(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for wrong in ["", "billing", "billing:7200", "https://billing:7200", "/tmp/socket"] {
            let refused = connect(wrong).expect_err("refused");
            assert!(refused.contains("http://HOST:PORT"), "{wrong}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_call_carries_the_limit_that_its_caller_set() {
        let set = Request::builder().header("grpc-timeout", "2S").body(Body::empty());
        let request = prepared(set.expect("a request"));
        assert_eq!(request.headers()["grpc-timeout"], "2S");
        let request = prepared(Request::new(Body::empty()));
        assert_eq!(request.headers()["grpc-timeout"], "30S");
        assert!(!request.headers().contains_key("traceparent"), "nothing is traced here");
        assert!(connect("http://127.0.0.1:7200").is_ok(), "nobody needs to be there");
    }
}
