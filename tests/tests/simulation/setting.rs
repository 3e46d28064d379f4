//! What a run is made of: sizes, durations, and how much goes wrong. All times are milliseconds of
//! virtual time.

/// A second, a minute, an hour, a day.
pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

#[derive(Clone, Debug)]
pub struct Setting {
    pub seed: u64,
    /// The test to run again with `LONGHAUL_SEED`, for the words of a failure.
    pub test: &'static str,
    pub subtasks: u32,
    pub workers: u32,
    pub slots: u32,
    pub batch: u32,
    /// How long an agent works.
    pub agent_ms: (i64, i64),
    pub check_ms: (i64, i64),
    pub gate_ms: (i64, i64),
    pub presence_ms: i64,
    /// The coordinator looks at its clock at least this often.
    pub tick_ms: i64,
    /// Messages that wait in the coordinator's process are taken together after this long.
    pub group_ms: (i64, i64),
    /// Time between two faults, twice this at most; 0 for a world in which nothing goes wrong.
    pub fault_every_ms: i64,
    pub faults_until_ms: i64,
    /// The job ends at most this long after the last fault.
    pub end_within_ms: i64,
    pub snapshot_every: u64,
    /// Commits between two checks of the core's own invariants, which look at every subtask.
    pub check_every: u64,
}

impl Setting {
    /// Fifty subtasks of minutes, with a fault every twenty seconds.
    pub fn small(seed: u64, test: &'static str) -> Self {
        Self {
            seed,
            test,
            subtasks: 50,
            workers: 3 + u32::try_from(seed % 3).unwrap_or(0),
            slots: 2,
            batch: 1 + u32::try_from(seed % 8).unwrap_or(0),
            agent_ms: (SECOND, 90 * SECOND),
            check_ms: (200, 5 * SECOND),
            gate_ms: (SECOND, 20 * SECOND),
            presence_ms: 5 * SECOND,
            tick_ms: 2 * SECOND,
            group_ms: (0, 15),
            fault_every_ms: 20 * SECOND,
            faults_until_ms: 20 * MINUTE,
            end_within_ms: 12 * HOUR,
            snapshot_every: 60,
            check_every: 4,
        }
    }

    /// The same world without faults.
    pub fn quiet(seed: u64, test: &'static str) -> Self {
        Self { fault_every_ms: 0, faults_until_ms: 0, ..Self::small(seed, test) }
    }

    /// A week of ten thousand long subtasks, with a fault every quarter of an hour.
    pub fn week(seed: u64, test: &'static str) -> Self {
        Self {
            subtasks: 10_000,
            workers: 8,
            slots: 5,
            batch: 32,
            agent_ms: (3 * MINUTE, 36 * MINUTE),
            check_ms: (10 * SECOND, 10 * MINUTE),
            gate_ms: (10 * SECOND, 100 * SECOND),
            presence_ms: 14 * SECOND,
            tick_ms: 4 * SECOND,
            group_ms: (2_000, 4_000),
            fault_every_ms: 15 * MINUTE,
            faults_until_ms: 7 * DAY,
            end_within_ms: 4 * DAY,
            snapshot_every: 5_000,
            check_every: 4_000,
            ..Self::small(seed, test)
        }
    }

    pub fn has_faults(&self) -> bool {
        self.fault_every_ms > 0
    }
}
