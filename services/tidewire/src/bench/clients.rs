//! Sockets of `tidewire.v1`: they subscribe once they are open, from now or from a cursor.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::child::Child;
use super::protocol::Ask;
use super::side::{AWAIT_LIMIT_MS, SETTLE, Served};

/// How long sockets that closed may be on their way out.
const CLOSE: Duration = Duration::from_millis(100);

/// What resuming cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resumed {
    pub(super) cpu_ns: f64,
    /// Until the last subscription had caught up.
    pub(super) took: Duration,
}

/// Such sockets, all of one load client.
pub(super) struct Clients {
    pub(super) load: Child,
}

impl Clients {
    pub(super) fn start() -> Result<Self> {
        Ok(Self { load: Child::start("load", &[])? })
    }

    pub(super) fn connect(&mut self, side: &Served, count: usize) -> Result<()> {
        let mut wish = side.wish(count, vec!["/ws/v1".to_owned()]);
        wish.v1 = true;
        self.load.ask(&Ask::Connect(wish))?;
        // The last sockets are on their way to their shards.
        sleep(SETTLE * 10);
        Ok(())
    }

    /// All subscribe to updates of Voyages with these keys.
    pub(super) fn subscribe(&mut self, keys: &[u64], from: &str) -> Result<()> {
        let ask = json!({
            "type": "subscribe", "id": "a", "objectType": "Voyage", "events": "U", "keys": keys, "from": from,
        });
        self.load.ask(&Ask::Tell { texts: vec![ask.to_string()] }).map(drop)
    }

    /// Waits until so many have caught up.
    pub(super) fn live(&mut self, count: usize) -> Result<()> {
        let subscriptions = count as u64;
        let ask = Ask::AwaitLive { subscriptions, limit_ms: AWAIT_LIMIT_MS };
        self.load.ask(&ask).map(drop)
    }

    pub(super) fn close(&mut self) -> Result<()> {
        self.load.ask(&Ask::CloseAll)?;
        sleep(CLOSE);
        Ok(())
    }

    /// The cursor of now.
    pub(super) fn cursor(&mut self, side: &Served, keys: &[u64]) -> Result<String> {
        self.connect(side, 1)?;
        self.load.ask(&Ask::Mark)?;
        self.subscribe(keys, "now")?;
        self.live(1)?;
        let cursor = self.load.ask(&Ask::Await { frames: 0, limit_ms: 0 })?.cursor;
        self.close()?;
        cursor.context("no cursor came")
    }

    /// So many sockets, open already, subscribe from a cursor at once, and each is owed so many events.
    pub(super) fn resume(
        &mut self,
        side: &Served,
        keys: &[u64],
        (cursor, count, events): (&str, usize, usize),
    ) -> Result<Resumed> {
        self.load.ask(&Ask::Mark)?;
        sleep(SETTLE);
        let before = side.gateway.child.cpu_ns()?;
        let started = Instant::now();
        self.subscribe(keys, cursor)?;
        self.live(count)?;
        let frames = (count * events) as u64;
        let came = self.load.ask(&Ask::Await { frames, limit_ms: AWAIT_LIMIT_MS })?.frames;
        let took = started.elapsed();
        sleep(SETTLE);
        let cpu_ns = side.gateway.child.cpu_ns()?.saturating_sub(before) as f64;
        ensure!(came == frames, "{came} events came, {frames} were owed");
        Ok(Resumed { cpu_ns, took })
    }
}
