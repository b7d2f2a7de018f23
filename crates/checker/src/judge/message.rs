//! What is held against each message: that its change exists, that this subscription is owed it, its bytes,
//! its event type and its place.

use super::Verdict;
use super::finding::FindingKind;
use super::walk::{Link, Role, Walk};
use crate::ledger::{Certainty, Stored};
use crate::payload::Shown;
use crate::transcript::Seen;
use crate::{Fields, Operation, Start};

/// The change behind a message.
#[derive(Clone, Copy, Debug)]
struct Resolved {
    number: u32,
    /// Under the id of its other record.
    is_again: bool,
    /// Whether the bytes are its; `None` where that is not computed.
    fits: Option<bool>,
}

impl<'a> Walk<'a> {
    /// What the ledger has for a message.
    fn resolve(&self, seen: &Seen) -> Option<Resolved> {
        let object = self.objects.get(seen.object as usize).copied().flatten()?;
        let of_object = |n: &u32| self.ledger.get(*n).is_some_and(|c| c.object == object);
        let fit = |number: u32, is_again: bool| {
            let fits = self.bytes_fit(seen, number, self.ledger.get(number)?);
            Some(Resolved { number, is_again, fits })
        };
        // In several lives of the topic an id stands for several records: the newest one that fits.
        let own = self.ledger.of_id(seen.id).filter(of_object).filter_map(|n| fit(n, false));
        let own = own.reduce(|best, next| if next.fits == Some(false) { best } else { next });
        if own.as_ref().is_some_and(|own| own.fits != Some(false)) {
            return own;
        }
        // A change that was sent again may stand in the log a second time.
        let again = self.ledger.of_object(object).filter(|(_, change)| {
            change.certainty != Certainty::Once
                && (change.operation == seen.operation || self.subscription.conflates)
        });
        // The record that was answered is the last one; no other change of the object lies between the two.
        let near = |change: &Stored| {
            let (own, other) = (change.id, seen.id);
            let is_merged = change.operation != seen.operation;
            let is_elsewhere =
                own.partition() != other.partition() || own.offset() < other.offset();
            (is_merged, is_elsewhere, own.offset().abs_diff(other.offset()))
        };
        let again = again
            .filter_map(|(number, change)| Some((near(change), fit(number, true)?)))
            .filter(|(_, resolved)| resolved.fits != Some(false))
            .min_by_key(|(near, _)| *near);
        again.map(|(_, resolved)| resolved).or(own)
    }

    /// Whether the bytes are those of the change under the message's id; `None` where that is not computed.
    fn bytes_fit(&self, seen: &Seen, number: u32, change: &Stored) -> Option<bool> {
        let known = self.ledger.object(change.object)?;
        let id = seen.id.to_string();
        let shown = Shown {
            id: &id,
            object: &known.object,
            operation: seen.operation,
            is_main: seen.in_snapshot || self.role(change) == Some(Role::Main),
            self_base: self.base,
        };
        let fields = &self.subscription.fields;
        if seen.in_snapshot {
            let image = change.new.as_deref();
            return Some(shown.fingerprint_of(image, change.time_ms, fields)? == seen.hash);
        }
        if shown.fingerprint(change, fields)? == seen.hash {
            return Some(true);
        }
        if !(self.subscription.conflates && seen.operation == Operation::Delete) {
            return Some(false);
        }
        // A merged delete shows the first old image of those that were folded into it.
        let before = self.ledger.of_object(change.object).rev();
        let before = before.skip_while(|(n, _)| *n != number).skip(1);
        let folded =
            before.take_while(|(n, c)| c.operation != Operation::Delete && !self.is_received(*n));
        let mut olds = folded.map(|(_, c)| c.old.as_deref());
        Some(olds.any(|old| shown.fingerprint_of(old, change.time_ms, fields) == Some(seen.hash)))
    }

    fn is_selected(&self, object: u32) -> bool {
        self.selected.get(object as usize).copied().unwrap_or_default()
    }

    pub(super) fn is_received(&self, change: u32) -> bool {
        self.received.has(change)
    }

    /// Whether and how the subscription wants a change, rights aside.
    pub(super) fn role(&self, change: &Stored) -> Option<Role> {
        if self.is_selected(change.object) && self.subscription.events.contains(change.operation) {
            return Some(Role::Main);
        }
        let above = !self.subscription.only_main_object
            && self.subscription.events.update
            && change.owners.iter().any(|owner| self.is_selected(*owner));
        above.then_some(Role::Above)
    }

