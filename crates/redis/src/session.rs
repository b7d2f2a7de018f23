//! Sessions in Redis.

use std::collections::HashMap;
use std::fmt::Display;

use futures_util::{StreamExt as _, stream};
use redis::{FromRedisValue, Value};
use tidewire_event::Tenant;
use tidewire_store::{
    BoxFuture, Claimed, OwnerToken, POSITION_BYTES_MAX, SESSION_TTL, SessionId, SessionState,
    SessionStore, SessionWrite, StoreError, WriteOutcome, check_position, nonce_hex,
};
use tokio::time::Instant;

use crate::RedisStore;
use crate::script::{self, eval};

/// Most sessions in one script: it holds up the whole Redis while it runs.
const BATCH_SESSIONS_MAX: usize = 128;
/// Bytes of field lists and positions beyond which a script takes no further session.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Most scripts on their way at a time.
const BATCHES_AT_ONCE_MAX: usize = 32;
/// A batch that has not been sent after so many response timeouts is not tried any more.
const PATIENCE: u32 = 2;
const NOT_A_SESSION: &str = "it is no session";

/// Writes of one script.
#[derive(Default)]
struct Batch {
    /// Where each stood in the call.
    at: Vec<usize>,
    keys: Vec<String>,
    writes: Vec<SessionWrite>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, at: usize, key: String, write: SessionWrite) {
        let fields = write.fields.as_ref().and_then(Option::as_ref).map_or(0, String::len);
        self.bytes += fields + write.position.as_ref().map_or(0, String::len);
        self.at.push(at);
        self.keys.push(key);
        self.writes.push(write);
    }

    const fn is_full(&self) -> bool {
        self.keys.len() >= BATCH_SESSIONS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

impl RedisStore {
    async fn claim_session(
        self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> Result<Claimed, StoreError> {
        check_position(&start)?;
        let mut command = eval(script::CLAIM, &[self.key(&id.key()?)]);
        command.arg(nonce_hex(&nonce)).arg(SESSION_TTL.as_secs());
        command.arg(SessionState::default().to_json()).arg(&start).arg(POSITION_BYTES_MAX);
        type Answer = (u8, u64, Vec<u8>, Option<Vec<u8>>, u8);
        let (found, number, state, position, new) = read::<Answer>(self.link.call(command).await?)?;
        let owner = OwnerToken { number, nonce };
        let lost = Claimed { owner, fields: None, position: None, proven: false };
        match found {
            0 => Ok(lost),
            1 => match SessionState::from_json(&state) {
                Ok(state) => {
                    let position = position.and_then(|position| self.text(position));
                    let proven = position.is_some() && new == 0;
                    Ok(Claimed { owner, fields: state.fields, position, proven })
                }
                Err(error) => {
                    self.lost(&error);
                    // It starts now, as one that was never there.
                    let (fields, position) = (Some(None), Some(start));
                    let check = SessionWrite::check(id, owner);
                    self.write_all(vec![SessionWrite { fields, position, ..check }]).await?;
                    Ok(lost)
                }
            },
            _ => {
                self.lost(&NOT_A_SESSION);
                Ok(lost)
            }
        }
    }

    async fn write_all(self, writes: Vec<SessionWrite>) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut outcomes = vec![WriteOutcome::Unknown; writes.len()];
        let until = Instant::now() + self.link.response_timeout() * PATIENCE;
        let batches = batches(writes, self.link.is_cluster())?;
        let mut answers = stream::iter(batches)
            .map(|batch| self.write_batch(batch, until))
            .buffer_unordered(BATCHES_AT_ONCE_MAX);
        let mut answered = outcomes.is_empty();
        let mut failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(batch) => {
                    answered = true;
                    for (at, outcome) in batch {
                        if let Some(slot) = outcomes.get_mut(at) {
                            *slot = outcome;
                        }
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        drop(answers);
        match failure {
            Some(error) if !answered => Err(error),
            _ => Ok(outcomes),
        }
    }

    async fn write_batch(
        &self,
        batch: Batch,
        until: Instant,
    ) -> Result<Vec<(usize, WriteOutcome)>, StoreError> {
        if Instant::now() >= until {
            return Err(StoreError::Unavailable);
        }
        let keys: Vec<String> = batch.keys.iter().map(|key| self.key(key)).collect();
        let mut command = eval(script::WRITE, &keys);
        command.arg(SESSION_TTL.as_secs());
        for SessionWrite { owner, fields, position, proven, release, .. } in batch.writes {
            let flags = [
                position.as_ref().map_or("", |_| "p"),
                if proven { "" } else { "n" },
                if release { "r" } else { "" },
            ]
            .concat();
            let state = fields.map(|fields| SessionState { fields }.to_json()).unwrap_or_default();
            command.arg(owner.number).arg(owner.nonce_hex()).arg(flags).arg(state);
            command.arg(position.unwrap_or_default());
        }
        let answers = read::<Vec<u8>>(self.link.call(command).await?)?;
        if answers.len() != batch.at.len() {
            return Err(StoreError::Refused("an answer of another length".into()));
        }
        Ok(batch
            .at
            .into_iter()
            .zip(answers.into_iter().map(|answer| self.outcome(answer)))
            .collect())
    }

    /// What [`script::WRITE`] answered of one session.
    fn outcome(&self, answer: u8) -> WriteOutcome {
        if answer > 2 {
            self.lost(&NOT_A_SESSION);
        }
        match answer {
            0 => WriteOutcome::Lost,
            1 | 3 => WriteOutcome::Held,
            _ => WriteOutcome::Behind,
        }
    }

    /// A stored position; one that is no text is lost, and written anew by the owner.
    fn text(&self, position: Vec<u8>) -> Option<String> {
        String::from_utf8(position).map_err(|_| self.lost(&"its position is not UTF-8")).ok()
    }

    fn lost(&self, why: &dyn Display) {
        self.link.count_corrupt(1);
        tracing::warn!(error = %why, "a stored session can't be read and is treated as lost");
    }
}

impl SessionStore for RedisStore {
    fn claim(
        &self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> BoxFuture<Result<Claimed, StoreError>> {
        Box::pin(self.clone().claim_session(id, nonce, start))
    }

    fn write(&self, writes: Vec<SessionWrite>) -> BoxFuture<Result<Vec<WriteOutcome>, StoreError>> {
        Box::pin(self.clone().write_all(writes))
    }
}

/// Batches for one script each. In a Cluster a script may name keys of one slot only: those of one
/// tenant.
fn batches(writes: Vec<SessionWrite>, by_tenant: bool) -> Result<Vec<Batch>, StoreError> {
    let mut full = Vec::new();
    let mut open: HashMap<Option<Tenant>, Batch> = HashMap::new();
    for (at, write) in writes.into_iter().enumerate() {
        write.check_sizes()?;
        let key = write.id.key()?;
        let batch = open.entry(by_tenant.then(|| write.id.tenant.clone())).or_default();
        batch.push(at, key, write);
        if batch.is_full() {
            full.push(std::mem::take(batch));
        }
    }
    full.extend(open.into_values().filter(|batch| !batch.keys.is_empty()));
    Ok(full)
}

/// Reads the answer of a script; one of another shape is Redis's refusal to be Redis.
fn read<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|_| StoreError::Refused("an answer of another shape".into()))
}
