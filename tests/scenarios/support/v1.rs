//! A client of `tidewire.v1`.

use std::time::Duration;

use serde_json::Value;

use super::World;
use super::socket::{Came, Socket, Wish};

/// How long a word may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

/// An open socket, welcomed.
pub(crate) struct V1 {
    pub(crate) socket: Socket,
}

impl V1 {
    pub(crate) async fn open(world: &World, gateway: usize, token: &str) -> Self {
        Self::welcomed(Self::wish(world, gateway, "/ws/v1", token)).await
    }

    /// A handshake that offers the subprotocol.
    pub(crate) fn wish(world: &World, gateway: usize, path: &str, token: &str) -> Wish {
        let protocols = format!("tidewire.v1, bearer.{token}");
        Wish::new(world.public(gateway), path).header("Sec-WebSocket-Protocol", &protocols)
    }

    pub(crate) async fn welcomed(wish: Wish) -> Self {
        let mut socket = wish.open().await;
        assert_eq!(socket.protocol.as_deref(), Some("tidewire.v1"));
        let welcome = socket.json().await;
        assert_eq!(
            (&welcome["type"], &welcome["protocol"]),
            (&"welcome".into(), &"tidewire.v1".into())
        );
        Self { socket }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.socket.say(&message.to_string()).await;
    }

    /// Subscribes; gives the cursor of the answer, which must be the next about this subscription.
    pub(crate) async fn subscribe(&mut self, request: &Value) -> String {
        let mut message = request.clone();
        message["type"] = "subscribe".into();
        self.say(&message).await;
        loop {
            let answer = self.next().await;
            if answer["id"] == request["id"] && answer["type"] == "subscribed" {
                return answer["cursor"].as_str().unwrap().to_owned();
            }
            assert_ne!(answer["sub"], request["id"], "before the answer: {answer}");
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        self.socket.json().await
    }

    /// The next message that is no cursor. Cursors alone, which idle sockets get, do not count as an answer.
    pub(crate) async fn word(&mut self) -> Value {
        let word = async {
            loop {
                let message = self.next().await;
                if message["type"] != "cursor" {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, word).await.expect("more than cursors in time")
    }

    /// The next message that is no cursor; it is of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let word = self.word().await;
        assert_eq!(word["type"], kind, "{word}");
        word
    }

    /// Waits until the replica has read a change: who resumes then is replayed it.
    pub(crate) async fn has_read(&mut self, id: &str) {
        self.say(&serde_json::json!({"type":"await","id":id})).await;
        assert_eq!(self.expect("reached").await["id"], id);
    }

    /// Expects an error with this status whose text holds this; gives the `sub`.
    pub(crate) async fn refused(&mut self, status: u16, part: &str) -> Option<String> {
        let error = self.expect("error").await;
        assert_eq!(error["statusCode"], status, "{error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{part}: {error}");
        error["sub"].as_str().map(str::to_owned)
    }

    /// The close that comes next, cursors aside.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.socket.next().await {
                Came::Close(code, reason) => return (code, reason),
                Came::Text(text) if text.starts_with(r#"{"type":"cursor""#) => {}
                other => panic!("expected a close, got {other:?}"),
            }
        }
    }
}
