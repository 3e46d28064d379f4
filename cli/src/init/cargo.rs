//! Rust: a Cargo workspace or crate.

use super::{Checkout, Toolchain, below};

pub(super) fn recognise(checkout: &Checkout<'_>) -> Option<Toolchain> {
    let folder = checkout.nearest(&["Cargo.toml"])?;
    let manifest = checkout.text(&below(&folder, "Cargo.toml"));
    let workspace = manifest.lines().any(|line| line.trim().starts_with("[workspace"));
    let all = if workspace { " --workspace" } else { "" };
    let locked = checkout.has(&below(&folder, "Cargo.lock"));
    Some(Toolchain {
        name: if workspace { "cargo workspace" } else { "cargo crate" }.to_owned(),
        setup: Some(format!("cargo fetch{}", if locked { " --locked" } else { "" })),
        cache: vec!["target".to_owned()],
        fix: Some("cargo fmt".to_owned()),
        derived: locked.then(|| ("Cargo.lock".to_owned(), "cargo update --workspace --offline".to_owned())),
        check: Some(format!("cargo check{all}")),
        gate: Some(format!("cargo test{all}")),
        sources: "**/*.rs".to_owned(),
        folder,
    })
}
