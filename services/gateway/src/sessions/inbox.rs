//! What happened to the sessions of sockets since the keeper looked last.

use std::collections::HashMap;
use std::sync::Arc;

use tidewire_event::Positions;

use super::Claim;

/// A socket that holds a session.
pub(super) struct Opened {
    pub(super) claim: Claim,
    /// Closes it, as another has the session.
    pub(super) close: Box<dyn Fn() + Send>,
}

/// The news, at most one entry for each connection.
#[derive(Default)]
pub(super) struct Inbox {
    news: HashMap<u64, News>,
}

/// The news of one connection. They happened in this order.
#[derive(Default)]
pub(super) struct News {
    pub(super) opened: Option<Opened>,
    pub(super) fields: Option<Option<String>>,
    pub(super) proven: Option<(Arc<Positions>, bool)>,
    pub(super) released: bool,
}

impl Inbox {
    pub(super) fn open(&mut self, connection: u64, opened: Opened) {
        self.of(connection).opened = Some(opened);
    }

    /// The news of a connection, to be added to.
    pub(super) fn of(&mut self, connection: u64) -> &mut News {
        self.news.entry(connection).or_default()
    }

    /// Takes all of them out.
    pub(super) fn empty(&mut self) -> impl Iterator<Item = (u64, News)> + use<> {
        std::mem::take(&mut self.news).into_iter()
    }
}

impl News {
    /// A connection's proofs come from its shard, in order: the last is the one that counts.
    pub(super) fn prove(&mut self, positions: &Arc<Positions>, busy: bool) {
        let before = self.proven.take().is_some_and(|(_, busy)| busy);
        self.proven = Some((Arc::clone(positions), busy || before));
    }
}
