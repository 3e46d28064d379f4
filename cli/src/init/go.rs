//! Go modules.

use super::{Checkout, Toolchain, below};

pub(super) fn recognise(checkout: &Checkout<'_>) -> Option<Toolchain> {
    let folder = checkout.nearest(&["go.mod"])?;
    let summed = checkout.has(&below(&folder, "go.sum"));
    Some(Toolchain {
        name: "go module".to_owned(),
        setup: Some("go mod download".to_owned()),
        cache: Vec::new(),
        fix: Some("gofmt -w .".to_owned()),
        derived: summed.then(|| ("go.sum".to_owned(), "go mod tidy".to_owned())),
        check: Some("go build ./...".to_owned()),
        gate: Some("go vet ./... && go test ./...".to_owned()),
        sources: "**/*.go".to_owned(),
        folder,
    })
}
