//! One in a hundred of 5,000 sockets stops reading while changes go on: what waits for those stays within what
//! the configuration allows, they are closed as slow, and every other one gets every change, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::Value;
use tidewire_testkit::http::request;
use tidewire_testkit::service::Service;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::bed::{Bed, PRODUCER};

const SOCKETS: usize = 5_000;
const STALLED: usize = SOCKETS / 100;
/// A user has at most 5,000 sockets by default.
const USERS: usize = 10;
/// Handshakes under way at once while the sockets open.
const OPENING: usize = 64;
/// What the client's library reads at once: its default would be half a gigabyte for all of them.
const READ_BYTES: usize = 4 << 10;
/// Of one change; those that stall ask for it, the others for the reference alone.
const COMMENT: usize = 4 << 10;
/// Between two changes: shards tell how much waits once a second, and the queues must not fill sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// Changes that everybody reads, before some stop: buffers and tables have their size then.
const WARM: usize = 50;
/// `gateway.queue_bytes_max`, as it comes.
const QUEUE_BYTES_MAX: u64 = 128 << 10;
/// What the process may grow beside what waits: the allocator keeps what it had between two sizes.
const SLACK: u64 = 8 << 20;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

type Socket = WebSocketStream<TcpStream>;

struct Crowd {
    gateway: std::net::SocketAddr,
    tokens: Vec<String>,
    /// Messages that came, on all sockets together.
    came: AtomicUsize,
    /// Some stop reading now.
    stall: watch::Receiver<bool>,
    /// The last change, once there is one.
    last: watch::Receiver<Option<String>>,
}

impl Crowd {
    async fn open(&self, client: usize) -> Socket {
        let token = &self.tokens[client % USERS];
        let tcp = TcpSocket::new_v4().unwrap();
        let wish = if client < STALLED {
            tcp.set_recv_buffer_size(4096).unwrap();
            // Nobody else has this definition: what waits for it is not shared.
            let key = 1_000_000 + client;
            format!("1,{key}/{token}?fields=%7B%22comments%22:%22*%22%7D")
        } else {
            format!("1/{token}")
        };
        let path = format!("/ws/rest/WebSocketObjectSubscription/Voyage/U/{wish}");
        let stream = tcp.connect(self.gateway).await.unwrap();
        let wish = format!("ws://{}{path}", self.gateway).into_client_request().unwrap();
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        client_async_with_config(wish, stream, Some(config)).await.unwrap().0
    }

    /// Reads to the last change; gives the ids.
    async fn read(
        &self,
        socket: &mut Socket,
        mut last: watch::Receiver<Option<String>>,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            if last.borrow_and_update().is_some() && *last.borrow() == ids.last().cloned() {
                return ids;
            }
            let frame = tokio::select! {
                frame = socket.next() => frame,
                changed = last.changed() => {
                    changed.unwrap();
                    continue;
                }
            };
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(text.as_str()).unwrap();
                    ids.push(
                        message["id"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned(),
                    );
                    self.came.fetch_add(1, Relaxed);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("one that reads was let go: {other:?}"),
            }
        }
    }

    /// Reads until it is to stop, and then no more; the end of that is the end of the socket.
    async fn stop(&self, socket: &mut Socket) {
        let mut stall = self.stall.clone();
        loop {
            let frame = tokio::select! {
                frame = socket.next() => frame,
                stalled = stall.wait_for(|stall| *stall) => {
                    stalled.unwrap();
                    return;
                }
            };
            match frame {
                Some(Ok(Message::Text(_))) => drop(self.came.fetch_add(1, Relaxed)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("one that reads was let go: {other:?}"),
            }
        }
    }
}

