//! Requests to the socket paths: the handshake is checked, the gate asked, its answer spoken.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use warp::Reply as _;
use warp::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use crate::cors::Origin;
use crate::exchange::{Adopt, Adoption, Exchange};
use crate::handshake::{self, Handshake};
use crate::headers::text;
use crate::limits::AddressPermit;
use crate::{EventSource, Reply, RequestKind, SocketAnswer, SocketGate, SocketRequest, cors};

const METHODS: HeaderValue = HeaderValue::from_static("GET, OPTIONS");

/// Answers one request to a socket path.
pub(crate) async fn answer(exchange: Exchange, gate: Arc<dyn SocketGate>) -> Response {
    let place = match exchange.admit() {
        Ok(place) => place,
        Err(mut refused) => {
            exchange.origin.expose(refused.headers_mut());
            return *refused;
        }
    };
    if exchange.head.method == Method::OPTIONS {
        return options(&exchange);
    }
    if exchange.head.method != Method::GET {
        return exchange.method_not_allowed(&METHODS);
    }
    let Handshake { kind, accept } = handshake::read(&exchange.head.headers);
    let answer = gate.open(request(&exchange, kind)).await;
    let mut response = match (answer, accept) {
        (SocketAnswer::Upgrade { subprotocol, adopt }, Some(accept)) => {
            // A 101 is read by no page's script: it needs no CORS.
            return switch(&exchange, accept, subprotocol, adopt, place);
        }
        (SocketAnswer::Refuse(reply), _) => refuse(&exchange, reply),
        (SocketAnswer::Stream { body }, None) if kind == RequestKind::EventStream => {
            stream(body, place)
        }
        (SocketAnswer::Upgrade { .. } | SocketAnswer::Stream { .. }, _) => {
            exchange.bug("the gate's answer does not fit the request")
        }
    };
    exchange.origin.expose(response.headers_mut());
    response
}

fn request(exchange: &Exchange, kind: RequestKind) -> SocketRequest {
    let headers = &exchange.head.headers;
    let owned = |name| text(headers, name).map(str::to_owned);
    SocketRequest {
        path: exchange.head.path.clone(),
        query: exchange.head.query.clone(),
        method: exchange.head.method.to_string(),
        peer: exchange.client.address,
        host: owned("host"),
        // An Origin that cannot be read is one that nothing permits, not the absence of one.
        origin: headers.contains_key("origin").then(|| owned("origin").unwrap_or_default()),
        authorization: owned("authorization"),
        subprotocols: handshake::subprotocols(headers),
        last_event_id: owned("last-event-id"),
        kind,
    }
}

fn options(exchange: &Exchange) -> Response {
    if let Origin::Foreign(origin) = &exchange.origin {
        return exchange.refuse_foreign(origin);
    }
    let mut response =
        exchange.respond(Reply::empty(StatusCode::NO_CONTENT).header("allow", "GET, OPTIONS"));
    exchange.origin.expose(response.headers_mut());
    if cors::is_preflight(&exchange.head.headers) {
        cors::allow(&METHODS, response.headers_mut());
    }
    response
}

fn refuse(exchange: &Exchange, reply: Reply) -> Response {
    if reply.status.is_informational() {
        return exchange.bug("a refusal with an interim status");
    }
    let mut response = exchange.respond(reply);
    if response.status() == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

fn switch(
    exchange: &Exchange,
    accept: HeaderValue,
    subprotocol: Option<String>,
    adopt: Adopt,
    address: Option<AddressPermit>,
) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        match HeaderValue::from_str(&subprotocol) {
            Ok(subprotocol) => {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
            }
            Err(_) => return exchange.bug("a subprotocol that no header can hold"),
        }
    }
    *exchange.connection.adoption.lock() = Some(Adoption { adopt, address });
    response
}

fn stream(source: Box<dyn EventSource>, place: Option<AddressPermit>) -> Response {
    let mut response =
        warp::reply::stream(Events { source: Mutex::new(source), _place: place }).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold events back until its buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// An event source as a body.
struct Events {
    /// Never locked: the mutex only makes it `Sync`, which warp wants of bodies.
    source: Mutex<Box<dyn EventSource>>,
    /// The client's place under its cap, for as long as the stream runs.
    _place: Option<AddressPermit>,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.source.get_mut().poll_next(cx).map(|bytes| bytes.map(Ok))
    }
}
