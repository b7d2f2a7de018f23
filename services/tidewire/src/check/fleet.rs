//! The objects that change: voyages, and below them port calls with their event logs, and cargos; bunker
//! orders that refer down to port calls, which only the producer can tell.

use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use tidewire_checker::{Certainty, Change, FrameId, Object, Operation};
use tidewire_wire::frame::event_time;

/// A type, how many objects of it a tenant has, and their first key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) first: u64,
    pub(super) count: u64,
    /// Plain fields that a list may name.
    pub(super) fields: &'static [&'static str],
}

pub(super) const VOYAGE: Kind =
    Kind { name: "Voyage", first: 1_000, count: 40, fields: &["comments", "daysTotal"] };
pub(super) const PORT_CALL: Kind = Kind {
    name: "PortCall",
    first: 20_000,
    count: 160,
    fields: &["portCallSequence", "speed", "distanceActual"],
};
pub(super) const EVENT_LOG: Kind =
    Kind { name: "EventLog", first: 300_000, count: 120, fields: &["eventLogDate", "isDateFixed"] };
pub(super) const CARGO: Kind =
    Kind { name: "Cargo", first: 4_000_000, count: 80, fields: &["cargoType", "cargoMeasurement"] };
/// Never changes itself here: it owns port calls.
pub(super) const BUNKER_ORDER: Kind =
    Kind { name: "BunkerOrder", first: 9_000, count: 40, fields: &["remarks"] };

/// All that change.
pub(super) const KINDS: [Kind; 4] = [VOYAGE, PORT_CALL, EVENT_LOG, CARGO];

impl Kind {
    /// The key of one of its objects.
    pub(super) fn key(self, random: &mut StdRng) -> u64 {
        self.first + random.random_range(0..self.count)
    }
}

/// An object as it is now.
#[derive(Debug)]
pub(super) struct Thing {
    tenant: Arc<str>,
    kind: Kind,
    key: u64,
    version: u64,
    image: Option<Arc<str>>,
    /// The object above, which its image names.
    owner: Option<(&'static str, Kind, u64)>,
    /// One above that only the producer knows.
    named: Option<u64>,
}

/// All objects of a tenant.
pub(super) fn things(tenant: &str, random: &mut StdRng) -> Vec<Thing> {
    let tenant: Arc<str> = tenant.into();
    let mut all = Vec::new();
    for kind in KINDS {
        for key in kind.first..kind.first + kind.count {
            let owner = match kind {
                VOYAGE => None,
                EVENT_LOG => Some(("portCall", PORT_CALL, PORT_CALL.key(random))),
                _ => Some(("voyage", VOYAGE, VOYAGE.key(random))),
            };
            let named =
                (kind == PORT_CALL && random.random_bool(0.3)).then(|| BUNKER_ORDER.key(random));
            let (tenant, image) = (Arc::clone(&tenant), None);
            all.push(Thing { tenant, kind, key, version: 0, image, owner, named });
        }
    }
    all
}

impl Thing {
    /// Its next change: what to post, and what to write down once that is acknowledged.
    pub(super) fn change(
        &mut self,
        random: &mut StdRng,
        run: &str,
        now_ms: i64,
    ) -> (String, Change) {
        let operation = match &self.image {
            None => Operation::Create,
            Some(_) if random.random_bool(0.08) => Operation::Delete,
            Some(_) => Operation::Update,
        };
        let mut owners = self.owners();
        if operation == Operation::Update && random.random_bool(0.1) {
            self.owner = self.owner.map(|(member, kind, _)| (member, kind, kind.key(random)));
            for owner in self.owners() {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        self.version += 1;
        let old = self.image.take();
        if operation != Operation::Delete {
            self.image = Some(self.draw(random).to_string().into());
        }
        let change = Change {
            id: FrameId::default(),
            life: 0,
            tenant: Arc::clone(&self.tenant),
            object: Object::numbered(self.kind.name, self.key),
            operation,
            version: self.version,
            owners,
            new: self.image.clone(),
            old,
            time_ms: now_ms,
            began: 0,
            acked: 0,
            certainty: Certainty::Once,
        };
        (self.line(&change, run), change)
    }

    fn owners(&self) -> Vec<Object> {
        let above = self.owner.map(|(_, kind, key)| Object::numbered(kind.name, key));
        let named = self.named.map(|key| Object::numbered(BUNKER_ORDER.name, key));
        above.into_iter().chain(named).collect()
    }

    /// The whole object at this version. Every update changes something that is told.
    fn draw(&self, random: &mut StdRng) -> Value {
        let (key, version) = (self.key, self.version);
        let tenths = random.random_range(0..100_u32);
        // Digits that must come through as they are.
        let number = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_default();
        let mut image = match self.kind {
            VOYAGE => json!({
                "key": key, "referenceNo": format!("V{key}"), "comments": format!("no {version}"),
                "daysTotal": number(format!("{tenths}.50")),
            }),
            PORT_CALL => json!({
                "key": key, "portCallSequence": version, "speed": number(format!("1{tenths}.0")),
                "distanceActual": number(format!("{version}.{tenths:02}0")),
            }),
            EVENT_LOG => json!({
                "key": key, "eventLogDate": format!("2026-09-14T13:37:26.{version}"),
                "isDateFixed": tenths % 2 == 0,
            }),
            _ => json!({
                "key": key, "cargoType": format!("SPOT \"{version}\""), "cargoMeasurement": "MT",
            }),
        };
        if let (Some((member, _, owner)), Value::Object(members)) = (self.owner, &mut image) {
            members.insert(member.to_owned(), json!({"key": owner}));
        }
        image
    }

    /// The change as capture takes it.
    fn line(&self, change: &Change, run: &str) -> String {
        let image = |image: &Option<Arc<str>>| {
            image.as_ref().and_then(|image| serde_json::from_str(image).ok()).unwrap_or(Value::Null)
        };
        let (kind, key, version) = (self.kind.name, self.key, self.version);
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("objectType", kind.into());
        put("key", key.into());
        put("operation", change.operation.letter().into());
        put("new", image(&change.new));
        put("old", image(&change.old));
        put(
            "changedAt",
            format!("{}.{:03}Z", event_time(change.time_ms), change.time_ms % 1_000).into(),
        );
        put("id", format!("{run}-{kind}-{key}-{version}").into());
        if let Some(key) = self.named {
            put("owners", json!([{"objectType": BUNKER_ORDER.name, "key": key}]));
        }
        Value::Object(line).to_string()
    }
}
