//! The page, and the tokens that it asks for.

use serde_json::json;
use tidewire_auth::{MintClaims, Secret, TokenMinter, unix_now};
use tidewire_http::{ApiRequest, Method, Reply, Site, StatusCode};

use super::TENANT;

/// The user that the page's tokens name.
const USER: u64 = 1001;
/// How long a token of the page is good.
const TTL_SECONDS: i64 = 3600;
/// Only what this server sends runs; sockets go to the same host.
const POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A token and for how many seconds it is good.
pub(crate) fn mint(secret: &Secret) -> anyhow::Result<(String, i64)> {
    let mut claims = MintClaims::new(TENANT, unix_now());
    claims.user = Some(USER);
    claims.roles = ["producer", "admin", "script-author"].map(str::to_owned).to_vec();
    claims.ttl_seconds = TTL_SECONDS;
    Ok((TokenMinter::mint(secret, &claims)?, TTL_SECONDS))
}

/// `/`, its scripts and its style, and `/dev/token`.
pub(crate) fn site(secret: &Secret) -> Site {
    let secret = secret.clone();
    let file = |path: &str, content_type: &'static str, text: &'static str| {
        Site::new().route(Method::GET, path, move |_: ApiRequest| async move {
            Reply::new(StatusCode::OK, content_type, text)
                .header("content-security-policy", POLICY)
                .header("x-content-type-options", "nosniff")
                .header("cache-control", "no-cache")
        })
    };
    file("/", "text/html; charset=utf-8", include_str!("../../page/index.html"))
        .join(file("/app.js", SCRIPT, include_str!("../../page/app.js")))
        .join(file("/alerts.js", SCRIPT, include_str!("../../page/alerts.js")))
        .join(file("/board.js", SCRIPT, include_str!("../../page/board.js")))
        .join(file("/link.js", SCRIPT, include_str!("../../page/link.js")))
        .join(file("/style.css", "text/css; charset=utf-8", include_str!("../../page/style.css")))
        .route(Method::GET, "/favicon.ico", |_: ApiRequest| async {
            Reply::empty(StatusCode::NO_CONTENT)
        })
        .route(Method::GET, "/dev/token", move |request: ApiRequest| {
            let reply = token(&secret, request.header("host"));
            async move { reply }
        })
}

/// Only for pages of this machine: a page elsewhere whose name was made to point here says so in `Host`.
fn token(secret: &Secret, host: Option<&str>) -> Reply {
    if !host.is_some_and(is_local) {
        return Reply::empty(StatusCode::FORBIDDEN);
    }
    match mint(secret) {
        Ok((token, expires_in)) => {
            let body = json!({"token": token, "expiresIn": expires_in, "tenant": TENANT});
            Reply::json(StatusCode::OK, body.to_string()).header("cache-control", "no-store")
        }
        Err(_) => Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com:8080", "127.0.0.1.example.com", "x:y"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
