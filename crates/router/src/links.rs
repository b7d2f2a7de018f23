//! Where `self` links start.

use std::collections::HashMap;

use tidewire_event::Tenant;

/// The base of `self` links, per tenant: never the request's host, so that one frame serves all.
#[derive(Clone, Debug)]
pub struct SelfLinks {
    default: String,
    tenants: HashMap<Tenant, String>,
}

impl SelfLinks {
    /// Bases without a slash at their end.
    #[must_use]
    pub fn new(default: &str, tenants: HashMap<Tenant, String>) -> Self {
        let trim = |base: &str| base.trim_end_matches('/').to_owned();
        let tenants = tenants.into_iter().map(|(t, base)| (t, trim(&base))).collect();
        Self { default: trim(default), tenants }
    }

    /// The base for tenants without one of their own.
    #[must_use]
    pub fn default_base(&self) -> &str {
        &self.default
    }

    /// The base for a tenant.
    #[must_use]
    pub fn base(&self, tenant: &Tenant) -> &str {
        if self.tenants.is_empty() {
            return &self.default;
        }
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}
