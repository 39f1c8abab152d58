use carillon_contracts::events::v1::{AuditRecorded, event::Body};
use carillon_outbox::Outbox;
use carillon_tenancy::Caller;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{change::Change, log};

/// Something that somebody did with a key.
pub struct Deed<'a> {
    pub by: &'a Caller,
    /// One of `acts`.
    pub act: &'static str,
    /// What was changed, such as `campaigns/ID`.
    pub subject: String,
    pub change: Change,
}

impl Deed<'_> {
    fn recorded(&self) -> AuditRecorded {
        let key = &self.by.key;
        AuditRecorded {
            key_id: key.id.map(|id| id.as_bytes().to_vec()).unwrap_or_default().into(),
            key_prefix: key.prefix.clone(),
            act: self.act.to_owned(),
            subject: self.subject.clone(),
            before: self.change.before(),
            after: self.change.after(),
        }
    }
}

/// Tells the service that keeps the log, in the transaction of the deed.
pub async fn tell(outbox: &Outbox, tx: &DatabaseTransaction, deed: &Deed<'_>) -> Result<(), DbErr> {
    let body = Body::AuditRecorded(deed.recorded());
    outbox.append(tx, deed.by.organisation, body).await.map(|_| ())
}

/// Writes it into the log, in the transaction of the deed and as the last that it locks.
pub async fn write(tx: &DatabaseTransaction, deed: &Deed<'_>, at_ms: i64) -> Result<(), DbErr> {
    log::append(tx, deed.by.organisation, at_ms, &deed.recorded()).await
}
