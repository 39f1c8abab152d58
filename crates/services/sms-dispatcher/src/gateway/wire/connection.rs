//! One connection, used by one call at a time. It is polled by that call alone, so dropping the
//! call closes it: nothing of an abandoned request can leave later.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    ANSWER_BYTES, Answer,
    stream::{Dialled, Stream},
};

type Driver = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once it is closed.
    driver: Option<Pin<Box<Driver>>>,
    written: Arc<AtomicBool>,
    pub(super) idle_since: Instant,
}

impl Connection {
    /// Speaks HTTP on a stream that is there.
    pub(super) async fn over(dialled: Dialled) -> hyper::Result<Self> {
        let Dialled { stream, written } = dialled;
        let stream = TokioIo::new(stream);
        let handshake = http1::Builder::new().max_buf_size(ANSWER_BYTES).handshake(stream);
        let (sender, driver) = handshake.await?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), written, idle_since: Instant::now() })
    }

    /// Whether another request can be written, as far as this side has heard.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            advance(&mut self.driver, cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Whether a byte of the last request left this process.
    pub(super) fn written(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.written)
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Answer> {
        self.written.store(false, Ordering::Relaxed);
        let response = self.sender.send_request(request);
        let mut answer = pin!(async move {
            let (head, body) = response.await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.ok().map(http_body_util::Collected::to_bytes);
            Ok(Answer { status: head.status, headers: head.headers, body })
        });
        let driver = &mut self.driver;
        poll_fn(|cx| {
            advance(driver, cx);
            answer.as_mut().poll(cx)
        })
        .await
    }
}

/// A driver that ended, well or badly, has told the call that waits for it.
fn advance(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && running.as_mut().poll(cx).is_ready()
    {
        *driver = None;
    }
}
