//! Footprints: which paths a running or unlanded subtask may write, and whether two can overlap.
//!
//! A footprint is the concrete files at the base it covers plus its globs for files to come.
//! Overlap is decided conservatively: a false "yes" costs time, a false "no" costs a conflict,
//! which landing would still catch.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use longhaul_common::NodeId;
use longhaul_proto::Plan;

/// What one subtask may write.
#[derive(Clone, Debug)]
pub enum Footprint {
    /// No declaration: the whole repository.
    Whole,
    /// Declared paths.
    Paths {
        /// The plan, and the node's position in it: claims are not copied.
        plan: Arc<Plan>,
        /// Which node.
        node: NodeId,
    },
}

impl Footprint {
    /// The footprint of a node.
    pub fn of(plan: &Arc<Plan>, node: NodeId) -> Self {
        let task = &plan.tasks[plan.nodes[node.index()].task as usize];
        if task.whole_repository { Self::Whole } else { Self::Paths { plan: Arc::clone(plan), node } }
    }

    fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    fn claims(&self) -> &[String] {
        match self {
            Self::Whole => &[],
            Self::Paths { plan, node } => &plan.nodes[node.index()].claims,
        }
    }

    /// Declared globs (and literal paths, which may not exist yet), cut to their literal ends.
    fn prefixes(&self) -> impl Iterator<Item = (&str, &str)> {
        let globs: &[String] = match self {
            Self::Whole => &[],
            Self::Paths { plan, node } => match &plan.tasks[plan.nodes[node.index()].task as usize] {
                task if task.additive => &[],
                task => &task.write,
            },
        };
        globs.iter().map(|glob| split_glob(glob))
    }
}

/// The literal folder a glob begins with, and the literal end of its last component.
fn split_glob(glob: &str) -> (&str, &str) {
    let special = glob.find(['*', '?', '[', '{']).unwrap_or(glob.len());
    let folder = glob[..special].rfind('/').map_or("", |slash| &glob[..=slash]);
    let tail = glob.rfind(['*', '?', ']', '}', '/']).map_or(glob, |at| &glob[at + 1..]);
    // After a '/' the tail is a whole file name: "**/Cargo.toml" ends in "Cargo.toml".
    (folder, tail)
}

fn covers((folder, tail): (&str, &str), path: &str) -> bool {
    path.starts_with(folder) && path.ends_with(tail)
}

fn patterns_meet(a: (&str, &str), b: (&str, &str)) -> bool {
    (a.0.starts_with(b.0) || b.0.starts_with(a.0)) && (a.1.ends_with(b.1) || b.1.ends_with(a.1))
}

/// The footprints taken right now.
#[derive(Clone, Debug, Default)]
pub struct Held {
    files: BTreeMap<String, u32>,
    by_node: BTreeMap<NodeId, Footprint>,
    /// Holders with patterns or the whole repository: few, checked one by one.
    wide: BTreeMap<NodeId, Footprint>,
}

impl Held {
    /// Takes a footprint. Taking it twice is a no-op.
    pub fn take(&mut self, node: NodeId, footprint: Footprint) {
        if self.by_node.contains_key(&node) {
            return;
        }
        for claim in footprint.claims() {
            *self.files.entry(claim.clone()).or_insert(0) += 1;
        }
        if footprint.is_whole() || footprint.prefixes().next().is_some() {
            self.wide.insert(node, footprint.clone());
        }
        self.by_node.insert(node, footprint);
    }

    /// Gives a footprint back.
    pub fn release(&mut self, node: NodeId) {
        let Some(footprint) = self.by_node.remove(&node) else { return };
        self.wide.remove(&node);
        for claim in footprint.claims() {
            if let Some(count) = self.files.get_mut(claim) {
                *count -= 1;
                if *count == 0 {
                    self.files.remove(claim);
                }
            }
        }
    }

