//! The port through which plain HTTP requests are answered.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use warp::http::{HeaderMap, Method};

use crate::{ApiBody, ApiReply};

/// Answers the requests of one route. Any `async fn(ApiRequest) -> impl Into<ApiReply>` is one.
pub trait ApiHandler: Send + Sync {
    /// Answers one request. The future is dropped when the client goes away before it resolves.
    fn handle(&self, request: ApiRequest) -> BoxFuture<'static, ApiReply>;
}

impl<F, R> ApiHandler for F
where
    F: Fn(ApiRequest) -> R + Send + Sync,
    R: Future + Send + 'static,
    R::Output: Into<ApiReply>,
{
    fn handle(&self, request: ApiRequest) -> BoxFuture<'static, ApiReply> {
        self(request).map(Into::into).boxed()
    }
}

/// One request. Path, query and headers may hold a token: `Debug` shows none of them.
pub struct ApiRequest {
    /// The method; a `GET` route also answers `HEAD`.
    pub method: Method,
    /// As sent: percent-encoded.
    pub path: String,
    /// What stands for the `{name}` parts of the route's pattern, as sent, in their order.
    pub params: Vec<(String, String)>,
    /// Without the `?`; as sent.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, not read yet.
    pub body: ApiBody,
    /// The client's address, as far as trusted proxies tell it.
    pub peer: IpAddr,
}

impl ApiRequest {
    /// The value of a `{name}` part, percent-encoded; empty for a name that the pattern does not have.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A header, where it is there once and is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::headers::text(&self.headers, name)
    }
}

impl fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRequest")
            .field("method", &self.method)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
