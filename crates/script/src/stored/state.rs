//! The state of one version of a script.

use serde::{Deserialize, Serialize};
use tidewire_event::Tenant;

use super::key::{check_format, format_key};
use super::{FORMAT, Section, StoredError, parse_key};
use crate::names::clip;
use crate::{ScriptError, ScriptErrorKind};

/// Most characters of the text of an error that is kept.
const REASON_CHARS_MAX: usize = 500;

/// Why and since when a script is disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// Since when, in unix seconds.
    pub at: i64,
    /// The last of its faults.
    pub error: ScriptError,
}

/// One version of a script is disabled. It is void for every other version; its tombstone enables the
/// script again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptState {
    /// Whose script.
    pub tenant: Tenant,
    /// Which.
    pub code: String,
    /// Which version of it.
    pub version: u64,
    /// Why.
    pub disabled: Disabled,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u64,
    version: u64,
    at: i64,
    kind: ScriptErrorKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    reason: String,
}

impl ScriptState {
    /// The key of its record in the control topic.
    #[must_use]
    pub fn key(&self) -> String {
        Self::key_of(&self.tenant, &self.code)
    }

    /// The key of the state of this script: a tombstone there enables it.
    #[must_use]
    pub fn key_of(tenant: &Tenant, code: &str) -> String {
        format_key(Section::State, tenant, code)
    }

    /// The value of its record. A long reason is cut.
    #[must_use]
    pub fn value(&self) -> String {
        let Disabled { at, error } = &self.disabled;
        let body = Body {
            v: FORMAT,
            version: self.version,
            at: *at,
            kind: error.kind,
            line: error.line,
            column: error.column,
            reason: clip(&error.reason, REASON_CHARS_MAX),
        };
        // Texts and numbers always encode; an unreadable record would only be skipped.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Reads a record of the control topic that has a value. `Ok(None)`: the key is of another kind.
    ///
    /// # Errors
    /// [`StoredError`]: the record changes nothing.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, StoredError> {
        let Some((Section::State, tenant, code)) = parse_key(key)? else { return Ok(None) };
        check_format(value, "script's state")?;
        let body: Body =
            serde_json::from_slice(value).map_err(|_| StoredError::Value("script's state"))?;
        let Body { version, at, kind, line, column, reason, .. } = body;
        let error = ScriptError { kind, line, column, reason: clip(&reason, REASON_CHARS_MAX) };
        Ok(Some(Self { tenant, code, version, disabled: Disabled { at, error } }))
    }
}
