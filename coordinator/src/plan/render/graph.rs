//! Graphviz and Mermaid. Boxes have names of our own (`n0`, `n1`, …); what a user wrote stands only
//! in quoted labels, escaped for each language.

use std::fmt::Write as _;

use super::PlanView;
use super::unit::{Unit, units};

impl PlanView<'_> {
    /// The plan as a Graphviz digraph.
    pub fn dot(&self) -> String {
        let (units, arrows) = units(self);
        let mut out = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for (at, unit) in units.iter().enumerate() {
            let label: Vec<String> = unit.label.iter().map(|line| dot_text(line)).collect();
            let mut style = format!("label=\"{}\"", label.join("\\n"));
            if let Some(fill) = colour(unit) {
                let _infallible = write!(style, ", style=filled, fillcolor=\"{fill}\"");
            } else if unit.behind_pilot {
                style.push_str(", style=dashed");
            }
            if unit.critical {
                style.push_str(", penwidth=2");
            }
            let _infallible = writeln!(out, "  n{at} [{style}];");
        }
        for (from, to) in arrows {
            let _infallible = writeln!(out, "  n{from} -> n{to};");
        }
        out.push_str("}\n");
        out
    }

    /// The plan as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let (units, arrows) = units(self);
        let mut out = String::from("flowchart LR\n");
        for (at, unit) in units.iter().enumerate() {
            let label: Vec<String> = unit.label.iter().map(|line| mermaid_text(line)).collect();
            let _infallible = writeln!(out, "  n{at}[\"{}\"]{}", label.join("<br/>"), class(unit));
        }
        for (from, to) in arrows {
            let _infallible = writeln!(out, "  n{from} --> n{to}");
        }
        out.push_str(
            "  classDef landed fill:#b7e4c7\n  classDef reuse fill:#d8e2ff\n  classDef waiting stroke-dasharray: 4\n",
        );
        out
    }
}

fn colour(unit: &Unit) -> Option<&'static str> {
    match unit.state.as_str() {
        "landed" => Some("#b7e4c7"),
        "reuse" => Some("#d8e2ff"),
        _ => None,
    }
}

fn class(unit: &Unit) -> &'static str {
    match unit.state.as_str() {
        "landed" => ":::landed",
        "reuse" => ":::reuse",
        _ if unit.behind_pilot => ":::waiting",
        _ => "",
    }
}

/// Inside a quoted string of Graphviz.
fn dot_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

/// Inside a quoted label of Mermaid, which knows entities with `#` and reads some characters as
/// markup even there.
fn mermaid_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' | '*' | '_' | '{' | '}' | '[' | ']' => {
                let _infallible = write!(out, "#{};", c as u32);
            }
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
        out
    })
}
