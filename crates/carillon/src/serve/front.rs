//! What faces callers: gRPC and plain HTTP on one listener, and a small one for operators.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use carillon_service_kit::{Stop, metrics, rpc::DeadlineLayer, telemetry::ServerSpansLayer};
use tokio::net::TcpListener;
use tonic::{
    Status,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use super::{health::Health, reflection};
use crate::error::Error;

const KEEPALIVE: Duration = Duration::from_secs(20);
/// Connections are made anew so that callers find replicas that came later. Without a grace:
/// calls under way end by themselves.
const AGE: Duration = Duration::from_secs(10 * 60);
/// A stream that its caller leaves open does not hold the process for longer.
const LAST_CALLS: Duration = Duration::from_secs(5);

pub(crate) struct Front {
    pub routes: Routes,
    pub http: Router,
    /// What reflection lists: the gRPC services that are answered here, by full name.
    pub listed: Vec<String>,
}

impl Front {
    /// Answers until stopping, and then until the calls under way are done, 5 s at most.
    pub(crate) fn serve(
        self,
        listener: TcpListener,
        health: &Health,
        stop: &Stop,
    ) -> Result<(), Error> {
        let routes = reflection::add(self.routes, &self.listed)?;
        let grpc = routes.add_service(health.server());
        let grpc = grpc.into_axum_router().reset_fallback();
        let all = Routes::from(grpc.merge(self.http).fallback(nothing_here));
        let stopping = stop.clone();
        let server = Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_connection_age(AGE)
            .layer(ServerSpansLayer)
            .layer(DeadlineLayer)
            .add_routes(all)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                async move { stopping.requested().await },
            );
        let stopping = stop.clone();
        stop.spawn("gRPC server", async move {
            tokio::select! {
                served = server => served,
                () = last_calls(&stopping) => Ok(()),
            }
        });
        Ok(())
    }
}

async fn last_calls(stop: &Stop) {
    stop.requested().await;
    tokio::time::sleep(LAST_CALLS).await;
}

/// gRPC is told in its own words, everybody else by HTTP's.
async fn nothing_here(request: axum::extract::Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if kind.starts_with(b"application/grpc") {
        Status::unimplemented("no service of this name is here").into_http::<axum::body::Body>()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// `/healthz`: the process answers. `/readyz`: it serves. `/metrics`.
pub(crate) fn operations(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    if health.is_serving() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n").into_response()
    }
}

async fn measured() -> Response {
    match metrics::render().await {
        Ok(text) => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

/// Goes on while the process lives: a stop is watched here too.
pub(crate) fn serve_operators(listener: TcpListener, health: Health) {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, operations(health)).await {
            tracing::error!(%error, "health and metrics are no longer answered");
        }
    });
}

#[cfg(test)]
mod tests;
