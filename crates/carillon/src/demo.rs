//! `carillon demo`: a whole campaign, from nothing to its report.

use crate::error::Error;

#[derive(Debug, clap::Args)]
pub struct DemoArgs {}

pub async fn run(_args: DemoArgs) -> Result<(), Error> {
    Err(Error::failed("`carillon demo` is not part of this build"))
}
