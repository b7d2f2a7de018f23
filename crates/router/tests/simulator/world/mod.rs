//! The world of a seed: one log, one store, replicas and clients, and what befalls them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidewire_event::{Cursor, Operation, Positions, Tenant, encode_cursor};
use tidewire_fields::FieldMask;
use tidewire_model::Model;
use tidewire_router::{
    ConnectionId, Keep, Notice, Now, OnSlow, Opening, ShardSettings, Start, SubId, Subscription,
};
use tidewire_store::{SessionId, SessionWrite};
use tidewire_wire::definition::Definition;

mod connections;
mod faults;
mod log;
mod step;

use crate::client::{Client, Connection, Kind, RESUMED, STARTS, SessionStart, Sub};
use crate::judge::{Judge, Mark, Place, Verdict, Wants};
use crate::link::Links;
use crate::log::Log;
use crate::parts::{self, class};
use crate::replica::{News, Replica, SHARDS};
use crate::store::Store;

/// Steps in which everything may happen.
const STEPS: usize = 700;
/// Steps without faults, in which everybody has to catch up; those whose tenant is throttled need many.
const CALM_STEPS: usize = 4_000;
/// A close frame, for what it is worth.
const CLOSE: &[u8] = &[0x88, 2, 3, 232];
/// What a subscription may be for.
const DEFINITIONS: [&str; 5] = [
    "acme Voyage * * main",
    "acme Cargo * 1,2,3 main",
    "acme * * * main",
    "acme Voyage C,D * main",
    "acme * U,D 1,2 main",
];

/// A link whose end the replica does not know yet.
struct Dying {
    at: u64,
    replica: usize,
    id: ConnectionId,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// A hash of every frame that was received, by whom, in order.
    pub(crate) trace: u64,
    pub(crate) events: u64,
    pub(crate) repeats: u64,
    /// Gaps that tell of a loss.
    pub(crate) gaps: u64,
    pub(crate) connects: u64,
}

