//! Those who catch up, and what follows the events of the others: cursors, marks, proofs.

use std::time::{Duration, Instant};

use tidewire_router::{ConnectionId, HistoryOutcome, HistoryReply, Want};
use tidewire_wire::error::Refusal;

use super::Shard;
use crate::socket::Socket;

impl Shard {
    /// Feeds those who catch up, puts cursors and marks behind what was routed, and carries out what the
    /// core wants.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let clocks = self.clocks(now);
        self.replay_in = self.core.replay(clocks).map(Duration::from_millis);
        self.core.settle(clocks);
        for want in self.core.take_wants() {
            match want {
                Want::History { topic, request } => {
                    if !self.outlets.ports.history.ask(self.outlets.index, &topic, request) {
                        let outcome = HistoryOutcome::Unavailable;
                        self.core.history(&HistoryReply { topic, request, outcome }, clocks);
                    }
                }
                Want::Snapshot { id, snapshot, definition } => match self.socket(id) {
                    Some(socket) => socket.client.on_snapshot_wanted(snapshot, &definition),
                    // Its stream is still to come, and with it whoever could be asked.
                    None => {
                        let refusal = Refusal::unavailable("no snapshot can be taken yet", 2);
                        self.core.snapshot(id, snapshot, Err(refusal), clocks);
                    }
                },
            }
        }
        for proof in self.core.take_proofs() {
            if let Some(socket) = self.socket(proof.id) {
                socket.client.on_proof(&proof.positions, proof.busy);
            }
        }
    }

    fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        self.sockets.get(self.core.slot(id)?)
    }
}
