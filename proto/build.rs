//! Compiles `longhaul/v1/*.proto` with protox, so that no protoc is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["job", "bus", "journal", "jobs", "receipt"].map(|name| root.join(format!("longhaul/v1/{name}.proto")));
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [root])?;
    tonic_prost_build::configure()
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
