//! The steps from job file to plan, in order.

use std::collections::BTreeMap;

use longhaul_common::git::Identity;
use longhaul_common::spec::{JobFile, Problem, Problems, Table};
use longhaul_common::{JobId, Oid};
use longhaul_proto as proto;
use prost::Message as _;

use super::after::{self, Order};
use super::base::Base;
use super::draft::{self, Draft, Drafts};
use super::key::{self, Common};
use super::{agents, carry, characterise, models, settings, trust, withheld};

/// Author of commits when the user's git knows none.
const AUTHOR: (&str, &str) = ("Longhaul", "longhaul@localhost");

/// What a plan depends on besides the job file and the repository.
#[derive(Clone, Debug)]
pub struct ExpandOptions {
    /// Name of the job.
    pub job: JobId,
    /// The commit an earlier generation pinned; without it the job file's base is looked up now.
    pub base: Option<Oid>,
    /// Name of this machine, for a plan that goes to a server: two machines may have different
    /// repositories at one path.
    pub host: Option<String>,
    /// A person's remarks by id of subtask, newest last. Remarks on ids that are gone do nothing.
    pub remarks: BTreeMap<String, Vec<String>>,
}

impl ExpandOptions {
    /// For the first generation of a job.
    pub fn new(job: JobId) -> Self {
        Self { job, base: None, host: None, remarks: BTreeMap::new() }
    }
}

/// Expands a job file over the repository it names. Reads the repository, the job file's folder
/// and nothing else; writes nothing and spends nothing.
pub fn expand(file: &JobFile, options: &ExpandOptions) -> Result<proto::Plan, Problems> {
    let mut base = Base::open(file, options.base)?;
    let mut problems = Vec::new();
    let agents = agents::resolve(file, &base.job_dir, &mut problems);
    key::check_gate(file, &base.job_dir, &mut problems);
    let files = carry::carried(file, &base.job_dir, &mut problems);
    let drafts = draft::draft(file, &mut base, &mut problems);
    // Without its subtasks, what a table is waited for by cannot be judged.
    Problems::check(std::mem::take(&mut problems))?;
    let Some(order) = after::resolve(file, &drafts, &mut problems) else { return Err(Problems::new(problems)) };

    let tasks: Vec<proto::Task> = file.tables().into_iter().map(|table| settings::task(table, &agents)).collect();
    let policy = settings::policy(file, &base);
    withheld::check(file, &tasks, &policy, &mut problems);
    let trusted = trust::trusted(file, &base, &mut problems);
    let repo = settings::repo(file, &base, options.host.as_deref(), trusted);
    let common = Common { file, base: &base, repo: &repo, agents: &agents };
    let parts = Parts { drafts: &drafts, order: &order, tasks: &tasks, remarks: &options.remarks };
    let keys = keys(&common, &parts, &mut problems);
    let (mut nodes, mut tasks) = (nodes(&base, &parts, keys), tasks);
    characterise::insert(file, &agents, (&mut tasks, &mut nodes), &mut problems);
    Problems::check(problems)?;

    let author = base.store.identity();
    let author = author.unwrap_or_else(|| Identity { name: AUTHOR.0.to_owned(), email: AUTHOR.1.to_owned() });
    let source = std::path::absolute(file.source.path()).unwrap_or_else(|_| file.source.path().to_owned());
    let source = source.file_name().map_or_else(|| source.clone(), |name| base.job_dir.join(name));
    Ok(proto::Plan {
        files,
        format: proto::FORMAT,
        job: options.job.to_string(),
        goal: file.goal.value.clone(),
        gate: Some(settings::gate(file)),
        budget: Some(settings::budget(file, options.host.is_some())),
        policy: Some(policy),
        providers: models::providers(file),
        prices: models::prices(file),
        author_name: author.name,
        author_email: author.email,
        source_path: on_host(options.host.as_deref(), &source.to_string_lossy()),
        job_dir: base.job_dir.to_string_lossy().into_owned(),
        repo: Some(repo),
        agents,
        tasks,
        nodes,
    })
}

/// A path of this machine, told from the same path on another where a plan leaves it.
fn on_host(host: Option<&str>, path: &str) -> String {
    host.map_or_else(|| path.to_owned(), |host| format!("{host}:{path}"))
}

/// The pieces a plan's nodes are put together from.
struct Parts<'a> {
    drafts: &'a Drafts,
    order: &'a Order,
    tasks: &'a [proto::Task],
    remarks: &'a BTreeMap<String, Vec<String>>,
}

impl Parts<'_> {
    fn remarks(&self, draft: &Draft) -> &[String] {
        self.remarks.get(&draft.id).map_or(&[], Vec::as_slice)
    }
}

/// The key of every subtask, tables in an order in which the keys they need are there.
fn keys(common: &Common<'_>, parts: &Parts<'_>, problems: &mut Vec<Problem>) -> Vec<[u8; 32]> {
    let tables: Vec<Table<'_>> = common.file.tables();
    let mut keys = vec![[0; 32]; parts.drafts.nodes.len()];
    for &table in &parts.order.tables {
        let task = &parts.tasks[table];
        let dep_keys = parts.order.deps[table].iter().map(|&node| &keys[node as usize][..]).collect();
        let shared = common.table_digest(tables[table], task, dep_keys, problems);
        for node in parts.drafts.ranges[table].clone() {
            let draft = &parts.drafts.nodes[node];
            keys[node] = common.node_key(&shared, draft, task.whole_repository, parts.remarks(draft));
        }
    }
    keys
}

fn nodes(base: &Base, parts: &Parts<'_>, keys: Vec<[u8; 32]>) -> Vec<proto::Node> {
    let paths = |at: &[usize]| at.iter().map(|&at| base.path_of(at).to_owned()).collect();
    let node = |(draft, key): (&Draft, [u8; 32])| proto::Node {
        id: draft.id.clone(),
        task: u32::try_from(draft.table).expect("every table has a node, and a plan at most 1,000,000"),
        files: paths(&draft.files),
        deps: parts.order.deps[draft.table].clone(),
        key: key.to_vec(),
        claims: paths(&draft.claims),
        behind_pilot: draft.behind_pilot,
        pilot: draft.pilot,
        weight: draft.weight,
        remarks: parts.remarks(draft).to_vec(),
        ..proto::Node::default()
    };
    parts.drafts.nodes.iter().zip(keys).map(node).collect()
}

/// Identifies a plan: blake3 over its encoding, which has one form (maps are sorted).
pub fn digest(plan: &proto::Plan) -> [u8; 32] {
    *blake3::hash(&plan.encode_to_vec()).as_bytes()
}
