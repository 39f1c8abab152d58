//! The reading side of a session: hands answers on, answers what the SMSC asks, asks whether it is
//! there, and ends the session, either way round.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use rusmpp::{
    CommandId, CommandStatus, Pdu,
    pdus::{DeliverSm, DeliverSmResp},
};
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf},
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    frame::{self, Broken, Frame, encode},
    pdu::Login,
    session::{Answer, Session},
    status,
};
use crate::gateway::wire::{Dialled, Stream};

/// What the SMSC delivers that is not answered yet, at most.
const DELIVERIES: usize = 256;
/// The peer may take so long to answer an unbind.
const PARTING: Duration = Duration::from_secs(5);

/// How patient a session is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// After so long without a word the SMSC is asked whether it is there.
    pub silence: Duration,
    /// For the answer to that, to a bind, and to the last submits of a session.
    pub answer: Duration,
}

/// Where deliver_sm go. False: not kept, to be delivered again.
#[async_trait]
pub(super) trait Listener: Send + Sync + 'static {
    async fn deliver(&self, message: DeliverSm) -> bool;
}

/// How far a session came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing more can come.
    Closed,
    /// The SMSC said goodbye, and may still answer what it has.
    Unbinding,
}

/// Why there is no session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unbound {
    Refused(u32),
    /// It closed, or spoke something else, or did not speak.
    Lost(&'static str),
}

pub(super) struct Reader {
    half: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
    session: Arc<Session>,
    listener: Arc<dyn Listener>,
    deliveries: Arc<Semaphore>,
    patience: Patience,
}

/// Binds, and gives a session with its reader.
pub(super) async fn bind(
    dialled: Dialled,
    login: &Login,
    window: usize,
    listener: Arc<dyn Listener>,
    patience: Patience,
) -> Result<(Arc<Session>, Reader), Unbound> {
    let (mut half, mut writer) = tokio::io::split(dialled.stream);
    let (until, mut buffer) = (Instant::now() + patience.answer, BytesMut::new());
    let bind = encode(CommandStatus::EsmeRok, 1, Pdu::BindTransceiver(login.pdu()));
    let exchange = async {
        writer.write_all(&bind).await?;
        writer.flush().await?;
        loop {
            let heard = frame::next(&mut half, &mut buffer).await?;
            if matches!(heard.id, CommandId::BindTransceiverResp | CommandId::GenericNack) {
                return Ok::<_, Broken>(heard);
            }
        }
    };
    let answer = match timeout_at(until, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Broken::Closed)) => return Err(Unbound::Lost("bind_closed")),
        Ok(Err(Broken::Length)) => return Err(Unbound::Lost("bind_invalid")),
        Err(_) => return Err(Unbound::Lost("bind_timeout")),
    };
    if answer.status != status::OK || answer.id != CommandId::BindTransceiverResp {
        return Err(Unbound::Refused(answer.status));
    }
    let session = Arc::new(Session::new(writer, dialled.written, window, 1));
    let deliveries = Arc::new(Semaphore::new(DELIVERIES));
    let reader =
        Reader { half, buffer, session: Arc::clone(&session), listener, deliveries, patience };
    Ok((session, reader))
}

impl Reader {
    /// Reads until the session ends: by the SMSC, by a fault, or, once `closing` ends, by an unbind
    /// of our own when all answers are there.
    pub(super) async fn read(&mut self, closing: impl Future<Output = ()>) -> Ended {
        let mut closing = std::pin::pin!(closing);
        let session = Arc::clone(&self.session);
        let mut leaving = false;
        let mut asked = false;
        let mut patient_until = Instant::now() + self.patience.silence;
        loop {
            tokio::select! {
                heard = frame::next(&mut self.half, &mut self.buffer) => {
                    let Some(heard) = self.sound(heard).await else { break };
                    asked = false;
                    patient_until = Instant::now() + self.patience.silence;
                    if heard.id == CommandId::Unbind {
                        self.unbound(heard.sequence).await;
                        return Ended::Unbinding;
                    }
                    self.hear(heard).await;
                }
                () = sleep_until(patient_until) => {
                    if asked {
                        tracing::warn!("an SMSC does not answer; its session is closed");
                        break;
                    }
                    asked = true;
                    patient_until = Instant::now() + self.patience.answer;
                    session.ask(Pdu::EnquireLink).await;
                }
                () = session.closed() => break,
                () = &mut closing, if !leaving => {
                    leaving = true;
                    session.leave();
                }
                () = session.answered(), if leaving => {
                    self.part().await;
                    break;
                }
            }
        }
        session.shut_down().await;
        Ended::Closed
    }

