//! Keeps the store connected: connects, pings, connects again.

use std::sync::Arc;
use std::time::Duration;

use crate::connect::Connector;
use crate::link::Link;

/// The wait before the first new attempt; doubled after each that fails, up to the longest.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);
/// How long one ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects the store and keeps it so. Without it the store stays away.
pub struct RedisWatch {
    link: Arc<Link>,
    connector: Connector,
    ping_interval: Duration,
}

impl RedisWatch {
    pub(crate) fn new(link: Arc<Link>, connector: Connector, ping_interval: Duration) -> Self {
        Self { link, connector, ping_interval }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            match self.connector.open().await {
                Ok(connection) => {
                    let number = self.link.up(connection);
                    tracing::info!("redis is available");
                    delay = RETRY_DELAY_MIN;
                    self.keep(number).await;
                }
                Err(error) => {
                    let why = error.to_string();
                    if self.link.away(&why) {
                        tracing::warn!(error = why, "redis is away");
                    }
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                }
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Pings the connection of this number until it is out.
    async fn keep(&self, number: u64) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.ping_interval) => {}
                () = self.link.suspected() => {}
            }
            let connection = match self.link.connection() {
                Some((connection, current)) if current == number => connection,
                _ => return,
            };
            match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.link.down(number, &error.to_string()),
                Err(_) => self.link.down(number, "no answer to a ping"),
            }
        }
    }
}
