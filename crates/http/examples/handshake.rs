//! What a WebSocket handshake costs the server's thread, against the least that any server must do:
//! accept, read, write a 101, add to epoll. `cargo run --release -p tidewire-http --example handshake`
//! (Linux: reads the thread's CPU time from /proc).
#![allow(clippy::unwrap_used, reason = "a tool for developers fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mio::{Interest, Poll, Token};
use tidewire_http::{
    ConnectionPermit, Server, ServerOptions, Site, SocketAnswer, SocketGate, SocketRequest,
    Upgraded, UpgradedStream,
};
use tidewire_runtime::{Shutdown, Tasks};

const ROUNDS: usize = 21;
const BATCHES: usize = 20;
const BATCH: usize = 100;
const SOCKETS: usize = BATCHES * BATCH;

const REQUEST: &[u8] =
    b"GET /ws/rest/WebSocketObjectSubscription/Voyage/U/243885046/- HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
    Upgrade: websocket\r\nOrigin: http://127.0.0.1:8080\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Gate(Arc<Poll>, std::sync::mpsc::SyncSender<(ConnectionPermit, mio::net::TcpStream)>);

impl SocketGate for Gate {
    fn open(&self, _request: SocketRequest) -> BoxFuture<'static, SocketAnswer> {
        let (poll, adopted) = (Arc::clone(&self.0), self.1.clone());
        let adopt = Box::new(move |upgraded: Result<Upgraded, _>| {
            let Upgraded { stream, permit, .. } = upgraded.unwrap();
            let UpgradedStream::Plain(stream) = stream else { panic!("no TLS here") };
            let mut socket = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
            adopted.send((permit, socket)).unwrap();
        });
        async move { SocketAnswer::Upgrade { subprotocol: None, adopt } }.boxed()
    }
}

fn main() {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let (floor, ours) = if round % 2 == 0 {
                let floor = raw();
                (floor, served())
            } else {
                let ours = served();
                (raw(), ours)
            };
            println!("raw {floor:6.1} us   served {ours:6.1} us   ratio {:.2}", ours / floor);
            ours / floor
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios.get(ROUNDS * part / 4).copied().unwrap_or_default();
    println!("ratio: median {:.2}, quartiles {:.2} and {:.2}", at(2), at(1), at(3));
}

/// Opens all sockets from this thread; `wait` returns once the server has one more batch.
fn load(address: SocketAddr, mut wait: impl FnMut()) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(SOCKETS);
    for _ in 0..BATCHES {
        let mut batch: Vec<_> = (0..BATCH).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in &mut batch {
            stream.write_all(REQUEST).unwrap();
        }
        for stream in &mut batch {
            let mut head = [0; 512];
            assert!(stream.read(&mut head).unwrap() > 0);
            assert!(head.starts_with(b"HTTP/1.1 101 "));
        }
        open.append(&mut batch);
        wait();
    }
    open
}

/// Microseconds of CPU a handshake, for a plain loop.
fn raw() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (started, ready) = sync_channel(0);
    let server = std::thread::Builder::new()
        .spawn(move || {
            let poll = Poll::new().unwrap();
            let mut open = Vec::with_capacity(SOCKETS);
            started.send(()).unwrap();
            let before = cpu_ns();
            for _ in 0..SOCKETS {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 2048];
                assert!(stream.read(&mut head).unwrap() > 0);
                stream.write_all(ANSWER).unwrap();
                stream.set_nonblocking(true).unwrap();
                let mut socket = mio::net::TcpStream::from_std(stream);
                poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
                open.push(socket);
            }
            let spent = cpu_ns() - before;
            drop(open);
            spent
        })
        .unwrap();
    ready.recv().unwrap();
    let clients = load(address, || {});
    let spent = server.join().unwrap();
    drop(clients);
    per_socket(spent)
}

/// The same for a [`Server`] on one thread.
fn served() -> f64 {
    let (adopted, sockets) = sync_channel(SOCKETS);
    let (sender, ready) = sync_channel(1);
    let end = Shutdown::new();
    let ended = end.clone();
    let server = std::thread::Builder::new()
        .spawn(move || {
            let poll = Arc::new(Poll::new().unwrap());
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut options = ServerOptions::new("http", "127.0.0.1:0".parse().unwrap());
                options.connections_per_address_max = SOCKETS;
                let server = Server::bind(options).await.unwrap();
                let tasks = Tasks::new(ended.clone());
                let site = Site::new().gate(Arc::new(Gate(poll, adopted)));
                let handle = server.serve(site, &tasks, ended.clone());
                sender.send(handle.local_addr()).unwrap();
                let before = cpu_ns();
                ended.cancelled().await;
                cpu_ns() - before
            })
        })
        .unwrap();
    let address = ready.recv().unwrap();
    let mut held = Vec::with_capacity(SOCKETS);
    let clients = load(address, || take(&sockets, &mut held));
    end.cancel();
    let spent = server.join().unwrap();
    drop((clients, held));
    per_socket(spent)
}

fn take<T>(sockets: &Receiver<T>, held: &mut Vec<T>) {
    held.extend((0..BATCH).map(|_| sockets.recv().unwrap()));
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_socket(spent_ns: u64) -> f64 {
    spent_ns as f64 / 1000.0 / SOCKETS as f64
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}
