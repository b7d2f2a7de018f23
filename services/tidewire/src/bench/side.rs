//! The two things that are compared: a served topic (publisher, gateway, load client), and the floor.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use tidewire_log::NewRecord;

use super::child::Child;
use super::gateway::{Gateway, Shape};
use super::process;
use super::protocol::{Ask, Connect};
use super::publish::Publisher;
use super::workspace::Workspace;

/// How long frames may take to come.
pub(super) const AWAIT_LIMIT_MS: u64 = 30_000;
/// Threads that have just become idle need a moment until the kernel has booked their time.
pub(super) const SETTLE: Duration = Duration::from_millis(4);

/// What one fan-out cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) cpu_ns: f64,
    /// From the first frame that the client saw to the last.
    pub(super) spread_ns: f64,
    pub(super) bytes: f64,
    pub(super) frames: f64,
}

impl Measured {
    pub(super) fn cpu_per_frame(&self) -> f64 {
        self.cpu_ns / self.frames
    }
}

/// A gateway with its own topic and load client.
pub(super) struct Served {
    pub(super) gateway: Gateway,
    pub(super) load: Child,
    pub(super) publisher: Publisher,
    authority: Option<String>,
    token: String,
    threads: Option<std::collections::BTreeMap<String, u64>>,
}

impl Served {
    pub(super) fn start(space: &mut Workspace, shape: &Shape) -> Result<Self> {
        let topic = space.topic(1)?;
        Self::on(space, &topic, shape)
    }

    pub(super) fn on(space: &mut Workspace, topic: &str, shape: &Shape) -> Result<Self> {
        let gateway = Gateway::start(space, topic, shape)?;
        let authority = space.file("certificate.pem").display().to_string();
        Ok(Self {
            gateway,
            load: Child::start("load", &[])?,
            publisher: Publisher::start(space, topic)?,
            authority: shape.tls.then_some(authority),
            token: space.token()?,
            threads: None,
        })
    }

    /// A wish to open sockets of this gateway.
    pub(super) fn wish(&self, count: usize, paths: Vec<String>) -> Connect {
        Connect {
            address: self.gateway.address.clone(),
            count,
            paths,
            tokens: vec![self.token.clone()],
            event_stream: false,
            v1: false,
            sessions: false,
            tls_authority: self.authority.clone(),
        }
    }

    pub(super) fn connect(&mut self, count: usize, paths: Vec<String>) -> Result<()> {
        let wish = self.wish(count, paths);
        self.load.ask(&Ask::Connect(wish))?;
        // The last sockets are on their way to their shards.
        sleep(SETTLE * 10);
        Ok(())
    }

    /// Publishes and waits for the frames.
    pub(super) fn fan_out(&mut self, records: Vec<NewRecord>, frames: u64) -> Result<Measured> {
        self.load.ask(&Ask::Mark)?;
        sleep(SETTLE);
        let before = self.gateway.child.cpu_ns()?;
        self.publisher.publish(records)?;
        let answer = self.load.ask(&Ask::Await { frames, limit_ms: AWAIT_LIMIT_MS })?;
        sleep(SETTLE);
        let cpu_ns = self.gateway.child.cpu_ns()?.saturating_sub(before) as f64;
        Ok(Measured {
            cpu_ns,
            spread_ns: answer.last_ns.saturating_sub(answer.first_ns) as f64,
            bytes: answer.bytes as f64,
            frames: frames as f64,
        })
    }

    /// So many updates of one object in one go, to so many sockets.
    pub(super) fn updates(
        &mut self,
        events: usize,
        key: u64,
        body: &Bytes,
        sockets: usize,
    ) -> Result<Measured> {
        let record = |_| self.publisher.record("Voyage", key, body);
        let records: Vec<_> = (0..events).map(record).collect();
        self.fan_out(records, (events * sockets) as u64)
    }

    /// The same, one after the other: each finds idle sockets.
    pub(super) fn single_updates(
        &mut self,
        events: usize,
        key: u64,
        body: &Bytes,
        sockets: usize,
    ) -> Result<Measured> {
        let mut sum = self.updates(1, key, body, sockets)?;
        for _ in 1..events {
            let one = self.updates(1, key, body, sockets)?;
            sum.cpu_ns += one.cpu_ns;
            sum.spread_ns += one.spread_ns;
            sum.bytes += one.bytes;
            sum.frames += one.frames;
        }
        Ok(sum)
    }

    /// Prints which threads have used CPU since the last call.
    pub(super) fn print_threads(&mut self, what: &str) -> Result<()> {
        let now = process::cpu_by_thread(self.gateway.child.pid())?;
        if let Some(before) = &self.threads {
            let spent = |(name, ns): (&String, &u64)| {
                let spent = ns.saturating_sub(before.get(name).copied().unwrap_or(0)) / 1000;
                (spent > 100).then(|| format!("{name} {spent} us"))
            };
            let spent: Vec<_> = now.iter().filter_map(spent).collect();
            eprintln!("  {what}: {}", spent.join(", "));
        }
        self.threads = Some(now);
        Ok(())
    }
}

/// Raw sockets with their load client.
pub(super) struct Floor {
    pub(super) floor: Child,
    pub(super) load: Child,
    address: String,
    cores: usize,
}

impl Floor {
    pub(super) fn start(cores: usize) -> Result<Self> {
        let mut floor = Child::start("floor", &[])?;
        let address = floor.answer()?.address;
        Ok(Self { floor, load: Child::start("load", &[])?, address, cores })
    }

    pub(super) fn connect(&mut self, count: usize) -> Result<()> {
        self.floor.begin(&Ask::Accept { count })?;
        self.load.ask(&Ask::Connect(Connect {
            address: self.address.clone(),
            count,
            paths: vec!["/ws/rest/WebSocketObjectSubscription/Voyage/U/5/-".to_owned()],
            // Of the length of a real one.
            tokens: vec!["t".repeat(400)],
            ..Connect::default()
        }))?;
        self.floor.answer()?;
        Ok(())
    }

    /// Writes once to each socket; `frames` frames of `bytes` bytes each.
    pub(super) fn send(&mut self, bytes: usize, frames: usize, sockets: usize) -> Result<Measured> {
        let ask = Ask::Send { bytes, frames, threads: self.cores };
        self.measure(&ask, (frames * sockets) as u64, || Ok(()))
    }

    /// Lets the floor do something and waits until the client has its frames; `publish` runs once the
    /// floor has begun.
    pub(super) fn measure(
        &mut self,
        ask: &Ask,
        frames: u64,
        publish: impl FnOnce() -> Result<()>,
    ) -> Result<Measured> {
        self.load.ask(&Ask::Mark)?;
        sleep(SETTLE);
        let before = self.floor.cpu_ns()?;
        self.floor.begin(ask)?;
        publish()?;
        let answer = self.load.ask(&Ask::Await { frames, limit_ms: AWAIT_LIMIT_MS })?;
        self.floor.answer()?;
        sleep(SETTLE);
        Ok(Measured {
            cpu_ns: self.floor.cpu_ns()?.saturating_sub(before) as f64,
            spread_ns: answer.last_ns.saturating_sub(answer.first_ns) as f64,
            bytes: answer.bytes as f64,
            frames: frames as f64,
        })
    }
}

/// The path of a subscription to updates of Voyages with these keys; the token comes in a header.
pub(super) fn path(keys: &str) -> String {
    format!("/ws/rest/WebSocketObjectSubscription/Voyage/U/{keys}/-")
}
