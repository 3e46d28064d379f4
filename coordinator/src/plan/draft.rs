//! Subtasks before they depend on each other: what each table of the job file becomes at the base.

use std::collections::BTreeMap;
use std::ops::Range;

use longhaul_common::git::StoreError;
use longhaul_common::spec::{
    At, CLAIMS_MAX, ID_BYTES_MAX, JobFile, MapTable, NODES_MAX, Problem, Table, TaskTable, path_globs,
};

use super::base::{Base, unreadable};
use super::{map, pilot};

/// One subtask of a table.
pub(super) struct Draft {
    /// Its id.
    pub id: String,
    /// Position of its table in [`JobFile::tables`].
    pub table: usize,
    /// Entries of a map's group.
    pub files: Vec<usize>,
    /// Entries its footprint covers, in path order; empty for the whole repository.
    pub claims: Vec<usize>,
    /// Bytes of input, at least 1.
    pub weight: u64,
    /// One of its map's pilot.
    pub pilot: bool,
    /// Waits for its map's pilot.
    pub behind_pilot: bool,
}

/// The subtasks of all tables, table by table; `ranges[table]` are a table's.
pub(super) struct Drafts {
    /// In the order of the plan.
    pub nodes: Vec<Draft>,
    /// Where each table's are.
    pub ranges: Vec<Range<usize>>,
}

struct Drafting<'a> {
    file: &'a JobFile,
    base: &'a mut Base,
    problems: &'a mut Vec<Problem>,
    nodes: Vec<Draft>,
    claims: usize,
}

/// Makes the subtasks of every table and reports what stands against them.
pub(super) fn draft(file: &JobFile, base: &mut Base, problems: &mut Vec<Problem>) -> Drafts {
    let mut drafting = Drafting { file, base, problems, nodes: Vec::new(), claims: 0 };
    let mut ranges = Vec::new();
    for (at, table) in file.tables().into_iter().enumerate() {
        let start = drafting.nodes.len();
        let made = match table {
            Table::Task(task) => drafting.task(at, task),
            Table::Map(map) => drafting.map(at, map),
        };
        if let Err(error) = made {
            drafting.problems.push(unreadable(file, &file.repo[0], &error));
            break;
        }
        ranges.push(start..drafting.nodes.len());
        if drafting.over_limits(table) {
            break;
        }
    }
    drafting.unique_ids();
    Drafts { nodes: drafting.nodes, ranges }
}

