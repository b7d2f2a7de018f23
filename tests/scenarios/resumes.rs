//! Clients that come and go at random, always at the other replica, while changes are written: cursors of
//! `tidewire.v1`, ids of event streams, named sessions. None misses one, and what comes again is the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::log::Producer;
use crate::support::socket::{Came, Socket};
use crate::support::stream::Events;
use crate::support::v1::V1;
use crate::support::{Setup, Task, World, figure, object_path};

/// How often somebody comes back; `TIDEWIRE_RESUMES` says otherwise.
const RESUMES: u64 = 900;
/// Clients, a third of each mode.
const CLIENTS: u64 = 48;
/// Each client follows one of so many objects.
const OBJECTS: u64 = 16;
/// Who write them, each its own share.
const WRITERS: u64 = 4;
/// Between two changes of a writer.
const PACE: Duration = Duration::from_millis(3);
/// For all that is still owed to a client in the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    V1,
    Stream,
    Session,
}

/// What came, in the form of the documented message.
enum Heard {
    /// An event: its id, and its bytes.
    Event(String, String),
    /// Something else that is in order.
    Word,
}

enum Open {
    V1(Box<V1>),
    Stream(Box<Events>),
    Session(Box<Socket>),
}

struct Client {
    world: Arc<World>,
    tenant: String,
    token: String,
    number: u64,
    mode: Mode,
    /// The newest cursor or id.
    cursor: Option<String>,
    received: HashMap<String, String>,
    repeats: u64,
}

impl Client {
    fn key(&self) -> u64 {
        self.number % OBJECTS
    }

    fn wish(&self) -> String {
        format!("Voyage/U/{}", self.key())
    }

    /// Comes (back): live, or catching up.
    async fn open(&mut self, gateway: usize) -> Open {
        let returns = self.cursor.is_some();
        match self.mode {
            Mode::V1 => {
                let mut v1 = V1::open(&self.world, gateway, &self.token).await;
                let from = self.cursor.as_deref().unwrap_or("now");
                let request = json!({
                    "id": "a", "objectType": "Voyage", "events": "U", "keys": [self.key()], "from": from,
                });
                let cursor = v1.subscribe(&request).await;
                self.cursor.get_or_insert(cursor);
                Open::V1(Box::new(v1))
            }
            Mode::Stream => {
                let path = object_path(&self.wish(), &self.token);
                let header = self.cursor.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n"));
                let header = header.unwrap_or_default();
                let address = self.world.public(gateway);
                let mut stream = Events::open(address, &path, &header).await;
                if !returns {
                    let block = stream.block().await.unwrap();
                    self.cursor = Some(block.strip_prefix("id: ").unwrap().to_owned());
                }
                Open::Stream(Box::new(stream))
            }
            Mode::Session => {
                let wish = format!("{}?session=s{}", self.wish(), self.number);
                let mut socket = self.world.open_as(gateway, &wish, &self.token).await;
                let word = socket.json().await;
                let expected = if returns { "session resumed" } else { "session starts now" };
                assert_eq!(word["message"], expected, "client {}", self.number);
                if !returns {
                    let sessions = usize::try_from(self.number / 3).unwrap() + 1;
                    socket.until_proven(&self.world, &self.tenant, sessions).await;
                }
                self.cursor = Some(String::new());
                Open::Session(Box::new(socket))
            }
        }
    }

