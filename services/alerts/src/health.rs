//! Whether a replica is alive and ready.
//!
//! Liveness looks at nothing. A replica is not ready before the control topic was read, and in drain;
//! Kafka away later, or no process to run scripts, is said in the body and by metrics, with status 200.
//! One without partitions is ready: it waits for the others to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidewire_http::{ApiReply, ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_telemetry::{METRICS_CONTENT_TYPE, Registry};

/// What can be away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The control topic.
    Control,
    /// The topics that the stage stands between.
    Stage,
    /// Processes that run scripts.
    Workers,
}

/// The state that health tells.
#[derive(Debug, Default)]
pub(crate) struct Health {
    control_read: AtomicBool,
    reading: AtomicBool,
    draining: AtomicBool,
    faults: [AtomicBool; 3],
}

impl Health {
    /// The control topic was read to the end that it had at the start. True for the first call.
    pub(crate) fn set_control_read(&self) -> bool {
        !self.control_read.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_control_read(&self) -> bool {
        self.control_read.load(Ordering::SeqCst)
    }

    /// The stage is a member of the group, or about to be.
    pub(crate) fn set_reading(&self) {
        self.reading.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn set_fault(&self, part: Part, fault: bool) {
        if let Some(flag) = self.faults.get(part as usize) {
            flag.store(fault, Ordering::SeqCst);
        }
    }

    fn has_fault(&self, part: Part) -> bool {
        self.faults.get(part as usize).is_some_and(|flag| flag.load(Ordering::SeqCst))
    }

    pub(crate) fn is_kafka_available(&self) -> bool {
        !self.has_fault(Part::Control) && !self.has_fault(Part::Stage)
    }

    fn is_started(&self) -> bool {
        self.is_control_read() && self.reading.load(Ordering::SeqCst)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining()
    }

    fn word(&self) -> &'static str {
        match (self.is_draining(), self.is_started()) {
            (true, _) => "draining",
            (false, false) => "starting",
            (false, true) if !self.is_kafka_available() => "degraded: kafka is away",
            (false, true) if self.has_fault(Part::Workers) => "degraded: no process runs scripts",
            (false, true) => "ready",
        }
    }
}

/// `/health/live`, `/health/ready`, `/health/startup` and `/metrics`.
pub(crate) fn site(health: &Arc<Health>, registry: &Registry) -> Site {
    let (ready, startup, registry) = (Arc::clone(health), Arc::clone(health), registry.clone());
    Site::new()
        .route(Method::GET, "/health/live", |_: ApiRequest| async { state(true, "live") })
        .route(Method::GET, "/health/startup", move |_: ApiRequest| {
            let started = startup.is_started();
            async move { state(started, if started { "started" } else { "starting" }) }
        })
        .route(Method::GET, "/health/ready", move |_: ApiRequest| {
            let answer = state(ready.is_ready(), ready.word());
            async move { answer }
        })
        .route(Method::GET, "/metrics", move |_: ApiRequest| {
            let text = registry.encode();
            async move {
                match text {
                    Ok(text) => {
                        ApiReply::from(Reply::new(StatusCode::OK, METRICS_CONTENT_TYPE, text))
                    }
                    Err(error) => {
                        tracing::error!(%error, "metrics cannot be shown");
                        ApiReply::Error(StatusCode::INTERNAL_SERVER_ERROR, "no metrics".to_owned())
                    }
                }
            }
        })
}

fn state(ok: bool, status: &str) -> Reply {
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(code, format!("{{\"status\":\"{status}\"}}"))
}
