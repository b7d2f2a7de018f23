//! One client of a storm: it listens, notices that its link has ended, waits for the word, and comes back to
//! the other replica until that lets it in.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::rolling::OBJECTS;

/// Whose sockets they are; each user has an address of his own.
pub(super) const USERS: usize = 10;
/// Between two tries of a client to come back.
const AGAIN: Duration = Duration::from_millis(200);
/// How long one handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
/// What the client's library reads at once: its default would be a gigabyte for all of them.
const READ_BYTES: usize = 4 << 10;

pub(super) type Socket = WebSocketStream<TcpStream>;
/// The last change of each object.
pub(super) type Ids = HashMap<usize, String>;

pub(super) struct Crowd {
    pub(super) gateways: Vec<SocketAddr>,
    pub(super) tokens: Vec<String>,
    pub(super) open: AtomicUsize,
    /// Open, once all may come back.
    pub(super) gate: watch::Receiver<bool>,
    /// The last change of each object, once there is one.
    pub(super) last: watch::Receiver<Option<Arc<Ids>>>,
}

/// One client, from its first connection on.
pub(super) struct Client {
    pub(super) crowd: Arc<Crowd>,
    pub(super) number: usize,
    /// Where its `tidewire.v1` subscription goes on; sessions leave that to the server.
    pub(super) cursor: Option<String>,
    /// The ids that it was told, in order, connection by connection.
    pub(super) told: Vec<Vec<String>>,
}

/// What a client got, and when it had everything.
pub(super) struct Done {
    pub(super) number: usize,
    pub(super) told: Vec<Vec<String>>,
    pub(super) at: Instant,
    /// Still open: who goes at once may go before the gateway counts it as caught up.
    pub(super) socket: Socket,
}

enum Left {
    /// It has the last change.
    Done,
    /// The link ended without a word.
    Dropped,
}

impl Client {
    fn has_session(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    fn object(&self) -> usize {
        object_of(self.number)
    }

    /// Connects, and returns once the server has said where delivery goes on.
    pub(super) async fn open(
        &mut self,
        gateway: usize,
        comes_back: bool,
    ) -> anyhow::Result<Socket> {
        let (user, address) = (self.number % USERS, self.crowd.gateways[gateway]);
        let token = &self.crowd.tokens[user];
        let tcp = TcpSocket::new_v4()?;
        let own = Ipv4Addr::new(127, 0, 1, u8::try_from(user + 1)?);
        tcp.bind((own, 0).into())?;
        let stream = tcp.connect(address).await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let wish = if self.has_session() {
            let (object, number) = (self.object(), self.number);
            let path = format!("/ws/rest/WebSocketObjectSubscription/Voyage/U/{object}/{token}");
            format!("ws://{address}{path}?session=s{number}").into_client_request()?
        } else {
            let mut wish = format!("ws://{address}/ws/v1").into_client_request()?;
            let protocols = format!("tidewire.v1, bearer.{token}").parse()?;
            wish.headers_mut().insert("Sec-WebSocket-Protocol", protocols);
            wish
        };
        let mut socket = client_async_with_config(wish, stream, Some(config)).await?.0;
        let first = word(&mut socket).await?;
        if self.has_session() {
            let expected = if comes_back { "session resumed" } else { "session starts now" };
            assert_eq!(first["message"], expected, "client {}: {first}", self.number);
            return Ok(socket);
        }
        ensure!(first["type"] == "welcome", "{first}");
        let from = self.cursor.as_deref().unwrap_or("now");
        let subscribe = json!({
            "type": "subscribe", "id": "a", "objectType": "Voyage", "events": "U",
            "keys": [self.object()], "from": from,
        });
        socket.send(Message::text(subscribe.to_string())).await?;
        let answer = word(&mut socket).await?;
        assert_eq!(answer["type"], "subscribed", "client {}: {answer}", self.number);
        self.cursor = answer["cursor"].as_str().map(str::to_owned);
        Ok(socket)
    }

    async fn come_back(&mut self) -> Socket {
        loop {
            match tokio::time::timeout(HANDSHAKE_MAX, self.open(1, true)).await {
                Ok(Ok(socket)) => return socket,
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    pub(super) async fn live(mut self, mut socket: Socket) -> Done {
        loop {
            self.told.push(Vec::new());
            if let Left::Done = self.listen(&mut socket).await {
                let Self { number, told, .. } = self;
                return Done { number, told, at: Instant::now(), socket };
            }
            drop(socket);
            self.crowd.open.fetch_sub(1, Relaxed);
            self.crowd.gate.clone().wait_for(|open| *open).await.unwrap();
            socket = self.come_back().await;
            self.crowd.open.fetch_add(1, Relaxed);
        }
    }

    async fn listen(&mut self, socket: &mut Socket) -> Left {
        let object = self.object();
        let mut last = self.crowd.last.clone();
        loop {
            let done = last.borrow_and_update().as_ref().map(|last| last[&object].clone());
            let ids = self.told.last_mut().unwrap();
            if done.is_some() && done.as_ref() == ids.last() {
                return Left::Done;
            }
            let word = tokio::select! {
                word = word(socket) => word,
                changed = last.changed() => {
                    changed.unwrap();
                    continue;
                }
            };
            let Ok(word) = word else { return Left::Dropped };
            match word["type"].as_str() {
                Some("cursor" | "live") => {
                    self.cursor = word["cursor"].as_str().map(str::to_owned);
                }
                None | Some("event") => {
                    let id = word["id"].as_str();
                    let id = id.unwrap_or_else(|| panic!("client {}: {word}", self.number));
                    ids.push(id.to_owned());
                }
                Some(_) => panic!("client {}: {word}", self.number),
            }
        }
    }
}

/// The next message; an error is a link that ended.
async fn word(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        match socket.next().await.context("the stream ended")?? {
            Message::Text(text) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// What a client looks at; each object has clients of both kinds.
pub(super) fn object_of(client: usize) -> usize {
    client / 2 % OBJECTS + 1
}
