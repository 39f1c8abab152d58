//! `carillon campaign copy` and `archive`.

use carillon_contracts::campaign::v1::{ArchiveCampaignRequest, CopyCampaignRequest};
use clap::{Args, builder::NonEmptyStringValueParser};

use super::{IdArgs, show};
use crate::{context::Context, error::Error, output::Format};

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// The id of the campaign to copy
    pub id: String,
    /// Makes the call repeatable: the same id makes no second copy
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

pub async fn run(args: CopyArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request =
        CopyCampaignRequest { id: args.id, request_id: args.request_id.unwrap_or_default() };
    let copy = client.campaigns().copy_campaign(request).await?.into_inner();
    show::print(&mut context.out, context.look, &copy)?;
    if context.look.format == Format::Table {
        note!(
            "a draft is stored, switched off; change it with `carillon campaign update {} -f FILE.yaml`",
            copy.id
        );
    }
    Ok(())
}

pub async fn archive(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = ArchiveCampaignRequest { id: args.id };
    let archived = client.campaigns().archive_campaign(request).await?.into_inner();
    show::print(&mut context.out, context.look, &archived)?;
    Ok(())
}
