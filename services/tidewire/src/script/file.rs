//! A script as it stands in files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use tidewire_model::Model;
use tidewire_script::{Refused, ScriptError, ScriptRecord, ScriptRecordError};

use super::{Failed, fault};
use crate::terminal::plain;

/// More than any record that a gateway takes, however it is indented.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const SOURCE_EXTENSION: &str = "rhai";

/// A script that was read, and where from.
#[derive(Debug)]
pub(super) struct ScriptFile {
    pub(super) record: ScriptRecord,
    record_path: PathBuf,
    /// Where its source stands, unless in the record.
    source_path: Option<PathBuf>,
}

impl ScriptFile {
    /// Reads a script by its record or its source; of the two the other stands beside it.
    pub(super) fn read(path: &Path) -> Result<Self, Failed> {
        let named_source = path.extension().is_some_and(|extension| extension == SOURCE_EXTENSION);
        let record_path = if named_source { path.with_extension("json") } else { path.to_owned() };
        let text = text(&record_path).map_err(Failed::Usage)?;
        let holds_source = serde_json::from_str::<Value>(&text)
            .is_ok_and(|record| record.get("scriptBody").is_some_and(|body| !body.is_null()));
        let beside = record_path.with_extension(SOURCE_EXTENSION);
        let source_path = match (holds_source, named_source) {
            (true, true) => {
                return Err(Failed::Usage(anyhow!(
                    "{} has a 'scriptBody' of its own: which of the two is meant?",
                    record_path.display()
                )));
            }
            (false, _) if beside != record_path && beside.exists() => Some(beside),
            // Without a source anywhere the record is refused for that.
            _ => None,
        };
        let read = match &source_path {
            None => ScriptRecord::parse(text.as_bytes()),
            Some(source_path) => {
                let source = self::text(source_path).map_err(Failed::Usage)?;
                ScriptRecord::parse_with_body(text.as_bytes(), &source)
            }
        };
        match read {
            Ok(record) => Ok(Self { record, record_path, source_path }),
            Err(error) => Err(Failed::Script(of_record(&record_path, &text, &error))),
        }
    }

    /// Looks whether the model knows the types of its triggers.
    pub(super) fn check_types(&self, model: &Model) -> Result<(), Failed> {
        let checked = self.record.check_types(model);
        checked.map_err(|error| Failed::Script(of_record(&self.record_path, "", &error)))
    }

    /// A fault of the source, with its place.
    pub(super) fn fault(&self, error: &ScriptError) -> String {
        self.fault_with(error, &error.reason)
    }

    /// Why a gateway would not save it.
    pub(super) fn refusal(&self, Refused { error, sample }: &Refused) -> String {
        let reason = sample.as_ref().map_or_else(
            || error.reason.clone(),
            |sample| format!("{} (in a dry run over {sample})", error.reason),
        );
        self.fault_with(error, &reason)
    }

    fn fault_with(&self, error: &ScriptError, reason: &str) -> String {
        let file = match &self.source_path {
            Some(path) => path.display().to_string(),
            None => format!("{}: scriptBody", self.record_path.display()),
        };
        fault::at(&file, &self.record.body, error.line, error.column, &plain(reason))
    }

    /// What a gateway said of it. What it says of the source has a place.
    pub(super) fn refused(&self, message: &str) -> String {
        match of_source(message) {
            Some(error) => self.fault(&error),
            None => format!("{}: {}", self.record_path.display(), plain(message)),
        }
    }
}

/// Reads `'scriptBody': line 2, column 9: reason`.
fn of_source(message: &str) -> Option<ScriptError> {
    let rest = message.strip_prefix("'scriptBody': line ")?;
    let (line, rest) = rest.split_at(rest.find([',', ':'])?);
    let line = line.parse().ok()?;
    let (column, reason) = match rest.strip_prefix(", column ") {
        Some(rest) => {
            let (column, reason) = rest.split_once(": ")?;
            (Some(column.parse().ok()?), reason)
        }
        None => (None, rest.strip_prefix(": ")?),
    };
    let error = ScriptError::new(tidewire_script::ScriptErrorKind::Compile, reason);
    Some(error.at(Some(line), column))
}

fn of_record(path: &Path, text: &str, error: &ScriptRecordError) -> String {
    let file = path.display().to_string();
    match error {
        ScriptRecordError::Json { line, column } => {
            let number = |number: usize| u32::try_from(number).ok();
            fault::at(&file, text, number(*line), number(*column), "this is not JSON")
        }
        other => format!("{file}: {other}"),
    }
}

/// Reads a file that a person wrote.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{shown} has more than {FILE_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("{shown} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_says_of_the_source_has_a_place() {
        let check = |message: &str, expected: Option<(u32, Option<u32>, &str)>| {
            let error = of_source(message);
            let found = error.as_ref().and_then(|e| Some((e.line?, e.column, e.reason.as_str())));
            assert_eq!(found, expected, "{message}");
        };
        check("'scriptBody': line 2, column 9: a: b", Some((2, Some(9), "a: b")));
        check("'scriptBody': line 2: why", Some((2, None, "why")));
        for other in [
            "",
            "'scriptBody' must be a text",
            "'scriptBody': why",
            "'scriptBody': line x: y",
            "'scriptBody': line 1",
        ] {
            check(other, None);
        }
    }
}
