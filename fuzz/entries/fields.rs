//! Field lists: read, written canonically, compiled against both sample models.

use std::sync::LazyLock;

use tidewire_fields::{FieldList, FieldMask, Parsed, Scope};
use tidewire_model::Model;

static MODELS: LazyLock<[Model; 2]> = LazyLock::new(|| [Model::vms(), Model::sample_helpdesk()]);

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(Parsed::List(list)) = FieldList::parse(text) else { return };
    let again =
        FieldList::parse(list.canonical()).map(|parsed| parsed == Parsed::List(list.clone()));
    assert!(matches!(again, Ok(true)), "the canonical text is another list: {}", list.canonical());
    for model in MODELS.iter() {
        for scope in model.types().iter().map(Scope::One).chain([Scope::Any]) {
            let _ = FieldMask::compile(&list, model, scope, &|name| name.len() % 5 != 0);
        }
    }
}
