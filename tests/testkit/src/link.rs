//! A TCP proxy between clients and one server, whose links can be broken in the ways in which networks break
//! them: cut (both ends are reset), silent (both ends stay open and nothing crosses any more), or held (what
//! the server writes is taken and not passed on, as a buffer on the way does).
//!
//! Orders hold for the links of that moment; a link that comes later carries. All links of a proxy run on one
//! thread of its own, and dropping the proxy cuts them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::ports::free_port;

/// What a held link takes from its server before it stops reading, so that the server's own buffers fill.
const HELD_MAX: usize = 4 << 20;
/// Read at once.
const CHUNK: usize = 16 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Carry,
    Hold,
    Silence,
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToClient,
    ToServer,
}

/// A running proxy.
pub struct LinkProxy {
    address: SocketAddr,
    links: Arc<Links>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Links {
    server: SocketAddr,
    refuse: AtomicBool,
    orders: Mutex<HashMap<u64, watch::Sender<Order>>>,
    opened: AtomicU64,
    held: AtomicUsize,
    to_clients: AtomicU64,
    left: AtomicU64,
}

impl LinkProxy {
    /// Starts one in front of `server`, on a port of its own.
    ///
    /// # Errors
    /// When there is no port or no thread for it.
    pub fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", free_port()?))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let links = Arc::new(Links {
            server,
            refuse: AtomicBool::new(false),
            orders: Mutex::default(),
            opened: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            to_clients: AtomicU64::new(0),
            left: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&links);
        let thread = std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || runtime.block_on(serve(listener, served, stopped)))
            .context("no thread for the proxy")?;
        Ok(Self { address, links, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets both ends of every link, with all that is under way; gives their number.
    pub fn cut(&self) -> usize {
        self.order(Order::Cut)
    }

    /// From now on nothing crosses, and neither end is told: what either writes is taken and thrown away.
    /// Gives the number of links.
    pub fn silence(&self) -> usize {
        self.order(Order::Silence)
    }

    /// From now on what the server writes is taken, up to 4 MiB a link, and not passed on. Gives the number
    /// of links.
    pub fn hold(&self) -> usize {
        self.order(Order::Hold)
    }

    /// Held links carry again, what they hold first.
    pub fn release(&self) -> usize {
        self.order(Order::Carry)
    }

    /// Whether new links are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.links.refuse.store(refuse, Relaxed);
    }

    /// Links that stand.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.orders().len()
    }

    /// Links there were, all in all.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.links.opened.load(Relaxed)
    }

    /// Bytes that servers have written and held links have not passed on.
    #[must_use]
    pub fn held(&self) -> usize {
        self.links.held.load(Relaxed)
    }

    /// Bytes that have been passed on to clients.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.links.to_clients.load(Relaxed)
    }

    /// Silent links whose server has closed its end.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.links.left.load(Relaxed)
    }

    fn order(&self, order: Order) -> usize {
        let orders = self.links.orders();
        orders.values().for_each(|link| {
            // It has just ended by itself, if nobody listens.
            let _ = link.send(order);
        });
        orders.len()
    }
}

impl Drop for LinkProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said why on standard error, if it panicked.
            let _ = thread.join();
        }
    }
}

impl Links {
    fn orders(&self) -> MutexGuard<'_, HashMap<u64, watch::Sender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    listener: std::net::TcpListener,
    links: Arc<Links>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("the proxy cannot listen: {error}"),
    };
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => {
                // A client that has gone already, or no descriptor left: the next one may do better.
                let Ok((client, _)) = accepted else { continue };
                if links.refuse.load(Relaxed) {
                    let _ = client.set_zero_linger();
                    continue;
                }
                let number = links.opened.fetch_add(1, Relaxed);
                let (sender, orders) = watch::channel(Order::Carry);
                links.orders().insert(number, sender);
                let links = Arc::clone(&links);
                tasks.spawn(async move {
                    link(client, &links, orders).await;
                    links.orders().remove(&number);
                });
            }
        }
    }
}

