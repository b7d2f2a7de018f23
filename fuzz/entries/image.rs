//! A subscription's projection of an image: valid JSON whatever list and image.

use std::sync::LazyLock;

use bytes::Bytes;
use tidewire_event::ObjectKey;
use tidewire_event::image::{BodyLimits, Document};
use tidewire_fields::{FieldList, FieldMask, Parsed, ProjectContext, Scope, Target};
use tidewire_model::Model;

static MODELS: LazyLock<[Model; 2]> = LazyLock::new(|| [Model::vms(), Model::sample_helpdesk()]);

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == b'\n');
    let (Some(list), Some(image)) = (parts.next(), parts.next()) else { return };
    let Ok(Ok(Parsed::List(list))) = std::str::from_utf8(list).map(FieldList::parse) else {
        return;
    };
    let Ok(document) = Document::parse(Bytes::copy_from_slice(image), BodyLimits::default()) else {
        return;
    };
    let key = ObjectKey::Integer(7);
    let ctx = ProjectContext { self_base: "https://vms.example.com" };
    for model in MODELS.iter() {
        for scope in model.types().iter().map(Scope::One).chain([Scope::Any]) {
            let Ok(mask) = FieldMask::compile(&list, model, scope, &|_| true) else { continue };
            for object_type in model.types() {
                for is_main in [true, false] {
                    let mut out = Vec::new();
                    let target = Target { object_type, is_main };
                    mask.project(target, document.root(), &key, &ctx, &mut out);
                    let limits = BodyLimits { bytes_max: usize::MAX, ..BodyLimits::default() };
                    let read = Document::parse(Bytes::from(out), limits);
                    assert!(read.is_ok(), "a projection that is no JSON: {read:?}");
                }
            }
        }
    }
}
