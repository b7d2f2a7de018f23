//! Lists in configuration: a file gives an array, the environment gives one text.

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads a list of names: an array, or one text with commas or spaces between the names
/// (`TIDEWIRE__AUTH__ROLES__PRODUCER=producer,loader`).
///
/// # Errors
/// The deserializer's, if the value is neither.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(names) => names,
        OneOrMany::One(text) => {
            text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
    })
}
