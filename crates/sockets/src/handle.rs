//! How the rest of a replica reaches its shards.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::{Poll, Waker};
use tidewire_router::{
    ConnectionId, Detached, HistoryReply, ShardCore, ShardIndex, ShardItem, ShardSettings,
    ShardStats, Snapshot, SnapshotId,
};
use tidewire_runtime::Tasks;
use tidewire_wire::error::{CloseCode, Refusal};

use crate::client::{Client, HistoryDesk, Observer};
use crate::options::ShardOptions;
use crate::shard::{Shard, WAKE};
use crate::stream::Stream;

/// What a shard is told, in order.
pub enum Command {
    /// What the router has routed.
    Batch(Vec<ShardItem>),
    /// A stream whose connection is attached already.
    Adopt(Box<Adoption>),
    /// The stream of an attached connection will never come, or is gone.
    Abort(ConnectionId),
    /// The event stream has room again.
    Writable(ConnectionId),
    /// Closes one connection.
    Close(ConnectionId, CloseCode),
    /// What was asked of the desk of history.
    History(Box<HistoryReply>),
    /// The snapshot that a subscription waits for, or why there is none.
    Snapshot(ConnectionId, SnapshotId, Box<Result<Snapshot, Refusal>>),
    /// A text message for one client, which is no event stream.
    Tell(ConnectionId, Vec<u8>),
    /// Closes one connection as a drain does: told to come back after a time between this and twice this.
    Restart(ConnectionId, Duration),
    /// Closes all, spread evenly over the window; each is told to come back after a time of its own
    /// between `retry` and twice that.
    Drain {
        /// How long it may take.
        window: Duration,
        /// The shortest retry hint.
        retry: Duration,
    },
    /// Ends the thread.
    Stop,
}

/// A stream for its shard.
pub struct Adoption {
    /// Which connection.
    pub id: ConnectionId,
    /// The stream.
    pub stream: Stream,
    /// What was read from it already.
    pub early: Bytes,
    /// What its messages mean.
    pub client: Arc<dyn Client>,
    /// Held until the connection is gone.
    pub permit: Box<dyn Any + Send>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(items) => write!(f, "Batch({})", items.len()),
            Self::Adopt(adoption) => write!(f, "Adopt({:?})", adoption.id),
            Self::Abort(id) => write!(f, "Abort({id:?})"),
            Self::Writable(id) => write!(f, "Writable({id:?})"),
            Self::Close(id, code) => write!(f, "Close({id:?}, {code:?})"),
            Self::History(reply) => write!(f, "History({:?})", reply.request),
            Self::Snapshot(id, snapshot, _) => write!(f, "Snapshot({id:?}, {snapshot:?})"),
            Self::Tell(id, json) => write!(f, "Tell({id:?}, {})", json.len()),
            Self::Restart(id, retry) => write!(f, "Restart({id:?}, {retry:?})"),
            Self::Drain { window, .. } => write!(f, "Drain({window:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// Where a shard tells the router of subscriptions that have ended. It must not block: false means that
/// there is no room now, and the shard asks again.
pub trait Leavers: Send + Sync {
    /// Takes one over, or gives it back.
    ///
    /// # Errors
    /// The same, if there is no room.
    fn left(&self, shard: ShardIndex, detached: Detached) -> Result<(), Detached>;
}

/// Whom shards speak to.
#[derive(Clone)]
pub struct Ports {
    /// The router.
    pub leavers: Arc<dyn Leavers>,
    /// Whoever counts.
    pub observer: Arc<dyn Observer>,
    /// Whoever reads what is no longer in memory.
    pub history: Arc<dyn HistoryDesk>,
}

/// Reaches one shard from any thread.
#[derive(Clone)]
pub struct ShardHandle {
    index: ShardIndex,
    sender: Sender<Command>,
    waker: Arc<Waker>,
    signalled: Arc<AtomicBool>,
    room_untold: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    stats: Arc<std::sync::Mutex<ShardStats>>,
}

impl fmt::Debug for ShardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardHandle({})", self.index)
    }
}

