//! The task that writes sessions: once a second, or sooner when asked, what is due, in one call; never two
//! calls at a time.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewire_event::{CursorKey, encode_cursor};
use tidewire_runtime::Shutdown;
use tidewire_store::{
    BookWrite, POSITION_BYTES_MAX, SessionBook, SessionWrite, Store, StoreError, WriteOutcome,
};
use tidewire_telemetry::GatewayMetrics;
use tidewire_telemetry::metrics::{SessionOutcome, SessionWriteOutcome, StoreOperation};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::warn;

use super::Claim;
use super::inbox::{Inbox, News, Opened};

/// How often the news are taken in, and what is due is written.
const TICK: Duration = Duration::from_secs(1);
/// Asked to write soon, it begins a call no sooner than so long after the last.
const SOON: Duration = Duration::from_millis(50);
/// How long one call of the store may take. Redis gives up by itself before that.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last writes may take when the replica ends.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// How often the end looks whether the last sockets have given their sessions up.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// The sessions on their way, and how the call went.
type Answer = (Vec<u64>, Result<Vec<WriteOutcome>, StoreError>);
type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

pub(super) struct Keeper {
    store: Arc<dyn Store>,
    key: CursorKey,
    metrics: GatewayMetrics,
    inbox: Arc<Mutex<Inbox>>,
    book: SessionBook,
    /// How to close the sockets that hold sessions.
    sockets: HashMap<u64, Box<dyn Fn() + Send>>,
    started: Instant,
    called: Instant,
    failing: bool,
    releases_dropped: u64,
}

impl Keeper {
    pub(super) fn new(
        store: Arc<dyn Store>,
        key: CursorKey,
        metrics: GatewayMetrics,
        inbox: &Arc<Mutex<Inbox>>,
    ) -> Self {
        let (started, inbox) = (Instant::now(), Arc::clone(inbox));
        Self {
            store,
            key,
            metrics,
            inbox,
            book: SessionBook::new(),
            sockets: HashMap::new(),
            started,
            called: started,
            failing: false,
            releases_dropped: 0,
        }
    }

    /// `soon` wakes it before its next second.
    pub(super) async fn run(mut self, soon: Arc<Notify>, shutdown: Shutdown) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut call = None;
        loop {
            tokio::select! {
                answer = answered(&mut call) => self.settle(answer),
                _ = tick.tick() => {
                    self.take_in();
                    if call.is_none() {
                        call = self.write_due();
                    }
                }
                () = asked(&soon, self.called), if call.is_none() => {
                    self.take_in();
                    call = self.write_due();
                }
                () = shutdown.cancelled() => break,
            }
        }
        if timeout(LAST_WRITES, self.end(call)).await.is_err() {
            warn!("not all sessions could be written before the end");
        }
    }

    /// Writes what is left, until the last socket has given its session up.
    async fn end(&mut self, mut call: Option<Call>) {
        loop {
            if call.is_some() {
                let answer = answered(&mut call).await;
                self.settle(answer);
            }
            self.take_in();
            if self.book.is_empty() || !self.store.available() {
                return;
            }
            let writes = self.book.due_at_last(self.now_ms());
            call = self.write(writes);
            if call.is_none() || self.failing {
                sleep(LAST_LOOK).await;
            }
        }
    }

    /// Brings the news into the book.
    fn take_in(&mut self) {
        let news = self.inbox.lock().empty();
        for (connection, News { opened, fields, proven, released }) in news {
            if let Some(Opened { claim, close }) = opened {
                let Claim { id, owner, fields, positions, proven } = claim;
                let start = (positions, proven);
                self.sockets.insert(connection, close);
                if let Some(lost) = self.book.hold(connection, id, owner, fields, start) {
                    self.taken(lost);
                }
            }
            if let Some(fields) = fields {
                self.book.save_fields(connection, fields);
            }
            if let Some((positions, busy)) = proven {
                self.book.proven(connection, positions, busy);
            }
            if released {
                self.sockets.remove(&connection);
                self.book.release(connection);
            }
        }
    }

    fn write_due(&mut self) -> Option<Call> {
        if !self.store.available() {
            return None;
        }
        let writes = self.book.due(self.now_ms());
        self.count();
        self.write(writes)
    }

    /// Begins one call of the store.
    fn write(&mut self, writes: Vec<BookWrite>) -> Option<Call> {
        if writes.is_empty() {
            return None;
        }
        let connections = writes.iter().map(|write| write.connection).collect();
        let writes = writes.into_iter().map(|write| self.encode(write)).collect();
        let written = self.store.write(writes);
        self.called = Instant::now();
        Some(Box::pin(async move {
            let answer = timeout(WRITE_TIMEOUT, written).await;
            (connections, answer.unwrap_or(Err(StoreError::Unavailable)))
        }))
    }

    fn encode(&self, write: BookWrite) -> SessionWrite {
        let BookWrite { id, owner, fields, positions, proven, release, .. } = write;
        let position = positions
            .map(|positions| encode_cursor(&self.key, &id.tenant, &positions))
            // So many partitions that no claim succeeds any more either.
            .filter(|position| position.len() <= POSITION_BYTES_MAX);
        SessionWrite { id, owner, fields, position, proven, release }
    }

    fn settle(&mut self, (connections, answer): Answer) {
        self.metrics.session_write_seconds.observe(self.called.elapsed());
        let outcomes = match answer {
            Ok(outcomes) => {
                self.failing = false;
                outcomes
            }
            Err(error) => {
                self.metrics.store_errors.inc(StoreOperation::SessionWrite);
                if !std::mem::replace(&mut self.failing, true) {
                    warn!(error = %error, "sessions wait to be written");
                }
                Vec::new()
            }
        };
        // Nothing is known of those that have no answer.
        let outcomes = outcomes.into_iter().map(Ok).chain(std::iter::repeat(Err(())));
        for (connection, outcome) in connections.into_iter().zip(outcomes) {
            self.metrics.session_writes.inc(match outcome {
                Ok(WriteOutcome::Held) => SessionWriteOutcome::Held,
                Ok(WriteOutcome::Behind) => SessionWriteOutcome::Behind,
                Ok(WriteOutcome::Lost) => SessionWriteOutcome::Lost,
                Ok(WriteOutcome::Unknown) | Err(()) => SessionWriteOutcome::Unknown,
            });
            if self.book.done(connection, outcome) {
                self.taken(connection);
            }
        }
        self.count();
    }

    /// Another socket has the session: this one is closed.
    fn taken(&mut self, connection: u64) {
        self.metrics.sessions.inc(SessionOutcome::Taken);
        if let Some(close) = self.sockets.remove(&connection) {
            close();
        }
    }

    fn count(&mut self) {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.sessions_held.set(gauge(self.book.len()));
        self.metrics.sessions_unwritten.set(gauge(self.book.failed()));
        let dropped = self.book.releases_dropped();
        let before = std::mem::replace(&mut self.releases_dropped, dropped);
        self.metrics.store_errors.add(StoreOperation::SessionRelease, dropped - before);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// It is asked to write soon, and may. If it ends before that, what it was asked for is written by then.
async fn asked(soon: &Notify, called: Instant) {
    soon.notified().await;
    sleep_until(called + SOON).await;
}

/// The answer of the call that is on its way, which is over then; never, if there is none.
async fn answered(call: &mut Option<Call>) -> Answer {
    let Some(pending) = call else { return std::future::pending().await };
    let answer = pending.await;
    *call = None;
    answer
}
