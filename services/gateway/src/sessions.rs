//! The named sessions of the sockets held here.
//!
//! One task owns them: it writes field lists to the store, asks every few seconds whether the sessions
//! are still this replica's, closes sockets whose session another one took, and gives sessions up when
//! their sockets end. A store that is away costs nothing but the saving, which is tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidewire_router::ConnectionId;
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, ShardHandle};
use tidewire_store::{OwnerToken, SessionId, SessionWrite, Store, WriteOutcome};
use tidewire_telemetry::GatewayMetrics;
use tidewire_telemetry::metrics::{SessionOutcome, StoreOperation};
use tidewire_wire::error::CloseCode;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::shared::deliver;

/// How often ownership is looked at, so that a socket whose session was taken learns it in time.
const CHECK_INTERVAL: Duration = Duration::from_secs(4);
/// Messages that may wait for the task. One too many is dropped: a session that was not given up runs
/// out by its TTL, a field list that was not saved is missed after a reconnect (and counted).
const MESSAGES_MAX: usize = 65_536;

/// A claim of a session.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) id: SessionId,
    pub(crate) owner: OwnerToken,
}

enum Message {
    Hold(ConnectionId, Claim, ShardHandle),
    Save(ConnectionId, Option<String>),
    Release(ConnectionId),
}

/// Reaches the task.
#[derive(Clone)]
pub(crate) struct Sessions {
    sender: Option<Sender<Message>>,
    metrics: GatewayMetrics,
}

impl Sessions {
    /// Starts the task; without a store there is none.
    pub(crate) fn start(
        store: Option<&Arc<dyn Store>>,
        metrics: &GatewayMetrics,
        tasks: &Tasks,
    ) -> Self {
        let sender = store.map(|store| {
            let (sender, receiver) = channel(MESSAGES_MAX);
            let keeper = Keeper {
                store: Arc::clone(store),
                metrics: metrics.clone(),
                held: HashMap::new(),
                by_session: HashMap::new(),
            };
            tasks.spawn("sessions", keeper.run(receiver, tasks.shutdown().clone()));
            sender
        });
        Self { sender, metrics: metrics.clone() }
    }

    /// A socket holds a session from here on. One that held it here before is closed.
    pub(crate) fn hold(&self, connection: ConnectionId, claim: Claim, shard: ShardHandle) {
        self.tell(Message::Hold(connection, claim, shard));
    }

    /// The socket's field list changed; `None`: it has none any more.
    pub(crate) fn save(&self, connection: ConnectionId, fields: Option<String>) {
        self.tell(Message::Save(connection, fields));
    }

    /// The socket has ended.
    pub(crate) fn release(&self, connection: ConnectionId) {
        self.tell(Message::Release(connection));
    }

    fn tell(&self, message: Message) {
        let Some(sender) = &self.sender else { return };
        if sender.try_send(message).is_err() {
            self.metrics.store_errors.inc(StoreOperation::SessionWrite);
            warn!("a session's change was dropped: too many wait for the store");
        }
    }
}

struct Held {
    claim: Claim,
    shard: ShardHandle,
    /// A field list that is not in the store yet.
    unsaved: Option<Option<String>>,
}

struct Keeper {
    store: Arc<dyn Store>,
    metrics: GatewayMetrics,
    held: HashMap<ConnectionId, Held>,
    by_session: HashMap<SessionId, ConnectionId>,
}

impl Keeper {
    async fn run(mut self, mut receiver: Receiver<Message>, shutdown: tidewire_runtime::Shutdown) {
        let mut tick = interval(CHECK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return,
                },
                _ = tick.tick() => self.check().await,
                () = shutdown.cancelled() => {
                    while let Ok(message) = receiver.try_recv() {
                        self.handle(message).await;
                    }
                    return;
                }
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Hold(connection, claim, shard) => {
                let before = self.by_session.insert(claim.id.clone(), connection);
                if let Some(before) = before {
                    self.taken(before);
                }
                self.held.insert(connection, Held { claim, shard, unsaved: None });
            }
            Message::Save(connection, fields) => {
                if let Some(held) = self.held.get_mut(&connection) {
                    held.unsaved = Some(fields);
                    self.save(connection).await;
                }
            }
            Message::Release(connection) => {
                self.save(connection).await;
                if let Some(Held { claim, .. }) = self.forget(connection)
                    && self.store.release(claim.id, claim.owner).await.is_err()
                {
                    self.metrics.store_errors.inc(StoreOperation::SessionRelease);
                }
            }
        }
    }

    /// Saves what is unsaved of a session.
    async fn save(&mut self, connection: ConnectionId) {
        let Some(held) = self.held.get_mut(&connection) else { return };
        let Some(fields) = held.unsaved.clone() else { return };
        let Claim { id, owner } = held.claim.clone();
        let write = SessionWrite { fields: Some(fields), ..SessionWrite::check(id, owner) };
        match self.store.write(vec![write]).await.map(|outcomes| outcomes.first().copied()) {
            Ok(Some(WriteOutcome::Lost)) => self.taken(connection),
            Ok(_) => held.unsaved = None,
            Err(e) => {
                self.metrics.store_errors.inc(StoreOperation::SessionWrite);
                warn!(error = %e, connection_id = connection.0, "a field list waits to be saved");
            }
        }
    }

    async fn check(&mut self) {
        let unsaved: Vec<_> =
            self.held.iter().filter(|(_, h)| h.unsaved.is_some()).map(|(id, _)| *id).collect();
        for connection in unsaved {
            self.save(connection).await;
        }
        let (connections, claims): (Vec<_>, Vec<_>) = self
            .held
            .iter()
            .map(|(id, h)| (*id, SessionWrite::check(h.claim.id.clone(), h.claim.owner)))
            .unzip();
        if claims.is_empty() {
            return;
        }
        match self.store.write(claims).await {
            Ok(outcomes) => {
                for (connection, outcome) in connections.into_iter().zip(outcomes) {
                    if outcome == WriteOutcome::Lost {
                        self.taken(connection);
                    }
                }
            }
            Err(_) => self.metrics.store_errors.inc(StoreOperation::SessionWrite),
        }
    }

    /// Another socket has the session: this one is closed.
    fn taken(&mut self, connection: ConnectionId) {
        if let Some(held) = self.forget(connection) {
            self.metrics.sessions.inc(SessionOutcome::Taken);
            deliver(&held.shard, Command::Close(connection, CloseCode::SessionTaken));
        }
    }

    fn forget(&mut self, connection: ConnectionId) -> Option<Held> {
        let held = self.held.remove(&connection)?;
        if self.by_session.get(&held.claim.id) == Some(&connection) {
            self.by_session.remove(&held.claim.id);
        }
        Some(held)
    }
}
