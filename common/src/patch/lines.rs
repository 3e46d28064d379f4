//! How many lines a change adds and removes.

use imara_diff::{Algorithm, Diff, InternedInput};

/// As git does: a zero byte this early makes a file binary, and binary files have no lines.
const BINARY_BYTES: usize = 8_000;

/// Lines added and removed between two contents.
pub fn lines_changed(before: &[u8], after: &[u8]) -> (u64, u64) {
    let is_binary = |content: &[u8]| content.iter().take(BINARY_BYTES).any(|&byte| byte == 0);
    if is_binary(before) || is_binary(after) {
        return (0, 0);
    }
    let diff = Diff::compute(Algorithm::Histogram, &InternedInput::new(before, after));
    (u64::from(diff.count_additions()), u64::from(diff.count_removals()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_git_counts_them() {
        for (before, after, counted) in [
            ("", "", (0, 0)),
            ("", "a\nb", (2, 0)),
            ("a\nb\n", "", (0, 2)),
            ("a\nb\nc\n", "a\nx\nc\nd\n", (2, 1)),
            ("a", "a\n", (1, 1)),
            ("a\n", "b\0\n", (0, 0)),
        ] {
            assert_eq!(lines_changed(before.as_bytes(), after.as_bytes()), counted, "{before:?} {after:?}");
        }
    }
}
