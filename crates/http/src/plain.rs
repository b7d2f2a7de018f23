//! Requests to everything but the socket paths.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use warp::Reply as _;
use warp::http::header::{ALLOW, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use crate::cors::{self, Origin};
use crate::exchange::{Exchange, Head, head_of};
use crate::limits::AddressPermit;
use crate::routes::{Found, Routes};
use crate::{ApiBody, ApiReply, ApiRequest, BodyError};

/// Answers one request from the routes of the site.
pub(crate) async fn answer(exchange: Exchange, routes: &Routes, body: ApiBody) -> Response {
    let place = match exchange.admit() {
        Ok(place) => place,
        Err(refused) => return *refused,
    };
    match routes.find(&exchange.head.method, &exchange.head.path) {
        Found::Nothing => exchange.respond(exchange.error(StatusCode::NOT_FOUND, "no such path")),
        // Everything that a page could reach goes through here: a page of a foreign origin must not even
        // post what it cannot read the answer of.
        _ if let Origin::Foreign(origin) = &exchange.origin => exchange.refuse_foreign(origin),
        Found::OtherMethods { methods, cors } => other_method(&exchange, &methods, cors),
        Found::Route { handler, params, cors } => {
            let reply = handler.handle(request(&exchange, params, body)).await;
            let mut response = respond(&exchange, reply, place);
            if cors {
                exchange.origin.expose(response.headers_mut());
            }
            response
        }
    }
}

fn request(exchange: &Exchange, params: Vec<(String, String)>, body: ApiBody) -> ApiRequest {
    let Head { method, path, query, headers } = &exchange.head;
    ApiRequest {
        method: method.clone(),
        path: path.clone(),
        params,
        query: query.clone(),
        headers: headers.clone(),
        body,
        peer: exchange.client.address,
    }
}

fn other_method(exchange: &Exchange, methods: &[Method], cors: bool) -> Response {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if methods.contains(&Method::GET) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    let Ok(names) = HeaderValue::from_str(&names.join(", ")) else {
        return exchange.bug("a method that no header can hold");
    };
    if exchange.head.method != Method::OPTIONS {
        return exchange.method_not_allowed(&names);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(ALLOW, names.clone());
    if cors {
        exchange.origin.expose(response.headers_mut());
        if cors::is_preflight(&exchange.head.headers) {
            cors::allow(&names, response.headers_mut());
        }
    }
    response
}

fn respond(exchange: &Exchange, reply: ApiReply, place: Option<AddressPermit>) -> Response {
    let status = match &reply {
        ApiReply::Whole(reply) | ApiReply::Stream(reply, _) => reply.status,
        ApiReply::Error(status, _) => *status,
    };
    if status.is_informational() {
        return exchange.bug("an answer with an interim status");
    }
    match reply {
        ApiReply::Whole(reply) => exchange.respond(reply),
        ApiReply::Error(status, message) => exchange.respond(exchange.error(status, &message)),
        ApiReply::Stream(reply, rest) => {
            let (parts, _) = head_of(&reply).into_parts();
            let chunks = Chunks { first: Some(reply.body), rest, _place: place };
            let (_, body) = warp::reply::stream(chunks).into_response().into_parts();
            Response::from_parts(parts, body)
        }
    }
}

/// An answer that comes in pieces.
struct Chunks {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Bytes>,
    /// The client's place under its cap, for as long as the answer takes.
    _place: Option<AddressPermit>,
}

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest.poll_recv(cx).map(|chunk| chunk.map(Ok))
    }
}

impl From<BodyError> for ApiReply {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Stalled => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Self::Error(status, error.to_string())
    }
}
