//! Counts of tokens, with the o200k tokenizer (exactly tiktoken's).
//!
//! The count serves limits and estimates; where a provider reports usage, that is what is billed.

/// The number of o200k tokens of a text.
pub fn count(text: &str) -> usize {
    bpe_openai::o200k_base().count(text)
}

/// Bytes a token holds on average in source code, for estimates where counting would mean
/// reading every file (8 % off over whole repositories).
pub const BYTES_PER_TOKEN: u64 = 4;

/// The longest prefix of `text` that has at most `limit` tokens, at a line boundary where one exists.
pub fn clip(text: &str, limit: usize) -> &str {
    if count(text) <= limit {
        return text;
    }
    let (mut low, mut high) = (0, text.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if count(crate::text::clip_head(text, middle)) <= limit { low = middle } else { high = middle - 1 }
    }
    let head = crate::text::clip_head(text, low);
    head.rfind('\n').map_or(head, |end| &head[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_keeps_whole_lines_within_the_limit() {
        let text = "let alpha = beta + gamma;\n".repeat(50);
        let clipped = clip(&text, 100);
        assert!(count(clipped) <= 100 && count(clipped) > 80, "{}", count(clipped));
        assert!(clipped.ends_with(';'));
        assert_eq!(clip("short", 100), "short");
    }
}
