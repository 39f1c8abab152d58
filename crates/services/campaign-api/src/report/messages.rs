//! List a run's messages: every customer and channel, sent or not, and why not.

use std::collections::{BTreeSet, HashMap};

use carillon_contracts::{
    ids::{CustomerId, MessageId, OrganisationId, RunId},
    jobs::v1::Channel,
    report::v1::{ListReportMessagesRequest, ListReportMessagesResponse, ReportMessage},
    time,
    vocabulary::{ChannelWord as _, MessageState},
};
use carillon_service_kit::{
    page,
    status::{internal, invalid},
};
use jiff::Timestamp;
use tonic::Status;

use super::{
    cursor::Cursor,
    listing::{Entry, Fate, Only, entries},
    select::{Selected, select},
    store::MessageRow,
};
use crate::CampaignApi;

const DEFAULT_SIZE: i32 = 500;

impl CampaignApi {
    pub(crate) async fn report_messages(
        &self,
        organisation: OrganisationId,
        request: ListReportMessagesRequest,
    ) -> Result<ListReportMessagesResponse, Status> {
        let only = only(&request)?;
        let ListReportMessagesRequest { campaign_id, run_id, page_size, page_token, .. } = request;
        let size = page::size(if page_size == 0 { DEFAULT_SIZE } else { page_size })?;
        let snapshot = self.database.snapshot().await.map_err(internal)?;
        let Selected { run, row, .. } =
            select(&snapshot, organisation, &campaign_id, &run_id).await?;
        let Some(row) = row else { return Ok(ListReportMessagesResponse::default()) };
        let number = row.key.number();
        let from = match page_token.as_str() {
            "" => Cursor::first(),
            token => Cursor::parse(token, number).ok_or_else(|| {
                invalid(
                    "page_token",
                    "is not one that this method gave for this run; start without it",
                )
            })?,
        };
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        let mut found =
            entries(&snapshot, row.key, &only, from, most + 1).await.map_err(internal)?;
        snapshot.commit().await.map_err(internal)?;
        let next = if found.len() > most { found.pop() } else { None };
        let next_page_token = next.map_or_else(String::new, |entry| entry.at.token(number));
        let customers: BTreeSet<CustomerId> =
            found.iter().filter_map(|entry| entry.customer).collect();
        let names = self.audience.external_ids(organisation, customers).await?;
        let messages = found.into_iter().map(|entry| message(run, entry, &names)).collect();
        Ok(ListReportMessagesResponse { messages, next_page_token })
    }
}

fn only(request: &ListReportMessagesRequest) -> Result<Only, Status> {
    let batch = match request.batch_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|error| invalid("batch_id", format!("{error}")))?),
    };
    let state = match request.state.as_str() {
        "" => None,
        word => Some(word.parse().map_err(|error| {
            let all: Vec<&str> = MessageState::ALL.iter().map(|state| state.word()).collect();
            invalid("state", format!("{error}; give one of: {}", all.join(", ")))
        })?),
    };
    Ok(Only { batch, state })
}

/// Parts and credits as the report's own sums count them: of messages that count as sent; an e-mail
/// has none.
fn cost(channel: Channel, row: &MessageRow) -> (u32, u32) {
    let posted = row.state.parse().is_ok_and(MessageState::is_posted);
    if channel == Channel::Sms && posted { (row.parts, row.units) } else { (0, 0) }
}

fn message(run: RunId, entry: Entry, names: &HashMap<CustomerId, String>) -> ReportMessage {
    let Entry { customer, channel, batch, fate, .. } = entry;
    let channel = Channel::from_word(&channel).unwrap_or_default();
    let external_id = customer.and_then(|customer| names.get(&customer)).cloned();
    let message_id = |customer| MessageId::of(run, channel, customer).to_string();
    let message = ReportMessage {
        external_id: external_id.unwrap_or_default(),
        channel: channel.into(),
        ..ReportMessage::default()
    };
    // Who was skipped has no message, and so no id of one.
    let planned = ReportMessage {
        message_id: customer.map(message_id).unwrap_or_default(),
        batch_id: batch.map(|id| id.to_string()).unwrap_or_default(),
        ..message.clone()
    };
    match fate {
        Fate::Skipped(skipped) => ReportMessage { skipped, ..message },
        Fate::Planned => ReportMessage { state: MessageState::Planned.to_string(), ..planned },
        Fate::Message(row) => {
            let (parts, credits) = cost(channel, &row);
            ReportMessage {
                parts,
                credits,
                state: row.state,
                reason: row.reason,
                attempt: row.attempt,
                change_time: Timestamp::from_millisecond(row.changed_at).ok().map(time::to_wire),
                provider_code: row.provider_code,
                ..planned
            }
        }
    }
}
