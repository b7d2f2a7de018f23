//! Snapshots: the objects as they stand, ahead of the changes from there on.

use std::sync::Arc;

use tidewire_event::{Partition, Positions};
use tidewire_wire::error::Refusal;

use super::replay::Stage;
use super::words::Word;
use super::{Now, ShardCore, Want};
use crate::event::RoutedEvent;
use crate::matching::Role;
use crate::view::{ConnectionId, EventKind};

/// So many bytes of a snapshot are given at a time.
const CHUNK_BYTES: usize = 32 * 1024;

/// The objects that a subscription asked for, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Each by the last change of it before the positions.
    pub objects: Arc<[Arc<RoutedEvent>]>,
    /// The moment: changes from here on follow.
    pub positions: Arc<Positions>,
    /// Whether these are all objects that there are.
    pub complete: bool,
}

/// A snapshot that was asked for, unique in the life of a shard: the answer to an earlier asking is for nobody,
/// whatever has the name of its subscription by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId(pub u64);

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Feed {
    snapshot: Snapshot,
    /// See [`Reader`](super::replay::Reader).
    unchecked: Vec<Partition>,
    at: usize,
    sent: u64,
}

impl ShardCore {
    /// Asks for a snapshot and lets a reader wait for it; what it waited for before is void.
    pub(super) fn want_snapshot(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let (Some(connection), Some(view)) =
            (self.connections.get(lane.connection), self.views.get(lane.view))
        else {
            return;
        };
        let Some(reader) = lane.reader.as_mut() else { return };
        self.replay.snapshots += 1;
        let snapshot = SnapshotId(self.replay.snapshots);
        reader.stage = Stage::Waiting(snapshot);
        let definition = Arc::clone(&view.key.definition);
        self.wants.push(Want::Snapshot { id: connection.id, snapshot, definition });
    }

    /// Takes the snapshot that a subscription waits for, or the reason why there is none: then its events
    /// start where it stands. False if nobody waits for this one, or it is of no use and another is asked for.
    pub fn snapshot(
        &mut self,
        id: ConnectionId,
        snapshot: SnapshotId,
        outcome: Result<Snapshot, Refusal>,
        now: Now,
    ) -> bool {
        let waits = |lane: &&usize| {
            let stage = self.reader(**lane).map(|reader| &reader.stage);
            matches!(stage, Some(Stage::Waiting(waited)) if *waited == snapshot)
        };
        let connection = self.slot(id).and_then(|slot| self.connections.get(slot));
        let Some(index) = connection.and_then(|c| c.lanes.iter().find(waits)).copied() else {
            return false;
        };
        let stage = match outcome {
            Ok(snapshot) => {
                // It may have been taken in another life of the topic, or before the log was cut.
                let Ok(unchecked) = self.doubts(&snapshot.positions) else {
                    self.want_snapshot(index);
                    return false;
                };
                Stage::Feeding(Feed { snapshot, unchecked, at: 0, sent: 0 })
            }
            Err(refusal) => {
                self.say(index, &Word::Refused(&refusal), now);
                Stage::Reading
            }
        };
        if let Some(reader) = self.lanes.get_mut(index).and_then(|l| l.reader.as_mut()) {
            reader.stage = stage;
        }
        true
    }

    /// Gives every reader with a snapshot as much of it as its socket takes.
    pub(super) fn feed_snapshots(&mut self, now: Now) {
        for index in self.replay.readers.clone() {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let (slot, view) = (lane.connection, lane.view);
            let Some(reader) = lane.reader.as_mut() else { continue };
            if !matches!(reader.stage, Stage::Feeding(_)) || !self.takes_frames(slot, view) {
                continue;
            }
            let reader = self.lanes.get_mut(index).and_then(|l| l.reader.as_mut());
            let Some(reader) = reader else { continue };
            let Stage::Feeding(mut feed) = std::mem::replace(&mut reader.stage, Stage::Reading)
            else {
                continue;
            };
            let frames = self.snapshot_frames(view, &mut feed);
            if !frames.is_empty() {
                self.charge(view, frames.len());
                self.give(slot, Arc::from(frames));
            }
            let is_through = feed.at == feed.snapshot.objects.len();
            let Some(reader) = self.lanes.get_mut(index).and_then(|l| l.reader.as_mut()) else {
                continue;
            };
            if is_through {
                reader.next = (*feed.snapshot.positions).clone();
                reader.unchecked = feed.unchecked;
                let (complete, objects) = (feed.snapshot.complete, feed.sent);
                self.say(index, &Word::SnapshotEnd { complete, objects }, now);
            } else {
                reader.stage = Stage::Feeding(feed);
            }
        }
    }

    fn snapshot_frames(&mut self, view: usize, feed: &mut Feed) -> Vec<u8> {
        let mut frames = Vec::new();
        let Some(view) = self.views.get(view) else { return frames };
        let bytes_max = CHUNK_BYTES.min(self.settings.limits.queue_bytes_max / 4);
        while let Some(object) = feed.snapshot.objects.get(feed.at) {
            if frames.len() >= bytes_max.max(1) {
                break;
            }
            feed.at += 1;
            if !view.key.class.may_read(object.route.object_type.as_str()) {
                continue;
            }
            self.encoders.begin();
            // One whose body is broken was told of as a gap when it came, and cannot be shown.
            if let Some(body) = self.encoders.body(view.encoder, object, Role::Main) {
                feed.sent += 1;
                let kind = EventKind::Snapshot;
                view.key.framing.push_event(&mut frames, kind, body, &view.suffix);
            }
        }
        frames
    }
}
