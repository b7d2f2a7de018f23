//! Turns each source into a layer of known keys and lets the `config` crate merge them.

use std::collections::BTreeMap;
use std::fmt;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use toml::Table;

use crate::error::Problem;
use crate::schema::{Name, SCHEMA, join};
use crate::service::Service;
use crate::sources::{ENV_PREFIX, Sources};

/// The most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Every key with its value and its origin; entries of maps under `map` and then entry.
pub(crate) struct Merged {
    pub(crate) keys: BTreeMap<String, Value>,
    pub(crate) maps: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One source, reduced to keys that exist.
#[derive(Clone, Default)]
struct Layer(Map<String, Value>);

// By hand: values may hold a secret.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer of {} keys", self.0.len())
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// Merges all sources. What is wrong with names is added to `problems`; the rest is merged all the same,
/// so that values are checked in the same run.
pub(crate) fn merge(service: Service, sources: &Sources, problems: &mut Vec<Problem>) -> Merged {
    let mut reading = Reading { problems };
    let mut layers = vec![reading.table("the defaults", &SCHEMA.table), service_defaults(service)];
    layers.extend(reading.file(sources));
    layers.push(reading.environment(sources));
    layers.push(reading.flags(sources));
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    match builder.build() {
        Ok(config) => split(config.cache),
        Err(error) => {
            reading.problem("configuration", error.to_string(), "");
            Merged { keys: BTreeMap::new(), maps: BTreeMap::new() }
        }
    }
}

fn service_defaults(service: Service) -> Layer {
    let origin = format!("the defaults of {}", service.name());
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), text(&origin, value));
    Layer(service.defaults().iter().map(text).collect())
}

struct Reading<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Reading<'_> {
    fn problem(&mut self, key: &str, message: String, origin: &str) {
        self.problems.push(Problem { key: key.to_owned(), message, origin: origin.to_owned() });
    }

    fn file(&mut self, sources: &Sources) -> Option<Layer> {
        let path = sources.file.as_ref()?;
        let origin = path.display().to_string();
        let text = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                self.problem(&origin, format!("is larger than {FILE_BYTES_MAX} bytes"), "");
                return None;
            }
            _ => std::fs::read_to_string(path),
        };
        let parsed =
            text.map_err(|error| format!("cannot be read: {}", error.kind())).and_then(|text| {
                text.parse::<Table>().map_err(|error| {
                    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
                })
            });
        match parsed {
            Ok(table) => Some(self.table(&origin, &table)),
            Err(message) => {
                self.problem(&origin, message, "");
                None
            }
        }
    }

    fn table(&mut self, origin: &str, table: &Table) -> Layer {
        let mut layer = Layer::default();
        self.walk(&mut layer, origin, "", table);
        layer
    }

    fn walk(&mut self, layer: &mut Layer, origin: &str, path: &str, table: &Table) {
        for (name, value) in table {
            let full = join(path, name);
            match (SCHEMA.name(&full), value) {
                (Name::Key, _) => {
                    layer.0.insert(full, convert(origin, value));
                }
                // librdkafka's names have dots: `sasl.mechanism` and `"sasl.mechanism"` are one entry.
                (Name::Entry { .. } | Name::Section, toml::Value::Table(inner)) => {
                    self.walk(layer, origin, &full, inner);
                }
                (Name::Entry { map, entry }, _) => {
                    layer.entry(map, entry, convert(origin, value));
                }
                (Name::Section, _) => {
                    self.problem(&full, "is a section, expected a table".to_owned(), origin);
                }
                (Name::Unknown, _) => self.unknown(&full, origin),
            }
        }
    }

    fn unknown(&mut self, full: &str, origin: &str) {
        let message = match SCHEMA.nearest(full) {
            Some(near) => format!("unknown key; did you mean {near}?"),
            None => "unknown key".to_owned(),
        };
        self.problem(full, message, origin);
    }

    fn environment(&mut self, sources: &Sources) -> Layer {
        let mut layer = Layer::default();
        for (variable, value) in &sources.env {
            let rest = variable.strip_prefix(ENV_PREFIX).unwrap_or_default();
            self.assign(&mut layer, &env_key(rest), value, variable);
        }
        layer
    }

    fn flags(&mut self, sources: &Sources) -> Layer {
        let mut layer = Layer::default();
        for assignment in &sources.set {
            match assignment.split_once('=') {
                Some((key, value)) => self.assign(&mut layer, key.trim(), value.trim(), "--set"),
                // What was given is not shown: it may be a secret without its key.
                None => self.problem("--set", "expected section.key=value".to_owned(), ""),
            }
        }
        for flag in &sources.flags {
            self.assign(&mut layer, &flag.key, &flag.value, &flag.name);
        }
        layer
    }

    fn assign(&mut self, layer: &mut Layer, full: &str, value: &str, origin: &str) {
        match SCHEMA.name(full) {
            Name::Key => {
                layer.0.insert(full.to_owned(), text(origin, value));
            }
            Name::Entry { map, entry } => layer.entry(map, entry, text(origin, value)),
            Name::Section => {
                self.problem(full, "is a section, expected one of its keys".to_owned(), origin);
            }
            Name::Unknown => self.unknown(full, origin),
        }
    }
}

impl Layer {
    fn entry(&mut self, map: String, entry: String, value: Value) {
        let table =
            self.0.entry(map).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
        if let ValueKind::Table(entries) = &mut table.kind {
            entries.insert(entry, value);
        }
    }
}

/// `HTTP__TLS__CERT_FILE` -> `http.tls.cert_file`. In the names of librdkafka `_` stands for `.`; entries
/// of other maps (tenants, roles) keep their letters.
fn env_key(rest: &str) -> String {
    let dotted = rest.replace("__", ".");
    let lower = dotted.to_ascii_lowercase();
    match SCHEMA.name(&lower) {
        Name::Entry { map, entry } if map.starts_with("kafka.") => {
            join(&map, &entry.replace('_', "."))
        }
        Name::Entry { map, .. } => {
            let kept = dotted.get(map.len() + 1..).unwrap_or_default();
            join(&map, kept)
        }
        _ => lower,
    }
}

fn text(origin: &str, value: &str) -> Value {
    Value::new(Some(&origin.to_owned()), value)
}

fn convert(origin: &str, value: &toml::Value) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(truth) => ValueKind::Boolean(*truth),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(items) => {
            ValueKind::Array(items.iter().map(|item| convert(origin, item)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table.iter().map(|(name, item)| (name.clone(), convert(origin, item))).collect(),
        ),
    };
    Value::new(Some(&origin.to_owned()), kind)
}

/// Reads TOML text (an array in a variable) into a value.
pub(crate) fn parse_value(origin: &str, text: &str) -> Option<Value> {
    let table: Table = format!("value = {text}").parse().ok()?;
    (table.len() == 1).then(|| table.get("value").map(|value| convert(origin, value)))?
}

fn split(root: Value) -> Merged {
    let mut merged = Merged {
        keys: BTreeMap::new(),
        maps: SCHEMA.maps.iter().map(|map| (map.clone(), BTreeMap::new())).collect(),
    };
    sort_in(&mut merged, "", root);
    merged
}

fn sort_in(merged: &mut Merged, path: &str, value: Value) {
    if SCHEMA.keys.contains(path) {
        merged.keys.insert(path.to_owned(), value);
    } else if let ValueKind::Table(table) = value.kind {
        for (name, inner) in table {
            match merged.maps.get_mut(path) {
                Some(entries) => {
                    entries.insert(name, inner);
                }
                None => sort_in(merged, &join(path, &name), inner),
            }
        }
    }
}
