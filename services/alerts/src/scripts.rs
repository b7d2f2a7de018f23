//! The scripts in force, and which of them are left out.
//!
//! The registry is what the control topic says. Who runs scripts adds to it: a script that fails again and
//! again, or uses too much, is disabled here at once, and its state is written to the control topic, from
//! which every replica and gateway learns it. A state that cannot be written is tried again for as long as
//! it is true.
//!
//! Faults are counted as runs end. A batch that is handed out again has its faults counted again: a script
//! is disabled a little sooner then, never later.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tidewire_event::{Operation, Tenant};
use tidewire_runtime::Clock;
use tidewire_script::{
    Applied, Disabled, FaultVerdict, Faults, Found, Registry, Script, ScriptError,
    ScriptErrorKind as Kind, ScriptState, StoredError,
};
use tidewire_telemetry::AlertsMetrics;
use tidewire_telemetry::metrics::{ControlOutcome, DisableReason, ScriptFault};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::AlertsOptions;
use crate::budget::Budgets;
use crate::leash::Leashes;

/// Most last errors that are kept.
const LAST_ERRORS_MAX: usize = 10_000;
/// At most one warning in this time for each script.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

type Name = (Tenant, Arc<str>);

struct Blame {
    faults: Faults,
    budgets: Budgets,
    leashes: Leashes,
    last_errors: HashMap<Name, LastError>,
    disabled: HashSet<Name>,
}

/// The last fault of a script on this replica.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The version that failed.
    pub version: u64,
    /// When, in unix seconds.
    pub at: i64,
    /// What went wrong. Its reason may hold values of the object: it is for the owner, not for a log.
    pub error: ScriptError,
    warned_at: Instant,
}

/// The scripts of all tenants.
pub(crate) struct Scripts {
    registry: RwLock<Registry>,
    blame: Mutex<Blame>,
    unwritten: Mutex<HashMap<Name, ScriptState>>,
    pub(crate) unwritten_grew: Notify,
    metrics: AlertsMetrics,
    clock: Clock,
    started: Instant,
}

impl Scripts {
    pub(crate) fn new(options: &AlertsOptions, metrics: AlertsMetrics, clock: Clock) -> Self {
        let blame = Blame {
            faults: Faults::new(options.faults_max),
            budgets: Budgets::new(options.cpu_per_second, options.cpu_burst),
            leashes: Leashes::default(),
            last_errors: HashMap::new(),
            disabled: HashSet::new(),
        };
        Self {
            registry: RwLock::default(),
            blame: Mutex::new(blame),
            unwritten: Mutex::default(),
            unwritten_grew: Notify::new(),
            metrics,
            started: clock.now(),
            clock,
        }
    }

    fn now(&self) -> Duration {
        self.clock.now().duration_since(self.started)
    }

    fn unix_seconds(&self) -> i64 {
        i64::try_from(self.clock.unix_ms() / 1000).unwrap_or(i64::MAX)
    }

    /// The enabled scripts that such a change triggers.
    pub(crate) fn triggered(
        &self,
        tenant: &str,
        object_type: &str,
        operation: Operation,
    ) -> Vec<Arc<Script>> {
        self.registry.read().triggered(tenant, object_type, operation).to_vec()
    }

    /// Whether this version is still the one in force, and enabled.
    pub(crate) fn is_enabled(&self, script: &Script) -> bool {
        let found = self.registry.read().get(&script.tenant, script.code());
        found.is_some_and(|f| f.script.version == script.version && f.disabled.is_none())
    }

    pub(crate) fn get(&self, tenant: &Tenant, code: &str) -> Option<Found> {
        self.registry.read().get(tenant, code)
    }

    pub(crate) fn len(&self) -> usize {
        self.registry.read().len()
    }

    pub(crate) fn last_error(&self, tenant: &Tenant, code: &str) -> Option<LastError> {
        self.blame.lock().last_errors.get(&(tenant.clone(), Arc::from(code))).cloned()
    }

