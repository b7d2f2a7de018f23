//! Posts changes and writes down what was committed.
//!
//! Objects are spread over lanes; each lane has one request under way, so the changes of an object are sent
//! in their order. What has no answer is sent again under the same id: it may then stand in the log twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidewire_checker::{Certainty, Change, FrameId, Ledger, Stamp};
use tidewire_runtime::Clock;

use super::fleet::{Thing, things};
use super::note;
use super::pace::Watch;
use super::tokens::Tokens;
use crate::http::{Bearer, Capture, Line, Outcome, Patience};

/// For each tenant.
const LANES: usize = 3;
/// A request has no more changes.
const BATCH_MAX: u64 = 200;
/// How often a lane looks at what is due.
const TICK: Duration = Duration::from_millis(50);
/// A capture service that answers nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(180);
/// One request in so many has one change only.
const SINGLE_ONE_IN: u32 = 8;

/// What all lanes write to.
#[derive(Debug, Default)]
struct Book {
    ledger: Ledger,
    refused: u64,
}

struct Lane {
    things: Vec<Thing>,
    capture: Capture,
    random: StdRng,
    run: Arc<str>,
    watch: Watch,
    book: Arc<Mutex<Book>>,
}

/// All lanes.
pub(super) struct Producer {
    lanes: Vec<Lane>,
    book: Arc<Mutex<Book>>,
}

impl Producer {
    pub(super) fn new(
        url: &str,
        tokens: &Tokens,
        tenants: &[String],
        watch: Watch,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let (book, mut lanes) = (Arc::<Mutex<Book>>::default(), Vec::new());
        let run: Arc<str> = format!("check-{seed}-{}", tidewire_auth::unix_now()).into();
        for (tenant, number) in tenants.iter().zip(1_u64..) {
            let mut random = StdRng::seed_from_u64(seed ^ number << 32);
            let mut own: Vec<Vec<Thing>> = (0..LANES).map(|_| Vec::new()).collect();
            for (at, thing) in things(tenant, &mut random).into_iter().enumerate() {
                if let Some(lane) = own.get_mut(at % LANES) {
                    lane.push(thing);
                }
            }
            for (things, lane) in own.into_iter().zip(1_u64..) {
                let bearer = Bearer::Given(tokens.producer(tenant)?);
                lanes.push(Lane {
                    things,
                    capture: Capture::new(url, bearer, Patience(Some(PATIENCE)))?,
                    random: StdRng::seed_from_u64(seed ^ (number << 32 | lane << 16)),
                    run: Arc::clone(&run),
                    watch,
                    book: Arc::clone(&book),
                });
            }
        }
        Ok(Self { lanes, book })
    }

    /// Posts so many changes at this rate. What a slow service holds up is made up for.
    pub(super) async fn go(&mut self, events: u64, rate: u64) -> anyhow::Result<()> {
        let lanes = self.lanes.len() as u64;
        let work = self.lanes.iter_mut().zip(0_u64..).map(|(lane, number)| {
            let own = events / lanes + u64::from(number < events % lanes);
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rate = rate as f64 / lanes as f64;
            lane.go(own, rate)
        });
        try_join_all(work).await.map(drop)
    }

    /// Posts a fresh change of each object.
    pub(super) async fn once_each(&mut self) -> anyhow::Result<()> {
        try_join_all(self.lanes.iter_mut().map(Lane::once_each)).await.map(drop)
    }

    /// What was committed, and how many changes were refused.
    pub(super) fn ledger(self) -> (Ledger, u64) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut book.ledger), book.refused)
    }
}

impl Lane {
    async fn go(&mut self, events: u64, rate: f64) -> anyhow::Result<()> {
        let (started, mut made) = (tokio::time::Instant::now(), 0);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while made < events {
            ticks.tick().await;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float becomes the nearest integer"
            )]
            let due = (started.elapsed().as_secs_f64() * rate) as u64 + 1;
            let mut count = due.min(events).saturating_sub(made).min(BATCH_MAX);
            if self.random.random_ratio(1, SINGLE_ONE_IN) {
                count = count.min(1);
            }
            // An object once at most: what is sent again is told from its next change by what came before.
            let places = (0..count).map(|_| self.random.random_range(0..self.things.len()));
            let places: BTreeSet<usize> = places.collect();
            let places: Vec<usize> = places.into_iter().collect();
            self.post(&places).await?;
            made += places.len() as u64;
        }
        Ok(())
    }

    async fn once_each(&mut self) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.things.len()).collect();
        for places in all.chunks(usize::try_from(BATCH_MAX)?) {
            self.post(places).await?;
        }
        Ok(())
    }

    /// Posts a change of each of these things.
    async fn post(&mut self, places: &[usize]) -> anyhow::Result<()> {
        let now_ms = i64::try_from(Clock::system().unix_ms())?;
        let (mut lines, mut changes) = (Vec::new(), Vec::new());
        for (place, number) in places.iter().zip(0_u64..) {
            let Some(thing) = self.things.get_mut(*place) else { continue };
            let (line, change) = thing.change(&mut self.random, &self.run, now_ms);
            lines.push(Line::new(number, line));
            changes.push(change);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let (began, mut again) = (self.watch.now(), false);
        let answers = self.capture.send(lines, |_, _| again = true).await?;
        let acked = self.watch.now();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers: Vec<(usize, Outcome)> = answers
            .into_iter()
            .filter_map(|answer| Some((usize::try_from(answer.number).ok()?, answer.outcome)))
            .collect();
        answers.sort_by_key(|(number, _)| *number);
        let mut changes = changes.into_iter().enumerate();
        for (number, outcome) in answers {
            if let Some((_, change)) = changes.by_ref().find(|(at, _)| *at == number) {
                book.write(change, outcome, again, (began, acked));
            }
        }
        Ok(())
    }
}

impl Book {
    fn write(
        &mut self,
        mut change: Change,
        outcome: Outcome,
        again: bool,
        (began, acked): (Stamp, Stamp),
    ) {
        (change.began, change.acked) = (began, acked);
        if again {
            change.certainty = Certainty::PerhapsTwice;
        }
        match outcome {
            Outcome::Written(id) => match FrameId::parse(&id) {
                Some(id) => change.id = id,
                None => change.certainty = Certainty::Unknown,
            },
            Outcome::Failed { status, message } => {
                self.refused += 1;
                note(&format!("a change of {} was refused: {status} {message}", change.object));
                change.certainty = Certainty::Unknown;
            }
        }
        self.ledger.push(change);
    }
}
