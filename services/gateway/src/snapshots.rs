//! Snapshots on subscribe: the objects as they stand, ahead of the changes from there on.
//!
//! [`SnapshotSource`] is the port; until there is a projection, [`Folded`] reads the change topic from the
//! first record that is kept up to where the router stands, and folds it. What retention has removed is
//! not in it, so such a snapshot says that it is not complete.

use std::sync::Arc;
use std::time::Duration;

use tidewire_event::{NextOffset, Position, Positions};
use tidewire_log::{HistoryAnswer, HistoryRequest, LogHistory};
use tidewire_model::Model;
use tidewire_router::{ConnectionId, Fold, FoldTooLarge, Snapshot, SnapshotId};
use tidewire_sockets::{Command, ShardHandle};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::Refusal;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::shared::{Shared, deliver};

/// Folds that run at a time.
const FOLDS_MAX: usize = 2;
/// How long a subscription waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a fold asks again while Kafka is away.
const TRIES_MAX: usize = 3;

/// Makes a reader of what the topic keeps.
pub type HistoryFactory = Arc<dyn Fn() -> anyhow::Result<Box<dyn LogHistory>> + Send + Sync>;

/// Takes snapshots. Blocks; called on a thread that may.
pub(crate) trait SnapshotSource: Send + Sync {
    /// The objects of a definition as they stood at `at` or later.
    ///
    /// # Errors
    /// What the client is told: too large, not available.
    fn take(&self, definition: &Definition, at: &Arc<Positions>) -> Result<Snapshot, Refusal>;
}

/// Folds the change topic.
pub(crate) struct Folded {
    pub(crate) model: Arc<Model>,
    pub(crate) history: HistoryFactory,
    pub(crate) limit: FoldTooLarge,
}

impl SnapshotSource for Folded {
    fn take(&self, definition: &Definition, at: &Arc<Positions>) -> Result<Snapshot, Refusal> {
        let mut log = (self.history)().map_err(|error| unavailable(&error))?;
        let mut fold = Fold::new(Arc::clone(&self.model), definition, self.limit);
        for (partition, end) in at.iter() {
            let mut from = Position::at(NextOffset(0));
            let mut tries = 0;
            while from.next < end.next {
                match log.read(HistoryRequest { partition, from }) {
                    Ok(HistoryAnswer::Segment(segment)) => {
                        for record in segment.records_from(from.next) {
                            if record.offset.0 >= end.next.0 {
                                break;
                            }
                            fold.take(&record).map_err(|error| too_large(&error))?;
                        }
                        from = segment.to();
                        tries = 0;
                    }
                    // What retention has removed.
                    Ok(HistoryAnswer::Gap { next, .. }) if next > from.next => {
                        from = Position::at(next);
                    }
                    Ok(HistoryAnswer::Gap { .. }) => break,
                    Err(error) if tries == TRIES_MAX => return Err(unavailable(&error)),
                    Err(_) => tries += 1,
                }
            }
        }
        Ok(Snapshot { objects: fold.finish(), positions: Arc::clone(at), complete: false })
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    warn!(error = %error, "a snapshot could not be taken");
    Refusal::unavailable("no snapshot can be taken at the moment", 5)
}

fn too_large(error: &FoldTooLarge) -> Refusal {
    Refusal { retry_after: None, ..Refusal::too_many(error.to_string(), 0) }
}

/// Takes the snapshots of a replica, a few at a time.
pub(crate) struct Snapshots {
    source: Arc<dyn SnapshotSource>,
    turns: Arc<Semaphore>,
}

impl Snapshots {
    pub(crate) fn new(source: Arc<dyn SnapshotSource>) -> Self {
        Self { source, turns: Arc::new(Semaphore::new(FOLDS_MAX)) }
    }

    /// Takes one for a subscription and hands it over, or the reason why there is none.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        shard: ShardHandle,
        id: ConnectionId,
        snapshot: SnapshotId,
        definition: Arc<Definition>,
    ) {
        let shared = Arc::clone(shared);
        let tasks = shared.tasks.clone();
        tasks.spawn_detached("snapshot", async move {
            let outcome = shared.snapshots.take(&shared, definition).await;
            deliver(&shard, Command::Snapshot(id, snapshot, Box::new(outcome)));
        });
    }

    async fn take(
        &self,
        shared: &Shared,
        definition: Arc<Definition>,
    ) -> Result<Snapshot, Refusal> {
        let turns = Arc::clone(&self.turns);
        let turn = tokio::time::timeout(PATIENCE, turns.acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Refusal::unavailable("too many snapshots are being taken", 10));
        };
        let Some(at) = shared.planes.objects.router.status().positions else {
            return Err(Refusal::unavailable("the log has not been read yet", 2));
        };
        let source = Arc::clone(&self.source);
        let taken = tokio::task::spawn_blocking(move || {
            let taken = source.take(&definition, &at);
            drop(turn);
            taken
        });
        taken.await.unwrap_or_else(|_| Err(Refusal::internal("the snapshot failed")))
    }
}
