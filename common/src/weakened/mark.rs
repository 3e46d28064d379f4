//! Marks of tests by which Python keeps them from running, by their names.

/// When a marked test does not run, or does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kept {
    /// At times: there is a condition.
    AtTimes,
    /// Always.
    Always,
}

/// What a decorator says, from its text without white space: `@pytest.mark.skipif(x,reason=y)`.
pub(super) fn decorator(text: &str) -> Option<Kept> {
    let text = text.trim_start_matches('@');
    let (path, given) = text.split_once('(').unwrap_or((text, ""));
    kept(path.rsplit('.').next().unwrap_or(path), given)
}

/// The most that the marks in a text say: `[pytest.mark.slow,pytest.mark.skip]`.
pub(super) fn marks(text: &str) -> Option<Kept> {
    let of = |mark: &str| {
        let name = mark.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let given = mark.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')).unwrap_or_default();
        kept(name, given)
    };
    text.split("mark.").skip(1).filter_map(of).max()
}

/// `given` is what stands behind the bracket that opens.
fn kept(name: &str, given: &str) -> Option<Kept> {
    let first = given.split([',', ')']).next().unwrap_or_default();
    match name {
        "skip" | "expectedFailure" => Some(Kept::Always),
        "xfail" if first.is_empty() || is_keyword(first) => Some(Kept::Always),
        "xfail" | "skipif" | "skipIf" if matches!(first, "True" | "1") => Some(Kept::Always),
        "skipUnless" if matches!(first, "False" | "0") => Some(Kept::Always),
        "xfail" => Some(Kept::AtTimes),
        // Those of the repository, too: `skip_on_windows`.
        _ if name.starts_with("skip") => Some(Kept::AtTimes),
        _ => None,
    }
}

/// Whether an argument is one of a name, and no condition.
fn is_keyword(argument: &str) -> bool {
    let is_name = |name: &str| name != "condition" && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    argument.split_once('=').is_some_and(|(name, value)| is_name(name) && !value.starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_known_by_their_names() {
        let (always, at_times) = (Some(Kept::Always), Some(Kept::AtTimes));
        for (text, expected) in [
            ("@pytest.mark.skip", always),
            ("@pytest.mark.skip(reason=\"x\")", always),
            ("@unittest.expectedFailure", always),
            ("@pytest.mark.xfail", always),
            ("@pytest.mark.xfail(reason=\"x\",strict=True)", always),
            ("@pytest.mark.xfail(os==\"nt\",reason=\"x\")", at_times),
            ("@pytest.mark.xfail(condition=x)", at_times),
            ("@pytest.mark.skipif(True,reason=\"x\")", always),
            ("@pytest.mark.skipif(sys.version_info<(3,9),reason=\"skip\")", at_times),
            ("@skipUnless(False,\"x\")", always),
            ("@skip_on_windows", at_times),
            ("@pytest.mark.parametrize(\"skip_blank\",[True,False])", None),
            ("@mock.patch(\"a.skip\")", None),
            ("@no_skipping", None),
        ] {
            assert_eq!(decorator(text), expected, "{text}");
        }
        assert_eq!(marks("[pytest.mark.skipif(a,reason=b),pytest.mark.skip]"), always);
        assert_eq!(marks("pytest.mark.skipif(a)"), at_times);
        assert_eq!(marks("[pytest.mark.skip_blank_ok,mark.slow]"), at_times);
        assert_eq!(marks("pytest.mark.usefixtures(\"skip\")"), None);
    }
}
