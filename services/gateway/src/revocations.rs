//! Revocations and kicks at work: what a record of the control topic does to the sockets of this replica.
//!
//! The set comes first and the sockets after it: a socket that is being registered looks at the set once
//! its registration has been applied, so either that look or the search here finds it.

use tidewire_auth::unix_now;
use tidewire_rights::{Action, Applied, Revocation, RevocationError};
use tidewire_sockets::Command;
use tidewire_telemetry::metrics::ControlOutcome;
use tidewire_wire::error::CloseCode;
use tracing::{error, info};

use crate::shared::Shared;

/// Applies one record of the control topic. Waits for the queues of shards: never call it on a shard or
/// in a task.
pub(crate) fn apply(
    shared: &Shared,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<ControlOutcome, RevocationError> {
    let applied = shared.verifier.revocations().write().apply(key, value, unix_now());
    match applied {
        Ok(Applied::New(revocation)) => {
            let closed = close(shared, &revocation);
            let target = &revocation.target;
            info!(action = target.action.as_str(), tenant = %target.tenant, kind = target.kind.as_str(),
                id = %target.id, closed, "a record of the control topic is in force");
            Ok(ControlOutcome::Applied)
        }
        Ok(Applied::Lifted) => Ok(ControlOutcome::Applied),
        Ok(Applied::Known | Applied::Ended) => Ok(ControlOutcome::Passed),
        Ok(Applied::Other) => Ok(ControlOutcome::Other),
        Err(RevocationError::Full) => {
            error!("too many revocations: a new one is NOT in force; lift old ones, and restart");
            Err(RevocationError::Full)
        }
        Err(other) => Err(other),
    }
}

/// Closes the sockets that it concerns; how many those are.
fn close(shared: &Shared, revocation: &Revocation) -> usize {
    let concerned = shared.registry.concerned(revocation);
    for (id, home) in &concerned {
        let command = match revocation.target.action {
            Action::Revoke => Command::Close(*id, CloseCode::Revoked),
            // As in a drain: it is to come back, and not together with all others.
            Action::Kick => Command::Restart(*id, shared.options.drain_retry),
        };
        if let Some(shard) = shared.planes.shard(*home) {
            shard.send(command);
        }
    }
    concerned.len()
}
