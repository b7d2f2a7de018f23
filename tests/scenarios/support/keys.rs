//! An issuer with RSA keys: tokens made byte by byte, and its key set on a tiny HTTP server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// An RSA key pair of 2048 bits.
pub(crate) struct Rsa {
    private_pem: String,
    modulus: String,
    exponent: String,
}

impl Rsa {
    pub(crate) fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let der = rcgen::PublicKeyData::der_bytes(&pair).to_vec();
        // SEQUENCE { INTEGER modulus, INTEGER exponent }, all lengths of the modulus in two bytes.
        assert_eq!(der[..6], [0x30, 0x82, der[2], der[3], 0x02, 0x82]);
        let length = usize::from(der[6]) * 256 + usize::from(der[7]);
        let (modulus, exponent) = (b64(&der[9..8 + length]), b64(&der[8 + length + 2..]));
        Self { private_pem: pair.serialize_pem(), modulus, exponent }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        json!({"kty":"RSA","use":"sig","alg":"RS256","kid":kid,"n":self.modulus,"e":self.exponent})
    }

    /// A token signed with this key.
    pub(crate) fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg":"RS256","typ":"JWT","kid":kid}).to_string();
        let signed = format!("{}.{}", b64(header), b64(claims.to_string()));
        let key = EncodingKey::from_rsa_pem(self.private_pem.as_bytes()).unwrap();
        let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::RS256).unwrap();
        format!("{signed}.{signature}")
    }
}

/// A token with this header and these claims; signed with the HMAC secret, or not at all.
pub(crate) fn token(header: &Value, claims: &Value, secret: Option<&[u8]>) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = secret.map_or_else(String::new, |secret| {
        let key = EncodingKey::from_secret(secret);
        crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap()
    });
    format!("{signed}.{signature}")
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Serves one body at any path until the process ends; gives its address.
pub(crate) fn serve(kind: &'static str, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let body = body.clone();
            // A browser opens connections ahead and says nothing on them.
            let answer = move || answer(stream, kind, &body);
            std::thread::Builder::new().name("answer".to_owned()).spawn(answer).unwrap();
        }
    };
    std::thread::Builder::new().name("server".to_owned()).spawn(accept).unwrap();
    address
}

fn answer(mut stream: TcpStream, kind: &str, body: &str) {
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&chunk[..read]),
        }
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // A client that had enough may hang up.
    let _ = stream.write_all((head + body).as_bytes());
}
