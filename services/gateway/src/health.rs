//! Whether a replica is alive and ready.
//!
//! Liveness looks at neither Kafka nor Redis. A replica is not ready before all partitions are assigned
//! and the control topic was read, and in drain; Kafka or Redis away later is said in the body and by metrics, with status 200: else one
//! blip of a broker would empty the load balancer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tidewire_http::{ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_store::Store;

use crate::plane::PlaneKind;

/// The state that health and the gate look at.
#[derive(Debug, Default)]
pub(crate) struct Health {
    objects: PlaneHealth,
    alerts: PlaneHealth,
    control_read: AtomicBool,
    draining: AtomicBool,
}

/// The state of one plane's reader.
#[derive(Debug, Default)]
pub(crate) struct PlaneHealth {
    assigned: AtomicBool,
    kafka_fault: AtomicBool,
}

impl PlaneHealth {
    pub(crate) fn set_assigned(&self) {
        self.assigned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_assigned(&self) -> bool {
        self.assigned.load(Ordering::SeqCst)
    }

    pub(crate) fn set_kafka_fault(&self, fault: bool) {
        self.kafka_fault.store(fault, Ordering::SeqCst);
    }
}

impl Health {
    /// The state of a plane. One that there is not is assigned from the start.
    pub(crate) const fn plane(&self, kind: PlaneKind) -> &PlaneHealth {
        match kind {
            PlaneKind::Objects => &self.objects,
            PlaneKind::Alerts => &self.alerts,
        }
    }

    /// The control topic was read to the end that it had at the start.
    pub(crate) fn set_control_read(&self) {
        self.control_read.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_control_read(&self) -> bool {
        self.control_read.load(Ordering::SeqCst)
    }

    /// Whether everything is there that a replica needs before it serves.
    fn is_started(&self) -> bool {
        self.objects.is_assigned() && self.alerts.is_assigned() && self.is_control_read()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining()
    }

    pub(crate) fn is_kafka_available(&self) -> bool {
        let planes = [&self.objects, &self.alerts];
        !planes.iter().any(|plane| plane.kafka_fault.load(Ordering::SeqCst))
    }
}

/// `/health/live`, `/health/ready` and `/health/startup`.
pub(crate) fn site(health: &Arc<Health>, store: Option<Arc<dyn Store>>) -> Site {
    let (ready, startup) = (Arc::clone(health), Arc::clone(health));
    Site::new()
        .route(Method::GET, "/health/live", |_: ApiRequest| async {
            reply(true, &json!({"status": "live"}))
        })
        .route(Method::GET, "/health/startup", move |_: ApiRequest| {
            let started = startup.is_started();
            async move {
                reply(started, &json!({"status": if started { "started" } else { "starting" }}))
            }
        })
        .route(Method::GET, "/health/ready", move |_: ApiRequest| {
            let answer = readiness(&ready, store.as_deref());
            async move { answer }
        })
}

fn readiness(health: &Health, store: Option<&dyn Store>) -> Reply {
    let store = match store {
        None => "none",
        Some(store) if store.available() => "available",
        Some(_) => "away: sockets work, sessions and tickets do not",
    };
    let kafka = if health.is_kafka_available() { "available" } else { "away: waiting for it" };
    let degraded = store.starts_with("away") || kafka.starts_with("away");
    let status = match (health.is_draining(), health.is_started()) {
        (true, _) => "draining",
        (false, false) => "starting",
        (false, true) if degraded => "degraded",
        (false, true) => "ready",
    };
    reply(health.is_ready(), &json!({"status": status, "kafka": kafka, "store": store}))
}

fn reply(ok: bool, body: &serde_json::Value) -> Reply {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(status, body.to_string())
}
