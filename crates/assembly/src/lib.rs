//! What every service does in the same way: read the configuration, turn it into the options of the
//! adapters, check topics, name what is wrong.
//!
//! Beside the services themselves this is the only crate that knows both the configuration and the
//! adapters. It decides nothing: each function maps one section.

mod auth;
mod kafka;
mod model;
mod server;
mod start;
mod store;

pub use kafka::{alerts_topic, changes_topic, control_topic, prepare_topics, quarantine_topic};
pub use model::self_links;
pub use server::{allowed_origins, internal_server, public_server, public_url};
pub use start::{
    Checked, ServiceArgs, StartError, begin, check, check_without_tokens, common_metrics, explain,
    init,
};
pub use store::start_store;
