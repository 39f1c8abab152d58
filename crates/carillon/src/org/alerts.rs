//! `carillon org alerts`: what somebody of the organisation should look at.

use carillon_contracts::campaign::v1::ListAlertsRequest;
use clap::Args;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    output::{Format, rows::Rows},
    pages::Pages,
};

#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

pub async fn run(args: AlertsArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let look = context.look;
    let mut rows = Rows::new(&mut context.out, look, &["time", "kind", "message"]);
    let mut pages = Pages::new(args.limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListAlertsRequest { page_size, page_token };
        let page = client.organisations().list_alerts(request).await?.into_inner();
        for alert in pages.cut(page.alerts, page.next_page_token) {
            let time = look.instant(alert.create_time.as_ref());
            rows.row(vec![time, json!(alert.kind), json!(alert.message)])?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("there are no alerts");
    }
    Ok(())
}
