//! Programs that are talked with, a line at a time: their stdin and stdout are FIFOs in a folder.
//!
//! FIFOs and not inherited pipes, for the shim's own stdin and stdout are the lifeline and the
//! status. A line is bounded: memory is, whatever a program writes.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// Longest line that is read, in bytes.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How long a program may leave its stdin full before that is a failure.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// Why a line cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It goes on and on.
    #[error("it wrote a line of more than {} MiB", LINE_BYTES_MAX >> 20)]
    TooLong,
    /// It is no text.
    #[error("it wrote a line that is not UTF-8")]
    NotUtf8,
    /// It does not read.
    #[error("it did not read its input for {} s", WRITE_MAX.as_secs())]
    NotRead,
    /// The pipe itself.
    #[error("its pipe failed: {0}")]
    Io(#[from] io::Error),
}

/// Both ends of a conversation, and the files that the program gets.
#[derive(Debug)]
pub struct Talk {
    /// What it says.
    pub lines: Lines,
    /// What it is told.
    pub input: Input,
    /// For its stdin.
    pub stdin: PathBuf,
    /// For its stdout.
    pub stdout: PathBuf,
    /// To be cancelled when the program has ended: then what it wrote is read to its end.
    pub ended: CancellationToken,
}

/// What the program reads; its stdin ends when this is dropped.
#[derive(Debug)]
pub struct Input {
    sender: Sender,
    /// Keeps the FIFO readable before the program opens it and after it ended, so that writing
    /// never fails for that: its end is told by its process.
    _kept: Receiver,
}

/// What the program writes, line by line.
#[derive(Debug)]
pub struct Lines {
    receiver: Receiver,
    /// A writer of our own until the program has written something or ended: before a FIFO has its
    /// first writer, reading it gives its end.
    kept: Option<Sender>,
    ended: CancellationToken,
    held: Vec<u8>,
    /// Bytes of `held` in which there is no line end.
    searched: usize,
}

impl Talk {
    /// Makes the FIFOs in a folder, in place of older ones.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let (stdin, stdout) = (folder.join("talk-in"), folder.join("talk-out"));
        for path in [&stdin, &stdout] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => rustix::fs::mknodat(CWD, path.as_path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
            }
        }
        let ended = CancellationToken::new();
        let both = || {
            let mut options = OpenOptions::new();
            options.read_write(true);
            options
        };
        let input = Input { _kept: both().open_receiver(&stdin)?, sender: OpenOptions::new().open_sender(&stdin)? };
        let kept = Some(both().open_sender(&stdout)?);
        let receiver = OpenOptions::new().open_receiver(&stdout)?;
        let lines = Lines { receiver, kept, ended: ended.clone(), held: Vec::new(), searched: 0 };
        Ok(Self { lines, input, stdin, stdout, ended })
    }
}

impl Input {
    /// Writes a line.
    pub async fn write_line(&mut self, line: &str) -> Result<(), LineError> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        match tokio::time::timeout(WRITE_MAX, self.sender.write_all(&bytes)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(LineError::NotRead),
        }
    }
}