/// Carries until both directions have ended, or one was broken: then both ends are reset.
async fn link(mut client: TcpStream, links: &Links, mut orders: watch::Receiver<Order>) {
    let connected = tokio::select! {
        connected = TcpStream::connect(links.server) => connected.ok(),
        () = cut(&mut orders) => None,
    };
    let Some(mut server) = connected else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ended = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let down = Pump { direction: Direction::ToClient, links, orders: orders.clone() };
        let up = Pump { direction: Direction::ToServer, links, orders };
        tokio::try_join!(
            down.run(&mut from_server, &mut to_client),
            up.run(&mut from_client, &mut to_server)
        )
    };
    if ended.is_err() {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn cut(orders: &mut watch::Receiver<Order>) {
    // An error is the end of the proxy.
    let _ = orders.wait_for(|order| *order == Order::Cut).await;
}

/// One direction of a link.
struct Pump<'a> {
    direction: Direction,
    links: &'a Links,
    orders: watch::Receiver<Order>,
}

impl Pump<'_> {
    /// An error is an end that was cut or reset.
    async fn run(
        mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut under_way = UnderWay::new(&self.links.held);
        let mut chunk = vec![0; CHUNK];
        let mut ended = false;
        loop {
            let order = match *self.orders.borrow_and_update() {
                Order::Cut => return Err(io::ErrorKind::ConnectionReset.into()),
                // A client's own words pass a held link.
                Order::Hold if self.direction == Direction::ToServer => Order::Carry,
                order => order,
            };
            if order == Order::Silence {
                under_way.clear();
            }
            under_way.count(order);
            let waiting = under_way.bytes();
            if ended && waiting.is_empty() {
                return match order {
                    Order::Silence => self.left().await,
                    _ => to.shutdown().await,
                };
            }
            let may_write = order == Order::Carry && !waiting.is_empty();
            let may_read = !ended
                && match order {
                    Order::Hold => waiting.len() < HELD_MAX,
                    Order::Carry => waiting.is_empty(),
                    Order::Silence | Order::Cut => true,
                };
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                },
                written = to.write(waiting), if may_write => {
                    let written = written?;
                    under_way.sent += written;
                    if self.direction == Direction::ToClient {
                        self.links.to_clients.fetch_add(written as u64, Relaxed);
                    }
                }
                read = from.read(&mut chunk), if may_read => match read {
                    Ok(read) => {
                        ended = read == 0;
                        under_way.take(chunk.get(..read).unwrap_or_default());
                    }
                    // Nobody is told of the end of a silent link.
                    Err(_) if order == Order::Silence => ended = true,
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// One end of a silent link has gone: the other must not know, until the link is cut.
    async fn left(mut self) -> io::Result<()> {
        if self.direction == Direction::ToClient {
            self.links.left.fetch_add(1, Relaxed);
        }
        cut(&mut self.orders).await;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// What was read and not yet written.
struct UnderWay<'a> {
    taken: Vec<u8>,
    sent: usize,
    held: &'a AtomicUsize,
    /// How much of it stands in `held`.
    counted: usize,
}

impl<'a> UnderWay<'a> {
    fn new(held: &'a AtomicUsize) -> Self {
        Self { taken: Vec::new(), sent: 0, held, counted: 0 }
    }

    fn count(&mut self, order: Order) {
        self.held.fetch_sub(self.counted, Relaxed);
        self.counted = if order == Order::Hold { self.bytes().len() } else { 0 };
        self.held.fetch_add(self.counted, Relaxed);
    }

    fn bytes(&self) -> &[u8] {
        self.taken.get(self.sent..).unwrap_or_default()
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.bytes().is_empty() {
            self.clear();
        }
        self.taken.extend_from_slice(bytes);
    }

    fn clear(&mut self) {
        self.taken.clear();
        self.sent = 0;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.counted, Relaxed);
    }
}

#[cfg(test)]
mod tests;