impl ShardHandle {
    /// Its number.
    #[must_use]
    pub const fn index(&self) -> ShardIndex {
        self.index
    }

    /// Sends a command and waits for room; false if the shard has ended. Never call it from a shard.
    pub fn send(&self, command: Command) -> bool {
        let sent = self.sender.send(command).is_ok();
        self.wake();
        sent
    }

    /// Sends a command if there is room.
    #[must_use]
    pub fn try_send(&self, command: Command) -> bool {
        self.offer(command).is_ok()
    }

    /// Sends a command if there is room.
    ///
    /// # Errors
    /// The command, if there is none.
    pub fn offer(&self, command: Command) -> Result<(), Command> {
        match self.sender.try_send(command) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Err(command),
        }
    }

    /// True if a command must wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    /// Says that an event stream has room and that the queue had none for the word of it: the shard looks
    /// at its next tick.
    pub(crate) fn leave_word_of_room(&self) {
        self.room_untold.store(true, Ordering::SeqCst);
    }

    fn wake(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // A poll that has gone with its thread has nobody to wake.
            let _ = self.waker.wake();
        }
    }

    /// Connections that are adopted or about to be; counted by whoever chooses a shard.
    #[must_use]
    pub const fn connections(&self) -> &Arc<AtomicUsize> {
        &self.connections
    }

    /// Counts and gauges, a quarter of a second old at most.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        *self.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All shards of a replica.
#[derive(Clone, Debug)]
pub struct Shards {
    handles: Arc<[ShardHandle]>,
}

impl Shards {
    /// Starts `count` threads, named `<name>-<number>`.
    ///
    /// # Errors
    /// When the operating system gives no poll or thread.
    pub fn start(
        name: &str,
        count: ShardIndex,
        options: ShardOptions,
        settings: &ShardSettings,
        ports: &Ports,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let mut handles = Vec::with_capacity(usize::from(count));
        for index in 0..count {
            let poll = Poll::new()?;
            let (handle, receiver) = Self::handle(index, options.commands_max, &poll)?;
            let shard = Shard::new(
                poll,
                ShardCore::new(settings.clone()),
                options,
                Inbox {
                    receiver,
                    signalled: Arc::clone(&handle.signalled),
                    room_untold: Arc::clone(&handle.room_untold),
                },
                Outlets { index, ports: ports.clone(), stats: Arc::clone(&handle.stats) },
            );
            tasks.spawn_fallible_thread(format!("{name}-{index}"), move || shard.run())?;
            handles.push(handle);
        }
        Ok(Self { handles: handles.into() })
    }

    fn handle(
        index: ShardIndex,
        commands_max: usize,
        poll: &Poll,
    ) -> io::Result<(ShardHandle, Receiver<Command>)> {
        let (sender, receiver) = bounded(commands_max);
        let handle = ShardHandle {
            index,
            sender,
            waker: Arc::new(Waker::new(poll.registry(), WAKE)?),
            signalled: Arc::default(),
            room_untold: Arc::default(),
            connections: Arc::default(),
            stats: Arc::default(),
        };
        Ok((handle, receiver))
    }

    /// All of them, by number.
    #[must_use]
    pub fn handles(&self) -> &[ShardHandle] {
        &self.handles
    }

    /// The one with the fewest connections.
    #[must_use]
    pub fn least_loaded(&self) -> Option<&ShardHandle> {
        self.handles.iter().min_by_key(|h| h.connections.load(Ordering::Relaxed))
    }
}

/// Where a shard's commands come from.
pub(crate) struct Inbox {
    pub(crate) receiver: Receiver<Command>,
    pub(crate) signalled: Arc<AtomicBool>,
    pub(crate) room_untold: Arc<AtomicBool>,
}

/// Where a shard's words go.
pub(crate) struct Outlets {
    pub(crate) index: ShardIndex,
    pub(crate) ports: Ports,
    pub(crate) stats: Arc<std::sync::Mutex<ShardStats>>,
}
