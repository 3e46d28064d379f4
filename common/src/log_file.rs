//! Logs as they are read: a trace is compressed on the disk and shown as the lines it holds.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Ending of the name of a compressed log.
const ENDING: &str = ".zst";

/// Bytes that are read of one, whatever a worker sent; more than any of ours unfolds to.
const BYTES_MAX: u64 = 64 << 20;

/// The name of a log as it is shown.
pub fn shown_name(name: &str) -> &str {
    name.strip_suffix(ENDING).unwrap_or(name)
}

/// Whether a log is compressed, by its name.
pub fn is_compressed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING))
}

/// The content of a log. One whose writer was killed ends where it was cut.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    if !is_compressed(path) {
        return Ok(Box::new(file));
    }
    Ok(Box::new(UpToCut(zstd::Decoder::new(file)?).take(BYTES_MAX)))
}

/// Ends where a compressed stream breaks off.
struct UpToCut<R>(R);

impl<R: Read> Read for UpToCut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_the_same_compressed_or_not() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in
            [("01-a.log", b"x\n".to_vec()), ("02-a.jsonl.zst", zstd::encode_all(&b"x\n"[..], 1).expect("packed"))]
        {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("written");
            assert_eq!(io::read_to_string(open(&path).expect("opens")).expect("read"), "x\n", "{name}");
        }
        let path = dir.path().join("03-a.jsonl.zst");
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        io::Write::write_all(&mut encoder, b"first\n").expect("in memory");
        io::Write::flush(&mut encoder).expect("in memory");
        std::fs::write(&path, encoder.get_ref()).expect("written");
        assert_eq!(io::read_to_string(open(&path).expect("opens")).expect("read"), "first\n", "its writer was killed");
        assert_eq!(shown_name("02-a.trace.jsonl.zst"), "02-a.trace.jsonl");
    }
}
