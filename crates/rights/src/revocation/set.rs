//! What stands in the control topic, folded: the revocations in force, and the keys to clear away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidewire_event::Tenant;

use super::{Action, Revocation, RevocationError, Target, TargetKind, parse_key};
use crate::Principal;

/// Most revocations and kicks that are kept. What comes beyond is refused, and that is an error that
/// somebody has to look at.
pub const REVOCATIONS_MAX: usize = 100_000;
/// Most keys of ended records that are remembered for clearing away; the others are found again at the
/// next start.
pub const ENDED_MAX: usize = 10_000;
/// A record is cleared away so long after its end, when no clock of a replica is likely to call it young.
pub const SWEEP_GRACE_SECONDS: i64 = 600;

type ById = HashMap<Arc<str>, Vec<Arc<Revocation>>>;
type ByKind = HashMap<(Action, TargetKind), ById>;

/// The records of one control topic, folded.
#[derive(Debug, Default)]
pub struct Revocations {
    tenants: HashMap<Tenant, ByKind>,
    len: usize,
    /// Keys of records whose time is over, with that time.
    ended: BTreeMap<String, i64>,
}

/// What a record led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// From here on it holds: whoever it concerns is to be closed.
    New(Arc<Revocation>),
    /// It was known, word for word.
    Known,
    /// It was taken back.
    Lifted,
    /// Its time was over before it was read.
    Ended,
    /// It is another kind of record.
    Other,
}

impl Revocations {
    /// Applies one record of the control topic; `value` is `None` for a tombstone.
    ///
    /// # Errors
    /// [`RevocationError`]: the record changed nothing.
    pub fn apply(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        now: i64,
    ) -> Result<Applied, RevocationError> {
        let Some(value) = value else {
            let Some((target, at)) = parse_key(key)? else { return Ok(Applied::Other) };
            if let Ok(key) = std::str::from_utf8(key) {
                self.ended.remove(key);
            }
            self.remove(&target, at);
            return Ok(Applied::Lifted);
        };
        let Some(revocation) = Revocation::parse(key, value)? else { return Ok(Applied::Other) };
        if revocation.has_ended(now) {
            self.remove(&revocation.target, revocation.at);
            self.remember_ended(&revocation);
            return Ok(Applied::Ended);
        }
        self.insert(revocation)
    }

    fn insert(&mut self, revocation: Revocation) -> Result<Applied, RevocationError> {
        let known = self.of_target(&revocation.target);
        let known = known.iter().find(|known| known.at == revocation.at);
        if known.is_some_and(|known| **known == revocation) {
            return Ok(Applied::Known);
        }
        if known.is_none() && self.len >= REVOCATIONS_MAX {
            return Err(RevocationError::Full);
        }
        // The same record with another text or end takes the place of the former.
        self.remove(&revocation.target, revocation.at);
        let revocation = Arc::new(revocation);
        let Target { action, tenant, kind, id } = revocation.target.clone();
        let by_kind = self.tenants.entry(tenant).or_default();
        let by_id = by_kind.entry((action, kind)).or_default();
        by_id.entry(id).or_default().push(Arc::clone(&revocation));
        self.len += 1;
        Ok(Applied::New(revocation))
    }

    /// Forgets one record; nothing is left of a target or tenant that has no other.
    fn remove(&mut self, target: &Target, at: i64) {
        let Some(by_kind) = self.tenants.get_mut(&target.tenant) else { return };
        let kind = (target.action, target.kind);
        let Some(by_id) = by_kind.get_mut(&kind) else { return };
        let Some(of_target) = by_id.get_mut(&target.id) else { return };
        let before = of_target.len();
        of_target.retain(|known| known.at != at);
        self.len -= before - of_target.len();
        if of_target.is_empty() {
            by_id.remove(&target.id);
        }
        if by_id.is_empty() {
            by_kind.remove(&kind);
        }
        if by_kind.is_empty() {
            self.tenants.remove(&target.tenant);
        }
    }

    fn remember_ended(&mut self, revocation: &Revocation) {
        if self.ended.len() < ENDED_MAX {
            self.ended.insert(revocation.key(), revocation.until);
        }
    }

    /// Whether the token that this principal comes from was revoked.
    #[must_use]
    pub fn is_revoked(&self, principal: &Principal, now: i64) -> bool {
        let Some(by_kind) = self.tenants.get(&principal.tenant) else { return false };
        let meant = |kind: TargetKind, id: &str| {
            let of_target = by_kind.get(&(Action::Revoke, kind)).and_then(|by_id| by_id.get(id));
            of_target.is_some_and(|all| {
                all.iter().any(|one| !one.has_ended(now) && one.concerns(principal))
            })
        };
        principal.token_id.as_deref().is_some_and(|id| meant(TargetKind::Token, id))
            || meant(TargetKind::Principal, &principal.id)
            || meant(TargetKind::Tenant, principal.tenant.as_str())
    }

    /// The revocations in force, of one tenant or of all, ordered by tenant, kind, id and time.
    #[must_use]
    pub fn in_force(&self, tenant: Option<&Tenant>, now: i64) -> Vec<Arc<Revocation>> {
        let mut found: Vec<_> = self
            .tenants
            .iter()
            .filter(|(owner, _)| tenant.is_none_or(|tenant| tenant == *owner))
            .flat_map(|(_, by_kind)| by_kind)
            .filter(|((action, _), _)| *action == Action::Revoke)
            .flat_map(|(_, by_id)| by_id.values().flatten())
            .filter(|one| !one.has_ended(now))
            .cloned()
            .collect();
        found.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        found
    }

    /// All records of one target, also those whose time is over.
    #[must_use]
    pub fn of_target(&self, target: &Target) -> Vec<Arc<Revocation>> {
        let by_kind = self.tenants.get(&target.tenant);
        let by_id = by_kind.and_then(|by_kind| by_kind.get(&(target.action, target.kind)));
        by_id.and_then(|by_id| by_id.get(&target.id)).cloned().unwrap_or_default()
    }

    /// How many records are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what is over, and tells at most `max` keys whose records may be cleared away. Told again
    /// until their tombstones are read.
    pub fn sweep(&mut self, now: i64, max: usize) -> Vec<String> {
        let all = self.tenants.values().flat_map(HashMap::values).flat_map(HashMap::values);
        let over: Vec<_> = all.flatten().filter(|one| one.has_ended(now)).cloned().collect();
        for one in over {
            self.remove(&one.target, one.at);
            self.remember_ended(&one);
        }
        let clear = |until: i64| until.saturating_add(SWEEP_GRACE_SECONDS) <= now;
        let keys = self.ended.iter().filter(|(_, until)| clear(**until));
        keys.take(max).map(|(key, _)| key.clone()).collect()
    }
}

fn order(one: &Revocation) -> (&Tenant, TargetKind, &str, i64) {
    (&one.target.tenant, one.target.kind, &one.target.id, one.at)
}
