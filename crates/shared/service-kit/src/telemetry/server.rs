//! A span for each gRPC call that a server answers, continuing its caller's trace.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field::Empty};

use super::with_remote_parent;

#[derive(Debug, Clone, Copy, Default)]
pub struct ServerSpansLayer;

impl<S> Layer<S> for ServerSpansLayer {
    type Service = ServerSpans<S>;

    fn layer(&self, inner: S) -> ServerSpans<S> {
        ServerSpans { inner }
    }
}

#[derive(Debug, Clone)]
pub struct ServerSpans<S> {
    inner: S,
}

impl<S, Q, A> Service<Request<Q>> for ServerSpans<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let span = span_of(&request);
        let answer = span.in_scope(|| self.inner.call(request));
        Box::pin(
            async move {
                let answer = answer.await;
                if let Ok(answer) = &answer {
                    note_status(&Span::current(), answer.headers());
                }
                answer
            }
            .instrument(span),
        )
    }
}

/// Plain HTTP has tokens in its paths, and probes would drown the rest: neither is traced.
fn span_of<B>(request: &Request<B>) -> Span {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let method = request.uri().path().trim_start_matches('/');
    let is_grpc = header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
    if !is_grpc || method.starts_with("grpc.") {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: "carillon::rpc",
        "call",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
    );
    with_remote_parent(&span, header("traceparent").unwrap_or_default());
    span
}

/// A refusal is told in the headers; what ends in trailers was carried out.
fn note_status(span: &Span, headers: &HeaderMap) {
    let code = headers.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0");
    let code = tonic::Code::from_bytes(code.as_bytes());
    span.record("rpc.response.status_code", tracing::field::debug(code));
    // What is the caller's fault is no error of the server's.
    if is_ours(code) {
        span.record("otel.status_code", "ERROR");
    }
}

fn is_ours(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
