//! `carillon campaign next`.

use carillon_contracts::{campaign::v1::ListNextRunsRequest, time};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    output::{Format, rows::Rows},
};

#[derive(Debug, Args)]
pub struct NextArgs {
    /// The campaign's id
    pub id: String,
    /// So many at most, 1 to 100
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub count: i32,
    /// From this instant on, such as 2026-12-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub from: Option<Timestamp>,
}

fn from(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not an instant; write 2026-12-01T00:00:00Z (RFC 3339)"))
}

pub async fn run(args: NextArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = ListNextRunsRequest {
        id: args.id,
        page_size: args.count,
        from: args.from.map(time::to_wire),
    };
    let runs = client.campaigns().list_next_runs(request).await?.into_inner().runs;
    let look = context.look;
    let columns = ["time", "local_time", "deadline"];
    let mut rows = Rows::new(&mut context.out, look, &columns);
    for run in &runs {
        rows.row(vec![
            look.instant(run.time.as_ref()),
            json!(run.local_time),
            look.instant(run.deadline.as_ref()),
        ])?;
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("it does not run any more");
    }
    Ok(())
}
