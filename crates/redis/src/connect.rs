//! Opens connections: to the one Redis, to the master that the sentinels name, or to a Cluster.
//!
//! Secrets and certificates are read from their files at every connect, so that a rotation needs no
//! restart.

use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    TlsCertificates, TlsMode, Value,
};
use thiserror::Error;

use crate::options::{OptionsError, RedisMode, RedisOptions, is_tls};

/// Most calls on one connection at a time; further ones wait, within their timeout.
const CONCURRENT_CALLS_MAX: usize = 1024;

/// Why there is no connection. Shown to the operator; holds no secret.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("redis.{option}: {error}")]
    File { option: &'static str, error: std::io::Error },
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no connection within {0:?}")]
    Late(Duration),
}

/// A connection that many calls share.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        }
    }

    /// Asks for a sign of life: of a Cluster any node's, since a part of it may fail alone.
    pub(crate) async fn ping(&self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        let pong = match self {
            Self::Single(_) => self.query(&ping).await?,
            Self::Cluster(connection) => {
                let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                connection.clone().route_command(ping, any).await?
            }
        };
        match pong {
            Value::SimpleString(text) if text == "PONG" => Ok(()),
            _ => Err((ErrorKind::UnexpectedReturnType, "the answer to PING is not PONG").into()),
        }
    }

    /// True if the connection mends itself when one of its nodes goes away.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// Opens connections as the options say.
pub(crate) struct Connector {
    options: RedisOptions,
    /// Which sentinel is asked first: the one that hung the last attempt comes last in the next.
    turn: usize,
}

impl Connector {
    pub(crate) fn new(options: RedisOptions) -> Self {
        Self { options, turn: 0 }
    }

    /// Opens a connection that has answered a ping. Ends in bounded time.
    pub(crate) async fn open(&mut self) -> Result<Connection, ConnectError> {
        let patience = self.options.connect_timeout + self.options.response_timeout;
        let opened = tokio::time::timeout(patience, Box::pin(self.connect())).await;
        self.turn = self.turn.wrapping_add(1);
        opened.map_err(|_| ConnectError::Late(patience))?
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let addresses = self.addresses().await?;
        let certificates = self.certificates().await?;
        let connection = match &self.options.mode {
            RedisMode::Standalone => self.standalone(addresses, certificates).await?,
            RedisMode::Sentinel { service } => {
                self.behind_sentinel(addresses, certificates, service).await?
            }
            RedisMode::Cluster => Connection::Cluster(
                self.cluster(addresses, certificates)?.get_async_connection().await?,
            ),
        };
        connection.ping().await?;
        Ok(connection)
    }

    async fn standalone(
        &self,
        addresses: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
    ) -> Result<Connection, ConnectError> {
        let missing = || RedisError::from((ErrorKind::InvalidClientConfig, "no address"));
        let address = addresses.into_iter().next().ok_or_else(missing)?;
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(address, certificates)?,
            None => Client::open(address)?,
        };
        self.single(&client).await
    }

    async fn behind_sentinel(
        &self,
        mut addresses: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
        service: &str,
    ) -> Result<Connection, ConnectError> {
        let first = self.turn.checked_rem(addresses.len()).unwrap_or(0);
        addresses.rotate_left(first);
        let tls = addresses.iter().any(is_tls);
        let node = addresses.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
        let sentinels = addresses.iter().map(|info| info.addr().clone());
        let mut builder =
            SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
                .set_client_to_redis_db(node.db());
        if let Some(username) = node.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = node.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &self.options.sentinel_username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        let file = self.options.sentinel_password_file.as_deref();
        if let Some(password) = secret("sentinel_password_file", file).await? {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        let client = builder.build()?.async_get_client().await?;
        self.single(&client).await
    }

    async fn single(&self, client: &Client) -> Result<Connection, ConnectError> {
        // The time limit of a call is the caller's, in `link`.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(None)
            .set_concurrency_limit(CONCURRENT_CALLS_MAX);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connection::Single(connection))
    }

    fn cluster(
        &self,
        addresses: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<ClusterClient> {
        let mut builder = ClusterClientBuilder::new(addresses)
            .connection_timeout(self.options.connect_timeout)
            .response_timeout(self.options.response_timeout)
            .connection_concurrency_limit(CONCURRENT_CALLS_MAX);
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates);
        }
        builder.build()
    }

    /// The addresses, each with the user and password of the options, else of the first URL.
    async fn addresses(&self) -> Result<Vec<ConnectionInfo>, ConnectError> {
        let addresses = self.options.addresses()?;
        let mut login = addresses.first().map(|a| a.redis_settings().clone()).unwrap_or_default();
        if let Some(username) = &self.options.username {
            login = login.set_username(username);
        }
        let file = self.options.password_file.as_deref();
        if let Some(password) = secret("password_file", file).await? {
            login = login.set_password(password);
        }
        Ok(addresses.into_iter().map(|a| a.set_redis_settings(login.clone())).collect())
    }

    async fn certificates(&self) -> Result<Option<TlsCertificates>, ConnectError> {
        let Some(file) = self.options.ca_file.as_deref() else { return Ok(None) };
        let root_cert = Some(read("ca_file", file).await?);
        Ok(Some(TlsCertificates { client_tls: None, root_cert }))
    }
}

async fn read(option: &'static str, file: &Path) -> Result<Vec<u8>, ConnectError> {
    tokio::fs::read(file).await.map_err(|error| ConnectError::File { option, error })
}

/// The text of a secret's file, without the end of its last line.
async fn secret(option: &'static str, file: Option<&Path>) -> Result<Option<String>, ConnectError> {
    let Some(file) = file else { return Ok(None) };
    let text = String::from_utf8(read(option, file).await?).map_err(|_| ConnectError::File {
        option,
        error: std::io::Error::new(std::io::ErrorKind::InvalidData, "is not UTF-8"),
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
