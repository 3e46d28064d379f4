//! A job's logs stay below a bound: those of the oldest attempts and gates go first.

use std::collections::BTreeSet;

use longhaul_common::layout::JobLayout;

use super::bytes::folder;

/// Bytes of one job's logs; beyond it the oldest go. What must stay may be more.
pub const LOGS_BYTES_MAX: u64 = 4 << 30;

/// Removes the oldest logs while all together are over `max`, except those of `stay`. Gives the
/// bytes that went.
pub fn trim(layout: &JobLayout, stay: &BTreeSet<u64>, max: u64) -> u64 {
    let entries = std::fs::read_dir(layout.root().join("logs")).into_iter().flatten().flatten();
    let mut all: Vec<(u64, u64)> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(|id| (id, folder(&layout.logs(id))))
        .collect();
    all.sort_unstable();
    let mut total: u64 = all.iter().map(|(_, bytes)| bytes).sum();
    let mut gone = 0;
    for (id, bytes) in all.into_iter().filter(|(id, _)| !stay.contains(id)) {
        if total <= max {
            break;
        }
        match std::fs::remove_dir_all(layout.logs(id)) {
            Ok(()) => (total, gone) = (total - bytes, gone + bytes),
            Err(error) => tracing::warn!(%error, id, "a log was not removed"),
        }
    }
    if total > max {
        tracing::warn!(total, max, "the logs that must stay are over their bound");
    }
    gone
}

#[cfg(test)]
mod tests {
    use longhaul_common::layout::Layout;

    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_must_stay_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(root.path()).job(&"j".parse().expect("valid"));
        for id in 1..=20_u64 {
            std::fs::create_dir_all(layout.logs(id)).expect("a folder");
            std::fs::write(layout.logs(id).join("01-agent.log"), [0; 100]).expect("written");
        }
        let left = || (1..=20).filter(|&id| layout.logs(id).is_dir()).collect::<Vec<u64>>();
        let stay = BTreeSet::from([2, 3, 9]);
        assert_eq!(trim(&layout, &stay, 2_000), 0);
        assert_eq!(trim(&layout, &stay, 1_000), 1_000);
        assert_eq!(left(), [2, 3, 9, 14, 15, 16, 17, 18, 19, 20]);
        trim(&layout, &stay, 0);
        assert_eq!(left(), [2, 3, 9]);
    }
}
