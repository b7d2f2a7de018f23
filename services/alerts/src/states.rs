//! Writes the states of disabled scripts to the control topic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_log::{LogWriter, NewRecord};
use tidewire_runtime::Shutdown;
use tracing::warn;

use crate::scripts::Scripts;

/// Between two tries, while Kafka is away.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// At the end, for what is still to be written.
const LAST_TRY_MAX: Duration = Duration::from_secs(5);

/// Writes what there is, and what comes, until told to stop; then once more.
pub(crate) async fn keep_written(
    scripts: Arc<Scripts>,
    writer: Arc<dyn LogWriter>,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            () = scripts.unwritten_grew.notified() => {}
            () = shutdown.cancelled() => break,
        }
        while !write_all(&scripts, &*writer).await {
            tokio::select! {
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
                () = shutdown.cancelled() => break,
            }
        }
        if shutdown.is_cancelled() {
            break;
        }
    }
    // What stays unwritten is found out again by whoever runs the scripts next.
    let _ = tokio::time::timeout(LAST_TRY_MAX, write_all(&scripts, &*writer)).await;
}

/// True if all is written.
async fn write_all(scripts: &Scripts, writer: &dyn LogWriter) -> bool {
    let mut is_done = true;
    for state in scripts.unwritten() {
        let record = NewRecord {
            key: Bytes::from(state.key()),
            header: None,
            timestamp_ms: None,
            payload: Some(Bytes::from(state.value())),
        };
        match writer.write(record).await {
            Ok(_) => scripts.set_written(&state),
            Err(error) => {
                let (tenant, script) = (&state.tenant, &state.code);
                warn!(%tenant, script, %error, "the state of a disabled script is not written yet");
                is_done = false;
            }
        }
    }
    is_done
}
