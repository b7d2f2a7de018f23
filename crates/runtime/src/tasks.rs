//! The one place where tasks and threads are started.
//!
//! Each has a name and is counted until it ends. A panic is caught at the root of the task, logged with
//! the name, and sets the [`Shutdown`] token: the service drains and ends with [`crate::Exit::Failed`].
//! So does the error of a thread that can fail.
//! Detached tasks (one request, one connection of somebody) are the exception: their panic harms nobody
//! else, and nobody waits for them.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Shutdown;

/// A task's name: for logs and for the list of stragglers, from a closed set (`router`, `shard-3`), never
/// a user, a key or an address.
type Name = Cow<'static, str>;

/// Starts named tasks and threads and knows which of them still run. Cheap to clone; clones share one
/// state.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    /// The runtime in which the group was made, so that a thread of our own can start a task.
    handle: Option<Handle>,
    state: Mutex<State>,
    /// How many owned tasks run: [`Tasks::join_all`] waits for 0.
    running: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// By order of start, so that stragglers are named in that order.
    running: BTreeMap<u64, Name>,
    failed: Vec<Name>,
}

impl Tasks {
    /// An empty group; `shutdown` is set when one of its tasks panics or fails.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner {
            shutdown,
            handle: Handle::try_current().ok(),
            state: Mutex::default(),
            running: watch::Sender::new(0),
        }))
    }

    /// The token that ends the group.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Starts a task that the service cannot do without.
    ///
    /// # Panics
    /// Outside a tokio runtime, where the group was made outside one as well.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Entered here, not in the task: it is counted from the moment in which it was asked for, and
        // dropped with the future, also where the runtime ends before the task does.
        let running = self.enter(name.into());
        self.handle().spawn(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                report(&running.name, panic.as_ref());
                running.fail();
            }
        })
    }

    /// Starts a task whose panic ends nothing but itself, and for which [`Tasks::join_all`] does not wait.
    ///
    /// # Panics
    /// As [`Tasks::spawn`].
    pub fn spawn_detached<F>(&self, name: impl Into<Name>, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        self.handle().spawn(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                report(&name, panic.as_ref());
            }
        })
    }

    /// Starts an operating system thread that the service cannot do without. (Linux shows the first 15
    /// bytes of its name.)
    ///
    /// # Errors
    /// A name with a NUL in it; a machine without room for another thread.
    pub fn spawn_thread<F>(
        &self,
        name: impl Into<Name>,
        body: F,
    ) -> io::Result<std::thread::JoinHandle<()>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.spawn_fallible_thread(name, move || {
            body();
            Ok::<(), Infallible>(())
        })
    }

    /// The same with a body that can fail: its error ends the service as a panic does.
    ///
    /// # Errors
    /// As [`Tasks::spawn_thread`].
    pub fn spawn_fallible_thread<F, E>(
        &self,
        name: impl Into<Name>,
        body: F,
    ) -> io::Result<std::thread::JoinHandle<()>>
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
        E: Display,
    {
        let name = name.into();
        if name.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "thread name holds a NUL"));
        }
        let running = self.enter(name.clone());
        std::thread::Builder::new().name(name.into_owned()).spawn(move || {
            match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(task = &*running.name, %error, "task failed"),
                Err(panic) => report(&running.name, panic.as_ref()),
            }
            running.fail();
        })
    }

    /// Waits until every task and thread (but the detached) has ended, at most `limit`. Returns the names
    /// of those that still run, in the order of their start. It does not ask anybody to end: that is
    /// [`Shutdown::cancel`].
    pub async fn join_all(&self, limit: Duration) -> Vec<String> {
        let mut running = self.0.running.subscribe();
        let all_ended = running.wait_for(|count| *count == 0);
        if tokio::time::timeout(limit, all_ended).await.is_ok() {
            return Vec::new();
        }
        self.running()
    }

    /// The names of the tasks and threads that run now, in the order of their start.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        self.0.state.lock().running.values().map(ToString::to_string).collect()
    }

    /// The names of those that panicked or failed: a service for which this is not empty ends with
    /// [`crate::Exit::Failed`].
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        self.0.state.lock().failed.iter().map(ToString::to_string).collect()
    }

    fn handle(&self) -> Handle {
        self.0.handle.clone().unwrap_or_else(Handle::current)
    }

    fn enter(&self, name: Name) -> Running {
        let mut state = self.0.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.running.insert(id, name.clone());
        self.0.running.send_replace(state.running.len());
        Running { id, name, group: self.clone() }
    }
}

