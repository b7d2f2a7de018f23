//! The configuration for people: the reference page, and what is in force.

use std::fmt::Write as _;

use crate::error::ConfigErrors;
use crate::layer::merge;
use crate::reader::Reader;
use crate::schema::{DEFAULTS, SCHEMA};
use crate::service::Service;
use crate::settings::load;
use crate::sources::Sources;

/// The configuration in force as TOML, each key with where its value came from. Secrets stand in files
/// and are not read for it; a URL that may hold a password is not shown.
///
/// # Errors
/// Every problem, as [`load`] reports them.
pub fn print(service: Service, sources: Sources) -> Result<String, ConfigErrors> {
    load(service, sources.clone())?;
    let mut problems = Vec::new();
    let reader = Reader::new(merge(service, &sources, &mut problems), problems);
    let mut out = format!("# The configuration of {} in force.\n", service.name());
    for key in &SCHEMA.keys {
        let origin = reader.origin(key);
        let origin = if origin.is_empty() { "the defaults".to_owned() } else { origin };
        if is_rows(key) {
            let _ = writeln!(out, "# {key}: tables, from {origin}");
            continue;
        }
        let shown = match reader.list(key).as_slice() {
            _ if key == "redis.url" => hidden(&reader.text(key)),
            items if is_list(key) => format!("{items:?}"),
            _ => format!("{:?}", reader.text(key)),
        };
        let _ = writeln!(out, "{key} = {shown} # {origin}");
    }
    for map in &SCHEMA.maps {
        for (entry, value) in reader.map(map) {
            let value = if value.is_empty() {
                format!("{:?}", reader.lists(map).remove(&entry).unwrap_or_default())
            } else {
                format!("{value:?}")
            };
            let _ = writeln!(out, "{map}.{entry:?} = {value}");
        }
    }
    Ok(out)
}

fn hidden(url: &str) -> String {
    if url.contains('@') {
        "\"(hidden: it may hold a password)\"".to_owned()
    } else {
        format!("{url:?}")
    }
}

fn default_of(key: &str) -> Option<&toml::Value> {
    let mut parts = key.split('.');
    let first = SCHEMA.table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn is_rows(key: &str) -> bool {
    matches!(key, "auth.issuers" | "auth.mapping")
}

fn is_list(key: &str) -> bool {
    !is_rows(key) && default_of(key).is_some_and(toml::Value::is_array)
}

/// The reference page, in Markdown, made from the comments of `defaults.toml`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\n<!-- generated from crates/config/defaults.toml -->\n\n\
         Defaults < file (`--config`) < environment (`TIDEWIRE__SECTION__KEY`) < flags (`--set \
         section.key=value`). Unknown keys are refused. Lists in the environment are separated by \
         commas; tables in arrays are TOML. `tidewire config check|print` looks at a configuration \
         without starting anything.\n",
    );
    let (mut section, mut comment) = (String::new(), String::new());
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            let _ = write!(out, "\n## `{section}`\n\n{}\n", comment.trim());
            let is_map = SCHEMA.maps.contains(&section);
            if !is_map {
                out.push_str("\n| key | default | environment | meaning |\n|---|---|---|---|\n");
            }
            comment.clear();
        } else if let Some((key, value)) = line.split_once(" = ") {
            if section.is_empty() && !out.contains("\n## Top level") {
                out.push_str("\n## Top level\n\n| key | default | environment | meaning |\n|---|---|---|---|\n");
            }
            let full = crate::schema::join(&section, key);
            let variable = full.to_ascii_uppercase().replace('.', "__");
            let meaning = comment.trim().replace('|', "\\|");
            let _ = writeln!(out, "| `{key}` | `{value}` | `TIDEWIRE__{variable}` | {meaning} |");
            comment.clear();
        } else {
            comment.clear();
        }
    }
    let _ = write!(
        out,
        "\n## Defaults that differ by service\n\n| service | key | default |\n|---|---|---|\n"
    );
    for service in Service::ALL {
        for (key, value) in service.defaults() {
            let _ = writeln!(out, "| {} | `{key}` | `{value}` |", service.name());
        }
    }
    out
}
