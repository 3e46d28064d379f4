//! Labels: what a worker says it can do, and what work asks for.
//!
//! One rule for both sides, so that a label a worker announces can be asked for: it travels in
//! presences, on command lines and in tables.

/// Longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// Most labels of one worker or one subtask.
pub const LABELS_MAX: usize = 32;

/// Refuses what is no label; the error is cause and next step.
pub fn label(text: &str) -> Result<(), (String, String)> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.starts_with('-') || !text.chars().all(fits) {
        let help = "use letters, digits and - _ . , e.g. \"rust\" or \"gpu\"".to_owned();
        return Err((format!("not a label: {text:?}"), help));
    }
    if text.len() > LABEL_BYTES_MAX {
        let message = format!("a label of {} bytes; at most {LABEL_BYTES_MAX} are allowed", text.len());
        return Err((message, "shorten it".to_owned()));
    }
    Ok(())
}
