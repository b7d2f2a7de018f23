//! What a gateway's metrics say.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The value of each metric, over all its labels together.
#[derive(Debug)]
pub(super) struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// Asks the internal port.
    pub(super) fn of(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).context("cannot reach the internal port")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("the metrics did not come")?;
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut sums = HashMap::new();
        for line in text.lines().filter(|line| line.starts_with("tidewire_")) {
            let Some((sample, value)) = line.rsplit_once(' ') else { continue };
            let name = sample.split('{').next().unwrap_or(sample);
            *sums.entry(name.to_owned()).or_insert(0.0) += value.parse().unwrap_or(0.0);
        }
        Self(sums)
    }

    /// The value of one.
    pub(super) fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("there is no metric {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# HELP tidewire_a x\ntidewire_a{b=\"1 2\"} 3\n\
                    tidewire_a{b=\"2\"} 4\ntidewire_c 5\n";
        let metrics = Metrics::read(text);
        assert_eq!(
            (metrics.get("tidewire_a").unwrap(), metrics.get("tidewire_c").unwrap()),
            (7.0, 5.0)
        );
        assert!(metrics.get("tidewire_d").is_err());
    }
}