    /// Applies a record of the control topic.
    ///
    /// # Errors
    /// The record changed nothing.
    pub(crate) fn apply(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<ControlOutcome, StoredError> {
        let applied = self.registry.write().apply(key, value)?;
        let outcome = match applied {
            Applied::Other => return Ok(ControlOutcome::Other),
            Applied::Nothing => ControlOutcome::Passed,
            Applied::Saved(script) => {
                let (tenant, code, version) = (&script.tenant, script.code(), script.version);
                debug!(%tenant, script = code, version, "a script was saved");
                self.start_anew(&script.tenant, &script.record.code);
                ControlOutcome::Applied
            }
            Applied::Enabled(script) => {
                info!(tenant = %script.tenant, script = script.code(), "a script is enabled again");
                self.start_anew(&script.tenant, &script.record.code);
                ControlOutcome::Applied
            }
            Applied::Deleted(tenant, code) => {
                debug!(%tenant, script = &*code, "a script was deleted");
                self.start_anew(&tenant, &code);
                ControlOutcome::Applied
            }
            Applied::Disabled(script, _) => {
                info!(tenant = %script.tenant, script = script.code(), "a script is disabled");
                self.note_state(&script.tenant, &script.record.code);
                ControlOutcome::Applied
            }
        };
        self.show();
        Ok(outcome)
    }

    fn start_anew(&self, tenant: &Tenant, code: &Arc<str>) {
        {
            let mut blame = self.blame.lock();
            blame.faults.forget(tenant, code);
            blame.budgets.forget(tenant, code);
            blame.leashes.forget(tenant, code);
            blame.last_errors.remove(&(tenant.clone(), Arc::clone(code)));
        }
        self.note_state(tenant, code);
    }

    /// Keeps the list of disabled scripts, which is for the metric.
    fn note_state(&self, tenant: &Tenant, code: &Arc<str>) {
        let is_disabled = self.get(tenant, code).is_some_and(|found| found.disabled.is_some());
        let name = (tenant.clone(), Arc::clone(code));
        let disabled = &mut self.blame.lock().disabled;
        if is_disabled {
            disabled.insert(name);
        } else {
            disabled.remove(&name);
        }
    }

    fn show(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.scripts.set(gauge(self.len()));
        self.metrics.scripts_disabled.set(gauge(self.blame.lock().disabled.len()));
        self.metrics.states_unwritten.set(gauge(self.unwritten.lock().len()));
    }

    /// How many scripts of the tenant go into one call of a worker.
    pub(crate) fn per_call(&self, tenant: &Tenant) -> usize {
        self.blame.lock().budgets.scripts_per_call(tenant, self.now())
    }

    /// Which of these scripts, all of one tenant, have the whole deadline from the start.
    pub(crate) fn are_long(&self, scripts: &[Arc<Script>]) -> Vec<bool> {
        self.blame.lock().leashes.are_long(scripts)
    }

    /// Whether a run that has not ended within a short time may have the whole deadline.
    pub(crate) fn may_be_long(&self, script: &Script) -> bool {
        self.blame.lock().leashes.may_be_long(script, self.now())
    }

    /// Notes that a run with the whole deadline ended well after so much CPU.
    pub(crate) fn note_end(&self, script: &Script, cpu: Duration) {
        self.blame.lock().leashes.note_end(script, cpu);
    }

    /// Notes how a run ended.
    pub(crate) fn note(&self, script: &Script, error: Option<&ScriptError>) {
        let verdict = {
            let mut blame = self.blame.lock();
            let verdict = blame.faults.note(script, error);
            if error.is_some_and(|error| error.kind.is_limit()) {
                let is_short = blame.leashes.is_short(&script.tenant, self.now());
                blame.leashes.note_limit(script, self.now());
                if is_short { FaultVerdict::Disable } else { verdict }
            } else {
                verdict
            }
        };
        let Some(error) = error else { return };
        self.metrics.script_faults.inc(label(error.kind));
        if !error.kind.is_fault_of_script() {
            return;
        }
        self.keep(script, error);
        if verdict == FaultVerdict::Disable {
            self.disable(script, error.clone(), DisableReason::Faults);
        }
    }

    fn keep(&self, script: &Script, error: &ScriptError) {
        let now = self.clock.now();
        let name = (script.tenant.clone(), Arc::clone(&script.record.code));
        let mut blame = self.blame.lock();
        let warned_at = blame.last_errors.get(&name).map(|last| last.warned_at);
        let is_due = warned_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL);
        let warned_at = warned_at.filter(|_| !is_due).unwrap_or(now);
        let (version, at) = (script.version, self.unix_seconds());
        let last = LastError { version, at, error: error.clone(), warned_at };
        if blame.last_errors.len() < LAST_ERRORS_MAX || blame.last_errors.contains_key(&name) {
            blame.last_errors.insert(name, last);
        }
        drop(blame);
        // Not the reason: it may hold values of the object.
        let (tenant, code, kind) = (&script.tenant, script.code(), error.kind.as_str());
        let (line, column) = (error.line, error.column);
        if is_due {
            warn!(%tenant, script = code, version, kind, line, column, "a script failed");
        } else {
            debug!(%tenant, script = code, version, kind, line, column, "a script failed");
        }
    }

