//! Which origins browsers may come from.
//!
//! Browsers send cross-site WebSocket handshakes with no preflight, so the Origin check is what stands
//! between a foreign page and a socket. The same list answers CORS.

/// The deployment's list (`http.allowed_origins`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    /// Origins as browsers spell them: `https://vms.example.com`, with the port where it is not the
    /// scheme's own. Compared byte for byte.
    pub list: Vec<String>,
    /// Also any port of localhost, as `dev` wants it.
    pub any_localhost_port: bool,
}

impl AllowedOrigins {
    /// Whether a page of `origin` may talk to us, who were addressed as `host` (the `Host` header): it is in
    /// the list, or is the same host and port. The scheme is not compared, because TLS may end at a proxy.
    #[must_use]
    pub fn permits(&self, origin: &str, host: Option<&str>) -> bool {
        if self.list.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let Some((authority, default_port)) = split(origin) else { return false };
        if self.any_localhost_port && is_localhost(authority) {
            return true;
        }
        host.is_some_and(|host| {
            let (origin_name, origin_port) = name_and_port(authority);
            let (host_name, host_port) = name_and_port(host);
            !origin_name.is_empty()
                && origin_name.eq_ignore_ascii_case(host_name)
                && origin_port.unwrap_or(default_port) == host_port.unwrap_or(default_port)
        })
    }
}

/// The authority of an origin and its scheme's port. `null`, extensions and files have none.
fn split(origin: &str) -> Option<(&str, &'static str)> {
    let (authority, default_port) = if let Some(rest) = origin.strip_prefix("https://") {
        (rest, "443")
    } else {
        (origin.strip_prefix("http://")?, "80")
    };
    let plain = !authority.contains(['/', '?', '#', '@', '\\']) && !authority.is_empty();
    plain.then_some((authority, default_port))
}

fn name_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand inside brackets.
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

fn is_localhost(authority: &str) -> bool {
    let (name, port) = name_and_port(authority);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let list = AllowedOrigins {
            list: vec!["https://app.example.com".into(), "http://intranet:8080".into()],
            any_localhost_port: false,
        };
        let dev = AllowedOrigins { list: Vec::new(), any_localhost_port: true };
        let none = AllowedOrigins::default();
        let vms = Some("vms.example.com");
        for (allowed, origin, host, expected) in [
            // In the list: byte for byte.
            (&list, "https://app.example.com", vms, true),
            (&list, "https://app.example.com", None, true),
            (&list, "http://intranet:8080", vms, true),
            (&list, "http://app.example.com", vms, false),
            (&list, "https://app.example.com:8443", vms, false),
            (&list, "https://app.example.com/", vms, false),
            (&list, "https://APP.example.com", vms, false),
            (&list, "https://app.example.com.evil.net", vms, false),
            (&list, "https://evil-app.example.com", vms, false),
            (&list, "https://sub.app.example.com", vms, false),
            (&list, "http://intranet", vms, false),
            (&list, "http://intranet:80800", vms, false),
            // The same host and port.
            (&none, "https://vms.example.com", vms, true),
            (&none, "http://vms.example.com", vms, true),
            (&none, "https://VMS.example.com", vms, true),
            (&none, "https://vms.example.com", Some("vms.example.com:443"), true),
            (&none, "http://vms.example.com", Some("vms.example.com:80"), true),
            (&none, "https://vms.example.com:8443", Some("vms.example.com:8443"), true),
            (&none, "https://vms.example.com", Some("vms.example.com:8443"), false),
            (&none, "https://vms.example.com:8443", vms, false),
            (&none, "https://vms.example.com", Some("vms.example.com:80"), false),
            (&none, "https://vms.example.com.evil.net", vms, false),
            (&none, "https://example.com", vms, false),
            (&none, "https://evil.net", vms, false),
            (&none, "https://vms.example.com", None, false),
            (&none, "https://vms.example.com@evil.net", Some("evil.net"), false),
            (&none, "https://vms.example.com/path", vms, false),
            (&none, "https://vms.example.com?x", vms, false),
            (&none, "https://vms.example.com\\evil", vms, false),
            (&none, "http://[::1]:8080", Some("[::1]:8080"), true),
            (&none, "http://[::1]", Some("[::1]"), true),
            (&none, "http://[::1]:8080", Some("[::1]"), false),
            (&none, "http://127.0.0.1:8080", Some("127.0.0.1:8080"), true),
            (&none, "http://127.0.0.1:8081", Some("127.0.0.1:8080"), false),
            (&none, "http://localhost:8080", Some("127.0.0.1:8080"), false),
            // What is no web origin.
            (&none, "null", Some("null"), false),
            (&none, "", Some(""), false),
            (&none, "https://", Some(""), false),
            (&none, "https://:443", Some(""), false),
            (&none, "file://", vms, false),
            (&none, "chrome-extension://abcdef", vms, false),
            (&none, "ws://vms.example.com", vms, false),
            (&none, "vms.example.com", vms, false),
            (&none, "https:vms.example.com", vms, false),
            // Any port of localhost, and nothing that only looks like it.
            (&dev, "http://localhost:5173", vms, true),
            (&dev, "http://localhost", vms, true),
            (&dev, "https://localhost:5173", vms, true),
            (&dev, "http://127.0.0.1:3000", vms, true),
            (&dev, "http://[::1]:3000", vms, true),
            (&dev, "http://localhost.evil.net", vms, false),
            (&dev, "http://localhost:5173.evil.net", vms, false),
            (&dev, "http://localhost:", vms, false),
            (&dev, "http://localhost:70000", vms, false),
            (&dev, "http://localhost@evil.net:80", vms, false),
            (&dev, "http://127.0.0.1.evil.net", vms, false),
            (&dev, "http://127.0.0.2", vms, false),
            (&dev, "http://evil.net", vms, false),
            (&list, "http://localhost:5173", vms, false),
        ] {
            assert_eq!(allowed.permits(origin, host), expected, "{origin} at {host:?}");
        }
    }
}
