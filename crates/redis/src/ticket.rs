//! Tickets in Redis: a text with a TTL, taken out by GETDEL.

use std::time::Duration;

use redis::Value;
use tidewire_store::{BoxFuture, GRANT_BYTES_MAX, StoreError, TicketStore, ticket_key};

use crate::RedisStore;

impl RedisStore {
    async fn take_ticket(self, ticket_hash: [u8; 32]) -> Result<Option<String>, StoreError> {
        let key = self.key(&ticket_key(&ticket_hash));
        let mut command = redis::cmd("GETDEL");
        command.arg(&key);
        let unreadable = match self.link.call(command).await {
            Ok(Value::Nil) => return Ok(None),
            Ok(Value::BulkString(grant)) if grant.len() > GRANT_BYTES_MAX => "it is too large",
            Ok(Value::BulkString(grant)) => match String::from_utf8(grant) {
                Ok(grant) => return Ok(Some(grant)),
                Err(_) => "it is not UTF-8",
            },
            Ok(_) => return Err(StoreError::Refused("an answer of another shape".into())),
            Err(StoreError::Corrupt { .. }) => {
                let mut command = redis::cmd("DEL");
                command.arg(&key);
                self.link.call(command).await?;
                "it has another type"
            }
            Err(error) => return Err(error),
        };
        self.link.count_corrupt(1);
        tracing::warn!(error = unreadable, "a stored ticket can't be read and is void");
        Err(StoreError::Corrupt { what: "ticket", why: unreadable.into() })
    }
}

impl TicketStore for RedisStore {
    fn put(
        &self,
        ticket_hash: [u8; 32],
        grant: String,
        ttl: Duration,
    ) -> BoxFuture<Result<(), StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            StoreError::check_size("grant", grant.len(), GRANT_BYTES_MAX)?;
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            let mut command = redis::cmd("SET");
            command.arg(store.key(&ticket_key(&ticket_hash))).arg(grant).arg("PX").arg(ttl_ms);
            store.link.call(command).await.map(drop)
        })
    }

    fn take(&self, ticket_hash: [u8; 32]) -> BoxFuture<Result<Option<String>, StoreError>> {
        Box::pin(self.clone().take_ticket(ticket_hash))
    }
}
