//! The listener, its accept loop, and what is known about both from outside.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidewire_runtime::{Shutdown, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::address::{Client, canonical};
use crate::exchange::Refusal;
use crate::limits::Limits;
use crate::listener::{Pace, listen};
use crate::{BindError, ConnectionPermit, ServerOptions, Site, connection, filters, tls};

/// Connections over a cap that are told so at the same time; more are closed without a word.
pub const REFUSALS_MAX: usize = 256;
/// After an accept that failed for want of resources (file descriptors), until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener that does not accept yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    options: ServerOptions,
}

/// What all connections of a listener share.
pub(crate) struct Shared {
    pub(crate) options: ServerOptions,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Counting,
    refusals: Arc<Semaphore>,
}

/// Whether a connection is served or only told that it is not.
pub(crate) enum Admission {
    Welcome(ConnectionPermit),
    /// The slot is given back when the refusal has been said.
    Refused {
        refusal: Refusal,
        _slot: OwnedSemaphorePermit,
    },
}

impl Server {
    /// Listens, with certificate and key read. Nothing is accepted before [`Server::serve`]; clients that
    /// connect meanwhile wait.
    ///
    /// # Errors
    /// Address or TLS files that cannot be used, by the name of their setting.
    pub async fn bind(options: ServerOptions) -> Result<Self, BindError> {
        let tls = match &options.tls {
            Some(files) => Some(tls::acceptor(options.section, files).await?),
            None => None,
        };
        let listener = listen(&options)?;
        let address = listener.local_addr().map_err(|source| BindError::Listen {
            section: options.section,
            address: options.listen,
            source,
        })?;
        Ok(Self { listener, address, tls, options })
    }

    /// Where it listens: with the real port, where 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `site` until `shutdown` is set. Then nothing more is accepted, requests under way are
    /// finished, idle connections closed; the task named after the section ends when the last connection
    /// has left HTTP. Event streams end when their source does; what was handed over is not waited for.
    pub fn serve(self, site: Site, tasks: &Tasks, shutdown: Shutdown) -> ServerHandle {
        let limits =
            Limits::new(self.options.connections_max, self.options.connections_per_address_max);
        let section = self.options.section;
        let shared = Arc::new(Shared {
            options: self.options,
            tls: self.tls,
            limits,
            counters: Counting::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        });
        let stop = Shutdown::new();
        let handle =
            ServerHandle { shared: Arc::clone(&shared), stop: stop.clone(), address: self.address };
        let acceptor = Acceptor {
            listener: self.listener,
            shared,
            filter: filters::of(site),
            tasks: tasks.clone(),
            shutdown,
            stop,
        };
        tasks.spawn(section, acceptor.run());
        handle
    }
}

/// A running server, from outside. Cheap to clone.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
    stop: Shutdown,
    address: SocketAddr,
}

impl ServerHandle {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and leaves open connections alone.
    pub fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Connections that hold a place under the cap, sockets that were handed over included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.limits.connections()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }
}

impl Shared {
    /// A place for a connection, or for its refusal; `None`: not even that.
    pub(crate) fn admit(&self, client: Client) -> Option<Admission> {
        let refusal = match self.limits.connection() {
            None => Refusal::Connections,
            Some(permit) if !client.is_known => return Some(Admission::Welcome(permit)),
            Some(mut permit) => match self.limits.address(client.address) {
                Some(address) => {
                    permit.bind(address);
                    return Some(Admission::Welcome(permit));
                }
                None => Refusal::Address,
            },
        };
        self.count_refusal(refusal);
        match Arc::clone(&self.refusals).try_acquire_owned() {
            Ok(slot) => Some(Admission::Refused { refusal, _slot: slot }),
            Err(_) => {
                self.counters.refused_silently.add();
                None
            }
        }
    }

    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        match refusal {
            Refusal::Connections => self.counters.refused_connections.add(),
            Refusal::Address => self.counters.refused_address.add(),
        }
    }
}

impl Admission {
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Welcome(_) => None,
            Self::Refused { refusal, .. } => Some(*refusal),
        }
    }
}

struct Acceptor {
    listener: TcpListener,
    shared: Arc<Shared>,
    filter: BoxedFilter<(Response,)>,
    tasks: Tasks,
    shutdown: Shutdown,
    stop: Shutdown,
}

impl Acceptor {
    async fn run(self) {
        let Self { listener, shared, filter, tasks, shutdown, stop } = self;
        // Each connection holds a sender: nothing is ever sent, the receiver sees the last one go.
        let (open, mut all_closed) = mpsc::channel::<()>(1);
        let mut pace = Pace::new(shared.options.accepts_per_second);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &shared) => accepted,
                () = shutdown.cancelled() => break,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = accepted;
            let peer = canonical(peer.ip());
            // A proxy that will name the client first is admitted then.
            let options = &shared.options;
            let is_proxy = options.trusted_proxies.contains(peer);
            let admission = if is_proxy && options.proxy_protocol {
                None
            } else {
                match shared.admit(Client { address: peer, is_known: !is_proxy }) {
                    Some(admission) => Some(admission),
                    None => continue,
                }
            };
            let serve = connection::serve(
                stream,
                peer,
                admission,
                Arc::clone(&shared),
                filter.clone(),
                shutdown.clone(),
            );
            let open = open.clone();
            tasks.spawn_detached("connection", async move {
                serve.await;
                drop(open);
            });
            if let Some(until) = pace.take(Instant::now()) {
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = shutdown.cancelled() => break,
                    () = stop.cancelled() => break,
                }
            }
        }
        drop((listener, open));
        all_closed.recv().await;
    }
}

async fn accept(listener: &TcpListener, shared: &Shared) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                shared.counters.accepted.add();
                return accepted;
            }
            // The client was gone before we came: nothing of ours.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if shared.counters.accept_failed.add_and_get().is_power_of_two() {
                    tracing::warn!(%error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What has happened on a listener since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted by the kernel's hand, refused ones included.
    pub accepted: u64,
    /// Refused with 503: over `connections_max`.
    pub refused_connections: u64,
    /// Refused with 429: over `connections_per_address_max`.
    pub refused_address: u64,
    /// Of both, those that were closed without an answer because too many were being refused.
    pub refused_silently: u64,
    /// TLS handshakes that failed or took too long.
    pub tls_failed: u64,
    /// Connections of proxies without a sound PROXY line in time.
    pub proxy_line_failed: u64,
    /// Sockets that left HTTP.
    pub handed_over: u64,
    /// Accepts that failed, for want of file descriptors say.
    pub accept_failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn add_and_get(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counting {
    accepted: Counter,
    refused_connections: Counter,
    refused_address: Counter,
    refused_silently: Counter,
    pub(crate) tls_failed: Counter,
    pub(crate) proxy_line_failed: Counter,
    pub(crate) handed_over: Counter,
    accept_failed: Counter,
}

impl Counting {
    fn read(&self) -> Counters {
        Counters {
            accepted: self.accepted.get(),
            refused_connections: self.refused_connections.get(),
            refused_address: self.refused_address.get(),
            refused_silently: self.refused_silently.get(),
            tls_failed: self.tls_failed.get(),
            proxy_line_failed: self.proxy_line_failed.get(),
            handed_over: self.handed_over.get(),
            accept_failed: self.accept_failed.get(),
        }
    }
}
