//! What one listener serves, put together from parts.

use std::sync::Arc;

use warp::http::Method;

use crate::{ApiHandler, SocketGate};

/// What one listener serves. Sites are plain data and can be joined, so that several services share one
/// listener (`tidewire dev`).
#[derive(Clone, Default)]
pub struct Site {
    /// Who decides about sockets; `None`: their paths are unknown here.
    pub gate: Option<Arc<dyn SocketGate>>,
    /// Everything else. Where several patterns match a path, the one whose first differing segment is
    /// literal wins, whatever the order here; of two equal routes the first.
    pub api: Vec<ApiRoute>,
}

/// One plain route.
#[derive(Clone)]
pub struct ApiRoute {
    /// The method.
    pub method: Method,
    /// Segments, each literal or `{name}` (any one non-empty segment): `/ws/rest/{type}/{key}`.
    pub path: String,
    /// Whether pages of allowed origins may read the answer (CORS). A request with an `Origin` that is not
    /// allowed is refused with 403 either way.
    pub cors: bool,
    /// Who answers.
    pub handler: Arc<dyn ApiHandler>,
}

impl Site {
    /// Serves nothing: every path is 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `gate` decide about sockets.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn SocketGate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(
        self,
        method: Method,
        path: impl Into<String>,
        handler: impl ApiHandler + 'static,
    ) -> Self {
        self.add(method, path.into(), false, Arc::new(handler))
    }

    /// Adds a route whose answers pages of allowed origins may read.
    #[must_use]
    pub fn cors_route(
        self,
        method: Method,
        path: impl Into<String>,
        handler: impl ApiHandler + 'static,
    ) -> Self {
        self.add(method, path.into(), true, Arc::new(handler))
    }

    /// Adds what another site serves; its gate where this one has none.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.gate = self.gate.or(other.gate);
        self.api.extend(other.api);
        self
    }

    fn add(
        mut self,
        method: Method,
        path: String,
        cors: bool,
        handler: Arc<dyn ApiHandler>,
    ) -> Self {
        self.api.push(ApiRoute { method, path, cors, handler });
        self
    }
}
