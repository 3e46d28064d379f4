//! How an agent has its subtask split: the parts it names, as the arguments of a tool or in a file.

use std::path::{Path, PathBuf};

use longhaul_proto::{Failure, FailureClass, Part};
use serde::Deserialize;

use crate::failure::failure;
use crate::workspace::Folder;

/// The file that a program writes, in its temporary folder.
pub const FILE: &str = "split.json";

/// Largest such file.
const BYTES_MAX: u64 = 1 << 20;

/// What an agent says of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    parts: Vec<WantedPart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedPart {
    name: String,
    instructions: String,
    #[serde(default)]
    paths: Vec<String>,
}

/// Reads what an agent wrote. The coordinator judges whether it may be.
pub fn parse(text: &[u8], most: u32) -> Result<Vec<Part>, String> {
    let wanted: Wanted = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if wanted.parts.len() < 2 || wanted.parts.len() > most as usize {
        return Err(format!("{} parts: 2 to {most} are expected", wanted.parts.len()));
    }
    let part = |WantedPart { name, instructions, paths }| Part { name, instructions, paths };
    Ok(wanted.parts.into_iter().map(part).collect())
}

/// Where a program writes it.
pub fn file(tmp: &Path) -> PathBuf {
    tmp.join(FILE)
}

/// What stands in the file: nothing where there is none. Only a plain file is read, and not beyond its
/// bound.
pub fn read(tmp: &Path, most: u32) -> Result<Option<Vec<Part>>, String> {
    match Folder::at(tmp).and_then(|folder| folder.read(Path::new(FILE), BYTES_MAX)) {
        Ok(text) => parse(&text, most).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// How a program has its subtask split; a model has a tool for it.
pub fn told(most: u32) -> String {
    if most == 0 {
        return String::new();
    }
    let form =
        r#"{"parts": [{"name": "short-name", "instructions": "what to do, whole", "paths": ["what it writes"]}]}"#;
    format!(
        "# Having it split\n\nOnly where the work is too much for one change: change nothing, write `$TMPDIR/{FILE}` as below and \
         end your turn. 2 to {most} parts are done by agents of their own, each checked and landed by itself, and you finish \
         what they left.\n\n    {form}\n\n"
    )
}

/// An attempt that ends so: nobody's failure.
pub fn split(agent: &str, parts: Vec<Part>) -> Failure {
    let message = format!("{agent} has it split into {} parts", parts.len());
    Failure { parts, ..failure(FailureClass::Split, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        r#"{"parts":[{"name":"a","instructions":"do a","paths":["a.rs"]},{"name":"b","instructions":"do b"}]}"#;

    #[test]
    fn parts_are_read_from_a_plain_file_alone() {
        let folder = tempfile::tempdir().expect("made");
        let tmp = folder.path();
        assert_eq!(read(tmp, 4), Ok(None));
        std::fs::write(file(tmp), TWO).expect("written");
        let parts = read(tmp, 4).expect("read").expect("there");
        assert_eq!((parts.len(), parts[0].paths.as_slice(), parts[1].paths.len()), (2, &["a.rs".to_owned()][..], 0));
        assert!(read(tmp, 1).expect_err("too many").contains("2 to 1"));
        std::fs::write(file(tmp), r#"{"parts":[{"name":7}]}"#).expect("written");
        assert!(read(tmp, 4).expect_err("no name").contains("line 1"));
        std::fs::write(file(tmp), vec![b' '; BYTES_MAX as usize + 1]).expect("written");
        assert!(read(tmp, 4).is_err(), "too large");
        std::fs::remove_file(file(tmp)).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", file(tmp)).expect("linked");
        assert!(read(tmp, 4).is_err(), "a link is not followed");
        std::fs::remove_file(file(tmp)).expect("removed");
        rustix::fs::mkfifoat(rustix::fs::CWD, file(tmp), rustix::fs::Mode::RUSR).expect("made");
        assert!(read(tmp, 4).is_err(), "a pipe is not waited for");
    }
}
