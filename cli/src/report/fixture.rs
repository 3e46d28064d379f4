//! Jobs made up for tests: one with every outcome, one with any number of subtasks, a hostile one.

use std::collections::BTreeMap;

use longhaul_proto::{Budget, GateRow, JobStatus, ParkRow, Receipt, ReceiptMember, RunningRow, SubtaskRow};

use super::{ReportInput, input::count};

/// 2026-03-01 22:00:00Z.
pub const START_MS: i64 = 1_772_402_400_000;

/// A text that tries every way out of a page, a terminal and a document.
pub const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[31m|`x`|\"'&]]>--><!--\u{202e}\u{0}\u{7}{{ 7*7 }}\r\n# h";

fn hash(n: u64) -> String {
    let word = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{word:016x}{:016x}{:08x}", word.rotate_left(23), n)
}

/// A job of `total` subtasks over `maps` maps, run `lanes` at a time, with every outcome.
pub fn job(total: u64, maps: u64, lanes: u64) -> ReportInput {
    let mut free = vec![START_MS + 40_000; lanes as usize];
    let rows: Vec<SubtaskRow> = (0..total).map(|n| row(n, maps, &mut free)).collect();
    let receipts = receipts(&rows);
    let status = status(&rows, &receipts);
    let generated_ms = free.iter().copied().max().unwrap_or(START_MS) + 60_000;
    let tails = [
        (
            7,
            "running 214 tests\ntest parser::tests::nested ... FAILED\n\nassertion `left == right` failed\n  left: 3\n right: 4\n\ntest result: FAILED. 213 passed; 1 failed\n",
        ),
        (receipts.last().map_or(1, |receipt| receipt.gate), "test result: ok. 214 passed; 0 failed\n"),
    ];
    let gate_tails: BTreeMap<u64, String> = tails.into_iter().map(|(gate, text)| (gate, text.to_owned())).collect();
    ReportInput { status, rows, receipts, generated_ms, gate_tails }
}

fn row(n: u64, maps: u64, free: &mut [i64]) -> SubtaskRow {
    let (state, reason) = match n % 30 {
        7 => ("failed", "check failed: `cargo check` exited with 101"),
        19 if n % 60 == 19 => ("failed", "wrote outside its footprint: src/lib.rs"),
        11 => ("parked", "conflict in src/parser/mod.rs after 3 attempts"),
        23 => ("unchanged", ""),
        26 => ("skipped", "depends on a subtask that failed"),
        _ => ("landed", ""),
    };
    let lane = (0..free.len()).min_by_key(|lane| free[*lane]).expect("a job has lanes");
    let took = 20_000 + ((n * 7_919) % 211) as i64 * 900 + if n.is_multiple_of(13) { 240_000 } else { 0 };
    let ran = state != "skipped";
    let started = if ran { free[lane] } else { 0 };
    if ran {
        free[lane] += took + 1_500;
    }
    let landed = state == "landed";
    let map = ["lazy", "serde-derive", "error-types", "logging", "clock"].get((n % maps.max(1)) as usize % 5);
    let map = match (maps, map) {
        (0, _) => String::new(),
        (1..=5, Some(name)) => (*name).to_owned(),
        _ => format!("map-{:03}", n % maps),
    };
    let attempts = if ran { 1 + u32::from(n % 9 == 4) + u32::from(n % 30 == 11) * 2 } else { 0 };
    SubtaskRow {
        id: format!("{}-module_{n:02}", if map.is_empty() { "task" } else { &map }),
        state: state.into(),
        attempts,
        reason: reason.into(),
        spent_ms: if ran { took as u64 } else { 0 },
        tokens: if ran && n.is_multiple_of(3) { 9_000 + n * 131 % 40_000 } else { 0 },
        usd_micros: if ran && n.is_multiple_of(3) { 21_000 + n * 977 % 90_000 } else { 0 },
        commit: if landed { hash(n) } else { String::new() },
        merge: if landed { hash(n / 8 + 1_000) } else { String::new() },
        agent: if !ran {
            ""
        } else if n.is_multiple_of(3) {
            "coder"
        } else {
            "rules"
        }
        .into(),
        files: u32::from(landed) * (1 + (n % 4) as u32),
        lines_added: if landed { 4 + n * 37 % 90 } else { 0 },
        lines_removed: if landed { 2 + n * 17 % 60 } else { 0 },
        started_ms: started,
        finished_ms: if ran { started + took } else { 0 },
        landed_ms: 0,
        map,
        ..SubtaskRow::default()
    }
}

fn receipts(rows: &[SubtaskRow]) -> Vec<Receipt> {
    let landed: Vec<&SubtaskRow> = rows.iter().filter(|row| row.state == "landed").collect();
    landed
        .chunks(8)
        .zip(1_u64..)
        .map(|(members, batch)| Receipt {
            format: 1,
            batch,
            merge: hash(batch + 1_000),
            tree: hash(batch + 2_000),
            gate_command: "cargo test --workspace".into(),
            gate: batch * 2,
            log_hash: hash(batch + 3_000),
            flaky: batch % 5 == 3,
            unproven: batch % 4 == 1,
            at_ms: members.iter().map(|row| row.finished_ms).max().unwrap_or(0) + 35_000,
            duration_ms: 31_000 + batch * 777,
            members: members
                .iter()
                .map(|row| ReceiptMember {
                    subtask: row.id.clone(),
                    attempt_commit: row.commit.clone(),
                    agent: row.agent.clone(),
                    protected_touched: if batch == 2 { vec!["tests/api.rs".into()] } else { vec![] },
                    ..ReceiptMember::default()
                })
                .collect(),
            ..Receipt::default()
        })
        .collect()
}

fn status(rows: &[SubtaskRow], receipts: &[Receipt]) -> JobStatus {
    let sum = |key: fn(&SubtaskRow) -> u64| rows.iter().map(key).sum();
    let park = |(n, row): (usize, &SubtaskRow)| ParkRow {
        subtask: row.id.clone(),
        park: n as u64 + 1,
        reason: "conflict".into(),
        text: row.reason.clone(),
        ..ParkRow::default()
    };
    JobStatus {
        job: "lazy-lock-20260301".into(),
        goal: "Replace lazy_static with std::sync::LazyLock".into(),
        phase: "partial".into(),
        generation: 1,
        counts: Some(count(rows)),
        parked: rows.iter().filter(|row| row.state == "parked").enumerate().map(park).collect(),
        base: hash(1),
        tip: hash(2),
        branch: "longhaul/lazy-lock-20260301".into(),
        started_ms: START_MS,
        elapsed_ms: 4_320_000,
        attempts: sum(|row| row.attempts.into()),
        tokens: sum(|row| row.tokens),
        usd_micros: sum(|row| row.usd_micros),
        gates_run: receipts.len() as u64 * 2 + 3,
        landings: receipts.len() as u32,
        retries: rows.iter().map(|row| u64::from(row.attempts.saturating_sub(1))).sum(),
        repo_path: "/home/ada/src/api".into(),
        source_path: "/home/ada/src/api/longhaul.toml".into(),
        closed_ms: START_MS + 4_320_000,
        base_gate_green: true,
        budget: Some(Budget { usd_micros: 50_000_000, ..Budget::default() }),
        failures: BTreeMap::from([("check".to_owned(), 4), ("conflict".to_owned(), 6)]),
        ..JobStatus::default()
    }
}

/// A running job for the live view: `running` subtasks of 60.
pub fn running(running: u64) -> JobStatus {
    let mut status = job(60, 1, 8).status;
    let step = ["agent", "check", "setup", "commit"];
    status.phase = "running".into();
    status.live = true;
    status.eta_ms = 480_000;
    status.running = (0..running)
        .map(|n| RunningRow {
            subtask: format!("lazy-module_{n:02}"),
            attempt: n + 1,
            attempt_number: 1 + u32::from(n % 3 == 1),
            since_ms: START_MS + 4_000 * n as i64,
            step: step[(n % 4) as usize].into(),
            line: "\u{1b}[32m   Compiling\u{1b}[0m api v0.3.1 (/work/slot-3/api) 世界".into(),
            slow: n == 0,
        })
        .collect();
    status.gates = vec![GateRow { gate: 12, purpose: "batch".into(), members: 8, since_ms: START_MS }];
    if let Some(counts) = &mut status.counts {
        counts.running = running as u32;
        counts.landed = counts.landed.saturating_sub(running as u32);
    }
    status
}

/// A small job whose every text is [`HOSTILE`].
pub fn hostile() -> ReportInput {
    let mut input = job(12, 2, 2);
    for row in &mut input.rows {
        for text in [&mut row.id, &mut row.map, &mut row.reason, &mut row.agent, &mut row.merge, &mut row.commit] {
            *text = HOSTILE.into();
        }
    }
    for receipt in &mut input.receipts {
        let ReceiptMember { subtask, protected_touched, .. } = &mut receipt.members[0];
        *subtask = HOSTILE.into();
        *protected_touched = vec![HOSTILE.into()];
        for text in [&mut receipt.merge, &mut receipt.tree, &mut receipt.gate_command, &mut receipt.log_hash] {
            *text = HOSTILE.into();
        }
    }
    let status = &mut input.status;
    for text in [
        &mut status.job,
        &mut status.goal,
        &mut status.phase,
        &mut status.phase_reason,
        &mut status.branch,
        &mut status.tip,
        &mut status.repo_path,
    ] {
        *text = HOSTILE.into();
    }
    status.warnings = vec![HOSTILE.into()];
    status.failures = BTreeMap::from([(HOSTILE.to_owned(), 1)]);
    input.gate_tails.insert(99, format!("{HOSTILE}\n```\n"));
    input
}
