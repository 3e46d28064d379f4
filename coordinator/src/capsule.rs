//! The capsule: the compacted, typed context handed to an attempt, within a token limit.
//!
//! Goal, instructions, constraints, decisions and remarks are must-keep and never cut; if they
//! alone are over the limit they are kept whole and the overflow is said. What dependencies did
//! and the last failure are cut, longest first, and each cut is said in `clipped`.

use longhaul_common::{NodeId, Oid, question, text, tokens};
use longhaul_proto::{Capsule, CapsuleDependency, CapsuleFailure, Patch};

use crate::core::{Phase, State};
use crate::view::class_name;

/// Token limit where the job names none.
pub const TOKENS_DEFAULT: usize = 8_000;

/// Dependencies named one by one; more are counted.
pub const DEPENDENCIES_MAX: usize = 50;

/// Files named per dependency.
pub const FILES_MAX: usize = 20;

/// Instructions of a node: its task's text with the map's placeholders filled in.
pub fn instructions(state: &State, node: NodeId) -> String {
    let plan_node = state.node(node);
    let files = if plan_node.files.is_empty() { &plan_node.about } else { &plan_node.files };
    let mut text = state.task(node).instructions.replace("{files}", &files.join(" "));
    if let Some(file) = files.first() {
        text = text.replace("{file}", file).replace("{path}", file);
    }
    if !plan_node.part.is_empty() {
        text.push_str(&format!("\n\nOf this, do only your part; others do the rest: {}", plan_node.part));
    }
    text
}

/// The capsule for the next attempt of a node.
pub fn capsule(state: &State, node: NodeId) -> Capsule {
    let subtask = state.subtask(node);
    let plan_node = state.node(node);
    let answers = state.decisions(node).map(question::decided);
    let remarks = plan_node.remarks.iter().chain(&subtask.remarks).cloned().chain(answers);
    // What broke around an agent is nothing it could do better.
    let failure = subtask.lesson.as_deref().map(|failure| CapsuleFailure {
        class: class_name(failure.class()).to_owned(),
        message: failure.message.clone(),
        detail: failure.detail.clone(),
    });
    let next = match &failure {
        Some(failure) => {
            format!("The attempt before ended with {}. Do it so that this does not happen again.", failure.class)
        }
        None => "This is the first attempt.".to_owned(),
    };
    let mut capsule = Capsule {
        goal: state.plan().goal.clone(),
        instructions: instructions(state, node),
        constraints: constraints(state, node),
        dependencies: Vec::new(),
        decisions: remarks.collect(),
        last_failure: failure,
        next,
        tokens: 0,
        clipped: Vec::new(),
    };
    add_dependencies(state, node, &mut capsule);
    let limit = state.plan().policy.as_ref().map_or(0, |policy| policy.capsule_tokens);
    let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(TOKENS_DEFAULT);
    fit(&mut capsule, limit);
    capsule
}

fn constraints(state: &State, node: NodeId) -> Vec<String> {
    let task = state.task(node);
    let mut lines = task.constraints.clone();
    if !task.whole_repository {
        let what = if task.write.is_empty() { state.node(node).files.join(", ") } else { task.write.join(", ") };
        lines.push(format!("write only {what}"));
    }
    lines
}

fn add_dependencies(state: &State, node: NodeId, capsule: &mut Capsule) {
    let deps = &state.node(node).deps;
    for &dep in deps.iter().take(DEPENDENCIES_MAX) {
        let dep = NodeId(dep);
        let subtask = state.subtask(dep);
        let patch = subtask.phase().candidate().map(|candidate| candidate.patch.as_ref());
        let commit = match subtask.phase() {
            Phase::Landed(landed) => landed.commit.to_string(),
            _ => patch
                .and_then(|patch| Oid::from_bytes(&patch.commit).ok())
                .map(|oid| oid.to_string())
                .unwrap_or_default(),
        };
        capsule.dependencies.push(CapsuleDependency {
            subtask: state.node(dep).id.clone(),
            summary: summary(subtask.summary.as_str(), patch),
            commit,
            files: patch.map(|patch| patch.files.iter().take(FILES_MAX).cloned().collect()).unwrap_or_default(),
        });
    }
    if deps.len() > DEPENDENCIES_MAX {
        capsule.clipped.push(format!("{} more dependencies, all landed", deps.len() - DEPENDENCIES_MAX));
    }
}

fn summary(said: &str, patch: Option<&Patch>) -> String {
    match patch {
        _ if !said.is_empty() => said.to_owned(),
        Some(patch) => format!("{} files, +{} −{}", patch.files.len(), patch.lines_added, patch.lines_removed),
        None => "nothing to change".to_owned(),
    }
}

