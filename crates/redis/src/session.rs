//! Sessions in Redis.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{FromRedisValue, Value};
use tidewire_event::Tenant;
use tidewire_store::{
    BoxFuture, Claimed, FIELDS_BYTES_MAX, OwnerToken, SESSION_TTL, SessionId, SessionState,
    SessionStore, StoreError, WriteOutcome,
};

use crate::RedisStore;
use crate::script::{self, eval};

/// Most sessions in one check: a script holds up the whole Redis while it runs (0.3 ms for
/// these, measured).
const CHECKED_AT_ONCE_MAX: usize = 128;
/// Most checks on their way at a time.
const CHECKS_AT_ONCE_MAX: usize = 32;

/// Sessions of one tenant to be checked: where each stood in the question, its key and its owner.
type Batch = Vec<(usize, String, OwnerToken)>;

impl RedisStore {
    async fn claim_session(self, id: SessionId, owner: OwnerToken) -> Result<Claimed, StoreError> {
        let key = self.key(&id.key()?);
        let mut command = eval(script::CLAIM, &[key]);
        command.arg(owner.to_string()).arg(SESSION_TTL.as_secs());
        command.arg(SessionState::default().to_json());
        let (found, state) = read::<(u8, Vec<u8>)>(self.link.call(command).await?)?;
        let new = Claimed { existed: false, fields: None };
        match found {
            0 => Ok(new),
            1 => match SessionState::from_json(&state) {
                Ok(state) => Ok(Claimed { existed: true, fields: state.fields }),
                Err(error) => {
                    self.lost(&error);
                    // It starts now, as one that was never there.
                    self.save_state(&id, owner, &SessionState::default()).await?;
                    Ok(new)
                }
            },
            _ => {
                self.lost(&"it is no session");
                Ok(new)
            }
        }
    }

    async fn save_state(
        &self,
        id: &SessionId,
        owner: OwnerToken,
        state: &SessionState,
    ) -> Result<WriteOutcome, StoreError> {
        let key = self.key(&id.key()?);
        let mut command = eval(script::SAVE, &[key]);
        command.arg(owner.to_string()).arg(SESSION_TTL.as_secs()).arg(state.to_json());
        match read::<u8>(self.link.call(command).await?)? {
            0 => return Ok(WriteOutcome::Lost),
            1 => {}
            _ => self.lost(&"it is no session"),
        }
        Ok(WriteOutcome::Held)
    }

    async fn check_batch(&self, batch: Batch) -> Result<Vec<(usize, bool)>, StoreError> {
        let keys: Vec<String> = batch.iter().map(|(_, key, _)| self.key(key)).collect();
        let mut command = eval(script::CHECK, &keys);
        command.arg(SESSION_TTL.as_secs());
        for (_, _, owner) in &batch {
            command.arg(owner.to_string());
        }
        let answers = read::<Vec<u8>>(self.link.call(command).await?)?;
        if answers.len() != batch.len() {
            return Err(StoreError::Refused("an answer of another length".into()));
        }
        for _ in answers.iter().filter(|answer| **answer == 2) {
            self.lost(&"it is no session");
        }
        Ok(batch.iter().map(|(at, ..)| *at).zip(answers.iter().map(|a| *a != 0)).collect())
    }

    fn lost(&self, why: &dyn std::fmt::Display) {
        self.link.count_corrupt(1);
        tracing::warn!(error = %why, "a stored session can't be read and is treated as lost");
    }
}

impl SessionStore for RedisStore {
    fn claim(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<Claimed, StoreError>> {
        Box::pin(self.clone().claim_session(id, owner))
    }

    fn save_fields(
        &self,
        id: SessionId,
        owner: OwnerToken,
        fields: Option<String>,
    ) -> BoxFuture<Result<WriteOutcome, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let bytes = fields.as_ref().map_or(0, String::len);
            StoreError::check_size("field list", bytes, FIELDS_BYTES_MAX)?;
            store.save_state(&id, owner, &SessionState { fields }).await
        })
    }

    fn still_owned(
        &self,
        sessions: Vec<(SessionId, OwnerToken)>,
    ) -> BoxFuture<Result<Vec<bool>, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let mut owned = vec![true; sessions.len()];
            let batches = batches(sessions)?;
            let mut answers = stream::iter(batches)
                .map(|batch| store.check_batch(batch))
                .buffer_unordered(CHECKS_AT_ONCE_MAX);
            while let Some(batch) = answers.try_next().await? {
                for (at, answer) in batch {
                    if let Some(owned) = owned.get_mut(at) {
                        *owned = answer;
                    }
                }
            }
            Ok(owned)
        })
    }

    fn release(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<(), StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let mut command = eval(script::RELEASE, &[store.key(&id.key()?)]);
            command.arg(owner.to_string()).arg(SESSION_TTL.as_secs());
            store.link.call(command).await.map(drop)
        })
    }
}

/// Batches of one tenant each: their keys lie in one slot of a cluster, so one script may name them all.
fn batches(sessions: Vec<(SessionId, OwnerToken)>) -> Result<Vec<Batch>, StoreError> {
    let mut full = Vec::new();
    let mut open: HashMap<Tenant, Batch> = HashMap::new();
    for (at, (id, owner)) in sessions.into_iter().enumerate() {
        let key = id.key()?;
        let batch = open.entry(id.tenant).or_default();
        batch.push((at, key, owner));
        if batch.len() == CHECKED_AT_ONCE_MAX {
            full.push(std::mem::take(batch));
        }
    }
    full.extend(open.into_values().filter(|batch| !batch.is_empty()));
    Ok(full)
}

/// Reads the answer of a script; one of another shape is Redis's refusal to be Redis.
fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|_| StoreError::Refused("an answer of another shape".into()))
}
