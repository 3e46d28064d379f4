//! The wall clock of the product.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::core::Millis;
use crate::driver::Clock;

/// Names a file with milliseconds by which this process's clock is off. Tests of clocks that jump
/// set it; nothing else does.
pub const OFFSET_FILE: &str = "LONGHAUL_CLOCK_OFFSET_FILE";

/// The wall clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> Millis {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(offset_ms())
    }
}

fn offset_ms() -> Millis {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os(OFFSET_FILE).map(PathBuf::from)) else { return 0 };
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
