//! An SMSC by SMPP 3.4: bound as a transceiver, each part of a message a submit_sm, its receipts by
//! deliver_sm.

mod ear;
mod frame;
mod heard;
mod pdu;
mod pool;
mod reader;
mod session;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use carillon_content::sms::{Part, split};
use carillon_contracts::{campaign::v1::SmppGateway, ids::OrganisationId};
use carillon_dispatch::{Clearance, Outcome};
use carillon_http_gateway::Origin;
use carillon_service_kit::Stop;
use tokio::time::{Instant, sleep_until};

use super::{
    provider::{Provider, Sms},
    verdict::code,
    wire::Wire,
};
use crate::{
    config::SmppConfig,
    correlation::{Account, Correlation},
};
use ear::Ear;
pub(crate) use ear::Heeded;
use pdu::{Address, Envelope, Login, submit};
use pool::{Missed, Pool, Reached};
use reader::Patience;

const SESSIONS: u32 = 1;
const WINDOW: u32 = 10;
/// What cleared a message holds for so long after its first part left: it is one call. Later parts
/// are asked for again.
const ONE_CALL: Duration = Duration::from_secs(1);

/// Whether a part may still leave, and how long it may take.
#[derive(Clone, Copy)]
struct Leave<'a> {
    clearance: &'a Clearance,
    /// When the first part was taken: what was begun goes on, also in a stop.
    begun: Option<Instant>,
    until: Instant,
}

impl Leave<'_> {
    fn holds(self) -> bool {
        match self.begun {
            Some(begun) => begun.elapsed() < ONE_CALL || self.clearance.goes_on(),
            None => self.clearance.holds(),
        }
    }

    /// Ends when it has taken too long, or a stop no longer waits for a part that has `left`, or
    /// for those after it.
    async fn over(self, left: impl Fn() -> bool) {
        tokio::select! {
            () = sleep_until(self.until) => {}
            () = self.clearance.broken_off(|| self.begun.is_some() || left()) => {}
        }
    }
}

/// What all accounts share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub wire: Arc<Wire>,
    pub correlation: Correlation,
    pub replies: Heeded,
    pub config: SmppConfig,
    pub stop: Stop,
}

pub(crate) struct Smpp {
    account: Account,
    pool: Arc<Pool>,
    source: Address,
    connections: usize,
    correlation: Correlation,
    /// For the whole of a message.
    patience: Duration,
}

impl Smpp {
    pub(crate) fn new(
        settings: &SmppGateway,
        from: &str,
        password: &str,
        organisation: OrganisationId,
        shared: &Shared,
    ) -> Result<Self, String> {
        let origin = Origin::parse_smsc(&settings.url).map_err(|why| format!("smpp.url: {why}"))?;
        let login = Login::new(&settings.system_id, password, &settings.system_type)?;
        let source = Address::parse(from).ok_or("from: a number or a name is needed")?;
        let or = |given, otherwise| if given == 0 { otherwise } else { given };
        let sessions = usize::try_from(or(settings.connections, SESSIONS)).unwrap_or(1);
        let window = usize::try_from(or(settings.window, WINDOW)).unwrap_or(1);
        let name = format!("smpp/{}:{}/{}", origin.host, origin.port, settings.system_id);
        let account = Account { organisation, name: name.into() };
        let listener = Ear {
            account: account.clone(),
            correlation: shared.correlation.clone(),
            replies: Arc::clone(&shared.replies),
        };
        let patience = shared.wire.patience();
        let silence = Duration::from_millis(shared.config.enquire_ms);
        let reached = Reached {
            wire: Arc::clone(&shared.wire),
            origin,
            login,
            sessions,
            window,
            patience: Patience { silence, answer: patience },
        };
        Ok(Self {
            account,
            pool: Pool::new(reached, Arc::new(listener), shared.stop.clone()),
            source,
            connections: sessions * window,
            correlation: shared.correlation.clone(),
            patience,
        })
    }

