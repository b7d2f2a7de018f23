//! The beginning of a service: arguments, configuration, logs, crypto.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tidewire_auth::Verifier;
use tidewire_config::{ConfigErrors, Service, Settings, Sources};
use tidewire_kafka::KafkaOptions;
use tidewire_model::Model;
use tidewire_rights::TypeRights;
use tidewire_runtime::Exit;
use tidewire_telemetry::{CommonMetrics, LogFormat, Registry};
use tracing::{info, warn};

use crate::auth::{auth_options, rights, verifier};
use crate::kafka::kafka_options;
use crate::model::load_model;

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
    /// Values that an adapter refused.
    pub(crate) fn values(problems: Vec<impl ToString>) -> Self {
        Self::Values(problems.iter().map(ToString::to_string).collect())
    }

    /// The refused values, gathered with those of others; anything else stays an error.
    fn gather(self, problems: &mut Vec<String>) -> Result<(), Self> {
        match self {
            Self::Values(found) => {
                problems.extend(found);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Values(_) => Exit::Usage,
            Self::Other(_) => Exit::StartFailed,
        }
    }
}

/// Reads the configuration and begins.
///
/// # Errors
/// [`StartError`].
pub fn init(service: Service, args: &ServiceArgs) -> Result<(Settings, Registry), StartError> {
    let sources = Sources::from_env().file(args.config.as_deref()).set(args.set.clone());
    let settings = tidewire_config::load(service, sources)?;
    begin(&settings)?;
    Ok((settings, Registry::new()))
}

/// Starts the logs, and sets what the process has one of.
///
/// # Errors
/// [`StartError`].
pub fn begin(settings: &Settings) -> Result<(), StartError> {
    let format = if settings.log.json { LogFormat::Json } else { LogFormat::Text };
    tidewire_telemetry::init(format, &settings.log.level)
        .map_err(|e| StartError::Values(vec![format!("log.level: {e}")]))?;
    // Fails only where it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    raise_file_limit(settings.http.connections_max);
    Ok(())
}

/// A socket is a file descriptor, and many systems begin with a limit of 1,024: it is raised as far as
/// this process may.
fn raise_file_limit(connections_max: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < connections_max as u64 => {
            info!(limit, connections_max, "fewer files may be open than http.connections_max");
        }
        Ok(_) => {}
        Err(e) => warn!(error = %e, "the limit of open files cannot be raised"),
    }
}

/// What is made of the configuration alone, without a port or a cluster.
#[derive(Clone)]
pub struct Checked {
    /// The data model.
    pub model: Arc<Model>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Who may read what.
    pub rights: Arc<TypeRights>,
    /// How Kafka is reached.
    pub kafka: KafkaOptions,
}

/// Looks at everything that can be found wrong without a port or a cluster; all of it is named at once.
///
/// # Errors
/// [`StartError::Values`].
pub fn check(
    settings: &Settings,
    client_id: &str,
    development: bool,
) -> Result<Checked, StartError> {
    let mut problems = Vec::new();
    let mut take = |error: StartError| error.gather(&mut problems);
    let development = development || settings.http.listen.ip().is_loopback();
    let model = load_model(settings).map_err(&mut take);
    let verifier = verifier(&auth_options(settings, development)).map_err(&mut take);
    let rights = rights(settings).map_err(&mut take);
    let kafka = kafka_options(settings, client_id).map_err(&mut take);
    match (model, verifier, rights, kafka) {
        (Ok(model), Ok(verifier), Ok(rights), Ok(kafka)) => {
            Ok(Checked { model, verifier, rights, kafka })
        }
        (model, verifier, rights, kafka) => {
            let others = [model.err(), verifier.err(), rights.err(), kafka.err()];
            match others.into_iter().flatten().find_map(Result::err) {
                Some(other) => Err(other),
                None => Err(StartError::Values(problems)),
            }
        }
    }
}

/// The same for a service that takes no tokens and serves nobody: the model, and how Kafka is reached.
///
/// # Errors
/// [`StartError::Values`].
pub fn check_without_tokens(
    settings: &Settings,
    client_id: &str,
) -> Result<(Arc<Model>, KafkaOptions), StartError> {
    let mut problems = Vec::new();
    match (load_model(settings), kafka_options(settings, client_id)) {
        (Ok(model), Ok(kafka)) => Ok((model, kafka)),
        (model, kafka) => {
            for error in [model.err(), kafka.err()].into_iter().flatten() {
                error.gather(&mut problems)?;
            }
            Err(StartError::Values(problems))
        }
    }
}

/// Registers the common metrics and says which build runs.
///
/// # Errors
/// When they are registered already.
pub fn common_metrics(registry: &Registry) -> anyhow::Result<CommonMetrics> {
    registry.add_process()?;
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
