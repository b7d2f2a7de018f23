//! The services, and the defaults in which they differ.

/// Which process is being configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Sockets.
    Gateway,
    /// Changes from producers.
    Capture,
    /// The read model.
    Projector,
    /// Alert scripts.
    Alerts,
    /// `tidewire dev`: everything in one process.
    Dev,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 5] =
        [Self::Gateway, Self::Capture, Self::Projector, Self::Alerts, Self::Dev];

    /// The service's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Capture => "capture",
            Self::Projector => "projector",
            Self::Alerts => "alerts",
            Self::Dev => "dev",
        }
    }

    /// Defaults that replace those of `defaults.toml` for this service.
    pub(crate) const fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gateway => &[],
            Self::Capture => {
                &[("http.listen", "0.0.0.0:8082"), ("internal.listen", "0.0.0.0:8083")]
            }
            Self::Projector => {
                &[("http.listen", "0.0.0.0:8084"), ("internal.listen", "0.0.0.0:8085")]
            }
            Self::Alerts => &[("http.listen", "0.0.0.0:8086"), ("internal.listen", "0.0.0.0:8087")],
            Self::Dev => &[
                ("http.listen", "127.0.0.1:8080"),
                ("internal.listen", "127.0.0.1:8081"),
                ("log.format", "text"),
                ("kafka.create_topics", "true"),
                ("kafka.replication_factor", "1"),
                ("auth.issuer", "tidewire-dev"),
                ("auth.audience", "tidewire"),
                ("auth.roles.producer", "producer"),
                ("auth.roles.admin", "admin"),
                ("auth.roles.script_author", "script-author"),
                ("rights.default", "open"),
            ],
        }
    }

    /// Whether the service takes tokens, and so needs to know whose.
    pub(crate) const fn takes_tokens(self) -> bool {
        matches!(self, Self::Gateway | Self::Capture)
    }
}
