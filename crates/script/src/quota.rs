//! How much CPU the scripts of one tenant may use.
//!
//! A token bucket per tenant: it holds up to `burst` of CPU time and fills by `rate` of CPU time each
//! second. What a run has cost is known only after it, so a bucket may fall below nothing; then the
//! tenant's scripts wait until it is filled again. Nobody else's wait.
//!
//! Time comes from outside, as a [`Duration`] since some fixed moment that never goes back.

use std::collections::HashMap;
use std::time::Duration;

use tidewire_event::Tenant;

/// The largest debt, in bursts: one very long run does not shut a tenant out for ever.
const DEBT_BURSTS_MAX: i64 = 4;
/// Full buckets are forgotten once there are so many.
const BUCKETS_SWEPT_AT: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Nanoseconds of CPU; below 0 is a debt.
    left: i64,
    at: Duration,
}

/// The buckets of all tenants.
#[derive(Debug)]
pub struct CpuQuota {
    /// Nanoseconds of CPU for each second.
    rate: i64,
    /// Nanoseconds of CPU at most.
    burst: i64,
    buckets: HashMap<Tenant, Bucket>,
}

impl CpuQuota {
    /// `rate` of CPU for each second, and `burst` of it saved up at most.
    #[must_use]
    pub fn new(rate: Duration, burst: Duration) -> Self {
        Self { rate: nanos(rate).max(1), burst: nanos(burst).max(1), buckets: HashMap::new() }
    }

    /// How long the tenant has to wait before its next script runs: nothing, where it has CPU left.
    #[must_use]
    pub fn wait(&self, tenant: &Tenant, now: Duration) -> Duration {
        let Some(bucket) = self.buckets.get(tenant) else { return Duration::ZERO };
        let missing = 1 - self.filled(*bucket, now);
        if missing <= 0 {
            return Duration::ZERO;
        }
        let wait = i128::from(missing) * 1_000_000_000 / i128::from(self.rate) + 1;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// Takes what a run has cost.
    pub fn charge(&mut self, tenant: &Tenant, spent: Duration, now: Duration) {
        let bucket = self.buckets.get(tenant).copied();
        let left = bucket.map_or(self.burst, |bucket| self.filled(bucket, now));
        let floor = self.burst.saturating_mul(-DEBT_BURSTS_MAX);
        let left = left.saturating_sub(nanos(spent)).max(floor);
        if bucket.is_none() && self.buckets.len() >= BUCKETS_SWEPT_AT {
            self.sweep(now);
        }
        self.buckets.insert(tenant.clone(), Bucket { left, at: now });
    }

    /// Forgets the buckets that are full again.
    pub fn sweep(&mut self, now: Duration) {
        let (rate, burst) = (self.rate, self.burst);
        self.buckets.retain(|_, bucket| filled(*bucket, now, rate, burst) < burst);
    }

    fn filled(&self, bucket: Bucket, now: Duration) -> i64 {
        filled(bucket, now, self.rate, self.burst)
    }
}

fn filled(bucket: Bucket, now: Duration, rate: i64, burst: i64) -> i64 {
    let passed = i128::from(nanos(now.saturating_sub(bucket.at)));
    let gained = passed * i128::from(rate) / 1_000_000_000;
    let gained = i64::try_from(gained).unwrap_or(i64::MAX);
    bucket.left.saturating_add(gained).min(burst)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (a, b) = (Tenant::new("a").unwrap(), Tenant::new("b").unwrap());
        // A tenth of a core, 200 ms saved up.
        let mut quota = CpuQuota::new(ms(100), ms(200));
        assert_eq!(quota.wait(&a, ms(0)), ms(0));
        quota.charge(&a, ms(150), ms(0));
        assert_eq!(quota.wait(&a, ms(0)), ms(0), "50 ms are left");
        quota.charge(&a, ms(150), ms(0));
        let wait = quota.wait(&a, ms(0));
        assert!(wait > ms(999) && wait < ms(1001), "100 ms of debt at a tenth of a core: {wait:?}");
        assert_eq!(quota.wait(&b, ms(0)), ms(0), "nobody else waits");
        assert!(quota.wait(&a, ms(500)) > ms(499));
        assert_eq!(quota.wait(&a, ms(1001)), ms(0));
        // It never holds more than the burst, however long nothing runs.
        quota.charge(&a, ms(201), ms(1_000_000));
        assert!(quota.wait(&a, ms(1_000_000)) > ms(9));
    }

    #[test]
    fn debts_and_clocks_have_ends() {
        let a = Tenant::new("a").unwrap();
        let mut quota = CpuQuota::new(ms(100), ms(200));
        quota.charge(&a, Duration::MAX, ms(0));
        let wait = quota.wait(&a, ms(0));
        assert!(wait <= ms(8_001), "four bursts at most: {wait:?}");
        // A clock that goes back fills nothing and breaks nothing.
        quota.charge(&a, ms(1), ms(10));
        assert!(quota.wait(&a, ms(5)) > ms(0));
        let mut quota = CpuQuota::new(Duration::ZERO, Duration::ZERO);
        quota.charge(&a, ms(1), ms(0));
        assert!(quota.wait(&a, ms(0)) > ms(0));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let mut quota = CpuQuota::new(ms(100), ms(200));
        for n in 0..BUCKETS_SWEPT_AT {
            quota.charge(&Tenant::new(&format!("t{n}")).unwrap(), ms(1), ms(0));
        }
        quota.charge(&Tenant::new("late").unwrap(), ms(300), ms(60_000));
        assert_eq!(quota.buckets.len(), 1);
        quota.sweep(ms(60_000));
        assert_eq!(quota.buckets.len(), 1, "a debt is not forgotten");
    }
}
