//! Requests to the admin API.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tidewire_auth::SecretText;
use tidewire_event::percent_encode;

use super::Access;
use crate::dev::TENANT;
use crate::http::{Bearer, BearerArgs, BearerError, HttpClient, Refused};

/// Sockets or revocations that one request asks for.
const PAGE: usize = 1000;

/// The gateways to ask.
pub(super) struct Gateways {
    urls: Vec<String>,
    tenant: Option<String>,
    token: Option<SecretText>,
}

impl Gateways {
    pub(super) fn new(access: &Access) -> Result<Self> {
        let tenant = access.tenant.clone();
        let args = BearerArgs {
            token: access.token.clone(),
            token_file: access.token_file.clone(),
            secret_file: access.secret_file.clone(),
            tenant: tenant.clone().unwrap_or_else(|| TENANT.to_owned()),
        };
        let token = match Bearer::new(&args, &["admin"]) {
            Ok(mut bearer) => Some(bearer.token()?),
            // An internal port of loopback asks for none.
            Err(BearerError::None) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { urls: access.gateways.clone(), tenant, token })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().map(String::as_str)
    }

    pub(super) fn first(&self) -> Result<&str> {
        self.all().next().context("name a --gateway")
    }

    /// All pages of a list of this name, up to `limit` entries; with how many there are.
    pub(super) fn pages(
        &self,
        gateway: &str,
        name: &str,
        filter: &[(&str, &str)],
        limit: usize,
    ) -> Result<(Vec<Value>, usize)> {
        let mut found = Vec::new();
        let mut total = None;
        let mut after: Option<String> = None;
        loop {
            let page = limit.saturating_sub(found.len()).min(PAGE).to_string();
            let mut query = vec![("limit", page.as_str())];
            query.extend(self.tenant.as_deref().map(|tenant| ("tenant", tenant)));
            query.extend(after.as_deref().map(|after| ("after", after)));
            query.extend(filter);
            let query: Vec<String> = query
                .into_iter()
                .map(|(name, value)| format!("{name}={}", percent_encode(value)))
                .collect();
            let answer = self.ask("GET", gateway, &format!("{name}?{}", query.join("&")), None)?;
            let Some(listed) = answer.get(name).and_then(Value::as_array) else {
                bail!("{gateway} gave an answer without '{name}': is it a gateway?");
            };
            found.extend(listed.iter().cloned());
            let all = answer.get("total").and_then(Value::as_u64);
            let all = all.and_then(|all| usize::try_from(all).ok()).unwrap_or(found.len());
            let total = *total.get_or_insert(all);
            after = match answer.get("next") {
                Some(Value::String(next)) => Some(next.clone()),
                Some(Value::Number(next)) => Some(next.to_string()),
                _ => None,
            };
            if after.is_none() || listed.is_empty() || found.len() >= limit {
                return Ok((found, total));
            }
        }
    }

    /// The body of a kick or revocation.
    pub(super) fn order(&self, kind: &str, id: Option<String>, reason: &str) -> Value {
        let mut order = json!({"kind": kind, "reason": reason});
        if let Some(members) = order.as_object_mut() {
            let more = [("id", id), ("tenant", self.tenant.clone())];
            members.extend(more.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?.into()))));
        }
        order
    }

    /// Gives an order to the first gateway; one about a socket to each, until one has it.
    pub(super) fn post(&self, path: &str, each: bool, order: &Value) -> Result<Value> {
        let mut outcome = self.ask("POST", self.first()?, path, Some(order));
        for gateway in self.all().skip(1) {
            match &outcome {
                Err(error) if each && is_unknown(error) => {
                    outcome = self.ask("POST", gateway, path, Some(order));
                }
                _ => break,
            }
        }
        outcome
    }

    pub(super) fn delete(&self, kind: &str, id: &str) -> Result<Value> {
        let mut path = format!("revocations/{}/{}", percent_encode(kind), percent_encode(id));
        if let Some(tenant) = &self.tenant {
            path = format!("{path}?tenant={}", percent_encode(tenant));
        }
        self.ask("DELETE", self.first()?, &path, None)
    }

    fn ask(&self, method: &str, gateway: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let client = HttpClient::new(gateway, &format!("/api/v1/admin/{path}"))?;
        client.ask(method, self.token.as_ref(), body)
    }
}

fn is_unknown(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 404)
}
