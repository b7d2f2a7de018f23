//! `yyyy-MM-ddTHH:mm:ss` in UTC, the form of `eventTime` and of an error's `date`.

use std::fmt;

/// The last millisecond that four digits of year can say: 9999-12-31T23:59:59.999.
const LAST_MS: i64 = 253_402_300_799_999;
/// Bytes of the text.
const LENGTH: usize = 19;

/// Milliseconds since the Unix epoch as text. What lies before 1970 (Kafka's -1 for "no timestamp"
/// among it) or after the year 9999 is shown as the nearest second that can be shown.
pub fn event_time(ms: i64) -> impl fmt::Display {
    EventTime(ms)
}

/// [`event_time`] without the formatting machinery.
pub fn push_event_time(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&digits(ms));
}

struct EventTime(i64);

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&digits(self.0)).unwrap_or_default())
    }
}

fn digits(ms: i64) -> [u8; LENGTH] {
    let seconds = ms.clamp(0, LAST_MS).unsigned_abs() / 1000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let second = seconds % 86_400;
    let [c1, c2] = two(year / 100);
    let [y1, y2] = two(year);
    let [m1, m2] = two(month);
    let [d1, d2] = two(day);
    let [h1, h2] = two(second / 3600);
    let [n1, n2] = two(second / 60 % 60);
    let [s1, s2] = two(second % 60);
    [c1, c2, y1, y2, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2]
}

/// The last two decimal digits.
const fn two(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last day, and in eras of 400 years
/// (146,097 days), which all look the same.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 153 days in each five, whichever five one takes.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let check = |ms: i64, expected: &str| {
            assert_eq!(event_time(ms).to_string(), expected, "{ms}");
            let mut out = Vec::new();
            push_event_time(&mut out, ms);
            assert_eq!(out, expected.as_bytes(), "{ms}");
        };
        check(0, "1970-01-01T00:00:00");
        check(999, "1970-01-01T00:00:00");
        check(1_000, "1970-01-01T00:00:01");
        check(951_782_400_000, "2000-02-29T00:00:00");
        check(1_709_251_199_999, "2024-02-29T23:59:59");
        check(1_709_251_200_000, "2024-03-01T00:00:00");
        check(1_789_393_046_000, "2026-09-14T13:37:26");
        check(4_107_542_399_000, "2100-02-28T23:59:59");
        check(4_107_542_400_000, "2100-03-01T00:00:00");
        check(-1, "1970-01-01T00:00:00");
        check(i64::MIN, "1970-01-01T00:00:00");
        check(LAST_MS, "9999-12-31T23:59:59");
        check(LAST_MS + 1, "9999-12-31T23:59:59");
        check(i64::MAX, "9999-12-31T23:59:59");
    }

    /// Counts every day of the range one by one, by the rule of leap years alone.
    #[test]
    fn every_day_until_9999() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=(LAST_MS.unsigned_abs() / 86_400_000) {
            assert_eq!(civil_from_days(days), (year, month, day), "day {days}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
