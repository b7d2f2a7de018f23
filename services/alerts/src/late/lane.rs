//! Where changes wait for scripts that take long: a queue for each tenant and partition, worked off in its
//! order by a task of its own. The tasks share the processes of the slow lane and take turns at them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewire_event::{Partition, Tenant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::error;

use crate::change::Change;
use crate::evaluate::{Evaluated, Evaluator, NoWorkers, RETRY_INTERVAL};

/// What has been done: the number of the queue, and the change.
#[derive(Default)]
struct Done {
    changes: Mutex<VecDeque<(u64, Evaluated)>>,
    more: Notify,
}

pub(super) struct Lane {
    evaluator: Arc<Evaluator>,
    runtime: Handle,
    queues: HashMap<(Partition, Tenant), Queue>,
    queues_ever: u64,
    /// Bytes of the changes that wait.
    bytes: usize,
    done: Arc<Done>,
}

/// Its task ends with it: what was given up must not be done by anybody.
struct Queue {
    number: u64,
    waiting: Arc<Waiting>,
    bytes: usize,
    task: AbortHandle,
}

#[derive(Default)]
struct Waiting {
    changes: Mutex<VecDeque<Change>>,
    more: Notify,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lane {
    pub(super) fn new(evaluator: Arc<Evaluator>, runtime: Handle) -> Self {
        let (queues, done) = (HashMap::new(), Arc::default());
        Self { evaluator, runtime, queues, queues_ever: 0, bytes: 0, done }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a change may be put is its caller's to decide.
    pub(super) fn put(&mut self, change: Change) {
        let bytes = change.event.body.bytes().len();
        let queue = self.queues.entry(change.lane()).or_insert_with(|| {
            self.queues_ever += 1;
            let (number, waiting) = (self.queues_ever, Arc::<Waiting>::default());
            let (evaluator, done) = (Arc::clone(&self.evaluator), Arc::clone(&self.done));
            let work = work_off(evaluator, number, Arc::clone(&waiting), done);
            let task = self.runtime.spawn(work).abort_handle();
            Queue { number, waiting, bytes: 0, task }
        });
        queue.bytes += bytes;
        self.bytes += bytes;
        queue.waiting.changes.lock().push_back(change);
        queue.waiting.more.notify_one();
    }

    /// The next change that is done. Each queue gives its own in their order.
    pub(super) fn next_done(&mut self) -> Option<Evaluated> {
        loop {
            let (number, evaluated) = self.done.changes.lock().pop_front()?;
            let bytes = evaluated.change.event.body.bytes().len();
            let queue = self.queues.get_mut(&evaluated.change.lane());
            // It may have been given up meanwhile.
            if let Some(queue) = queue.filter(|queue| queue.number == number) {
                queue.bytes -= bytes;
                self.bytes -= bytes;
                return Some(evaluated);
            }
        }
    }

    /// Waits up to `wait` until there may be one.
    pub(super) fn wait_for_done(&self, wait: Duration) {
        let more = async { tokio::time::timeout(wait, self.done.more.notified()).await };
        // Either way: the caller looks.
        let _ = self.runtime.block_on(more);
    }

    /// Nothing waits in the queue any more.
    pub(super) fn close(&mut self, partition: Partition, tenant: &Tenant) {
        self.give_up(|key| *key == (partition, tenant.clone()));
    }

    pub(super) fn forget(&mut self, partition: Partition) {
        self.give_up(|(of, _)| *of == partition);
    }

    fn give_up(&mut self, which: impl Fn(&(Partition, Tenant)) -> bool) {
        for (_, queue) in self.queues.extract_if(|key, _| which(key)) {
            self.bytes -= queue.bytes;
        }
    }
}

async fn work_off(evaluator: Arc<Evaluator>, queue: u64, waiting: Arc<Waiting>, done: Arc<Done>) {
    loop {
        let next = waiting.changes.lock().pop_front();
        let Some(change) = next else {
            waiting.more.notified().await;
            continue;
        };
        let fired = loop {
            match evaluator.whole(&change).await {
                Ok(fired) => break fired,
                Err(NoWorkers) => {
                    error!("no process can run scripts; a late change is tried again");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        };
        done.changes.lock().push_back((queue, Evaluated { change, fired }));
        done.more.notify_one();
    }
}
