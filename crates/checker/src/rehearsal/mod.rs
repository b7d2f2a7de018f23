//! The proof of the judge: a small system in memory, honest or with one planted bug.
//!
//! It has a log (partitions, holes, retention, re-creation), replicas that route at their own pace, sockets
//! of all modes with queues and wires that break, sessions proven by pongs, cursors, conflation and
//! snapshots; a seed decides what happens when. Judged, an honest run is clean, and a run with a bug is not.

mod bug;
mod client;
mod encode;
mod feed;
mod log;
mod produce;
mod random;
mod world;

use std::fmt::Write as _;

use crate::{Ledger, Rules, Transcript, Verdict, judge};

pub use bug::Bug;
use world::World;

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    /// What was committed.
    pub ledger: Ledger,
    /// What each socket was told.
    pub transcripts: Vec<Transcript>,
}

/// Runs the system of a seed.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Run {
    World::new(seed, bug).go()
}

/// Judges a run as the planted bugs are judged.
#[must_use]
pub fn verdict(run: &Run) -> Verdict {
    let rules = Rules {
        self_base: Some(encode::BASE.to_owned()),
        // A turn concerns several sockets, and each of their frames is a moment.
        expiry_grace: 50,
        faults_expected: true,
        ..Rules::default()
    };
    judge(&run.ledger, &run.transcripts, &rules)
}

/// Whether the verdict on a run with this bug tells of it.
#[must_use]
pub fn is_caught(bug: Bug, verdict: &Verdict) -> bool {
    verdict.counts().iter().any(|(kind, count)| *count > 0 && bug.caught_by().contains(kind))
}

/// The proof as a table: how many of so many seeds are clean without a bug, and caught with each; and
/// whether it holds.
#[must_use]
pub fn table(honest_seeds: u64, seeds: u64) -> (String, bool) {
    let mut out = String::new();
    let clean = (0..honest_seeds).filter(|seed| verdict(&run(*seed, None)).is_clean()).count();
    let mut holds = clean as u64 == honest_seeds;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "honest system: {clean} of {honest_seeds} seeds clean");
    for bug in Bug::ALL {
        let caught = (0..seeds).filter(|s| is_caught(*bug, &verdict(&run(*s, Some(*bug))))).count();
        holds &= caught as u64 == seeds;
        let name = format!("{bug:?}");
        let _ = writeln!(out, "{name:24} caught {caught:3} of {seeds}  {}", bug.what().trim());
    }
    (out, holds)
}