    pub(super) fn may_read(&self, change: &Stored) -> bool {
        let known = self.ledger.object(change.object);
        known.is_some_and(|known| self.subscription.may_read(&known.object.kind))
    }

    pub(super) fn message(&mut self, seen: &Seen, verdict: &mut Verdict) {
        match self.link {
            Link::Live => {}
            Link::Opening { at, .. } => {
                self.told(verdict, FindingKind::Illegal, seen, "came before it was owed anything");
                self.live(at, Start::Now);
            }
            Link::Down => {
                self.told(verdict, FindingKind::Illegal, seen, "came without a connection");
            }
        }
        if let Some(expires) = self.expires
            && seen.at > expires.saturating_add(self.rules.expiry_grace)
        {
            self.told(verdict, FindingKind::Leak, seen, "came after the token's end");
        }
        let Some(resolved) = self.resolve(seen) else {
            self.stranger(seen, verdict);
            return;
        };
        let Resolved { number, is_again, fits } = resolved;
        let Some(change) = self.ledger.get(number) else { return };
        verdict.published_again += u64::from(is_again);
        if !self.may_read(change) {
            self.told(
                verdict,
                FindingKind::Leak,
                seen,
                "is of a type that the client may not read",
            );
            return;
        }
        if seen.in_snapshot {
            self.snapshot(seen, change, fits, verdict);
            return;
        }
        let Some(role) = self.role(change) else {
            self.told(verdict, FindingKind::Illegal, seen, "is not subscribed");
            return;
        };
        self.operation(seen, number, change, role, verdict);
        self.payload(seen, number, fits, verdict);
        self.order(seen, change, verdict);
        self.receive(seen, number, change, verdict);
    }

    /// A message that no change of this tenant's object stands behind.
    fn stranger(&self, seen: &Seen, verdict: &mut Verdict) {
        let object = self.transcript.objects.get(seen.object as usize);
        let others = || self.ledger.of_id(seen.id).filter_map(|n| self.ledger.get(n));
        let foreign =
            others().filter_map(|change| self.ledger.object(change.object)).find(|known| {
                known.tenant != self.subscription.tenant && object == Some(&known.object)
            });
        if let Some(known) = foreign {
            let text = format!("is of tenant {}", known.tenant);
            self.told(verdict, FindingKind::Leak, seen, &text);
        } else if others().next().is_some() {
            self.told(verdict, FindingKind::Illegal, seen, "has the id of another object's record");
        } else {
            self.told(verdict, FindingKind::Illegal, seen, "was never committed");
        }
    }

    /// A message bears its change's own operation; merged ones may be the create that they fold.
    fn operation(
        &self,
        seen: &Seen,
        number: u32,
        change: &Stored,
        role: Role,
        verdict: &mut Verdict,
    ) {
        if !self.subscription.conflates {
            if seen.operation != change.operation {
                let text =
                    format!("is {} of {}", seen.operation.letter(), change.operation.letter());
                self.told(verdict, FindingKind::Illegal, seen, &text);
            }
            return;
        }
        let place = |c: &Stored| (c.life, c.id.partition());
        let create = self.created(number, change).filter(|(_, c)| place(c) == place(change));
        // On this connection nothing of the object's present life has come yet.
        let is_create_due = create.is_some_and(|(_, c)| {
            let had = self.versions.get(&change.object);
            let fresh = had.is_none_or(|(version, at)| *at != place(c) || *version < c.version);
            self.role(c) == Some(role) && fresh
        });
        let merges = change.operation == Operation::Update;
        let expected = match seen.operation {
            own if own == change.operation => {
                // An update in place of a create that was folded into it. Over a reconnect that may be.
                let is_owed = create.is_some_and(|(n, c)| {
                    c.began > self.live_at && !self.is_received(n) && !self.any_received(n, number)
                });
                !(merges && is_create_due && is_owed)
            }
            Operation::Create => merges && is_create_due,
            Operation::Update | Operation::Delete => false,
        };
        if !expected {
            let text = format!("is {} of {}", seen.operation.letter(), change.operation.letter());
            self.told(verdict, FindingKind::Illegal, seen, &text);
        }
    }

