//! Collects the fields of one event or span as a fragment of a line.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};

use super::text::write_safe;
use super::{FIELDS_BYTES_MAX, LogFormat};

const REDACTED: &str = "[redacted]";
/// Fields whose value is never shown. Nobody should log them; this holds where somebody does.
const SECRET_FIELDS: [&str; 6] =
    ["token", "ticket", "authorization", "secret", "password", "credentials"];

/// The message apart, all other fields as `,"name":value` (JSON) or ` name=value` (text).
pub(super) struct Fields {
    format: LogFormat,
    pub(super) message: String,
    pub(super) others: String,
    truncated: bool,
}

impl Fields {
    pub(super) const fn new(format: LogFormat) -> Self {
        Self { format, message: String::new(), others: String::new(), truncated: false }
    }

    /// A value that needs no quotes and no escapes.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.push(field, |out, _| write!(out, "{value}"));
    }

    fn quoted(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write_safe(&mut self.message, value);
            return;
        }
        self.push(field, |out, format| match format {
            LogFormat::Text if is_plain_word(value) => write_safe(out, value),
            _ => {
                out.write_char('"')?;
                write_safe(out, value)?;
                out.write_char('"')
            }
        });
    }

    fn push(&mut self, field: &Field, write: impl FnOnce(&mut String, LogFormat) -> fmt::Result) {
        let start = self.others.len();
        let name = field.name();
        let secret = SECRET_FIELDS.contains(&name);
        let written = match self.format {
            LogFormat::Json => write!(self.others, ",\"{name}\":"),
            LogFormat::Text => write!(self.others, " {name}="),
        }
        .and_then(|()| match self.format {
            LogFormat::Json if secret => write!(self.others, "\"{REDACTED}\""),
            LogFormat::Text if secret => self.others.write_str(REDACTED),
            format => write(&mut self.others, format),
        });
        if written.is_err() || self.others.len() > FIELDS_BYTES_MAX {
            self.others.truncate(start);
            if !self.truncated {
                self.truncated = true;
                self.others.push_str(match self.format {
                    LogFormat::Json => ",\"truncated\":true",
                    LogFormat::Text => " truncated=true",
                });
            }
        }
    }
}

fn is_plain_word(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@+,%".contains(&b);
    !value.is_empty() && value.len() <= 64 && value.bytes().all(plain)
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.quoted(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            // JSON has no word for these.
            self.quoted(field, &value.to_string());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.quoted(field, &text);
    }
}
