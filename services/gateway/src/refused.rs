//! How a refusal is told: as an HTTP answer, as an event stream that asks for a retry, or, to a browser
//! that asked for it with `?refuse=close`, as an error frame and a close code on an accepted upgrade.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tidewire_http::{
    EventSource, Reply, RequestKind, SocketAnswer, SocketRequest, StatusCode, Upgraded,
    UpgradedStream,
};
use tidewire_runtime::Tasks;
use tidewire_wire::error::{ErrorBody, Refusal};
use tidewire_wire::{sse, v1, ws};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::shared::unix_ms;

/// How long a client may take to read why it was refused.
const LINGER: Duration = Duration::from_secs(5);

/// The answer to a refused request. `uri` is the redacted one.
pub(crate) fn answer(
    request: &SocketRequest,
    refusal: &Refusal,
    uri: &str,
    tasks: &Tasks,
) -> SocketAnswer {
    let body = refusal.body(unix_ms(), &request.method, uri);
    match request.kind {
        RequestKind::WebSocket if wants_close(request) => close(request, refusal, &body, tasks),
        // EventSource gives up for good on any status but 200: what may be retried is answered so.
        RequestKind::EventStream if refusal.retry_after.is_some() => {
            let seconds = u64::from(refusal.retry_after.unwrap_or(1));
            let mut block = Vec::new();
            sse::push_retry(&mut block, seconds * 1000);
            SocketAnswer::Stream { body: one_block(block) }
        }
        _ => SocketAnswer::Refuse(reply(refusal, body.to_json())),
    }
}

/// The refusal as a plain HTTP answer.
pub(crate) fn reply(refusal: &Refusal, body: Vec<u8>) -> Reply {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reply = Reply::json(status, body);
    match refusal.retry_after {
        Some(seconds) => reply.retry_after(u64::from(seconds)),
        None => reply,
    }
}

/// Looks for the wish itself, since the query may be what is malformed.
fn wants_close(request: &SocketRequest) -> bool {
    request.query.split('&').any(|pair| pair == "refuse=close") || speaks_v1(request)
}

/// Whether the client takes frames for `tidewire.v1`, also where it was refused before that was settled.
fn speaks_v1(request: &SocketRequest) -> bool {
    request.path == tidewire_wire::request::V1_PATH
        || request.subprotocols.iter().any(|p| p == "tidewire.v1")
}

fn one_block(block: Vec<u8>) -> Box<dyn EventSource> {
    let (sender, receiver) = mpsc::channel(1);
    // The channel has room for one.
    let _ = sender.try_send(Bytes::from(block));
    Box::new(receiver)
}

fn close(
    request: &SocketRequest,
    refusal: &Refusal,
    body: &ErrorBody,
    tasks: &Tasks,
) -> SocketAnswer {
    let mut text = body.to_json();
    if speaks_v1(request) {
        text.clear();
        v1::frames::push_error(&mut text, None, body);
    }
    let mut frames = Vec::new();
    ws::push_text(&mut frames, &text);
    let code = refusal.close_code();
    ws::push_close(&mut frames, code.number(), code.name());
    let tasks = tasks.clone();
    // A browser closes a socket whose offered subprotocols are not answered, and shows no code.
    let known = ["vms", "tidewire.v1"].into_iter();
    let echo = known.into_iter().find(|name| request.subprotocols.iter().any(|p| p == name));
    SocketAnswer::Upgrade {
        subprotocol: echo.map(str::to_owned),
        adopt: Box::new(move |upgraded| {
            if let Ok(upgraded) = upgraded {
                tasks.spawn_detached("refused-socket", async move {
                    // The client may be gone already: nobody is left to tell.
                    let _ = tokio::time::timeout(LINGER, say(upgraded, frames)).await;
                });
            }
        }),
    }
}

/// Writes the frames, then reads until the client has closed: a close with unread bytes would be a reset
/// that overtakes the frames.
async fn say(upgraded: Upgraded, frames: Vec<u8>) -> io::Result<()> {
    let (stream, bytes) = match upgraded.stream {
        UpgradedStream::Plain(stream) => (stream, frames),
        UpgradedStream::Tls(stream, mut session) => {
            let mut records = Vec::new();
            io::Write::write_all(&mut session.writer(), &frames)?;
            session.send_close_notify();
            while session.wants_write() {
                session.write_tls(&mut records)?;
            }
            (stream, records)
        }
    };
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    drop(upgraded.permit);
    Ok(())
}
