//! The section `alerts` of the configuration, as the service needs it.

use std::ffi::OsString;
use std::time::Duration;

use tidewire_config::{AlertsStart, Settings};
use tidewire_kafka::{BeginAt, StageOptions};
use tidewire_log::BatchLimits;
use tidewire_sandbox::{WORKER_ARGUMENT, WorkerOptions};
use tidewire_script::FAULTS_MAX;

/// The group's name behind `kafka.group_prefix`.
const GROUP: &str = "alerts";
/// Of a run's deadline, the engine takes so much; it costs no process when it stops a script.
const ENGINE_PERCENT: u32 = 70;
/// Of a run's deadline, the process may take so much before it is killed: looking takes time too.
const PROCESS_PERCENT: u32 = 85;
/// How long a batch may take before the group gives the partitions to others. A tenant's CPU is bounded
/// by its quota, so this is far more than a batch of few tenants can take.
const BATCH_TIME_MAX: Duration = Duration::from_secs(300);

/// The default of `alerts.repeat_window`.
pub(crate) const REPEAT_WINDOW: u32 = 10_000;

/// What bounds the scripts.
#[derive(Clone, Debug)]
pub struct AlertsOptions {
    /// The processes that run scripts, and what one run may use.
    pub workers: WorkerOptions,
    /// Faults in a row after which a script is disabled (`alerts.faults_max`).
    pub faults_max: u32,
    /// CPU time of a tenant in each second (`alerts.cpu_per_second`).
    pub cpu_per_second: Duration,
    /// CPU time that a tenant can save up (`alerts.cpu_burst`).
    pub cpu_burst: Duration,
    /// Records of a partition in which a change published again is known (`alerts.repeat_window`).
    pub repeat_window: u32,
}

impl AlertsOptions {
    /// The defaults of the configuration, for these processes.
    #[must_use]
    pub const fn new(workers: WorkerOptions) -> Self {
        Self {
            workers,
            faults_max: FAULTS_MAX,
            cpu_per_second: Duration::from_millis(500),
            cpu_burst: Duration::from_secs(5),
            repeat_window: REPEAT_WINDOW,
        }
    }

    /// What the configuration says.
    ///
    /// # Errors
    /// If the system does not tell which binary runs: workers are that binary.
    pub fn of(settings: &Settings) -> std::io::Result<Self> {
        let alerts = &settings.alerts;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if alerts.workers == 0 { cores } else { usize::from(alerts.workers) };
        Ok(Self {
            workers: worker_options(count, alerts.evaluation_deadline, alerts.memory_max as u64)?,
            faults_max: alerts.faults_max,
            cpu_per_second: alerts.cpu_per_second,
            cpu_burst: alerts.cpu_burst,
            repeat_window: alerts.repeat_window,
        })
    }
}

/// Processes of the binary that runs, in which a run of a script is stopped within this CPU time and
/// memory. The binary's `main` must begin with [`crate::script_worker`].
///
/// # Errors
/// If the system does not tell which binary that is.
pub fn worker_options(
    count: usize,
    deadline: Duration,
    memory_max: u64,
) -> std::io::Result<WorkerOptions> {
    let engine_ms = (deadline * ENGINE_PERCENT / 100).as_millis().max(1);
    let arguments: Vec<OsString> = vec![WORKER_ARGUMENT.into(), engine_ms.to_string().into()];
    let mut options = WorkerOptions::of(std::env::current_exe()?, arguments, count);
    options.cpu_max = deadline * PROCESS_PERCENT / 100;
    options.wall_max = options.wall_max.max(deadline * 20);
    options.memory_max = memory_max;
    Ok(options)
}

/// What the stage between the two topics is told.
#[must_use]
pub fn stage_options(settings: &Settings) -> StageOptions {
    let (alerts, kafka) = (&settings.alerts, &settings.kafka);
    let mut options =
        StageOptions::new(GROUP, kafka.changes_topic.clone(), kafka.alerts_topic.clone());
    options.begin = match alerts.start {
        AlertsStart::End => BeginAt::End,
        AlertsStart::Earliest => BeginAt::Earliest,
    };
    options.instance.clone_from(&alerts.instance);
    options.session_timeout = alerts.session_timeout;
    options.batch_time_max = BATCH_TIME_MAX;
    options.batch = BatchLimits {
        records: alerts.batch_records_max,
        bytes: alerts.batch_bytes_max,
        ..BatchLimits::default()
    };
    options
}
