//! A script that a tenant has saved.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidewire_event::{Tenant, write_self_url};

use super::key::{check_format, format_key};
use super::{AUTHOR_BYTES_MAX, FORMAT, Section, StoredError, parse_key};
use crate::alert::ALERT_TYPE;
use crate::source::script_number;
use crate::{ScriptRecord, SourceId, Template};

/// A script that a tenant has saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Whose it is.
    pub tenant: Tenant,
    /// Grows with each save, from 1; starts anew where the script was deleted in between.
    pub version: u64,
    /// Who saved this version.
    pub author: String,
    /// When, in unix seconds.
    pub changed_at: i64,
    /// What was saved.
    pub record: ScriptRecord,
    source: SourceId,
    template: Template,
}

#[derive(Deserialize)]
struct Body {
    version: u64,
    author: String,
    #[serde(rename = "changedAt")]
    changed_at: i64,
    record: Value,
}

impl Script {
    /// A version of a script. A longer name of the author is cut.
    #[must_use]
    pub fn new(
        tenant: Tenant,
        version: u64,
        author: &str,
        changed_at: i64,
        record: ScriptRecord,
    ) -> Self {
        let source = SourceId::of(record.language, &record.body);
        // Whoever made the record has read its template; one that cannot be read has no slots.
        let template = Template::parse(&record.template).unwrap_or_default();
        let mut end = author.len().min(AUTHOR_BYTES_MAX);
        while !author.is_char_boundary(end) {
            end -= 1;
        }
        let author = author.get(..end).unwrap_or_default().to_owned();
        Self { tenant, version, author, changed_at, record, source, template }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.record.code
    }

    /// The identity of its source.
    #[must_use]
    pub const fn source_id(&self) -> SourceId {
        self.source
    }

    /// Its template, read.
    #[must_use]
    pub const fn template(&self) -> &Template {
        &self.template
    }

    /// The number that stands as `key` in the API: it follows from tenant and code.
    #[must_use]
    pub fn number(&self) -> u64 {
        script_number(self.tenant.as_str(), self.code())
    }

    /// The key of its record in the control topic.
    #[must_use]
    pub fn key(&self) -> String {
        format_key(Section::Script, &self.tenant, self.code())
    }

    /// The key of the script of this code: a tombstone there deletes it.
    #[must_use]
    pub fn key_of(tenant: &Tenant, code: &str) -> String {
        format_key(Section::Script, tenant, code)
    }

    /// The value of its record in the control topic.
    #[must_use]
    pub fn value(&self) -> String {
        json!({
            "v": FORMAT,
            "version": self.version,
            "author": self.author,
            "changedAt": self.changed_at,
            "record": self.record.members(),
        })
        .to_string()
    }

    /// Reads a record of the control topic that has a value. `Ok(None)`: the key is of another kind.
    ///
    /// # Errors
    /// [`StoredError`]: the record changes nothing.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, StoredError> {
        let Some((Section::Script, tenant, code)) = parse_key(key)? else { return Ok(None) };
        check_format(value, "script")?;
        let body: Body = serde_json::from_slice(value).map_err(|_| StoredError::Value("script"))?;
        let record = ScriptRecord::from_value(&body.record).map_err(StoredError::Record)?;
        if *record.code != *code {
            return Err(StoredError::Disagrees);
        }
        Ok(Some(Self::new(tenant, body.version, &body.author, body.changed_at, record)))
    }

    /// The script as the API shows it: `key`, `self`, what its author wrote, then `version`, `author` and
    /// `changedAt`. `self_base` is the base URL of the tenant without a slash at its end.
    #[must_use]
    pub fn to_json(&self, self_base: &str) -> Map<String, Value> {
        let number = self.number();
        let mut link = Vec::new();
        write_self_url(&mut link, self_base, ALERT_TYPE, &number.to_string());
        let mut out = Map::new();
        out.insert("key".into(), number.into());
        out.insert("self".into(), String::from_utf8_lossy(&link).into());
        out.extend(self.record.members());
        out.insert("version".into(), self.version.into());
        out.insert("author".into(), self.author.as_str().into());
        out.insert("changedAt".into(), self.changed_at.into());
        out
    }
}
