//! Who listens to what, drawn from the seed.

use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use tidewire_checker::{Events, Fields, Keys, Mode, Subscription, Types};
use tidewire_event::percent_encode;

use super::fleet::{BUNKER_ORDER, CARGO, EVENT_LOG, KINDS, Kind, PORT_CALL, VOYAGE};

/// One socket in so many listens to a whole type, or to all: it is told much, and what it is told is kept.
const BROAD_ONE_IN: usize = 20;
/// The others name so many keys at most.
const KEYS_MAX: usize = 6;
/// Subscriptions on one socket of `tidewire.v1`.
const SUBSCRIPTIONS_MAX: usize = 3;

/// A socket.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) mode: Mode,
    pub(super) tenant: String,
    pub(super) asks: Vec<Ask>,
}

/// A subscription, as the judge knows it and in the words of a request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) subscription: Subscription,
    kind: &'static str,
    events: &'static str,
    keys: Vec<u64>,
    fields: Vec<&'static str>,
}

/// So many sockets, the modes in turn.
pub(super) fn draw(
    random: &mut StdRng,
    tenants: &[String],
    modes: &[Mode],
    sockets: usize,
) -> Vec<Wish> {
    let modes = modes.iter().copied().cycle();
    modes
        .take(sockets)
        .enumerate()
        .map(|(number, mode)| wish(random, tenants, mode, number))
        .collect()
}

fn wish(random: &mut StdRng, tenants: &[String], mode: Mode, number: usize) -> Wish {
    // Every mode meets every tenant, whatever their numbers.
    let tenant =
        tenants.get(random.random_range(0..tenants.len().max(1))).cloned().unwrap_or_default();
    let is_broad = number % BROAD_ONE_IN == BROAD_ONE_IN / 2;
    let count = if mode == Mode::V1 { random.random_range(1..=SUBSCRIPTIONS_MAX) } else { 1 };
    let asks = (0..count).map(|at| {
        let mut ask = ask(random, &tenant, is_broad && at == 0);
        if mode == Mode::V1 {
            ask.subscription.id = format!("s{at}");
            ask.subscription.conflates = random.random_bool(0.4);
        }
        ask
    });
    let asks = asks.collect();
    Wish { mode, tenant, asks }
}

fn ask(random: &mut StdRng, tenant: &str, is_broad: bool) -> Ask {
    let kinds = [VOYAGE, VOYAGE, PORT_CALL, PORT_CALL, EVENT_LOG, CARGO, BUNKER_ORDER];
    let kind = kinds.get(random.random_range(0..kinds.len())).copied().unwrap_or(VOYAGE);
    let is_any = random.random_bool(if is_broad { 0.5 } else { 0.1 });
    let keys = match (is_broad, is_any) {
        (true, _) => Vec::new(),
        (false, true) => keys(random, &KINDS),
        (false, false) => keys(random, &[kind]),
    };
    let events = match random.random_range(0..6) {
        0 => "U",
        1 => "C,D",
        _ => "*",
    };
    let fields: Vec<&str> =
        kind.fields.iter().copied().filter(|_| random.random_bool(0.7)).collect();
    let fields = if is_any || random.random_bool(0.4) { Vec::new() } else { fields };
    let kind = if is_any { "*" } else { kind.name };
    let subscription = Subscription {
        types: if is_any { Types::Any } else { Types::One(kind.into()) },
        events: if events == "*" { Events::ALL } else { Events::of(events) },
        keys: if is_broad { Keys::Any } else { Keys::numbers(keys.iter().copied()) },
        only_main_object: random.random_bool(0.2),
        fields: match fields.as_slice() {
            [] => Fields::Reference,
            names => Fields::Plain(names.iter().map(|name| Arc::from(*name)).collect()),
        },
        ..Subscription::of_type(tenant, kind)
    };
    Ask { subscription, kind, events, keys, fields }
}

fn keys(random: &mut StdRng, kinds: &[Kind]) -> Vec<u64> {
    let count = random.random_range(1..=KEYS_MAX);
    let mut keys: Vec<u64> = (0..count)
        .filter_map(|_| kinds.get(random.random_range(0..kinds.len())).map(|kind| kind.key(random)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl Ask {
    fn field_list(&self) -> Option<Value> {
        let names = self.fields.iter().map(|name| ((*name).to_owned(), Value::from("*")));
        (!self.fields.is_empty()).then(|| Value::Object(names.collect::<Map<_, _>>()))
    }

    /// The path of a documented socket, with its query; `session` where it has one.
    pub(super) fn path(&self, session: Option<&str>) -> String {
        let keys: Vec<String> = self.keys.iter().map(u64::to_string).collect();
        let keys = if keys.is_empty() { "*".to_owned() } else { keys.join(",") };
        let (kind, events) = (self.kind, self.events);
        let mut path = format!(
            "/ws/rest/WebSocketObjectSubscription/{kind}/{events}/{keys}/-?onlyMainObject={}",
            self.subscription.only_main_object
        );
        if let Some(session) = session {
            path.push_str(&format!("&session={session}"));
        }
        if let Some(list) = self.field_list() {
            path.push_str(&format!("&fields={}", percent_encode(&list.to_string())));
        }
        path
    }

    /// The request of `tidewire.v1`.
    pub(super) fn subscribe(&self, cursor: Option<&str>) -> String {
        let Subscription { id, only_main_object, conflates, .. } = &self.subscription;
        let mut ask = json!({
            "type": "subscribe", "id": id, "objectType": self.kind, "events": self.events,
            "onlyMainObject": only_main_object, "from": cursor.unwrap_or("now"),
            "onSlow": if *conflates { "conflate" } else { "disconnect" },
        });
        if let Value::Object(members) = &mut ask {
            if !self.keys.is_empty() {
                members.insert("keys".to_owned(), json!(self.keys));
            }
            if let Some(list) = self.field_list() {
                members.insert("fields".to_owned(), list);
            }
        }
        ask.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_seed_gives_the_same_wishes_and_all_modes() {
        let tenants = ["a".to_owned(), "b".to_owned()];
        let modes = [Mode::Session, Mode::V1, Mode::Sse];
        let draw = |seed| draw(&mut StdRng::seed_from_u64(seed), &tenants, &modes, 60);
        assert_eq!(
            format!("{:?}", draw(1)[7].asks[0].path(None)),
            format!("{:?}", draw(1)[7].asks[0].path(None))
        );
        let wishes = draw(1);
        for mode in modes {
            assert_eq!(wishes.iter().filter(|wish| wish.mode == mode).count(), 20);
        }
        let broad = wishes.iter().filter(|wish| wish.asks[0].keys.is_empty()).count();
        assert_eq!(broad, 3);
        for ask in wishes.iter().flat_map(|wish| &wish.asks) {
            assert!(
                tidewire_wire::v1::parse(&ask.subscribe(None)).is_ok()
                    || ask.subscription.id.is_empty()
            );
        }
    }
}
