//! The settings, typed and checked: each section in a file of its own, here what they are together.

mod alerts;
mod auth;
mod http;
mod kafka;
mod model;
mod redis;
mod url;
mod work;

use std::time::Duration;

use crate::error::ConfigErrors;
use crate::layer::merge;
use crate::reader::Reader;
use crate::service::Service;
use crate::sources::Sources;

pub use alerts::{Alerts, AlertsStart};
pub use auth::{Auth, Claims, Issuer, KeySource, Mapping, Roles};
pub use http::{Http, Internal, IpRange, Tls};
pub use kafka::Kafka;
pub use model::{Model, Rights, RightsDefault, UnknownTypes};
pub use redis::{Redis, RedisMode};
pub use work::{Capture, Gateway};

/// Everything that configuration decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients reach this deployment, without a slash at its end; `None`: from `http.listen`.
    pub public_url: Option<String>,
    /// Section `log`.
    pub log: Log,
    /// Section `kafka`.
    pub kafka: Kafka,
    /// Section `redis`; `None` where no URL is set.
    pub redis: Option<Redis>,
    /// Section `auth`.
    pub auth: Auth,
    /// Section `http`.
    pub http: Http,
    /// Section `internal`.
    pub internal: Internal,
    /// Section `model`.
    pub model: Model,
    /// Section `rights`.
    pub rights: Rights,
    /// Section `gateway`.
    pub gateway: Gateway,
    /// Section `capture`.
    pub capture: Capture,
    /// Section `alerts`.
    pub alerts: Alerts,
}

/// Section `log`.
#[derive(Clone, Debug)]
pub struct Log {
    /// JSON lines, or text for a terminal.
    pub json: bool,
    /// The filter.
    pub level: String,
}

/// Reads, merges and checks all sources for a service.
///
/// # Errors
/// Every problem, by key: the process ends with exit code 64.
pub fn load(service: Service, sources: Sources) -> Result<Settings, ConfigErrors> {
    let mut problems = Vec::new();
    let merged = merge(service, &sources, &mut problems);
    let reader = Reader::new(merged, problems);
    let settings = read(&reader, service);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors(problems)) }
}

fn read(r: &Reader, service: Service) -> Settings {
    let settings = Settings {
        public_url: url::url(r, "public_url"),
        log: Log {
            json: r.choice("log.format", &[("json", true), ("text", false)], true),
            level: level(r),
        },
        kafka: kafka::kafka(r),
        redis: redis::redis(r),
        auth: auth::auth(r),
        http: http::http(r),
        internal: Internal { listen: http::address(r, "internal.listen") },
        model: model::model(r),
        rights: model::rights(r),
        gateway: work::gateway(r),
        capture: work::capture(r),
        alerts: alerts::alerts(r),
    };
    check(r, service, &settings);
    settings
}

/// A level, or `target=level` some times: what the reference promises. The logger knows more than that, but
/// what it does not know it would tell only at start, and alone.
fn level(r: &Reader) -> String {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = r.text("log.level");
    let of_target = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    let fits = |directive: &str| match directive.trim().split_once('=') {
        Some((target, level)) => of_target(target) && LEVELS.contains(&level),
        None => LEVELS.contains(&directive.trim()),
    };
    if !text.split(',').all(fits) {
        let text = format!("{text:?} is not a level, or a list such as info,tidewire_router=debug");
        r.problem("log.level", text);
    }
    text
}

/// What must fit together, and what a service cannot do without.
fn check(r: &Reader, service: Service, settings: &Settings) {
    let both = |a: &str, b: &str| r.is_sound(a) && r.is_sound(b);
    let (gateway, capture) = (&settings.gateway, &settings.capture);
    if both("gateway.pong_timeout", "gateway.ping_interval")
        && gateway.pong_timeout >= gateway.ping_interval
    {
        r.problem("gateway.pong_timeout", "must be less than gateway.ping_interval");
    }
    if both("gateway.frame_bytes_max", "gateway.message_bytes_max")
        && gateway.frame_bytes_max > gateway.message_bytes_max
    {
        r.problem("gateway.frame_bytes_max", "must not be more than gateway.message_bytes_max");
    }
    if both("capture.change_max_bytes", "capture.bulk_bytes_max")
        && capture.change_max_bytes as u64 > capture.bulk_bytes_max
    {
        r.problem("capture.change_max_bytes", "must not be more than capture.bulk_bytes_max");
    }
    if settings.http.listen == settings.internal.listen && settings.http.listen.port() != 0 {
        r.problem("internal.listen", "must differ from http.listen");
    }
    if service != Service::Dev && settings.kafka.brokers.is_empty() {
        r.problem("kafka.brokers", "is required: host:port of some brokers");
    }
    if service.takes_tokens() && settings.auth.issuers.is_empty() {
        let text = "is required: who issues the tokens (with auth.audience and auth.jwks_url or \
                    auth.hs256_secret_file), or [[auth.issuers]]";
        r.problem("auth.issuer", text);
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