pub(crate) struct World {
    random: StdRng,
    now: u64,
    log: Log,
    store: Store,
    store_away_until: u64,
    settings: ShardSettings,
    window_bytes: usize,
    replicas: Vec<Option<Replica>>,
    /// Writes to the store that were on their way when their replica hung.
    late: Vec<(usize, Vec<SessionWrite>)>,
    boots_at: Vec<u64>,
    links: Links,
    dying: Vec<Dying>,
    clients: Vec<Client>,
    /// Of each connection: replica, shard, link and whether its stream was handed over.
    held: BTreeMap<u64, Held>,
    definitions: Vec<Arc<Definition>>,
    masks: Vec<Option<FieldMask>>,
    objects: BTreeMap<(&'static str, u64), Vec<usize>>,
    homes: BTreeMap<(&'static str, &'static str, u64), usize>,
    next_id: u64,
    /// Whether this run may lose parts of the log.
    harsh: bool,
    calm: bool,
    trace: DefaultHasher,
    pub(crate) account: Account,
}

#[derive(Clone, Copy)]
struct Held {
    replica: usize,
    shard: usize,
    link: usize,
    adopted: bool,
    closing: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let model = Model::vms();
        let bound = [8_000, 20_000, 100_000][random.random_range(0..3)];
        let grace = [0, 500, 10_000][random.random_range(0..3)];
        let throttle = [20_000, 1 << 40][random.random_range(0..2)];
        let settings = parts::settings(model.clone(), bound, grace, throttle);
        let definitions =
            DEFINITIONS.iter().map(|text| Arc::new(parts::definition(text))).collect();
        let any = parts::definition("acme * * *").types;
        let masks = vec![
            None,
            Some(parts::mask(&model, &any, r#"{"createdById":"*"}"#)),
            Some(parts::mask(&model, &any, r#"{"createdById":"*","changedById":"*"}"#)),
        ];
        let mut log = Log::default();
        log.create(random.random_range(1..5));
        let mut world = Self {
            now: 1_000_000,
            store: Store::new(parts::cursor_key()),
            store_away_until: 0,
            window_bytes: [70_000, 1 << 20][random.random_range(0..2)],
            settings,
            replicas: Vec::new(),
            late: Vec::new(),
            boots_at: vec![0; 3],
            links: Links::default(),
            dying: Vec::new(),
            clients: Vec::new(),
            held: BTreeMap::new(),
            definitions,
            masks,
            objects: BTreeMap::new(),
            homes: BTreeMap::new(),
            next_id: 1,
            harsh: seed % 2 == 1,
            calm: false,
            trace: DefaultHasher::new(),
            account: Account::default(),
            log,
            random,
        };
        for _ in 0..40 {
            world.append();
        }
        for _ in 0..3 {
            world.replicas.push(None);
        }
        for at in 0..3 {
            world.boot(at);
        }
        for number in 0..14 {
            let client = world.client(number);
            world.clients.push(client);
        }
        world
    }

    fn client(&mut self, number: usize) -> Client {
        let kind =
            [Kind::Session, Kind::V1, Kind::Sse, Kind::V1, Kind::Session, Kind::Plain, Kind::V1]
                [number % 7];
        let count = if kind == Kind::V1 { self.random.random_range(1..4) } else { 1 };
        let mut hidden = self.random.random_range(0..4) == 0;
        let subs: Vec<Sub> = (0..count)
            .map(|sub| {
                let definition = self.random.random_range(0..self.definitions.len());
                let definition = Arc::clone(&self.definitions[definition]);
                let v1 = kind == Kind::V1;
                let conflates = v1 && self.random.random_range(0..3) == 0;
                Sub {
                    name: v1.then(|| SubId::from(format!("s{sub}"))),
                    judge: Judge::new(Wants { definition, hidden: false }, conflates),
                    cursor: None,
                    mask: self.random.random_range(0..self.masks.len()),
                    wants_snapshot: v1 && self.random.random_range(0..3) == 0,
                    is_told: false,
                    is_live: false,
                    fed: Vec::new(),
                }
            })
            .collect();
        hidden &= kind == Kind::V1 || !subs[0].is_forbidden(true);
        Client {
            kind,
            subs,
            session: SessionId {
                tenant: Tenant::new("acme").unwrap(),
                principal: String::from("user:1"),
                name: format!("client-{number}"),
                definition: String::new(),
            },
            connection: None,
            connects_at: 0,
            stalled_until: 0,
            rate: [200, 2_000, 100_000][self.random.random_range(0..3)],
            hidden,
        }
    }

    fn boot(&mut self, at: usize) {
        let back = self.random.random_range(0..60);
        self.replicas[at] = Some(Replica::new(&self.settings, self.window_bytes, &self.log, back));
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.random_range(0..one_in) == 0
    }

    const fn clocks(&self) -> Now {
        Now { wall_ms: 1_789_393_046_000, mono_ms: self.now }
    }

    fn is_settled(&self) -> bool {
        self.replicas.iter().flatten().count() == self.replicas.len()
            && self
                .replicas
                .iter()
                .flatten()
                .all(|replica| replica.is_idle() && replica.readers() == 0)
            && self.clients.iter().all(|client| self.is_whole(client))
    }

    /// Whether a client is connected, with all its subscriptions live and nothing on the way.
    fn is_whole(&self, client: &Client) -> bool {
        let connection = client.connection.as_ref();
        connection.is_some_and(|connection| {
            let link = &self.links.0[connection.link];
            link.to_client.is_empty()
                && !link.closed
                && client.subs.iter().all(|sub| {
                    let is_live = sub.is_live || client.kind != Kind::V1;
                    sub.is_told && is_live || sub.is_forbidden(client.hidden)
                })
        })
    }

    pub(crate) fn run(&mut self) -> Verdict {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.calm = true;
        self.links.0.iter_mut().for_each(|(_, link)| link.capacity = 1 << 20);
        let mut quiet = 0;
        for step in 0.. {
            self.step()?;
            quiet = if self.is_settled() { quiet + 1 } else { 0 };
            // Long enough for the cursors of what is idle.
            if quiet > 100 {
                break;
            }
            if step > CALM_STEPS {
                let readers: Vec<String> =
                    self.replicas.iter().flatten().map(Replica::describe_readers).collect();
                let clients: Vec<String> = self
                    .clients
                    .iter()
                    .filter(|c| !self.is_whole(c))
                    .map(Client::describe)
                    .collect();
                return Err(format!("it does not settle: {readers:#?} {clients:#?}"));
            }
        }
        for (number, client) in self.clients.iter_mut().enumerate() {
            for sub in &mut client.subs {
                // One that may not be seen now is not owed anything.
                let verdict = if sub.is_told { sub.judge.finish(&self.log) } else { Ok(()) };
                verdict.map_err(|error| format!("client {number} {:?}: {error}", client.kind))?;
                self.account.events += sub.judge.events;
                self.account.repeats += sub.judge.repeats;
                self.account.gaps += sub.judge.gaps;
            }
        }
        self.account.trace = self.trace.finish();
        Ok(())
    }
}
