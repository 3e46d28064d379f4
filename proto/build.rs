//! Compiles `longhaul/v1/*.proto` with protox, so that no protoc is needed.

#![expect(
    clippy::disallowed_methods,
    reason = "the lists of clippy.toml are for the pure parts, a build script is none"
)]

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["job", "bus", "journal", "jobs", "receipt", "results", "worker"]
        .map(|name| root.join(format!("longhaul/v1/{name}.proto")));
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [root])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("longhaul.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .btree_map(".")
        // Written by hand, without its secret.
        .skip_debug([".longhaul.v1.Introduction"])
        .compile_fds(descriptors)?;
    Ok(())
}
