//! The one connection that all calls share, and what is known of it.
//!
//! The watch puts a connection in; a call that finds it broken takes it out, so that the calls after it
//! fail at once in place of waiting for the same timeout each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tidewire_store::{StoreError, StoreHealth};
use tokio::sync::{Notify, watch};

use crate::connect::Connection;

/// Most bytes of an error that the health detail shows.
const DETAIL_BYTES_MAX: usize = 200;

pub(crate) struct Link {
    response_timeout: Duration,
    current: RwLock<Current>,
    available: watch::Sender<bool>,
    suspect: Notify,
    errors: AtomicU64,
    corrupt: AtomicU64,
}

struct Current {
    connection: Option<Connection>,
    /// Counts the connections, so that a late failure of a former one does not take out its successor.
    number: u64,
    detail: Option<String>,
}

/// What a failed call says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is broken, or leads to a node that may not write.
    Broken,
    /// It works, but Redis can't serve now.
    Waiting,
    /// It works, and Redis said no.
    Sound,
}

impl Link {
    pub(crate) fn new(response_timeout: Duration) -> Self {
        let detail = Some("not connected yet".into());
        Self {
            response_timeout,
            current: RwLock::new(Current { connection: None, number: 0, detail }),
            available: watch::Sender::new(false),
            suspect: Notify::new(),
            errors: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.available.subscribe()
    }

    pub(crate) fn available(&self) -> bool {
        *self.available.borrow()
    }

    pub(crate) fn health(&self) -> StoreHealth {
        StoreHealth {
            available: self.available(),
            detail: self.current.read().detail.clone(),
            errors: self.errors.load(Ordering::Relaxed),
            corrupt: self.corrupt.load(Ordering::Relaxed),
            evicted: 0,
        }
    }

    /// Counts values that could not be read.
    pub(crate) fn count_corrupt(&self, values: u64) {
        self.corrupt.fetch_add(values, Ordering::Relaxed);
    }

    /// Resolves when a call had trouble and the connection should be looked at.
    pub(crate) async fn suspected(&self) {
        self.suspect.notified().await;
    }

    /// Puts a connection in; gives its number.
    pub(crate) fn up(&self, connection: Connection) -> u64 {
        let mut current = self.current.write();
        current.number += 1;
        current.connection = Some(connection);
        current.detail = None;
        self.available.send_replace(true);
        current.number
    }

    /// Notes why there is no connection. True if this is news.
    pub(crate) fn away(&self, why: &str) -> bool {
        let mut current = self.current.write();
        current.connection = None;
        let detail = shortened(why);
        let news = current.detail.as_deref() != Some(detail.as_str());
        current.detail = Some(detail);
        self.available.send_replace(false);
        news
    }

    /// Takes the connection of this number out, if it is still in.
    pub(crate) fn down(&self, number: u64, why: &str) {
        let mut current = self.current.write();
        if current.number == number && current.connection.is_some() {
            current.connection = None;
            current.detail = Some(shortened(why));
            self.available.send_replace(false);
            tracing::warn!(error = why, "redis is away");
        }
    }

    /// The connection and its number; none while Redis is away.
    pub(crate) fn connection(&self) -> Option<(Connection, u64)> {
        let current = self.current.read();
        current.connection.clone().map(|connection| (connection, current.number))
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// True if there is a connection, to a Cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.connection().is_some_and(|(connection, _)| connection.is_cluster())
    }

    /// Sends a command and waits for its answer, no longer than the response timeout.
    pub(crate) async fn call(&self, command: Cmd) -> Result<Value, StoreError> {
        let answer = self.try_call(&command).await;
        if answer.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn try_call(&self, command: &Cmd) -> Result<Value, StoreError> {
        let Some((connection, number)) = self.connection() else {
            return Err(StoreError::Unavailable);
        };
        let answer = tokio::time::timeout(self.response_timeout, connection.query(command)).await;
        let (verdict, why, error) = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => (verdict(&error), error.to_string(), refusal(&error)),
            Err(_) => {
                let why = format!("no answer within {:?}", self.response_timeout);
                (Verdict::Broken, why, StoreError::Unavailable)
            }
        };
        match verdict {
            // A cluster mends the links to its nodes itself; the watch looks whether all are gone.
            Verdict::Broken if !connection.is_cluster() => self.down(number, &why),
            Verdict::Broken | Verdict::Waiting => {}
            Verdict::Sound => {
                tracing::debug!(error = why, "redis refused a call");
                return Err(error);
            }
        }
        self.suspect.notify_one();
        Err(StoreError::Unavailable)
    }
}

fn verdict(error: &RedisError) -> Verdict {
    use ServerErrorKind as Server;
    match error.kind() {
        ErrorKind::Server(Server::ReadOnly) => Verdict::Broken,
        ErrorKind::Server(
            Server::BusyLoading | Server::TryAgain | Server::ClusterDown | Server::MasterDown,
        ) => Verdict::Waiting,
        ErrorKind::Server(_) | ErrorKind::Extension => Verdict::Sound,
        _ => Verdict::Broken,
    }
}

fn refusal(error: &RedisError) -> StoreError {
    match error.code() {
        Some("WRONGTYPE") => {
            StoreError::Corrupt { what: "value", why: "it has another type".into() }
        }
        code => StoreError::Refused(code.unwrap_or("error").to_owned()),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(DETAIL_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let check = |text: &str, expected: Verdict| {
            let error = redis::parse_redis_value(format!("-{text}\r\n").as_bytes())
                .and_then(Value::extract_error)
                .unwrap_err();
            assert_eq!(verdict(&error), expected, "{text}");
        };
        check("READONLY You can't write against a read only replica.", Verdict::Broken);
        check("LOADING Redis is loading the dataset in memory", Verdict::Waiting);
        check("CLUSTERDOWN The cluster is down", Verdict::Waiting);
        check("MASTERDOWN Link with MASTER is down", Verdict::Waiting);
        check("OOM command not allowed when used memory > 'maxmemory'.", Verdict::Sound);
        check("NOPERM this user has no permissions", Verdict::Sound);
        check("WRONGTYPE Operation against a key", Verdict::Sound);
        let io = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(verdict(&io), Verdict::Broken);
    }
}
