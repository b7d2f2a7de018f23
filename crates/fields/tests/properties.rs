//! Any list over any image: valid JSON, and every value a copy of the image's bytes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use bytes::Bytes;
use proptest::prelude::*;
use tidewire_event::image::{Body, BodyLimits, Document, Node, NodeKind};
use tidewire_event::{ObjectKey, ObjectType};
use tidewire_fields::{FieldList, FieldMask, Parsed, ProjectContext, Scope, Target};
use tidewire_model::{Model, UnknownTypes};

const NAMES: [&str; 16] = [
    "key",
    "self",
    "portCall",
    "port",
    "portName",
    "vessel",
    "vesselName",
    "remarks",
    "eventLogs",
    "event",
    "eventCode",
    "voyage",
    "speed",
    "agent",
    "reasonForCall",
    "x",
];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned)
}

/// JSON text with the spaces, numbers, escapes and double names that producers may write.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
        "\"([a-z {}\\[\\],:*]|\\\\\"|\\\\\\\\|\\\\u00e9|\\\\ud800|é){0,8}\"",
    ];
    leaf.prop_recursive(5, 80, 8, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[ {} ]", v.join(" ,"))),
            3 => members(inner),
        ]
    })
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((name(), value), 0..12).prop_map(|members| {
        let members: Vec<String> =
            members.into_iter().map(|(n, v)| format!("\"{n}\" :{v}")).collect();
        format!("{{{} }}", members.join(", "))
    })
}

/// Field lists over the same names, most of which some type has.
fn list_text() -> impl Strategy<Value = String> {
    let leaf = Just("\"*\"".to_owned()).boxed();
    let object = |inner: BoxedStrategy<String>| {
        prop::collection::btree_map(
            prop_oneof![4 => name(), 1 => Just("*".to_owned())],
            inner,
            1..14,
        )
        .prop_shuffled()
    };
    let below = leaf.prop_recursive(4, 40, 6, move |inner| object(inner.boxed()).boxed());
    object(below.boxed())
}

trait Shuffled: Strategy {
    fn prop_shuffled(self) -> BoxedStrategy<String>;
}

impl<S> Shuffled for S
where
    S: Strategy<Value = std::collections::BTreeMap<String, String>> + 'static,
{
    fn prop_shuffled(self) -> BoxedStrategy<String> {
        self.prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|members| {
                let text = |(name, below): &(String, String)| {
                    let below = if name == "*" { "\"*\"" } else { below };
                    format!("\"{name}\":{below}")
                };
                format!("{{{}}}", members.iter().map(text).collect::<Vec<_>>().join(","))
            })
            .boxed()
    }
}

/// Collects the bytes of all values, containers too.
fn values<'a>(node: Node<'a>, all: &mut std::collections::HashSet<&'a [u8]>) {
    all.insert(node.raw());
    for value in node.elements().chain(node.members().map(|(_, value)| value)) {
        values(value, all);
    }
}

/// Every leaf of the projection stands in the image, but for links and the object's own key.
fn check_leaves(
    out: Node<'_>,
    image: &std::collections::HashSet<&[u8]>,
) -> Result<(), TestCaseError> {
    for (name, value) in out.members() {
        let is_link = name.is("self") && value.raw().starts_with(b"\"https://h/ws/rest/");
        if !is_link && !image.contains(value.raw()) {
            prop_assert!(
                matches!(value.kind(), NodeKind::Object | NodeKind::Array),
                "{:?}",
                value.raw()
            );
            check_leaves(value, image)?;
        }
    }
    for value in out.elements().filter(|value| !image.contains(value.raw())) {
        prop_assert!(
            matches!(value.kind(), NodeKind::Object | NodeKind::Array),
            "{:?}",
            value.raw()
        );
        check_leaves(value, image)?;
    }
    Ok(())
}

fn parse(text: &str) -> Body {
    Body::parse(Bytes::from(format!("{{\"new\":{text}}}")), BodyLimits::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn projections_are_valid_json_of_the_images_own_bytes(
        image in members(json_text()), list in list_text(), any in any::<bool>(),
    ) {
        let model = Model::vms().with_unknown_types(UnknownTypes::Accept);
        let Ok(Parsed::List(list)) = FieldList::parse(&list) else { panic!("{list}") };
        let types = ["BunkerOrder", "PortCall", "Zeppelin"].map(|t| ObjectType::new(t).unwrap());
        let body = parse(&image);
        let image = body.new_image().unwrap();
        let mut all = std::collections::HashSet::new();
        values(image, &mut all);
        all.insert(b"7");
        for object_type in &types {
            let scope = if any { Scope::Any } else { Scope::One(object_type) };
            let Ok(mask) = FieldMask::compile(&list, &model, scope, &|_| true) else { continue };
            for changed in &types {
                let target = Target { object_type: changed, is_main: any || changed == object_type };
                let mut out = Vec::new();
                mask.project(target, image, &ObjectKey::Integer(7), &ProjectContext { self_base: "https://h" }, &mut out);
                let projected = Document::parse(Bytes::from(out.clone()), BodyLimits::default());
                prop_assert!(projected.is_ok(), "{}", String::from_utf8_lossy(&out));
                check_leaves(projected.unwrap().root(), &all)?;
                let head = format!("{{\"key\":7,\"self\":\"https://h/ws/rest/{changed}/7\"");
                prop_assert!(out.starts_with(head.as_bytes()));
            }
        }
    }

    #[test]
    fn random_text_never_panics(text in ".{0,80}", like in "[{}\\[\\]\":,*a-c \\\\u01]{0,60}") {
        let _ = FieldList::parse(&text);
        let _ = FieldList::parse(&like);
    }

    #[test]
    fn a_canonical_list_parses_to_itself(list in list_text()) {
        let Ok(Parsed::List(parsed)) = FieldList::parse(&list) else { panic!("{list}") };
        prop_assert_eq!(FieldList::parse(parsed.canonical()), Ok(Parsed::List(parsed.clone())));
    }
}

#[test]
fn hostile_images_are_projected_in_bounds() {
    let model = Model::vms().with_unknown_types(UnknownTypes::Accept);
    let names: Vec<String> = (0..499).map(|n| format!("\"m{}\":\"*\"", n * 7)).collect();
    let Ok(Parsed::List(list)) = FieldList::parse(&format!("{{{},\"*\":\"*\"}}", names.join(",")))
    else {
        panic!()
    };
    let object_type = ObjectType::new("Zeppelin").unwrap();
    let mask = FieldMask::compile(&list, &model, Scope::One(&object_type), &|_| true).unwrap();
    let wide: Vec<String> = (0..20_000).map(|n| format!("\"m{n}\":{n}")).collect();
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    for image in [format!("{{{}}}", wide.join(",")), format!("{{\"m7\":{deep},\"m14\":{deep}}}")] {
        let body = parse(&image);
        let mut out = Vec::new();
        let target = Target { object_type: &object_type, is_main: true };
        mask.project(
            target,
            body.new_image().unwrap(),
            &ObjectKey::Integer(7),
            &ProjectContext { self_base: "https://h" },
            &mut out,
        );
        assert!(Document::parse(Bytes::from(out), BodyLimits::default()).is_ok());
    }
}
