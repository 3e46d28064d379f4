//! What differs between a commit or tree and the index.

use std::collections::BTreeMap;

use longhaul_common::git::{Git, GitError};
use longhaul_common::patch::FileChange;

/// The difference from `treeish` to the index, in order of paths.
pub fn changes(git: &Git, treeish: &str) -> Result<Vec<FileChange>, GitError> {
    let args = [
        "diff-index",
        "--cached",
        "--raw",
        "--numstat",
        "-z",
        "--no-renames",
        "--no-abbrev",
        "--no-ext-diff",
        treeish,
        "--",
    ];
    let out = git.run(args)?;
    parse(&out).ok_or_else(|| GitError::Output {
        args: args.join(" "),
        output: longhaul_common::text::clip_head(&String::from_utf8_lossy(&out), 300).to_owned(),
        expected: "raw and numstat records",
    })
}

fn parse(out: &[u8]) -> Option<Vec<FileChange>> {
    let mut found = Vec::new();
    let mut lines: BTreeMap<&[u8], (u64, u64)> = BTreeMap::new();
    let mut records = out.split(|&b| b == 0);
    while let Some(record) = records.next() {
        if let Some(header) = record.strip_prefix(b":") {
            let raw = records.next()?;
            found.push(raw_record(std::str::from_utf8(header).ok()?, raw)?);
        } else if !record.is_empty() {
            let mut fields = record.splitn(3, |&b| b == b'\t');
            // A binary file has "-" for its numbers.
            let mut number = || Some(std::str::from_utf8(fields.next()?).ok()?.parse().unwrap_or(0));
            let counts = (number()?, number()?);
            lines.insert(fields.next()?, counts);
        }
    }
    for change in &mut found {
        change.lines = lines.get(change.raw.as_slice()).copied().unwrap_or_default();
    }
    Some(found)
}

/// `old-mode new-mode old-id new-id status`.
fn raw_record(header: &str, raw: &[u8]) -> Option<FileChange> {
    let mut fields = header.split(' ');
    let old_mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let new_mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let old = fields.next()?.parse().ok()?;
    let new = fields.next()?.parse().ok()?;
    let path = String::from_utf8_lossy(raw).into_owned();
    Some(FileChange { path, raw: raw.to_vec(), old_mode, new_mode, old, new, lines: (0, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_record() {
        let id = "1".repeat(40);
        let zero = "0".repeat(40);
        let name = b":a\tb\n\xff".to_vec();
        let mut out = format!(":000000 100755 {zero} {id} A\0").into_bytes();
        out.extend(&name);
        out.extend(b"\x003\t1\t");
        out.extend(&name);
        out.push(0);
        let found = parse(&out).expect("parses");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].raw.clone(), found[0].lines, found[0].new_mode), (name, (3, 1), 0o100_755));
        assert!(found[0].is_addition() && !found[0].is_utf8());
        assert_eq!(parse(b""), Some(Vec::new()));
        assert_eq!(parse(b":garbage\0x\0"), None);
    }
}
