//! What is written of evaluated changes.

use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::OldImage;
use tidewire_log::{NewRecord, StageError, WriteError};
use tidewire_script::{AlertRecord, ScriptError, ScriptErrorKind as Kind};
use tidewire_telemetry::AlertsMetrics;
use tracing::error;

use crate::change::Change;
use crate::evaluate::{Evaluated, Fired};
use crate::scripts::Scripts;

/// The alerts of some changes, and their records.
pub(crate) struct Outputs {
    topic_id: String,
    changes: Vec<Change>,
    /// With the place of the change among them.
    fired: Vec<(usize, Fired)>,
    has_images: Vec<bool>,
    records: Vec<NewRecord>,
}

impl Outputs {
    pub(crate) fn new(topic_id: &str, evaluated: Vec<Evaluated>) -> Self {
        let (mut changes, mut fired, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for Evaluated { change, fired: of_change } in evaluated {
            for one in of_change {
                records.push(record(topic_id, &change, &one, true));
                fired.push((changes.len(), one));
            }
            changes.push(change);
        }
        let has_images = vec![true; fired.len()];
        Self { topic_id: topic_id.to_owned(), changes, fired, has_images, records }
    }

    pub(crate) fn records(&self) -> &[NewRecord] {
        &self.records
    }

    /// Mends an output that cannot be written: one that is too large goes without the images of the
    /// change; whatever cannot be written even so is a fault of its script, and left out.
    pub(crate) fn mend(
        &mut self,
        output: usize,
        reason: &WriteError,
        scripts: &Scripts,
        metrics: &AlertsMetrics,
    ) {
        let Some((change, fired)) = self.fired.get(output) else { return };
        if *reason == WriteError::TooLarge
            && self.has_images.get(output) == Some(&true)
            && let Some(change) = self.changes.get(*change)
            && let Some(place) = self.records.get_mut(output)
        {
            *place = record(&self.topic_id, change, fired, false);
            if let Some(has_images) = self.has_images.get_mut(output) {
                *has_images = false;
            }
            metrics.images_left_out.inc();
            return;
        }
        let script = Arc::clone(&fired.script);
        error!(tenant = %script.tenant, script = script.code(), %reason, "an alert cannot be written");
        let wrong = ScriptError::new(Kind::Size, format!("the alert cannot be written: {reason}"));
        scripts.note(&script, Some(&wrong));
        self.fired.remove(output);
        self.has_images.remove(output);
        self.records.remove(output);
    }
}

/// Which output a refused commit names.
pub(crate) fn refused(error: &StageError) -> Option<(usize, &WriteError)> {
    match error {
        StageError::Refused { output, reason } => Some((*output, reason)),
        _ => None,
    }
}

fn record(topic_id: &str, change: &Change, fired: &Fired, with_images: bool) -> NewRecord {
    let body = Some(&*change.event.body).filter(|_| with_images && change.has_images);
    let alert = AlertRecord {
        script: &fired.script,
        message: &fired.message,
        topic_id,
        change: change.id,
        object_type: &change.event.object_type,
        object_key: &change.key,
        operation: change.event.operation,
        old_image: if body.is_some() { change.old_image } else { OldImage::None },
        changed_by: change.event.changed_by,
        body,
    };
    NewRecord {
        key: Bytes::from(alert.key()),
        header: Some(Bytes::from(alert.header())),
        // Kafka says -1 where there is none.
        timestamp_ms: (change.time_ms >= 0).then_some(change.time_ms),
        payload: Some(Bytes::from(alert.value())),
    }
}
