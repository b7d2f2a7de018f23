//! Scripts as records of the compacted control topic.
//!
//! Two records for each script, so that no writer can undo what another has written. The *script* (key
//! `<tenant>/script/<code>`) is written by authors; its version grows with each save. Its *state* (key
//! `<tenant>/script-state/<code>`) is written by whoever runs scripts: it says that one version is
//! disabled, and is void for every other. The parts of a key are percent-encoded; a tombstone deletes.
//!
//! Of one key the last record of the topic counts, whatever its version: compaction keeps that one, and
//! a replica that starts later must see what the others saw.

mod key;
mod script;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use thiserror::Error;
use tidewire_event::IdError;

pub(crate) use key::{Section, parse_key};
pub use script::Script;
pub use state::{Disabled, ScriptState};

use crate::ScriptRecordError;

/// Most bytes of the name of an author.
pub const AUTHOR_BYTES_MAX: usize = 256;
/// The format of both values.
const FORMAT: u64 = 1;

/// Why a record of the control topic cannot be used. It changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoredError {
    /// The key.
    #[error("the key is not '<tenant>/<script or script-state>/<code>'")]
    Key,
    /// The tenant in the key.
    #[error("the tenant in the key is not valid")]
    Tenant(#[source] IdError),
    /// The value.
    #[error("the value is not the JSON of a {0}")]
    Value(&'static str),
    /// Written by a later version.
    #[error("the value has format {0}, this version reads 1")]
    Format(u64),
    /// The script in the value.
    #[error("the script in the value is not valid")]
    Record(#[source] ScriptRecordError),
    /// Key and value disagree.
    #[error("the value is of another script than the key")]
    Disagrees,
    /// The tenant has as many scripts as there may be.
    #[error("the tenant has as many scripts as are kept, and no more are")]
    Full,
}