    /// Part by part. Once one is taken the message is not begun again: what then fails in passing is
    /// tried again here, for as long as the call may last.
    async fn send_parts(&self, sms: &Sms<'_>, taken: &mut Taken) -> Outcome {
        let until = Instant::now() + self.patience;
        let parts = split(sms.text);
        let Some(destination) = Address::parse(sms.outgoing.recipient.address()) else {
            return Outcome::Permanent { reason: "number_invalid", code: String::new() };
        };
        let envelope = Envelope {
            source: &self.source,
            destination: &destination,
            validity: sms.validity_seconds(),
            reference: sms.outgoing.message.uuid().as_bytes()[15],
        };
        for (at, part) in parts.iter().enumerate() {
            let place = Place { number: at + 1, parts: parts.len() };
            if let Err(outcome) = self.send_part(sms, &envelope, part, place, taken, until).await {
                return outcome;
            }
        }
        let provider_id = taken.ids.first().map(|(_, id)| code(id)).unwrap_or_default();
        Outcome::Sent { provider_id, parts: None }
    }

    async fn send_part(
        &self,
        sms: &Sms<'_>,
        envelope: &Envelope<'_>,
        part: &Part<'_>,
        place: Place,
        taken: &mut Taken,
        until: Instant,
    ) -> Result<(), Outcome> {
        let Some(pdu) = submit(envelope, part, place.number, place.parts) else {
            return Err(Outcome::Permanent { reason: "text_too_long", code: String::new() });
        };
        loop {
            let leave = Leave { clearance: &sms.outgoing.clearance, begun: taken.begun, until };
            let answer = match self.pool.submit(&pdu, leave).await {
                Ok(answer) => answer,
                Err(missed) => return Err(place.missed(missed)),
            };
            if answer.status == status::OK {
                taken.begun.get_or_insert_with(Instant::now);
                let number = u32::try_from(place.number).unwrap_or(u32::MAX);
                taken.ids.push((number, answer.id));
                return Ok(());
            }
            let refused = status::refused(answer.status);
            if status::is_throttled(answer.status) {
                self.pool.slow_down();
            }
            if place.number == 1 {
                return Err(refused);
            }
            let passes = matches!(refused, Outcome::Transient { retry_after: None, .. });
            if !passes || Instant::now() + pool::BRAKE >= until {
                return Err(place.in_doubt(&status::code_of(answer.status)));
            }
            self.pool.slow_down();
        }
    }

    /// An id that is not kept costs a receipt, and no more: the message is sent all the same.
    async fn remember(&self, sms: &Sms<'_>, taken: &Taken) {
        let outgoing = sms.outgoing;
        let message = (outgoing.run_day, outgoing.message);
        let kept = self.correlation.accepted(&self.account, message, &taken.ids, sms.count.parts);
        if kept.await.is_err() {
            tracing::warn!(message_id = %outgoing.message, "an SMSC's ids were not kept; its receipts will be about nothing");
        }
    }
}

/// Where a part stands.
#[derive(Clone, Copy)]
struct Place {
    number: usize,
    parts: usize,
}

/// What the SMSC took of a message.
#[derive(Default)]
struct Taken {
    begun: Option<Instant>,
    ids: Vec<(u32, String)>,
}

impl Place {
    /// Which part it was that was not taken for sure.
    fn in_doubt(self, why: &str) -> Outcome {
        let code = match self.parts {
            1 => why.to_owned(),
            parts => format!("part_{}_of_{parts}/{why}", self.number),
        };
        Outcome::InDoubt { code }
    }

    fn missed(self, missed: Missed) -> Outcome {
        match (missed, self.number) {
            (Missed::InDoubt(why), _) => self.in_doubt(why),
            (Missed::NotBegun, 1) => Outcome::NotBegun,
            (Missed::Unsent(outcome), 1) => outcome,
            (Missed::NotBegun, _) => self.in_doubt("not_begun"),
            (Missed::Unsent(Outcome::Transient { code, .. }), _) => self.in_doubt(&code),
            (Missed::Unsent(_), _) => self.in_doubt("no_session"),
        }
    }
}

#[async_trait]
impl Provider for Smpp {
    fn name(&self) -> &str {
        &self.account.name
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn send(&self, sms: &Sms<'_>) -> Outcome {
        let _call = self.pool.call();
        self.pool.begin();
        let mut taken = Taken::default();
        let outcome = self.send_parts(sms, &mut taken).await;
        if !taken.ids.is_empty() {
            self.remember(sms, &taken).await;
        }
        outcome
    }

    fn hold(&self) {
        self.pool.begin();
    }
}

impl Drop for Smpp {
    fn drop(&mut self) {
        self.pool.close();
    }
}
