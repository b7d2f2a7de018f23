//! Dates as the business system writes them: `yyyy-MM-ddTHH:mm:ss`, no zone (documented).
//!
//! Two dates without a zone are compared as they stand. Days and months are those of the proleptic
//! Gregorian calendar (the algorithms are Howard Hinnant's, `chrono-Compatible Low-Level Date Algorithms`).

use std::fmt;

const DAY_SECONDS: i64 = 86_400;
/// The years that a date may have.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;

/// A date with its time of day, to the second, in no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(i64);

impl DateTime {
    /// Reads `yyyy-MM-ddTHH:mm:ss`, the same with a space for the `T`, with a fraction of a second (which
    /// is cut) or a `Z` (which is dropped), and a bare `yyyy-MM-dd` (midnight).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.as_bytes().split_at_checked(10)?;
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
        let year = number(y1, y2)? * 100 + number(y3, y4)?;
        let date = Self::of(year, number(m1, m2)?, number(d1, d2)?)?;
        match rest {
            [] => Some(date),
            // Within the day: no year is left.
            [b'T' | b' ', time @ ..] => Some(Self(date.0 + time_of_day(time)?)),
            _ => None,
        }
    }

    fn of(year: i64, month: i64, day: i64) -> Option<Self> {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let last = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        if !YEARS.contains(&year) || !(1..=last).contains(&day) {
            return None;
        }
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(Self((era * 146_097 + day_of_era - 719_468) * DAY_SECONDS))
    }

    /// Seconds since 1970-01-01T00:00:00, as if the date were UTC.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// The date so many seconds later; `None` beyond the years 1 to 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Option<Self> {
        let date = Self(self.0.checked_add(seconds)?);
        YEARS.contains(&date.civil().0).then_some(date)
    }

    fn civil(self) -> (i64, i64, i64) {
        let days = self.0.div_euclid(DAY_SECONDS) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, month, day)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        let time = self.0.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let (time, rest) = text.split_at_checked(8)?;
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let is_fraction = rest.strip_prefix(b".").is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit)
    });
    if !rest.is_empty() && !is_fraction {
        return None;
    }
    let (hour, minute, second) = (number(h1, h2)?, number(m1, m2)?, number(s1, s2)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

/// A number of two digits.
fn number(tens: u8, units: u8) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(units)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        let check = |text: &str, expected: Option<&str>| {
            let read = DateTime::parse(text).map(|date| date.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        };
        for same in [
            "2026-09-14T13:37:26",
            "1970-01-01T00:00:00",
            "1969-12-31T23:59:59",
            "2000-02-29T00:00:00",
            "2024-02-29T12:00:00",
            "0001-01-01T00:00:00",
            "9999-12-31T23:59:59",
        ] {
            check(same, Some(same));
            check(&format!("{same}Z"), Some(same));
            check(&format!("{same}.5"), Some(same));
            check(&format!("{same}.123456789Z"), Some(same));
            check(&same.replace('T', " "), Some(same));
            for bad in [
                format!("{same}."),
                format!("{same}.x"),
                format!("{same}.1234567890"),
                format!("{same}+01:00"),
                format!("{same} "),
                format!(" {same}"),
                same.replace('T', "t"),
                same.replace('-', "/"),
                same.replace(':', "."),
                same.get(..16).unwrap().to_owned(),
            ] {
                check(&bad, None);
            }
        }
        check("2026-09-14", Some("2026-09-14T00:00:00"));
        for bad in [
            "",
            "2026",
            "2026-9-14",
            "2026-09-31",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2023-02-29",
            "1900-02-29",
            "2100-02-29",
            "0000-01-01",
            "2026-09-14T",
            "2026-09-14T24:00:00",
            "2026-09-14T12:60:00",
            "2026-09-14T12:00:60",
            "2026-09-14T1:00:000",
            "+026-09-14",
            "-026-09-14",
            "２０２６-09-14",
            "20260-9-14",
            "202-009-14",
            "2026-09-14T01:000:0",
            "null",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn dates_move_within_their_years() {
        let at = |text: &str| DateTime::parse(text).unwrap();
        let day = at("2026-02-28");
        assert_eq!(day.plus_seconds(DAY_SECONDS).unwrap(), at("2026-03-01"));
        assert_eq!(day.plus_seconds(-1).unwrap().to_string(), "2026-02-27T23:59:59");
        assert_eq!(at("9999-12-31T23:59:59").plus_seconds(1), None);
        assert_eq!(at("0001-01-01").plus_seconds(-1), None);
        assert_eq!(day.plus_seconds(i64::MAX), None);
        assert!(at("2026-03-01") > day);
    }

    proptest! {
        #[test]
        fn every_second_has_one_text(seconds in -62_135_596_800_i64..253_402_300_800) {
            let date = DateTime(seconds);
            prop_assert_eq!(DateTime::parse(&date.to_string()), Some(date));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _ = DateTime::parse(&text);
        }
    }
}
