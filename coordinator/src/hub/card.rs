//! What names a job before its journal is read: `job.json` in its folder.

use std::path::PathBuf;

use longhaul_common::layout::Layout;
use serde::{Deserialize, Serialize};

/// The card of one job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobCard {
    /// Its name.
    pub job: String,
    /// Absolute path of the job file, on the machine that submitted it.
    pub source_path: PathBuf,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
}

impl JobCard {
    /// All jobs of a state folder, newest last.
    pub fn all(layout: &Layout) -> Vec<Self> {
        let folders = std::fs::read_dir(layout.jobs()).into_iter().flatten().flatten();
        let mut cards: Vec<Self> = folders
            .filter_map(|folder| std::fs::read(folder.path().join("job.json")).ok())
            .filter_map(|text| serde_json::from_slice(&text).ok())
            .collect();
        cards.sort_by(|a, b| a.created_ms.cmp(&b.created_ms).then_with(|| a.job.cmp(&b.job)));
        cards
    }

    /// Files a job under its name; whole or not at all.
    pub fn keep(&self, layout: &Layout) -> std::io::Result<()> {
        let folder = layout.jobs().join(&self.job);
        std::fs::create_dir_all(&folder)?;
        let (path, making) = (folder.join("job.json"), folder.join("job.json.tmp"));
        std::fs::write(&making, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&making, &path)
    }
}
