//! Replies: a customer stopped SMS by a keyword, or took that back. It holds for everyone who has the
//! number, and for what is queued already. Of two replies the later counts, whichever comes first.

use async_trait::async_trait;
use carillon_contracts::{
    events::v1::{Event, Keyword, ReplyReceived, event::Body},
    ids::OrganisationId,
    jobs::v1::Channel,
    time,
};
use carillon_numbering::region;
use carillon_outbox::{Handler, HandlerError};
use carillon_tenancy::{REPLY_NUMBER, open_secret};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    Evaluator, consent_log,
    domain::{phone, standing::suppressions},
    failure::Failure,
    store::{self, Replier},
};

/// Who changed it, in the log.
const BY: &str = "reply";

pub(crate) struct Replies(pub Evaluator);

#[async_trait]
impl Handler for Replies {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::ReplyReceived(reply)) = &event.body else {
            return Err(wrong("no body"));
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id).map_err(wrong)?;
        if reply.keyword() == Keyword::Unspecified {
            return Err(wrong("it does not say which"));
        }
        self.0.replied(tx, organisation, reply).await
    }

    fn committed(&self) {
        self.0.outbox.wake();
    }
}

/// Which keyword, when, and in which organisation.
struct Heard {
    organisation: OrganisationId,
    keyword: Keyword,
    /// Milliseconds since 1970.
    at: i64,
}

impl Heard {
    /// What was said at the same time as a stop is not heeded.
    fn is_newer_for(&self, replier: &Replier) -> bool {
        let last = replier.replied_at;
        self.at > last || (self.at == last && self.keyword == Keyword::Stop)
    }
}

impl Evaluator {
    async fn replied(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        reply: &ReplyReceived,
    ) -> Result<(), HandlerError> {
        let number = self.number_of(organisation, reply)?;
        let at = reply.receive_time.as_ref().and_then(time::from_wire);
        let at = at.ok_or_else(|| wrong("it does not say when"))?.as_millisecond();
        let settings = self.organisation(organisation).await.map_err(failed)?;
        let Some(keeper) = self.vault.known(organisation).await.map_err(failed)? else {
            return Ok(());
        };
        let heard = Heard { organisation, keyword: reply.keyword(), at };
        for number in phone::of_sender(&number, region(&settings.default_region)) {
            let hash = keeper.phone(&number);
            let repliers = store::repliers(tx, organisation, &hash).await?;
            if !repliers.is_empty() {
                return Ok(self.heed(tx, &heard, repliers).await?);
            }
        }
        Ok(())
    }

    fn number_of(
        &self,
        organisation: OrganisationId,
        reply: &ReplyReceived,
    ) -> Result<String, HandlerError> {
        let sealed = reply.number.as_ref().ok_or_else(|| wrong("no number"))?;
        let opened = open_secret(self.vault.wrapping(), organisation, REPLY_NUMBER, sealed);
        String::from_utf8(opened.map_err(wrong)?).map_err(|_| wrong("the number is not text"))
    }

    async fn heed(
        &self,
        tx: &DatabaseTransaction,
        heard: &Heard,
        repliers: Vec<Replier>,
    ) -> Result<(), DbErr> {
        let organisation = heard.organisation;
        let repliers: Vec<_> =
            repliers.into_iter().filter(|replier| heard.is_newer_for(replier)).collect();
        if repliers.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = repliers.iter().map(|replier| replier.external_id.as_str()).collect();
        store::note_replies(tx, organisation, &ids, heard.at).await?;
        let (mut changed, mut told, mut log) = (Vec::new(), Vec::new(), Vec::new());
        for Replier { external_id, standing: before, .. } in &repliers {
            let mut after = *before;
            after.replied(heard.keyword);
            if after == *before {
                continue;
            }
            after.version += 1;
            told.extend(suppressions(before, &after));
            log.push(match heard.keyword {
                Keyword::Start => consent_log::Change::subscribed(after.customer, Channel::Sms),
                _ => consent_log::Change::unsubscribed(after.customer, Channel::Sms),
            });
            changed.push((external_id.as_str(), after));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = changed.iter().map(|(id, to)| (*id, to)).collect();
        let now = self.clock.now_ms();
        store::set_standings(tx, organisation, &rows, now).await?;
        consent_log::append(tx, organisation, BY, now, log).await?;
        self.tell_suppressions(tx, organisation, told).await.map(|_| ())
    }
}

fn failed(failure: Failure) -> HandlerError {
    match failure {
        Failure::Database(error) => error.into(),
        failure => wrong(failure),
    }
}

fn wrong(what: impl std::fmt::Display) -> HandlerError {
    HandlerError::Event(format!("reply.received: {what}"))
}
