//! A plain HTTP/1.1 client for tests: one request on one connection, the answer as it came.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: String,
}

impl Response {
    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Sends one request and reads the whole answer. `Host` and `Connection: close` are added where the headers
/// lack them.
///
/// # Errors
/// When there is no connection or no whole answer.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let given = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    if !given("host") {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    if !given("connection") {
        head.push_str("Connection: close\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    read_response(&mut stream)
}

fn read_response(stream: &mut TcpStream) -> anyhow::Result<Response> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(response) = parse(&bytes, false)? {
            return Ok(response);
        }
        match stream.read(&mut chunk)? {
            0 => break,
            read => bytes.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
    parse(&bytes, true)?.context("the answer broke off")
}

/// The answer, once it is whole; `ended` says that no more will come.
fn parse(bytes: &[u8], ended: bool) -> anyhow::Result<Option<Response>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at(end + 4);
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let first = lines.next().context("no status line")?;
    let status = first.split(' ').nth(1).context("no status")?.parse()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: String::new() };
    let body = if response.header("transfer-encoding") == Some("chunked") {
        match joined(rest)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else if let Some(length) = response.header("content-length") {
        match rest.get(..length.parse()?) {
            Some(body) => body.to_vec(),
            None => return Ok(None),
        }
    } else if matches!(status, 101 | 204 | 304) {
        // What follows a 101 is not HTTP.
        Vec::new()
    } else if ended {
        rest.to_vec()
    } else {
        return Ok(None);
    };
    response.body = String::from_utf8(body)?;
    Ok(Some(response))
}

fn joined(mut rest: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())?;
        let size = usize::from_str_radix(size, 16)?;
        let Some(chunk) = rest.get(line + 2..line + 2 + size) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
}