    /// The create that began the object's present life, where the change is a later one of it.
    pub(super) fn created(&self, number: u32, change: &Stored) -> Option<(u32, &'a Stored)> {
        let before = self.ledger.of_object(change.object).rev().skip_while(|(n, _)| *n != number);
        let mut before = before.skip(1);
        before
            .by_ref()
            .take_while(|(_, c)| c.operation != Operation::Delete)
            .find(|(_, c)| c.operation == Operation::Create)
    }

    /// Whether any change of the partition from one to before the other was received.
    fn any_received(&self, from: u32, before: u32) -> bool {
        let Some(change) = self.ledger.get(from) else { return false };
        let place = |c: &Stored| (c.life, c.id.partition());
        let all = self.ledger.of_object(change.object);
        let mut between = all.skip_while(|(n, _)| *n != from).take_while(|(n, _)| *n != before);
        between.any(|(n, c)| place(c) == place(change) && self.is_received(n))
    }

    fn payload(&mut self, seen: &Seen, number: u32, fits: Option<bool>, verdict: &mut Verdict) {
        match fits {
            Some(true) => {}
            Some(false) => {
                self.told(
                    verdict,
                    FindingKind::WrongPayload,
                    seen,
                    "has other bytes than it should",
                );
            }
            None => {
                debug_assert!(matches!(self.subscription.fields, Fields::Unchecked));
                let known = *self.hashes.entry(number).or_insert(seen.hash);
                if known != seen.hash {
                    self.told(
                        verdict,
                        FindingKind::WrongPayload,
                        seen,
                        "came again with other bytes",
                    );
                }
            }
        }
    }

    /// Per object versions rise, per partition offsets do.
    fn order(&mut self, seen: &Seen, change: &Stored, verdict: &mut Verdict) {
        let place = (change.life, seen.id.partition());
        let former = self.versions.insert(change.object, (change.version, place));
        // The order of an object does not hold across a change of the number of partitions.
        let former = former.filter(|(_, known)| *known == place).map(|(version, _)| version);
        let highest = self.offsets.entry(place).or_insert(0);
        let is_behind = seen.id.offset() < *highest;
        *highest = (*highest).max(seen.id.offset());
        match former {
            Some(version) if version == change.version => {
                if change.certainty != Certainty::Once {
                    return;
                }
                self.told(verdict, FindingKind::Illegal, seen, "came twice on one connection");
            }
            Some(version) if version > change.version => {
                let text = format!("is version {} after {version}", change.version);
                self.told(verdict, FindingKind::Regression, seen, &text);
            }
            _ if is_behind => {
                let text = "lies before what this connection had of its partition";
                self.told(verdict, FindingKind::Regression, seen, text);
            }
            _ => {}
        }
    }

    fn receive(&mut self, seen: &Seen, number: u32, change: &Stored, verdict: &mut Verdict) {
        let at = number as usize;
        if let Some(ever) = self.ever.get_mut(at) {
            if *ever {
                verdict.repeats += 1;
            } else {
                *ever = true;
                if self.live_since.is_some_and(|since| change.began > since) {
                    let pause = seen.at.saturating_sub(change.acked);
                    verdict.longest_pause = verdict.longest_pause.max(pause);
                }
            }
        }
        self.received.add(number);
        let certain = self.certain.entry((change.life, seen.id.partition())).or_insert(0);
        *certain = (*certain).max(seen.id.offset());
    }

    /// An object of a snapshot: it stands for all its changes up to its version.
    fn snapshot(
        &mut self,
        seen: &Seen,
        change: &Stored,
        fits: Option<bool>,
        verdict: &mut Verdict,
    ) {
        if !self.is_selected(change.object) {
            self.told(verdict, FindingKind::Illegal, seen, "of a snapshot is not subscribed");
        }
        if change.operation == Operation::Delete {
            self.told(verdict, FindingKind::Illegal, seen, "of a snapshot was deleted");
        }
        if fits == Some(false) {
            let text = "of a snapshot has other bytes than it should";
            self.told(verdict, FindingKind::WrongPayload, seen, text);
        }
        // Events that the snapshot shows already may come again, so it sets no version for them.
        let former = self.versions.get(&change.object);
        let place = (change.life, seen.id.partition());
        if former.is_some_and(|(version, known)| *known == place && *version > change.version) {
            let text = "of a snapshot is older than its event";
            self.told(verdict, FindingKind::Regression, seen, text);
        }
        self.shown.insert(change.object, (change.version, self.seams.len()));
    }
}
