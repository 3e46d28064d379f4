//! Clipping of captured text, and addresses as they may be shown, the same way everywhere.

/// Keeps the head and the tail of a text longer than `max` bytes, with a line in between that
/// says how much is missing. Cuts at character boundaries.
pub fn clip_middle(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = floor_boundary(text, max / 3);
    let tail = ceil_boundary(text, text.len() - (max - max / 3));
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

/// Keeps the last `max` bytes of a text, from a character boundary on.
pub fn clip_tail(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[ceil_boundary(text, text.len() - max)..] }
}

/// Keeps the first `max` bytes of a text, up to a character boundary.
pub fn clip_head(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..floor_boundary(text, max)] }
}

/// An address without user and password: what comes before `@` is for nobody's eyes.
pub fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_user("nats://ada:secret@host:4222"), "nats://host:4222");
        assert_eq!(without_user("nats://ada:se@cret@host:4222"), "nats://host:4222");
        assert_eq!(without_user("nats://host:4222"), "nats://host:4222");
        assert_eq!(without_user("secret@host"), "host");
    }

    #[test]
    fn clips_at_character_boundaries() {
        let text = "é".repeat(100);
        for max in 0..210 {
            assert!(clip_tail(&text, max).len() <= max);
            assert!(clip_head(&text, max).len() <= max);
            let middle = clip_middle(&text, max);
            assert!(middle == text || middle.contains("bytes left out"));
        }
    }
}
