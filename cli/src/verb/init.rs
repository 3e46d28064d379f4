//! `longhaul init`: a commented job file for the repository one stands in.

use anyhow::Context as _;
use longhaul_common::git::Store;

use crate::args::InitArgs;
use crate::exit::{Exit, Stop};
use crate::view::style;

/// Writes the file; an existing one is replaced with `--force` only.
pub fn init(args: &InitArgs) -> anyhow::Result<Exit> {
    if args.file.exists() && !args.force {
        return Err(Stop::usage(format!("{} is there already; --force replaces it", args.file.display())));
    }
    let here = std::env::current_dir()?;
    let root = here
        .ancestors()
        .find(|folder| folder.join(".git").exists())
        .ok_or_else(|| Stop::usage("this is no git repository: `git init` makes one"))?;
    let store = Store::open(root)?;
    let listing: Vec<String> = match store.resolve("HEAD") {
        Ok(head) => store.list(store.tree_of(head)?)?.into_iter().map(|entry| entry.path).collect(),
        Err(_) => return Err(Stop::usage("the repository has no commit yet: a job needs a base to start from")),
    };
    let made = crate::init::init(root, &listing);
    std::fs::write(&args.file, &made.text).with_context(|| format!("cannot write {}", args.file.display()))?;
    let what = if made.recognised.is_empty() { "nothing in particular".to_owned() } else { made.recognised.join(", ") };
    let text = format!("{} for what is here: {what}", args.file.display());
    eprintln!("{}", style::verb_line(&style::stderr(), "Wrote", &text));
    eprintln!("{}", style::verb_line(&style::stderr(), "Next", "edit it, then `longhaul plan`, then `longhaul run`"));
    Ok(Exit::Done)
}
