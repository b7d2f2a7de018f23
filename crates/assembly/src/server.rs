//! Sections `http` and `internal`.

use std::net::SocketAddr;

use tidewire_config::Settings;
use tidewire_http::{AddressRange, AllowedOrigins, ServerOptions, TlsFiles, TrustedProxies};

/// The options of the public listener. `development` lets pages of any port of localhost in.
#[must_use]
pub fn public_server(settings: &Settings, development: bool) -> ServerOptions {
    let http = &settings.http;
    let proxies = http.trusted_proxies.iter().filter_map(|range| range.0.parse().ok());
    ServerOptions {
        tls: http
            .tls
            .as_ref()
            .map(|tls| TlsFiles { certificate: tls.cert_file.clone(), key: tls.key_file.clone() }),
        header_timeout: http.header_timeout,
        stall_timeout: http.stall_timeout,
        connections_max: http.connections_max,
        connections_per_address_max: http.connections_per_address_max,
        accepts_per_second: http.accepts_per_second,
        body_bytes_max: http.body_bytes_max,
        trusted_proxies: TrustedProxies(proxies.collect::<Vec<AddressRange>>()),
        proxy_protocol: http.proxy_protocol,
        allowed_origins: allowed_origins(settings, development),
        not_sent_low_water: settings.gateway.not_sent_low_water,
        ..ServerOptions::new("http", http.listen)
    }
}

/// The options of the internal listener.
#[must_use]
pub fn internal_server(settings: &Settings) -> ServerOptions {
    ServerOptions::new("internal", settings.internal.listen)
}

/// The origins that browsers may come from.
#[must_use]
pub fn allowed_origins(settings: &Settings, development: bool) -> AllowedOrigins {
    AllowedOrigins { list: settings.http.allowed_origins.clone(), any_localhost_port: development }
}

/// This deployment's own URL: what is configured, else made from where it listens.
#[must_use]
pub fn public_url(settings: &Settings, listening: SocketAddr) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
    let ip = listening.ip();
    if ip.is_unspecified() || ip.is_loopback() {
        format!("{scheme}://localhost:{}", listening.port())
    } else {
        format!("{scheme}://{listening}")
    }
}
