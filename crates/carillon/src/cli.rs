//! The command line.

use std::io::{self, BufWriter, Stdout, Write as _};

use clap::{Args, Parser, Subcommand};

use crate::{
    activity, balance, campaign,
    client::{Client, DEFAULT_SERVER},
    customers,
    demo::{self, DemoArgs},
    dev::{self, DevArgs},
    error::Error,
    org,
    output::{Format, Look},
    report,
};

const EXAMPLE: &str = "\
Example:
  carillon dev &                               # a server on 127.0.0.1:7070, with a first key
  carillon customers import examples/customers.csv
  carillon campaign create -f examples/campaign.yaml -o json
  carillon campaign start ID --wait

Exit codes: 0 it did what was asked, 1 it was refused or failed, 2 the command line is wrong.";

/// Sends a loyalty programme's messages: to exactly the right customers, exactly once
#[derive(Debug, Parser)]
#[command(name = "carillon", version, after_help = EXAMPLE, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The server's address
    #[arg(long, global = true, env = "CARILLON_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,
    /// The API key
    #[arg(
        long,
        global = true,
        env = "CARILLON_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// The form of the result [default: table]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every service in one process
    Dev(DevArgs),
    /// Show a whole campaign, from nothing to its report
    Demo(DemoArgs),
    /// Organisations and their settings
    #[command(subcommand, arg_required_else_help = true)]
    Org(org::OrgCommand),
    /// Customers: import, list, export, subscriptions, blacklist
    #[command(subcommand, arg_required_else_help = true)]
    Customers(customers::CustomersCommand),
    /// Visits, purchases, sessions, reviews and points
    #[command(subcommand, arg_required_else_help = true)]
    Activity(activity::ActivityCommand),
    /// Campaigns: create, check, start, follow
    #[command(subcommand, arg_required_else_help = true)]
    Campaign(campaign::CampaignCommand),
    /// What became of a campaign
    Report(report::ReportArgs),
    /// The prepaid balance
    #[command(subcommand, arg_required_else_help = true)]
    Balance(balance::BalanceCommand),
}

/// What a command works with.
pub struct Context {
    pub look: Look,
    /// As given; a command may have a default of its own.
    pub format: Option<Format>,
    pub out: BufWriter<Stdout>,
    global: Global,
}

impl Context {
    fn new(global: Global) -> Self {
        let format = global.output;
        let look = Look::of_stdout(format.unwrap_or(Format::Table));
        Self { look, format, out: BufWriter::new(io::stdout()), global }
    }

    /// Connects. Commands check their arguments and files first, so that those need no server.
    pub async fn client(&self) -> Result<Client, Error> {
        let key = self.global.api_key.as_deref().filter(|key| !key.trim().is_empty());
        Client::connect(&self.global.server, key).await
    }
}

/// Carries out a command line.
pub async fn run(cli: Cli) -> Result<(), Error> {
    let mut context = Context::new(cli.global);
    let done = match cli.command {
        Command::Dev(args) => return dev::run(args).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::Org(command) => org::run(command, &mut context).await,
        Command::Customers(command) => customers::run(command, &mut context).await,
        Command::Activity(command) => activity::run(command, &mut context).await,
        Command::Campaign(command) => campaign::run(command, &mut context).await,
        Command::Report(args) => report::run(args, &mut context).await,
        Command::Balance(command) => balance::run(command, &mut context).await,
    };
    // What a failed command has already said is part of its answer.
    let flushed = context.out.flush();
    done.and(flushed.map_err(Error::from))
}
