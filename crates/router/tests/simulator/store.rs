//! The store of the simulation: the real in-memory one, behind failovers that lose the last writes.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidewire_event::{Cursor, CursorKey, Position, Positions, Tenant};
use tidewire_store::{
    Claimed, MemoryLimits, MemoryStore, OwnerToken, SessionId, SessionStore, SessionWrite,
    WriteOutcome,
};

use crate::judge::Verdict;

#[derive(Clone)]
enum Done {
    Claim(SessionId, [u8; 16], String),
    Write(SessionWrite),
}

pub(crate) struct Store {
    memory: MemoryStore,
    /// In order; a failover keeps the first of them.
    done: Vec<Done>,
    /// Who wrote last since the last failover, and the position.
    written: HashMap<SessionId, (OwnerToken, Option<Positions>)>,
    /// Of the last claim.
    number: u64,
    key: CursorKey,
}

fn memory() -> MemoryStore {
    MemoryStore::with_clock(MemoryLimits::default(), Arc::new(|| Duration::ZERO))
}

/// The in-memory store never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the in-memory store waits"),
    }
}

impl Store {
    pub(crate) fn new(key: CursorKey) -> Self {
        Self { memory: memory(), done: Vec::new(), written: HashMap::new(), number: 0, key }
    }

    pub(crate) fn claim(&mut self, id: &SessionId, nonce: [u8; 16], start: String) -> Claimed {
        self.done.push(Done::Claim(id.clone(), nonce, start.clone()));
        let claimed = now(self.memory.claim(id.clone(), nonce, start)).unwrap();
        self.number = claimed.owner.number;
        claimed
    }

    /// Writes, and sees to it that no claim writes after a later one, and that no claim's position goes
    /// back.
    pub(crate) fn write(&mut self, write: SessionWrite) -> Result<WriteOutcome, String> {
        self.done.push(Done::Write(write.clone()));
        let outcome = now(self.memory.write(vec![write.clone()])).unwrap()[0];
        // `Behind`: it may not have been there to be written.
        if outcome == WriteOutcome::Held {
            let decode = |text: &String| Cursor::decode(text, &self.key).unwrap().positions;
            let positions = write.position.as_ref().map(decode);
            self.check(&write, positions.as_ref())?;
            let known = self.written.remove(&write.id).and_then(|(_, positions)| positions);
            self.written.insert(write.id, (write.owner, positions.or(known)));
        }
        Ok(outcome)
    }

    fn check(&self, write: &SessionWrite, told: Option<&Positions>) -> Verdict {
        let Some((owner, known)) = self.written.get(&write.id) else { return Ok(()) };
        let name = &write.id.name;
        if write.owner.number < owner.number {
            return Err(format!("{name}: {:?} writes after {owner:?}", write.owner));
        }
        let (Some(known), Some(told)) = (known.as_ref().filter(|_| *owner == write.owner), told)
        else {
            return Ok(());
        };
        let goes_back = |(partition, at): (_, Position)| {
            told.get(partition).is_none_or(|told| told.next < at.next)
        };
        if known.topic() == told.topic() && known.iter().any(goes_back) {
            return Err(format!("the position of {name} goes back: {known:?} {told:?}"));
        }
        Ok(())
    }

    /// Another node takes over, which lacks the last writes. Its clock is no earlier: the numbers of claims
    /// go on rising.
    pub(crate) fn fail_over(&mut self, lost: usize) {
        self.done.truncate(self.done.len().saturating_sub(lost));
        self.memory = memory();
        self.written.clear();
        for done in self.done.clone() {
            match done {
                Done::Claim(id, nonce, start) => {
                    now(self.memory.claim(id, nonce, start)).unwrap();
                }
                Done::Write(write) => {
                    now(self.memory.write(vec![write])).unwrap();
                }
            }
        }
        let nobody = SessionId {
            tenant: Tenant::new("nobody").unwrap(),
            principal: String::new(),
            name: String::new(),
            definition: String::new(),
        };
        let last = self.number;
        while self.number <= last {
            self.claim(&nobody, [0; 16], String::from("0"));
        }
    }
}
