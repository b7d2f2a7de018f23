//! Snapshots: the objects as they stand, ahead of the changes from there on.

use std::sync::Arc;

use tidewire_event::Positions;
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

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Feed {
    snapshot: Snapshot,
    at: usize,
    sent: u64,
}

impl ShardCore {
    pub(super) fn want_snapshot(&mut self, lane: usize) {
        let Some(lane) = self.lanes.get(lane) else { return };
        let (Some(connection), Some(view)) =
            (self.connections.get(lane.connection), self.views.get(lane.view))
        else {
            return;
        };
        self.wants.push(Want::Snapshot {
            id: connection.id,
            sub: view.key.sub.clone(),
            definition: Arc::clone(&view.key.definition),
        });
    }

    /// Takes the snapshot that a subscription waits for, or the reason why there is none: then its events
    /// start where it stands.
    pub fn snapshot(
        &mut self,
        id: ConnectionId,
        sub: Option<&str>,
        outcome: Result<Snapshot, Refusal>,
        now: Now,
    ) {
        let Some(index) = self.slot(id).and_then(|slot| self.lane(slot, sub)) else { return };
        let here = self.positions.topic().clone();
        let Some(reader) = self.lanes.get_mut(index).and_then(|l| l.reader.as_mut()) else {
            return;
        };
        if !matches!(reader.stage, Stage::Waiting) {
            return;
        }
        match outcome {
            // Taken in an earlier life of the topic.
            Ok(snapshot) if *snapshot.positions.topic() != here => self.want_snapshot(index),
            Ok(snapshot) => reader.stage = Stage::Feeding(Feed { snapshot, at: 0, sent: 0 }),
            Err(refusal) => {
                reader.stage = Stage::Reading;
                self.say(index, &Word::Refused(&refusal), now);
            }
        }
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
