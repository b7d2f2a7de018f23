//! Random subscriptions and records against an oracle that knows no table, no shard and no view: what
//! each connection gets is what the rules say, byte for byte.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{FrameId, KeyKind, ObjectKey, ObjectType, Offset, Operation, Partition};
use tidewire_fields::{MaskView, ProjectContext, Target};
use tidewire_model::Model;
use tidewire_router::{ConnectionId, Framing, OnSlow, Start, Subscription};
use tidewire_wire::definition::{KeySelector, TypeSelector};
use tidewire_wire::frame::{EventBody, ObjectValue, subscription_suffix};

use crate::harness::{
    BASE, Record, Replica, TIME_MS, class, cursor_key, definition, mask, opening,
};

/// Each type with the members that refer to its owners, as the model file says it.
const TYPES: [(&str, &[(&str, &str)]); 6] = [
    ("VoyageHeader", &[]),
    ("Voyage", &[("voyageHeader", "VoyageHeader")]),
    ("PortCall", &[("voyage", "Voyage")]),
    ("EventLog", &[("portCall", "PortCall")]),
    ("Cargo", &[("voyage", "Voyage")]),
    ("BunkerOrder", &[]),
];
const TENANTS: [&str; 2] = ["acme", "a b"];
const LISTS: [&str; 4] =
    ["", r#"{"createdById":"*"}"#, r#"{"*":"*"}"#, r#"{"changedById":"*","createdById":"*"}"#];

#[derive(Clone, Debug)]
struct Sub {
    shard: u16,
    tenant: usize,
    /// 6 is `*`.
    object_type: usize,
    events: &'static str,
    keys: Vec<u64>,
    main: bool,
    list: usize,
    hides_cargo: bool,
    stream: bool,
}

#[derive(Clone, Debug)]
struct Image {
    /// The direct owner, and the owner of that where the image holds it.
    owner: Option<(u64, Option<u64>)>,
    by: u32,
}

#[derive(Clone, Debug)]
struct Change {
    tenant: usize,
    object_type: usize,
    key: u64,
    operation: Operation,
    new: Option<Image>,
    old: Option<Image>,
    named: Vec<(usize, u64)>,
    capture: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Come(Sub),
    Go(prop::sample::Index),
    Change(Change),
    Gap,
}

fn sub() -> impl Strategy<Value = Sub> {
    let what =
        (0..2_usize, 0..7_usize, prop::sample::select(vec!["*", "C", "U", "D", "C,U", "U,D"]));
    let keys = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(1..5_u64, 1..4),
    ];
    let how = (any::<bool>(), 0..LISTS.len(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (0..3_u16, what, keys, how).prop_map(|(shard, (tenant, object_type, events), keys, how)| {
        let (main, list, hides_cargo, stream) = how;
        Sub { shard, tenant, object_type, events, keys, main, list, hides_cargo, stream }
    })
}

fn image() -> impl Strategy<Value = Image> {
    let owner = prop::option::of((1..5_u64, prop::option::of(1..5_u64)));
    (owner, any::<u32>()).prop_map(|(owner, by)| Image { owner, by })
}

fn change() -> impl Strategy<Value = Change> {
    let operation =
        prop::sample::select(vec![Operation::Create, Operation::Update, Operation::Delete]);
    let named = prop::collection::vec((0..6_usize, 1..5_u64), 0..3);
    let what = (0..2_usize, 0..6_usize, 1..5_u64, operation);
    let images = (image(), prop::option::of(image()));
    (what, images, named, any::<bool>()).prop_map(|(what, (new, old), named, capture)| {
        let (tenant, object_type, key, operation) = what;
        let new = (operation != Operation::Delete).then_some(new);
        Change { tenant, object_type, key, operation, new, old, named, capture }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => sub().prop_map(Step::Come),
        1 => any::<prop::sample::Index>().prop_map(Step::Go),
        8 => change().prop_map(Step::Change),
        1 => Just(Step::Gap),
    ]
}

impl Change {
    fn owner_member(&self) -> Option<(&'static str, usize)> {
        let (member, owner) = TYPES[self.object_type].1.first()?;
        Some((*member, TYPES.iter().position(|t| t.0 == *owner).unwrap()))
    }

    fn image_json(&self, image: &Image) -> String {
        let mut text = format!(r#"{{"key":{},"createdById":{}.50"#, self.key, image.by);
        if let (Some((key, higher)), Some((member, owner))) = (image.owner, self.owner_member()) {
            let above = match (higher, TYPES[owner].1.first()) {
                (Some(higher), Some((name, _))) => format!(r#","{name}":{higher}"#),
                _ => String::new(),
            };
            text += &format!(r#","{member}":{{"key":{key}{above}}}"#);
        }
        text + "}"
    }

    fn body(&self) -> String {
        let image =
            |i: &Option<Image>| i.as_ref().map_or(String::from("null"), |i| self.image_json(i));
        format!(r#"{{"new":{},"old":{}}}"#, image(&self.new), image(&self.old))
    }

    fn record(&self) -> Record {
        let tenant = tidewire_event::percent_encode(TENANTS[self.tenant]);
        let key = format!("{tenant}/{}/{}", TYPES[self.object_type].0, self.key);
        let owners: Vec<String> =
            self.named.iter().map(|(t, key)| format!("{}/{key}", TYPES[*t].0)).collect();
        let old = if self.old.is_some() { "full" } else { "none" };
        let source = if self.capture { "capture" } else { "" };
        let header = format!("1;{};;{old};{};;;{source}", self.operation, owners.join(","));
        Record::new(&key, &header, &self.body())
    }

    /// Type and key of everything above.
    fn owners(&self) -> Vec<(usize, u64)> {
        let mut owners = self.named.clone();
        if self.capture {
            return owners;
        }
        for image in [&self.new, &self.old].into_iter().flatten() {
            if let (Some((key, higher)), Some((_, owner))) = (image.owner, self.owner_member()) {
                owners.push((owner, key));
                if let (Some(higher), Some((_, above))) = (higher, TYPES[owner].1.first()) {
                    owners.push((TYPES.iter().position(|t| t.0 == *above).unwrap(), higher));
                }
            }
        }
        owners
    }
}

/// What the rules say: whether the change is wanted, and as the main object or from above.
fn wanted(sub: &Sub, change: &Change) -> Option<bool> {
    let takes = |object_type: usize, key: u64| {
        (sub.object_type == 6 || sub.object_type == object_type)
            && (sub.keys.is_empty() || sub.keys.contains(&key))
    };
    let letters = if sub.events == "*" { "CUD" } else { sub.events };
    if sub.tenant != change.tenant || (sub.hides_cargo && TYPES[change.object_type].0 == "Cargo") {
        return None;
    }
    if takes(change.object_type, change.key) && letters.contains(change.operation.as_str()) {
        return Some(true);
    }
    let above = change.owners().into_iter().any(|(t, key)| takes(t, key));
    (above && !sub.main && letters.contains('U')).then_some(false)
}

fn expected_frame(
    sub: &Sub,
    made: &Subscription,
    change: &Change,
    is_main: bool,
    offset: i64,
) -> Vec<u8> {
    let object_type = ObjectType::new(TYPES[change.object_type].0).unwrap();
    let key = ObjectKey::Integer(change.key);
    let body = Body::parse(Bytes::from(change.body()), BodyLimits::default()).unwrap();
    let mut object = Vec::new();
    let target = Target { object_type: &object_type, is_main };
    let ctx = ProjectContext { self_base: BASE };
    if let Some(mask) = &made.mask {
        let image = match change.operation {
            Operation::Delete => body.old_image(),
            _ => body.new_image(),
        };
        match (mask.for_type(&object_type, is_main), image) {
            (MaskView::Members(_), Some(image)) => {
                mask.project(target, image, &key, &ctx, &mut object);
            }
            _ => tidewire_fields::write_reference(&object_type, &key, &ctx, &mut object),
        }
    }
    let mut message = Vec::new();
    EventBody {
        id: FrameId { partition: Partition(0), offset: Offset(offset) },
        time_ms: TIME_MS,
        object_type: object_type.as_str(),
        event: change.operation,
        object: if object.is_empty() { ObjectValue::Key(&key) } else { ObjectValue::Json(&object) },
        key: &key,
        self_base: BASE,
    }
    .encode(&mut message);
    message.extend(subscription_suffix(made.definition.number(), BASE));
    framed(sub, &message)
}

fn framed(sub: &Sub, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    if sub.stream {
        tidewire_wire::sse::push_message(&mut frame, &[message]);
    } else {
        tidewire_wire::ws::push_text(&mut frame, message);
    }
    frame
}

fn gap_frame(sub: &Sub, made: &Subscription) -> Vec<u8> {
    let uri = format!("/ws/rest/WebSocketObjectSubscription/{}", made.definition.number());
    let body = tidewire_wire::error::Notice::Gap.body(TIME_MS, &uri).to_json();
    if !sub.stream {
        return framed(sub, &body);
    }
    let mut frame = Vec::new();
    tidewire_wire::sse::push_event(&mut frame, "error", &[&body]);
    frame
}

fn make(model: &Model, sub: &Sub) -> Subscription {
    let object_type = TYPES.get(sub.object_type).map_or("*", |t| t.0);
    let mut definition = definition(model, &format!("x {object_type} {} *", sub.events));
    definition.tenant = tidewire_event::Tenant::new(TENANTS[sub.tenant]).unwrap();
    definition.only_main_object = sub.main;
    if !sub.keys.is_empty() {
        let keys = sub.keys.iter().map(|k| ObjectKey::Integer(*k)).collect();
        definition.keys = KeySelector::keys(keys).unwrap();
    }
    let types: TypeSelector = definition.types.clone();
    let list = LISTS[sub.list];
    Subscription {
        mask: (!list.is_empty()).then(|| mask(model, &types, list)),
        class: class(TENANTS[sub.tenant], if sub.hides_cargo { &["Cargo"] } else { &[] }),
        definition: std::sync::Arc::new(definition),
        sub: None,
        start: Start::Now,
        snapshot: false,
        on_slow: OnSlow::Disconnect,
    }
}

/// What an event stream is told first: where it starts, and that it is live from there.
fn first_frames(sub: &Sub, replica: &Replica) -> Vec<u8> {
    let mut frames = Vec::new();
    if sub.stream {
        let tenant = tidewire_event::Tenant::new(TENANTS[sub.tenant]).unwrap();
        let positions = replica.router.positions();
        let cursor = tidewire_event::encode_cursor(&cursor_key(), &tenant, positions);
        tidewire_wire::sse::push_id(&mut frames, &cursor);
        tidewire_wire::sse::push_id(&mut frames, &cursor);
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn everybody_gets_what_the_rules_say(steps in prop::collection::vec(step(), 1..60)) {
        assert_eq!(ObjectKey::parse("3", KeyKind::Integer).unwrap(), ObjectKey::Integer(3));
        let mut replica = Replica::new(Model::vms(), 3);
        let mut there: Vec<(ConnectionId, Sub, Subscription)> = Vec::new();
        let mut owed: HashMap<ConnectionId, Vec<u8>> = HashMap::new();
        for step in &steps {
            match step {
                Step::Come(sub) => {
                    let made = make(&replica.model, sub);
                    let framing =
                        if sub.stream { Framing::EventStream } else { Framing::WebSocket };
                    let id = replica.register_as(sub.shard, opening(framing), made.clone());
                    replica.carry();
                    replica.adopt(id);
                    owed.insert(id, first_frames(sub, &replica));
                    there.push((id, sub.clone(), made));
                }
                Step::Go(index) if !there.is_empty() => {
                    let (id, _, _) = there.swap_remove(index.index(there.len()));
                    prop_assert_eq!(replica.bytes(id), &owed[&id]);
                    replica.leave(id);
                }
                Step::Go(_) => {}
                Step::Change(change) => {
                    let (_, offset) = replica.route(&change.record());
                    replica.carry();
                    for (id, sub, made) in &there {
                        if let Some(is_main) = wanted(sub, change) {
                            let frame = expected_frame(sub, made, change, is_main, offset);
                            owed.get_mut(id).unwrap().extend(frame);
                        }
                    }
                }
                Step::Gap => {
                    replica.router.handle(&tidewire_log::LogEvent::Recreated);
                    replica.carry();
                    for (id, sub, made) in &there {
                        owed.get_mut(id).unwrap().extend(gap_frame(sub, made));
                    }
                }
            }
        }
        for (id, sub, _) in &there {
            let got = String::from_utf8_lossy(replica.bytes(*id)).into_owned();
            let want = String::from_utf8_lossy(&owed[id]).into_owned();
            prop_assert_eq!(got, want, "{:?}", sub);
        }
        for (id, _, _) in there {
            replica.leave(id);
        }
        replica.assert_empty();
    }
}
