//! The command line.

use std::io::Write as _;

use clap::{Parser, Subcommand};

use crate::{
    activity, balance, campaign,
    context::{Context, Global},
    customers,
    demo::{self, DemoArgs},
    dev::{self, DevArgs},
    error::Error,
    keys, ops, org, report,
    serve::{self, MigrateArgs, ServeArgs},
    template,
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

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every service in one process
    Dev(DevArgs),
    /// Run one service, on PostgreSQL and RabbitMQ
    Serve(ServeArgs),
    /// Bring the tables of a service up to date
    Migrate(MigrateArgs),
    /// Show a whole campaign, from nothing to its report
    Demo(DemoArgs),
    /// Organisations and their settings
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon org show\n  carillon org set time_zone America/New_York"
    )]
    Org(org::OrgCommand),
    /// API keys of the organisation
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon keys create --name \"till 3\" -o json\n  carillon keys list"
    )]
    Keys(keys::KeysCommand),
    /// Customers: import, list, export, subscriptions, blacklist
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon customers import examples/customers.csv\n  carillon customers list --filter 'category:\"VIP\"' --limit 20"
    )]
    Customers(customers::CustomersCommand),
    /// Visits, purchases, sessions, reviews and points
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon activity import examples/activity.csv"
    )]
    Activity(activity::ActivityCommand),
    /// Campaigns: create, check, start, follow
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon campaign create -f examples/campaign.yaml\n  carillon campaign start ID --wait"
    )]
    Campaign(campaign::CampaignCommand),
    /// Saved texts, in versions
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon template create -f examples/template.yaml\n  carillon template versions members-monday"
    )]
    Template(template::TemplateCommand),
    /// What became of a campaign
    Report(report::ReportArgs),
    /// The prepaid balance
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon balance show\n  carillon balance credit 10000 --request-id invoice-2026-117"
    )]
    Balance(balance::BalanceCommand),
    /// For operators, with the platform's key: what waits, and what was set aside
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  carillon ops status\n  carillon ops parked list"
    )]
    Ops(ops::OpsCommand),
}

/// Carries out a command line.
pub async fn run(cli: Cli) -> Result<(), Error> {
    let mut context = Context::new(cli.global);
    let done = match cli.command {
        Command::Dev(args) => return dev::run(args).await,
        Command::Serve(args) => return serve::run(args).await,
        Command::Migrate(args) => return serve::migrate(args).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::Org(command) => org::run(command, &mut context).await,
        Command::Keys(command) => keys::run(command, &mut context).await,
        Command::Customers(command) => customers::run(command, &mut context).await,
        Command::Activity(command) => activity::run(command, &mut context).await,
        Command::Campaign(command) => campaign::run(command, &mut context).await,
        Command::Template(command) => template::run(command, &mut context).await,
        Command::Report(args) => report::run(args, &mut context).await,
        Command::Balance(command) => balance::run(command, &mut context).await,
        Command::Ops(command) => ops::run(command, &mut context).await,
    };
    // What a failed command has already said is part of its answer.
    let flushed = context.out.flush();
    done.and(flushed.map_err(Error::from))
}
