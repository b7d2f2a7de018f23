//! The dry run before a script is saved.
//!
//! A script is run over made-up objects of each type that triggers it: one in which every field is null,
//! since one day every field is; and some in which each field has a value, of one kind or of the kind that
//! its name suggests, since the model does not say. It may be saved if no run hits a limit, the nulls do
//! it no harm, and for each trigger one of the others goes well: that it cannot compare a port's name
//! with a number is the sample's fault, not its own.
//!
//! What it reads is held against the model first: an unknown field is a slip of the pen.
//!
//! Pure: it says which events to run and judges what came of them. Who runs them is the caller.

mod sample;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_model::Model;

use crate::{Event, Fields, Outcome, ScriptError, ScriptErrorKind, ScriptRecord};
use sample::{Kind, sample};

/// Why a script is not saved: its text has line, column and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub error: ScriptError,
    /// What it was run over when it went wrong, for people; `None` where it was not run.
    pub sample: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        self.sample.as_ref().map_or(Ok(()), |sample| write!(f, " (in a dry run over {sample})"))
    }
}

impl std::error::Error for Refused {}

struct Run {
    event: Event,
    kind: Kind,
}

/// The runs that a script has to pass.
pub struct Rehearsal {
    runs: Vec<Run>,
}

impl Rehearsal {
    /// Looks at what the script reads, and makes up the events that it is to be run over.
    ///
    /// # Errors
    /// [`Refused`]: it reads a field that no type of its triggers has.
    pub fn new(record: &ScriptRecord, fields: &Fields, model: &Model) -> Result<Self, Refused> {
        let mut types: Vec<ObjectType> = Vec::new();
        for trigger in &record.triggers {
            if !types.contains(&trigger.object_type) {
                types.push(trigger.object_type.clone());
            }
        }
        fields.check(model, &types).map_err(|e| {
            let error = ScriptError::new(ScriptErrorKind::Compile, e.to_string());
            Refused { error: error.at(e.line, e.column), sample: None }
        })?;
        let mut runs = Vec::new();
        for object_type in types {
            for kind in Kind::ALL {
                let Some(body) = body(model, &object_type, kind) else { continue };
                for operation in [Operation::Create, Operation::Update, Operation::Delete] {
                    if record.is_triggered_by(object_type.as_str(), operation) {
                        let (object_type, body) = (object_type.clone(), Arc::clone(&body));
                        let changed_by = (kind != Kind::Null).then_some(1);
                        let event = Event { object_type, operation, body, changed_by };
                        runs.push(Run { event, kind });
                    }
                }
            }
        }
        Ok(Self { runs })
    }

    /// The events, in the order in which [`Self::judge`] wants the results.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.runs.iter().map(|run| &run.event)
    }

    /// Judges what the runs came to; a result that is missing counts as sound.
    ///
    /// # Errors
    /// [`Refused`]: the fault that the author has to look at.
    pub fn judge(&self, results: &[Result<Outcome, ScriptError>]) -> Result<(), Refused> {
        let runs = || self.runs.iter().zip(results);
        let faults = || runs().filter_map(|(run, result)| result.as_ref().err().map(|e| (run, e)));
        let refuse = |run: &Run, error: &ScriptError| {
            let Event { object_type, operation, .. } = &run.event;
            let sample = format!("{object_type} {operation} with {}", run.kind.words());
            Err(Refused { error: error.clone(), sample: Some(sample) })
        };
        // A limit is one whatever the values are, and null is a value that every field may have.
        let is_its_own = |run: &Run, error: &ScriptError| {
            run.kind == Kind::Null
                || !matches!(error.kind, ScriptErrorKind::Type | ScriptErrorKind::Runtime)
        };
        if let Some((run, error)) = faults().find(|(run, error)| is_its_own(run, error)) {
            return refuse(run, error);
        }
        for (run, error) in faults().filter(|(run, _)| run.kind == Kind::ByName) {
            let went_well = runs().any(|(other, result)| {
                result.is_ok()
                    && other.kind != Kind::Null
                    && other.event.object_type == run.event.object_type
                    && other.event.operation == run.event.operation
            });
            if !went_well {
                return refuse(run, error);
            }
        }
        Ok(())
    }
}

fn body(model: &Model, object_type: &ObjectType, kind: Kind) -> Option<Arc<Body>> {
    let image = sample(model, object_type.as_str(), kind);
    let text = format!("{{\"new\":{image},\"old\":{image}}}");
    Body::parse(Bytes::from(text), BodyLimits::default()).ok().map(Arc::new)
}