    /// Whether anything is held.
    pub fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    /// Who holds a footprint, in node order.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.by_node.keys().copied()
    }

    /// Whether a footprint overlaps one that is held.
    pub fn blocks(&self, footprint: &Footprint) -> bool {
        if footprint.is_whole() {
            return !self.by_node.is_empty();
        }
        if footprint.claims().iter().any(|claim| self.files.contains_key(claim)) {
            return true;
        }
        let wide_meets = self.wide.values().any(|held| meet(held, footprint));
        // Its own patterns against held files that no pattern of the holder names.
        wide_meets || footprint.prefixes().any(|pattern| self.file_under(pattern))
    }

    /// Who stands in the way of a footprint: the first few.
    pub fn blockers(&self, footprint: &Footprint, most: usize) -> Vec<NodeId> {
        self.by_node.iter().filter(|(_, held)| overlap(held, footprint)).map(|(&node, _)| node).take(most).collect()
    }

    fn file_under(&self, pattern: (&str, &str)) -> bool {
        self.files
            .range::<str, _>((Bound::Included(pattern.0), Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(pattern.0))
            .any(|(path, _)| covers(pattern, path))
    }
}

/// Whether a wide footprint meets another one.
fn meet(wide: &Footprint, other: &Footprint) -> bool {
    if wide.is_whole() || other.is_whole() {
        return true;
    }
    wide.prefixes().any(|pattern| {
        other.claims().iter().any(|claim| covers(pattern, claim))
            || other.prefixes().any(|others| patterns_meet(pattern, others))
    })
}

/// Whether two footprints can write the same path.
fn overlap(a: &Footprint, b: &Footprint) -> bool {
    meet(a, b) || meet(b, a) || a.claims().iter().any(|claim| b.claims().binary_search(claim).is_ok())
}

#[cfg(test)]
mod tests {
    use longhaul_proto::{Node, Task};

    use super::*;

    fn footprint(write: &[&str], claims: &[&str]) -> Footprint {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let task = Task { write: strings(write), ..Task::default() };
        let node = Node { claims: strings(claims), ..Node::default() };
        let plan = Plan { tasks: vec![task], nodes: vec![node], ..Plan::default() };
        Footprint::of(&Arc::new(plan), NodeId(0))
    }

    #[track_caller]
    fn check(a: (&[&str], &[&str]), b: (&[&str], &[&str]), expected: bool) {
        let (one, two) = (footprint(a.0, a.1), footprint(b.0, b.1));
        for (first, second) in [(&one, &two), (&two, &one)] {
            let mut held = Held::default();
            held.take(NodeId(7), first.clone());
            assert_eq!(held.blocks(second), expected, "{a:?} {b:?}");
            assert_eq!(held.blockers(second, 9).len(), usize::from(expected), "{a:?} {b:?}");
            held.release(NodeId(7));
            assert!(!held.blocks(second) && !held.blocks(&Footprint::Whole));
        }
    }

    #[test]
    fn overlap_is_decided_by_files_and_patterns() {
        check((&[], &["a.rs"]), (&[], &["a.rs", "b.rs"]), true);
        check((&[], &["a.rs"]), (&[], &["b.rs"]), false);
        check((&["src/**"], &["src/a.rs"]), (&[], &["src/b.rs"]), true);
        check((&["src/**"], &[]), (&[], &["docs/b.md"]), false);
        check((&["src/**/*.rs"], &[]), (&["src/x/*.md"], &[]), false);
        check((&["src/**/*.rs"], &[]), (&["src/x/*.rs"], &[]), true);
        check((&["**/Cargo.toml"], &["Cargo.toml"]), (&[], &["src/lib.rs"]), false);
        check((&["**/Cargo.toml"], &[]), (&["crates/**"], &[]), true);
        check((&["NEW.md"], &[]), (&["OLD.md"], &["src/a.rs"]), false);
        check((&["NEW.md"], &[]), (&["NEW.md"], &[]), true);
    }

    #[test]
    fn the_whole_repository_overlaps_everything() {
        let mut held = Held::default();
        assert!(!held.blocks(&Footprint::Whole));
        held.take(NodeId(1), Footprint::Whole);
        assert!(held.blocks(&footprint(&[], &["x"])) && held.blocks(&Footprint::Whole));
    }
}
