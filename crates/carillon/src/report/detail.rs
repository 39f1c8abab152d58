//! Every customer and channel of a run, page by page: memory does not grow with the run.

use carillon_contracts::{
    report::v1::{ListReportMessagesRequest, ReportMessage},
    vocabulary::ChannelWord as _,
};
use serde_json::{Value, json};

use crate::{
    client::Client,
    error::Error,
    output::{Format, Look, Out, rows::Rows},
};

const PAGE: i32 = 1_000;

/// Of the table. Files have the batch besides, as their last: it is what holds are listed by.
const COLUMNS: [&str; 11] = [
    "external_id",
    "channel",
    "state",
    "reason",
    "skipped",
    "parts",
    "credits",
    "attempt",
    "changed_at",
    "message_id",
    "provider_code",
];

pub async fn print(client: &Client, campaign: &str, out: Out<'_>, look: Look) -> Result<(), Error> {
    let with_batch = look.format != Format::Table;
    let batch = with_batch.then_some("batch");
    let columns: Vec<&str> = COLUMNS.into_iter().chain(batch).collect();
    let mut rows = Rows::new(out, look, &columns);
    let mut page_token = String::new();
    loop {
        let request = ListReportMessagesRequest {
            campaign_id: campaign.to_owned(),
            page_size: PAGE,
            page_token,
            ..ListReportMessagesRequest::default()
        };
        let page = client.reports().list_report_messages(request).await?.into_inner();
        for message in &page.messages {
            let batch = with_batch.then(|| json!(message.batch_id));
            rows.row(row(look, message).into_iter().chain(batch).collect())?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("there are no messages: nothing is planned yet, or nobody matched");
    }
    Ok(())
}

fn row(look: Look, message: &ReportMessage) -> Vec<Value> {
    vec![
        json!(message.external_id),
        json!(message.channel().word()),
        json!(message.state),
        json!(message.reason),
        json!(message.skipped),
        json!(message.parts),
        json!(message.credits),
        json!(message.attempt),
        look.instant(message.change_time.as_ref()),
        json!(message.message_id),
        json!(message.provider_code),
    ]
}
