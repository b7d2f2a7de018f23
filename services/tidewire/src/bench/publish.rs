//! Writes records as capture does (contract.md, section 9).

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use tidewire_event::FrameId;
use tidewire_kafka::Writer;
use tidewire_log::{LogWriter as _, NewRecord, WriteError};
use tokio::runtime::Runtime;

use super::protocol::wall_ns;
use super::workspace::{TENANT, Workspace};

/// How long to wait when the writer's queue is full.
const FULL_WAIT: Duration = Duration::from_millis(5);
/// How long the writer waits for more.
const LINGER: Duration = Duration::from_millis(4);
/// Records written between two looks at their acknowledgements.
const CHUNK: usize = 4096;

/// Writes to one topic.
pub(super) struct Publisher {
    writer: Writer,
    runtime: Runtime,
    written: u64,
}

impl Publisher {
    pub(super) fn start(space: &Workspace, topic: &str) -> Result<Self> {
        let mut options = space.broker.options();
        // Long enough that what is published in one go is one batch.
        options.linger = LINGER;
        let writer = Writer::start(&options, topic)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { writer, runtime, written: 0 })
    }

    /// An update of an object of this type, with this body.
    pub(super) fn record(&mut self, object_type: &str, key: u64, body: &Bytes) -> NewRecord {
        self.written += 1;
        let header = format!("1;U;e:{0};none;;c{0};7;capture", self.written);
        NewRecord {
            key: Bytes::from(format!("{TENANT}/{object_type}/{key}")),
            header: Some(Bytes::from(header)),
            timestamp_ms: Some(i64::try_from(wall_ns() / 1_000_000).unwrap_or(i64::MAX)),
            payload: Some(body.clone()),
        }
    }

    /// Writes all and waits until they stand in the log.
    pub(super) fn publish(&self, records: Vec<NewRecord>) -> Result<()> {
        for chunk in records.chunks(CHUNK) {
            let outcomes: Vec<Result<FrameId, WriteError>> = self
                .runtime
                .block_on(join_all(chunk.iter().cloned().map(|r| self.writer.write(r))));
            for (record, outcome) in chunk.iter().zip(outcomes) {
                match outcome {
                    Ok(_) => {}
                    Err(WriteError::QueueFull) => {
                        std::thread::sleep(FULL_WAIT);
                        self.publish(vec![record.clone()])?;
                    }
                    Err(e) => return Err(e).context("a record was not written"),
                }
            }
        }
        Ok(())
    }
}

/// The members of its object that are numbers.
pub(super) const NUMBERS: [&str; 14] = [
    "daysBallast",
    "daysCanal",
    "daysLoading",
    "daysDischarging",
    "daysLoaded",
    "daysOffhire",
    "daysIdle",
    "daysWaiting",
    "daysTotal",
    "daysTotalAtSea",
    "daysTotalInPort",
    "commission",
    "canalCost",
    "ballastBonus",
];

/// A body of about so many bytes: an object as its source would send it.
pub(super) fn body(bytes: usize, comments: usize) -> Bytes {
    let members: String = NUMBERS.iter().map(|name| format!(r#","{name}":12.50"#)).collect();
    let comments = "c".repeat(comments);
    let mut text =
        format!(r#"{{"new":{{"key":5,"referenceNo":"R-2026-1","comments":"{comments}"{members}"#);
    let padding = bytes.saturating_sub(text.len() + 30);
    text.push_str(&format!(r#","remarks":"{}"}},"old":null}}"#, "r".repeat(padding)));
    Bytes::from(text)
}

/// A small body, for events of which only the reference is sent.
pub(super) fn small_body() -> Bytes {
    Bytes::from_static(br#"{"new":{"key":5,"referenceNo":"R-2026-1","comments":"c"},"old":null}"#)
}
