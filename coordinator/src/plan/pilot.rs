//! The pilot of a map: a few subtasks as different from each other as can be, so that a person who
//! approves them has seen what the rest is like.

use std::collections::BTreeMap;

/// Positions (sorted) of `count` of the nodes given by folder and weight: spread over the folders
/// first, over the sizes within them second. The same nodes give the same pilot.
pub(super) fn choose(nodes: &[(&str, u64)], count: usize) -> Vec<usize> {
    if count >= nodes.len() {
        return (0..nodes.len()).collect();
    }
    let mut folders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (folder, _)) in nodes.iter().enumerate() {
        folders.entry(folder).or_default().push(at);
    }
    let mut folders: Vec<Vec<usize>> = folders.into_values().collect();
    for folder in &mut folders {
        folder.sort_by_key(|&at| (nodes[at].1, at));
    }
    let mut chosen = if folders.len() >= count { one_each(&folders, count) } else { shared(&folders, count) };
    chosen.sort_unstable();
    chosen
}

/// One node from each of `count` folders, evenly spaced; small ones and large ones in turn.
fn one_each(folders: &[Vec<usize>], count: usize) -> Vec<usize> {
    (0..count)
        .map(|pick| {
            let folder = &folders[pick * folders.len() / count];
            // 0, 4, 2, 1, 3 fifths: neighbouring folders differ in size.
            let fifth = [0, 4, 2, 1, 3][pick % 5];
            folder[fifth * (folder.len() - 1) / 4]
        })
        .collect()
}

/// Every folder in turn until `count` is reached, then evenly over the sizes within each.
fn shared(folders: &[Vec<usize>], count: usize) -> Vec<usize> {
    let mut shares = vec![0; folders.len()];
    let mut left = count;
    while left > 0 {
        for (share, folder) in shares.iter_mut().zip(folders) {
            if left > 0 && *share < folder.len() {
                *share += 1;
                left -= 1;
            }
        }
    }
    let spread = |(folder, &share): (&Vec<usize>, &usize)| -> Vec<usize> {
        let last = folder.len() - 1;
        match share {
            1 => vec![folder[last / 2]],
            _ => (0..share).map(|pick| folder[pick * last / (share - 1)]).collect(),
        }
    };
    folders.iter().zip(&shares).flat_map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn folders_first_then_sizes() {
        let nodes: Vec<(&str, u64)> = (0..30).map(|n| (["a", "b", "c"][n / 10], n as u64)).collect();
        assert_eq!(choose(&nodes, 3), [0, 19, 24], "one a folder: smallest, largest, middle");
        assert_eq!(choose(&nodes, 6), [0, 9, 10, 19, 20, 29], "the ends of each folder");
        assert_eq!(choose(&nodes, 1), [0]);
        assert_eq!(choose(&nodes, 30).len(), 30);
        for count in 0..=30 {
            let chosen = choose(&nodes, count);
            assert_eq!(chosen.len(), count);
            assert!(chosen.is_sorted_by(|a, b| a < b), "{chosen:?}");
        }
        let lopsided: Vec<(&str, u64)> = (0..21).map(|n| (if n == 20 { "z" } else { "a" }, 7)).collect();
        assert_eq!(choose(&lopsided, 4), [0, 9, 19, 20]);
    }
}
