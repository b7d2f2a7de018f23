//! The lanes: each strikes its targets one after the other, brings them back as an orchestrator would, and
//! goes on once they are whole again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::link::LinkProxy;
use tidewire_testkit::redis::Redis;
use tidewire_testkit::service::Service;

use crate::bed::{PARTITIONS, TOPIC};
use crate::journal::{Journal, name};
use crate::plan::{Act, Fault, Lane};
use crate::topics::Topics;

/// Between two looks at the clock and at the targets.
const TICK: Duration = Duration::from_millis(50);
/// How often a service is started again that ends at its start, as it may while Kafka has no leaders.
const STARTS: usize = 10;
/// How long a service that is told to stop may take: its drain window and some.
const TERM_LIMIT: Duration = Duration::from_secs(20);
/// How long a broker may take until its replicas are in sync again.
const SYNC_LIMIT: Duration = Duration::from_secs(90);

/// What all lanes of a run share.
pub(crate) struct Course<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) began: Instant,
    /// No fault begins later.
    pub(crate) until: Instant,
    /// The checker has ended.
    pub(crate) over: &'a AtomicBool,
}

/// What can be struck.
pub(crate) trait Target {
    /// Does it, and returns when the target is whole again.
    fn strike(&mut self, fault: Fault, journal: &Journal) -> anyhow::Result<()>;

    /// Looks whether one ended that nobody struck.
    fn watch(&mut self, _: &Journal) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Runs one lane to its end.
pub(crate) fn run(lane: Lane, faults: &[Fault], mut target: impl Target, course: &Course<'_>) {
    let journal = course.journal;
    let mut left = faults.iter();
    let mut next = left.next();
    while !course.over.load(Ordering::Relaxed) {
        let now = Instant::now();
        let done = match next {
            Some(_) if now > course.until => {
                journal.note(&format!("{lane:?}: {} faults had no time", left.len() + 1));
                next = None;
                Ok(())
            }
            Some(fault) if now >= course.began + fault.at => {
                next = left.next();
                target.strike(*fault, journal)
            }
            _ => {
                sleep(TICK);
                target.watch(journal)
            }
        };
        if let Err(error) = done {
            return journal.finding(format!("{lane:?}: {error:#}"));
        }
    }
}

/// Gateways or captures.
pub(crate) struct Services<'a> {
    pub(crate) lane: Lane,
    pub(crate) services: &'a mut [Service],
}

impl Services<'_> {
    fn revive(&mut self, target: usize, journal: &Journal) -> anyhow::Result<()> {
        let name = name(self.lane, target);
        let service = self.services.get_mut(target).context("no such service")?;
        let since = Instant::now();
        for start in 1..=STARTS {
            service.launch()?;
            match service.wait_until_ready() {
                Ok(()) => {
                    let ms = since.elapsed().as_millis();
                    journal.note(&format!("{name} is ready, start {start}, {ms} ms"));
                    return Ok(());
                }
                Err(error) => {
                    // The log of the service comes with the run.
                    let error = error.to_string();
                    let last = error.lines().last().unwrap_or_default();
                    journal.note(&format!("{name} does not start: {last}"));
                    service.kill();
                }
            }
        }
        anyhow::bail!("{name} did not start in {STARTS} tries")
    }
}

impl Target for Services<'_> {
    fn strike(&mut self, fault: Fault, journal: &Journal) -> anyhow::Result<()> {
        self.watch(journal)?;
        let service = self.services.get_mut(fault.target).context("no such service")?;
        match fault.act {
            Act::Kill => {
                service.kill();
                journal.struck(self.lane, fault.act, fault.target);
            }
            Act::Term => {
                service.signal("TERM")?;
                journal.struck(self.lane, fault.act, fault.target);
                let code = service.wait(TERM_LIMIT)?;
                ensure!(code == Some(0), "told to stop, it ended with {code:?}");
            }
            other => anyhow::bail!("no service is struck by {other}"),
        }
        sleep(fault.hold);
        self.revive(fault.target, journal)
    }

    fn watch(&mut self, journal: &Journal) -> anyhow::Result<()> {
        for target in 0..self.services.len() {
            let service = self.services.get_mut(target).context("no such service")?;
            if let Some(code) = service.ended()? {
                let name = name(self.lane, target);
                journal
                    .finding(format!("{name} ended by itself with {code:?}:\n{}", service.tail()));
                self.revive(target, journal)?;
            }
        }
        Ok(())
    }
}

/// The brokers.
pub(crate) struct Brokers<'a> {
    pub(crate) kafka: &'a mut Kafka,
    pub(crate) topics: &'a Topics,
}

impl Brokers<'_> {
    fn until_whole(&self, since: Instant, journal: &Journal) -> anyhow::Result<()> {
        let whole = self.topics.in_sync_within(TOPIC, PARTITIONS, SYNC_LIMIT);
        ensure!(whole, "replicas are not in sync again within {SYNC_LIMIT:?}");
        journal.note(&format!("all replicas are in sync, {} ms", since.elapsed().as_millis()));
        Ok(())
    }
}

impl Target for Brokers<'_> {
    fn strike(&mut self, fault: Fault, journal: &Journal) -> anyhow::Result<()> {
        let Fault { act, target, hold, .. } = fault;
        let struck = match act {
            Act::Outage => 0..self.kafka.size(),
            _ => target..target + 1,
        };
        for broker in struck.clone() {
            match act {
                Act::Freeze => self.kafka.freeze(broker)?,
                Act::Kill | Act::Outage => self.kafka.kill(broker)?,
                other => anyhow::bail!("no broker is struck by {other}"),
            }
        }
        journal.struck(Lane::Broker, act, target);
        sleep(hold);
        let since = Instant::now();
        for broker in struck.clone() {
            match act {
                Act::Freeze => self.kafka.thaw(broker)?,
                _ => self.kafka.launch(broker)?,
            }
        }
        for broker in struck {
            self.kafka.wait_until_ready(broker)?;
        }
        self.until_whole(since, journal)
    }
}

impl Target for &mut Redis {
    fn strike(&mut self, fault: Fault, journal: &Journal) -> anyhow::Result<()> {
        match fault.act {
            Act::Kill | Act::Outage => self.stop(),
            Act::Freeze => self.freeze()?,
            Act::Flush => drop(self.run(&["FLUSHALL"])?),
            other => anyhow::bail!("Redis is not struck by {other}"),
        }
        journal.struck(Lane::Redis, fault.act, fault.target);
        if fault.act != Act::Flush {
            sleep(fault.hold);
        }
        match fault.act {
            Act::Freeze => self.thaw()?,
            Act::Kill | Act::Outage => self.start_again()?,
            _ => return Ok(()),
        }
        journal.note("redis is back");
        Ok(())
    }
}

impl Target for &[LinkProxy] {
    fn strike(&mut self, fault: Fault, journal: &Journal) -> anyhow::Result<()> {
        let link = self.get(fault.target).context("no such proxy")?;
        match fault.act {
            Act::Reset => {}
            Act::Silence => drop(link.silence()),
            Act::Hold => drop(link.hold()),
            other => anyhow::bail!("no link is struck by {other}"),
        }
        if fault.act != Act::Reset {
            sleep(fault.hold);
        }
        let (held, cut) = (link.held(), link.cut());
        journal.struck(Lane::Link, fault.act, fault.target);
        journal.links_cut(cut);
        journal.note(&format!("{cut} links cut with {held} bytes under way"));
        Ok(())
    }
}
