use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewire_event::{Cursor, NextOffset, Partition, Position, Tenant};
use tidewire_runtime::Shutdown;
use tidewire_store::{
    BoxFuture, Claimed, Clock, MemoryLimits, MemoryStore, SESSION_TTL, SessionStore, SessionWrite,
    StoreError, StoreHealth, StoreStatus, TicketStore, WriteOutcome,
};
use tidewire_telemetry::Registry;
use tidewire_telemetry::metrics::{SessionOutcome, SessionWriteOutcome, StoreOperation};
use tokio::time::{Instant, sleep};

use super::*;

/// How the store is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Up,
    /// It says so, and fails.
    Away,
    /// It does not say so, and fails.
    Failing,
    Slow(Duration),
    Hanging,
}

/// A store with moods, which the test may change.
#[derive(Clone)]
struct Fickle {
    memory: MemoryStore,
    mood: Arc<Mutex<Mood>>,
    calls: Arc<AtomicUsize>,
    calls_made: Arc<AtomicUsize>,
    calls_at_once_max: Arc<AtomicUsize>,
}

impl SessionStore for Fickle {
    fn claim(
        &self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> BoxFuture<Result<Claimed, StoreError>> {
        self.memory.claim(id, nonce, start)
    }

    fn write(&self, writes: Vec<SessionWrite>) -> BoxFuture<Result<Vec<WriteOutcome>, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let calls = store.calls.fetch_add(1, Ordering::Relaxed) + 1;
            store.calls_made.fetch_add(1, Ordering::Relaxed);
            store.calls_at_once_max.fetch_max(calls, Ordering::Relaxed);
            let _over = Over(Arc::clone(&store.calls));
            let mood = *store.mood.lock();
            match mood {
                Mood::Up => {}
                Mood::Away | Mood::Failing => return Err(StoreError::Unavailable),
                Mood::Slow(time) => sleep(time).await,
                Mood::Hanging => pending().await,
            }
            store.memory.write(writes).await
        })
    }
}

