//! What becomes of what an SMSC delivers. It is answered once it is kept.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use rusmpp::pdus::DeliverSm;
use tokio::time::timeout;

use super::{
    heard::{Heard, Receipt, Reply, hear},
    reader::Listener,
};
use crate::{
    correlation::{Account, Correlation},
    replies::Replies,
};

/// An SMSC is told to come again rather than kept for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where replies go, once the service has begun.
pub(crate) type Heeded = Arc<OnceLock<Replies>>;

pub(super) struct Ear {
    pub account: Account,
    pub correlation: Correlation,
    pub replies: Heeded,
}

#[async_trait]
impl Listener for Ear {
    async fn deliver(&self, message: DeliverSm) -> bool {
        match hear(&message) {
            Heard::Receipt(Receipt { id, says, code }) => {
                self.correlation.told(&self.account, &id, says, code).await.is_ok()
            }
            Heard::Reply(reply) => self.on_reply(&reply).await,
            Heard::Nothing => true,
        }
    }
}

impl Ear {
    async fn on_reply(&self, reply: &Reply) -> bool {
        let organisation = self.account.organisation;
        let Some(replies) = self.replies.get() else { return false };
        let heard = replies.hear(organisation, &reply.source, &reply.text, &reply.id);
        match timeout(PATIENCE, heard).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%organisation, %error, "a reply could not be stored");
                false
            }
            Err(_) => {
                tracing::error!(%organisation, "a reply was not stored in time");
                false
            }
        }
    }
}
