//! `eventTime`: `yyyy-MM-ddTHH:mm:ss` in UTC, from milliseconds since 1970.

const DAY_S: i64 = 86_400;

/// The time as a frame shows it: whole seconds, rounded down.
pub(crate) fn event_time(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second % 60)
}

/// The proleptic Gregorian date of a day since 1970-01-01. Years begin in March here, so that the leap day
/// is the last of its year; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |ms: i64, expected: &str| assert_eq!(event_time(ms), expected, "{ms}");
        check(0, "1970-01-01T00:00:00");
        check(999, "1970-01-01T00:00:00");
        check(-1, "1969-12-31T23:59:59");
        check(951_782_400_000, "2000-02-29T00:00:00");
        check(1_789_393_046_123, "2026-09-14T13:37:26");
        check(1_709_251_199_000, "2024-02-29T23:59:59");
        check(1_735_689_599_000, "2024-12-31T23:59:59");
        check(4_107_542_400_000, "2100-03-01T00:00:00");
    }
}
