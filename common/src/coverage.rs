//! What coverage says of a landing, in words; whether it proves anything.

use longhaul_proto::Coverage;

/// Lines and files that a sentence names.
const NAMED_MAX: usize = 5;

/// Whether every changed line that is code was executed, and there is one.
pub fn is_proven(coverage: &Coverage) -> bool {
    let Coverage { lines, not_executed, unmeasured, inconclusive, .. } = coverage;
    inconclusive.is_empty() && *lines > 0 && *not_executed == 0 && *unmeasured == 0
}

/// It in a sentence.
pub fn words(coverage: &Coverage) -> String {
    let Coverage { lines, not_executed, unmeasured, first, inconclusive } = coverage;
    if !inconclusive.is_empty() {
        return format!("coverage is inconclusive: {inconclusive}");
    }
    if is_proven(coverage) {
        return format!("all changed lines of code were executed ({lines})");
    }
    let mut parts = Vec::new();
    if *not_executed > 0 {
        parts.push(format!("{not_executed} of {lines} changed lines of code were not executed"));
    }
    if *unmeasured > 0 {
        parts.push(format!("{unmeasured} changed files of code are in no record"));
    }
    if parts.is_empty() {
        return "no changed line is one that coverage tells of".to_owned();
    }
    let all = not_executed + unmeasured;
    let named = first.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if all as usize > first.len().min(NAMED_MAX) { " …" } else { "" };
    format!("{}: {named}{more}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(lines: u32, not_executed: u32, unmeasured: u32, first: &[&str]) -> Coverage {
        let first = first.iter().map(|&name| name.to_owned()).collect();
        Coverage { lines, not_executed, unmeasured, first, inconclusive: String::new() }
    }

    #[test]
    fn only_executed_lines_prove_anything() {
        let broken = Coverage { inconclusive: "it tells of no line".into(), ..coverage(4, 0, 0, &[]) };
        for (coverage, proven, said) in [
            (coverage(4, 0, 0, &[]), true, "all changed lines of code were executed (4)"),
            (coverage(0, 0, 0, &[]), false, "no changed line is one that coverage tells of"),
            (coverage(4, 1, 0, &["a.rs:3"]), false, "1 of 4 changed lines of code were not executed: a.rs:3"),
            (coverage(4, 0, 1, &["b.py"]), false, "1 changed files of code are in no record: b.py"),
            (
                coverage(9, 9, 0, &["a:1", "a:2", "a:3", "a:4", "a:5", "a:6"]),
                false,
                "9 of 9 changed lines of code were not executed: a:1, a:2, a:3, a:4, a:5 …",
            ),
            (broken, false, "coverage is inconclusive: it tells of no line"),
        ] {
            assert_eq!((is_proven(&coverage), words(&coverage).as_str()), (proven, said));
        }
        assert!(!is_proven(&Coverage::default()));
    }
}
