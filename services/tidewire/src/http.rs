//! The way from the command line to a service: one request at a time, over http or https.
//!
//! TLS trusts the certificates of the operating system; `SSL_CERT_FILE` names others. Redirects are not
//! followed, because a token goes with each request.

mod api;
mod bearer;
mod capture;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub(crate) use api::Refused;
pub(crate) use bearer::{Bearer, BearerArgs, BearerError, secret_text};
pub(crate) use capture::{Answer, Capture, Line, Outcome, Patience};

/// A request takes no longer, the answer included: capture waits this long for Kafka.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer has a line for each change; this is room for 10,000 long ones.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// The URL.
    #[error("{0:?} is not a URL such as http://127.0.0.1:8082")]
    Url(String),
    /// No connection was made: nothing was sent.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// Where to.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The connection broke or timed out: the outcome is unknown.
    #[error("{url} gave no whole answer")]
    Broken {
        /// Where to.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The thread that sent is gone.
    #[error("the request was dropped")]
    Dropped,
}

/// An HTTP answer of any status.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
}

/// Asks one address.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    agent: ureq::Agent,
    url: String,
}

impl HttpClient {
    /// For `path` below `base`, a URL without a query.
    pub(crate) fn new(base: &str, path: &str) -> Result<Self, HttpError> {
        let wrong = || HttpError::Url(base.to_owned());
        let uri: ureq::http::Uri = base.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none() || uri.query().is_some() {
            return Err(wrong());
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("tidewire/", env!("CARGO_PKG_VERSION")));
        if uri.scheme_str() == Some("https") {
            config = config.tls_config(tls());
        }
        if uri.host().is_some_and(is_loopback) {
            config = config.proxy(None);
        }
        let agent = ureq::Agent::new_with_config(config.build());
        Ok(Self { agent, url: format!("{}{path}", base.trim_end_matches('/')) })
    }

    /// Sends a body and waits for the answer, off the caller's thread.
    pub(crate) async fn post(
        &self,
        content_type: &'static str,
        token: &str,
        body: String,
    ) -> Result<Reply, HttpError> {
        let (client, authorization) = (self.clone(), format!("Bearer {token}"));
        let sent =
            tokio::task::spawn_blocking(move || client.send(content_type, &authorization, &body));
        sent.await.map_err(|_| HttpError::Dropped)?
    }

    fn send(
        &self,
        content_type: &str,
        authorization: &str,
        body: &str,
    ) -> Result<Reply, HttpError> {
        let request = self.agent.post(&self.url);
        let request = request.header("content-type", content_type);
        let sent = request.header("authorization", authorization).send(body);
        self.reply(sent)
    }

    /// Sends a request of any method, and waits for the answer on the caller's thread.
    pub(crate) fn call(
        &self,
        method: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Result<Reply, HttpError> {
        let mut request = ureq::http::Request::builder().method(method).uri(&self.url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let wrong = |_| HttpError::Url(self.url.clone());
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_owned()).map_err(wrong)?)
            }
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        self.reply(sent)
    }

    fn reply(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Reply, HttpError> {
        let mut response = sent.map_err(|error| self.error(error))?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (content_type, retry_after) =
            (header("content-type"), retry_after(&header("retry-after")));
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| self.error(error))?;
        Ok(Reply { status, content_type, retry_after, body })
    }

    fn error(&self, error: ureq::Error) -> HttpError {
        let (url, source) = (self.url.clone(), Box::new(error));
        if nothing_sent(&source) {
            HttpError::Unreachable { url, source }
        } else {
            HttpError::Broken { url, source }
        }
    }
}

/// Whether the error came before the first byte of the request.
fn nothing_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    use ureq::Timeout;
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Tls(_)
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
        ),
        _ => false,
    }
}

fn tls() -> TlsConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // A certificate that cannot be read is as good as absent: what it should have vouched for fails.
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::from(roots))
        .build()
}

/// Whether a host, as it stands in a URL, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// The header `Retry-After` in seconds (RFC 9110, section 10.2.3). A date there counts as none.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(Duration::from_secs)
}

/// An error and its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let check = |header: &str, expected: Option<u64>| {
            assert_eq!(retry_after(header), expected.map(Duration::from_secs), "{header:?}");
        };
        check("5", Some(5));
        check(" 120 ", Some(120));
        check("0", Some(0));
        check("", None);
        check("-1", None);
        check("1.5", None);
        check("Fri, 31 Dec 1999 23:59:59 GMT", None);
    }

    #[test]
    fn urls() {
        let check = |base: &str, expected: Option<&str>| {
            let client = HttpClient::new(base, "/api/v1/changes").ok();
            assert_eq!(client.as_ref().map(|c| c.url.as_str()), expected, "{base:?}");
        };
        check("http://127.0.0.1:8082", Some("http://127.0.0.1:8082/api/v1/changes"));
        check("http://127.0.0.1:8082/", Some("http://127.0.0.1:8082/api/v1/changes"));
        check("http://proxy.example/tide", Some("http://proxy.example/tide/api/v1/changes"));
        check("https://capture.example", Some("https://capture.example/api/v1/changes"));
        for bad in ["", "127.0.0.1:8082", "ws://a:1", "http://", "http://a/?x=1", "file:///etc"] {
            check(bad, None);
        }
    }

    #[test]
    fn loopback() {
        for yes in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "::1"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["example.com", "10.0.0.1", "[2001:db8::1]", "localhost.example.com", ""] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_unreachable() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", taken.local_addr().unwrap());
        drop(taken);
        let client = HttpClient::new(&url, "/").unwrap();
        let error = client.post("text/plain", "t", String::new()).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable { .. }), "{error:?}");
    }
}
