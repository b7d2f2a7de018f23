//! Changes of the simulated fleet, as events of the engine and as records of the topic.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{OldImage, Operation, RecordHeader, RecordKey, Tenant};
use tidewire_fleet::{Change, Fleet};
use tidewire_log::NewRecord;
use tidewire_script::Event;

use super::workspace::TENANT;

/// The fleet that every run has.
const SEED: u64 = 7;
const START_MS: i64 = 1_790_000_000_000;
/// Between two changes, on the fleet's clock.
const STEP_MS: i64 = 1_000;
/// Changes among which those that are asked for have to be found.
const CHANGES_MAX: usize = 200_000;

/// A fleet whose changes come one a second, on its own clock.
pub(super) struct Changes {
    fleet: Fleet,
    now_ms: i64,
}

impl Changes {
    pub(super) fn new() -> Result<Self> {
        let tenant = Tenant::new(TENANT).context("no name of a tenant")?;
        Ok(Self { fleet: Fleet::new(SEED, START_MS, &tenant), now_ms: START_MS })
    }

    fn next(&mut self) -> Change {
        self.now_ms += STEP_MS;
        self.fleet.next(self.now_ms)
    }

    /// So many changes that trigger scripts of these types and operations.
    pub(super) fn events(
        &mut self,
        count: usize,
        triggers: &[(String, String)],
    ) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for _ in 0..CHANGES_MAX {
            let change = self.next();
            let is_wanted = triggers.iter().any(|(object_type, operations)| {
                object_type == change.object_type.as_str()
                    && operations.contains(change.operation.letter())
            });
            if is_wanted {
                events.push(Event {
                    body: Arc::new(Body::parse(body(&change), BodyLimits::default())?),
                    object_type: change.object_type,
                    operation: change.operation,
                    changed_by: Some(change.changed_by),
                });
            }
            if events.len() == count {
                break;
            }
        }
        ensure!(events.len() == count, "the fleet has few changes of {triggers:?}");
        Ok(events)
    }

    /// The next changes as capture writes them.
    pub(super) fn records(&mut self, count: usize) -> Vec<NewRecord> {
        (0..count).map(|_| record(&self.next())).collect()
    }

    /// The next updates of one type, as capture writes them.
    pub(super) fn updates_of(&mut self, object_type: &str, count: usize) -> Result<Vec<NewRecord>> {
        let mut records = Vec::new();
        for _ in 0..CHANGES_MAX {
            let change = self.next();
            if change.object_type.as_str() == object_type && change.operation == Operation::Update {
                records.push(record(&change));
            }
            if records.len() == count {
                return Ok(records);
            }
        }
        anyhow::bail!("the fleet has few updates of {object_type}")
    }
}

fn record(change: &Change) -> NewRecord {
    let header = RecordHeader {
        operation: change.operation,
        version: Some(change.version.clone()),
        old_image: if change.old.is_some() { OldImage::Full } else { OldImage::None },
        owners: Vec::new(),
        change_id: Some(change.id().into()),
        changed_by: Some(change.changed_by),
        source: Some("capture".into()),
    };
    let object_type = change.object_type.as_str();
    NewRecord {
        key: Bytes::from(RecordKey::format(TENANT, object_type, &change.key.to_string())),
        header: Some(Bytes::from(header.format())),
        timestamp_ms: Some(change.changed_at_ms),
        payload: Some(body(change)),
    }
}

/// `{"new":...,"old":...}`.
fn body(change: &Change) -> Bytes {
    let image = |image: &Option<serde_json::Value>| {
        image.as_ref().map_or_else(|| "null".to_owned(), ToString::to_string)
    };
    Bytes::from(format!("{{\"new\":{},\"old\":{}}}", image(&change.new), image(&change.old)))
}
