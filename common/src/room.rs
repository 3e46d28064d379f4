//! Room on a disk: whether an error means that there is none, and how much there is.
//!
//! A full disk is no fault of whoever met it. Work waits, says so, and goes on when there is space,
//! so every part has to know it by the same words. What ran in another process is known by what it
//! wrote only.

use std::io;
use std::path::Path;

/// What the C library, git and tools say of a full disk or a used-up quota.
const WORDS: [&str; 4] = ["No space left on device", "Disk quota exceeded", "no storage space", "ENOSPC"];

/// Whether an error of the operating system means "no room".
pub fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the words of an error mean "no room".
pub fn says_out_of_room(words: &str) -> bool {
    WORDS.iter().any(|said| words.contains(said))
}

/// Bytes that may still be written below a folder; `None` where that cannot be known.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it_is_understood() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let error = io::Error::from(errno);
            assert!(is_out_of_room(&error) && says_out_of_room(&error.to_string()), "{error}");
        }
        let bare = io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_out_of_room(&bare) && says_out_of_room(&bare.to_string()), "{bare}");
        let git = "fatal: write error: No space left on device\nfatal: unpack-objects failed";
        assert!(says_out_of_room(git));
        let other = io::Error::from(rustix::io::Errno::ACCESS);
        assert!(!is_out_of_room(&other) && !says_out_of_room(&other.to_string()));
        assert!(!says_out_of_room("API quota exceeded, try again tomorrow"));
    }

    #[test]
    fn free_bytes_of_a_folder_are_known_and_of_none_are_not() {
        assert!(free_bytes(Path::new("/")).is_some());
        assert_eq!(free_bytes(Path::new("/nowhere/at/all")), None);
    }
}