    /// Takes one message in.
    async fn hear(&mut self, open: &mut Open) -> Heard {
        match open {
            Open::V1(v1) => {
                let Came::Text(text) = v1.socket.next().await else { panic!("{}", self.number) };
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "event" => self.event(&message, text),
                    "cursor" | "live" => {
                        self.cursor = message["cursor"].as_str().map(str::to_owned);
                        Heard::Word
                    }
                    _ => panic!("client {}: {text}", self.number),
                }
            }
            Open::Stream(stream) => {
                let block = stream.block().await.expect("the stream stays open");
                if let Some(id) = block.strip_prefix("id: ") {
                    self.cursor = Some(id.to_owned());
                    return Heard::Word;
                }
                let data = block.strip_prefix("data: ").unwrap_or_else(|| panic!("{block}"));
                self.event(&serde_json::from_str(data).unwrap(), data.to_owned())
            }
            Open::Session(socket) => {
                let Came::Text(text) = socket.next().await else { panic!("{}", self.number) };
                self.event(&serde_json::from_str(&text).unwrap(), text)
            }
        }
    }

    fn event(&self, message: &Value, text: String) -> Heard {
        let id = message["id"].as_str().unwrap_or_else(|| panic!("{} {text}", self.number));
        Heard::Event(id.to_owned(), text)
    }

    fn take(&mut self, id: String, text: String) {
        if let Some(before) = self.received.get(&id) {
            assert_eq!(*before, text, "what comes again is the same");
            self.repeats += 1;
        }
        self.received.insert(id, text);
    }

    /// Comes at one replica after the other, stays for a few messages or a moment, and goes without a word.
    async fn come_and_go(mut self, rounds: u64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        for round in 0..rounds {
            let gateway = usize::try_from((self.number + round) % 2).unwrap();
            let mut open = self.open(gateway).await;
            let mut last: Option<u64> = None;
            let (messages, moment) = (dice.below(12), Duration::from_millis(dice.below(120)));
            let stay = async {
                for _ in 0..messages {
                    if let Heard::Event(id, text) = self.hear(&mut open).await {
                        // All changes of an object stand in one partition.
                        let offset = id.split_once('-').unwrap().1.parse().unwrap();
                        assert!(last < Some(offset), "client {}: {last:?}, then {id}", self.number);
                        last = Some(offset);
                        self.take(id, text);
                    }
                }
            };
            // Only how long it stays is a matter of time.
            let _ = tokio::time::timeout(moment, stay).await;
        }
        self
    }

    /// Comes once more, and reads until it has everything.
    async fn finish(mut self, owed: &[String]) -> u64 {
        let missing =
            |client: &Self| owed.iter().filter(|id| !client.received.contains_key(*id)).count();
        if missing(&self) > 0 {
            let mut open = self.open(usize::try_from(self.number % 2).unwrap()).await;
            let until = tokio::time::Instant::now() + PATIENCE;
            while missing(&self) > 0 {
                let heard = tokio::time::timeout_at(until, self.hear(&mut open)).await;
                match heard {
                    Ok(Heard::Event(id, text)) => self.take(id, text),
                    Ok(Heard::Word) => {}
                    Err(_) => {
                        panic!("client {} ({:?}): {} lost", self.number, self.mode, missing(&self))
                    }
                }
            }
        }
        self.repeats
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_elsewhere_misses_nothing() {
    let caps = ("http.connections_per_principal_max", "1000".to_owned());
    let setup = Setup { partitions: 4, gateway: vec![caps], ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let world = Arc::new(world);
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let resumes = figure("TIDEWIRE_RESUMES", RESUMES);
    let seed = figure("TIDEWIRE_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mode = [Mode::V1, Mode::Stream, Mode::Session][usize::try_from(number % 3).unwrap()];
        let mut client = Client {
            world: Arc::clone(&world),
            tenant: tenant.clone(),
            token: token.clone(),
            number,
            mode,
            cursor: None,
            received: HashMap::new(),
            repeats: 0,
        };
        drop(client.open(0).await);
        clients.push(client);
    }
    // From here on everything is owed.
    let rounds = resumes.div_ceil(CLIENTS);
    let producer = Arc::new(Producer::new(&world.bootstrap(), &world.topic));
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (done, tenant, producer) =
                (Arc::clone(&done), tenant.clone(), Arc::clone(&producer));
            Task::start(async move {
                let mut owed: HashMap<u64, Vec<String>> = HashMap::new();
                for number in 0_u64.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let object = writer + number * WRITERS % OBJECTS;
                    let key = format!("{tenant}/Voyage/{object}");
                    let body = format!(r#"{{"new":{{"key":{object},"comments":"{number}"}}}}"#);
                    let id = producer.sound(&key, "1;U;;none", &body).await;
                    owed.entry(object).or_default().push(id);
                    tokio::time::sleep(PACE).await;
                }
                owed
            })
        })
        .collect();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let seed = seed ^ (client.number << 20);
            Task::start(client.come_and_go(rounds, seed))
        })
        .collect();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.join().await);
    }
    done.store(true, Ordering::Relaxed);
    let mut owed = HashMap::new();
    for writer in writers {
        owed.extend(writer.join().await);
    }
    let changes: usize = owed.values().map(Vec::len).sum();
    let mut repeats = 0;
    for client in clients {
        let owed = &owed[&client.key()];
        repeats += client.finish(owed).await;
    }
    println!("{} resumes, {changes} changes, 0 lost, {repeats} repeats", rounds * CLIENTS);
}
