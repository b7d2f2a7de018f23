//! The beginning of a service: arguments, configuration, logs, crypto.

use std::path::PathBuf;

use thiserror::Error;
use tidewire_config::{ConfigErrors, Service, Settings, Sources};
use tidewire_runtime::Exit;
use tidewire_telemetry::{CommonMetrics, LogFormat, Registry};

/// The arguments that every service takes.
#[derive(Clone, Debug, Default)]
pub struct ServiceArgs {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--set`, any number of times.
    pub set: Vec<String>,
}

/// Why a service did not start, and with which code it ends.
#[derive(Debug, Error)]
pub enum StartError {
    /// Bad configuration: 64.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A value that only an adapter could judge: 64.
    #[error("configuration has problems:\n  {}", .0.join("\n  "))]
    Values(Vec<String>),
    /// Anything else: 1.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl StartError {
    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Values(_) => Exit::Usage,
            Self::Other(_) => Exit::StartFailed,
        }
    }
}

/// Reads the configuration, starts the logs, and installs what the process has one of.
///
/// # Errors
/// [`StartError`].
pub fn init(service: Service, args: &ServiceArgs) -> Result<(Settings, Registry), StartError> {
    let sources = Sources::from_env().file(args.config.as_deref()).set(args.set.clone());
    let settings = tidewire_config::load(service, sources)?;
    let format = if settings.log.json { LogFormat::Json } else { LogFormat::Text };
    tidewire_telemetry::init(format, &settings.log.level)
        .map_err(|e| StartError::Values(vec![format!("log.level: {e}")]))?;
    // Fails only where it is installed already: by another service in this process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok((settings, Registry::new()))
}

/// Registers the common metrics and says which build runs.
///
/// # Errors
/// When they are registered already.
pub fn common_metrics(registry: &Registry) -> anyhow::Result<CommonMetrics> {
    let common = CommonMetrics::register(registry)?;
    let revision = option_env!("TIDEWIRE_REVISION").unwrap_or("unknown");
    common.build_info.set(env!("CARGO_PKG_VERSION"), revision);
    Ok(common)
}

/// An error with all its causes, for a terminal.
#[must_use]
pub fn explain(error: &StartError) -> String {
    match error {
        StartError::Config(_) | StartError::Values(_) => error.to_string(),
        StartError::Other(other) => format!("{other:#}"),
    }
}

/// Whether both listeners are for this machine alone.
#[must_use]
pub const fn is_loopback(settings: &Settings) -> bool {
    settings.http.listen.ip().is_loopback() && settings.internal.listen.ip().is_loopback()
}
