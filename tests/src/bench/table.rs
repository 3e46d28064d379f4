//! Rows of results, and medians.

use std::time::Duration;

/// One comparison.
pub struct Row {
    pub what: String,
    pub ours: String,
    pub theirs: String,
    /// Ours divided by theirs, or a plain figure.
    pub ratio: Option<f64>,
    pub goal: String,
}

impl Row {
    /// Two times per unit, in microseconds.
    pub fn times(what: &str, ours: Duration, theirs_name: &str, theirs: Duration, goal: &str) -> Self {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            what: what.to_owned(),
            ours: format!("{:.0} µs", micros(ours)),
            theirs: format!("{theirs_name}: {:.0} µs", micros(theirs)),
            ratio: Some(micros(ours) / micros(theirs)),
            goal: goal.to_owned(),
        }
    }

    /// A figure without a peer.
    pub fn figure(what: &str, ours: String, goal: &str) -> Self {
        Self { what: what.to_owned(), ours, theirs: String::new(), ratio: None, goal: goal.to_owned() }
    }

    pub fn line(&self) -> String {
        let ratio = self.ratio.map(|ratio| format!(" ratio {ratio:.3}")).unwrap_or_default();
        format!("{}: {} {}{ratio} (goal {})", self.what, self.ours, self.theirs, self.goal)
    }
}

pub fn markdown(rows: &[Row]) -> String {
    let mut out = "| what | ours | floor or peer | ratio | goal |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        out += &format!("| {} | {} | {} | {ratio} | {} |\n", row.what, row.ours, row.theirs, row.goal);
    }
    out
}

/// A time as a figure.
pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// The middle one.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The value below which a share of sorted ones lies.
pub fn quantile(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