impl Lines {
    /// The next line, without its end; `None` after the last one. What is read of a line stays when
    /// this is dropped before it is whole.
    pub async fn next(&mut self) -> Result<Option<String>, LineError> {
        loop {
            if let Some(end) = self.held[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=self.searched + end).collect();
                self.searched = 0;
                return text(line[..line.len() - 1].to_vec()).map(Some);
            }
            self.searched = self.held.len();
            if self.held.len() > LINE_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            if self.read().await? == 0 {
                self.searched = 0;
                let rest = std::mem::take(&mut self.held);
                return if rest.is_empty() { Ok(None) } else { text(rest).map(Some) };
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.held.reserve(CHUNK_BYTES);
        loop {
            let ended = self.ended.clone();
            tokio::select! {
                biased;
                read = self.receiver.read_buf(&mut self.held) => {
                    let read = read?;
                    // The program has its own end of it by now.
                    self.kept = None;
                    return Ok(read);
                }
                () = ended.cancelled(), if self.kept.is_some() => self.kept = None,
            }
        }
    }
}

fn text(line: Vec<u8>) -> Result<String, LineError> {
    let line = String::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    Ok(line.strip_suffix('\r').map(str::to_owned).unwrap_or(line))
}

/// Whether a program can be found: as a path, or by a name on `path`.
pub fn find(program: &OsStr, folder: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if Path::new(program).components().count() > 1 {
        return Some(folder.join(program)).filter(is_program);
    }
    std::env::split_paths(path?).map(|folder| folder.join(program)).find(is_program)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn opened(talk: &Talk) -> std::fs::File {
        std::fs::File::options().read(true).write(true).open(&talk.stdout).expect("opens")
    }

    #[tokio::test]
    async fn lines_come_whole_and_the_end_is_the_programs() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut talk = Talk::new(dir.path()).expect("made");
        let mut program = opened(&talk);
        program.write_all(b"one\r\n\ntw").expect("written");
        assert_eq!(talk.lines.next().await.expect("read").as_deref(), Some("one"));
        assert_eq!(talk.lines.next().await.expect("read").as_deref(), Some(""));
        // Dropped half way, nothing is lost.
        assert!(futures::FutureExt::now_or_never(talk.lines.next()).is_none());
        program.write_all(b"o").expect("written");
        drop(program);
        talk.ended.cancel();
        assert_eq!(talk.lines.next().await.expect("read").as_deref(), Some("two"));
        assert_eq!(talk.lines.next().await.expect("read"), None);
    }

    #[tokio::test]
    async fn a_program_that_never_says_anything_ends_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut talk = Talk::new(dir.path()).expect("made");
        assert!(futures::FutureExt::now_or_never(talk.lines.next()).is_none());
        talk.ended.cancel();
        assert_eq!(talk.lines.next().await.expect("read"), None);
    }

    #[tokio::test]
    async fn what_is_no_line_is_said_to_be_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut talk = Talk::new(dir.path()).expect("made");
        let mut program = opened(&talk);
        program.write_all(b"\xff\xfe\n").expect("written");
        assert!(matches!(talk.lines.next().await, Err(LineError::NotUtf8)));
        let writing = std::thread::spawn(move || {
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..(LINE_BYTES_MAX >> 20) + 1 {
                // The reader gives up on it.
                if program.write_all(&chunk).is_err() {
                    return;
                }
            }
        });
        assert!(matches!(talk.lines.next().await, Err(LineError::TooLong)));
        assert!(talk.lines.held.capacity() < 3 * LINE_BYTES_MAX);
        // The writer is let go by reading on.
        while !writing.is_finished() {
            let mut rest = vec![0; CHUNK_BYTES];
            drop(tokio::time::timeout(Duration::from_millis(50), talk.lines.receiver.read(&mut rest)).await);
        }
    }

    #[tokio::test]
    async fn what_it_is_told_waits_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut talk = Talk::new(dir.path()).expect("made");
        talk.input.write_line("hello").await.expect("written");
        let stdin = std::fs::File::open(&talk.stdin).expect("opens");
        drop(talk.input);
        assert_eq!(io::read_to_string(stdin).expect("read to its end"), "hello\n");
    }

    #[test]
    fn programs_are_found_where_the_shell_would() {
        let found =
            find(OsStr::new("sh"), Path::new("/"), Some(OsStr::new("/nowhere:/bin"))).expect("there is a shell");
        assert_eq!(found, Path::new("/bin/sh"));
        assert!(find(OsStr::new("no-such-agent"), Path::new("/"), Some(OsStr::new("/bin"))).is_none());
        assert!(find(OsStr::new("./bin/sh"), Path::new("/"), None).is_some());
    }
}
