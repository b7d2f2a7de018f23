//! Keys, tokens made byte by byte, and an issuer's HTTP server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tidewire_auth::{AuthOptions, IssuerOptions, KeySource};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example.com/";
pub(crate) const AUDIENCE: &str = "tidewire";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef-test";

/// An RSA key pair of 2048 bits, made in the test.
pub(crate) struct Rsa {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    pub(crate) modulus: String,
    pub(crate) exponent: String,
}

impl Rsa {
    pub(crate) fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let der = rcgen::PublicKeyData::der_bytes(&pair).to_vec();
        // SEQUENCE { INTEGER modulus, INTEGER exponent }, all lengths of the modulus in two bytes.
        assert_eq!(der[..6], [0x30, 0x82, der[2], der[3], 0x02, 0x82]);
        let length = usize::from(der[6]) * 256 + usize::from(der[7]);
        let modulus = &der[9..8 + length];
        let exponent = &der[8 + length + 2..];
        Self {
            private_pem: pair.serialize_pem(),
            public_pem: pair.public_key_pem(),
            modulus: b64(modulus),
            exponent: b64(exponent),
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        json!({"kty":"RSA","use":"sig","alg":"RS256","kid":kid,"n":self.modulus,"e":self.exponent})
    }
}

pub(crate) static KEY: LazyLock<Rsa> = LazyLock::new(Rsa::new);
pub(crate) static OTHER_KEY: LazyLock<Rsa> = LazyLock::new(Rsa::new);

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    sign(header, claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
}

pub(crate) fn rs256(header: &str, claims: &str, key: &Rsa) -> String {
    let key = EncodingKey::from_rsa_pem(key.private_pem.as_bytes()).unwrap();
    sign(header, claims, &key, Algorithm::RS256)
}

fn sign(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

pub(crate) const HS: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
pub(crate) const RS: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

pub(crate) fn rs_header(kid: &str) -> String {
    json!({"alg":"RS256","kid":kid}).to_string()
}

/// Good claims, with some members replaced; null removes one.
pub(crate) fn claims(changes: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": NOW + 600,
        "tenant": "acme", "user": 7, "roles": ["operator", "admin"],
    });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims.to_string()
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn issuer(key: KeySource) -> IssuerOptions {
    IssuerOptions {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned(), "second".to_owned()],
        key,
        tenants: Vec::new(),
    }
}

pub(crate) fn options(key: KeySource) -> AuthOptions {
    AuthOptions { issuers: vec![issuer(key)], ..AuthOptions::default() }
}

pub(crate) fn jwks(url: String) -> KeySource {
    KeySource::Jwks { url, ca_file: None, allow_http: false }
}

/// An issuer's key set on loopback; counts the requests.
pub(crate) struct KeyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    requests: AtomicUsize,
    stopped: AtomicBool,
    answer: Mutex<(u16, String)>,
}

impl KeyServer {
    pub(crate) fn new(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            requests: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            answer: Mutex::new((200, json!({"keys": keys}).to_string())),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("key-server".to_owned());
        let thread = thread.spawn(move || serve(&listener, &own)).unwrap();
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(crate) fn answer(&self, status: u16, body: String) {
        *self.shared.answer.lock().unwrap() = (status, body);
    }

    pub(crate) fn keys(&self, keys: &[Value]) {
        self.answer(200, json!({"keys": keys}).to_string());
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes `accept`.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let mut stream = stream.unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(read) => request.extend_from_slice(&chunk[..read]),
            }
        }
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let (status, body) = shared.answer.lock().unwrap().clone();
        let head = format!(
            "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // A client that had enough may hang up.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}
