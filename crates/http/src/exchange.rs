//! One request on one connection: who asks, whether it may, and how its answer is made.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tidewire_wire::error::ErrorBody;
use tidewire_wire::request::redact;
use tidewire_wire::sse;
use warp::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use crate::address::Client;
use crate::cors::Origin;
use crate::limits::AddressPermit;
use crate::routes::is_socket_path;
use crate::server::Shared;
use crate::{Reply, RequestKind, UpgradeError, Upgraded, handshake};

pub(crate) type Adopt = Box<dyn FnOnce(Result<Upgraded, UpgradeError>) + Send>;

/// Seconds after which a client that met a cap may come again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// What all requests of one connection share.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// The other end, or whom its PROXY line names.
    pub(crate) client: Client,
    /// Every request is answered with this.
    pub(crate) refusal: Option<Refusal>,
    /// Set by an accepted upgrade, taken when hyper has written the 101.
    pub(crate) adoption: Mutex<Option<Adoption>>,
}

/// Who gets the stream.
pub(crate) struct Adoption {
    pub(crate) adopt: Adopt,
    /// The client's place, where it is not the connection's.
    pub(crate) address: Option<AddressPermit>,
}

/// Which cap a client met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Connections,
    Address,
}

/// The head of one request.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

/// One request on its connection.
pub(crate) struct Exchange {
    pub(crate) connection: Arc<Connection>,
    pub(crate) head: Head,
    pub(crate) client: Client,
    pub(crate) origin: Origin,
}

impl Exchange {
    pub(crate) fn new(connection: Arc<Connection>, head: Head) -> Self {
        let options = &connection.shared.options;
        let client = if connection.client.is_known {
            connection.client
        } else {
            options.trusted_proxies.client(connection.client.address, &head.headers)
        };
        let origin = Origin::of(&head.headers, &options.allowed_origins);
        Self { connection, head, client, origin }
    }

    /// The place under the client's own cap that this request needs; `None` where the connection has one,
    /// or nobody knows the client.
    pub(crate) fn admit(&self) -> Result<Option<AddressPermit>, Box<Response>> {
        if let Some(refusal) = self.connection.refusal {
            return Err(Box::new(self.refuse(refusal)));
        }
        if self.connection.client.is_known || !self.client.is_known {
            return Ok(None);
        }
        match self.connection.shared.limits.address(self.client.address) {
            Some(permit) => Ok(Some(permit)),
            None => {
                self.connection.shared.count_refusal(Refusal::Address);
                Err(Box::new(self.refuse(Refusal::Address)))
            }
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        let (status, message) = match refusal {
            Refusal::Connections => (StatusCode::SERVICE_UNAVAILABLE, "too many connections"),
            Refusal::Address => {
                (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address")
            }
        };
        let mut response = if self.is_event_stream() {
            // EventSource gives up for good on any status but 200.
            let mut block = Vec::new();
            sse::push_retry(&mut block, RETRY_AFTER_SECONDS * 1000);
            self.respond(Reply::new(StatusCode::OK, "text/event-stream", block))
        } else {
            self.respond(self.error(status, message).retry_after(RETRY_AFTER_SECONDS))
        };
        // Nothing more is wanted from this client on this connection, unless a proxy shares it.
        if self.connection.refusal.is_some() {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        response
    }

    fn is_event_stream(&self) -> bool {
        self.head.method == Method::GET
            && is_socket_path(&self.head.path)
            && handshake::read(&self.head.headers).kind == RequestKind::EventStream
    }

    /// Refuses a page of a foreign origin, and tells the operator which setting would let it in.
    pub(crate) fn refuse_foreign(&self, origin: &str) -> Response {
        tracing::info!(
            origin,
            setting = %format_args!("{}.allowed_origins", self.connection.shared.options.section),
            "origin not allowed"
        );
        self.respond(self.error(StatusCode::FORBIDDEN, "origin not allowed"))
    }

    /// The documented error body.
    pub(crate) fn error(&self, status: StatusCode, message: &str) -> Reply {
        let Head { method, path, query, .. } = &self.head;
        let uri = if query.is_empty() { redact(path) } else { redact(&format!("{path}?{query}")) };
        let body = ErrorBody {
            status: status.as_u16(),
            message: message.to_owned(),
            date_ms: unix_ms(),
            method: method.to_string(),
            uri,
        };
        Reply::json(status, body.to_json())
    }

    /// 405, naming what the path understands.
    pub(crate) fn method_not_allowed(&self, methods: &HeaderValue) -> Response {
        let mut response =
            self.respond(self.error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
        response.headers_mut().insert(ALLOW, methods.clone());
        response
    }

    /// What a handler did that it must not; the client learns nothing of it.
    pub(crate) fn bug(&self, what: &'static str) -> Response {
        tracing::error!(what, "a handler broke its contract");
        self.respond(self.error(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
    }

    /// A whole answer.
    pub(crate) fn respond(&self, reply: Reply) -> Response {
        let mut response = head_of(&reply);
        *response.body_mut() = reply.body.into();
        response
    }
}

/// Status and headers of an answer, with an empty body.
pub(crate) fn head_of(reply: &Reply) -> Response {
    let mut response = Response::default();
    *response.status_mut() = reply.status;
    if !reply.content_type.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    }
    for (name, value) in &reply.headers {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            // The value may hold what the client sent: it is not shown.
            _ => tracing::error!(header = name, "header left out: not allowed in HTTP"),
        }
    }
    response
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
