//! `carillon campaign`.

mod copy;
pub mod file;
pub mod forecast;
mod halt;
mod lint;
mod next;
mod preview;
pub mod show;
pub use self::show::state_word;
mod start;
mod test;

use std::path::PathBuf;

use carillon_contracts::campaign::v1::{
    CreateCampaignRequest, ForecastCampaignRequest, GetCampaignRequest, ListCampaignsRequest,
    UpdateCampaignRequest,
};
use clap::{Args, Subcommand, builder::NonEmptyStringValueParser};

use self::file::CampaignFile;
use crate::{
    context::Context,
    effect,
    error::Error,
    output::{Format, rows::Rows},
    pages::Pages,
    watch,
};

#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Store a draft; sends nothing
    #[command(
        after_help = "Example:\n  carillon campaign create -f examples/campaign.yaml -o json"
    )]
    Create(CreateArgs),
    /// List campaigns, newest first; archived ones only with --all
    #[command(after_help = "Example:\n  carillon campaign list --limit 10")]
    List(ListArgs),
    /// Show a campaign
    #[command(after_help = "Example:\n  carillon campaign show ID -o json")]
    Show(IdArgs),
    /// Replace a draft by what a file says; a started campaign is only switched on or off
    #[command(after_help = "Example:\n  carillon campaign update ID -f examples/campaign.yaml")]
    Update(UpdateArgs),
    /// Make a draft with the same content and settings, named "Copy of …" and switched off
    #[command(after_help = "Example:\n  carillon campaign copy ID -o json")]
    Copy(copy::CopyArgs),
    /// Put a draft or an ended campaign away: not listed unless asked for, and never started
    #[command(after_help = "Its report stays.\n\nExample:\n  carillon campaign archive ID")]
    Archive(IdArgs),
    /// Check a file with the server and count its SMS text; stores nothing
    #[command(after_help = "Example:\n  carillon campaign lint -f examples/campaign.yaml")]
    Lint(FileArgs),
    /// Start a campaign; starting it again does nothing more
    #[command(
        after_help = "On a terminal it shows recipients, parts and credits, and asks.\n\nExample:\n  carillon campaign start ID --wait"
    )]
    Start(start::StartArgs),
    /// Send nothing more until it is resumed; deadlines go on
    #[command(after_help = "Example:\n  carillon campaign pause ID")]
    Pause(IdArgs),
    /// Go on with a paused campaign
    #[command(after_help = "Example:\n  carillon campaign resume ID")]
    Resume(IdArgs),
    /// End a campaign for good: what was not sent never is
    #[command(after_help = "Example:\n  carillon campaign cancel ID")]
    Cancel(IdArgs),
    /// Show when a campaign runs next; works on drafts
    #[command(
        after_help = "Example:\n  carillon campaign next ID -n 10 --from 2026-12-01T00:00:00Z"
    )]
    Next(next::NextArgs),
    /// Show the content as one customer would see it
    #[command(after_help = "Example:\n  carillon campaign preview ID --customer C00004")]
    Preview(preview::PreviewArgs),
    /// Send the content to one customer's own number and address, now; it costs what it sends
    #[command(
        after_help = "Works in every state, drafts above all. A customer who must not get messages gets none, and the report says why.\n\nExample:\n  carillon campaign test ID --customer C00004"
    )]
    Test(test::TestArgs),
    /// Show what a start would do: recipients, who is skipped and why, parts
    #[command(after_help = "Example:\n  carillon campaign forecast ID")]
    Forecast(IdArgs),
    /// Follow a campaign until everything is settled
    #[command(after_help = "Example:\n  carillon campaign watch ID")]
    Watch(IdArgs),
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// The campaign's id
    pub id: String,
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// The file (YAML); - reads standard input
    #[arg(short = 'f', long, value_name = "FILE.yaml")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Makes the call repeatable: the same id creates no second campaign
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The campaign's id
    pub id: String,
    #[command(flatten)]
    pub file: FileArgs,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Archived campaigns too
    #[arg(long)]
    pub all: bool,
}

