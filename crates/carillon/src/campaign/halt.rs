//! `carillon campaign pause`, `resume` and `cancel`.

use carillon_contracts::campaign::v1::{
    CancelCampaignRequest, HaltCampaignResponse, PauseCampaignRequest, ResumeCampaignRequest,
};
use serde_json::json;

use super::{IdArgs, show};
use crate::{
    context::Context,
    effect,
    error::Error,
    output::{Format, write_record},
};

pub async fn pause(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = PauseCampaignRequest { id: args.id };
    print(client.campaigns().pause_campaign(request).await?.into_inner(), context)
}

pub async fn resume(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = ResumeCampaignRequest { id: args.id };
    print(client.campaigns().resume_campaign(request).await?.into_inner(), context)
}

pub async fn cancel(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = CancelCampaignRequest { id: args.id };
    print(client.campaigns().cancel_campaign(request).await?.into_inner(), context)
}

fn print(answer: HaltCampaignResponse, context: &mut Context) -> Result<(), Error> {
    let campaign = answer.campaign.unwrap_or_default();
    if context.look.format == Format::Table {
        show::print(&mut context.out, context.look, &campaign)?;
    } else {
        let mut fields = show::fields(&campaign);
        fields.push(("in_effect", json!(answer.in_effect)));
        write_record(&mut context.out, context.look, &fields)?;
    }
    effect::tell(Some(answer.in_effect));
    Ok(())
}