    /// Takes what a call has cost, and disables what the tenant cannot pay for.
    pub(crate) fn charge(&self, scripts: &[Arc<Script>], cpu: Duration) {
        let Some(first) = scripts.first() else { return };
        let (tenant, now) = (&first.tenant, self.now());
        self.blame.lock().budgets.charge(scripts, cpu, now);
        loop {
            let dearest = self.blame.lock().budgets.overdrawn(tenant, now);
            let Some(code) = dearest else { return };
            if let Some(Found { script, disabled: None }) = self.get(tenant, &code) {
                let reason = "the scripts of the tenant used more CPU than they may \
                              (alerts.cpu_per_second, alerts.cpu_burst), and this one most of it";
                let error = ScriptError::new(Kind::Deadline, reason);
                self.keep(&script, &error);
                self.disable(&script, error, DisableReason::Quota);
            }
        }
    }

    fn disable(&self, script: &Script, error: ScriptError, reason: DisableReason) {
        let kind = error.kind.as_str();
        let (tenant, code) = (script.tenant.clone(), Arc::clone(&script.record.code));
        let state = ScriptState {
            tenant: tenant.clone(),
            code: code.to_string(),
            version: script.version,
            disabled: Disabled { at: self.unix_seconds(), error },
        };
        {
            let mut registry = self.registry.write();
            // The state of another version must not be replaced.
            let in_force = registry.get(&tenant, &code).is_some_and(|found| {
                found.script.version == script.version && found.disabled.is_none()
            });
            let (key, value) = (state.key(), state.value());
            if !in_force || registry.apply(key.as_bytes(), Some(value.as_bytes())).is_err() {
                return;
            }
        }
        self.metrics.disables.inc(reason);
        warn!(%tenant, script = &*code, version = script.version, kind, ?reason,
            "a script is disabled: its owner has to look at it");
        self.note_state(&tenant, &code);
        self.unwritten.lock().insert((tenant, code), state);
        self.unwritten_grew.notify_one();
        self.show();
    }

    /// The states that are to be written. What is true no more is dropped.
    pub(crate) fn unwritten(&self) -> Vec<ScriptState> {
        let states: Vec<ScriptState> = self.unwritten.lock().values().cloned().collect();
        let is_true = |state: &ScriptState| {
            let found = self.get(&state.tenant, &state.code);
            found.is_some_and(|f| f.script.version == state.version && f.disabled.is_some())
        };
        let (due, void): (Vec<_>, Vec<_>) = states.into_iter().partition(is_true);
        void.iter().for_each(|state| self.set_written(state));
        due
    }

    /// Nothing is left to be written of this state.
    pub(crate) fn set_written(&self, state: &ScriptState) {
        let name = (state.tenant.clone(), Arc::from(state.code.as_str()));
        {
            let mut unwritten = self.unwritten.lock();
            if unwritten.get(&name).is_some_and(|kept| kept == state) {
                unwritten.remove(&name);
            }
        }
        self.show();
    }
}

const fn label(kind: Kind) -> ScriptFault {
    match kind {
        Kind::Compile => ScriptFault::Compile,
        Kind::Type => ScriptFault::Type,
        Kind::Runtime => ScriptFault::Runtime,
        Kind::Operations => ScriptFault::Operations,
        Kind::Size => ScriptFault::Size,
        Kind::Deadline => ScriptFault::Deadline,
        Kind::Memory => ScriptFault::Memory,
        Kind::Crash => ScriptFault::Crash,
        Kind::Message => ScriptFault::Message,
        Kind::Unavailable => ScriptFault::Unavailable,
    }
}
