//! Alerts: runs each alert script once per change, cluster-wide, and writes what fires.
//!
//! A member of a consumer group over the change topic. One thread ([`driver`]) owns the stage: it takes a
//! batch, reads the changes that some script wants ([`change`]), has the scripts run in worker processes
//! ([`evaluate`]), makes records of what fired ([`outputs`]), and commits them with the batch's positions
//! in one transaction. A tenant whose scripts take long waits by itself ([`late`]). Which scripts there are, and which are left out, is [`scripts`]; it follows the
//! control topic ([`control`]) and writes back which ones were disabled ([`states`]).
//!
//! Invariants: a change is committed together with the alerts that it fired, or not at all; a script harms
//! nobody but itself; nothing here needs Redis. See `docs/adr/0014-alerts-exactly-once.md`.

pub mod backtest;
mod budget;
mod change;
mod collect;
mod control;
mod driver;
mod evaluate;
#[cfg(test)]
mod fixtures;
mod health;
mod late;
mod leash;
mod options;
mod outputs;
mod repeats;
mod scripts;
mod service;
mod states;
pub mod wiring;
mod worker;

pub use control::ControlTopic;
pub use driver::PoisonSink;
pub use options::{AlertsOptions, stage_options, worker_options};
pub use scripts::LastError;
pub use service::{Alerts, AlertsParts, Input, InputFactory};
pub use worker::script_worker;
