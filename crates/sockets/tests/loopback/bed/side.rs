//! The shard's side of a connection: what its messages mean, and what a test sees of it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use tidewire_event::{Offset, Partition, Positions};
use tidewire_fields::FieldMask;
use tidewire_router::{SnapshotId, SubId};
use tidewire_sockets::{Client, Closed, Reaction};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::CloseCode;

use super::PATIENCE;

/// What the shard's side of a connection said.
pub(crate) struct Side {
    pub(crate) expires_at: i64,
    /// When it wants to be called, once.
    pub(crate) time_at: AtomicI64,
    mask: FieldMask,
    texts: Sender<String>,
    proofs: Sender<(i64, bool)>,
    wanted: Sender<SnapshotId>,
    closed: Sender<Closed>,
    /// `wait` makes the shard's thread wait for this.
    gate: Receiver<()>,
}

impl Client for Side {
    fn on_text(&self, text: &str, _: i64) -> Reaction {
        self.texts.send(text.to_owned()).unwrap();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "mask" => {
                let sub = (!rest.is_empty()).then(|| SubId::from(rest));
                Reaction::SetMask(sub, Some(self.mask.clone()))
            }
            "reset" => Reaction::SetMask(None, None),
            "tell" => Reaction::Tell(br#"{"told":true}"#.to_vec()),
            "await" => Reaction::Await(tidewire_event::FrameId {
                partition: Partition(0),
                offset: Offset(rest.parse().unwrap()),
            }),
            "forbid" => Reaction::Close(CloseCode::Forbidden),
            "wait" => {
                self.gate.recv_timeout(PATIENCE).unwrap();
                Reaction::Ignore
            }
            _ => Reaction::Ignore,
        }
    }

    fn expires_at(&self) -> i64 {
        self.expires_at
    }

    fn on_closed(&self, why: Closed) {
        self.closed.send(why).unwrap();
    }

    fn on_proof(&self, positions: &Arc<Positions>, busy: bool) {
        let next = positions.get(Partition(0)).unwrap().next.0;
        self.proofs.send((next, busy)).unwrap();
    }

    fn on_snapshot_wanted(&self, snapshot: SnapshotId, _: &Arc<Definition>) {
        self.wanted.send(snapshot).unwrap();
    }

    fn wants_time_at(&self) -> i64 {
        self.time_at.load(Ordering::SeqCst)
    }

    fn on_time(&self, _: i64) -> Reaction {
        self.time_at.store(i64::MAX, Ordering::SeqCst);
        Reaction::Tell(br#"{"time":true}"#.to_vec())
    }
}

/// Says when it is dropped: nothing of the connection is left then.
pub(crate) struct Permit(pub(crate) Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// What a test sees of the shard's side.
pub(crate) struct Watch {
    pub(crate) texts: Receiver<String>,
    /// What was proven: the next offset, and whether anything was sent before.
    pub(crate) proofs: Receiver<(i64, bool)>,
    pub(crate) wanted: Receiver<SnapshotId>,
    closed: Receiver<Closed>,
    /// How often `on_closed` was called, as far as the test has looked.
    told: Cell<usize>,
    pub(crate) gone: Receiver<()>,
    pub(crate) gate: Sender<()>,
}

/// Both ends.
pub(crate) fn side(mask: FieldMask, expires_at: i64) -> (Side, Permit, Watch) {
    let (texts, texts_seen) = bounded(4096);
    let (proofs, proofs_seen) = bounded(4096);
    let (wanted, wanted_seen) = bounded(16);
    let (closed, closed_seen) = bounded(4);
    let (gate_seen, gate) = bounded(1);
    let (permit, gone) = bounded(1);
    let time_at = AtomicI64::new(i64::MAX);
    let side = Side { expires_at, time_at, mask, texts, proofs, wanted, closed, gate };
    let watch = Watch {
        texts: texts_seen,
        proofs: proofs_seen,
        wanted: wanted_seen,
        closed: closed_seen,
        told: Cell::new(0),
        gone,
        gate: gate_seen,
    };
    (side, Permit(permit), watch)
}

impl Watch {
    pub(crate) fn closed(&self) -> Closed {
        self.told.set(self.told.get() + 1);
        self.closed.recv_timeout(PATIENCE).expect("nobody said that it closed")
    }

    pub(crate) fn closed_already(&self) -> Option<Closed> {
        let why = self.closed.try_recv().ok();
        self.told.set(self.told.get() + usize::from(why.is_some()));
        why
    }

    pub(crate) fn gone(&self) {
        self.gone.recv_timeout(PATIENCE).expect("the permit is still held");
        assert_eq!(self.told.get() + self.closed.try_iter().count(), 1, "told of its end once");
    }

    pub(crate) fn text(&self) -> String {
        self.texts.recv_timeout(PATIENCE).expect("no text came")
    }

    pub(crate) fn proof(&self) -> (i64, bool) {
        self.proofs.recv_timeout(PATIENCE).expect("nothing was proven")
    }
}
