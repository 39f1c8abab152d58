//! How long a caller waits (`grpc-timeout`). tonic itself answers CANCELLED once that is over, which
//! says that the caller gave up; what it means is DEADLINE_EXCEEDED.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use tokio::time::timeout;
use tonic::Status;
use tower::{Layer, Service};

/// Goes under tonic's own limit, whose clock starts after this one's.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
}

impl<S, Q, A> Service<Request<Q>> for Deadline<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
    A: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let limit = limit(request.headers());
        let answer = self.inner.call(request);
        let Some(limit) = limit else { return Box::pin(answer) };
        let answer = timeout(limit, answer);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Ok(exceeded(limit).into_http())) })
    }
}

fn exceeded(limit: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "grpc-timeout: the call took longer than the {limit:?} that its caller gave it, so it is \
         not known whether it was carried out; send it again, with a longer one"
    ))
}

/// One to eight digits and a unit; anything else limits nothing, as with tonic.
fn limit(headers: &HeaderMap) -> Option<Duration> {
    let given = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = given.split_at_checked(given.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use tonic::{Code, body::Body};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn call(given: &str) -> Request<Body> {
        Request::builder().header("grpc-timeout", given).body(Body::empty()).expect("a request")
    }

    #[test]
    fn a_limit_is_read_as_grpc_writes_it() {
        let of = |given: &str| limit(call(given).headers());
        assert_eq!(of("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(of("3M"), Some(Duration::from_secs(180)));
        assert_eq!(of("30S"), Some(Duration::from_secs(30)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        assert_eq!(of("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for none in ["", "S", "5", "5x", "-1S", "+1S", "123456789S", "1.5S"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_told_so_and_what_to_do() {
        let never = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let answer = DeadlineLayer.layer(never).oneshot(call("20m")).await;
        let headers = answer.unwrap_or_else(|never| match never {}).headers().clone();
        let status = Status::from_header_map(&headers).expect("a status");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("20ms") && status.message().contains("send it again"));
    }

    #[tokio::test]
    async fn a_call_in_time_is_answered() {
        let prompt =
            service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
        let answer = DeadlineLayer.layer(prompt).oneshot(call("20S")).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        assert!(answer.headers().get("grpc-status").is_none());
    }
}
