//! Requests to APIs that speak JSON, and what they refuse.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tidewire_auth::SecretText;

use super::{HttpClient, Reply};

/// An answer other than 200.
#[derive(Debug, thiserror::Error)]
#[error("{status} {message}")]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl HttpClient {
    /// Sends a request, and reads the answer.
    pub(crate) fn ask(
        &self,
        method: &str,
        token: Option<&SecretText>,
        body: Option<&Value>,
    ) -> Result<Value> {
        let body = body.map(Value::to_string);
        let Reply { status, body, .. } =
            self.call(method, token.map(SecretText::expose), body.as_deref())?;
        let answer = serde_json::from_str::<Value>(&body);
        if status == 200 {
            return answer.with_context(|| format!("{} gave an answer that is no JSON", self.url));
        }
        let message =
            answer.ok().and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()));
        Err(Refused { status, message: message.unwrap_or_default() }.into())
    }
}
