//! The lines that a change adds, read from git's own diff without context.

use std::collections::BTreeMap;

/// Numbers of added lines by path, after the change.
pub type Added = BTreeMap<String, Vec<u32>>;

/// Reads the output of `git diff --unified=0 --no-prefix`. A path that git quotes stays quoted: it is
/// found in no report.
pub fn added(diff: &[u8]) -> Added {
    let mut added = Added::new();
    let mut path = String::new();
    // Lines of the hunk that are still to come: they may look like anything.
    let mut left = 0_u64;
    for line in diff.split(|&byte| byte == b'\n') {
        if line.first() == Some(&b'\\') {
            continue;
        }
        if left > 0 {
            left -= 1;
            continue;
        }
        let line = String::from_utf8_lossy(line);
        if let Some(name) = line.strip_prefix("+++ ") {
            // A tab ends a name with spaces.
            path = name.strip_suffix('\t').unwrap_or(name).to_owned();
        } else if let Some((removed, from, count)) = hunk(&line) {
            left = removed + u64::from(count);
            added.entry(path.clone()).or_default().extend((0..count).map(|at| from.saturating_add(at)));
        }
    }
    added.retain(|_, lines| !lines.is_empty());
    added
}

/// `@@ -a,removed +from,count @@`; a number that is left out is one.
fn hunk(line: &str) -> Option<(u64, u32, u32)> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let removed = old.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())?;
    let (from, count) = new.split_once(',').unwrap_or((new, "1"));
    Some((removed, from.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hunks_count_whatever_their_lines_look_like() {
        let diff = "diff --git a.rs a.rs\n--- a.rs\n+++ a.rs\n@@ -3 +3,2 @@ fn x\n--- old\n+++ b/evil.rs\n+@@ -1 +1,90 @@\n\
                    @@ -9,2 +10,0 @@\n-a\n-b\n@@ -20,0 +20 @@\n+c\n\\ No newline at end of file\n\
                    diff --git my b.rs my b.rs\n--- /dev/null\n+++ my b.rs\t\n@@ -0,0 +1,3 @@\n+1\n+2\n+3\n\
                    diff --git gone gone\n--- gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-1\n-2\n";
        let wanted = Added::from([("a.rs".to_owned(), vec![3, 4, 20]), ("my b.rs".to_owned(), vec![1, 2, 3])]);
        assert_eq!(added(diff.as_bytes()), wanted);
        assert!(added(b"\xff\xfe\nnothing").is_empty());
    }
}
