//! The warp filters of a site.

use std::convert::Infallible;
use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::filters::path::FullPath;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply as _};

use crate::exchange::{Connection, Exchange, Head};
use crate::routes::{Routes, is_socket_path};
use crate::{ApiBody, Site, plain, sockets};

/// Sockets first, then plain routes. Every request must carry its [`Connection`] as an extension.
pub(crate) fn of(site: Site) -> BoxedFilter<(Response,)> {
    let routes = Arc::new(Routes::new(site.api));
    let plain = exchange().and(warp::body::stream()).then(move |exchange: Exchange, body| {
        let options = &exchange.connection.shared.options;
        let body = ApiBody::new(body, options.body_bytes_max, options.stall_timeout);
        let routes = Arc::clone(&routes);
        async move { plain::answer(exchange, &routes, body).await }
    });
    let Some(gate) = site.gate else {
        return plain.recover(unforeseen).unify().boxed();
    };
    let sockets = socket_path()
        .and(exchange())
        .then(move |exchange: Exchange| sockets::answer(exchange, Arc::clone(&gate)));
    sockets.or(plain).unify().recover(unforeseen).unify().boxed()
}

fn exchange() -> impl Filter<Extract = (Exchange,), Error = Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::ext::get::<Arc<Connection>>()
        .and(warp::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .map(
            |connection: Arc<Connection>,
             method: Method,
             path: FullPath,
             query: String,
             headers: HeaderMap| {
                let path = path.as_str().to_owned();
                Exchange::new(connection, Head { method, path, query, headers })
            },
        )
}

fn socket_path() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::path::full()
        .and_then(|path: FullPath| async move {
            if is_socket_path(path.as_str()) { Ok(()) } else { Err(warp::reject::not_found()) }
        })
        .untuple_one()
}

/// No filter above rejects a request for what the client did: whatever comes here is a bug, and says
/// nothing of itself.
async fn unforeseen(rejection: Rejection) -> Result<Response, Infallible> {
    tracing::error!(?rejection, "unforeseen rejection");
    Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
