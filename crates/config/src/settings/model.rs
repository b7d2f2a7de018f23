//! Sections `model` and `rights`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::url::{is_http_url, url};
use crate::reader::Reader;

/// What becomes of types that the model lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownTypes {
    /// They are refused.
    Refuse,
    /// Any name is taken.
    Accept,
}

/// Section `model`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Model {
    pub file: Option<PathBuf>,
    pub unknown_types: UnknownTypes,
    pub all_keys_words: Vec<String>,
    pub self_base_url: Option<String>,
    pub self_base_urls: BTreeMap<String, String>,
}

/// What holds for types that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightsDefault {
    /// Nobody reads them.
    Deny,
    /// Everybody of the tenant reads them.
    Open,
}

/// Section `rights`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Rights {
    pub default: RightsDefault,
    pub read: BTreeMap<String, Vec<String>>,
}

pub(super) fn model(r: &Reader) -> Model {
    let self_base_urls = r.map("model.self_base_urls");
    for (tenant, base) in &self_base_urls {
        if !is_http_url(base) {
            let text = format!("{base:?} is not a URL that starts with http:// or https://");
            r.problem(&format!("model.self_base_urls.{tenant}"), text);
        }
    }
    Model {
        file: r.file("model.file"),
        unknown_types: r.choice(
            "model.unknown_types",
            &[("refuse", UnknownTypes::Refuse), ("accept", UnknownTypes::Accept)],
            UnknownTypes::Refuse,
        ),
        all_keys_words: r.list("model.all_keys_words"),
        self_base_url: url(r, "model.self_base_url"),
        self_base_urls,
    }
}

pub(super) fn rights(r: &Reader) -> Rights {
    Rights {
        default: r.choice(
            "rights.default",
            &[("deny", RightsDefault::Deny), ("open", RightsDefault::Open)],
            RightsDefault::Deny,
        ),
        read: r.lists("rights.read"),
    }
}
