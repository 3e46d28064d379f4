//! Patterns of `write` that could only be refused: all they cover judges changes, which no wildcard
//! names.

use longhaul_common::patch::Declared;
use longhaul_common::spec::{JobFile, Problem};
use longhaul_proto::{Policy, Task};

/// Reports them at their place; `tasks` are those of the file's tables.
pub(super) fn check(file: &JobFile, tasks: &[Task], policy: &Policy, problems: &mut Vec<Problem>) {
    for (table, task) in file.tables().into_iter().zip(tasks) {
        // A glob that cannot be read was reported with the job file.
        let Ok(declared) = Declared::new(task, &[], &[], policy) else { continue };
        for pattern in table.work().write.into_iter().flat_map(|write| write.iter()) {
            if declared.withholds_all(&pattern.value) {
                let message = format!(
                    "{:?} covers only what the gate or a check goes by, which no wildcard names",
                    pattern.value
                );
                problems.push(file.source.problem(pattern.span(), message, "write each path out, without wildcards"));
            }
        }
    }
}