/// Cuts what may be cut until the capsule is within `limit` tokens.
fn fit(capsule: &mut Capsule, limit: usize) {
    let count = |capsule: &Capsule| tokens::count(&render(capsule));
    let mut total = count(capsule);
    if total > limit
        && let Some(failure) = &mut capsule.last_failure
        && !failure.detail.is_empty()
    {
        let detail_tokens = tokens::count(&failure.detail);
        let keep = detail_tokens.saturating_sub(total - limit).max(200);
        let bytes = failure.detail.len() * keep / detail_tokens.max(1);
        if bytes < failure.detail.len() {
            failure.detail = text::clip_tail(&failure.detail, bytes).to_owned();
            capsule.clipped.push("the beginning of the last failure's output".to_owned());
        }
        total = count(capsule);
    }
    if total > limit && capsule.dependencies.iter().any(|dependency| !dependency.files.is_empty()) {
        capsule.dependencies.iter_mut().for_each(|dependency| dependency.files.clear());
        capsule.clipped.push("the files of dependencies".to_owned());
        total = count(capsule);
    }
    while total > limit && !capsule.dependencies.is_empty() {
        let keep = capsule.dependencies.len() / 2;
        capsule.clipped.push(format!("{} dependencies", capsule.dependencies.len() - keep));
        capsule.dependencies.truncate(keep);
        total = count(capsule);
    }
    if total > limit {
        capsule.clipped.push(format!("nothing of the must-keep part, which is over the limit of {limit} tokens"));
    }
    capsule.tokens = u32::try_from(count(capsule)).unwrap_or(u32::MAX);
}

/// The capsule as the text an agent reads.
pub fn render(capsule: &Capsule) -> String {
    let mut out = format!("# Goal\n{}\n\n# Instructions\n{}\n", capsule.goal, capsule.instructions);
    list(&mut out, "Constraints", &capsule.constraints);
    list(&mut out, "Decisions", &capsule.decisions);
    let done: Vec<String> = capsule
        .dependencies
        .iter()
        .map(|dep| {
            format!("{} ({}): {} {}", dep.subtask, text::clip_head(&dep.commit, 12), dep.summary, dep.files.join(" "))
        })
        .collect();
    list(&mut out, "Done before", &done);
    if let Some(failure) = &capsule.last_failure {
        out.push_str(&format!("\n# Last failure: {}\n{}\n{}\n", failure.class, failure.message, failure.detail));
    }
    list(&mut out, "Left out", &capsule.clipped);
    out.push_str(&format!("\n# Next\n{}\n", capsule.next));
    out
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if !items.is_empty() {
        out.push_str(&format!("\n# {title}\n"));
        items.iter().for_each(|item| out.push_str(&format!("- {item}\n")));
    }
}

/// Facts that must be in the rendered capsule whatever was cut, and are not. Empty is good.
pub fn missing_facts(capsule: &Capsule) -> Vec<String> {
    let rendered = render(capsule);
    let must = [&capsule.goal, &capsule.instructions].into_iter().chain(&capsule.constraints).chain(&capsule.decisions);
    must.filter(|fact| !rendered.contains(fact.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> Capsule {
        Capsule {
            goal: "GOAL-FACT".into(),
            instructions: "INSTRUCTION-FACT".into(),
            constraints: vec!["CONSTRAINT-FACT".into()],
            decisions: vec!["REMARK-FACT".into()],
            dependencies: (0..40)
                .map(|n| CapsuleDependency {
                    subtask: format!("dep-{n}"),
                    summary: "moved things".into(),
                    commit: "0".repeat(40),
                    files: vec![format!("src/file_{n}.rs"); 5],
                })
                .collect(),
            last_failure: Some(CapsuleFailure {
                class: "check".into(),
                message: "exit 1".into(),
                detail: format!("{}\nthe very end", "noise line\n".repeat(4_000)),
            }),
            next: "Again.".into(),
            ..Capsule::default()
        }
    }

    #[test]
    fn cutting_keeps_every_must_keep_fact_and_says_what_went() {
        for limit in [100, 300, 1_000, 5_000] {
            let mut capsule = long();
            fit(&mut capsule, limit);
            assert_eq!(missing_facts(&capsule), Vec::<String>::new());
            assert!(!capsule.clipped.is_empty());
            assert!(
                capsule.last_failure.as_ref().expect("kept").detail.ends_with("the very end"),
                "the end of a log says most"
            );
            if limit >= 1_000 {
                assert!(capsule.tokens as usize <= limit, "{} of {limit}", capsule.tokens);
            }
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut capsule = long();
        fit(&mut capsule, 1_000_000);
        assert!(capsule.clipped.is_empty() && capsule.dependencies.len() == 40);
        assert_eq!(capsule.tokens as usize, tokens::count(&render(&capsule)));
    }
}
