//! A client of Server-Sent Events.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An open event stream.
pub(crate) struct Events {
    stream: TcpStream,
    pub(crate) head: String,
    /// Of the body, chunk sizes taken out.
    text: String,
    /// The last that came as an `id:` block.
    pub(crate) last_id: Option<String>,
}

impl Events {
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        Self { stream, head, text: String::new(), last_id: None }
    }

    /// The next block; `None` at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        let next = async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    if block != ":" {
                        return Some(block);
                    }
                    continue;
                }
                let mut size = String::new();
                while !size.ends_with("\r\n") {
                    size.push(self.stream.read_u8().await.ok()?.into());
                }
                let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
                if size == 0 {
                    return None;
                }
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).await.unwrap();
                self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("a block in time")
    }

    /// The next block that is more than an id, which is noted; `None` at the end of the stream.
    pub(crate) async fn message(&mut self) -> Option<String> {
        loop {
            let block = self.block().await?;
            match block.strip_prefix("id: ").filter(|id| !id.contains('\n')) {
                Some(id) => self.last_id = Some(id.to_owned()),
                None => return Some(block),
            }
        }
    }
}
