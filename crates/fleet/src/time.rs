//! Times as the VMS writes them: `yyyy-MM-ddTHH:mm:ss`, no zone, UTC.

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year; an era is 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The year in which a moment lies.
pub(crate) fn year(ms: i64) -> i64 {
    civil(ms.div_euclid(DAY_MS)).0
}

/// `yyyy-MM-ddTHH:mm:ss`.
pub(crate) fn date_time(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// `yyyy-MM-ddTHH:mm:ss.SSSZ`, as `changedAt` is written.
pub(crate) fn instant(ms: i64) -> String {
    format!("{}.{:03}Z", date_time(ms), ms.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times() {
        let check = |ms: i64, expected: &str| assert_eq!(instant(ms), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        check(1_789_393_046_007, "2026-09-14T13:37:26.007Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        assert_eq!(year(1_767_225_599_999), 2025);
        assert_eq!(year(1_767_225_600_000), 2026);
    }
}
