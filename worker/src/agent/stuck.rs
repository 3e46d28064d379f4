//! Whether an agent goes in circles: a small machine over what it is seen to do.
//!
//! Each pattern has a name, a limit, and a warning at half of it: a model that is told that it
//! repeats itself often finds out; one that goes on is ended, with the pattern's name as the reason.

use std::collections::{BTreeMap, VecDeque};

/// Calls looked back at for a repetition.
const CALLS_KEPT: usize = 64;

/// States of one file that are remembered.
const STATES_KEPT: usize = 16;

/// Files whose states are remembered.
const FILES_KEPT: usize = 256;

/// Longest part of a call or an error that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 200;

/// How often each pattern may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The same call with the same result, among the latest calls.
    pub same_call: u32,
    /// The same error, one after the other.
    pub same_error: u32,
    /// Returns of one file to a content it had before.
    pub alternations: u32,
    /// Turns of words alone, one after the other.
    pub monologue: u32,
    /// Turns without a change of the workspace.
    pub no_diff: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { same_call: 6, same_error: 8, alternations: 4, monologue: 4, no_diff: 60 }
    }
}

/// What an agent was seen to do.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It called a tool, and what came of it. Polling a running program is no call of this kind.
    Called {
        /// The tool and its input.
        call: &'a str,
        /// What it said.
        result: &'a str,
        /// Whether that is an error.
        failed: bool,
    },
    /// It changed a file.
    Edited {
        /// The file.
        path: &'a str,
        /// A hash of its content before.
        before: [u8; 32],
        /// And after.
        after: [u8; 32],
    },
    /// A turn ended.
    Turn {
        /// Calls in it.
        calls: usize,
        /// A hash of all that differs from the base.
        diff: [u8; 32],
    },
}

/// A pattern that says that nothing comes of it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// The same call gives the same result again and again.
    SameCall(String, u32),
    /// The same error again and again.
    SameError(String, u32),
    /// A file goes back and forth.
    AlternatingEdits(String, u32),
    /// Words without a call.
    Monologue(u32),
    /// Nothing changes.
    NoDiff(u32),
}

impl Stuck {
    /// The name by which reports group it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SameCall(..) => "same-call",
            Self::SameError(..) => "same-error",
            Self::AlternatingEdits(..) => "alternating-edits",
            Self::Monologue(_) => "monologue",
            Self::NoDiff(_) => "no-diff",
        }
    }
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SameCall(call, times) => write!(f, "the same call with the same result {times} times: {call}"),
            Self::SameError(error, times) => write!(f, "the same error {times} times in a row: {error}"),
            Self::AlternatingEdits(path, times) => write!(f, "{path} went back {times} times to what it was before"),
            Self::Monologue(turns) => write!(f, "{turns} turns in a row without a call of a tool"),
            Self::NoDiff(turns) => write!(f, "{turns} turns or uses of tools without a change of any file"),
        }
    }
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It should be told.
    Warn(Stuck),
    /// It should be ended.
    End(Stuck),
}

/// Watches one agent.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    limits: Limits,
    calls: VecDeque<[u8; 32]>,
    error: Option<([u8; 32], u32)>,
    files: BTreeMap<String, File>,
    monologue: u32,
    diff: Option<([u8; 32], u32)>,
}

#[derive(Clone, Debug, Default)]
struct File {
    states: VecDeque<[u8; 32]>,
    returns: u32,
}

impl Watch {
    /// With these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes what was seen.
    pub fn see(&mut self, seen: Seen<'_>) -> Option<Verdict> {
        match seen {
            Seen::Called { call, result, failed } => self.called(call, result, failed),
            Seen::Edited { path, before, after } => self.edited(path, before, after),
            Seen::Turn { calls, diff } => self.turn(calls, diff),
        }
    }

    fn called(&mut self, call: &str, result: &str, failed: bool) -> Option<Verdict> {
        let same = hash(&[call, result]);
        push(&mut self.calls, same, CALLS_KEPT);
        let times = count(self.calls.iter().filter(|&&other| other == same).count());
        let repeated = verdict(times, self.limits.same_call, || Stuck::SameCall(shown(call), times));
        let error = failed.then(|| hash(&[&without_numbers(result)]));
        let times = match (error, self.error) {
            (Some(error), Some((last, times))) if error == last => times + 1,
            (Some(_), _) => 1,
            (None, _) => 0,
        };
        self.error = error.map(|error| (error, times));
        let failing = verdict(times, self.limits.same_error, || Stuck::SameError(shown(result), times));
        worse(repeated, failing)
    }

    fn edited(&mut self, path: &str, before: [u8; 32], after: [u8; 32]) -> Option<Verdict> {
        if before == after {
            return None;
        }
        if self.files.len() >= FILES_KEPT && !self.files.contains_key(path) {
            self.files.pop_first();
        }
        let file = self.files.entry(path.to_owned()).or_default();
        if file.states.back() != Some(&before) {
            push(&mut file.states, before, STATES_KEPT);
        }
        if !file.states.contains(&after) {
            push(&mut file.states, after, STATES_KEPT);
            return None;
        }
        push(&mut file.states, after, STATES_KEPT);
        file.returns += 1;
        let returns = file.returns;
        verdict(returns, self.limits.alternations, || Stuck::AlternatingEdits(shown(path), returns))
    }

