//! What becomes of open sockets when a script changes: whoever may not subscribe to it any more is closed,
//! the others go on.
//!
//! The follower of the control topic notes what has changed; one task judges the sockets that are concerned,
//! since for that a script may have to be compiled. A registration that is in flight looks at the script
//! again once its socket is in the registry, so that one of the two finds the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewire_event::Tenant;
use tidewire_router::ConnectionId;
use tidewire_script::{Disabled, Script};
use tidewire_sockets::Command;
use tidewire_wire::error::CloseCode;
use tidewire_wire::v1::frames;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::plane::Home;
use crate::registry::Opened;
use crate::shared::{Shared, deliver};
use crate::v1::PATH_SUBSCRIPTION;

/// For so long it is tried to find out what a changed script reads; then its sockets are closed, to come
/// again. What is promised is five seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(250);

/// The scripts whose sockets are to be judged, and since when. At most one entry for each script that there
/// is or was.
#[derive(Default)]
pub(super) struct Changed {
    scripts: Mutex<HashMap<(Tenant, Arc<str>), Instant>>,
    wake: Notify,
}

impl Changed {
    pub(super) fn note(&self, tenant: &Tenant, code: &str) {
        let key = (tenant.clone(), Arc::from(code));
        self.scripts.lock().entry(key).or_insert_with(Instant::now);
        self.wake.notify_one();
    }

    fn take(&self) -> HashMap<(Tenant, Arc<str>), Instant> {
        std::mem::take(&mut *self.scripts.lock())
    }

    fn again(&self, key: (Tenant, Arc<str>), since: Instant) {
        self.scripts.lock().entry(key).or_insert(since);
    }
}

/// Starts the task.
pub(crate) fn start(shared: &Arc<Shared>) {
    let (own, shutdown) = (Arc::clone(shared), shared.tasks.shutdown().clone());
    shared.tasks.spawn("scripts", async move {
        tokio::select! {
            () = run(&own) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

async fn run(shared: &Shared) {
    let changed = &shared.scripts.changed;
    loop {
        let taken = changed.take();
        if taken.is_empty() {
            changed.wake.notified().await;
            continue;
        }
        let mut left = false;
        for (key, since) in taken {
            if !judge(shared, &key.0, &key.1, since.elapsed() >= PATIENCE).await {
                changed.again(key, since);
                left = true;
            }
        }
        if left {
            sleep(RETRY).await;
        }
    }
}

/// Judges the sockets of a script; false if that has to be tried again. At `last` who cannot be judged is
/// closed.
async fn judge(shared: &Shared, tenant: &Tenant, code: &str, last: bool) -> bool {
    let sockets = shared.registry.subscribed_to(tenant, code);
    let mut all_judged = true;
    let mut closed = 0;
    for (id, socket) in &sockets {
        let verdict = match shared.scripts.get(tenant, code) {
            None => Some(CloseCode::Unknown),
            Some(found) => verdict(shared, socket, &found.script).await,
        };
        match verdict {
            None => {}
            Some(CloseCode::Unavailable) if !last => all_judged = false,
            Some(reason) => {
                closed += 1;
                close(shared, *id, socket.home, reason);
            }
        }
    }
    if closed > 0 {
        info!(tenant = %tenant, code, closed, "sockets of a script that changed were closed");
    }
    if !all_judged {
        warn!(tenant = %tenant, code, "the sockets of a script cannot be judged now");
    }
    all_judged
}

/// With which code a socket is to be closed, if it is.
async fn verdict(shared: &Shared, socket: &Opened, script: &Script) -> Option<CloseCode> {
    let class = shared.rights.permission_class(&socket.principal);
    let judged = shared.scripts.may_subscribe(shared, &socket.principal, &class, script).await;
    match judged {
        Ok(()) => None,
        Err(refusal) if refusal.status == 403 => Some(CloseCode::Forbidden),
        Err(_) => Some(CloseCode::Unavailable),
    }
}

fn close(shared: &Shared, id: ConnectionId, home: Home, code: CloseCode) {
    if let Some(shard) = shared.planes.shard(home) {
        deliver(shard, Command::Close(id, code));
    }
}

/// Tells the sockets of `tidewire.v1` that a script runs no longer. The documented mode has no word for it.
/// Waits for the queues of shards: never call it on a shard or in a task.
pub(super) fn tell_disabled(shared: &Shared, script: &Script, disabled: &Disabled) {
    for (id, socket) in shared.registry.subscribed_to(&script.tenant, script.code()) {
        let is_told = socket.subscriptions.iter().any(|(name, _)| name.is_some());
        if let Some(shard) = shared.planes.shard(socket.home).filter(|_| is_told) {
            shard.send(Command::Tell(id, disabled_word(script, disabled)));
        }
    }
}

/// What such a socket is told. The text of the fault is for the author alone: it may hold values of objects.
pub(super) fn disabled_word(script: &Script, disabled: &Disabled) -> Vec<u8> {
    let (code, kind) = (script.code(), disabled.error.kind.as_str());
    let mut json = Vec::new();
    frames::push_script_disabled(&mut json, PATH_SUBSCRIPTION, code, script.version, kind);
    json
}
