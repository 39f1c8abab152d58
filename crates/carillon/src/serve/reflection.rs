//! gRPC reflection, in both versions: clients from before 2023 know v1alpha alone.

use tonic::service::Routes;
use tonic_reflection::{
    pb::{v1, v1alpha},
    server::Builder,
};

use crate::error::Error;

/// Served by every front beside its own.
const EVERYWHERE: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Lists these services, and describes whatever is asked for by name.
pub(super) fn add(routes: Routes, names: &[String]) -> Result<Routes, Error> {
    let failed = |error: tonic_reflection::server::Error| Error::failed(error.to_string());
    let v1 = described(names).build_v1().map_err(failed)?;
    let v1alpha = described(names).build_v1alpha().map_err(failed)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn described(names: &[String]) -> Builder<'static> {
    let files = [
        carillon_contracts::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        v1::FILE_DESCRIPTOR_SET,
        v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let all =
        files.into_iter().fold(Builder::configure(), Builder::register_encoded_file_descriptor_set);
    let names = names.iter().map(String::as_str).chain(EVERYWHERE);
    names.fold(all, Builder::with_service_name)
}
