//! What customers reply. A keyword becomes an event, which carries the number sealed to where numbers
//! are looked up; of every other reply nothing is kept.

use std::time::Duration;

use carillon_contracts::{
    events::v1::{ReplyReceived, event::Body},
    ids::OrganisationId,
    time,
};
use carillon_outbox::Outbox;
use carillon_sealing::{ReplyLinks, SealError, WrappingKey};
use carillon_service_kit::{Clock, Database, Stop, database::is_transient};
use carillon_tenancy::{REPLY_NUMBER, seal_secret};
use sea_orm::DbErr;

use crate::{domain::keyword, store};

/// A provider's call that comes again within this time does nothing more.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
const TIDY: Duration = Duration::from_secs(60);
/// A writer that met others on the same rows tries again this often.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);
/// E.164 and what is written between its digits.
const LONGEST_NUMBER: usize = 32;

#[derive(Clone)]
pub(crate) struct Replies {
    pub database: Database,
    pub outbox: Outbox,
    pub clock: Clock,
    pub key: WrappingKey,
    pub links: ReplyLinks,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotHeard {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Sealing(#[from] SealError),
}

impl Replies {
    /// For every gateway. Returns once what it says is on disk: the provider may then be answered.
    /// `provider_id` tells a call that is repeated from a word that is said again; where it is empty,
    /// every call counts.
    pub(crate) async fn hear(
        &self,
        organisation: OrganisationId,
        from_number: &str,
        text: &str,
        provider_id: &str,
    ) -> Result<(), NotHeard> {
        let from_number = from_number.trim();
        let Some(keyword) = keyword::of(text) else { return Ok(()) };
        if from_number.is_empty() || from_number.len() > LONGEST_NUMBER {
            return Ok(());
        }
        // Not by its id alone: a provider that gives all the same one must not silence the others.
        let parts = [provider_id, from_number, keyword.as_str_name()];
        let fingerprint =
            (!provider_id.is_empty()).then(|| self.links.fingerprint(organisation.uuid(), &parts));
        let number = seal_secret(&self.key, organisation, REPLY_NUMBER, from_number.as_bytes())?;
        let reply = ReplyReceived {
            number: Some(number),
            keyword: keyword.into(),
            receive_time: Some(time::to_wire(self.clock.now())),
        };
        for tries in 1.. {
            match self.keep(organisation, fingerprint.as_ref(), reply.clone()).await {
                Err(error) if tries < TRIES && is_transient(&error) => {
                    tokio::time::sleep(PAUSE * tries).await;
                }
                kept => {
                    self.outbox.wake();
                    return Ok(kept?);
                }
            }
        }
        Ok(())
    }

    async fn keep(
        &self,
        organisation: OrganisationId,
        fingerprint: Option<&[u8; 32]>,
        reply: ReplyReceived,
    ) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        if let Some(fingerprint) = fingerprint {
            let at = self.clock.now_ms();
            if !store::note_reply(&tx, organisation, fingerprint, at).await? {
                return tx.rollback().await;
            }
        }
        self.outbox.append(&tx, organisation, Body::ReplyReceived(reply)).await?;
        tx.commit().await
    }

    /// Forgets what is too old to be repeated, until stopping.
    pub(crate) async fn forget(self, stop: Stop) -> Result<(), DbErr> {
        let known_for = i64::try_from(KNOWN_FOR.as_millis()).unwrap_or(i64::MAX);
        while stop.sleep(TIDY).await {
            let before = self.clock.now_ms() - known_for;
            store::forget_replies_of_all_organisations(&self.database, before).await?;
        }
        Ok(())
    }
}
