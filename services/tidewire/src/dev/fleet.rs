//! The simulated fleet of `tidewire dev`: its changes go the way of every change, through capture.

use std::time::Duration;

use bytes::Bytes;
use tidewire_capture::Intake;
use tidewire_event::Tenant;
use tidewire_fleet::Fleet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use tidewire_runtime::Clock;

/// The pause before a change that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Lets the fleet change at `rate` changes a second, for ever.
pub(crate) async fn sail(intake: Intake, tenant: Tenant, seed: u64, rate: f64) {
    let clock = Clock::system();
    let now_ms = || i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
    let mut fleet = Fleet::new(seed, now_ms(), &tenant);
    let mut tick = interval(Duration::from_secs_f64(1.0 / rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let body = Bytes::from(fleet.next(now_ms()).to_json().to_string());
        // The same change until it is in the log: its id makes a repeat harmless.
        while let Err(failure) = send(&intake, &tenant, body.clone()).await {
            warn!(error = %failure, "a simulated change is tried again");
            sleep(RETRY).await;
        }
    }
}

async fn send(
    intake: &Intake,
    tenant: &Tenant,
    body: Bytes,
) -> Result<(), tidewire_capture::Failure> {
    let room = intake.room(body.len()).await?;
    let change = intake.read(body).map_err(|(failure, _)| failure)?;
    intake.write(tenant, change, room).await.map(drop)
}
