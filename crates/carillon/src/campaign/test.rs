//! `carillon campaign test`: the content to one customer's own number and address.

use carillon_contracts::campaign::v1::TestCampaignRequest;
use clap::{Args, builder::NonEmptyStringValueParser};

use crate::{
    context::Context,
    error::Error,
    report,
    watch::{self, View},
};

#[derive(Debug, Args)]
pub struct TestArgs {
    /// The campaign's id
    pub id: String,
    /// The external id of the customer who gets it
    #[arg(long, value_name = "C")]
    pub customer: String,
    /// Makes the call repeatable: the same id sends nothing more
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

pub async fn run(args: TestArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = TestCampaignRequest {
        id: args.id,
        customer: args.customer,
        request_id: args.request_id.unwrap_or_default(),
    };
    let test = client.campaigns().test_campaign(request).await?.into_inner();
    let report = watch::follow(&client, &test.id, &mut View::of_stderr()).await?;
    report::print(&mut context.out, context.look, &report)
}
