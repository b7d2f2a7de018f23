//! Section `alerts`.

use std::time::Duration;

use super::seconds;
use crate::reader::Reader;

/// Where a new consumer group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertsStart {
    /// With what comes from then on.
    End,
    /// With everything that the topic keeps.
    Earliest,
}

/// Section `alerts`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Alerts {
    pub workers: u16,
    pub start: AlertsStart,
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    pub evaluation_deadline: Duration,
    pub memory_max: usize,
    pub faults_max: u32,
    pub cpu_per_second: Duration,
    pub cpu_burst: Duration,
    pub repeat_window: u32,
    pub instance: Option<String>,
    pub session_timeout: Duration,
}

/// Kafka's own bound for the name of a group's member.
const INSTANCE_BYTES_MAX: usize = 249;

pub(super) fn alerts(r: &Reader) -> Alerts {
    let ms = Duration::from_millis;
    let mib = |n: u64| n << 20;
    let starts = [("end", AlertsStart::End), ("earliest", AlertsStart::Earliest)];
    Alerts {
        workers: r.number("alerts.workers", 0..=256),
        start: r.choice("alerts.start", &starts, AlertsStart::End),
        batch_records_max: r.number("alerts.batch_records_max", 1..=100_000),
        batch_bytes_max: r.size("alerts.batch_bytes_max", 1024..=mib(256)),
        evaluation_deadline: r.duration("alerts.evaluation_deadline", ms(10)..=seconds(10)),
        memory_max: r.size("alerts.memory_max", mib(8)..=mib(4096)),
        faults_max: r.number("alerts.faults_max", 1..=1_000_000),
        cpu_per_second: r.duration("alerts.cpu_per_second", ms(1)..=seconds(60)),
        cpu_burst: r.duration("alerts.cpu_burst", ms(1)..=seconds(3600)),
        repeat_window: r.number("alerts.repeat_window", 0..=1_000_000),
        instance: instance(r),
        session_timeout: r.duration("alerts.session_timeout", seconds(1)..=seconds(300)),
    }
}

fn instance(r: &Reader) -> Option<String> {
    let name = r.optional("alerts.instance")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > INSTANCE_BYTES_MAX || !name.chars().all(fits) {
        r.problem("alerts.instance", "is not a name: 1 to 249 of A-Z a-z 0-9 . _ -");
    }
    Some(name)
}
