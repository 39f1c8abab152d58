//! `carillon activity`: visits, purchases, sessions, reviews and points of customers.

use std::{future::Future, path::PathBuf};

use carillon_contracts::{
    audience::v1::{Activity, ImportActivitiesRequest, ImportResponse},
    time,
};
use clap::{Args, Subcommand};
use csv::StringRecord;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    client::Client,
    context::Context,
    error::Error,
    import::{
        Import, Importable, Refusal, Source,
        columns::{Column, Schema},
        conclude,
    },
    output::cell::undefuse,
};

const COLUMNS: [&str; 6] = ["event_id", "external_id", "kind", "at", "amount", "rating"];

const SCHEMA: Schema = Schema {
    known: &COLUMNS,
    required: &["event_id", "external_id", "kind", "at"],
    attributes: false,
};

#[derive(Debug, Subcommand)]
pub enum ActivityCommand {
    /// Import events from a CSV file; the same event again changes nothing
    #[command(
        after_help = "Columns: event_id, external_id, kind (purchase, refund, visit, session, review, points), at (RFC 3339), amount, rating.\n\nExample:\n  carillon activity import examples/activity.csv --rejects rejected.csv"
    )]
    Import(ImportArgs),
}

/// What every import takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The CSV file: UTF-8; comma, semicolon or tab; - reads standard input
    pub file: PathBuf,
    /// Where rejected rows go [default: FILE.rejects.csv beside FILE.csv]
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Exit with 1 where a row was rejected; good rows are stored all the same
    #[arg(long)]
    pub strict: bool,
}

pub async fn run(command: ActivityCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        ActivityCommand::Import(args) => import_file::<Activities>(args, context).await,
    }
}

/// Reads the header before it connects, so that a wrong file needs no server.
pub(crate) async fn import_file<I: Importable>(
    args: ImportArgs,
    context: &mut Context,
) -> Result<(), Error> {
    let import = Import::<I>::open(Source::open(&args.file)?, args.rejects.as_deref())?;
    let client = context.client().await?;
    let bar = import.progress_bar();
    let summary = import.run(&client, &bar).await?;
    conclude(
        &mut context.out,
        context.look,
        &args.file.display().to_string(),
        &summary,
        args.strict,
    )
}

/// Reads rows of events.
pub struct Activities {
    columns: Vec<Column>,
}

impl Importable for Activities {
    type Row = Activity;
    type Request = ImportActivitiesRequest;

    fn columns(file: &str, header: &StringRecord) -> Result<Self, Error> {
        Ok(Self { columns: SCHEMA.read(file, header)? })
    }

    fn data_columns(&self) -> Vec<usize> {
        let data = |column: &usize| self.columns[*column] != Column::PassedOver;
        (0..self.columns.len()).filter(data).collect()
    }

    fn row(&mut self, cells: &StringRecord) -> Result<Activity, Refusal> {
        let mut activity = Activity::default();
        for (column, cell) in self.columns.iter().zip(cells) {
            let Column::Known(index) = column else { continue };
            let text = undefuse(cell).to_owned();
            match COLUMNS[*index] {
                "event_id" => activity.event_id = text,
                "external_id" => activity.external_id = text,
                "kind" => activity.kind = text,
                "at" => activity.at = Some(instant(&text)?),
                "amount" => activity.amount = text,
                _ => activity.rating = text,
            }
        }
        Ok(activity)
    }

    fn request(&self, activities: Vec<Activity>) -> ImportActivitiesRequest {
        ImportActivitiesRequest { activities }
    }

    fn send(
        client: &Client,
        requests: ReceiverStream<ImportActivitiesRequest>,
    ) -> impl Future<Output = Result<Streaming<ImportResponse>, Status>> + Send {
        let mut client = client.activities();
        async move { Ok(client.import_activities(requests).await?.into_inner()) }
    }
}

fn instant(cell: &str) -> Result<prost_types::Timestamp, Refusal> {
    let refused =
        |reason, message: &str| Refusal { field: "at", reason, message: message.to_owned() };
    let cell = cell.trim();
    if cell.is_empty() {
        return Err(refused(
            "at_missing",
            "is empty; write when it was, such as 2026-03-01T10:00:00Z",
        ));
    }
    // jiff also reads a zone in brackets and a space for the T; RFC 3339 knows only the second.
    match cell.parse::<jiff::Timestamp>() {
        Ok(at) if !cell.contains('[') => Ok(time::to_wire(at)),
        _ => Err(refused(
            "at_not_a_time",
            "is not an instant of RFC 3339; write 2026-03-01T10:00:00Z, or +01:00 in place of Z",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 6]) -> Result<Activity, Refusal> {
        let header = StringRecord::from(COLUMNS.to_vec());
        let mut activities = Activities::columns("a.csv", &header).expect("a good header");
        activities.row(&StringRecord::from(cells.to_vec()))
    }

    #[test]
    fn a_row_becomes_an_event() {
        let activity = row(["E1", "C1", "purchase", "2025-05-16T15:38:57+02:00", "12.50", ""]);
        let activity = activity.expect("good");
        assert_eq!(activity.at.map(|at| at.seconds), Some(1_747_402_737));
        assert_eq!((activity.amount.as_str(), activity.rating.as_str()), ("12.50", ""));
    }

    #[test]
    fn a_time_that_is_none_is_refused_here() {
        for (at, reason) in [
            ("", "at_missing"),
            ("2026-13-01T10:00:00Z", "at_not_a_time"),
            ("2026-01-01", "at_not_a_time"),
            ("2026-01-01T10:00:00", "at_not_a_time"),
            ("2026-01-01T10:00:00+01:00[Europe/Paris]", "at_not_a_time"),
        ] {
            let refusal = row(["E1", "C1", "visit", at, "", ""]).expect_err("refused");
            assert_eq!(refusal.reason, reason, "{at}");
        }
    }

    #[test]
    fn the_first_four_columns_are_required() {
        let header = StringRecord::from(vec!["event_id", "kind", "rating", "attr.x"]);
        let error = Activities::columns("a.csv", &header).err().expect("refused").to_string();
        assert!(error.contains("column 'external_id' is missing"), "{error}");
        assert!(error.contains("column 'at' is missing"), "{error}");
        assert!(error.contains("unknown column 'attr.x'"), "{error}");
    }
}