pub async fn run(command: CampaignCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        CampaignCommand::Create(args) => create(args, context).await,
        CampaignCommand::List(args) => list(args, context).await,
        CampaignCommand::Show(args) => show(args, context).await,
        CampaignCommand::Update(args) => update(args, context).await,
        CampaignCommand::Copy(args) => copy::run(args, context).await,
        CampaignCommand::Archive(args) => copy::archive(args, context).await,
        CampaignCommand::Lint(args) => lint::run(args, context).await,
        CampaignCommand::Start(args) => start::run(args, context).await,
        CampaignCommand::Pause(args) => halt::pause(args, context).await,
        CampaignCommand::Resume(args) => halt::resume(args, context).await,
        CampaignCommand::Cancel(args) => halt::cancel(args, context).await,
        CampaignCommand::Next(args) => next::run(args, context).await,
        CampaignCommand::Preview(args) => preview::run(args, context).await,
        CampaignCommand::Test(args) => test::run(args, context).await,
        CampaignCommand::Forecast(args) => forecast_of(args, context).await,
        CampaignCommand::Watch(args) => {
            let client = context.client().await?;
            watch::run(&client, &args.id, context).await
        }
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<(), Error> {
    let file = CampaignFile::read(&args.file.file)?;
    let client = context.client().await?;
    let request = CreateCampaignRequest {
        campaign: Some(file.it.clone()),
        request_id: args.request_id.unwrap_or_default(),
        validate_only: false,
    };
    let answer = client.campaigns().create_campaign(request).await;
    let campaign = answer.map_err(|status| file.explain(status))?.into_inner();
    show::print(&mut context.out, context.look, &campaign)?;
    if context.look.format == Format::Table {
        note!(
            "a draft is stored; nothing is sent before `carillon campaign start {}`",
            campaign.id
        );
    }
    Ok(())
}

async fn update(args: UpdateArgs, context: &mut Context) -> Result<(), Error> {
    let mut file = CampaignFile::read(&args.file.file)?;
    file.it.id = args.id;
    let client = context.client().await?;
    // No mask: a file says the whole of a campaign.
    let request = UpdateCampaignRequest { campaign: Some(file.it.clone()), update_mask: None };
    let answer = client.campaigns().update_campaign(request).await;
    let campaign = answer.map_err(|status| file.explain(status))?.into_inner();
    show::print(&mut context.out, context.look, &campaign)?;
    effect::tell(campaign.in_effect);
    Ok(())
}

async fn show(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = GetCampaignRequest { id: args.id };
    let campaign = client.campaigns().get_campaign(request).await?.into_inner();
    show::print(&mut context.out, context.look, &campaign)?;
    Ok(())
}

async fn list(args: ListArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let look = context.look;
    let columns: Vec<&str> = match look.format {
        Format::Table => show::TABLE.to_vec(),
        Format::Json | Format::Csv => {
            show::fields(&Default::default()).iter().map(|(name, _)| *name).collect()
        }
    };
    let mut rows = Rows::new(&mut context.out, look, &columns);
    let mut pages = Pages::new(args.limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListCampaignsRequest { page_size, page_token, show_archived: args.all };
        let page = client.campaigns().list_campaigns(request).await?.into_inner();
        for campaign in pages.cut(page.campaigns, page.next_page_token) {
            rows.row(match look.format {
                Format::Table => show::table_row(&campaign),
                Format::Json | Format::Csv => {
                    show::fields(&campaign).into_iter().map(|(_, value)| value).collect()
                }
            })?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("no campaigns yet; create one with `carillon campaign create -f FILE.yaml`");
    }
    Ok(())
}

async fn forecast_of(args: IdArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = ForecastCampaignRequest { id: args.id };
    let found = client.campaigns().forecast_campaign(request).await?.into_inner();
    let account = forecast::account(&client).await?;
    forecast::print(&mut context.out, context.look, &found, &account)
}
