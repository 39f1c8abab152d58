//! One bound session. Whoever submits writes the PDU, so that it knows whether a byte of it left;
//! one reader hands each answer to who waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rusmpp::{CommandStatus, Pdu, pdus::SubmitSm};
use tokio::{
    io::{AsyncWriteExt as _, WriteHalf},
    sync::{Notify, Semaphore, oneshot},
    time::timeout,
};

use super::{Leave, frame::encode};
use crate::gateway::wire::Stream;

/// A PDU that cannot be written for so long never will be.
const WRITING: Duration = Duration::from_secs(10);
const LAST_SEQUENCE: u32 = 0x7FFF_FFFF;

pub(super) struct Session {
    writer: tokio::sync::Mutex<Writer>,
    /// Submits that may wait for their answers.
    window: Semaphore,
    table: Mutex<Table>,
    /// Nobody waits for an answer any more, or the session is closed.
    quiet: Notify,
    ended: Notify,
}

struct Writer {
    half: WriteHalf<Box<dyn Stream>>,
    /// Whether the system took a byte since it was last set to false.
    written: Arc<AtomicBool>,
    /// A PDU was begun and not finished: nothing may follow it.
    torn: bool,
}

struct Table {
    state: State,
    last_sequence: u32,
    waiting: HashMap<u32, oneshot::Sender<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Answers still come, and nothing new is submitted.
    Leaving,
    Closed,
}

/// To a submit_sm.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u32,
    /// What the SMSC calls it; empty where it does not say.
    pub id: String,
}

/// A submit without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It may not begin any more.
    NotBegun,
    /// Not a byte left: another session may take it.
    Unwritten,
    /// Some of it left, and perhaps all.
    InDoubt(&'static str),
}

enum Unwritten {
    Nothing,
    Partly,
}

