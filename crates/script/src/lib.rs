//! Alert scripts, all of them but a language: the record, the registry, the message, the port to an engine.
//!
//! Pure: no I/O, no clock. A [`ScriptRecord`] is what a user writes; a [`Script`] is one that a tenant has
//! saved; the [`Registry`] folds the control topic and says which scripts an event concerns. An [`Engine`]
//! runs one script over one [`Event`] and says whether it fired; a [`Template`] makes the message of it; an
//! [`AlertRecord`] is what goes to the alerts topic. [`Faults`] and [`CpuQuota`] decide which scripts are
//! left out, [`Rehearsal`] whether one may be saved at all, and [`judge`] who may subscribe to it.
//!
//! Invariants: a value of a type defined here is valid (the checks stand in the constructors); nothing here
//! knows a language, so a second one changes no line of this crate but [`Language`]; images pass through
//! byte for byte.

mod alert;
mod date;
mod engine;
mod error;
mod event;
mod faults;
mod fields;
pub mod judge;
mod limits;
mod message;
mod names;
mod quota;
mod record;
mod references;
mod registry;
mod rehearsal;
mod samples;
mod source;
mod stored;
mod template;
mod xml;

pub use alert::{ALERT_SOURCE, ALERT_TYPE, AlertError, AlertRecord, AlertView, alert_key};
pub use date::DateTime;
pub use engine::{Engine, Outcome};
pub use error::{ScriptError, ScriptErrorKind};
pub use event::Event;
pub use faults::{FAULTS_MAX, FaultVerdict, Faults};
pub use fields::{FieldError, FieldUse, Fields, Root};
pub use limits::{
    BODY_BYTES_MAX, CODE_BYTES_MAX, DESCRIPTION_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX,
    RECORD_BYTES_MAX, RESULTS_MAX, ROLE_BYTES_MAX, SUBJECT_BYTES_MAX, TEMPLATE_BYTES_MAX,
    TRIGGERS_MAX,
};
pub use message::MessageError;
pub use quota::CpuQuota;
pub use record::{Language, MessageType, ScriptRecord, ScriptRecordError, Trigger};
pub use references::{NoReferences, References};
pub use registry::{Applied, Found, Registry, SCRIPTS_PER_TENANT_MAX};
pub use rehearsal::{Refused, Rehearsal};
pub use source::SourceId;
pub use stored::{AUTHOR_BYTES_MAX, Disabled, Script, ScriptState, StoredError};
pub use template::{SLOT_MAX, Template, TemplateError};
