//! One subscription's way through its transcript.

use std::collections::{HashMap, HashSet};

use super::finding::{Finding, FindingKind};
use super::receipts::{Mark, Receipts};
use super::{Rules, Verdict};
use crate::ledger::Ledger;
use crate::transcript::{Entry, Seen, Transcript};
use crate::{CursorNumber, Mode, Stamp, Start, Subscription};

/// A partition in one life of the topic.
pub(super) type Place = (u32, u64);
/// The highest offset received from each partition.
pub(super) type Certain = HashMap<Place, u64>;

/// How an object concerns a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// It is subscribed itself.
    Main,
    /// One above it is.
    Above,
}

/// A place in the stream where something may be missing.
#[derive(Debug)]
pub(super) struct Seam {
    /// The live point after it.
    pub(super) at: Stamp,
    /// What had certainly been received before it.
    pub(super) certain: Certain,
    /// Whether the client was told, or asked for nothing better.
    pub(super) declared: bool,
}

/// The state of the connection.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// Not live yet: it waits for `subscribed`, or for the word about its session.
    Opening {
        at: Stamp,
        start: Option<Start>,
    },
    Live,
}

/// See the module.
pub(super) struct Walk<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) transcript: &'a Transcript,
    pub(super) subscription: &'a Subscription,
    pub(super) sub: u16,
    pub(super) rules: &'a Rules,
    pub(super) base: &'a str,
    /// Which of the ledger's objects are subscribed themselves.
    pub(super) selected: Vec<bool>,
    /// The ledger's number of each object of the transcript.
    pub(super) objects: Vec<Option<u32>>,
    pub(super) link: Link,
    pub(super) expires: Option<Stamp>,
    /// The first live point.
    pub(super) live_since: Option<Stamp>,
    /// The last live point.
    pub(super) live_at: Stamp,
    /// Of a session: nobody need have proven yet that it was told of its start.
    pub(super) is_new: bool,
    pub(super) received: Receipts,
    /// What ever came, also behind a cursor that was resumed from.
    pub(super) ever: Vec<bool>,
    pub(super) certain: Certain,
    pub(super) seams: Vec<Seam>,
    /// What the last snapshot showed of each object: its version, and how many seams there were.
    pub(super) shown: HashMap<u32, (u64, usize)>,
    /// On this connection: offsets by partition, versions by object.
    pub(super) offsets: Certain,
    pub(super) versions: HashMap<u32, (u64, Place)>,
    /// States at cursors that are resumed from later.
    pub(super) kept: HashMap<CursorNumber, (Mark, Certain)>,
    pub(super) resumed_from: HashSet<CursorNumber>,
    /// Hashes of what cannot be recomputed.
    pub(super) hashes: HashMap<u32, u64>,
    pub(super) left: Option<Stamp>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        ledger: &'a Ledger,
        transcript: &'a Transcript,
        subscription: &'a Subscription,
        sub: u16,
        rules: &'a Rules,
        base: &'a str,
    ) -> Self {
        let selects = ledger.objects().iter().map(|k| subscription.selects(&k.tenant, &k.object));
        let objects = transcript.objects.iter();
        let objects = objects.map(|object| ledger.find_object(&subscription.tenant, object));
        let resumed_from = transcript.entries.iter().filter_map(|entry| match entry {
            Entry::Starts { sub: own, start: Start::Cursor(number) } if *own == sub => {
                Some(*number)
            }
            _ => None,
        });
        Self {
            ledger,
            transcript,
            subscription,
            sub,
            rules,
            base,
            selected: selects.collect(),
            objects: objects.collect(),
            link: Link::Down,
            expires: None,
            live_since: None,
            live_at: 0,
            is_new: true,
            received: Receipts::new(ledger.len()),
            ever: vec![false; ledger.len()],
            certain: Certain::new(),
            seams: Vec::new(),
            shown: HashMap::new(),
            offsets: Certain::new(),
            versions: HashMap::new(),
            kept: HashMap::new(),
            resumed_from: resumed_from.collect(),
            hashes: HashMap::new(),
            left: None,
        }
    }

    /// Walks, and then counts what is still owed.
    pub(super) fn go(mut self, verdict: &mut Verdict) {
        let transcript = self.transcript;
        for entry in &transcript.entries {
            self.step(entry, verdict);
        }
        self.settle(verdict);
    }

    fn step(&mut self, entry: &Entry, verdict: &mut Verdict) {
        match *entry {
            Entry::Connected { at, expires, .. } => {
                self.link = Link::Opening { at, start: None };
                self.expires = expires;
                self.offsets.clear();
                self.versions.clear();
            }
            Entry::Starts { sub, start } if sub == self.sub => self.starts(start, verdict),
            Entry::Subscribed { at, sub } if sub == self.sub => {
                let start = match self.link {
                    Link::Opening { start, .. } => start,
                    Link::Down | Link::Live => None,
                };
                self.live(at, start.unwrap_or(Start::Now));
            }
            Entry::Notice { at, status } => self.notice(at, status, verdict),
            Entry::Gap { at, sub } if sub == self.sub => self.gap(at, verdict),
            Entry::Cursor { number, subs } => {
                let covers = self.transcript.cursor_subs.get(subs as usize);
                if covers.is_some_and(|subs| subs.contains(&self.sub))
                    && self.resumed_from.contains(&number)
                {
                    self.kept.insert(number, (self.received.mark(), self.certain.clone()));
                }
            }
            Entry::SnapshotEnd { sub } if sub == self.sub => verdict.snapshots += 1,
            Entry::Event(seen) if seen.sub == self.sub => self.message(&seen, verdict),
            Entry::Token { expires } => self.expires = expires,
            Entry::Closed { at, .. } => self.close(at),
            Entry::Left { at } => self.left = Some(at),
            _ => {}
        }
    }

    fn starts(&mut self, asked: Start, verdict: &mut Verdict) {
        let Link::Opening { at, start } = &mut self.link else {
            self.find(verdict, FindingKind::Illegal, "starts without a connection".to_owned());
            return;
        };
        let former = start.replace(asked);
        let at = *at;
        if matches!((former, asked), (Some(Start::Cursor(_)), Start::Now)) {
            let allowed = self.rules.log_may_have_gaps;
            self.declared(verdict, allowed, "its cursor was refused, so it began anew");
        }
        // A session waits for its notice, tidewire.v1 for `subscribed`.
        if self.transcript.mode != Mode::V1 && asked != Start::Session {
            self.live(at, asked);
        }
    }

    /// The subscription is live, or on its way there.
    pub(super) fn live(&mut self, at: Stamp, start: Start) {
        self.link = Link::Live;
        let declared = match start {
            Start::Now => true,
            Start::Session => false,
            Start::Cursor(number) => {
                if let Some((mark, certain)) = self.kept.get(&number) {
                    self.received.go_to(*mark);
                    self.certain.clone_from(certain);
                }
                false
            }
        };
        self.seam(at, declared);
    }

    fn seam(&mut self, at: Stamp, declared: bool) {
        self.live_at = at;
        if self.live_since.is_none() {
            self.live_since = Some(at);
        } else {
            self.seams.push(Seam { at, certain: self.certain.clone(), declared });
        }
    }

    fn notice(&mut self, at: Stamp, status: u16, verdict: &mut Verdict) {
        match self.link {
            Link::Opening { at: opened, start: Some(Start::Session) } => {
                self.link = Link::Live;
                let is_back = self.live_since.is_some();
                match status {
                    200 => {
                        self.is_new = false;
                        self.seam(opened, false);
                    }
                    410 | 503 => {
                        let again = status == 410 && std::mem::replace(&mut self.is_new, true);
                        if is_back {
                            let allowed = self.rules.sessions_may_be_lost || again;
                            self.declared(verdict, allowed, &format!("session notice {status}"));
                        }
                        self.seam(opened, true);
                    }
                    _ => {
                        let text = format!("the first frame of a session is status {status}");
                        self.find(verdict, FindingKind::Illegal, text);
                        self.seam(opened, true);
                    }
                }
            }
            Link::Live if status == 410 => self.gap(at, verdict),
            _ => {}
        }
    }

    fn close(&mut self, at: Stamp) {
        let is_live = matches!(std::mem::replace(&mut self.link, Link::Down), Link::Live);
        let since = at.saturating_sub(self.live_at);
        self.is_new &= !is_live || since <= self.rules.proof_grace;
    }

    fn gap(&mut self, at: Stamp, verdict: &mut Verdict) {
        self.declared(verdict, self.rules.log_may_have_gaps, "gap");
        self.seam(at, true);
    }

    fn declared(&self, verdict: &mut Verdict, allowed: bool, what: &str) {
        verdict.declared_gaps += 1;
        if !allowed {
            self.find(verdict, FindingKind::NeedlessGap, what.to_owned());
        }
    }

    pub(super) fn find(&self, verdict: &mut Verdict, kind: FindingKind, text: String) {
        verdict.find(Finding::of_socket(kind, &self.name(), text));
    }

    /// A finding about a message.
    pub(super) fn told(&self, verdict: &mut Verdict, kind: FindingKind, seen: &Seen, text: &str) {
        let object = self.transcript.objects.get(seen.object as usize);
        verdict.find(Finding {
            kind,
            socket: self.name(),
            object: object.map(ToString::to_string).unwrap_or_default(),
            id: seen.id.to_string(),
            text: text.to_owned(),
        });
    }

    /// The socket and its subscription.
    pub(super) fn name(&self) -> String {
        let (name, sub) = (&self.transcript.name, &self.subscription.id);
        if sub.is_empty() { name.clone() } else { format!("{name}:{sub}") }
    }
}
