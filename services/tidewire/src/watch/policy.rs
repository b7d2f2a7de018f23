//! What a close code asks for, and how long to wait.

use std::time::Duration;

use tidewire_wire::error::{CloseCode, Retry};

/// The first wait lies between nothing and this.
const BASE: Duration = Duration::from_millis(500);
/// No wait is longer.
const MAX: Duration = Duration::from_secs(30);
/// A connection that lived shorter counts as another failure in a row.
const STABLE: Duration = Duration::from_secs(5);

/// What to do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing: the same request gets the same answer.
    Stop,
    /// Wait longer each time.
    Backoff,
    /// Connect again after this time.
    After(Duration),
    /// Get a new token, then connect again at once.
    Renew,
}

/// By the code, or where it is not known by its range. `None`: the connection was lost.
pub(super) fn advice(code: Option<u16>, reason: &str) -> Advice {
    let Some(code) = code else { return Advice::Backoff };
    if code == CloseCode::TokenExpired.number() {
        return Advice::Renew;
    }
    let known = CloseCode::ALL.iter().find(|known| known.number() == code);
    let retry = known.map_or_else(
        || match code {
            4000..=4099 => Retry::Never,
            4200..=4299 => Retry::Now,
            _ => Retry::Backoff,
        },
        |known| known.retry(),
    );
    match retry {
        Retry::Never => Advice::Stop,
        Retry::Backoff => Advice::Backoff,
        Retry::Now => Advice::After(hint(reason).unwrap_or_default()),
    }
}

/// For a handshake that was answered with a plain status, by a proxy or an older server.
pub(super) fn advice_of_status(status: u16, retry_after: Option<Duration>) -> Advice {
    match (status, retry_after) {
        (429 | 503, Some(after)) => Advice::After(after.min(MAX)),
        (408 | 429 | 500..=599, _) => Advice::Backoff,
        _ => Advice::Stop,
    }
}

/// The time in `retry in <ms> ms`.
fn hint(reason: &str) -> Option<Duration> {
    let ms = reason.strip_prefix("retry in ")?.strip_suffix(" ms")?;
    ms.parse().ok().map(|ms| Duration::from_millis(ms).min(MAX))
}

/// Full jitter: between nothing and a limit that doubles with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait. `lived` is how long the connection that ended was tried or open, `random` lies
    /// between 0 and 1.
    pub(super) fn pause(&mut self, advice: Advice, lived: Duration, random: f64) -> Duration {
        if lived >= STABLE {
            self.failures = 0;
        }
        let repeated = self.failures > 0;
        let limit = BASE.saturating_mul(1 << self.failures.min(16)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        let jitter = limit.mul_f64(random.clamp(0.0, 1.0));
        match advice {
            Advice::After(after) if repeated => after.max(jitter),
            Advice::After(after) => after,
            Advice::Renew if !repeated => Duration::ZERO,
            Advice::Renew | Advice::Backoff | Advice::Stop => jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn close_codes() {
        let check = |code: u16, reason: &str, expected: Advice| {
            assert_eq!(advice(Some(code), reason), expected, "{code} {reason:?}");
        };
        assert_eq!(advice(None, ""), Advice::Backoff);
        check(1000, "", Advice::Backoff);
        check(1001, "", Advice::Backoff);
        check(1002, "protocol-error", Advice::Stop);
        check(1003, "binary-frame", Advice::Stop);
        check(1007, "bad-utf8", Advice::Stop);
        check(1009, "too-big", Advice::Stop);
        check(1011, "", Advice::Backoff);
        check(1012, "retry in 750 ms", Advice::After(ms(750)));
        check(1012, "retry in 0 ms", Advice::After(ms(0)));
        check(1012, "retry in 99999999 ms", Advice::After(MAX));
        check(1012, "retry in soon ms", Advice::After(ms(0)));
        check(1012, "", Advice::After(ms(0)));
        for code in [4000, 4001, 4003, 4004, 4010, 4011, 4050, 4099] {
            check(code, "", Advice::Stop);
        }
        for code in [4100, 4101, 4102, 4103, 4150, 4199] {
            check(code, "", Advice::Backoff);
        }
        check(4200, "drain", Advice::After(ms(0)));
        check(4201, "token-expired", Advice::Renew);
        check(4250, "", Advice::After(ms(0)));
        check(4300, "", Advice::Backoff);
        check(4999, "", Advice::Backoff);
    }

    #[test]
    fn statuses_of_handshakes() {
        let check = |status: u16, retry_after: Option<u64>, expected: Advice| {
            let retry_after = retry_after.map(Duration::from_secs);
            assert_eq!(advice_of_status(status, retry_after), expected, "{status}");
        };
        check(429, Some(2), Advice::After(ms(2_000)));
        check(503, Some(3_600), Advice::After(MAX));
        check(503, None, Advice::Backoff);
        check(429, None, Advice::Backoff);
        check(502, None, Advice::Backoff);
        check(500, Some(1), Advice::Backoff);
        check(408, None, Advice::Backoff);
        for status in [200, 301, 400, 401, 403, 404, 426] {
            check(status, None, Advice::Stop);
        }
    }

    #[test]
    fn waits_double_to_a_limit() {
        let mut backoff = Backoff::default();
        for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(backoff.pause(Advice::Backoff, ms(0), 1.0), ms(expected));
        }
        assert_eq!(backoff.pause(Advice::Backoff, ms(0), 0.5), ms(15_000));
        assert_eq!(backoff.pause(Advice::Backoff, STABLE, 1.0), ms(500), "a long life starts anew");
    }

    #[test]
    fn at_once_is_at_once_only_the_first_time() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(Advice::After(ms(20)), ms(0), 1.0), ms(20));
        assert_eq!(backoff.pause(Advice::After(ms(20)), ms(0), 1.0), ms(1_000));
        assert_eq!(backoff.pause(Advice::Renew, ms(0), 1.0), ms(2_000));
        assert_eq!(backoff.pause(Advice::Renew, STABLE, 1.0), ms(0));
        assert_eq!(
            backoff.pause(Advice::After(ms(9_000)), ms(0), 0.0),
            ms(9_000),
            "a hint is kept"
        );
    }
}
