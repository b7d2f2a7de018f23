//! What is still owed at the end.

use std::collections::HashSet;

use super::Verdict;
use super::finding::{Finding, FindingKind};
use super::walk::{Seam, Walk};
use crate::Operation;
use crate::ledger::{Certainty, Stored};

impl Walk<'_> {
    /// Counts what was owed and did not come.
    pub(super) fn settle(&self, verdict: &mut Verdict) {
        let mut silent_seams = HashSet::new();
        for (number, change) in (0_u32..).zip(self.ledger.changes()) {
            if change.certainty == Certainty::Unknown
                || self.role(change).is_none()
                || !self.may_read(change)
                || !self.is_owed(change)
            {
                continue;
            }
            verdict.owed += 1;
            if self.is_received(number) || self.is_in_snapshot(change) {
                continue;
            }
            if self.is_overtaken(change) {
                verdict.merged += 1;
            } else if self.is_excused(change) || self.is_after_the_end(change) {
                verdict.excused += 1;
            } else {
                self.lost(number, change, &mut silent_seams, verdict);
            }
        }
    }

    /// A finding about a change.
    fn about(&self, kind: FindingKind, change: &Stored, text: String) -> Finding {
        let object = self.ledger.object(change.object);
        let object = object.map(|known| known.object.to_string()).unwrap_or_default();
        Finding { kind, socket: self.name(), object, id: change.id.to_string(), text }
    }

    /// Began after the subscription was acknowledged; or newer than what its snapshot showed.
    fn is_owed(&self, change: &Stored) -> bool {
        let after = self.live_since.is_some_and(|since| change.began > since);
        let shown = self.shown.get(&change.object);
        after || shown.is_some_and(|(version, _)| *version < change.version)
    }

    fn is_in_snapshot(&self, change: &Stored) -> bool {
        self.shown.get(&change.object).is_some_and(|(version, _)| *version >= change.version)
    }

    /// A later change of the object came in its place: by conflation, or because a replica drops what is
    /// older than a version that it had from another partition.
    fn is_overtaken(&self, change: &Stored) -> bool {
        let conflates = self.subscription.conflates;
        let replaces = |c: &Stored| {
            let moved = self.rules.versioned && c.id.partition() != change.id.partition();
            c.life == change.life && (conflates || moved)
        };
        let newer = self.ledger.of_object(change.object).rev();
        let mut newer = newer.take_while(|(_, c)| c.version > change.version);
        let overtaken = newer.any(|(n, c)| self.is_received(n) && replaces(c));
        overtaken || (conflates && self.has_vanished(change))
    }

    /// Created and deleted while it waited: nothing is told.
    fn has_vanished(&self, change: &Stored) -> bool {
        let all: Vec<(u32, &Stored)> = self.ledger.of_object(change.object).collect();
        let own = all.iter().position(|(_, c)| c.version == change.version);
        let Some(own) = own else { return false };
        let (before, after) = all.split_at(own);
        let create = match change.operation {
            Operation::Create => Some(own),
            Operation::Update | Operation::Delete => {
                before.iter().rposition(|(_, c)| c.operation != Operation::Update).filter(|at| {
                    before.get(*at).is_some_and(|(_, c)| c.operation == Operation::Create)
                })
            }
        };
        let delete = after.iter().position(|(_, c)| c.operation == Operation::Delete);
        let (Some(create), Some(delete)) = (create, delete) else { return false };
        let life = all.get(create..=own + delete).unwrap_or_default();
        let was_seen = life.iter().any(|(n, _)| self.is_received(*n));
        let began_live = life.first().is_some_and(|(_, c)| {
            self.role(c).is_some() && self.live_since.is_some_and(|since| c.acked > since)
        });
        !was_seen && began_live
    }

    /// A declared seam covers it. A snapshot makes good what was missing before it: no seam before it
    /// excuses what is newer than the version that it showed.
    fn is_excused(&self, change: &Stored) -> bool {
        let first = self.shown.get(&change.object).map_or(0, |(_, seams)| *seams);
        self.seams.iter().skip(first).any(|seam| seam.declared && self.covers(seam, change))
    }

    /// The client had gone for good.
    fn is_after_the_end(&self, change: &Stored) -> bool {
        self.left.is_some_and(|left| change.acked >= left)
    }

    /// Whether the change may lie in a seam. One that was folded into a later one went with that one.
    fn covers(&self, seam: &Seam, change: &Stored) -> bool {
        let place = |c: &Stored| (c.life, c.id.partition());
        let mut later = self.ledger.of_object(change.object).rev();
        seam.covers(change)
            || (self.subscription.conflates
                && later
                    .by_ref()
                    .take_while(|(_, c)| c.version > change.version)
                    .any(|(_, c)| place(c) == place(change) && seam.covers(c)))
    }

    fn lost(
        &self,
        number: u32,
        change: &Stored,
        silent_seams: &mut HashSet<usize>,
        verdict: &mut Verdict,
    ) {
        let seam = self.seams.iter().position(|seam| self.covers(seam, change));
        let operation = change.operation.letter();
        let whence = match seam {
            Some(seam) => format!("around reconnect {}", seam + 1),
            None => "on an open connection".to_owned(),
        };
        let text = format!("{operation}, version {} (change {number}), {whence}", change.version);
        verdict.find(self.about(FindingKind::Lost, change, text));
        if let Some(seam) = seam
            && silent_seams.insert(seam)
        {
            let text = format!("reconnect {} said nothing of what it lost", seam + 1);
            verdict.find(self.about(FindingKind::UndeclaredGap, change, text));
        }
    }
}

impl Seam {
    /// Whether the change may lie in it: it began before the new live point, and nothing later of its
    /// partition had come.
    fn covers(&self, change: &Stored) -> bool {
        let certain = self.certain.get(&(change.life, change.id.partition()));
        change.began <= self.at && certain.is_none_or(|certain| change.id.offset() > *certain)
    }
}
