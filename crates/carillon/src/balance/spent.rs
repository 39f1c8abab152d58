//! The messages of one batch that cost credits.

use carillon_contracts::{
    billing::v1::{BatchHold, ListHoldsRequest},
    report::v1::ListReportMessagesRequest,
};
use serde_json::json;

use super::SpentArgs;
use crate::{
    client::Client,
    error::Error,
    output::{Format, Look, Out, rows::Rows},
    pages::Pages,
};

pub async fn print(
    client: &Client,
    args: SpentArgs,
    out: Out<'_>,
    look: Look,
) -> Result<(), Error> {
    let hold = hold(client, &args.batch).await?;
    let columns =
        ["message_id", "external_id", "state", "credits", "attempt", "changed_at", "provider_code"];
    let mut rows = Rows::new(out, look, &columns);
    let mut pages = Pages::new(args.limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListReportMessagesRequest {
            campaign_id: hold.campaign_id.clone(),
            run_id: hold.run_id.clone(),
            batch_id: hold.batch_id.clone(),
            page_size,
            page_token,
            ..ListReportMessagesRequest::default()
        };
        let page = client.reports().list_report_messages(request).await?.into_inner();
        let costly = page.messages.into_iter().filter(|message| message.credits > 0).collect();
        for message in pages.cut(costly, page.next_page_token) {
            rows.row(vec![
                json!(message.message_id),
                json!(message.external_id),
                json!(message.state),
                json!(message.credits),
                json!(message.attempt),
                look.instant(message.change_time.as_ref()),
                json!(message.provider_code),
            ])?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("no credit of this batch is spent: nothing of it was sent");
    }
    Ok(())
}

/// The hold says which campaign and run the batch is of.
async fn hold(client: &Client, batch: &str) -> Result<BatchHold, Error> {
    let request = ListHoldsRequest {
        batch_id: batch.to_owned(),
        include_closed: true,
        ..ListHoldsRequest::default()
    };
    let mut found = client.accounts().list_holds(request).await?.into_inner().holds;
    found.pop().ok_or_else(|| {
        Error::failed(format!(
            "BATCH: no hold of batch {batch} is known; carillon balance holds --all lists them"
        ))
    })
}
