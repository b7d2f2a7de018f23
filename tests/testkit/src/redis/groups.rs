//! Several servers that belong together.

use anyhow::Context;
use tempfile::TempDir;

use super::server::{Server, free_port, installed, wait_until};

/// Hash slots of a cluster, shared out to its masters.
const SLOTS: u32 = 16_384;

fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("tidewire-redis-").tempdir()?)
}

fn cli(port: u16) -> Vec<String> {
    ["-h", "127.0.0.1", "-p", &port.to_string()].map(Into::into).into()
}

/// A Cluster of three masters without replicas. Dropping it kills them.
pub struct RedisCluster {
    nodes: Vec<(Server, u16)>,
    _folders: Vec<TempDir>,
}

impl RedisCluster {
    /// Starts one and waits until it serves; otherwise as [`super::Redis::start`].
    ///
    /// # Errors
    /// As [`super::Redis::start`].
    pub fn start() -> anyhow::Result<Option<Self>> {
        if !installed(&["redis-server", "redis-cli"])? {
            return Ok(None);
        }
        let (mut nodes, mut folders, mut buses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let (folder, port, bus) = (folder()?, free_port()?, free_port()?);
            let config = [
                format!("port {port}"),
                format!("cluster-port {bus}"),
                "cluster-enabled yes".into(),
                "cluster-node-timeout 2000".into(),
            ];
            nodes.push((
                Server::start("redis-server", folder.path(), &config, cli(port), &[])?,
                port,
            ));
            folders.push(folder);
            buses.push(bus);
        }
        let (first, first_port) = nodes.first().context("no node")?;
        for (number, (node, port)) in (0..).zip(&nodes) {
            let (from, to) = (SLOTS * number / 3, SLOTS * (number + 1) / 3 - 1);
            node.run(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()])?;
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            if port != first_port {
                let bus = buses.get(number as usize).context("no bus port")?;
                let (port, bus) = (port.to_string(), bus.to_string());
                first.run(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
            }
        }
        wait_until(|| {
            let mut ready = true;
            for (node, _) in &nodes {
                let info = node.run(&["CLUSTER", "INFO"])?;
                ready &= info.contains("cluster_state:ok") && info.contains("cluster_size:3");
            }
            Ok(ready)
        })
        .context("the cluster does not form")?;
        Ok(Some(Self { nodes, _folders: folders }))
    }

    /// The addresses of all nodes, with commas between.
    #[must_use]
    pub fn url(&self) -> String {
        let urls = self.nodes.iter().map(|(_, port)| format!("redis://127.0.0.1:{port}"));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Runs a command by `redis-cli` on each node.
    ///
    /// # Errors
    /// When a node is away or answers with an error.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Vec<String>> {
        self.nodes.iter().map(|(node, _)| node.run(command)).collect()
    }
}

/// A master, its replica, and one sentinel that decides alone. Dropping it kills them.
pub struct RedisSentinel {
    master: Server,
    replica: (Server, u16),
    sentinel: (Server, u16),
    _folders: Vec<TempDir>,
}

impl RedisSentinel {
    /// What the sentinel calls the master.
    pub const SERVICE: &'static str = "tidewire";

    /// Starts the three and waits until a failover is possible; otherwise as [`super::Redis::start`].
    ///
    /// # Errors
    /// As [`super::Redis::start`].
    pub fn start() -> anyhow::Result<Option<Self>> {
        if !installed(&["redis-server", "redis-cli", "redis-sentinel"])? {
            return Ok(None);
        }
        let folders = [folder()?, folder()?, folder()?];
        let [master_folder, replica_folder, sentinel_folder] = &folders;
        let (master_port, replica_port, port) = (free_port()?, free_port()?, free_port()?);
        let config = [format!("port {master_port}"), "repl-diskless-sync-delay 0".into()];
        let (program, at) = ("redis-server", master_folder.path());
        let master = Server::start(program, at, &config, cli(master_port), &[])?;
        let config = [format!("port {replica_port}"), format!("replicaof 127.0.0.1 {master_port}")];
        let replica =
            Server::start(program, replica_folder.path(), &config, cli(replica_port), &[])?;
        wait_until(|| Ok(replica.run(&["INFO", "replication"])?.contains("master_link_status:up")))
            .context("the replica does not find its master")?;
        let service = Self::SERVICE;
        let config = [
            format!("port {port}"),
            format!("sentinel monitor {service} 127.0.0.1 {master_port} 1"),
            format!("sentinel down-after-milliseconds {service} 500"),
            format!("sentinel failover-timeout {service} 2000"),
        ];
        let at = sentinel_folder.path();
        let sentinel = Server::start("redis-sentinel", at, &config, cli(port), &[])?;
        wait_until(|| {
            Ok(sentinel
                .run(&["SENTINEL", "REPLICAS", service])?
                .contains(&replica_port.to_string()))
        })
        .context("the sentinel does not see the replica")?;
        let (replica, sentinel) = ((replica, replica_port), (sentinel, port));
        Ok(Some(Self { master, replica, sentinel, _folders: folders.into() }))
    }

    /// The address of the sentinel.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.sentinel.1)
    }

    /// Waits until the replica has all that the master has written so far.
    ///
    /// # Errors
    /// When it does not within the start timeout.
    pub fn replicated(&self) -> anyhow::Result<()> {
        wait_until(|| Ok(self.master.run(&["DBSIZE"])? == self.replica.0.run(&["DBSIZE"])?))
    }

    /// Runs a command by `redis-cli` on the first master and on its replica.
    ///
    /// # Errors
    /// When one is away or answers with an error.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Vec<String>> {
        [&self.master, &self.replica.0].iter().map(|node| node.run(command)).collect()
    }

    /// Kills the master, and waits until the replica is the master.
    ///
    /// # Errors
    /// When the sentinel does not promote it.
    pub fn fail_over(&mut self) -> anyhow::Result<()> {
        self.master.stop();
        wait_until(|| Ok(self.replica.0.run(&["ROLE"])?.starts_with("master")))
            .context("the sentinel does not fail over")
    }
}
