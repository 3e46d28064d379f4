//! Settings of agent programs in the repository that the job trusts, by their content at the base.

use longhaul_common::spec::{JobFile, PROGRAM_SETTINGS, Problem};

use super::base::Base;

/// The paths the job trusts. One whose content is another than the job names is a problem: somebody
/// has to look at it again.
pub(super) fn trusted(file: &JobFile, base: &Base, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut trusted = Vec::new();
    for (path, named) in &file.repo[0].trust {
        let mut report =
            |message: String, help: String| problems.push(file.source.problem(named.span(), message, help));
        if !PROGRAM_SETTINGS.contains(&path.as_str()) {
            let message = format!("`{path}` needs no trust: agents see it");
            report(message, format!("remove it; what is hidden unless trusted is {}", PROGRAM_SETTINGS.join(", ")));
            continue;
        }
        let found = match base.store.object_at(base.tree, path) {
            Ok(found) => found,
            Err(error) => {
                report(error.to_string(), "look at the repository with `git fsck`".to_owned());
                continue;
            }
        };
        match found {
            None => report(format!("there is no {path} in {}", base.base_name), "remove it".to_owned()),
            Some(oid) if oid.to_string() == named.value => trusted.push(path.clone()),
            Some(oid) => {
                let message = format!("{path} is not what the job trusts: it is {oid}");
                report(message, format!("read it (`git show {}:{path}`), and name what it is now", base.base_name));
            }
        }
    }
    trusted
}
