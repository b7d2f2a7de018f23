//! The keys of the two kinds of record.

use tidewire_event::{Tenant, percent_decode, percent_encode};

use super::StoredError;
use crate::limits::CODE_BYTES_MAX;

/// Which record of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Script,
    State,
}

impl Section {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::State => "script-state",
        }
    }
}

pub(super) fn format_key(section: Section, tenant: &Tenant, code: &str) -> String {
    let tenant = percent_encode(tenant.as_str());
    format!("{tenant}/{}/{}", section.as_str(), percent_encode(code))
}

/// Tenant and code of a key; `None` where the key is of another kind of record.
pub(crate) fn parse_key(key: &[u8]) -> Result<Option<(Section, Tenant, String)>, StoredError> {
    let text = std::str::from_utf8(key).map_err(|_| StoredError::Key)?;
    let mut parts = text.split('/');
    let (Some(tenant), Some(section)) = (parts.next(), parts.next()) else {
        return Err(StoredError::Key);
    };
    let sections = [Section::Script, Section::State];
    let Some(section) = sections.into_iter().find(|one| one.as_str() == section) else {
        return Ok(None);
    };
    let (Some(code), None) = (parts.next(), parts.next()) else { return Err(StoredError::Key) };
    let tenant = percent_decode(tenant).map_err(|_| StoredError::Key)?;
    let tenant = Tenant::new(&tenant).map_err(StoredError::Tenant)?;
    let code = percent_decode(code).map_err(|_| StoredError::Key)?.into_owned();
    if code.is_empty() || code.len() > CODE_BYTES_MAX || code.chars().any(char::is_control) {
        return Err(StoredError::Key);
    }
    Ok(Some((section, tenant, code)))
}

/// The format of a value alone: a later one may have other members.
pub(super) fn check_format(value: &[u8], what: &'static str) -> Result<(), StoredError> {
    #[derive(serde::Deserialize)]
    struct Format {
        v: u64,
    }
    let Format { v } = serde_json::from_slice(value).map_err(|_| StoredError::Value(what))?;
    if v == super::FORMAT { Ok(()) } else { Err(StoredError::Format(v)) }
}