impl Drafting<'_> {
    fn report(&mut self, span: Range<usize>, message: String, help: impl Into<String>) {
        self.problems.push(self.file.source.problem(span, message, help));
    }

    fn over_limits(&mut self, table: Table<'_>) -> bool {
        let span = table.name_span();
        if self.nodes.len() > NODES_MAX {
            let message = format!("more than {NODES_MAX} subtasks with `{}`", table.name());
            self.report(span, message, "group more files into one subtask with `group`");
            return true;
        }
        if self.claims > CLAIMS_MAX {
            let message = format!("more than {CLAIMS_MAX} claimed paths with `{}`", table.name());
            self.report(span, message, "narrow `write`; without it a task claims the whole repository at once");
            return true;
        }
        false
    }

    fn task(&mut self, table: usize, task: &At<TaskTable>) -> Result<(), StoreError> {
        let whole: Vec<usize>;
        let (claims, input) = match &task.write {
            Some(write) => {
                let globs = path_globs(write.iter().map(|glob| glob.value.as_str()));
                let claims = self.base.matching(&globs, &path_globs([]));
                if let Some(what) = self.base.unfit(&claims) {
                    let span = write.first().map_or(task.span(), At::span);
                    self.report(span, format!("`{}` may write {what}", task.id.value), "narrow the globs of `write`");
                    return Ok(());
                }
                (claims.clone(), claims)
            }
            None => {
                whole = (0..self.base.entries.len()).collect();
                (Vec::new(), whole)
            }
        };
        let weight = self.base.sizes_of(&input)?.iter().sum::<u64>().max(1);
        self.claims += claims.len();
        let id = task.id.value.clone();
        self.nodes.push(Draft { id, table, files: Vec::new(), claims, weight, pilot: false, behind_pilot: false });
        Ok(())
    }

    fn map(&mut self, table: usize, map: &At<MapTable>) -> Result<(), StoreError> {
        let selected = map::select(map, self.base)?;
        if let Some(what) = &selected.unfit {
            self.report(map.files.span(), format!("the map `{}` covers {what}", map.id.value), "add them to `exclude`");
            return Ok(());
        }
        if selected.files.is_empty() {
            self.empty_map(map, &selected);
            return Ok(());
        }
        let groups = map::groups(map.group, &selected.files, self.base)?;
        if groups.len() > NODES_MAX {
            let message =
                format!("the map `{}` makes {} subtasks; at most {NODES_MAX} are allowed", map.id.value, groups.len());
            self.report(map.files.span(), message, "group more files into one subtask with `group`");
            return Ok(());
        }
        let shared = match &map.write {
            Some(write) => {
                self.base.matching(&path_globs(write.iter().map(|glob| glob.value.as_str())), &path_globs([]))
            }
            None => Vec::new(),
        };
        if let (Some(what), Some(write)) = (self.base.unfit(&shared), &map.write) {
            let span = write.first().map_or(map.span(), At::span);
            self.report(span, format!("the map `{}` may write {what}", map.id.value), "narrow the globs of `write`");
            return Ok(());
        }
        let start = self.nodes.len();
        for (n, files) in groups.into_iter().enumerate() {
            let id = map::group_id(&map.id, self.base.path_of(files[0]), n + 1);
            if id.len() > ID_BYTES_MAX || id.starts_with('-') {
                let why = if id.starts_with('-') { "starts with a dash" } else { "is too long" };
                self.report(
                    map.id.span(),
                    format!("the id {id:?} of the map `{}` {why}", map.id.value),
                    "use {n} or {stem}, after some text",
                );
                return Ok(());
            }
            let weight = self.base.sizes_of(&files)?.iter().sum::<u64>().max(1);
            let mut claims: Vec<usize> = files.iter().chain(&shared).copied().collect();
            claims.sort_unstable();
            claims.dedup();
            self.claims += claims.len();
            self.nodes.push(Draft { id, table, files, claims, weight, pilot: false, behind_pilot: false });
            if self.claims > CLAIMS_MAX {
                return Ok(());
            }
        }
        if let Some(count) = &map.pilot {
            self.mark_pilot(start, count.value as usize);
        }
        Ok(())
    }

    fn mark_pilot(&mut self, start: usize, count: usize) {
        let place = |draft: &Draft| (map::folder(self.base.path_of(draft.files[0])), draft.weight);
        let places: Vec<(&str, u64)> = self.nodes[start..].iter().map(place).collect();
        let chosen = pilot::choose(&places, count);
        for draft in &mut self.nodes[start..] {
            draft.behind_pilot = true;
        }
        for at in chosen {
            let draft = &mut self.nodes[start + at];
            (draft.pilot, draft.behind_pilot) = (true, false);
        }
    }

    fn empty_map(&mut self, map: &At<MapTable>, selected: &map::Selected) {
        let globs: Vec<String> = map.files.iter().map(|glob| format!("{:?}", glob.value)).collect();
        let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let matched = files(selected.by_glob + selected.excluded);
        let mut message = format!(
            "the map `{}` is empty: {} matched {matched} at {}",
            map.id.value,
            globs.join(", "),
            self.base.commit.short()
        );
        if selected.excluded > 0 {
            message.push_str(&format!(", `exclude` took {}", selected.excluded));
        }
        let (span, help) = match &map.containing {
            Some(containing) if selected.by_glob > 0 => {
                message.push_str(&format!(", 0 of {} contain /{}/", selected.by_glob, containing.value));
                (containing.span(), "correct `containing`, or remove the map if the work is done")
            }
            _ if selected.excluded > 0 && selected.by_glob == 0 => {
                (map.exclude.first().map_or(map.files.span(), At::span), "narrow `exclude`, or remove the map")
            }
            _ => (
                map.files.span(),
                "correct the globs (`**` crosses folders); only what is committed at the base counts",
            ),
        };
        self.report(span, message, help);
    }

    /// Ids must be unique over the whole plan; the first repeat of each table is reported.
    fn unique_ids(&mut self) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut repeats: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
        for (at, draft) in self.nodes.iter().enumerate() {
            if let Some(&first) = seen.get(draft.id.as_str()) {
                repeats.entry(draft.table).or_insert((first, at, 0)).2 += 1;
            } else {
                seen.insert(&draft.id, at);
            }
        }
        let tables = self.file.tables();
        let describe = |draft: &Draft| match draft.files.first() {
            Some(&file) => self.base.path_of(file).to_owned(),
            None => format!("the task `{}`", draft.id),
        };
        let mut found = Vec::new();
        for (table, (first, at, count)) in repeats {
            let (a, b) = (&self.nodes[first], &self.nodes[at]);
            let more = if count > 1 { format!(" ({} more such pairs)", count - 1) } else { String::new() };
            let message = format!("two subtasks get the id `{}`: {} and {}{more}", b.id, describe(a), describe(b));
            found.push((tables[table].work().id.span(), message));
        }
        for (span, message) in found {
            self.report(span, message, "use {path} in the map's id, or different fixed text");
        }
    }
}
