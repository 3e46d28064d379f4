//! The history of a base as a pack, without what the server has.
//!
//! The pack is whole (not thin): the server's store may lose nothing by it and has nothing to add.
//! It is streamed as git writes it, in pieces of [`PIECE_BYTES`], so its size costs no memory.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use longhaul_common::Oid;
use longhaul_common::git::{Git, Store};
use longhaul_proto::{SubmitPart, submit_part};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::exit::Stop;

/// Bytes of one piece: a message holds at most 1 MiB.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of git's complaint that are shown.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// What to send.
pub struct Wanted {
    /// The user's repository: its git directory.
    pub git_dir: PathBuf,
    /// The commit whose history is needed.
    pub base: Oid,
    /// Commits the server has with all their history; those that are unknown here do not matter.
    pub has: Vec<Oid>,
}

/// Refuses a repository whose history is not all there.
pub fn refuse_shallow(git_dir: &Path) -> anyhow::Result<()> {
    if git_dir.join("shallow").is_file() {
        let text = "the repository is a shallow clone, and a server needs the whole history of the base: \
                    `git fetch --unshallow` brings it";
        return Err(Stop::usage(text));
    }
    Ok(())
}

/// Writes the pack into `parts`, then drops it. On an error `parts` stays open with the caller, so
/// that a pack cut short is never taken for a whole one.
pub async fn send(wanted: &Wanted, parts: &mpsc::Sender<SubmitPart>) -> anyhow::Result<u64> {
    let git = Git::at(&wanted.git_dir);
    let store = Store::open(&wanted.git_dir)?;
    let mut revisions = format!("{}\n", wanted.base);
    for known in wanted.has.iter().filter(|&&known| store.has(known)) {
        revisions.push_str(&format!("^{known}\n"));
    }
    let command = git.command(["pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset"]);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start git")?;
    let mut input = child.stdin.take().context("git has no input")?;
    let mut output = child.stdout.take().context("git has no output")?;
    let mut complaint = child.stderr.take().context("git has no error output")?;
    let complaining = tokio::spawn(async move {
        let mut text = Vec::new();
        drop(complaint.read_to_end(&mut text).await);
        String::from_utf8_lossy(&text).trim().to_owned()
    });
    // It reads all revisions before it writes anything.
    input.write_all(revisions.as_bytes()).await.context("cannot tell git what to pack")?;
    drop(input);
    let mut sent = 0;
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut output).take(PIECE_BYTES as u64).read_to_end(&mut piece).await.context("cannot read git's pack")?;
        if piece.is_empty() {
            break;
        }
        sent += piece.len() as u64;
        let part = SubmitPart { part: Some(submit_part::Part::Pack(piece)) };
        // A server that has gone away says why by its answer.
        if parts.send(part).await.is_err() {
            return Ok(sent);
        }
    }
    let status = child.wait().await.context("cannot wait for git")?;
    if !status.success() {
        let said = complaining.await.unwrap_or_default();
        let said = longhaul_common::text::clip_tail(&said, COMPLAINT_BYTES_MAX);
        return Err(Stop::infrastructure(format!("git pack-objects failed ({status}): {said}")));
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> (PathBuf, Git) {
        let folder = std::env::temp_dir().join(format!("longhaul-pack-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).expect("a folder");
        let git = Git::at(folder.join(".git")).with_work_tree(&folder);
        Git::at(folder.join(".git")).run(["init", "-q", "-b", "main", &folder.display().to_string()]).expect("init");
        for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.org")] {
            git.run(["config", key, value]).expect("config");
        }
        (folder, git)
    }

    fn commit(folder: &Path, git: &Git, text: &str) -> Oid {
        std::fs::write(folder.join("a.txt"), text).expect("a file");
        git.run(["add", "-A"]).expect("add");
        git.run(["commit", "-q", "-m", "x"]).expect("commit");
        git.line(["rev-parse", "HEAD"]).expect("a commit").parse().expect("an id")
    }

    async fn packed(wanted: &Wanted) -> Vec<u8> {
        let (sender, mut parts) = mpsc::channel(64);
        send(wanted, &sender).await.expect("packed");
        drop(sender);
        let mut bytes = Vec::new();
        while let Some(part) = parts.recv().await {
            let Some(submit_part::Part::Pack(piece)) = part.part else { panic!("a pack") };
            assert!(piece.len() <= PIECE_BYTES);
            bytes.extend(piece);
        }
        bytes
    }

    #[tokio::test]
    async fn a_pack_is_complete_and_holds_only_what_is_missing() {
        let (folder, git) = repository("whole");
        // Random enough not to be compressed away: more than one piece.
        let noise: String = (0..200_000u32).map(|n| blake3::hash(&n.to_le_bytes()).to_hex()[..12].to_owned()).collect();
        let first = commit(&folder, &git, &noise[..1_000]);
        let second = commit(&folder, &git, &noise);
        let git_dir = folder.join(".git");
        let all = packed(&Wanted { git_dir: git_dir.clone(), base: second, has: vec![Oid([9; 20])] }).await;
        assert!(all.len() > PIECE_BYTES, "{} bytes", all.len());
        let (other, theirs) = repository("theirs");
        theirs.run_with_input(["unpack-objects", "-q", "--strict"], &all).expect("a whole pack");
        theirs.run(["rev-list", "--objects", "--quiet", &second.to_string()]).expect("nothing is missing");
        let few = packed(&Wanted { git_dir: git_dir.clone(), base: second, has: vec![first] }).await;
        let count = |pack: &[u8]| u32::from_be_bytes(pack[8..12].try_into().expect("four bytes"));
        assert_eq!((count(&all), count(&few)), (6, 3));
        let none = packed(&Wanted { git_dir: git_dir.clone(), base: second, has: vec![second] }).await;
        assert_eq!(count(&none), 0);
        assert!(refuse_shallow(&git_dir).is_ok());
        std::fs::write(git_dir.join("shallow"), first.to_string()).expect("a file");
        assert!(refuse_shallow(&git_dir).is_err());
        for folder in [folder, other] {
            std::fs::remove_dir_all(folder).expect("our own folder");
        }
    }

    #[tokio::test]
    async fn a_base_that_is_missing_is_an_error_and_no_short_pack() {
        let (folder, _) = repository("missing");
        let (sender, _parts) = mpsc::channel(4);
        let wanted = Wanted { git_dir: folder.join(".git"), base: Oid([7; 20]), has: Vec::new() };
        let error = send(&wanted, &sender).await.expect_err("no such commit");
        assert!(error.to_string().contains("pack-objects"), "{error}");
        std::fs::remove_dir_all(folder).expect("our own folder");
    }
}
