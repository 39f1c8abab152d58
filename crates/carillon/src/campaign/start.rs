//! `carillon campaign start`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use carillon_contracts::campaign::v1::{
    Campaign, CampaignState, ForecastCampaignRequest, GetCampaignRequest, StartCampaignRequest,
};
use clap::Args;

use super::{forecast, show};
use crate::{
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, printable},
    report,
    watch::{self, View},
};

#[derive(Debug, Args)]
pub struct StartArgs {
    /// The campaign's id
    pub id: String,
    /// Do not ask; without a terminal nothing is asked anyway
    #[arg(long)]
    pub yes: bool,
    /// Follow until everything is settled, then print the report
    #[arg(long)]
    pub wait: bool,
}

pub async fn run(args: StartArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let asks = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    if asks && !agreed(&client, &args.id).await? {
        return Err(Error::failed("not started"));
    }
    let request = StartCampaignRequest { id: args.id.clone() };
    let campaign = client.campaigns().start_campaign(request).await?.into_inner();
    if args.wait {
        let report = watch::follow(&client, &args.id, &mut View::of_stderr()).await?;
        return report::print(&mut context.out, context.look, &report);
    }
    show::print(&mut context.out, context.look, &campaign)?;
    if context.look.format == Format::Table {
        match campaign.state() {
            CampaignState::Scheduled => {
                note!("`carillon campaign next {}` shows when it runs", args.id);
            }
            _ => note!("follow it with `carillon campaign watch {}`", args.id),
        }
    }
    Ok(())
}

/// Shows what the start would do, and asks. A campaign that runs already needs no second word.
async fn agreed(client: &Client, id: &str) -> Result<bool, Error> {
    let request = GetCampaignRequest { id: id.to_owned() };
    let campaign: Campaign = client.campaigns().get_campaign(request).await?.into_inner();
    if campaign.state() != CampaignState::Draft {
        return Ok(true);
    }
    let request = ForecastCampaignRequest { id: id.to_owned() };
    let found = client.campaigns().forecast_campaign(request).await?.into_inner();
    let account = forecast::account(client).await?;
    let mut stderr = io::stderr();
    writeln!(stderr, "{}", printable(&campaign.name))?;
    forecast::print(&mut stderr, Look::of_stderr(), &found, &account)?;
    write!(stderr, "\nStart it now? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