/// One counted task; no longer counted once dropped.
struct Running {
    id: u64,
    name: Name,
    group: Tasks,
}

impl Running {
    fn fail(self) {
        // Before the drop of `self`: whoever was waiting in `join_all` sees the failure.
        self.group.0.state.lock().failed.push(self.name.clone());
        self.group.0.shutdown.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.group.0.state.lock();
        state.running.remove(&self.id);
        self.group.0.running.send_replace(state.running.len());
    }
}

fn report(name: &str, panic: &(dyn Any + Send)) {
    let reason = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(task = name, reason, "task panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn group() -> Tasks {
        Tasks::new(Shutdown::new())
    }

    #[tokio::test]
    async fn tasks_end_when_told_and_are_waited_for() {
        let tasks = group();
        for name in ["router", "tick"] {
            let shutdown = tasks.shutdown().clone();
            tasks.spawn(name, async move { shutdown.cancelled().await });
        }
        assert_eq!(tasks.running(), ["router", "tick"]);
        tasks.shutdown().cancel();
        assert!(tasks.join_all(LONG).await.is_empty());
        assert!(tasks.running().is_empty());
        assert!(tasks.failed().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_are_named_in_order_of_start() {
        let tasks = group();
        tasks.spawn("b-stuck", std::future::pending());
        tasks.spawn("quick", async {});
        tasks.spawn("a-stuck", std::future::pending());
        assert_eq!(tasks.join_all(LONG).await, ["b-stuck", "a-stuck"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_task_ends_the_service() {
        let tasks = group();
        tasks.spawn("broken", async { panic!("invariant broken") });
        tasks.shutdown().cancelled().await;
        assert!(tasks.join_all(LONG).await.is_empty());
        assert_eq!(tasks.failed(), ["broken"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_thread_ends_the_service() {
        let tasks = group();
        let thread = tasks.spawn_thread("shard-0", || panic!("{}", "invariant broken")).unwrap();
        tasks.shutdown().cancelled().await;
        assert!(tasks.join_all(LONG).await.is_empty());
        assert_eq!(tasks.failed(), ["shard-0"]);
        assert!(thread.join().is_ok(), "the panic was caught at the root");
    }

    #[tokio::test]
    async fn a_thread_that_fails_ends_the_service() {
        let tasks = group();
        let fine = tasks.spawn_fallible_thread("fine", || Ok::<(), io::Error>(())).unwrap();
        fine.join().unwrap();
        assert!(!tasks.shutdown().is_cancelled());
        let broken = tasks.spawn_fallible_thread("router", || Err("the poll is gone")).unwrap();
        broken.join().unwrap();
        assert!(tasks.shutdown().is_cancelled());
        assert!(tasks.join_all(LONG).await.is_empty());
        assert_eq!(tasks.failed(), ["router"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_detached_task_ends_nothing_else() {
        let tasks = group();
        let detached = tasks.spawn_detached("request", async { panic!("one request") });
        assert!(detached.await.is_ok(), "the panic was caught at the root");
        assert!(!tasks.shutdown().is_cancelled());
        assert!(tasks.failed().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_detached_task() {
        let tasks = group();
        tasks.spawn_detached("idle", std::future::pending());
        assert!(tasks.join_all(LONG).await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_thread_starts_a_task_and_has_its_name() {
        let tasks = group();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let inner = tasks.clone();
        tasks
            .spawn_thread("starter", move || {
                let name = std::thread::current().name().map(str::to_owned);
                inner.spawn("started", async move { drop(sender.send(name)) });
            })
            .unwrap();
        assert_eq!(receiver.await.unwrap().as_deref(), Some("starter"));
        assert!(tasks.join_all(LONG).await.is_empty());
    }

    #[tokio::test]
    async fn an_aborted_task_is_no_straggler() {
        let tasks = group();
        let handle = tasks.spawn("aborted", std::future::pending());
        handle.abort();
        assert!(tasks.join_all(LONG).await.is_empty());
        assert!(tasks.failed().is_empty());
    }

    #[test]
    fn a_thread_name_with_a_nul_is_refused() {
        let error = group().spawn_thread("a\0b", || {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_runtime_that_ends_takes_its_tasks_off_the_list() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tasks = {
            let _inside = runtime.enter();
            group()
        };
        tasks.spawn("left", std::future::pending());
        assert_eq!(tasks.running(), ["left"]);
        drop(runtime);
        assert!(tasks.running().is_empty());
    }
}