struct Over(Arc<AtomicUsize>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TicketStore for Fickle {
    fn put(
        &self,
        hash: [u8; 32],
        grant: String,
        ttl: Duration,
    ) -> BoxFuture<Result<(), StoreError>> {
        self.memory.put(hash, grant, ttl)
    }

    fn take(&self, hash: [u8; 32]) -> BoxFuture<Result<Option<String>, StoreError>> {
        self.memory.take(hash)
    }
}

impl StoreStatus for Fickle {
    fn health(&self) -> StoreHealth {
        StoreHealth { available: *self.mood.lock() != Mood::Away, ..StoreHealth::default() }
    }
}

/// A replica's sessions on a store.
struct World {
    store: Fickle,
    age: Arc<Mutex<Duration>>,
    sessions: Sessions,
    metrics: GatewayMetrics,
    tasks: Tasks,
    closed: Arc<Mutex<Vec<u64>>>,
}

fn key() -> CursorKey {
    CursorKey::derive(b"a secret of the tests")
}

fn id(name: u64) -> SessionId {
    SessionId {
        tenant: Tenant::new("acme").unwrap(),
        principal: "ola".into(),
        name: name.to_string(),
        definition: "Voyage/CUD/*".into(),
    }
}

fn at(next: i64) -> Arc<Positions> {
    let mut positions = Positions::new("t".into());
    positions.set(Partition(0), Position::at(NextOffset(next)));
    Arc::new(positions)
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn start() -> Self {
        let age = Arc::<Mutex<Duration>>::default();
        let clock = Arc::clone(&age);
        let clock: Clock = Arc::new(move || *clock.lock());
        let store = Fickle {
            memory: MemoryStore::with_clock(MemoryLimits::default(), clock),
            mood: Arc::new(Mutex::new(Mood::Up)),
            calls: Arc::default(),
            calls_made: Arc::default(),
            calls_at_once_max: Arc::default(),
        };
        let metrics = GatewayMetrics::register(&Registry::new()).unwrap();
        let tasks = Tasks::new(Shutdown::new());
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let sessions = Sessions::start(Some(&shared), &key(), &metrics, &tasks);
        Self { store, age, sessions, metrics, tasks, closed: Arc::default() }
    }

    fn is(&self, mood: Mood) {
        *self.store.mood.lock() = mood;
    }

    /// A socket opens the session: it claims it, and holds it from then on.
    async fn open(&self, connection: u64, session: u64) {
        let claim = self.claim(session).await;
        self.hold(connection, claim);
    }

    async fn claim(&self, session: u64) -> Claim {
        let claimed = self.store.claim(id(session), [1; 16], "x".into()).await.unwrap();
        let Claimed { owner, fields, proven, .. } = claimed;
        Claim { id: id(session), owner, fields, positions: Some(at(0)), proven }
    }

    fn hold(&self, connection: u64, claim: Claim) {
        let closed = Arc::clone(&self.closed);
        let close = Box::new(move || closed.lock().push(connection));
        self.sessions.tell(|inbox| inbox.open(connection, Opened { claim, close }));
    }

    fn proven(&self, connection: u64, next: i64) {
        self.sessions.proven(ConnectionId(connection), &at(next), true);
    }

    /// What a client that comes back finds on another replica: its field list and its position.
    async fn finds(&self, session: u64) -> (Option<String>, i64) {
        let claimed = self.store.claim(id(session), [2; 16], "x".into()).await.unwrap();
        let cursor = Cursor::decode(&claimed.position.unwrap(), &key()).unwrap();
        assert_eq!(cursor.tenant, id(session).tenant);
        (claimed.fields, cursor.positions.get(Partition(0)).unwrap().next.0)
    }

    /// How long it takes until the socket is closed.
    async fn until_closed(&self, connection: u64) -> Duration {
        let started = Instant::now();
        while !self.closed.lock().contains(&connection) {
            assert!(started.elapsed() < 60 * SECOND, "{connection} stays open");
            sleep(Duration::from_millis(10)).await;
        }
        started.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn positions_and_field_lists_are_stored() {
    let world = World::start();
    world.open(1, 1).await;
    world.open(2, 2).await;
    world.sessions.save(ConnectionId(1), Some("list".into()));
    world.proven(1, 5);
    world.proven(1, 7);
    sleep(2 * SECOND).await;
    assert_eq!(world.finds(1).await, (Some("list".into()), 7));
    // The second moves over frames; what it proves from then on is stored within 6 s.
    world.proven(2, 8);
    world.sessions.proven(ConnectionId(2), &at(9), false);
    sleep(6 * SECOND).await;
    assert_eq!(world.finds(2).await, (None, 9));
    assert!(world.metrics.session_writes.get(SessionWriteOutcome::Held) > 0);
    assert_eq!(world.metrics.store_errors.get(StoreOperation::SessionWrite), 0);
}

#[tokio::test(start_paused = true)]
async fn first_proofs_are_stored_soon_and_together() {
    let world = World::start();
    for session in 0..100 {
        world.open(session, session).await;
    }
    sleep(SECOND + SECOND / 2).await;
    let calls = || world.store.calls_made.load(Ordering::Relaxed);
    let before = calls();
    for session in 0..100 {
        world.sessions.proven_first(ConnectionId(session), &at(1));
        sleep(Duration::from_millis(3)).await;
    }
    sleep(Duration::from_millis(100)).await;
    let written = calls() - before;
    assert!((2..=8).contains(&written), "{written} calls");
    for session in 0..100 {
        let claimed = world.store.claim(id(session), [2; 16], "x".into()).await.unwrap();
        assert!(claimed.proven, "{session}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_socket_of_a_taken_session_is_closed_within_five_seconds() {
    for (slow_at, taken_at) in (0..3).flat_map(|slow| (0..40).map(move |taken| (slow, taken))) {
        let world = World::start();
        world.open(1, 1).await;
        world.open(2, 2).await;
        sleep(10 * SECOND + slow_at * SECOND).await;
        // One call is slow, before the session is taken or after.
        let started = Instant::now();
        world.is(Mood::Slow(2 * SECOND));
        world.proven(2, 1);
        let mut taken = None;
        for tenth in 0..100 {
            if tenth == 11 {
                world.is(Mood::Up);
            }
            if tenth == taken_at {
                world.claim(1).await;
                taken = Some(started.elapsed());
            }
            if world.closed.lock().contains(&1) {
                break;
            }
            sleep(SECOND / 10).await;
        }
        let took = started.elapsed() - taken.unwrap();
        assert!(took <= 5 * SECOND, "{took:?}, slow {slow_at}, taken {taken_at}");
        sleep(10 * SECOND).await;
        assert_eq!(*world.closed.lock(), [1]);
        assert_eq!(world.metrics.sessions.get(SessionOutcome::Taken), 1);
        assert_eq!(world.metrics.sessions_held.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_sockets_here_the_later_claim_stays() {
    let world = World::start();
    world.open(1, 1).await;
    sleep(2 * SECOND).await;
    world.open(2, 1).await;
    assert!(world.until_closed(1).await <= SECOND);
    // Both news come at once, and not in the order of the claims.
    let (former, latter) = (world.claim(1).await, world.claim(1).await);
    world.hold(4, latter);
    world.hold(3, former);
    world.until_closed(3).await;
    world.until_closed(2).await;
    sleep(10 * SECOND).await;
    assert_eq!(world.closed.lock().len(), 3);
    world.proven(4, 4);
    sleep(6 * SECOND).await;
    assert_eq!(world.finds(1).await.1, 4);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_costs_nothing_but_time() {
    for mood in [Mood::Away, Mood::Failing, Mood::Hanging, Mood::Slow(7 * SECOND)] {
        let world = World::start();
        world.open(1, 1).await;
        world.open(2, 2).await;
        sleep(2 * SECOND).await;
        world.is(mood);
        for second in 1..=60 {
            world.proven(1, second);
            world.sessions.save(ConnectionId(1), Some(second.to_string()));
            sleep(SECOND).await;
        }
        world.proven(2, 99);
        world.sessions.release(ConnectionId(2));
        sleep(3 * SECOND).await;
        if mood != Mood::Away {
            assert!(world.metrics.store_errors.get(StoreOperation::SessionWrite) > 0, "{mood:?}");
            assert!(world.metrics.sessions_unwritten.get() > 0, "{mood:?}");
        }
        world.is(Mood::Up);
        sleep(7 * SECOND).await;
        assert_eq!(world.metrics.sessions_held.get(), 1, "{mood:?}");
        assert_eq!(world.metrics.sessions_unwritten.get(), 0, "{mood:?}");
        assert_eq!(world.finds(1).await, (Some("60".into()), 60), "{mood:?}");
        assert_eq!(world.finds(2).await, (None, 99), "{mood:?}");
        assert_eq!(world.store.calls_at_once_max.load(Ordering::Relaxed), 1, "{mood:?}");
        assert!(world.closed.lock().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_lost_is_put_back() {
    let world = World::start();
    world.open(1, 1).await;
    world.sessions.save(ConnectionId(1), Some("list".into()));
    world.proven(1, 5);
    sleep(2 * SECOND).await;
    *world.age.lock() += SESSION_TTL;
    sleep(5 * SECOND).await;
    assert_eq!(world.finds(1).await, (Some("list".into()), 5));
    assert_eq!(world.metrics.session_writes.get(SessionWriteOutcome::Behind), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_written_before_the_end() {
    for mood in [Mood::Up, Mood::Slow(SECOND / 4), Mood::Hanging, Mood::Away] {
        let world = World::start();
        world.open(1, 1).await;
        world.open(2, 2).await;
        sleep(2 * SECOND).await;
        world.is(mood);
        world.proven(1, 8);
        world.proven(2, 9);
        world.tasks.shutdown().cancel();
        // Shards end after the keeper was told to.
        sleep(SECOND).await;
        world.sessions.release(ConnectionId(2));
        let started = Instant::now();
        assert!(world.tasks.join_all(3 * SECOND).await.is_empty(), "{mood:?}");
        assert!(started.elapsed() <= 2 * SECOND);
        if matches!(mood, Mood::Up | Mood::Slow(_)) {
            assert_eq!((world.finds(1).await.1, world.finds(2).await.1), (8, 9), "{mood:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_nobody_once_all_is_written() {
    let world = World::start();
    world.open(1, 1).await;
    world.proven(1, 8);
    world.sessions.release(ConnectionId(1));
    world.tasks.shutdown().cancel();
    let started = Instant::now();
    assert!(world.tasks.join_all(3 * SECOND).await.is_empty());
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    assert_eq!(world.finds(1).await, (None, 8));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_nothing_is_kept() {
    let tasks = Tasks::new(Shutdown::new());
    let metrics = GatewayMetrics::register(&Registry::new()).unwrap();
    let sessions = Sessions::start(None, &key(), &metrics, &tasks);
    sessions.release(ConnectionId(1));
    assert!(sessions.inbox.is_none() && tasks.running().is_empty());
}
