//! The capture as a part: what a listener mounts, and how it drains.

use std::sync::Arc;

use tidewire_auth::Verifier;
use tidewire_http::{Method, Site};
use tidewire_log::LogWriter;
use tidewire_model::Model;
use tidewire_runtime::{Clock, Shutdown};
use tidewire_telemetry::{CaptureMetrics, CommonMetrics};

use crate::api::{CHANGES_PATH, ChangesApi};
use crate::{CaptureOptions, Intake};

/// What a capture shares with the process around it.
#[derive(Clone)]
pub struct Parts {
    /// Where changes go.
    pub writer: Arc<dyn LogWriter>,
    /// Who may post.
    pub verifier: Arc<Verifier>,
    /// What a change may be.
    pub model: Arc<Model>,
    /// What is counted of changes.
    pub metrics: CaptureMetrics,
    /// What is counted of requests.
    pub common: CommonMetrics,
    /// What time it is.
    pub clock: Clock,
}

/// A running capture. Cheap to clone.
#[derive(Clone)]
pub struct Capture {
    intake: Intake,
    api: ChangesApi,
    draining: Shutdown,
}

impl Capture {
    /// Takes changes from now on; it has no task of its own.
    #[must_use]
    pub fn start(options: CaptureOptions, parts: Parts) -> Self {
        let Parts { writer, verifier, model, metrics, common, clock } = parts;
        let intake = Intake::new(writer, model, &options, metrics, clock.clone());
        let draining = Shutdown::new();
        let api =
            ChangesApi::new(intake.clone(), verifier, options, common, clock, draining.clone());
        Self { intake, api, draining }
    }

    /// What a listener serves of it: `POST /api/v1/changes`. Pages of allowed origins may read the answer.
    #[must_use]
    pub fn site(&self) -> Site {
        Site::new().cors_route(Method::POST, CHANGES_PATH, self.api.clone())
    }

    /// The way into the log for producers inside this process.
    #[must_use]
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// From now on requests are refused with 503; those under way go on.
    pub fn drain(&self) {
        self.draining.cancel();
    }
}
