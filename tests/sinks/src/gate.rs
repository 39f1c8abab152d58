//! Where connections come in, as long as the server can be reached.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

const ROOM: i32 = 1_024;
/// The kernel answers within this, or never.
const AT_ONCE: Duration = Duration::from_millis(100);

pub(crate) struct Gate {
    listener: TcpListener,
    open: watch::Sender<bool>,
    waiting: Mutex<Vec<std::net::TcpStream>>,
}

impl Gate {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, open: watch::Sender::new(true), waiting: Mutex::default() }
    }

    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        let mut open = self.open.subscribe();
        loop {
            if !*open.borrow_and_update() {
                if open.changed().await.is_err() {
                    pending::<()>().await;
                }
                continue;
            }
            tokio::select! {
                biased;
                _ = open.changed() => {}
                accepted = self.listener.accept() => return accepted.map(|(stream, _)| stream),
            }
        }
    }

    /// From now on connections are neither taken nor refused.
    pub(crate) fn shut(&self) -> io::Result<()> {
        self.open.send_replace(false);
        SockRef::from(&self.listener).listen(0)?;
        // There is room for a few that nobody takes; where they are, the kernel hears nobody else.
        let address: SocketAddr = self.listener.local_addr()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, AT_ONCE) {
            waiting.push(stream);
        }
        Ok(())
    }

    pub(crate) fn open(&self) -> io::Result<()> {
        SockRef::from(&self.listener).listen(ROOM)?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.open.send_replace(true);
        Ok(())
    }
}
