//! Holds what was told against what was committed.
//!
//! What is *owed* to a subscription: every change that it wanted and that began after it was
//! acknowledged, to the end. A *seam* is a place where something may be missing: a reconnect, a gap. A
//! declared seam (a gap, `session starts now`, a reconnect that asked for nothing) excuses what began
//! before it and lies beyond the last record of its partition that had certainly been received; a seam
//! that claims to resume excuses nothing. Whoever resumes from a cursor must get again whatever came after
//! that cursor, so receipts behind it count no more.

mod debt;
mod finding;
mod message;
mod receipts;
mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ledger::Ledger;
use crate::transcript::{Entry, Transcript};
use crate::{Mode, Stamp};

pub use finding::{Finding, FindingKind};
use walk::Walk;

/// Findings beyond this are counted only.
const FINDINGS_MAX: usize = 500;

/// What the judge goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What `self` links start with; without it, what the first message says goes for all.
    pub self_base: Option<String>,
    /// For how long after its token's end a socket may still be told something.
    pub expiry_grace: Stamp,
    /// A session whose first socket was open for no longer may be told once more that it starts: its client
    /// may not have proven in that time that it was told.
    pub proof_grace: Stamp,
    /// A run in which nothing was disturbed proves nothing.
    pub faults_expected: bool,
    /// Whether anything happened that may lose sessions: their store was away or emptied. Where not, a
    /// session that starts anew is a finding.
    pub sessions_may_be_lost: bool,
    /// Whether anything happened that a gap in the log is right for: retention, a topic made anew. Where
    /// not, a declared gap is a finding.
    pub log_may_have_gaps: bool,
    /// Whether the producer names versions, so that an older one that comes from another partition after a
    /// newer one is dropped.
    pub versioned: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            self_base: None,
            expiry_grace: 0,
            proof_grace: 0,
            faults_expected: false,
            sessions_may_be_lost: true,
            log_may_have_gaps: true,
            versioned: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Changes in the ledger.
    pub changes: u64,
    /// Sockets judged.
    pub sockets: u64,
    /// Subscriptions judged.
    pub subscriptions: u64,
    /// Messages read.
    pub messages: u64,
    /// Changes that were owed, summed over subscriptions.
    pub owed: u64,
    /// Owed, and never came.
    pub lost: u64,
    /// A version or an offset that went backwards on one connection.
    pub regressions: u64,
    /// Reconnects over which something was lost and that said nothing of it.
    pub undeclared_gaps: u64,
    /// Gaps that nothing called for ([`Rules`]).
    pub needless_gaps: u64,
    /// Messages whose bytes are not what the ledger makes of them.
    pub wrong_payloads: u64,
    /// Messages that this client may not see.
    pub leaks: u64,
    /// Messages and closes that no rule allows: never committed, not subscribed, sent twice.
    pub illegal: u64,
    /// Sockets that were not back at the end.
    pub not_back: u64,
    /// Connections after the first one of each socket.
    pub reconnects: u64,
    /// Those of them that went to another replica.
    pub moved: u64,
    /// The longest time from the end of a connection to the next one.
    pub longest_away: Stamp,
    /// Snapshots that came to their end.
    pub snapshots: u64,
    /// Ends of connections by close code; `None` is a connection that broke.
    pub closes: BTreeMap<Option<u16>, u64>,
    /// Messages that came again, with the same id, on a later connection.
    pub repeats: u64,
    /// Second records of one change.
    pub published_again: u64,
    /// Gaps that were declared.
    pub declared_gaps: u64,
    /// Changes that a declared gap, or a reconnect without a resume, excuses.
    pub excused: u64,
    /// Changes that conflation folded into a later one.
    pub merged: u64,
    /// The longest time from the acknowledgement of a change to its first message.
    pub longest_pause: Stamp,
    /// Faults were expected and none was felt.
    pub is_void: bool,
    /// The first findings, [`FindingKind::Lost`] among them; the counts above are whole.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Nothing is wrong. A void run is not clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.is_void && self.problems() == 0
    }

    /// How many things are wrong.
    #[must_use]
    pub fn problems(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// Each kind of wrong and its count.
    #[must_use]
    pub fn counts(&self) -> [(FindingKind, u64); 8] {
        [
            (FindingKind::Lost, self.lost),
            (FindingKind::Regression, self.regressions),
            (FindingKind::UndeclaredGap, self.undeclared_gaps),
            (FindingKind::NeedlessGap, self.needless_gaps),
            (FindingKind::WrongPayload, self.wrong_payloads),
            (FindingKind::Leak, self.leaks),
            (FindingKind::Illegal, self.illegal),
            (FindingKind::NotBack, self.not_back),
        ]
    }

    fn find(&mut self, finding: Finding) {
        let count = match finding.kind {
            FindingKind::Lost => &mut self.lost,
            FindingKind::Regression => &mut self.regressions,
            FindingKind::UndeclaredGap => &mut self.undeclared_gaps,
            FindingKind::NeedlessGap => &mut self.needless_gaps,
            FindingKind::WrongPayload => &mut self.wrong_payloads,
            FindingKind::Leak => &mut self.leaks,
            FindingKind::Illegal => &mut self.illegal,
            FindingKind::NotBack => &mut self.not_back,
        };
        *count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Judges a run.
#[must_use]
pub fn judge(ledger: &Ledger, transcripts: &[Transcript], rules: &Rules) -> Verdict {
    let mut verdict = Verdict {
        changes: ledger.len() as u64,
        sockets: transcripts.len() as u64,
        ..Verdict::default()
    };
    let base = rules.self_base.clone().or_else(|| {
        transcripts.iter().flat_map(|t| &t.definitions).map(|(_, _, base)| base.clone()).next()
    });
    let base = base.unwrap_or_default();
    definitions(transcripts, &base, &mut verdict);
    for transcript in transcripts {
        connections(transcript, &mut verdict);
        for (sub, subscription) in transcript.subscriptions.iter().enumerate() {
            verdict.subscriptions += 1;
            let sub = u16::try_from(sub).unwrap_or(u16::MAX);
            Walk::new(ledger, transcript, subscription, sub, rules, &base).go(&mut verdict);
        }
    }
    verdict.is_void = rules.faults_expected && verdict.reconnects == 0;
    verdict
}

/// One definition has one number, whoever asks and whichever replica answers; two have two.
fn definitions(transcripts: &[Transcript], base: &str, verdict: &mut Verdict) {
    let mut numbers: HashMap<String, (u64, &str)> = HashMap::new();
    let mut taken: HashMap<u64, String> = HashMap::new();
    for transcript in transcripts {
        let illegal =
            |text: String| Finding::of_socket(FindingKind::Illegal, &transcript.name, text);
        for (sub, number, own_base) in &transcript.definitions {
            if own_base != base {
                let text = format!("links start with '{own_base}', not '{base}'");
                verdict.find(Finding::of_socket(FindingKind::WrongPayload, &transcript.name, text));
            }
            let Some(subscription) = transcript.subscriptions.get(usize::from(*sub)) else {
                continue;
            };
            let definition = subscription.definition();
            let (known, first) =
                *numbers.entry(definition.clone()).or_insert((*number, &transcript.name));
            if known != *number {
                let text =
                    format!("definition {definition} is {number} here and {known} on {first}");
                verdict.find(illegal(text));
            }
            let owner = taken.entry(*number).or_insert_with(|| definition.clone());
            if *owner != definition {
                let text = format!("{number} stands for {definition} and for {owner}");
                verdict.find(illegal(text));
            }
        }
        for problem in &transcript.malformed {
            verdict.find(illegal(problem.clone()));
        }
        verdict.illegal += transcript.malformed_count - transcript.malformed.len() as u64;
    }
}

/// Counts connections and their ends.
fn connections(transcript: &Transcript, verdict: &mut Verdict) {
    let (mut connected, mut last_close, mut left) = (0_u64, None, false);
    let (mut last_replica, mut closed_at) = (None, None);
    for entry in &transcript.entries {
        match entry {
            Entry::Connected { at, replica, .. } => {
                connected += 1;
                last_close = None;
                verdict.moved += u64::from(last_replica.is_some_and(|last| last != *replica));
                last_replica = Some(*replica);
                let away = closed_at.take().map_or(0, |closed| at.saturating_sub(closed));
                verdict.longest_away = verdict.longest_away.max(away);
            }
            Entry::Closed { at, code } => {
                closed_at = Some(*at);
                *verdict.closes.entry(*code).or_default() += 1;
                last_close = Some(*code);
            }
            Entry::Left { .. } => left = true,
            Entry::Event(_) => verdict.messages += 1,
            _ => {}
        }
    }
    verdict.reconnects += connected.saturating_sub(1);
    if connected == 0 || (last_close.is_some() && !left) {
        let text = match last_close {
            None => "never connected".to_owned(),
            Some(code) => format!("was not back at the end, after close {code:?}"),
        };
        verdict.find(Finding::of_socket(FindingKind::NotBack, &transcript.name, text));
    }
    let outside = |sub: u16| usize::from(sub) >= transcript.subscriptions.len();
    let wrong = transcript.entries.iter().any(|entry| match entry {
        Entry::Starts { sub, .. } => outside(*sub),
        _ => false,
    });
    if wrong || (transcript.mode != Mode::V1 && transcript.subscriptions.len() != 1) {
        let text = "the transcript and its subscriptions disagree".to_owned();
        verdict.find(Finding::of_socket(FindingKind::Illegal, &transcript.name, text));
    }
}

/// Names as a set, for reports.
fn joined(names: &HashSet<std::sync::Arc<str>>) -> String {
    let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names.join(",")
}

impl crate::Subscription {
    /// What the definition number stands for, as text.
    pub(crate) fn definition(&self) -> String {
        let kind = match &self.types {
            crate::Types::Any => "*",
            crate::Types::One(kind) => kind,
        };
        let keys = match &self.keys {
            crate::Keys::Any => "*".to_owned(),
            crate::Keys::Only(keys) => joined(keys),
        };
        let crate::Events { create, update, delete } = self.events;
        let events: String = [(create, 'C'), (update, 'U'), (delete, 'D')]
            .into_iter()
            .filter_map(|(wanted, letter)| wanted.then_some(letter))
            .collect();
        let below = if self.only_main_object { " alone" } else { "" };
        format!("{}: {kind}/{events}/{keys}{below}", self.tenant)
    }
}