    /// None where the session cannot go on.
    async fn sound(&self, heard: Result<Frame, Broken>) -> Option<Frame> {
        match heard {
            Ok(heard) => Some(heard),
            Err(Broken::Closed) => None,
            Err(Broken::Length) => {
                tracing::warn!("an SMSC sent a PDU of impossible length; its session is closed");
                self.nack(0, CommandStatus::EsmeRinvcmdlen).await;
                None
            }
        }
    }

    async fn hear(&self, heard: Frame) {
        let (id, sequence) = (heard.id, heard.sequence);
        match id {
            CommandId::SubmitSmResp | CommandId::GenericNack => {
                // A nack refuses, also where it does not say why.
                let status = match heard.status {
                    status::OK if id == CommandId::GenericNack => status::UNKNOWN,
                    status => status,
                };
                let id = match heard.pdu() {
                    Some(Pdu::SubmitSmResp(answer)) => answer.message_id().to_string(),
                    _ => String::new(),
                };
                self.session.answer(sequence, Answer { status, id });
            }
            CommandId::EnquireLink => {
                self.session.respond(sequence, CommandStatus::EsmeRok, Pdu::EnquireLinkResp).await;
            }
            CommandId::DeliverSm => self.deliver(heard).await,
            // These have no answer.
            CommandId::AlertNotification | CommandId::Outbind => {}
            other if u32::from(other) & 0x8000_0000 != 0 => {}
            _ => self.nack(sequence, CommandStatus::EsmeRinvcmdid).await,
        }
    }

    async fn nack(&self, sequence: u32, status: CommandStatus) {
        self.session.respond(sequence, status, Pdu::GenericNack).await;
    }

    /// Answered when it is kept, while others are read.
    async fn deliver(&self, heard: Frame) {
        let sequence = heard.sequence;
        let Some(Pdu::DeliverSm(message)) = heard.pdu() else {
            tracing::warn!("an SMSC delivered what cannot be read; it was refused");
            let refused = DeliverSmResp::default().into();
            return self.session.respond(sequence, CommandStatus::EsmeRxRAppn, refused).await;
        };
        // Never closed.
        let Ok(turn) = Arc::clone(&self.deliveries).acquire_owned().await else { return };
        let (listener, session) = (Arc::clone(&self.listener), Arc::clone(&self.session));
        tokio::spawn(async move {
            let kept = listener.deliver(message).await;
            let status = if kept { CommandStatus::EsmeRok } else { CommandStatus::EsmeRxTAppn };
            session.respond(sequence, status, DeliverSmResp::default().into()).await;
            drop(turn);
        });
    }

    async fn unbound(&self, sequence: u32) {
        self.session.leave();
        self.session.respond(sequence, CommandStatus::EsmeRok, Pdu::UnbindResp).await;
    }

    /// After the SMSC's unbind: the answers that still come.
    pub(super) async fn drain(mut self) {
        let session = Arc::clone(&self.session);
        let until = Instant::now() + self.patience.answer;
        let rest = async {
            loop {
                tokio::select! {
                    heard = frame::next(&mut self.half, &mut self.buffer) => {
                        let Ok(heard) = heard else { break };
                        self.hear(heard).await;
                    }
                    () = session.answered() => break,
                }
            }
        };
        let _ = timeout_at(until, rest).await;
        session.shut_down().await;
    }

    /// Our own unbind, and the answer to it.
    async fn part(&mut self) {
        let until = Instant::now() + PARTING;
        // What was delivered before is answered first.
        let all = u32::try_from(DELIVERIES).unwrap_or(u32::MAX);
        let _ = timeout_at(until, self.deliveries.acquire_many(all)).await;
        self.session.ask(Pdu::Unbind).await;
        let answered = async {
            while let Ok(heard) = frame::next(&mut self.half, &mut self.buffer).await {
                if heard.id == CommandId::UnbindResp {
                    break;
                }
                self.hear(heard).await;
            }
        };
        let _ = timeout_at(until, answered).await;
    }
}