impl Session {
    /// Numbers go on from the bind's.
    pub(super) fn new(
        half: WriteHalf<Box<dyn Stream>>,
        written: Arc<AtomicBool>,
        window: usize,
        last_sequence: u32,
    ) -> Self {
        let table = Table { state: State::Open, last_sequence, waiting: HashMap::new() };
        Self {
            writer: tokio::sync::Mutex::new(Writer { half, written, torn: false }),
            window: Semaphore::new(window),
            table: Mutex::new(table),
            quiet: Notify::new(),
            ended: Notify::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.table().state == State::Open
    }

    /// Submits that could be written at once.
    pub(super) fn room(&self) -> usize {
        self.window.available_permits()
    }

    /// Takes nothing new from now on.
    pub(super) fn leave(&self) {
        let mut table = self.table();
        if table.state == State::Open {
            table.state = State::Leaving;
        }
        if table.waiting.is_empty() {
            self.quiet.notify_one();
        }
        self.window.close();
    }

    /// Whoever still waits is left in doubt.
    pub(super) fn close(&self) {
        let mut table = self.table();
        table.state = State::Closed;
        table.waiting.clear();
        self.quiet.notify_one();
        self.ended.notify_one();
        self.window.close();
    }

    /// Ends when nothing can be written any more. For the session's reader.
    pub(super) async fn closed(&self) {
        self.ended.notified().await;
    }

    /// Ends when no answer is outstanding.
    pub(super) async fn answered(&self) {
        while !self.table().waiting.is_empty() {
            self.quiet.notified().await;
        }
    }

    /// Writes it once, when the window has room and it may leave, and waits for the answer.
    pub(super) async fn submit(&self, submit: SubmitSm, leave: Leave<'_>) -> Result<Answer, Lost> {
        let turn = async { Some((self.window.acquire().await.ok()?, self.writer.lock().await)) };
        let turn = tokio::select! {
            biased;
            turn = turn => turn,
            () = leave.over(|| false) => return Err(Lost::NotBegun),
        };
        let Some((_room, mut writer)) = turn else { return Err(Lost::Unwritten) };
        if !leave.holds() {
            return Err(Lost::NotBegun);
        }
        let Some((sequence, answer)) = self.expect_answer() else { return Err(Lost::Unwritten) };
        let _forget = Forget { session: self, sequence };
        let frame = encode(CommandStatus::EsmeRok, sequence, Pdu::SubmitSm(submit));
        let left = Arc::clone(&writer.written);
        let over = leave.over(|| left.load(Ordering::Relaxed));
        let written = self.write(&mut writer, &frame, over).await;
        drop(writer);
        match written {
            Ok(()) => {}
            Err(Unwritten::Nothing) => return Err(Lost::Unwritten),
            Err(Unwritten::Partly) => return Err(Lost::InDoubt("closed_without_answer")),
        }
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| Lost::InDoubt("closed_without_answer")),
            () = leave.over(|| true) => Err(Lost::InDoubt("answer_timeout")),
        }
    }

    fn expect_answer(&self) -> Option<(u32, oneshot::Receiver<Answer>)> {
        let mut table = self.table();
        if table.state != State::Open {
            return None;
        }
        let sequence = table.next_sequence();
        let (tell, answer) = oneshot::channel();
        table.waiting.insert(sequence, tell);
        Some((sequence, answer))
    }

    fn forget(&self, sequence: u32) {
        let mut table = self.table();
        table.waiting.remove(&sequence);
        if table.waiting.is_empty() {
            self.quiet.notify_one();
        }
    }

    /// What nobody waits for is let go: it came too late.
    pub(super) fn answer(&self, sequence: u32, answer: Answer) {
        let mut table = self.table();
        if let Some(tell) = table.waiting.remove(&sequence) {
            // Whoever asked may be gone.
            let _ = tell.send(answer);
        }
        if table.waiting.is_empty() {
            self.quiet.notify_one();
        }
    }

    /// A PDU of the session's own.
    pub(super) async fn ask(&self, pdu: Pdu) {
        let sequence = self.table().next_sequence();
        self.tell(encode(CommandStatus::EsmeRok, sequence, pdu)).await;
    }

    /// An answer to one of the peer's.
    pub(super) async fn respond(&self, sequence: u32, status: CommandStatus, pdu: Pdu) {
        self.tell(encode(status, sequence, pdu)).await;
    }

    /// One that cannot be written closes the session, which the reader then sees.
    async fn tell(&self, frame: Bytes) {
        let mut writer = self.writer.lock().await;
        // What was not written is written by nobody: the session is closed.
        let _ = self.write(&mut writer, &frame, std::future::pending()).await;
    }

    async fn write(
        &self,
        writer: &mut Writer,
        frame: &[u8],
        over: impl Future<Output = ()>,
    ) -> Result<(), Unwritten> {
        if writer.torn {
            return Err(Unwritten::Nothing);
        }
        writer.written.store(false, Ordering::Relaxed);
        writer.torn = true;
        let all = async {
            writer.half.write_all(frame).await?;
            writer.half.flush().await
        };
        let all = tokio::select! {
            biased;
            all = timeout(WRITING, all) => all.is_ok_and(|all| all.is_ok()),
            () = over => false,
        };
        if all {
            writer.torn = false;
            return Ok(());
        }
        self.close();
        let partly = writer.written.load(Ordering::Relaxed);
        Err(if partly { Unwritten::Partly } else { Unwritten::Nothing })
    }

    /// Says goodbye to the connection; what it does not take is gone with it. One that was torn is
    /// only dropped: TLS would still send what was given up as unwritten.
    pub(super) async fn shut_down(&self) {
        self.close();
        let goodbye = async {
            let mut writer = self.writer.lock().await;
            if !writer.torn {
                // Nobody waits for it to arrive.
                let _ = writer.half.shutdown().await;
            }
        };
        let _ = timeout(WRITING, goodbye).await;
    }
}

impl Table {
    /// From 1 to 0x7FFFFFFF, and over again (5.1.4).
    fn next_sequence(&mut self) -> u32 {
        self.last_sequence = self.last_sequence % LAST_SEQUENCE + 1;
        self.last_sequence
    }
}

/// Nobody waits any more, however the call ended.
struct Forget<'a> {
    session: &'a Session,
    sequence: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.session.forget(self.sequence);
    }
}
