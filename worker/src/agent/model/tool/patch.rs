//! `apply_patch` on the workspace.

use super::super::patch::{Change, parse, plan};
use super::place::Place;

/// Applies a patch, all of it or nothing; gives the paths with what became of each.
pub fn apply(place: &Place, text: &str) -> Result<Vec<Change>, String> {
    let hunks = parse(text).map_err(|error| format!("not a patch: {error}"))?;
    let read = |path: &str| {
        place.to_write(path)?;
        place.text(path)
    };
    let changes =
        plan(&hunks, read).map_err(|error| format!("the patch does not apply, nothing was changed: {error}"))?;
    for change in &changes {
        match change {
            Change::Write { path, content, .. } => place.write(path, content)?,
            Change::Delete { path } => place.remove(path)?,
        }
    }
    Ok(changes)
}

/// What was done, as models know it.
pub fn summary(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "The patch changes nothing: the files are already like this.".to_owned();
    }
    let line = |change: &Change| match change {
        Change::Write { path, is_new: true, .. } => format!("A {path}"),
        Change::Write { path, .. } => format!("M {path}"),
        Change::Delete { path } => format!("D {path}"),
    };
    let lines: Vec<String> = changes.iter().map(line).collect();
    format!("Success. Updated the following files:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_applied_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = Place::new(dir.path(), dir.path()).expect("there");
        place.write("a", "1\n").expect("written");
        let run = |body: &str| apply(&place, &format!("*** Begin Patch\n{body}\n*** End Patch"));
        let changes = run("*** Update File: a\n*** Move to: sub/b\n-1\n+2\n*** Add File: c\n+3").expect("applied");
        assert_eq!(summary(&changes), "Success. Updated the following files:\nD a\nA c\nA sub/b");
        assert_eq!((place.text("sub/b"), place.text("a")), (Ok(Some("2\n".into())), Ok(None)));
        for body in [
            "*** Delete File: c\n*** Update File: sub/b\n-9",
            "*** Delete File: c\n*** Add File: ../x\n+1",
            "*** Delete File: c\n*** Add File: .git/hooks/post-commit\n+1",
        ] {
            run(body).expect_err("refused");
            assert_eq!(place.text("c"), Ok(Some("3\n".into())), "{body}");
        }
    }
}
