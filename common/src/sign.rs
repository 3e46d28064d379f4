//! What a failure shows, by name: one class holds many, and reports group by them.
//!
//! A class says whose failure it is and what follows from it; a sign says what was seen. Worker and
//! coordinator know these; a message carries the name, so that a newer worker's is shown as it is.

/// Characters of a name.
const CHARS_MAX: usize = 40;

/// Something that a failure is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// It ended well, and nothing had changed.
    ClaimedWithoutChange,
    /// It ended well, and a check or `left` says no.
    ClaimedSuccess,
    /// It wrote more than is kept.
    Flooded,
    /// It committed by itself, and its work is not good.
    Committed,
    /// The head of its repository leads elsewhere, and its work is not good.
    MovedHead,
    /// It ended with a code or by a signal.
    Died,
    /// It ran into its time limit.
    NeverEnded,
    /// It wrote nothing for too long.
    Silent,
    /// It took more of the machine than it may.
    OverLimit,
    /// Its program could not be started.
    NotStarted,
    /// It would not do it.
    Refused,
    /// It used up its turns, its tokens or its budget.
    UsedUp,
    /// The provider refuses its key.
    RefusedKey,
    /// What it changed cannot be formatted.
    FixFailed,
    /// It wrote outside its footprint.
    OutsideFootprint,
    /// It touched what is protected.
    TouchedProtected,
    /// It wrote what may be in no patch: a name, a link, a repository in the repository.
    UnfitPath,
    /// A file or the number of files is over the policy's limit.
    Oversized,
    /// It left conflict markers.
    ConflictMarkers,
    /// It wrote a secret into a file or a name.
    Secret,
    /// Held: it changed what the gate or a check goes by.
    EditedGate,
    /// Held: tests say less than before.
    WeakenedTests,
    /// Held: it adds what looks like a credential.
    Credential,
    /// Held: it is larger than lands unseen.
    LargeDiff,
}

impl Sign {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClaimedWithoutChange => "claimed-without-change",
            Self::ClaimedSuccess => "claimed-success",
            Self::Flooded => "flooded",
            Self::Committed => "committed",
            Self::MovedHead => "moved-head",
            Self::Died => "died",
            Self::NeverEnded => "never-ended",
            Self::Silent => "silent",
            Self::OverLimit => "over-limit",
            Self::NotStarted => "not-started",
            Self::Refused => "refused",
            Self::UsedUp => "used-up",
            Self::RefusedKey => "refused-key",
            Self::FixFailed => "fix-failed",
            Self::OutsideFootprint => "outside-footprint",
            Self::TouchedProtected => "touched-protected",
            Self::UnfitPath => "unfit-path",
            Self::Oversized => "oversized",
            Self::ConflictMarkers => "conflict-markers",
            Self::Secret => "secret",
            Self::EditedGate => "edited-gate",
            Self::WeakenedTests => "weakened-tests",
            Self::Credential => "credential",
            Self::LargeDiff => "large-diff",
        }
    }
}

/// A name as a message may carry it; empty for what is none.
pub fn plain(name: &str) -> &str {
    let fits = name.len() <= CHARS_MAX && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if fits { name } else { "" }
}

/// What happened, after its name.
pub fn named(name: &str, message: &str) -> String {
    let name = plain(name);
    if name.is_empty() || message.contains(name) { message.to_owned() } else { format!("{name}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_first_and_once_and_what_is_no_name_is_left_out() {
        assert_eq!(named("died", "main exited with 7"), "died: main exited with 7");
        assert_eq!(named("same-call", "main: stuck (same-call): …"), "main: stuck (same-call): …");
        assert_eq!(named("", "x"), "x");
        assert_eq!(named("<script>", "x"), "x");
        assert_eq!(plain(&"a".repeat(41)), "");
        assert_eq!(plain(Sign::ClaimedWithoutChange.as_str()), "claimed-without-change");
    }
}
