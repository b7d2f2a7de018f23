//! On whose behalf a back-test reads: an operator's, or that of whoever a token speaks for.
//!
//! The topic knows no rights: who may read it sees all that it holds. So a token is held here against what a
//! gateway holds it against, by the same code and the same configuration (revocations too), and what a gateway
//! would refuse is refused in its words before a change is read. Nothing is sent to anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tidewire_assembly::{Checked, begin, check, check_without_tokens};
use tidewire_auth::{SecretText, Verifier, unix_now};
use tidewire_config::{Service, Settings, Sources};
use tidewire_event::Tenant;
use tidewire_kafka::{History, KafkaOptions, stretches};
use tidewire_log::read_stretch;
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal};
use tidewire_script::{Fields, Script, judge};
use tidewire_wire::error::Refusal;
use tokio::runtime::Runtime;

use super::Failed;
use crate::http::{Bearer, BearerArgs, secret_text};
use crate::token::DEV_SECRET_FILE;

/// What Kafka and brokers' logs see.
const CLIENT_ID: &str = "tidewire-backtest";

/// Whose changes, and with whose rights.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Read with the rights of this token and its tenant's changes. It is verified here, by `auth.*` of the
    /// configuration; where that names no issuer, by the development secret (.tidewire/dev-secret). Without
    /// a token this is a command for operators, whom no rights bind.
    #[arg(long, env = "TIDEWIRE_TOKEN", hide_env_values = true, value_parser = secret_text)]
    token: Option<SecretText>,
    /// A file that holds the token. It goes before --token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Whose changes, without a token; `demo` where it is left out.
    #[arg(long)]
    tenant: Option<String>,
    /// The configuration file, as that of the alerts service: where Kafka is, the data model, the limits of
    /// a run. With a token also who issues them, and what roles may do and read.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// What a back-test works with, and for whom.
pub(super) struct Access {
    pub(super) settings: Settings,
    pub(super) model: Arc<Model>,
    pub(super) kafka: KafkaOptions,
    pub(super) tenant: Tenant,
    /// `None`: an operator.
    reader: Option<Reader>,
}

/// Whoever the token speaks for.
struct Reader {
    principal: Arc<Principal>,
    class: PermissionClass,
    verifier: Arc<Verifier>,
}

impl Args {
    fn token(&self) -> anyhow::Result<Option<SecretText>> {
        if self.token.is_none() && self.token_file.is_none() {
            return Ok(None);
        }
        let args = BearerArgs {
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            secret_file: None,
            tenant: String::new(),
        };
        let token = Bearer::new(&args, &[]).and_then(|mut bearer| bearer.token());
        Ok(Some(token.context("no token")?))
    }

    /// The configuration, and whether tokens are those of the development secret.
    fn settings(&self, with_token: bool) -> Result<(Settings, bool), Failed> {
        let sources = Sources::from_env()
            .file(self.config.as_deref())
            .set(["log.level=warn".to_owned(), "log.format=text".to_owned()]);
        let load = |service, sources: Sources| {
            let loaded = tidewire_config::load(service, sources.set(self.set.clone()));
            loaded.map_err(|errors| Failed::Usage(errors.into()))
        };
        let settings = load(Service::Alerts, sources.clone())?;
        if !with_token || !settings.auth.issuers.is_empty() {
            return Ok((settings, false));
        }
        if !Path::new(DEV_SECRET_FILE).exists() {
            return Err(Failed::Usage(anyhow!(
                "the token cannot be verified: the configuration does not say who issues tokens \
                 (auth.issuer), and there is no development secret here ({DEV_SECRET_FILE})"
            )));
        }
        let secret = [format!("auth.hs256_secret_file={DEV_SECRET_FILE}")];
        Ok((load(Service::Dev, sources.set(secret))?, true))
    }

    /// Reads the configuration and verifies the token, if there is one.
    pub(super) fn access(&self, runtime: &Runtime) -> Result<Access, Failed> {
        let token = self.token().map_err(Failed::Usage)?;
        let tenant = self.tenant.as_deref().map(Tenant::new).transpose();
        let tenant = tenant.context("--tenant").map_err(Failed::Usage)?;
        let (settings, development) = self.settings(token.is_some())?;
        begin(&settings)?;
        let Some(token) = token else {
            let (model, kafka) = check_without_tokens(&settings, CLIENT_ID)?;
            let demo = || Tenant::new(crate::dev::TENANT).context("no tenant");
            let tenant = tenant.map_or_else(demo, Ok)?;
            return Ok(Access { settings, model, kafka, tenant, reader: None });
        };
        let Checked { model, verifier, rights, kafka } = check(&settings, CLIENT_ID, development)?;
        let verified = runtime.block_on(verifier.verify(token.expose(), unix_now()));
        let principal = verified.map_err(|error| anyhow!(error.message()))?;
        if let Some(other) = tenant.filter(|tenant| *tenant != principal.tenant) {
            return Err(Failed::Usage(anyhow!(
                "--tenant {other}: the token is of another tenant, and with a token it is that one's \
                 changes that are read"
            )));
        }
        judge::of_author(verifier.roles(), &principal).map_err(refused)?;
        let (tenant, class) = (principal.tenant.clone(), rights.permission_class(&principal));
        let reader = Some(Reader { principal, class, verifier });
        Ok(Access { settings, model, kafka, tenant, reader })
    }
}

impl Access {
    /// Whether the script may be run for whoever asks, as far as its record tells.
    pub(super) fn check_record(&self, script: &Script) -> Result<(), Failed> {
        let Some(reader) = &self.reader else { return Ok(()) };
        // An author hears scripts without a role as well.
        judge::of_record(&reader.principal, &reader.class, script, true).map_err(refused)
    }

    /// The same, as far as its source tells.
    pub(super) fn check_fields(&self, script: &Script, fields: &Fields) -> Result<(), Failed> {
        let Some(reader) = &self.reader else { return Ok(()) };
        judge::of_fields(&reader.class, &self.model, script, fields).map_err(refused)
    }

    /// Whether the token was revoked, as the control topic tells. Blocks.
    pub(super) fn check_revocations(&self) -> Result<(), Failed> {
        let Some(Reader { principal, verifier, .. }) = &self.reader else { return Ok(()) };
        let topic = &self.settings.kafka.control_topic;
        revoke(verifier, &self.kafka, topic).with_context(|| {
            format!("revocations: kafka at {} (kafka.brokers)", self.kafka.brokers)
        })?;
        if verifier.is_revoked(principal, unix_now()) {
            return Err(anyhow!(tidewire_auth::TokenError::Revoked.message()).into());
        }
        Ok(())
    }
}

/// Puts in force what the control topic holds now.
fn revoke(verifier: &Verifier, kafka: &KafkaOptions, topic: &str) -> anyhow::Result<()> {
    let mut history = History::new(kafka, topic)?;
    for stretch in stretches(kafka, topic, None)? {
        read_stretch(&mut history, stretch, &mut |record| {
            let key = record.key.unwrap_or_default();
            let mut revocations = verifier.revocations().write();
            if let Err(error) = revocations.apply(key, record.payload, unix_now()) {
                // As a gateway does: the others stay in force.
                tracing::warn!(offset = record.offset.0, %error, "a revocation cannot be used");
            }
        })?;
    }
    Ok(())
}

fn refused(refusal: Refusal) -> Failed {
    Failed::Other(anyhow!(refusal.message))
}