fn post(capture: std::net::SocketAddr, token: &str) -> String {
    let comment = "c".repeat(COMMENT);
    let body = format!(
        r#"{{"objectType":"Voyage","key":1,"operation":"U","new":{{"key":1,"comments":"{comment}"}}}}"#
    );
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = request(capture, "POST", "/api/v1/changes", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The most that was seen.
#[derive(Default)]
struct Most {
    queued: u64,
    resident: u64,
}

impl Most {
    fn look(&mut self, gateway: &Service) {
        self.resident = self.resident.max(gateway.resident_bytes().unwrap());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bytes"
        )]
        let queued = gateway.metric("tidewire_send_queue_bytes").unwrap() as u64;
        self.queued = self.queued.max(queued);
    }
}

pub(crate) async fn run() {
    let Some(mut bed) = tokio::task::block_in_place(|| Bed::start(1)) else { return };
    bed.gateways.truncate(1);
    let (stalls, stall) = watch::channel(false);
    let (closing, last) = watch::channel(None);
    let crowd = Arc::new(Crowd {
        gateway: bed.gateways[0].public(),
        tokens: (1..=USERS).map(|user| bed.token(user as u64, &[])).collect(),
        came: AtomicUsize::new(0),
        stall,
        last,
    });
    let (mut readers, mut stalled) = (JoinSet::new(), JoinSet::new());
    let mut opening = futures_util::stream::iter((0..SOCKETS).map(|client| {
        let crowd = Arc::clone(&crowd);
        async move { (client, crowd.open(client).await) }
    }))
    .buffer_unordered(OPENING);
    while let Some((client, mut socket)) = opening.next().await {
        let crowd = Arc::clone(&crowd);
        if client < STALLED {
            stalled.spawn(async move {
                crowd.stop(&mut socket).await;
                socket
            });
        } else {
            let last = crowd.last.clone();
            readers.spawn(async move { crowd.read(&mut socket, last).await });
        }
    }
    drop(opening);

    let (capture, token) = (bed.capture.public(), bed.token(99, &[PRODUCER]));
    let (gateway, mut posted) = (&bed.gateways[0], Vec::new());
    let mut before = Most::default();
    for number in 1..=WARM {
        posted.push(tokio::task::block_in_place(|| post(capture, &token)));
        until(&format!("all have change {number}"), || {
            crowd.came.load(Relaxed) == number * SOCKETS
        })
        .await;
        tokio::task::block_in_place(|| before.look(gateway));
    }
    stalls.send(true).unwrap();
    // Held, and not read, to the end.
    let mut held = Vec::new();
    while let Some(socket) = stalled.join_next().await {
        held.push(socket.unwrap());
    }
    let closed = || {
        let name = "tidewire_connections_closed_total{code=\"4101\"}";
        tokio::task::block_in_place(|| gateway.metric(name)).unwrap()
    };
    let cap = STALLED as u64 * QUEUE_BYTES_MAX;
    let (mut most, end) = (Most::default(), Instant::now() + PATIENCE);
    while closed() < STALLED as f64 {
        assert!(Instant::now() < end, "all that do not read are closed as slow: {}", closed());
        posted.push(tokio::task::block_in_place(|| post(capture, &token)));
        tokio::task::block_in_place(|| most.look(gateway));
        assert!(most.queued <= cap, "{} bytes waited, at most {cap}", most.queued);
        tokio::time::sleep(PAUSE).await;
    }
    closing.send(posted.last().cloned()).unwrap();
    let judged = async {
        while let Some(ids) = readers.join_next().await {
            assert_eq!(ids.unwrap(), posted, "one that reads has every change, in order");
        }
    };
    tokio::time::timeout(PATIENCE, judged).await.expect("every one that reads has the last change");
    assert_eq!(closed(), STALLED as f64, "nobody else is closed as slow");
    let grown = most.resident.saturating_sub(before.resident);
    println!(
        "{STALLED} of {SOCKETS} stalled, {} changes: at most {} KiB waited for them, of {} KiB allowed; the process \
         grew by {} KiB to {} KiB; nobody else was closed or missed one",
        posted.len(),
        most.queued >> 10,
        cap >> 10,
        grown >> 10,
        most.resident >> 10,
    );
    assert!(most.queued > 0, "nothing waited");
    assert!(grown <= cap + SLACK, "the process grew by {grown} bytes; {cap} may wait");
    drop(held);
}
