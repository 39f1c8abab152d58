//! Generates the wire's types and services from `proto/`, without a protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 15] = [
    "carillon/jobs/v1/job.proto",
    "carillon/events/v1/event.proto",
    "carillon/campaign/v1/audit.proto",
    "carillon/campaign/v1/organisation.proto",
    "carillon/campaign/v1/campaign.proto",
    "carillon/campaign/v1/key.proto",
    "carillon/campaign/v1/content.proto",
    "carillon/campaign/v1/template.proto",
    "carillon/audience/v1/customer.proto",
    "carillon/audience/v1/audience.proto",
    "carillon/schedule/v1/run.proto",
    "carillon/billing/v1/account.proto",
    "carillon/report/v1/report.proto",
    "carillon/dispatch/v1/settings.proto",
    "carillon/ops/v1/ops.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(PROTOS, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".carillon.jobs.v1")
        .bytes(".carillon.events.v1")
        .btree_map(".")
        .include_file("wire.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
