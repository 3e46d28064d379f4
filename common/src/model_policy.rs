//! Which providers the paths of a code base may be sent to.

use std::collections::BTreeSet;

use globset::GlobSet;

use crate::spec::path_globs;

/// One rule: paths that match go to these providers only.
#[derive(Clone, Debug)]
pub struct ModelRule {
    paths: GlobSet,
    providers: BTreeSet<String>,
}

impl ModelRule {
    /// From globs of paths, as the job file has them, and names of providers.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>, providers: impl IntoIterator<Item = String>) -> Self {
        Self { paths: path_globs(paths), providers: providers.into_iter().collect() }
    }
}

/// What a subtask may touch, as far as it is known before it runs.
#[derive(Clone, Copy, Debug)]
pub enum Footprint<'a> {
    /// These paths.
    Paths(&'a [String]),
    /// Any path: every rule holds for it.
    Whole,
}

/// The providers that a subtask may use: those that every rule for one of its paths allows. Where
/// no rule matches, all of them. The order of `providers` stays.
pub fn allowed(rules: &[ModelRule], footprint: Footprint<'_>, providers: &[String]) -> Vec<String> {
    let concerns = |rule: &&ModelRule| match footprint {
        Footprint::Whole => true,
        Footprint::Paths(paths) => paths.iter().any(|path| rule.paths.is_match(path)),
    };
    let binding: Vec<&ModelRule> = rules.iter().filter(concerns).collect();
    let may = |name: &&String| binding.iter().all(|rule| rule.providers.contains(*name));
    providers.iter().filter(may).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_rule_that_concerns_a_path_binds() {
        let rules = [
            ModelRule::new(["secret/**"], names(&["local"])),
            ModelRule::new(["top/*"], names(&["local"])),
            ModelRule::new(["eu/**", "secret/eu/**"], names(&["local", "frankfurt"])),
        ];
        let all = names(&["virginia", "frankfurt", "local"]);
        for (paths, expected) in [
            (vec!["src/a.rs"], vec!["virginia", "frankfurt", "local"]),
            (vec!["eu/a.rs"], vec!["frankfurt", "local"]),
            (vec!["top/a.rs"], vec!["local"]),
            (vec!["top/deeper/a.rs"], vec!["virginia", "frankfurt", "local"]),
            (vec!["src/a.rs", "secret/a.rs"], vec!["local"]),
            (vec![], vec!["virginia", "frankfurt", "local"]),
        ] {
            assert_eq!(allowed(&rules, Footprint::Paths(&names(&paths)), &all), expected, "{paths:?}");
        }
        assert_eq!(allowed(&rules, Footprint::Whole, &all), ["local"]);
        assert!(allowed(&rules, Footprint::Whole, &names(&["virginia"])).is_empty());
    }
}
