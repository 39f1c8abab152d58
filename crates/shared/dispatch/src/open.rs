//! A batch in hand: its header, and its recipients taken out of the sealed block.

use bytes::Bytes;
use carillon_content::{Values, Variable};
use carillon_contracts::{
    ids::{
        BatchId, CampaignId, CustomerId, InvalidId, MessageId, OrganisationId, RunId,
        unpack_customers,
    },
    jobs::v1::{self as jobs, Cause, Channel, SealedBlock, SendJob},
    time,
};
use carillon_sealing::{SealError, WrappingKey};
use jiff::Timestamp;
use prost::Message as _;

use crate::{
    domain::addressee::Addressee,
    gateway::{Account, Gateway},
};

/// A block grows to this at most when it is unpacked.
const UNPACKED_BYTES: usize = 64 * 1024 * 1024;

/// What is known of a batch without opening it.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub organisation: OrganisationId,
    pub campaign: CampaignId,
    pub run: RunId,
    pub batch: BatchId,
    pub run_day: i32,
    pub channel: Channel,
    pub deadline: Timestamp,
    pub customers: Vec<CustomerId>,
    /// Settle instead of send.
    pub cause: Cause,
    /// The span that what is told of it hangs on; empty where nothing is traced.
    pub traceparent: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the job is damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Sealed(#[from] SealError),
}

impl From<InvalidId> for OpenError {
    fn from(error: InvalidId) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl Header {
    pub(crate) fn of(job: &SendJob) -> Result<Self, OpenError> {
        let deadline = job.deadline.as_ref().and_then(time::from_wire);
        Ok(Self {
            organisation: OrganisationId::from_wire(&job.organisation_id)?,
            campaign: CampaignId::from_wire(&job.campaign_id)?,
            run: RunId::from_wire(&job.run_id)?,
            batch: BatchId::from_wire(&job.batch_id)?,
            run_day: job.run_day,
            channel: job.channel(),
            deadline: deadline.ok_or_else(|| OpenError::Damaged("no deadline".into()))?,
            customers: unpack_customers(&job.customer_ids)?,
            cause: job.cause(),
            traceparent: job.traceparent.clone(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.customers.len()
    }

    pub(crate) fn message(&self, position: usize) -> MessageId {
        MessageId::of(self.run, self.channel, self.customers[position])
    }
}

/// The recipients of a batch with the content compiled for them.
pub(crate) struct Opened<P> {
    organisation: OrganisationId,
    customers: Vec<CustomerId>,
    variables: Vec<Variable>,
    recipients: Vec<jobs::Recipient>,
    /// An error fails every message: the content's own fault.
    pub prepared: Result<P, String>,
    /// Of each message.
    pub parts: Vec<u32>,
}

impl<P> Opened<P> {
    pub(crate) fn open<G: Gateway<Prepared = P>>(
        gateway: &G,
        key: &WrappingKey,
        header: &Header,
        block: &SealedBlock,
        content: &jobs::Content,
    ) -> Result<Self, OpenError> {
        let batch = header.batch.uuid();
        let data_key = key.unwrap(&block.key_id, &block.wrapped_key, batch.as_bytes())?;
        let packed = data_key.open(&block.ciphertext, batch.as_bytes())?;
        let plain = Bytes::from(carillon_sealing::decompress(&packed, UNPACKED_BYTES)?);
        let block = jobs::Recipients::decode(plain)
            .map_err(|error| OpenError::Damaged(error.to_string()))?;
        if block.recipients.len() != header.count() {
            return Err(OpenError::Damaged("ids and recipients differ in number".into()));
        }
        let variables = block.variables.iter().map(|name| Variable::named(name)).collect();
        let variables: Option<Vec<Variable>> = variables;
        let mut opened = Self {
            organisation: header.organisation,
            customers: header.customers.clone(),
            variables: variables
                .ok_or_else(|| OpenError::Damaged("a variable of an unknown name".into()))?,
            recipients: block.recipients,
            prepared: gateway.prepare(content),
            parts: vec![1; header.count()],
        };
        if let Ok(prepared) = &opened.prepared {
            opened.parts = (0..opened.recipients.len())
                .map(|position| gateway.parts(prepared, opened.recipient(position)))
                .collect();
        }
        Ok(opened)
    }

    pub(crate) fn recipient(&self, position: usize) -> Recipient<'_> {
        Recipient {
            organisation: self.organisation,
            customer: self.customers[position],
            variables: &self.variables,
            recipient: &self.recipients[position],
        }
    }

    /// The recipients as a claim sees them that is made for the account.
    pub(crate) fn addressees(&self, account: &Account) -> Vec<Addressee> {
        let recipients = self.recipients.iter().zip(&self.parts).zip(self.units());
        recipients
            .map(|((recipient, parts), units)| Addressee {
                parts: *parts,
                units,
                without_consent: recipient.without_consent,
                foreign: !account.markets.allow(&recipient.address),
            })
            .collect()
    }

    /// What each message costs.
    pub(crate) fn units(&self) -> Vec<u32> {
        let recipients = self.recipients.iter().zip(&self.parts);
        recipients.map(|(recipient, parts)| parts.saturating_mul(recipient.rate.max(1))).collect()
    }

    pub(crate) fn wanted(&self) -> i64 {
        self.units().into_iter().map(i64::from).sum()
    }
}

/// Someone to send to, and the values for the content's variables.
#[derive(Clone, Copy)]
pub struct Recipient<'a> {
    pub organisation: OrganisationId,
    pub customer: CustomerId,
    variables: &'a [Variable],
    recipient: &'a jobs::Recipient,
}

impl Recipient<'_> {
    pub fn address(&self) -> &str {
        &self.recipient.address
    }
}

impl Values for Recipient<'_> {
    fn value(&self, variable: &Variable) -> Option<&str> {
        let index = self.variables.iter().position(|known| known == variable)?;
        self.recipient.values.get(index).map(String::as_str)
    }
}
