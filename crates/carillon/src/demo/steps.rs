//! What the demo does, through the same calls as the commands of the same names.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use carillon_contracts::{
    billing::v1::CreditAccountRequest,
    campaign::v1::{
        Campaign, CreateCampaignRequest, CreateOrganisationRequest, ForecastCampaignRequest,
        Organisation, PreviewCampaignRequest, StartCampaignRequest,
    },
    jobs::v1::Channel,
    report::v1::{ListReportMessagesRequest, Report, ReportMessage},
    vocabulary::MessageState,
};

use super::screen::Screen;
use crate::{
    activity::Activities,
    campaign::{file::CampaignFile, forecast},
    client::Client,
    customers::import::Customers,
    dev::{Server, write_secret},
    error::Error,
    import::{Import, Importable, Source},
    output::{Look, Out, thousands},
    report,
    watch::{self, View},
};

const PACKAGE: i64 = 5_000;
/// Seconds are enough on an idle machine; a busy one is waited for.
const LONGEST: Duration = Duration::from_secs(5 * 60);

pub(super) struct Demo<'a> {
    pub server: &'a Server,
    pub folder: &'a Path,
    pub examples: &'a Path,
}

impl Demo<'_> {
    pub(super) async fn show(&self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.organisation(screen).await?;
        screen.step("Import the customers and what they did")?;
        self.import::<Customers>(&client, screen, "customers.csv").await?;
        self.import::<Activities>(&client, screen, "activity.csv").await?;
        screen.step("Credit a package")?;
        let credit = CreditAccountRequest { amount: PACKAGE, request_id: "package-1".into() };
        client.accounts().credit_account(credit).await?;
        screen.line(&format!("{} credits; one SMS part costs one", thousands(PACKAGE)))?;
        let campaign = self.campaign(&client, screen).await?;
        let report = self.send(&client, screen, &campaign).await?;
        screen.step("Report")?;
        screen.block(|out, look| report::print(out, look, &report))?;
        screen.step("What a customer sees")?;
        let shown = self.messages(&client, screen, &campaign).await?;
        self.farewell(screen, &campaign, &shown)
    }

    async fn organisation(&self, screen: &mut Screen) -> Result<Client, Error> {
        screen.step("Create an organisation")?;
        let platform = Client::connect(&self.server.url, Some(&self.server.platform_key)).await?;
        let organisation = Organisation {
            name: "Café Carillon".into(),
            time_zone: "Europe/Amsterdam".into(),
            ..Organisation::default()
        };
        let request = CreateOrganisationRequest {
            organisation: Some(organisation),
            request_id: String::new(),
        };
        let created = platform.organisations().create_organisation(request).await?.into_inner();
        screen.line("Café Carillon, Europe/Amsterdam, with an API key of its own")?;
        write_secret(&self.folder.join("organisation-key"), &created.api_key)?;
        Client::connect(&self.server.url, Some(&created.api_key)).await
    }

    async fn import<I: Importable>(
        &self,
        client: &Client,
        screen: &mut Screen,
        name: &str,
    ) -> Result<(), Error> {
        let rejects = self.folder.join(name).with_extension("rejects.csv");
        let source = Source::open(&self.examples.join(name))?;
        let import = Import::<I>::open(source, Some(&rejects))?;
        let bar = import.progress_bar();
        let begun = Instant::now();
        let summary = import.run(client, &bar).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let rate = summary.rows() as f64 / seconds.max(0.001);
        screen.line(&format!(
            "{name:<14} {:>6} stored   {:>3} rejected, each for its own reason   \
             {seconds:.1} s, {} rows/s",
            thousands(summary.stored),
            thousands(summary.rejected),
            thousands(rate as u64),
        ))?;
        Ok(())
    }

    async fn campaign(&self, client: &Client, screen: &mut Screen) -> Result<Campaign, Error> {
        let file = CampaignFile::read(&self.examples.join("campaign.yaml"))?;
        let request = CreateCampaignRequest {
            campaign: Some(file.it.clone()),
            request_id: String::new(),
            validate_only: false,
        };
        let created = client.campaigns().create_campaign(request).await;
        let campaign = created.map_err(|status| file.explain(status))?.into_inner();
        screen.step(&format!("Forecast “{}” to category:\"VIP\"", campaign.name))?;
        let request = ForecastCampaignRequest { id: campaign.id.clone() };
        let found = client.campaigns().forecast_campaign(request).await?.into_inner();
        let account = forecast::account(client).await?;
        screen.block(|out, look| forecast::print(out, look, &found, &account))?;
        Ok(campaign)
    }

    async fn send(
        &self,
        client: &Client,
        screen: &mut Screen,
        campaign: &Campaign,
    ) -> Result<Report, Error> {
        screen.step("Send")?;
        let begun = Instant::now();
        let request = StartCampaignRequest { id: campaign.id.clone() };
        client.campaigns().start_campaign(request).await?;
        let mut progress = Progress(screen);
        let following = progress.follow(client, &campaign.id);
        let report = tokio::time::timeout(LONGEST, following)
            .await
            .map_err(|_| Error::failed("the campaign did not end within 5 minutes"))??;
        let seconds = begun.elapsed().as_secs_f64();
        screen.line(&format!(
            "{} messages in {seconds:.1} s, {} messages/s, gateways of 350 ms a call included",
            thousands(report.planned),
            thousands((report.planned as f64 / seconds) as u64),
        ))?;
        Ok(report)
    }

    /// Shows one SMS and one e-mail that were sent; answers where the e-mail's source is.
    async fn messages(
        &self,
        client: &Client,
        screen: &mut Screen,
        campaign: &Campaign,
    ) -> Result<PathBuf, Error> {
        let request = ListReportMessagesRequest {
            campaign_id: campaign.id.clone(),
            page_size: 1_000,
            ..ListReportMessagesRequest::default()
        };
        let rows = client.reports().list_report_messages(request).await?.into_inner().messages;
        let outbox = self.folder.join("data/outbox");
        if let Some(row) = sent(&rows, Channel::Sms) {
            let preview = self.preview(client, campaign, row).await?.sms.unwrap_or_default();
            let parts = if preview.parts == 1 { "part" } else { "parts" };
            let figures =
                format!("SMS to {}   {}, {} {parts}", preview.to, preview.encoding, preview.parts);
            screen.framed(&figures, &preview.text)?;
            screen.line("")?;
        }
        let row = sent(&rows, Channel::Email)
            .ok_or_else(|| Error::failed("no e-mail was sent; the report above says why"))?;
        let preview = self.preview(client, campaign, row).await?.email.unwrap_or_default();
        let heading = format!("E-mail to {}   {}", preview.to, preview.subject);
        screen.framed(&heading, preview.text.trim_end())?;
        Ok(outbox.join("email").join(format!("{}.eml", row.message_id)))
    }

    async fn preview(
        &self,
        client: &Client,
        campaign: &Campaign,
        row: &ReportMessage,
    ) -> Result<carillon_contracts::campaign::v1::Preview, Error> {
        let request =
            PreviewCampaignRequest { id: campaign.id.clone(), customer: row.external_id.clone() };
        Ok(client.campaigns().preview_campaign(request).await?.into_inner())
    }

    fn farewell(
        &self,
        screen: &mut Screen,
        campaign: &Campaign,
        email: &Path,
    ) -> Result<(), Error> {
        let folder = self.folder.display();
        screen.step("Where everything was kept")?;
        screen.line(&format!("in        {folder}"))?;
        screen.line("data/outbox/sms.jsonl   every SMS that the sandbox took")?;
        screen.line("data/outbox/email/      every e-mail with its whole source, such as")?;
        let name = email.file_name().unwrap_or_default().to_string_lossy();
        screen.line(&format!("                        {name}"))?;
        screen.line("data/*.db               a database a service; addresses in it are sealed")?;
        screen
            .line("*.rejects.csv           the rejected rows with their reasons, to be mended")?;
        screen.step("What to try next")?;
        if let Some(folder) = program_folder_to_add() {
            screen.line(&format!("export PATH={folder}:$PATH"))?;
        }
        screen.line(&format!("carillon dev --data {folder}/data &"))?;
        screen.line(&format!("export CARILLON_API_KEY=$(cat {folder}/organisation-key)"))?;
        screen.line(&format!("carillon report {} --detail -o csv", campaign.id))?;
        screen.line("carillon balance statement")?;
        screen.line("carillon campaign create -f examples/campaign.yaml")?;
        screen.line("")?;
        Ok(())
    }
}

/// Where this program lies, if a shell would not find it by its name.
fn program_folder_to_add() -> Option<String> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    let path = std::env::var_os("PATH")?;
    let is_known = std::env::split_paths(&path).any(|known| known == folder);
    (!is_known).then(|| folder.display().to_string())
}

/// The first that was sent, on this channel.
fn sent(rows: &[ReportMessage], channel: Channel) -> Option<&ReportMessage> {
    let word = MessageState::Sent.word();
    rows.iter().find(|row| row.channel() == channel && row.state == word)
}

/// Follows live on a terminal, and by a line a second in a pipe.
struct Progress<'a>(&'a mut Screen);

impl Progress<'_> {
    async fn follow(&mut self, client: &Client, id: &str) -> Result<Report, Error> {
        let mut live = View::of_stderr();
        if matches!(live, View::Live(_)) {
            return watch::follow(client, id, &mut live).await;
        }
        let mut lines = Lines(self.0);
        let look: Look = lines.0.look;
        let out: Out<'_> = &mut lines;
        watch::follow(client, id, &mut View::Lines(watch::Lines::new(out, look))).await
    }
}

/// Writes whole lines, indented.
struct Lines<'a>(&'a mut Screen);

impl std::io::Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            self.0.line(line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
