//! Limits and defaults of the job file. Each is a promise to the parts behind it: what passes here
//! fits into a plan, a message and a ref name.

/// Largest job file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Most problems reported in one go; the rest is counted.
pub const PROBLEMS_MAX: usize = 100;
/// Most nodes of a plan: node ids are 32 bits wide and the whole plan is held in memory.
pub const NODES_MAX: usize = 1_000_000;
/// Parts that an agent may have a subtask split into at once.
pub const SPLIT_PARTS_MAX: u32 = 64;
/// Most edges of a plan. Two maps of 2,000 nodes, one after the other, are 4,000,000 edges.
pub const EDGES_MAX: usize = 8_000_000;
/// Most claimed paths of a plan, summed over its nodes.
pub const CLAIMS_MAX: usize = 8_000_000;
/// Longest id of a subtask in bytes.
pub const ID_BYTES_MAX: usize = 200;
/// Longest text value (goal, instructions, a constraint) in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Largest rule file or script of the job folder that is read, in bytes.
pub const INPUT_BYTES_MAX: u64 = 8 << 20;
/// Most files below one folder named as `{job_dir}/folder`.
pub const INPUT_FILES_MAX: usize = 1_000;
/// Largest file of the job folder that is carried to other machines, in bytes.
pub const CARRIED_BYTES_MAX: u64 = 1 << 20;
/// All files carried to other machines together, in bytes.
pub const CARRIED_TOTAL_BYTES_MAX: u64 = 8 << 20;
/// Most files and folders looked at for one glob of `carry`.
pub const CARRY_LOOKED_AT_MAX: usize = 10_000;
/// Most rungs of a ladder.
pub const LADDER_MAX: usize = 16;
/// Most tries of one subtask.
pub const ATTEMPTS_MAX: u32 = 100;
/// How long a session waits for a person, in milliseconds, unless `ask_wait` says otherwise.
pub const ASK_WAIT_MS_DEFAULT: u64 = 300_000;
/// Shortest such time, in milliseconds: a question takes a while to reach anybody.
pub const ASK_WAIT_MS_MIN: u64 = 1_000;
/// Longest such time, in milliseconds: it holds a slot meanwhile.
pub const ASK_WAIT_MS_MAX: u64 = 3_600_000;
/// Largest batch of a landing.
pub const BATCH_MAX: u32 = 1_000;
/// Largest number of subtasks at once.
pub const PARALLEL_MAX: u32 = 10_000;
/// Longest period in milliseconds: 31 days.
pub const PERIOD_MS_MAX: u64 = 31 * 24 * 3_600_000;

/// Tries of one subtask, unless `attempts` says otherwise.
pub const ATTEMPTS_DEFAULT: u32 = 3;
/// Wall time of an attempt or a gate in milliseconds, unless `timeout` says otherwise.
pub const TIMEOUT_MS_DEFAULT: u64 = 30 * 60_000;
/// How often work in progress of a command is saved, in milliseconds, unless `wip_every` says
/// otherwise; what may not take longer is not saved.
pub const WIP_EVERY_MS_DEFAULT: u64 = 60_000;
/// Shortest time between two saves of work in progress, in milliseconds: each is a commit.
pub const WIP_EVERY_MS_MIN: u64 = 1_000;
/// Largest batch of a landing, unless `batch` says otherwise.
pub const BATCH_DEFAULT: u32 = 8;
/// Answers of a model in one execution, unless `max_turns` says otherwise.
pub const MODEL_TURNS_DEFAULT: u32 = 200;
/// Most pieces one execution of a model may hand to sub-agents.
pub const SUBAGENTS_MAX: u64 = 100;
/// Deepest that sub-agents may hand on: each level knows less of what the work is for.
pub const SUBAGENT_DEPTH_MAX: u64 = 3;
/// Smallest window of a model, in tokens: below it a task and a summary do not fit.
pub const CONTEXT_TOKENS_MIN: u64 = 4_000;
/// Largest window of a model that is believed, in tokens.
pub const CONTEXT_TOKENS_MAX: u64 = 10_000_000;
/// Profiles of models, which the worker has.
pub const MODEL_PROFILES: [&str; 4] = ["gpt", "claude", "general", "schema"];
/// How much models can be told to reason.
pub const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// How much models can be told to say.
pub const VERBOSITIES: [&str; 3] = ["low", "medium", "high"];
/// How long a service may take to become ready, in milliseconds.
pub const READY_TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// Largest file a patch may add or change, in bytes.
pub const MAX_FILE_BYTES_DEFAULT: u64 = 5_000_000;
/// Largest number of files in a patch.
pub const MAX_FILES_DEFAULT: u32 = 2_000;
/// Captured output of a command, in bytes.
pub const MAX_OUTPUT_BYTES_DEFAULT: u64 = 1_000_000;
/// Tokens of a capsule.
pub const CAPSULE_TOKENS_DEFAULT: u64 = 8_000;

/// What a repository configures agent programs with: hooks, permissions, servers of tools, skills that they
/// load by themselves. None of it is shown to agents unless `repo.trust` names its content.
pub const PROGRAM_SETTINGS: &[&str] = &[
    ".mcp.json",
    ".claude",
    ".codex",
    ".gemini",
    ".opencode",
    "opencode.json",
    "opencode.jsonc",
    ".cursor",
    ".agents",
];
/// Where tests are, by the habits of most languages.
pub const TEST_PATHS: &[&str] = &[
    "**/tests/**",
    "**/test/**",
    "**/__tests__/**",
    "**/*_test.go",
    "**/*_test.py",
    "**/test_*.py",
    "**/conftest.py",
    "**/*.{test,spec}.{js,jsx,ts,tsx,mjs,cjs,mts,cts}",
];

/// What else no patch may touch outside its footprint, unless `policy.protect` says otherwise: CI, and what
/// decides whether a change is good.
const JUDGES: &[&str] = &[
    ".github/**",
    ".gitlab-ci.yml",
    ".gitlab/**",
    ".circleci/**",
    ".buildkite/**",
    ".ci/**",
    "ci/**",
    "Jenkinsfile",
    "azure-pipelines.yml",
    ".travis.yml",
    ".pre-commit-config.yaml",
    "**/longhaul.toml",
];

/// Globs of paths that no patch may touch outside its footprint, unless `policy.protect` says otherwise.
pub fn protect_default() -> impl Iterator<Item = String> {
    let settings = PROGRAM_SETTINGS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}/**")]);
    TEST_PATHS.iter().chain(JUDGES).map(|&glob| glob.to_owned()).chain(settings)
}

/// File names whose content decides whether `setup` runs again, unless `lockfiles` names them.
pub const LOCKFILES_DEFAULT: &[&str] = &[
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "bun.lock",
    "bun.lockb",
    "composer.lock",
    "flake.lock",
    "go.sum",
    "go.work.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "requirements.txt",
    "rust-toolchain.toml",
    "uv.lock",
    "yarn.lock",
];
