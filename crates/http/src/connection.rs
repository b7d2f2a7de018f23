//! One connection, from accept to its end or to its hand-over.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tidewire_runtime::Shutdown;
use tokio::net::TcpStream;
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::http::Version;
use warp::http::header::UPGRADE;
use warp::reply::Response;

use crate::address::{Client, canonical};
use crate::exchange::{Adoption, Connection};
use crate::server::{Admission, Shared};
use crate::stream::{Guarded, Transport};
use crate::{ConnectionPermit, UpgradeError, Upgraded, proxy_line};

/// The longest request head: a field list of 16 KiB, percent-encoded three to one, and a token. hyper's
/// buffer starts with 8 KiB and grows only for a client that sends more; what is longer is answered 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A client that met a cap has this long to say what it wanted to hear refused.
const REFUSED_HEADER_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one accepted connection until it ends or leaves HTTP.
pub(crate) async fn serve(
    mut stream: TcpStream,
    peer: IpAddr,
    admission: Option<Admission>,
    shared: Arc<Shared>,
    filter: BoxedFilter<(Response,)>,
    shutdown: Shutdown,
) {
    let limit = shared.options.header_timeout;
    let client = match timeout(limit, client(&mut stream, peer, &shared)).await {
        Ok(Ok(client)) => client,
        Ok(Err(_)) | Err(_) => return shared.counters.proxy_line_failed.add(),
    };
    // Refused or not, it was decided before by the accept loop where the client was known then.
    let admission = match admission {
        Some(admission) => admission,
        None => match shared.admit(client) {
            Some(admission) => admission,
            None => return,
        },
    };
    match shared.tls.clone() {
        None => run(stream, client, admission, shared, filter, shutdown).await,
        // Boxed: else every plain connection would have room for a TLS handshake in its task.
        Some(tls) => {
            Box::pin(async move {
                match timeout(limit, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        run(stream, client, admission, shared, filter, shutdown).await;
                    }
                    Ok(Err(_)) | Err(_) => shared.counters.tls_failed.add(),
                }
            })
            .await;
        }
    }
}

/// Who is at the other end, as far as it can be known before the first request.
async fn client(stream: &mut TcpStream, peer: IpAddr, shared: &Shared) -> io::Result<Client> {
    let options = &shared.options;
    let is_proxy = options.trusted_proxies.contains(peer);
    if !(is_proxy && options.proxy_protocol) {
        return Ok(Client { address: peer, is_known: !is_proxy });
    }
    Ok(match proxy_line::read(stream).await? {
        // Another trusted proxy may stand behind this one, and name the client in its requests.
        Some(address) => Client { address, is_known: !options.trusted_proxies.contains(address) },
        None => Client { address: canonical(peer), is_known: false },
    })
}

async fn run<S: Transport>(
    stream: S,
    client: Client,
    admission: Admission,
    shared: Arc<Shared>,
    filter: BoxedFilter<(Response,)>,
    shutdown: Shutdown,
) {
    let header_timeout = match admission {
        Admission::Welcome(_) => shared.options.header_timeout,
        Admission::Refused { .. } => shared.options.header_timeout.min(REFUSED_HEADER_TIMEOUT),
    };
    let stall_timeout = shared.options.stall_timeout;
    let connection = Arc::new(Connection {
        shared,
        client,
        refusal: admission.refusal(),
        adoption: Mutex::new(None),
    });
    let outcome = speak(
        Guarded::new(stream, stall_timeout),
        Arc::clone(&connection),
        header_timeout,
        filter,
        shutdown,
    )
    .await;
    let adoption = connection.adoption.lock().take();
    match (adoption, outcome) {
        (Some(adoption), Some((stream, early))) => {
            hand_over(adoption, stream, early, admission, &connection.shared);
        }
        (Some(adoption), None) => (adoption.adopt)(Err(UpgradeError::Gone)),
        (None, Some((stream, _))) => Box::pin(stream.close()).await,
        (None, None) => {}
    }
}

/// Speaks HTTP until there is no more of it. Returns the stream and what was read too far, unless the
/// connection failed.
async fn speak<S: Transport>(
    stream: Guarded<S>,
    connection: Arc<Connection>,
    header_timeout: Duration,
    filter: BoxedFilter<(Response,)>,
    shutdown: Shutdown,
) -> Option<(Guarded<S>, Bytes)> {
    let routes = TowerToHyperService::new(warp::service(filter));
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        if request.version() != Version::HTTP_11 {
            // RFC 6455 asks for 1.1; hyper would not switch either.
            request.headers_mut().remove(UPGRADE);
        }
        request.extensions_mut().insert(Arc::clone(&connection));
        Box::pin(hyper::service::Service::call(&routes, request))
    });
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // The buffer alone may take in one large read more before it is found to be full.
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut is_draining = false;
    loop {
        tokio::select! {
            // hyper stops here, without closing, both at the end of HTTP and after a 101: so the stream
            // can be had back from it as what it is.
            ended = poll_fn(|cx| http.poll_without_shutdown(cx)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended early");
                    return None;
                }
                break;
            }
            () = shutdown.cancelled(), if !is_draining => {
                is_draining = true;
                std::pin::Pin::new(&mut http).graceful_shutdown();
            }
        }
    }
    let parts = http.into_parts();
    // Copied, so that a few bytes do not keep hyper's buffer alive.
    let early = Bytes::copy_from_slice(&parts.read_buf);
    Some((parts.io.into_inner(), early))
}

fn hand_over<S: Transport>(
    adoption: Adoption,
    stream: Guarded<S>,
    early: Bytes,
    admission: Admission,
    shared: &Shared,
) {
    let Adoption { adopt, address } = adoption;
    let (Some(mut permit), false) = (admission.into_permit(), stream.is_blocked()) else {
        // The client has not even taken the answers before the 101, which is now lost in hyper's buffer.
        return adopt(Err(UpgradeError::Gone));
    };
    if let Some(address) = address {
        permit.bind(address);
    }
    match stream.into_inner().hand_over() {
        Ok(stream) => {
            shared.counters.handed_over.add();
            adopt(Ok(Upgraded { stream, early, permit }));
        }
        Err(error) => adopt(Err(UpgradeError::HandOver(error))),
    }
}

impl Admission {
    fn into_permit(self) -> Option<ConnectionPermit> {
        match self {
            Self::Welcome(permit) => Some(permit),
            Self::Refused { .. } => None,
        }
    }
}
