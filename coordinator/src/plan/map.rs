//! A map's files, put into groups, and the ids of those groups.

use longhaul_common::git::{EntryKind, StoreError};
use longhaul_common::spec::{At, Group, MapTable, id_char, path_globs, placeholders};
use longhaul_common::tokens::BYTES_PER_TOKEN;
use regex::bytes::RegexBuilder;

use super::base::Base;
use super::scan;

/// What a map's selectors found.
pub(super) struct Selected {
    /// The files, in path order.
    pub files: Vec<usize>,
    /// How many the globs matched before `containing` was asked.
    pub by_glob: usize,
    /// How many `exclude` took away.
    pub excluded: usize,
    /// What cannot be worked on, if anything.
    pub unfit: Option<String>,
}

/// The files a map is about.
pub(super) fn select(map: &MapTable, base: &Base) -> Result<Selected, StoreError> {
    let globs = path_globs(map.files.iter().map(|glob| glob.value.as_str()));
    let exclude = path_globs(map.exclude.iter().map(|glob| glob.value.as_str()));
    let all = base.matching(&globs, &path_globs([]));
    let kept: Vec<usize> = all.iter().copied().filter(|&at| !exclude.is_match(base.path_of(at))).collect();
    let excluded = all.len() - kept.len();
    let unfit = base.unfit(&kept);
    // A link has no text of its own.
    let plain = |&at: &usize| matches!(base.entries[at].kind, EntryKind::File | EntryKind::Executable);
    let plain: Vec<usize> = kept.into_iter().filter(plain).collect();
    let by_glob = plain.len();
    let files = match map.containing.as_ref().map(|text| RegexBuilder::new(text).multi_line(true).build()) {
        // A bad expression was refused with the job file.
        Some(Ok(regex)) if unfit.is_none() => scan::containing(base, &plain, &regex)?,
        _ => plain,
    };
    Ok(Selected { files, by_glob, excluded, unfit })
}

/// The files in groups. Every group has a file; files and groups are in path order.
pub(super) fn groups(group: Group, files: &[usize], base: &mut Base) -> Result<Vec<Vec<usize>>, StoreError> {
    Ok(match group {
        Group::File => files.iter().map(|&at| vec![at]).collect(),
        Group::Count(count) => files.chunks(count.max(1)).map(<[usize]>::to_vec).collect(),
        Group::Directory => {
            let mut groups: Vec<Vec<usize>> = Vec::new();
            let mut seen: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
            for &at in files {
                let group = *seen.entry(folder(base.path_of(at))).or_insert(groups.len());
                if group == groups.len() {
                    groups.push(Vec::new());
                }
                groups[group].push(at);
            }
            groups
        }
        Group::Tokens(limit) => {
            let sizes = base.sizes_of(files)?;
            let mut groups: Vec<Vec<usize>> = Vec::new();
            let mut tokens = 0;
            for (&at, size) in files.iter().zip(sizes) {
                let more = size.div_ceil(BYTES_PER_TOKEN);
                match groups.last_mut() {
                    Some(group) if tokens + more <= limit => group.push(at),
                    _ => {
                        groups.push(vec![at]);
                        tokens = 0;
                    }
                }
                tokens += more;
            }
            groups
        }
    })
}

/// The folder of a path, empty at the root.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The id of a map's `n`th group (from 1), whose first file is `path`. Characters that an id
/// cannot hold become dashes.
pub(super) fn group_id(pattern: &At<String>, path: &str, n: usize) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| if stem.is_empty() { file } else { stem });
    let dir = match folder(path) {
        "" => ".",
        folder => folder,
    };
    let mut id = pattern.value.clone();
    for (range, name) in placeholders(pattern).unwrap_or_default().into_iter().rev() {
        let text = match name {
            "stem" => stem.to_owned(),
            "path" => path.to_owned(),
            "dir" => dir.to_owned(),
            "file" => file.to_owned(),
            _ => n.to_string(),
        };
        id.replace_range(range, &text);
    }
    id.chars().map(|c| if id_char(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_paths() {
        let cases = [
            ("lazy-{stem}", "src/a/mod.rs", "lazy-mod"),
            ("{dir}:{file}", "src/a/mod.rs", "src/a:mod.rs"),
            ("{path}", "a b/ä.rs", "a-b/ä.rs"),
            ("x-{stem}-{n}", ".env", "x-.env-7"),
            ("{dir}/{stem}", "lib.min.js", "./lib.min"),
        ];
        for (pattern, path, expected) in cases {
            let pattern = At { value: pattern.to_owned(), start: 0, end: 0 };
            assert_eq!(group_id(&pattern, path, 7), expected);
        }
    }
}
