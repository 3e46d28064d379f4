//! What a `[[task]]` and a `[[map]]` have in common, and the placeholders of a map's id.

use std::ops::Range;

use super::{
    At, CommandLine, Interval, JobFile, MapTable, Period, StringList, SubtaskBudget, TaskTable, TestsRule,
    UnchangedRule,
};

/// Placeholders a map's id may hold.
pub(super) const PLACEHOLDERS: &[&str] = &["stem", "path", "dir", "file", "n"];

/// A table that becomes subtasks.
#[derive(Clone, Copy, Debug)]
pub enum Table<'a> {
    /// Exactly one.
    Task(&'a At<TaskTable>),
    /// One for each group of files.
    Map(&'a At<MapTable>),
}

/// The keys both have.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the key of the same name in the job file")]
pub struct Work<'a> {
    pub id: &'a At<String>,
    pub after: &'a StringList,
    pub write: Option<&'a StringList>,
    pub ladder: &'a At<StringList>,
    pub instructions: Option<&'a At<String>>,
    pub check: Option<&'a At<CommandLine>>,
    pub checks: &'a [At<CommandLine>],
    pub timeout: Option<Period>,
    pub attempts: Option<&'a At<u32>>,
    pub land_with: Option<&'a At<String>>,
    pub constraints: &'a StringList,
    pub left: Option<&'a At<String>>,
    pub labels: &'a StringList,
    pub idle_timeout: Option<&'a At<Period>>,
    pub wip_every: Option<&'a At<Interval>>,
    pub budget: Option<&'a SubtaskBudget>,
    pub tests: Option<&'a At<TestsRule>>,
    pub unchanged: Option<&'a At<UnchangedRule>>,
    pub characterise: Option<&'a At<bool>>,
    pub split: Option<&'a At<u32>>,
}

impl Work<'_> {
    /// Its checks in the order they run.
    pub fn all_checks(&self) -> impl Iterator<Item = &CommandLine> {
        self.check.into_iter().chain(self.checks).map(|check| &check.value)
    }
}

macro_rules! work_of {
    ($table:expr) => {
        Work {
            id: &$table.id,
            after: &$table.after,
            write: $table.write.as_ref(),
            ladder: &$table.ladder,
            instructions: $table.instructions.as_ref(),
            check: $table.check.as_ref(),
            checks: &$table.checks,
            timeout: $table.timeout,
            attempts: $table.attempts.as_ref(),
            land_with: $table.land_with.as_ref(),
            constraints: &$table.constraints,
            left: $table.left.as_ref(),
            labels: &$table.labels,
            idle_timeout: $table.idle_timeout.as_ref(),
            wip_every: $table.wip_every.as_ref(),
            budget: $table.budget.as_ref(),
            tests: $table.tests.as_ref(),
            unchanged: $table.unchanged.as_ref(),
            characterise: $table.characterise.as_ref(),
            split: $table.split.as_ref(),
        }
    };
}

impl<'a> Table<'a> {
    /// The keys both kinds have.
    pub fn work(self) -> Work<'a> {
        match self {
            Self::Task(task) => work_of!(task.value),
            Self::Map(map) => work_of!(map.value),
        }
    }

    /// Where the table stands.
    pub fn span(self) -> Range<usize> {
        match self {
            Self::Task(task) => task.span(),
            Self::Map(map) => map.span(),
        }
    }

    /// What `after` may call it by: a task's id, a map's name.
    pub fn name(self) -> String {
        match self {
            Self::Task(task) => task.id.value.clone(),
            Self::Map(map) => map.select_name(),
        }
    }

    /// Where that name is written.
    pub fn name_span(self) -> Range<usize> {
        match self {
            Self::Task(task) => task.id.span(),
            Self::Map(map) => map.name.as_ref().unwrap_or(&map.id).span(),
        }
    }
}

impl MapTable {
    /// Its name: as written, or the fixed start of its id (`lazy` of `lazy-{stem}`), or `map` when
    /// the id starts with a placeholder.
    pub fn select_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.value.clone();
        }
        let start = self.id.split('{').next().unwrap_or_default();
        let start = start.trim_end_matches(['-', '_', '.', '/', ':']);
        if start.is_empty() { "map".to_owned() } else { start.to_owned() }
    }
}

impl JobFile {
    /// Tasks and maps in the order of the file.
    pub fn tables(&self) -> Vec<Table<'_>> {
        let mut tables: Vec<_> = self.task.iter().map(Table::Task).chain(self.map.iter().map(Table::Map)).collect();
        tables.sort_by_key(|table| table.span().start);
        tables
    }
}

/// The placeholders in a map's id, with the byte range of each including its braces. The error is
/// the byte position of a brace without its partner.
pub fn placeholders(id: &str) -> Result<Vec<(Range<usize>, &str)>, usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = id[from..].find(['{', '}']) {
        let open = from + at;
        if id.as_bytes()[open] == b'}' {
            return Err(open);
        }
        let close = id[open..].find('}').map(|at| open + at).ok_or(open)?;
        found.push((open..close + 1, &id[open + 1..close]));
        from = close + 1;
    }
    Ok(found)
}
