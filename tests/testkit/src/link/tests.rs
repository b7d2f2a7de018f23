use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

struct Bed {
    proxy: LinkProxy,
    client: TcpStream,
    server: TcpStream,
}

fn bed() -> Bed {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = LinkProxy::start(listener.local_addr().unwrap()).unwrap();
    let client = TcpStream::connect(proxy.address()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    Bed { proxy, client, server }
}

fn carries(bed: &mut Bed) {
    let mut word = [0; 4];
    bed.client.write_all(b"ping").unwrap();
    bed.server.read_exact(&mut word).unwrap();
    bed.server.write_all(b"pong").unwrap();
    bed.client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"pong");
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_carries_and_passes_an_end_on() {
    let mut bed = bed();
    carries(&mut bed);
    assert_eq!((bed.proxy.links(), bed.proxy.opened()), (1, 1));
    // It counts behind the write.
    until("what it carried is counted", || bed.proxy.carried() == 4);
    bed.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(bed.server.read(&mut [0; 4]).unwrap(), 0);
    bed.server.write_all(b"last").unwrap();
    drop(bed.server);
    let mut rest = Vec::new();
    bed.client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    until("the link is gone", || bed.proxy.links() == 0);
}

#[test]
fn a_cut_resets_both_ends() {
    let mut bed = bed();
    carries(&mut bed);
    assert_eq!(bed.proxy.cut(), 1);
    for end in [&mut bed.client, &mut bed.server] {
        assert_eq!(end.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    bed.proxy.refuse(true);
    let mut refused = TcpStream::connect(bed.proxy.address()).unwrap();
    assert!(refused.read(&mut [0; 4]).is_err());
    assert_eq!(bed.proxy.opened(), 1);
}

#[test]
fn held_bytes_are_taken_and_die_with_the_link() {
    const TAKEN: usize = 3 << 20;
    let mut bed = bed();
    carries(&mut bed);
    bed.proxy.hold();
    bed.server.write_all(&vec![7; TAKEN]).unwrap();
    until("all is held", || bed.proxy.held() == TAKEN);
    assert_eq!(bed.proxy.carried(), 4);
    // What the client says still passes.
    bed.client.write_all(b"ping").unwrap();
    bed.server.read_exact(&mut [0; 4]).unwrap();
    bed.proxy.release();
    let mut all = vec![0; TAKEN];
    bed.client.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == 7));
    carries(&mut bed);
    assert_eq!(bed.proxy.held(), 0);
    bed.proxy.hold();
    bed.server.write_all(b"pong").unwrap();
    until("the word is held", || bed.proxy.held() == 4);
    bed.proxy.cut();
    assert!(bed.client.read(&mut [0; 4]).is_err(), "it never came");
    until("nothing is held", || bed.proxy.held() == 0);
}

#[test]
fn a_held_link_takes_no_more_than_its_share() {
    let mut bed = bed();
    bed.proxy.hold();
    bed.server.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut written = 0;
    while let Ok(count) = bed.server.write(&[7; 65_536]) {
        written += count;
    }
    assert!(written > HELD_MAX, "buffers of the system come on top");
    until("the share is full", || bed.proxy.held() >= HELD_MAX);
    assert!(bed.proxy.held() < HELD_MAX + CHUNK);
}

#[test]
fn nobody_is_told_that_a_link_is_silent() {
    let mut bed = bed();
    carries(&mut bed);
    assert_eq!(bed.proxy.silence(), 1);
    bed.client.write_all(b"ping").unwrap();
    bed.server.write_all(b"pong").unwrap();
    bed.client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(bed.client.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(bed.proxy.left(), 0);
    drop(bed.server);
    until("the proxy sees that the server has left", || bed.proxy.left() == 1);
    assert_eq!(bed.client.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // Another link carries.
    assert_eq!(bed.proxy.links(), 1);
    bed.proxy.cut();
    until("the link is gone", || bed.proxy.links() == 0);
}
