//! Configuration: commented defaults, a file, the environment, flags, in rising order; checked as a whole.
//!
//! `defaults.toml` is the list of keys and, with its comments, the reference. A key that does not stand
//! there does not exist. [`load`] reports every problem at once, by key, and never shows a secret.
//!
//! Layers: [`Sources`] are turned into layers of known keys (`layer`), the `config` crate merges them and
//! remembers where each value came from, `reader` takes typed values out, `settings` puts them together
//! and checks what must fit together.

mod error;
mod layer;
mod page;
mod reader;
mod schema;
mod secret;
mod service;
mod settings;
mod sources;
mod value;

pub use error::{ConfigErrors, Problem};
pub use page::{print, reference};
pub use secret::{SECRET_BYTES_MAX, Secret, SecretError};
pub use service::Service;
pub use settings::{
    Alerts, AlertsStart, Auth, Capture, Claims, Gateway, Http, Internal, IpRange, Issuer, Kafka,
    KeySource, Log, Mapping, Model, Redis, RedisMode, Rights, RightsDefault, Roles, Settings, Tls,
    UnknownTypes, load,
};
pub use sources::{ENV_PREFIX, Sources};

/// Checks a configuration as [`load`] does.
///
/// # Errors
/// Every problem, by key.
pub fn check(service: Service, sources: Sources) -> Result<(), ConfigErrors> {
    load(service, sources).map(drop)
}

#[cfg(test)]
mod tests;
