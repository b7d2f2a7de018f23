//! The named sessions of the sockets held here.
//!
//! Shards and handshakes leave their news in a box that they lock for the time of one insertion; it holds
//! at most one entry for each connection. Once a second, and soon after a session's first proof, one task
//! ([`keeper`]) empties the box into a [`SessionBook`](tidewire_store::SessionBook) and writes what is due
//! in one call of the store. A store that hangs or is away holds up nobody: the news add up in the book,
//! and are written later.

mod inbox;
mod keeper;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;
use tidewire_event::{CursorKey, Positions};
use tidewire_router::ConnectionId;
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, ShardHandle};
use tidewire_store::{OwnerToken, SessionId, Store};
use tidewire_telemetry::GatewayMetrics;
use tidewire_wire::error::CloseCode;
use tokio::sync::Notify;

use crate::shared::deliver;
use inbox::{Inbox, Opened};
use keeper::Keeper;

/// A claim of a session, and what its socket starts with.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) id: SessionId,
    pub(crate) owner: OwnerToken,
    /// The field list that stands in the store.
    pub(crate) fields: Option<String>,
    /// The position that the socket starts from.
    pub(crate) positions: Option<Arc<Positions>>,
    /// Its client is proven to have received everything before that. Otherwise it is told that the session
    /// starts now.
    pub(crate) proven: bool,
}

/// Takes the news of sessions. Every call is cheap, and waits for nothing.
#[derive(Clone)]
pub(crate) struct Sessions {
    /// `None`: there is no store.
    inbox: Option<Arc<Mutex<Inbox>>>,
    /// Wakes the keeper before its next second.
    soon: Arc<Notify>,
}

impl Sessions {
    /// Starts the task; without a store there is none.
    pub(crate) fn start(
        store: Option<&Arc<dyn Store>>,
        key: &CursorKey,
        metrics: &GatewayMetrics,
        tasks: &Tasks,
    ) -> Self {
        let soon = Arc::<Notify>::default();
        let inbox = store.map(|store| {
            let inbox = Arc::<Mutex<Inbox>>::default();
            let keeper = Keeper::new(Arc::clone(store), key.clone(), metrics.clone(), &inbox);
            tasks.spawn("sessions", keeper.run(Arc::clone(&soon), tasks.shutdown().clone()));
            inbox
        });
        Self { inbox, soon }
    }

    /// A socket holds a session from here on. One that held it here before is closed.
    pub(crate) fn hold(&self, connection: ConnectionId, claim: Claim, shard: ShardHandle) {
        let close = move || deliver(&shard, Command::Close(connection, CloseCode::SessionTaken));
        self.tell(|inbox| inbox.open(connection.0, Opened { claim, close: Box::new(close) }));
    }

    /// The socket's field list changed; `None`: it has none any more.
    pub(crate) fn save(&self, connection: ConnectionId, fields: Option<String>) {
        self.tell(|inbox| inbox.of(connection.0).fields = Some(fields));
    }

    /// The socket's client is proven to have received everything before these positions; `busy`: frames
    /// lay between these and the last.
    pub(crate) fn proven(&self, connection: ConnectionId, positions: &Arc<Positions>, busy: bool) {
        self.tell(|inbox| inbox.of(connection.0).prove(positions, busy));
    }

    /// The first proof of a new session: until it is written, who comes back is told that the session
    /// starts.
    pub(crate) fn proven_first(&self, connection: ConnectionId, positions: &Arc<Positions>) {
        self.proven(connection, positions, true);
        self.soon.notify_one();
    }

    /// The socket has ended.
    pub(crate) fn release(&self, connection: ConnectionId) {
        self.tell(|inbox| inbox.of(connection.0).released = true);
    }

    fn tell(&self, news: impl FnOnce(&mut Inbox)) {
        if let Some(inbox) = &self.inbox {
            news(&mut inbox.lock());
        }
    }
}
