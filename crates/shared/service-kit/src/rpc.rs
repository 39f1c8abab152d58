//! The transport under a gRPC client: a connection, or a service of the same process. Clients
//! cannot tell which, so services talk only through contracts in both ways to run.

use std::convert::Infallible;

use http::{Request, Response};
use tonic::{body::Body, service::Routes};
use tower::{BoxError, Service, ServiceExt as _, util::BoxCloneSyncService};

pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, TransportError>;

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

/// Calls a service over a connection.
pub fn remote(channel: tonic::transport::Channel) -> Transport {
    BoxCloneSyncService::new(channel.map_err(|error| TransportError(error.into())))
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
