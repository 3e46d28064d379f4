//! "Did you mean": the nearest known name.

/// The known name nearest to `word`, when it is near enough to be a slip of the fingers.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|&(distance, name)| distance <= allowed || (word.len() >= 3 && name.starts_with(word)))
        .min()
        .map(|(_, name)| name)
}

/// Names as a sentence part, at most 12 of them.
pub fn listing<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// The next step for an unknown name: the nearest one, or all there are.
pub fn next_step<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone, none: &str) -> String {
    match did_you_mean(word, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let all = listing(known);
            if all.is_empty() { none.to_owned() } else { format!("known here: {all}") }
        }
    }
}
