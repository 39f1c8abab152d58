//! One connection, used by one call at a time. It is polled by that call alone, so dropping the
//! call closes it: nothing of an abandoned request can leave later.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
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
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{ANSWER_BYTES, Answer};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Driver = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None once it is closed.
    driver: Option<Pin<Box<Driver>>>,
    written: Arc<AtomicBool>,
    pub(super) idle_since: Instant,
}

impl Connection {
    /// Connects to exactly this address.
    pub(super) async fn open(
        address: SocketAddr,
        tls: Option<(&TlsConnector, &ServerName<'static>)>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let written = Arc::new(AtomicBool::new(false));
        let stream = Watched { stream, written: Arc::clone(&written) };
        let stream: Box<dyn Stream> = match tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        };
        let handshake =
            http1::Builder::new().max_buf_size(ANSWER_BYTES).handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(io::Error::other)?;
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
    pub(super) fn has_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
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

/// Notes whether the system took any byte: below TLS, so that it is what the network may see.
struct Watched {
    stream: TcpStream,
    written: Arc<AtomicBool>,
}

impl Watched {
    fn note(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(count)) if count > 0) {
            self.written.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
