//! Make: the targets of a Makefile at the root.

use super::{Checkout, Toolchain};

pub(super) fn recognise(checkout: &Checkout<'_>) -> Option<Toolchain> {
    let name = ["GNUmakefile", "makefile", "Makefile"].into_iter().find(|name| checkout.has(name))?;
    let text = checkout.text(name);
    let target = |wanted: &[&str]| {
        let defined = |target: &&&str| {
            text.lines().any(|line| {
                line.split_once(':').is_some_and(|(names, rest)| {
                    !rest.starts_with('=') && names.split_whitespace().any(|name| name == **target)
                })
            })
        };
        wanted.iter().find(defined).map(|target| format!("make {target}"))
    };
    Some(Toolchain {
        name: "make".to_owned(),
        check: target(&["lint", "build", "all"]),
        gate: target(&["check", "test", "tests"]),
        sources: "**/*".to_owned(),
        ..Toolchain::default()
    })
}
