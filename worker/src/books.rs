//! What an attempt has used of models so far, on disk: so that it is counted even when its worker is
//! killed.

use std::fs;
use std::path::{Path, PathBuf};

use longhaul_proto::Usage;
use prost::Message as _;

use crate::gateway::Used;

/// Name of the file in the entry of the outbox.
const FILE: &str = "usage.pb";

/// Where the kernel says which boot this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The books of one attempt: what earlier agents of it used, and what is metered now.
#[derive(Clone, Debug)]
pub struct Books {
    path: PathBuf,
    before: Usage,
}

impl Books {
    /// In the folder of its entry; `before` is what its earlier agents used.
    pub fn new(folder: &Path, before: Usage) -> Self {
        Self { path: folder.join(FILE), before }
    }

    /// Writes what stands. Not synced: a killed process loses nothing by that, and after a power cut the
    /// boot is another one, and the books count for nothing.
    pub fn write(&self, used: &Used) {
        let mut usage = self.before;
        add(&mut usage, used);
        // A call under way may have used all that it reserved.
        usage.tokens = usage.tokens.saturating_add(used.reserved_tokens);
        usage.input_tokens = usage.input_tokens.saturating_add(used.reserved_tokens);
        usage.usd_micros = usage.usd_micros.saturating_add(used.reserved_usd_micros);
        let text = [boot().as_bytes(), &usage.encode_to_vec()].concat();
        let new = self.path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::warn!(%error, "what an attempt uses cannot be written down");
            // Books that do not go on would say too little.
            drop(fs::remove_file(&self.path));
        }
    }

    /// Nothing meters what comes now: what it uses is not known to whoever looks later.
    pub fn close(&self) {
        drop(fs::remove_file(&self.path));
    }

    /// What a process of this boot wrote into an entry.
    pub fn read(folder: &Path) -> Option<Usage> {
        let text = fs::read(folder.join(FILE)).ok()?;
        let boot = boot();
        let usage = text.strip_prefix(boot.as_bytes()).filter(|_| !boot.is_empty())?;
        Usage::decode(usage).ok()
    }
}

/// Adds what a gateway metered.
pub fn add(usage: &mut Usage, used: &Used) {
    let tokens = used.tokens;
    let before = (usage.tokens, usage.usd_micros);
    let peak = usage.peak.get_or_insert_default();
    peak.tokens = peak.tokens.max(before.0.saturating_add(used.peak_tokens));
    peak.usd_micros = peak.usd_micros.max(before.1.saturating_add(used.peak_usd_micros));
    for (sum, more) in [
        (&mut usage.tokens, tokens.total()),
        (&mut usage.input_tokens, tokens.input),
        (&mut usage.cached_tokens, tokens.cached),
        (&mut usage.output_tokens, tokens.output),
        (&mut usage.reasoning_tokens, tokens.reasoning),
        (&mut usage.usd_micros, used.usd_micros),
    ] {
        *sum = sum.saturating_add(more);
    }
}

fn boot() -> String {
    fs::read_to_string(BOOT).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use longhaul_common::price::Tokens;

    use super::*;

    #[test]
    fn books_hold_what_was_used_and_what_may_have_been() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Books::read(folder.path()), None);
        let before = Usage { tokens: 5, input_tokens: 5, usd_micros: 1, ..Usage::default() };
        let used = Used {
            tokens: Tokens { input: 10, output: 2, ..Tokens::default() },
            usd_micros: 3,
            reserved_tokens: 100,
            reserved_usd_micros: 7,
            ..Used::default()
        };
        Books::new(folder.path(), before).write(&used);
        let usage = Books::read(folder.path()).expect("written");
        assert_eq!((usage.tokens, usage.output_tokens, usage.usd_micros), (117, 2, 11));
        let of_another_boot = [b"another boot\n".as_slice(), &usage.encode_to_vec()].concat();
        fs::write(folder.path().join(FILE), of_another_boot).expect("written");
        assert_eq!(Books::read(folder.path()), None, "a power cut may have kept an older state of the file");
    }
}
