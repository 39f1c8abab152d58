//! SIGTERM and Ctrl-C. Heard from the beginning, so that none that comes early is lost.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Error> {
        let failed =
            |error: std::io::Error| Error::failed(format!("signals cannot be heard: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Ends at the next signal that asks for a stop.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
