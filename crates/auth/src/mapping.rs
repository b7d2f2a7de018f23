//! The table that adds what a token lacks.

use std::collections::{BTreeSet, HashMap};

use tidewire_event::Tenant;
use tidewire_rights::USER_KEY_MAX;

use crate::{AuthProblem, MappingEntry};

#[derive(Default)]
pub(crate) struct Mapping {
    by_subject: HashMap<String, HashMap<String, Mapped>>,
    by_party: HashMap<String, HashMap<String, Mapped>>,
}

/// What one entry adds.
pub(crate) struct Mapped {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) user: Option<u64>,
    pub(crate) roles: Vec<String>,
    pub(crate) units: Vec<String>,
}

/// The entries that match a token, the one for its subject first.
pub(crate) struct Matched<'a>([Option<&'a Mapped>; 2]);

impl Matched<'_> {
    /// What the first entry that has it says.
    pub(crate) fn first<T>(&self, of: impl Fn(&Mapped) -> Option<T>) -> Option<T> {
        self.0.iter().flatten().find_map(|entry| of(entry))
    }
}

impl Mapping {
    /// Reads the table. `issuers` tells the tenants of each configured issuer, empty for any.
    pub(crate) fn new(
        entries: &[MappingEntry],
        issuers: &HashMap<String, BTreeSet<Tenant>>,
        problems: &mut Vec<AuthProblem>,
    ) -> Self {
        let mut mapping = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let mut problem = |field: &str, text: &str| {
                problems.push(AuthProblem::new(format!("auth.mapping[{index}]{field}"), text));
            };
            let (map, name) = match (&entry.sub, &entry.azp) {
                (Some(subject), None) => (&mut mapping.by_subject, subject),
                (None, Some(party)) => (&mut mapping.by_party, party),
                _ => {
                    problem("", "name either a sub or an azp");
                    continue;
                }
            };
            let tenants = issuers.get(&entry.issuer);
            if tenants.is_none() {
                problem(".issuer", "no issuer of this name in auth.issuers");
            }
            let tenant = entry.tenant.as_deref().map(Tenant::new).transpose();
            match (&tenant, tenants) {
                (Err(error), _) => problem(".tenant", &error.to_string()),
                (Ok(Some(tenant)), Some(tenants))
                    if !tenants.is_empty() && !tenants.contains(tenant) =>
                {
                    problem(".tenant", "the issuer may not speak for this tenant");
                }
                _ => {}
            }
            if entry.user.is_some_and(|user| user > USER_KEY_MAX) {
                problem(".user", "a user key lies below 2^53");
            }
            let mapped = Mapped {
                tenant: tenant.ok().flatten(),
                user: entry.user,
                roles: entry.roles.clone(),
                units: entry.business_units.clone(),
            };
            let of_issuer = map.entry(entry.issuer.clone()).or_default();
            if of_issuer.insert(name.clone(), mapped).is_some() {
                problem("", "another entry names the same issuer and sub or azp");
            }
        }
        mapping
    }

    pub(crate) fn matching(
        &self,
        issuer: &str,
        subject: Option<&str>,
        party: Option<&str>,
    ) -> Matched<'_> {
        Matched([
            self.by_subject.get(issuer).and_then(|entries| entries.get(subject?)),
            self.by_party.get(issuer).and_then(|entries| entries.get(party?)),
        ])
    }
}