    fn turn(&mut self, calls: usize, diff: [u8; 32]) -> Option<Verdict> {
        self.monologue = if calls == 0 { self.monologue + 1 } else { 0 };
        let turns = match self.diff {
            Some((last, turns)) if last == diff => turns + 1,
            _ => 0,
        };
        self.diff = Some((diff, turns));
        let words = self.monologue;
        worse(
            verdict(words, self.limits.monologue, || Stuck::Monologue(words)),
            verdict(turns, self.limits.no_diff, || Stuck::NoDiff(turns)),
        )
    }
}

fn verdict(times: u32, limit: u32, stuck: impl FnOnce() -> Stuck) -> Option<Verdict> {
    if times >= limit {
        Some(Verdict::End(stuck()))
    } else if times == limit.div_ceil(2) {
        Some(Verdict::Warn(stuck()))
    } else {
        None
    }
}

/// Of two verdicts on the same thing the one that holds.
pub fn worse(one: Option<Verdict>, two: Option<Verdict>) -> Option<Verdict> {
    match (one, two) {
        (Some(Verdict::Warn(_)), Some(two @ Verdict::End(_))) => Some(two),
        (Some(one), _) => Some(one),
        (None, two) => two,
    }
}

fn push(ring: &mut VecDeque<[u8; 32]>, item: [u8; 32], max: usize) {
    if ring.len() == max {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// An error that only differs in a line number, a time or an address is the same one.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn shown(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    longhaul_common::text::clip_head(line.trim(), SHOWN_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { same_call: 4, same_error: 4, alternations: 2, monologue: 3, no_diff: 5 };

    /// `c:x=r` a call and its result, `e:x=r` a failed one, `f:p:a>b` an edit, `t:3:d` a turn.
    fn verdicts(script: &str) -> Vec<String> {
        let mut watch = Watch::new(LIMITS);
        let state = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
        let mut found = Vec::new();
        for (step, word) in (1..).zip(script.split_whitespace()) {
            let (kind, rest) = word.split_once(':').expect("a kind");
            let verdict = match kind {
                "c" | "e" => {
                    let (call, result) = rest.split_once('=').expect("a result");
                    watch.see(Seen::Called { call, result, failed: kind == "e" })
                }
                "f" => {
                    let (path, change) = rest.split_once(':').expect("a path");
                    let (before, after) = change.split_once('>').expect("a change");
                    watch.see(Seen::Edited { path, before: state(before), after: state(after) })
                }
                _ => {
                    let (calls, diff) = rest.split_once(':').expect("a diff");
                    watch.see(Seen::Turn { calls: calls.parse().expect("a number"), diff: state(diff) })
                }
            };
            match verdict {
                Some(Verdict::Warn(stuck)) => found.push(format!("{step} warn {}", stuck.name())),
                Some(Verdict::End(stuck)) => found.push(format!("{step} end {}", stuck.name())),
                None => {}
            }
        }
        found
    }

    #[test]
    fn patterns_are_found_and_named() {
        for (script, wanted) in [
            ("c:ls=a c:ls=a c:ls=a c:ls=a", &["2 warn same-call", "4 end same-call"][..]),
            ("c:ls=a c:cat=b c:ls=a c:cat=c c:ls=a c:x=y c:ls=a", &["3 warn same-call", "7 end same-call"]),
            ("c:test=1 c:test=2 c:test=3 c:test=4 c:test=5", &[]),
            ("e:a=no1 e:b=no2 e:c=no3 e:d=no4", &["2 warn same-error", "4 end same-error"]),
            ("e:a=no e:b=no c:c=fine e:d=no e:f=other e:g=no", &["2 warn same-error"]),
            ("f:p:a>b f:p:b>a f:p:a>b", &["2 warn alternating-edits", "3 end alternating-edits"]),
            ("f:p:a>b f:q:b>a f:p:b>c f:p:c>d", &[]),
            ("f:p:a>a f:p:a>a f:p:a>a", &[]),
            ("t:0:x t:0:y t:0:z", &["2 warn monologue", "3 end monologue"]),
            ("t:0:x t:0:y t:1:z t:0:x t:0:y", &["2 warn monologue", "5 warn monologue"]),
            ("t:1:x t:1:x t:1:x t:1:x t:1:x t:1:x", &["4 warn no-diff", "6 end no-diff"]),
            ("t:1:x t:1:x t:1:x t:1:y t:1:y t:1:y t:1:z", &[]),
        ] {
            assert_eq!(verdicts(script), wanted, "{script}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_seen() {
        let mut watch = Watch::new(Limits { same_call: u32::MAX, alternations: u32::MAX, ..LIMITS });
        for number in 0..10_000_u32 {
            let text = number.to_string();
            let state = |n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes();
            watch.see(Seen::Called { call: &text, result: "x", failed: false });
            watch.see(Seen::Edited { path: &text, before: state(number), after: state(number + 1) });
            watch.see(Seen::Edited { path: "one", before: state(number), after: state(number + 1) });
        }
        assert!(watch.calls.len() <= CALLS_KEPT && watch.files.len() <= FILES_KEPT);
        assert!(watch.files.values().all(|file| file.states.len() <= STATES_KEPT));
    }
}
